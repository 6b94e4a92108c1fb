//! The report as a page.

use super::Report;

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    format!("<!doctype html><pre>{}</pre>", super::table::goals(report))
}
