//! The kernel side on the host: tables in ordinary maps, what a verdict does to the bytes, counters.
//!
//! It stands on what the tables hold and says what becomes of a frame, so that the daemon can use it as well as tests. It does
//! not panic: what does not go together is an error. What only tests need is in `testkit`.

mod apply;
pub mod asked;
mod copies;
mod counters;
pub mod decision;
mod host;
mod side;
mod slow_path;
mod tables;
pub mod trace;

pub use crate::runtime::verdict::Action;
pub use apply::{Outcome, Unfit, apply_port, apply_tunnel, apply_uplink, copies_in_place};
pub use copies::{FloodCopy, copies};
pub use counters::HostCounters;
pub use host::{decide_port, decide_tunnel, decide_uplink};
pub use side::Side;

pub use tables::HostTables;
