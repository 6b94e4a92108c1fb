//! The forms of what is printed: JSON, text for people on a terminal, or plain for a pipe.

use std::fmt::Display;
use std::io::{self, IsTerminal};

use super::terminal;

/// The form that rows are printed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// A JSON array of objects.
    Json,
    /// For people.
    Terminal {
        /// Whether colour is wanted.
        colour: bool,
        /// How wide it is, in columns.
        width: usize,
    },
    /// For other programs.
    Plain,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        if json {
            Self::Json
        } else if io::stdout().is_terminal() {
            Self::Terminal {
                colour: terminal::has_colours(),
                width: terminal::width(),
            }
        } else {
            Self::Plain
        }
    }

    /// The text in the colour of an ANSI code, where colour is wanted.
    pub(super) fn paint(self, code: &str, text: &dyn Display) -> String {
        match self {
            Self::Terminal { colour: true, .. } => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Terminal { colour: false, .. } | Self::Json | Self::Plain => text.to_string(),
        }
    }

    /// A word for the state of something: green where all is well, red where it is not, yellow in between.
    pub(super) fn state(self, word: &dyn Display) -> String {
        match &*word.to_string() {
            "attached" | "resolved" | "learned" | "port_up" | "peer_up" | "uplink_up" => {
                self.paint("32", word)
            }
            "static" => self.paint("34", word),
            "absent" | "resolving" | "silent" | "snooped" | "aged" | "moved" | "miss" => {
                self.paint("33", word)
            }
            "unreachable" | "down" | "port_down" | "peer_down" | "uplink_down" | "duplicate"
            | "limit" | "lost" => self.paint("31", word),
            _ => word.to_string(),
        }
    }

    /// A line of a first word and others. A terminal gets it in lines of its width, the others indented.
    pub(super) fn folded<'a>(
        self,
        first: &'a str,
        words: impl IntoIterator<Item = &'a str>,
        indent: usize,
    ) -> String {
        let width = match self {
            Self::Terminal { width, .. } => width,
            Self::Json | Self::Plain => usize::MAX,
        };
        let words = std::iter::once(first).chain(words);
        terminal::fold(words, width, indent) + "\n"
    }
}
