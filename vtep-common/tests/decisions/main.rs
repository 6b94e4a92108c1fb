//! The decisions, case by case: what becomes of which frame.

mod count;
mod known;
mod learn;
mod neigh;
mod nexthop;
mod outer;
mod port;
mod shared;
mod tunnel;
mod uplink;
