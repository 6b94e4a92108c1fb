//! The counters in ordinary maps.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    abi::{
        counter::{Counter, Direction},
        drops::{OwnerKind, Owners},
        id::{PeerId, PortSlot, SegmentId},
        reason::Reason,
    },
    decide::count::{Counters, count_end},
    runtime::{
        tables::Tables,
        verdict::{Account, End},
    },
    sim::{
        copies::copies,
        decision::{Decision, Verdict},
    },
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
    /// What was dropped, by kind and number of the owner, and code of the reason; for one hook.
    pub drops: RefCell<BTreeMap<(OwnerKind, u32, u32), Counter>>,
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
        let bytes = decision.inner_len;
        let (ports, peers) = copies(&decision.verdict, tables);
        for (slot, lost) in ports {
            match lost {
                Some(reason) => {
                    let owners = Owners {
                        segment: decision.segment,
                        port: slot,
                        peer: decision.from_peer,
                    };
                    self.copy_dropped(owners, reason, bytes);
                }
                None => self.port(slot, Direction::Decap, bytes),
            }
        }
        for (peer, lost) in peers {
            match lost {
                Some(reason) => {
                    let owners = Owners {
                        segment: decision.segment,
                        port: decision.from_port,
                        peer,
                    };
                    self.copy_dropped(owners, reason, bytes);
                }
                None => self.peer(peer, Direction::Encap, bytes),
            }
        }
    }
}

/// Counts one frame of `frame_len` bytes for which this was decided and which ended with `reason`.
fn count<C: Counters>(decision: &Decision, reason: Reason, frame_len: usize, counters: &C) {
    let Decision {
        verdict,
        segment,
        from_port,
        from_peer,
        recipient,
        inner_len,
        notes: _,
        destination: _,
    } = *decision;
    let (to_port, to_peer) = match verdict {
        Verdict::Encap(encap) => (PortSlot::NONE, encap.peer),
        Verdict::ViaKernel(via) => (PortSlot::NONE, via.peer),
        Verdict::Deliver(deliver) => (deliver.slot, PeerId::NONE),
        Verdict::Answer(_) => (from_port, PeerId::NONE),
        Verdict::AnswerTooBig(answer) => (PortSlot::NONE, answer.peer),
        Verdict::Leave(_) => (recipient.port, recipient.peer),
        Verdict::Flood(_)
        | Verdict::FloodPorts(_)
        | Verdict::Guard
        | Verdict::Neigh
        | Verdict::Unknown
        | Verdict::Resolved(_)
        | Verdict::Clamp(_)
        | Verdict::ClampReceived(_)
        | Verdict::TooBigFor(_) => (PortSlot::NONE, PeerId::NONE),
    };
    let account = Account {
        segment,
        from_port,
        from_peer,
        ..Account::unknown(inner_len)
    };
    let end = End {
        account,
        reason,
        to_port,
        to_peer,
    };
    let dropped = || counters.dropped(end.owners(), reason, frame_len);
    count_end(&end, frame_len, counters, dropped);
}

fn add<K: Ord>(map: &RefCell<BTreeMap<K, Counter>>, index: K, bytes: usize) {
    let mut map = map.borrow_mut();
    let counter = map.entry(index).or_default();
    counter.packets = counter.packets.saturating_add(1);
    counter.bytes = counter.bytes.saturating_add(bytes as u64);
}

impl Counters for HostCounters {
    fn reason(&self, reason: Reason, bytes: usize) {
        add(&self.reasons, reason.code(), bytes);
    }

    fn dropped(&self, owners: Owners, reason: Reason, bytes: usize) {
        for kind in OwnerKind::ALL {
            let row = (kind, owners.number(kind), reason.code());
            add(&self.drops, row, bytes);
        }
    }

    fn segment(&self, segment: SegmentId, direction: Direction, bytes: usize) {
        add(&self.segments, direction.index(segment.get()), bytes);
    }

    fn port(&self, slot: PortSlot, direction: Direction, bytes: usize) {
        add(&self.ports, direction.index(slot.get()), bytes);
    }

    fn peer(&self, peer: PeerId, direction: Direction, bytes: usize) {
        add(&self.peers, direction.index(peer.get()), bytes);
    }
}
