//! The tables of an instance in ordinary maps.

use std::collections::{HashMap, HashSet};

use crate::{
    abi::{
        addr::{MacAddr, VtepAddr},
        address::Address,
        config::Config,
        fdb::{FdbKey, FdbValue, FdbWord},
        flood::FloodList,
        hash_table::numbered,
        id::{Ifindex, ListId, PeerId, PortSlot, SegmentId},
        neigh::{NeighKey, NeighValue},
        nexthop::{NexthopKey, NexthopValue},
        peer::Peer,
        policer::{Policed, Policer},
        port::{Port, PortKey},
        segment::Segment,
        uplink::UplinkWord,
        vlans::Vlans,
    },
    frame::vlan::ShownVlan,
    runtime::tables::Tables,
};

/// One field per BPF map, with the same keys and values, so that they can be read from the kernel, and loaded into it, as they are.
#[derive(Clone, Debug, Default)]
pub struct HostTables {
    /// `CONFIG`.
    pub config: Config,
    /// `LOCALS`: our own addresses.
    pub locals: HashSet<VtepAddr>,
    /// `LOCALS`: the groups that we are a member of.
    pub groups: HashSet<VtepAddr>,
    /// `VNIS`.
    pub vnis: HashMap<u32, SegmentId>,
    /// `SEGMENTS`.
    pub segments: HashMap<SegmentId, Segment>,
    /// `PORT_INDEX`.
    pub port_index: HashMap<PortKey, PortSlot>,
    /// `PORTS`.
    pub ports: HashMap<PortSlot, Port>,
    /// `POLICERS`.
    pub policers: HashMap<(PortSlot, Policed), Policer>,
    /// `POLICERS`: until when what was answered at a port lasts.
    pub answered: HashMap<PortSlot, u64>,
    /// `TRUNKS`.
    pub trunks: HashMap<Ifindex, Vlans>,
    /// `GUARDED`.
    pub guarded: HashSet<(PortSlot, VtepAddr)>,
    /// `FDB`.
    pub fdb: HashMap<FdbKey, FdbValue>,
    /// `FLOOD`.
    pub flood: HashMap<ListId, FloodList>,
    /// `PEERS`.
    pub peers: HashMap<PeerId, Peer>,
    /// `PEER_INDEX`.
    pub peer_index: HashMap<VtepAddr, PeerId>,
    /// `NEIGHS`.
    pub neighs: HashMap<NeighKey, NeighValue>,
    /// `NEXTHOPS`, each with the length of its prefix, in bits of the whole key.
    pub nexthops: Vec<(u32, NexthopKey, NexthopValue)>,
    /// `SOURCES`: the peers that entries of a segment name.
    pub sources: HashSet<(SegmentId, PeerId)>,
    /// `UPLINKS`: the MACs that the host takes frames to, each at an interface.
    pub uplinks: HashSet<(u32, MacAddr)>,
    /// The clock, nanoseconds of `CLOCK_MONOTONIC`.
    pub now: u64,
    /// How long it stands still.
    pub tick: u64,
}

impl Tables for HostTables {
    fn address(&self, addr: &VtepAddr) -> Address {
        Address::default()
            .with_peer(self.peer_index.get(addr).copied())
            .with(Address::OWN, self.locals.contains(addr))
            .with(Address::GROUP, self.groups.contains(addr))
    }

    fn vni_word(&self, vni: u32) -> u64 {
        self.vnis.get(&vni).map_or(0, |id| numbered(id.get()))
    }

    fn port_word(&self, key: &PortKey) -> u64 {
        self.port_index.get(key).map_or(0, |id| numbered(id.get()))
    }

    fn segment_of_port(&self, slot: PortSlot) -> SegmentId {
        let port = self.ports.get(&slot);
        port.map_or(SegmentId::default(), |port| port.segment)
    }

    fn fdb_word(&self, key: &FdbKey) -> FdbWord {
        let value = self.fdb.get(key);
        value.map_or(FdbWord::default(), FdbValue::word)
    }

    fn peer(&self, peer: PeerId) -> Option<&Peer> {
        self.peers.get(&peer).filter(|peer| peer.has(Peer::IN_USE))
    }

    fn is_listed(&self, segment: SegmentId, peer: PeerId) -> bool {
        self.sources.contains(&(segment, peer))
    }

    fn is_uplink(&self, word: UplinkWord) -> bool {
        let mut words = self.uplinks.iter();
        words.any(|(ifindex, mac)| UplinkWord::new(*ifindex, *mac) == word)
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn tick(&self) -> u64 {
        self.tick
    }

    fn policer(&self, slot: PortSlot, what: Policed) -> Policer {
        let found = self.policers.get(&(slot, what));
        found.copied().unwrap_or_default()
    }

    fn answers(&self, slot: PortSlot) -> Policer {
        Policer {
            used_until: self.answered.get(&slot).copied().unwrap_or_default(),
            ..Policer::ANSWERS
        }
    }

    fn config(&self) -> Config {
        self.config
    }

    fn segment(&self, segment: SegmentId) -> Option<&Segment> {
        self.segments
            .get(&segment)
            .filter(|segment| segment.has(Segment::IN_USE))
    }

    fn port(&self, slot: PortSlot) -> Option<&Port> {
        self.ports.get(&slot).filter(|port| port.has(Port::IN_USE))
    }

    fn is_mapped(&self, ifindex: u32, vlan: ShownVlan) -> bool {
        let trunk = self.trunks.get(&Ifindex::new(ifindex));
        vlan == ShownVlan::HIDDEN || trunk.is_some_and(|vlans| vlans.has(vlan.get()))
    }

    fn owns(&self, slot: PortSlot, addr: &VtepAddr) -> bool {
        self.guarded.contains(&(slot, *addr))
    }

    fn flood_list(&self, list: ListId) -> Option<&FloodList> {
        self.flood.get(&list)
    }

    fn neigh(&self, key: &NeighKey) -> Option<NeighValue> {
        self.neighs.get(key).copied()
    }

    fn nexthop(&self, segment: SegmentId, host: &VtepAddr) -> Option<NexthopValue> {
        let wanted = NexthopKey {
            segment,
            host: *host,
        };
        self.nexthops
            .iter()
            .filter(|(bits, key, _)| prefix_matches(*bits, key, &wanted))
            .max_by_key(|(bits, ..)| *bits)
            .map(|(.., value)| *value)
    }
}

/// True if the first `bits` bits of two keys are the same, as the kernel's trie compares them.
fn prefix_matches(bits: u32, one: &NexthopKey, other: &NexthopKey) -> bool {
    let mut left = bits;
    bytemuck::bytes_of(one)
        .iter()
        .zip(bytemuck::bytes_of(other))
        .all(|(one, other)| {
            // Of this byte so many bits count, and of those behind it the rest.
            let counts = !u8::MAX.checked_shr(left).unwrap_or(0);
            left = left.saturating_sub(8);
            (one ^ other) & counts == 0
        })
}
