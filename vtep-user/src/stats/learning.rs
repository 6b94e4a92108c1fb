//! What was learned, as counters.

use vtep_common::abi::event::EventEnd;

use crate::{
    control::{LearnCounters, State},
    datapath::Snapshot,
};

/// The name of the hook in rows: what learns is the daemon.
pub(super) const HOOK: &str = "learning";

/// How often something was announced to other VTEPs, or was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnnounceCounters {
    /// Packets sent.
    pub sent: u64,
    /// Packets for which there was no room, or that the kernel did not take.
    pub lost: u64,
}

/// How often each thing happened, by its name.
pub(super) fn learned(state: &State) -> [(&'static str, u64); 7] {
    let LearnCounters {
        learned,
        moved,
        aged,
        limited,
        full,
        frozen,
        ignored,
    } = state.learn_counters();
    [
        ("learned", learned),
        ("moved", moved),
        ("aged", aged),
        ("max_macs", limited),
        ("fdb_full", full),
        ("duplicate", frozen),
        ("ignored", ignored),
    ]
}

/// How many events had this end.
pub(super) fn events(snapshot: &Snapshot, end: EventEnd) -> u64 {
    let found = snapshot.events.iter().find(|counter| counter.key == end);
    found.map_or(0, |counter| counter.packets)
}
