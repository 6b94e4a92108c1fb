//! What is measured, a file for each case.

mod packets;
mod program;

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
];

/// The names of all cases.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|case| case.name).collect()
}
