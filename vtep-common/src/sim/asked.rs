//! Tables that write down what they are asked, so that a decision's look-ups can be told by the code that made them.

use std::{cell::RefCell, collections::HashSet};

use crate::{
    abi::{
        addr::VtepAddr,
        address::Address,
        config::Config,
        fdb::{FdbKey, FdbWord},
        flood::FloodList,
        id::{ListId, PeerId, PortSlot, SegmentId},
        neigh::{NeighKey, NeighValue},
        nexthop::NexthopValue,
        peer::Peer,
        policer::{Policed, Policer},
        port::{Port, PortKey},
        segment::Segment,
        uplink::UplinkWord,
    },
    frame::vlan::ShownVlan,
    runtime::tables::Tables,
};

/// What a table was asked for. What it says is there to be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// Which port has the frames of an interface and VLAN.
    PortAt(PortKey),
    /// A port.
    Port(PortSlot),
    /// A rate of a port.
    Policer(PortSlot, Policed),
    /// What may be answered at a port.
    Answers(PortSlot),
    /// Whether a VLAN of an interface has a port of its own.
    Mapped(u32, ShownVlan),
    /// Whether a port with a guard has an address.
    Owns(PortSlot, VtepAddr),
    /// Which segment a VNI is.
    Vni(u32),
    /// A segment.
    Segment(SegmentId),
    /// Where a MAC is.
    Fdb(FdbKey),
    /// What an underlay address is to us.
    Address(VtepAddr),
    /// Whether an entry of a segment names a peer.
    Listed(SegmentId, PeerId),
    /// Whether the host takes frames to a MAC at an uplink.
    Uplink(UplinkWord),
    /// A peer.
    Peer(PeerId),
    /// A flood list.
    FloodList(ListId),
    /// Where a host is, for ARP and ND.
    Neigh(NeighKey),
    /// Where a host is, by the nexthop table.
    Nexthop(SegmentId, VtepAddr),
}

/// Tables, and what they were asked.
#[derive(Debug)]
pub struct Recorder<'a, T> {
    tables: &'a T,
    asked: RefCell<(Vec<Asked>, HashSet<Asked>)>,
}

impl<'a, T> Recorder<'a, T> {
    /// Tables that nothing was asked of yet.
    #[must_use]
    pub fn new(tables: &'a T) -> Self {
        Self {
            tables,
            asked: RefCell::default(),
        }
    }

    /// What they were asked since last looked at, in this order, each thing where it was asked first.
    #[must_use]
    pub fn take(&self) -> Vec<Asked> {
        self.asked.take().0
    }

    fn note(&self, asked: Asked) -> &'a T {
        let (order, known) = &mut *self.asked.borrow_mut();
        if known.insert(asked) {
            order.push(asked);
        }
        self.tables
    }
}

impl<T: Tables> Tables for Recorder<'_, T> {
    fn config(&self) -> Config {
        self.tables.config()
    }

    fn segment(&self, segment: SegmentId) -> Option<&Segment> {
        self.note(Asked::Segment(segment)).segment(segment)
    }

    fn port(&self, slot: PortSlot) -> Option<&Port> {
        self.note(Asked::Port(slot)).port(slot)
    }

    fn policer(&self, slot: PortSlot, what: Policed) -> Policer {
        self.note(Asked::Policer(slot, what)).policer(slot, what)
    }

    fn answers(&self, slot: PortSlot) -> Policer {
        self.note(Asked::Answers(slot)).answers(slot)
    }

    fn is_mapped(&self, ifindex: u32, vlan: ShownVlan) -> bool {
        self.note(Asked::Mapped(ifindex, vlan))
            .is_mapped(ifindex, vlan)
    }

    fn owns(&self, slot: PortSlot, addr: &VtepAddr) -> bool {
        self.note(Asked::Owns(slot, *addr)).owns(slot, addr)
    }

    fn peer(&self, peer: PeerId) -> Option<&Peer> {
        self.note(Asked::Peer(peer)).peer(peer)
    }

    fn flood_list(&self, list: ListId) -> Option<&FloodList> {
        self.note(Asked::FloodList(list)).flood_list(list)
    }

    fn neigh(&self, key: &NeighKey) -> Option<NeighValue> {
        self.note(Asked::Neigh(*key)).neigh(key)
    }

    fn nexthop(&self, segment: SegmentId, host: &VtepAddr) -> Option<NexthopValue> {
        self.note(Asked::Nexthop(segment, *host))
            .nexthop(segment, host)
    }

    fn address(&self, addr: &VtepAddr) -> Address {
        self.note(Asked::Address(*addr)).address(addr)
    }

    fn vni_word(&self, vni: u32) -> u64 {
        self.note(Asked::Vni(vni)).vni_word(vni)
    }

    fn port_word(&self, key: &PortKey) -> u64 {
        self.note(Asked::PortAt(*key)).port_word(key)
    }

    fn segment_of_port(&self, slot: PortSlot) -> SegmentId {
        self.note(Asked::Port(slot)).segment_of_port(slot)
    }

    fn fdb_word(&self, key: &FdbKey) -> FdbWord {
        self.note(Asked::Fdb(*key)).fdb_word(key)
    }

    fn is_listed(&self, segment: SegmentId, peer: PeerId) -> bool {
        self.note(Asked::Listed(segment, peer))
            .is_listed(segment, peer)
    }

    fn is_uplink(&self, word: UplinkWord) -> bool {
        self.note(Asked::Uplink(word)).is_uplink(word)
    }

    fn now(&self) -> u64 {
        self.tables.now()
    }

    fn tick(&self) -> u64 {
        self.tables.tick()
    }
}
