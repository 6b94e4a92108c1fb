//! vtep beside another build of it, in the same rounds.

use std::path::Path;

use crate::report::{Figures, Goal, Report};

/// What the other build is called among the contenders.
pub(super) const NAME: &str = "baseline";
/// How many times the time of the other build a frame may take.
const MOST: f64 = 1.03;

/// What one figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Nanoseconds of a frame: less is better.
    Time,
    /// Millions of packets a second: more is better.
    Rate,
}

/// Adds the ratio of one contender, of this build, to another, of the baseline: `row` is what was measured.
pub(super) fn add(
    report: &mut Report,
    row: &str,
    unit: Unit,
    figures: &Figures,
    pair: [&str; 2],
    baseline: &Path,
) {
    let (name, goal) = match unit {
        Unit::Time => ("ns", Goal::AtMost(MOST)),
        Unit::Rate => ("Mpps", Goal::AtLeast(1.0 / MOST)),
    };
    let row = format!("{row}, against the baseline");
    report.ratio(&row, name, &figures.only(&pair), Some(goal));
    report.note(format!("the baseline is {}", baseline.display()));
}
