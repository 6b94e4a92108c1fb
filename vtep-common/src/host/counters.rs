//! The counters in ordinary maps.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    count::{Counters, Direction, copy_goes, count},
    maps::Counter,
    reason::Reason,
    tables::Tables,
    verdict::{Decision, Flood, NONE, Verdict},
};

/// One field per BPF map of counters, with the same indices; a counter that was never touched is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostCounters {
    /// By code of the reason, for one hook.
    pub reasons: RefCell<BTreeMap<u32, Counter>>,
    /// By [`Direction::index`] of the segment number.
    pub segments: RefCell<BTreeMap<u32, Counter>>,
    /// By [`Direction::index`] of the port's slot.
    pub ports: RefCell<BTreeMap<u32, Counter>>,
    /// By [`Direction::index`] of the peer number.
    pub peers: RefCell<BTreeMap<u32, Counter>>,
}

impl HostCounters {
    /// Counts a frame of `frame_len` bytes that ended with `reason`, the copies of a flood included: a copy counts the bytes
    /// of the frame as it came, for each target that is there.
    pub fn record<T: Tables>(
        &self,
        decision: &Decision,
        reason: Reason,
        frame_len: usize,
        tables: &T,
    ) {
        count(decision, reason, frame_len, self);
        if let Verdict::Flood(flood) = &decision.verdict {
            self.record_copies(flood, decision.inner_len, tables);
        }
    }

    fn record_copies<T: Tables>(&self, flood: &Flood, bytes: usize, tables: &T) {
        let Some(list) = tables.flood_list(flood.list) else {
            return;
        };
        let used = list.targets.iter().take(list.len as usize);
        for (at, target) in used.enumerate() {
            if at < list.ports as usize {
                if flood.from != *target && tables.port(*target).is_some() {
                    self.port(*target, Direction::Decap, bytes);
                }
            } else if flood.from != NONE
                && let Some(peer) = tables.peer(*target)
            {
                if copy_goes(peer, flood.carried_len) {
                    self.peer(*target, Direction::Encap, bytes);
                } else {
                    self.reason(Reason::CopyLost, bytes);
                }
            }
        }
    }
}

fn add(map: &RefCell<BTreeMap<u32, Counter>>, index: u32, bytes: usize) {
    let mut map = map.borrow_mut();
    let counter = map.entry(index).or_default();
    counter.packets += 1;
    counter.bytes += bytes as u64;
}

impl Counters for HostCounters {
    fn reason(&self, reason: Reason, bytes: usize) {
        add(&self.reasons, reason.code(), bytes);
    }

    fn segment(&self, number: u32, direction: Direction, bytes: usize) {
        add(&self.segments, direction.index(number), bytes);
    }

    fn port(&self, slot: u32, direction: Direction, bytes: usize) {
        add(&self.ports, direction.index(slot), bytes);
    }

    fn peer(&self, number: u32, direction: Direction, bytes: usize) {
        add(&self.peers, direction.index(number), bytes);
    }
}
