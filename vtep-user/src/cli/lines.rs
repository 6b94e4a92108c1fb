//! The lines of a batch, or of a configuration file: each a command.

use std::ffi::OsString;

use clap::Command;
use clap::error::ErrorKind;

use super::failure::Failure;
use super::{abbreviation, grammar};
use crate::model::request::Request;
use crate::model::{Op, line};

/// Reads lines one at a time.
pub(super) struct LineParser {
    /// What says what is wrong with a line; built once.
    grammar: Command,
}

impl LineParser {
    pub(super) fn new() -> Self {
        Self {
            grammar: grammar::line(),
        }
    }

    /// Returns the change that a line asks for, or `None` if it is blank or a comment.
    pub(super) fn parse(&mut self, text: &str) -> Result<Option<Op>, String> {
        match self.request(text)? {
            None => Ok(None),
            Some(Request::Change(op)) => Ok(Some(op)),
            Some(Request::Show(_)) => Err(
                "this command changes nothing; a batch takes only commands that change something"
                    .into(),
            ),
        }
    }

    /// Returns what a line asks for, or `None` if it is blank or a comment.
    pub(super) fn request(&mut self, text: &str) -> Result<Option<Request>, String> {
        if words(text).next().is_none() {
            return Ok(None);
        }
        if let Some(request) = line::read(words(text)) {
            return Ok(Some(request));
        }
        let typed = self
            .grammar
            .try_get_matches_from_mut(words(text))
            .map_err(|error| {
                let words: Vec<_> = words(text).map(OsString::from).collect();
                sentence(&abbreviation::explained(error, &self.grammar, &words))
            })?;
        match grammar::request(&typed, grammar::line) {
            Ok(request) => Ok(Some(request)),
            Err(Failure::Usage(error)) => Err(sentence(&error)),
            Err(Failure::Failed(error)) => Err(error.to_string()),
            Err(Failure::NoDaemon(_) | Failure::ToDo | Failure::Said | Failure::Unread) => {
                Err("it cannot be read".into())
            }
        }
    }
}

/// The words of a line, up to a comment. It may begin with `vtep`, as on a command line.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut words = text
        .split_whitespace()
        .take_while(|word| !word.starts_with('#'))
        .peekable();
    words.next_if(|word| *word == "vtep");
    words
}

/// Puts what clap says into one line: its first paragraph, without the `error: ` and the hints behind it.
pub(super) fn sentence(error: &clap::Error) -> String {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        return "the command is not complete".into();
    }
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let paragraph = paragraph.strip_prefix("error: ").unwrap_or(paragraph);
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_lines_and_the_command_line_agree() {
        let mut grammar = grammar::line();
        for text in [
            "fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2",
            "fdb append 00:00:00:00:00:00 --dst 2001:db8::2 --vni 0",
            "fdb replace 02-00-00-00-00-0B --dev tap0 --vni 16777215",
            "fdb add 02:00:00:00:00:0b --vni=100 --dst=192.0.2.2",
            "fdb add --vni 100 --dst 192.0.2.2 02:00:00:00:00:0b",
            "fdb del 02:00:00:00:00:0b --vni 100",
            "fdb flush --vni 100 --learned",
            "neigh add 10.0.0.1 --vni 100 --lladdr 02:00:00:00:00:0b",
            "neigh replace 2001:db8::1 --lladdr 02:00:00:00:00:0b --vni 0",
            "neigh add 10.0.0.1 --vni 100 --lladdr 02:00:00:00:00:0b --router",
            "neigh del 10.0.0.1 --vni 100",
            "nexthop add 10.0.0.1 --vni 100 --via 192.0.2.2",
            "nexthop replace 10.0.0.0/8 --lladdr 02:00:00:00:00:0b --vni 1",
            "nexthop add 2001:db8::/64 --vni 1 --via ::1 --lladdr 02:00:00:00:00:0b",
            "nexthop replace 10.0.0.0/24 --vni=100 --via=192.0.2.2",
            "nexthop del 10.0.0.0/24 --vni 100",
            "vni add 100",
            "vni add 100 --mode l2 --flood none --learning off --suppress on --ageing 60 --max-macs 9 --ttl inherit",
            "vni set 100 --max-macs none --tos 0xb8 --srcport 1000-2000",
            "vni del 100",
            "port add tap0 --vni 100 --vlan 10",
            "port add tap0 --vni 100 --mac 02:00:00:00:00:01 --ip ::1 --mac 02:00:00:00:00:02",
            "port set tap0 --mac 02:00:00:00:00:01 --vlan 10",
            "port del tap0 --vlan 10",
            "peer set 2001:db8::2 --csum6 off",
        ] {
            let typed = grammar
                .try_get_matches_from_mut(text.split_whitespace())
                .unwrap();
            let slow = grammar::request(&typed, grammar::line).unwrap();

            let fast = line::read(text.split_whitespace());

            assert_eq!(fast, Some(slow), "{text}");
        }
    }

    #[test]
    fn what_is_typed_in_another_form_is_read_too() {
        let mut parser = LineParser::new();
        for text in ["vni set 1 --max-macs=none", "port add --vni 1 -- tap0"] {
            assert!(parser.parse(text).unwrap().is_some(), "{text}");
        }
    }

    #[test]
    fn a_mistake_is_named_in_one_line() {
        let mut parser = LineParser::new();
        let entry = "fdb add 02:00:00:00:00:0b";
        let cases = [
            (
                format!("{entry} --vni 16777216 --dst 192.0.2.2"),
                "VNI 16777216 does not fit in 24 bits",
            ),
            (
                format!("{entry} --vni 100 --dst 192.0.2"),
                "`192.0.2` is not an IP address",
            ),
            (
                format!("{entry} --vni 100"),
                "required arguments were not provided: <--dst",
            ),
            (
                format!("{entry} --dst 192.0.2.2"),
                "required arguments were not provided: --vni",
            ),
            (
                format!("{entry} --vni 1 --dst 192.0.2.2 --dev tap0"),
                "cannot be used with",
            ),
            (
                "fdb add 02:00:00 --vni 1 --dst 192.0.2.2".into(),
                "`02:00:00` is not a MAC address",
            ),
            ("fdb add --help".into(), "unexpected argument '--help'"),
            ("fdb".into(), "the command is not complete"),
            ("fdb show".into(), "this command changes nothing"),
            ("vni set 100".into(), "nothing to set"),
            (
                "vni set 100 --max-macs 0".into(),
                "--max-macs 0 is not a limit",
            ),
            (
                "vni set 100 --ageing -1".into(),
                "--ageing -1 is not an ageing time",
            ),
            ("neigh show".into(), "this command changes nothing"),
            ("nexthop add 10.0.0.1 --vni 1".into(), "--via"),
            ("monitor".into(), "unrecognized subcommand 'monitor'"),
            (
                "vni add 100 --instance blue".into(),
                "unexpected argument '--instance'",
            ),
            ("stats".into(), "this command changes nothing"),
        ];
        for (text, expected) in cases {
            let error = parser.parse(&text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(
                !error.contains('\n') && !error.starts_with("error"),
                "{text}: {error}"
            );
        }
    }
}
