//! The changes that a user asks for, one file for each family.

pub(crate) mod address;
pub(crate) mod entry;
pub(crate) mod fdb;
pub(crate) mod flood;
pub(crate) mod link;
pub(crate) mod neigh;
pub(crate) mod nexthop;
pub(crate) mod peer;
pub(crate) mod port;
pub(crate) mod refuse;
pub(crate) mod vni;
