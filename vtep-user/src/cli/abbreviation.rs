//! Short forms of commands, as iproute2 has them, and what to type instead of a mistake.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

/// Other words for verbs, as iproute2 has them.
const SYNONYMS: [(&str, &str); 2] = [("list", "show"), ("delete", "del")];

/// What nobody should do by a slip of the hand is typed in full.
const IN_FULL: [&str; 1] = ["teardown"];

/// The command with short forms of all commands below it: the beginnings of their words that belong to no other.
pub(super) fn with_short_forms(command: Command) -> Command {
    let siblings: Vec<_> = command.get_subcommands().map(words).collect();
    let mut at = 0;
    command.mut_subcommands(|below| {
        let others = siblings
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at);
        let others: Vec<_> = others.flat_map(|(_, words)| words).collect();
        let name = below.get_name().to_owned();
        let own = &siblings[at];
        let mut short: Vec<_> = own
            .iter()
            .flat_map(|word| beginnings(word))
            .filter(|short| *short != name)
            .filter(|short| !others.iter().any(|other| other.starts_with(short)))
            .map(str::to_owned)
            .collect();
        if IN_FULL.contains(&&*name) {
            short.clear();
        }
        short.sort_unstable();
        short.dedup();
        at += 1;
        with_short_forms(below.aliases(short))
    })
}

/// The name of a command, and what is another word for it; nothing for one that the help does not show.
fn words(command: &Command) -> Vec<String> {
    if command.is_hide_set() {
        return Vec::new();
    }
    let name = command.get_name();
    let synonyms = SYNONYMS.iter().filter(|(_, verb)| *verb == name);
    let words = std::iter::once(name).chain(synonyms.map(|(word, _)| *word));
    words.map(str::to_owned).collect()
}

fn beginnings(word: &str) -> impl Iterator<Item = &str> {
    word.char_indices()
        .map(|(at, char)| &word[..at + char.len_utf8()])
}

/// The same mistake, with what to type instead where that can be told.
pub(super) fn explained(error: Error, whole: &Command, args: &[OsString]) -> Error {
    let mut whole = whole.clone();
    whole.build();
    let hint = match error.kind() {
        ErrorKind::InvalidSubcommand => ambiguous(&error, &whole, args),
        ErrorKind::UnknownArgument | ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            without_dashes(&whole, args)
        }
        _ => None,
    };
    match hint {
        Some(sentence) => {
            let path = path(&whole, args);
            let verb = path.iter().try_fold(&mut whole, |command, name| {
                command.find_subcommand_mut(name)
            });
            verb.expect("a command of ours")
                .error(error.kind(), sentence)
        }
        None => error,
    }
}

/// The names of the commands that the words lead to, from the first below `whole`.
fn path(whole: &Command, args: &[OsString]) -> Vec<String> {
    let mut path = Vec::new();
    let mut command = whole;
    for arg in args {
        if let Some(below) = command.find_subcommand(arg) {
            path.push(below.get_name().to_owned());
            command = below;
        }
    }
    path
}

fn command_at<'a>(whole: &'a Command, path: &[String]) -> Option<&'a Command> {
    path.iter()
        .try_fold(whole, |command, name| command.find_subcommand(name))
}

/// Names the commands that a word may be short for.
fn ambiguous(error: &Error, whole: &Command, args: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let command = command_at(whole, &path(whole, args))?;
    let begins = |command: &&Command| words(command).iter().any(|word| word.starts_with(typed));
    let candidates = command.get_subcommands().filter(begins);
    let candidates: Vec<_> = candidates.map(Command::get_name).collect();
    match *candidates {
        [] => None,
        [only] => Some(format!("`{typed}` is too short; type {only} in full")),
        _ => Some(format!(
            "`{typed}` may be short for {}; type more of it",
            candidates.join(", ")
        )),
    }
}

