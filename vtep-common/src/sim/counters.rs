//! The counters in ordinary maps.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    abi::{
        counter::{Counter, Direction},
        flood::FloodList,
        id::{ListId, PeerId, PortSlot, SegmentId},
        policer::Policed,
        port::Port,
        reason::Reason,
    },
    decide::{
        count::{Counters, copy_goes, count_end},
        police,
    },
    frame::vlan::ShownVlan,
    runtime::{
        tables::Tables,
        verdict::{Account, End},
    },
    sim::decision::{Decision, Verdict},
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
        let bytes = decision.inner_len;
        match &decision.verdict {
            Verdict::Flood(flood) => {
                let copies = (flood.list, flood.vlan, flood.bytes);
                let reaches = |slot, port: &Port| flood.reaches(slot, port);
                self.record_ports(copies, reaches, bytes, tables);
                self.record_peers(flood.list, flood.carried_len, bytes, tables);
            }
            Verdict::FloodPorts(flood) => {
                let reaches = |_, port: &Port| flood.reaches(port);
                let copies = (flood.list, flood.vlan, flood.bytes);
                self.record_ports(copies, reaches, bytes, tables);
            }
            Verdict::Encap(_)
            | Verdict::ViaKernel(_)
            | Verdict::Deliver(_)
            | Verdict::Answer(_)
            | Verdict::AnswerTooBig(_)
            | Verdict::Guard
            | Verdict::Neigh
            | Verdict::Unknown
            | Verdict::Resolved(_)
            | Verdict::Clamp(_)
            | Verdict::ClampReceived(_)
            | Verdict::TooBigFor(_)
            | Verdict::Leave(_) => {}
        }
    }

    fn record_ports<T: Tables>(
        &self,
        (list, vlan, policed): (ListId, ShownVlan, u32),
        reaches: impl Fn(PortSlot, &Port) -> bool,
        bytes: usize,
        tables: &T,
    ) {
        for slot in tables
            .flood_list(list)
            .into_iter()
            .flat_map(FloodList::ports)
        {
            let Some(port) = tables.port(slot).filter(|port| reaches(slot, port)) else {
                continue;
            };
            if port.has(Port::TRUNK) && tables.is_mapped(port.ifindex, vlan) {
                self.reason(Reason::VlanHop, bytes);
            } else if port.has(Port::RATE_OUT)
                && !police::passes(tables, slot, Policed::Out, policed)
            {
                self.reason(Reason::Rate, bytes);
            } else {
                self.port(slot, Direction::Decap, bytes);
            }
        }
    }

    fn record_peers<T: Tables>(&self, list: ListId, carried_len: u32, bytes: usize, tables: &T) {
        for number in tables
            .flood_list(list)
            .into_iter()
            .flat_map(FloodList::peers)
        {
            match tables.peer(number) {
                Some(peer) if copy_goes(peer, carried_len) => {
                    self.peer(number, Direction::Encap, bytes);
                }
                Some(_) => self.reason(Reason::CopyLost, bytes),
                None => {}
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
        inner_len,
        notes: _,
        destination: _,
    } = *decision;
    let (to_port, to_peer) = match verdict {
        Verdict::Encap(encap) => (PortSlot::NONE, encap.peer),
        Verdict::ViaKernel(via) => (PortSlot::NONE, via.peer),
        Verdict::Deliver(deliver) => (deliver.slot, PeerId::NONE),
        Verdict::Answer(_) => (from_port, PeerId::NONE),
        Verdict::Flood(_)
        | Verdict::FloodPorts(_)
        | Verdict::AnswerTooBig(_)
        | Verdict::Guard
        | Verdict::Neigh
        | Verdict::Unknown
        | Verdict::Resolved(_)
        | Verdict::Clamp(_)
        | Verdict::ClampReceived(_)
        | Verdict::TooBigFor(_)
        | Verdict::Leave(_) => (PortSlot::NONE, PeerId::NONE),
    };
    let account = Account {
        segment,
        from_port,
        from_peer,
        ..Account::unknown(inner_len)
    };
    count_end(
        &End {
            account,
            reason,
            to_port,
            to_peer,
        },
        frame_len,
        counters,
    );
}

fn add(map: &RefCell<BTreeMap<u32, Counter>>, index: u32, bytes: usize) {
    let mut map = map.borrow_mut();
    let counter = map.entry(index).or_default();
    counter.packets = counter.packets.saturating_add(1);
    counter.bytes = counter.bytes.saturating_add(bytes as u64);
}

impl Counters for HostCounters {
    fn reason(&self, reason: Reason, bytes: usize) {
        add(&self.reasons, reason.code(), bytes);
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
