//! How far a VTEP could get at all.

use super::pair::By;
use crate::report::{Figures, Report};

/// Adds beside a row what its ratio would be if a VTEP took no time, from the same rounds: the same VMs joined by one veth pair are
/// one of the contenders.
pub(super) fn add(report: &mut Report, row: &str, unit: &str, figures: &Figures, rival: By<'_>) {
    let figures = figures.only(&[By::Nobody.name(), rival.name()]);
    report.ratio(&format!("bound of: {row}"), unit, &figures, None);
    report.note(
        "the same VMs joined by one veth pair, of the same offloads as the underlay, with no VTEP between them: the ratio of a \
         VTEP that takes no time, from the rounds of the row above",
    );
}
