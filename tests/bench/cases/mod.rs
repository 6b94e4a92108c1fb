//! What is measured, a file for each case.

mod baseline;
mod bound;
mod busy;
mod choices;
mod configuration;
mod connect;
mod control;
mod fdb;
mod flood;
mod learning;
mod ovs;
mod packets;
mod pair;
mod program;
mod rr;
mod tcp;

use crate::measure::Scale;
use crate::report::Report;

/// A case.
pub(crate) struct Case {
    /// What it is called on the command line and in the results.
    pub(crate) name: &'static str,
    /// What it measures, for people.
    pub(crate) about: &'static str,
    /// Measures, and adds what it found to the report.
    pub(crate) run: fn(&Scale, &mut Report),
}

/// Every case, in the order in which they run.
pub(crate) const ALL: &[Case] = &[
    Case {
        name: "program",
        about: "what each program takes for a packet, by PROG_TEST_RUN",
        run: program::run,
    },
    Case {
        name: "packets",
        about: "packets per second from VM to VM, and through one VTEP in one direction",
        run: packets::run,
    },
    Case {
        name: "tcp",
        about: "TCP from VM to VM: rate, and kernel CPU at a fixed rate",
        run: tcp::run,
    },
    Case {
        name: "rr",
        about: "one byte there and back, both ends on one processor",
        run: rr::run,
    },
    Case {
        name: "learning",
        about: "new source MACs, from the first frame until all of them are in the FDB",
        run: learning::run,
    },
    Case {
        name: "fdb",
        about: "the FDB at its sizes: look-ups, changes, reading it all, and memory",
        run: fdb::run,
    },
    Case {
        name: "flood",
        about: "what a copy of a broadcast to a VTEP takes, by the number of VTEPs",
        run: flood::run,
    },
    Case {
        name: "control",
        about: "a great many entries loaded through the API, adopted by a new daemon, and in a configuration file",
        run: control::run,
    },
    Case {
        name: "busy",
        about: "how long others wait while routes change and ports come and go",
        run: busy::run,
    },
];

/// The names of all cases.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|case| case.name).collect()
}
