//! What is kept: records, and rooms that hold all of a kind.
//!
//! A room owns its indexes and counts behind private fields, so that none of them can be forgotten when a record comes or goes. What
//! belongs to a segment or a port is found by its number. No room knows another: what a change means for all of them is said in
//! [`ops`](super::ops) and [`learn`](super::learn).

pub(crate) mod address;
pub(crate) mod addresses;
pub(crate) mod author;
pub(crate) mod bridges;
pub(crate) mod claims;
pub(crate) mod delivery;
pub(crate) mod entry;
pub(crate) mod facts;
pub(crate) mod fdb;
pub(crate) mod flood;
pub(crate) mod hash;
pub(crate) mod heard;
pub(crate) mod hosts;
pub(crate) mod ignored;
pub(crate) mod limits;
pub(crate) mod locals;
pub(crate) mod location;
pub(crate) mod moves;
pub(crate) mod nexthops;
pub(crate) mod numbered;
pub(crate) mod others;
pub(crate) mod peer;
pub(crate) mod peers;
pub(crate) mod ports;
pub(crate) mod queue;
pub(crate) mod rates;
pub(crate) mod run;
pub(crate) mod segments;
pub(crate) mod settings;
pub(crate) mod slots;
pub(crate) mod sources;
pub(crate) mod stamps;
