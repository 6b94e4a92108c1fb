//! What a terminal takes: how wide it is, whether it has colours, and lines that break between words.

use std::ffi::OsStr;
use std::io;

use clap::ColorChoice;
use terminal_size::{Width, terminal_size_of};

/// How wide a terminal is taken to be that does not say.
const USUAL_WIDTH: usize = 80;

/// How wide the terminal at standard output is, in columns.
pub(super) fn width() -> usize {
    // Some say that they are 0 wide.
    terminal_size_of(io::stdout())
        .map(|(Width(width), _)| usize::from(width))
        .filter(|&width| width != 0)
        .unwrap_or(USUAL_WIDTH)
}

/// Whether a terminal writes over what it has written, where it is told to.
pub(super) fn moves_its_cursor() -> bool {
    let kind = std::env::var_os("TERM");
    kind.is_some_and(|kind| !kind.is_empty() && kind != "dumb")
}

/// Whether a terminal gets colours.
pub(super) fn has_colours() -> bool {
    let variable = std::env::var_os;
    takes_colours(variable("TERM").as_deref(), variable("NO_COLOR").as_deref())
}

/// Where help and refusals have colours: as for what a command prints, so that both obey the same variables.
///
/// On its own clap also counts `CI`, and then colours what goes to a terminal that has none.
pub(super) fn colours() -> ColorChoice {
    if has_colours() {
        ColorChoice::Auto
    } else {
        ColorChoice::Never
    }
}

/// Whether a terminal of this kind has colours, and whoever sits before it wants them (<https://no-color.org>).
fn takes_colours(kind: Option<&OsStr>, no_colour: Option<&OsStr>) -> bool {
    let has = kind.is_some_and(|kind| !kind.is_empty() && kind != "dumb");
    has && no_colour.is_none_or(OsStr::is_empty)
}

/// Puts words into lines that are no wider than this, all but the first indented. A word that is wider has a line of its own.
pub(super) fn fold<'a>(
    words: impl IntoIterator<Item = &'a str>,
    width: usize,
    indent: usize,
) -> String {
    let mut text = String::new();
    let mut used = 0;
    for word in words {
        let wide = visible(word);
        if text.is_empty() {
            used = wide;
        } else if used + 1 + wide > width {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            used = indent + wide;
        } else {
            text.push(' ');
            used += 1 + wide;
        }
        text.push_str(word);
    }
    text
}

/// The columns that a text takes, what sets its colour left out.
pub(super) fn visible(text: &str) -> usize {
    let mut in_code = false;
    let visible = text.chars().filter(|&char| {
        let was_in_code = in_code;
        in_code = char == '\x1b' || (in_code && char != 'm');
        !in_code && !was_in_code
    });
    visible.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_have_them_and_people_who_want_them() {
        let takes = |kind: Option<&str>, no_colour: Option<&str>| {
            takes_colours(kind.map(OsStr::new), no_colour.map(OsStr::new))
        };

        assert!(takes(Some("xterm-256color"), None));
        assert!(takes(Some("linux"), Some("")));
        for (kind, no_colour) in [
            (Some("dumb"), None),
            (Some(""), None),
            (None, None),
            (Some("xterm"), Some("1")),
        ] {
            assert!(!takes(kind, no_colour), "{kind:?} {no_colour:?}");
        }
    }

    #[test]
    fn lines_break_between_words_and_only_there() {
        let words = ["one", "three", "2001:db8::1", "x"];

        assert_eq!(fold(words, 9, 2), "one three\n  2001:db8::1\n  x");
        assert_eq!(fold(words, 80, 2), "one three 2001:db8::1 x");
    }

    #[test]
    fn what_sets_a_colour_takes_no_room() {
        assert_eq!(visible("\x1b[33mtap0\x1b[0m up"), 7);
        assert_eq!(
            fold(["\x1b[33mone\x1b[0m", "two"], 7, 2),
            "\x1b[33mone\x1b[0m two"
        );
    }
}
