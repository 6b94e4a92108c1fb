//! The decisions, case by case: what becomes of which frame.

mod count;
mod outer;
mod port;
mod shared;
mod tunnel;
mod uplink;
