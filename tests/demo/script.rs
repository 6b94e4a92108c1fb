//! What the demo says: on the terminal at once, and in the end as a page.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the page begins with.
const HEAD: &str = "\
# Demo

Three hypervisors, and virtual machines that talk across them while a daemon is killed, a machine moves, and an MTU is wrong. All of them are network
namespaces of one machine. `cargo xtask demo` shows it, and `cargo xtask demo --record` has written this page: each line was printed. Times, rates, counters and
the MACs of uplinks differ each time.
";

/// A part: its title, a sentence or two, and what was typed and printed.
#[derive(Debug, Default)]
struct Part {
    title: String,
    says: String,
    lines: String,
}

/// Everything that was said so far.
#[derive(Debug)]
pub(crate) struct Script {
    names_in_full: bool,
    parts: Mutex<Vec<Part>>,
}

impl Script {
    /// Says nothing yet. `names_in_full` has namespaces called by the names that they have on this machine, not by their roles.
    pub(crate) const fn new(names_in_full: bool) -> Self {
        Self {
            names_in_full,
            parts: Mutex::new(Vec::new()),
        }
    }

    /// Begins a part; `says` is what one should know of it.
    pub(crate) fn part(&self, title: &str, says: &str) {
        println!("\n== {title}\n{says}");
        self.parts().push(Part {
            title: title.to_owned(),
            says: says.to_owned(),
            lines: String::new(),
        });
    }

    /// A line of a part.
    pub(crate) fn line(&self, text: &str) {
        let text = if self.names_in_full {
            text.to_owned()
        } else {
            roles(text)
        };
        println!("{}", format!("  {text}").trim_end());
        if let Some(part) = self.parts().last_mut() {
            part.lines.push_str(text.trim_end());
            part.lines.push('\n');
        }
    }

    /// What is typed in a namespace.
    pub(crate) fn command(&self, at: &str, command: &str) {
        self.line(&format!("{at}# {command}"));
    }

    /// What a command printed.
    pub(crate) fn printed(&self, text: &str) {
        for line in text.trim_end().lines() {
            self.line(line);
        }
    }

    /// The page: all parts in Markdown.
    pub(crate) fn page(&self) -> String {
        let mut page = HEAD.to_owned();
        for Part { title, says, lines } in &*self.parts() {
            write!(page, "\n## {title}\n\n{says}\n").expect("a string takes what is written to it");
            if !lines.is_empty() {
                write!(page, "\n```\n{lines}```\n").expect("a string takes what is written to it");
            }
        }
        page
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names namespaces by their roles: `vt4711-3-vm1` is `vm1` (see `vtep_tests::lab::ns::unique`).
fn roles(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("vt") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let prefix = unique_prefix(from);
        out.push_str(&from[..if prefix == 0 { 2 } else { 0 }]);
        rest = &from[prefix.max(2)..];
    }
    out + rest
}

/// The length of `vtPID-NUMBER-` at the beginning of a text, or 0.
fn unique_prefix(text: &str) -> usize {
    let number = |text: &str| {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        (digits > 0 && text[digits..].starts_with('-')).then_some(digits + 1)
    };
    number(&text[2..])
        .and_then(|pid| Some(2 + pid + number(&text[2 + pid..])?))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_called_by_their_roles() {
        assert_eq!(
            roles("vt4711-3-vm1# vtep run in vt4711-10-hv0"),
            "vm1# vtep run in hv0"
        );
        assert_eq!(
            roles("vtep4789 vt1-x vt-1-a v vt"),
            "vtep4789 vt1-x vt-1-a v vt"
        );
    }

    #[test]
    fn the_page_has_every_part_with_what_was_printed() {
        let script = Script::new(false);
        script.part("One", "Says.");
        script.command("vt1-2-vm1", "ping");
        script.printed("a  \nb\n\n");
        script.part("Two", "Nothing printed.");

        let page = script.page();

        let parts = page.strip_prefix(HEAD).expect("the head");
        assert_eq!(
            parts,
            "\n## One\n\nSays.\n\n```\nvm1# ping\na\nb\n```\n\n## Two\n\nNothing printed.\n"
        );
    }
}
