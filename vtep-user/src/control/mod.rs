//! What the daemon knows and decides: VNIs, ports, FDB, flood lists, peers, hosts and the nexthop table, and what is to be
//! written for a change, for what the programs report, and as time passes.
//!
//! A pure state machine. It asks and touches nothing: the daemon looks links and routes up, hands in what it found, and
//! carries out the [`Effect`] that comes back. The BPF maps hold everything a user has set, so that [`State::adopt`]
//! makes the same state again from what an earlier daemon left, and repairs what that one had half done.
//!
//! Writes come in an order that never lets a table entry point at one that is not there: targets are made before what
//! refers to them, and go after it.

mod adopt;
mod config;
mod effect;
mod learn;
mod ops;
mod record;
mod repair;
mod rows;
mod state;
mod tend;
#[cfg(test)]
mod tests;
mod trace;

pub use adopt::{Adopted, Dump, PolicerEntries};
pub use config::{BuiltOn, Ground, NoPlan, Plan, Step, Thing, ThingKey, Things, Wanted};
pub use effect::{Announce, Attachment, Effect, Undo, Write};
pub(crate) use record::address::unfit_host;
pub use record::{
    address::unfit,
    author::Author,
    bridges::{BridgeFacts, BridgeView, GateFacts, MemberFacts, Unfit},
    facts::{LinkFacts, Links, ReservedFor},
    limits::Limits,
    others::{Other, Others},
    peer::Resolution,
    run::LearnCounters,
    stamps::Stamps,
};
pub use repair::{Broken, DeviceFacts, DeviceRepair, DeviceWanted, May, Patience, device};
pub use state::{State, TableSizes};
pub use tend::{BridgePlan, BridgeStep};
pub use trace::{Traced, TracedUplink};