/// Shows the line with two dashes before each option that was typed as iproute2 has it.
fn without_dashes(whole: &Command, args: &[OsString]) -> Option<String> {
    let command = command_at(whole, &path(whole, args))?;
    let named = |name: &str| {
        let mut arguments = command.get_arguments();
        arguments.find(|argument| argument.get_long() == Some(name))
    };
    let mut words: Vec<String> = Vec::new();
    let mut bare = Vec::new();
    let mut is_value = false;
    for arg in args {
        let word = arg.to_str()?;
        let option = named(word.strip_prefix("--").unwrap_or(word)).filter(|_| !is_value);
        if option.is_some() && !word.starts_with('-') {
            bare.push(format!("`{word}`"));
            words.push(format!("--{word}"));
        } else {
            words.push(word.to_owned());
        }
        is_value = option.is_some_and(|option| option.get_action().takes_values());
    }
    let [first, ..] = &*bare else { return None };
    if !whole.is_no_binary_name_set()
        && let Some(program) = words.first_mut()
    {
        "vtep".clone_into(program);
    }
    Some(format!(
        "unexpected argument {first} found; options begin with two dashes, so type: {}",
        words.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{command_line, grammar};

    #[test]
    fn the_beginning_of_a_word_is_short_for_it_where_no_other_begins_so() {
        for (typed, full) in [
            ("fdb sh", "fdb show"),
            ("f sh", "fdb show"),
            ("v s", "vni s"),
            ("fdb list", "fdb show"),
            ("fdb lis", "fdb show"),
            ("nei del", "neigh del"),
            ("nex d", "nexthop del"),
            ("po delete", "port del"),
            ("mon", "monitor"),
            ("dr", "drops"),
            ("ver", "ver"),
            ("desc", "desc"),
        ] {
            assert_eq!(
                resolved(typed),
                full.split(' ').collect::<Vec<_>>(),
                "{typed}"
            );
        }
    }

    #[test]
    fn what_is_short_for_several_is_refused_with_their_names() {
        for (typed, expected) in [
            ("p show", "`p` may be short for port, peer; type more of it"),
            (
                "sta",
                "`sta` may be short for status, stats; type more of it",
            ),
            ("fdb a", "`a` may be short for add, append; type more of it"),
            (
                "-j fd a",
                "`a` may be short for add, append; type more of it",
            ),
        ] {
            let sentence = refusal(typed);
            assert!(sentence.contains(expected), "{typed}: {sentence}");
        }
        let sentence = refusal("frobnicate");
        assert!(
            sentence.contains("unrecognized subcommand 'frobnicate'"),
            "{sentence}"
        );
    }

    #[test]
    fn nothing_is_torn_down_by_a_short_form() {
        for typed in ["te", "tear", "teardow"] {
            let sentence = refusal(typed);
            assert!(
                sentence.contains(&format!("`{typed}` is too short; type teardown in full")),
                "{sentence}"
            );
        }
    }

    #[test]
    fn an_option_without_its_dashes_is_shown_with_them() {
        for (typed, expected) in [
            (
                "fdb add 02:00:00:00:00:0b vni 100 dst 192.0.2.2",
                "type: vtep fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2",
            ),
            ("-j fdb show vni 100", "type: vtep -j fdb show --vni 100"),
            (
                "fdb add vni 100 02:00:00:00:00:0b dev dev",
                "type: vtep fdb add --vni 100 02:00:00:00:00:0b --dev dev",
            ),
        ] {
            let sentence = refusal(typed);
            assert!(sentence.contains(expected), "{typed}: {sentence}");
        }
        let sentence = refusal("fdb show 02:00:00:00:00:0b");
        assert!(!sentence.contains("dashes"), "{sentence}");
    }

    #[test]
    fn a_line_of_a_file_is_shown_without_the_program() {
        let args: Vec<_> = "port add tap0 vni 100"
            .split(' ')
            .map(OsString::from)
            .collect();
        let mut line = grammar::line();
        let error = line.try_get_matches_from_mut(&args).unwrap_err();

        let sentence = explained(error, &line, &args).to_string();

        assert!(
            sentence.contains("so type: port add tap0 --vni 100\n"),
            "{sentence}"
        );
    }

    /// The full words of the commands that short ones are taken for, and what is none.
    fn resolved(typed: &str) -> Vec<String> {
        let whole = command_line::whole();
        let mut command = &whole;
        let mut full = Vec::new();
        for word in typed.split(' ') {
            match command.find_subcommand(word) {
                Some(below) => {
                    command = below;
                    full.push(below.get_name().to_owned());
                }
                None => full.push(word.to_owned()),
            }
        }
        full
    }

    fn refusal(typed: &str) -> String {
        let words = std::iter::once("/usr/local/sbin/vtep").chain(typed.split(' '));
        let error = crate::cli::parse(words.map(OsString::from)).unwrap_err();
        error.to_string()
    }
}
