//! The commands that are no operation of the API, and what every command takes.

use std::path::PathBuf;

use super::argument::{Argument, ArgumentList, Nothing, setting};
use super::config;
use super::operation::Syntax;
use super::request::operations;
use super::settings::{batch, capture, filter, import, run, teardown, top, trace};
use super::{ImportFrom, InstanceName, Shell};

/// `vtep run`
pub static RUN: Syntax = Syntax {
    words: &["run"],
    help: "Run the daemon",
    key: None,
    takes: &run::OPTIONS,
};

/// `vtep apply`
pub static APPLY: Syntax = Syntax {
    words: &["apply"],
    help: "Make what is set what a configuration file says, and print what is done for it",
    key: Some(
        Argument::key::<PathBuf>(
            "FILE",
            "The file; without it, the one that the daemon was started with",
        )
        .optional(),
    ),
    takes: &config::APPLY,
};

/// `vtep dump`
pub static DUMP: Syntax = Syntax {
    words: &["dump"],
    help: "Print what is set, as a configuration file",
    key: None,
    takes: &config::DUMP_OPTIONS,
};

/// `vtep trace`
pub static TRACE: Syntax = Syntax {
    words: &["trace"],
    help: "Show what would become of a frame, step by step; nothing is sent, counted or learned",
    key: Some(
        Argument::key::<String>(
            "DEV",
            "The port or the uplink that it comes in by; with --live, also the port that it goes to",
        )
        .optional(),
    ),
    takes: &trace::OPTIONS,
};

/// `vtep save`
pub static SAVE: Syntax = Syntax {
    words: &["save"],
    help: "Add what commands have set to conf.d/90-saved.conf beside the configuration file",
    key: None,
    takes: &Nothing,
};

/// `vtep monitor`
pub static MONITOR: Syntax = Syntax {
    words: &["monitor"],
    help: "Print events as they happen: MACs that are learned, move, age, are missed or lost",
    key: None,
    takes: &filter::EVENTS,
};

/// `vtep top`
pub static TOP: Syntax = Syntax {
    words: &["top"],
    help: "Show rates on a terminal, by port, VNI, VTEP and reason of drops, until q is pressed",
    key: None,
    takes: &top::OPTIONS,
};

/// `vtep doctor`
pub static DOCTOR: Syntax = Syntax {
    words: &["doctor"],
    help: "Look for what keeps frames from arriving, and name the command that mends it",
    key: None,
    takes: &Nothing,
};

/// `vtep import`
pub static IMPORT: Syntax = Syntax {
    words: &["import"],
    help: "Print the configuration that carries what the kernel's own devices carry; nothing is changed",
    key: Some(Argument::key::<ImportFrom>("FROM", "What to import from")),
    takes: &import::OPTIONS,
};

/// `vtep capture`
pub static CAPTURE: Syntax = Syntax {
    words: &["capture"],
    help: "Show the inner frames that end in the data path, both ways and drops too, or write them as pcapng",
    key: Some(
        Argument::key::<String>(
            "DEV",
            "The port, or the uplink; without it, frames of all of them",
        )
        .optional(),
    ),
    takes: &capture::OPTIONS,
};

/// `vtep batch`
pub static BATCH: Syntax = Syntax {
    words: &["batch"],
    help: "Make many changes: one command per line, without the leading `vtep`",
    key: Some(
        Argument::key::<PathBuf>(
            "FILE",
            "The commands; `-` for standard input. Blank lines and lines that begin with `#` are skipped",
        )
        .default("-"),
    ),
    takes: &batch::OPTIONS,
};

/// `vtep teardown`
pub static TEARDOWN: Syntax = Syntax {
    words: &["teardown"],
    help: "Remove everything from the kernel and end the daemon",
    key: None,
    takes: &teardown::OPTIONS,
};

/// `vtep completions`
pub static COMPLETIONS: Syntax = Syntax {
    words: &["completions"],
    help: "Print a completion script for a shell",
    key: Some(Argument::key::<Shell>("SHELL", "The shell")),
    takes: &Nothing,
};

/// `vtep describe`, for whoever packs vtep
pub static DESCRIBE: Syntax = Syntax {
    words: &["describe"],
    help: "Write the manual into a directory, a page for each command",
    key: Some(Argument::key::<PathBuf>("DIR", "The directory")),
    takes: &Nothing,
};

/// A word that several commands begin with.
pub struct CommandGroup {
    /// The word.
    pub word: &'static str,
    /// What the help says of it.
    pub help: &'static str,
    /// The verbs that the help has first, in this order; the others follow.
    pub first: &'static [&'static str],
}

/// The first words of the commands that have two, in the order of the help.
pub static GROUPS: [CommandGroup; 6] = [
    CommandGroup {
        word: "vni",
        help: "Segments (VNIs): how they flood, learn and encapsulate",
        first: &[],
    },
    CommandGroup {
        word: "port",
        help: "Access interfaces: taps, veths, NICs, or VLANs on them",
        first: &[],
    },
    CommandGroup {
        word: "fdb",
        help: "The forwarding database: which MAC is behind which VTEP or port",
        first: &["add", "append", "replace", "del", "get", "show"],
    },
    CommandGroup {
        word: "neigh",
        help: "Hosts that ARP and ND are answered for",
        first: &[],
    },
    CommandGroup {
        word: "nexthop",
        help: "The nexthop table: which host or prefix is behind which VTEP",
        first: &[],
    },
    CommandGroup {
        word: "peer",
        help: "Remote VTEPs",
        first: &["show"],
    },
];

/// All commands: those of the operations, and the others.
pub fn commands() -> impl Iterator<Item = &'static Syntax> {
    let others = [
        &RUN,
        &APPLY,
        &DUMP,
        &SAVE,
        &TRACE,
        &MONITOR,
        &TOP,
        &CAPTURE,
        &DOCTOR,
        &IMPORT,
        &BATCH,
        &TEARDOWN,
        &COMPLETIONS,
        &DESCRIBE,
    ];
    let operations = operations().filter_map(|operation| operation.command());
    operations.chain(others)
}

/// What stands before or behind the words of any command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globals {
    /// Whether data is printed as JSON.
    pub json: bool,
    /// Which daemon is talked to, or run.
    pub instance: InstanceName,
    /// Seconds to wait for a daemon that does not answer; 0 for ever.
    pub timeout_s: u32,
}

impl Default for Globals {
    fn default() -> Self {
        Self {
            json: false,
            instance: InstanceName::default(),
            timeout_s: 10,
        }
    }
}

/// The options that every command takes.
pub static GLOBALS: ArgumentList<Globals> = ArgumentList {
    settings: &[
        setting!(
            Globals,
            json,
            "--json",
            "Print rows as a JSON array of objects, and events as one object per line"
        )
        .letter('j'),
        setting!(
            Globals,
            instance,
            "--instance",
            "The instance: which daemon to talk to, or to run"
        )
        .variable("VTEP_INSTANCE")
        .default("main"),
        setting!(
            Globals,
            timeout_s,
            "--timeout",
            "Give up where the daemon does not answer for so long; 0 to wait for ever"
        )
        .value_name("SECONDS")
        .default("10"),
    ],
    rules: &[],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_has_the_first_word_of_every_command_of_two() {
        let firsts = commands().filter_map(|command| match command.words {
            [first, _] => Some(*first),
            _ => None,
        });
        for first in firsts {
            assert!(GROUPS.iter().any(|group| group.word == first), "{first}");
        }
    }
}
