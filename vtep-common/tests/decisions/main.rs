//! The decisions, case by case: what becomes of which frame.

mod absent;
mod admit;
mod count;
mod guard;
mod hop;
mod learn;
mod lookup;
mod mss;
mod neigh;
mod nexthop;
mod outer;
mod police;
mod port;
mod shared;
mod too_big;
mod trace;
mod tunnel;
mod uplink;
