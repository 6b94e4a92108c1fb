//! What the daemon knows and decides: VNIs, ports, FDB, flood lists, peers, hosts and the nexthop table, and what is to be
//! written for a change, for what the kernel side tells, and as time passes.
//!
//! A pure state machine. It asks and touches nothing: the daemon looks links and routes up, hands in what it found, and
//! carries out the [`Effect`] that comes back. The BPF maps hold everything a user has set, so that [`State::adopt`]
//! makes the same state again from what an earlier daemon left, and repairs what that one had half done.
//!
//! Writes come in an order that never lets a table entry point at one that is not there: targets are made before what
//! refers to them, and go after it.

mod adopt;
mod adopt_fdb;
mod adopt_hosts;
mod age;
mod announce;
mod duplicate;
mod entry;
mod fdb;
mod flood;
mod hash;
mod hosts;
mod learn;
mod link;
mod neigh;
mod nexthop;
mod peer;
mod port;
mod queue;
mod refuse;
mod rows;
mod run;
mod settings;
mod slots;
mod snoop;
mod state;
mod tell;
#[cfg(test)]
mod tests;
mod vni;
mod write;

pub use adopt::{Adopted, Dump};
pub use learn::{Clock, LearnCounters};
pub use peer::{Resolution, unfit};
pub use state::{Duplicates, Limits, LinkFacts, Links, Reserved, State, Totals};
pub use write::{Announce, Attach, Effect, Write};
