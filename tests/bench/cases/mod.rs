//! What is measured, a file for each case.

mod flood;
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
        name: "flood",
        about: "what a copy of a broadcast to a VTEP takes, by the number of VTEPs",
        run: flood::run,
    },
];

/// The names of all cases.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|case| case.name).collect()
}
