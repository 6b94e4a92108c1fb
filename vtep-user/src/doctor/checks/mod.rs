//! The checks: each a function from facts to what it finds, without a look at anything else.

pub(super) mod cards;
pub(super) mod conflicts;
pub(super) mod daemon;
pub(super) mod drops;
pub(super) mod duplicates;
pub(super) mod flood;
pub(super) mod limits;
pub(super) mod paths;
pub(super) mod ports;
pub(super) mod rules;
pub(super) mod uplinks;
pub(super) mod vlans;
