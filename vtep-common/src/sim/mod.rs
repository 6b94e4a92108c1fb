//! The kernel side on the host: tables in ordinary maps, what a verdict does to the bytes, counters.
//!
//! Tests, fuzz targets and the comparison with the kernel share it; it is in no program.

mod apply;
mod counters;
mod port;
mod tables;

pub use apply::{Action, Outcome, apply_port, apply_tunnel, apply_uplink, copies_in_place};
pub use counters::HostCounters;
pub use port::decide_port;
pub use tables::{HostTables, peer_entry};
