//! A step of a migration.

use std::io;

use super::tables::Tables;

/// The way from one layout to the next.
pub(super) struct Step {
    /// The layout that it starts from.
    pub(super) from: u32,
    /// The maps that it changes, with the sizes of their keys and values in that layout.
    pub(super) was: &'static [(&'static str, (usize, usize))],
    /// Gives their entries the form that they have in the next layout.
    pub(super) migrate: fn(&mut Tables<'_>) -> io::Result<()>,
}
