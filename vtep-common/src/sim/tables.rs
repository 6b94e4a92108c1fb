//! The tables of an instance in ordinary maps.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use crate::{
    abi::{
        addr::{MacAddr, VtepAddr},
        address::Address,
        config::Config,
        fdb::{FdbKey, FdbTarget, FdbValue, FdbWord},
        flood::FloodList,
        hash_table::numbered,
        id::{ListId, PeerId, PortSlot, SegmentId},
        map::LAYOUT_VERSION,
        neigh::{NeighKey, NeighValue},
        nexthop::{NexthopKey, NexthopValue},
        outer_template,
        peer::Peer,
        port::{Port, PortKey},
        segment::Segment,
    },
    frame::template,
    runtime::{Keyed, Tables},
    wire,
};

/// One field per BPF map, with the same keys and values, so that a test can load them into the kernel as they are.
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
    /// The clock, nanoseconds of `CLOCK_MONOTONIC`.
    pub now: u64,
}

impl HostTables {
    /// Empty tables of an instance on the assigned UDP port.
    #[must_use]
    pub fn new() -> Self {
        Self {
            config: Config {
                layout: LAYOUT_VERSION,
                udp_port: wire::vxlan::PORT,
                ..Config::default()
            },
            // Later than the stamps of entries that were never renewed.
            now: 1_000 * FdbValue::REFRESH_NS,
            ..Self::default()
        }
    }

    /// Adds a local VTEP address.
    pub fn add_local(&mut self, addr: IpAddr) {
        self.locals.insert(addr.into());
    }

    /// Adds a segment under its VNI; it is marked as in use.
    pub fn add_segment(&mut self, id: SegmentId, segment: Segment) {
        self.vnis.insert(segment.vni, id);
        let flags = segment.flags | Segment::IN_USE;
        self.segments.insert(id, Segment { flags, ..segment });
    }

    /// Adds a port under its interface and VLAN; it is marked as in use.
    pub fn add_port(&mut self, slot: PortSlot, port: Port) {
        self.port_index
            .insert(PortKey::new(port.ifindex, port.vlan), slot);
        let flags = port.flags | Port::IN_USE;
        self.ports.insert(slot, Port { flags, ..port });
    }

    /// Adds a peer under its address; it is marked as in use.
    pub fn add_peer(&mut self, id: PeerId, peer: Peer) {
        self.peer_index.insert(peer.addr, id);
        let flags = peer.flags | Peer::IN_USE;
        self.peers.insert(id, Peer { flags, ..peer });
    }

    /// Adds a static FDB entry.
    pub fn add_fdb(&mut self, segment: SegmentId, mac: MacAddr, target: FdbTarget) {
        let value = FdbValue::fixed(target);
        self.fdb.insert(FdbKey::new(segment, mac), value);
    }

    /// Adds a learned FDB entry, last seen `last_seen`.
    pub fn add_learned(
        &mut self,
        segment: SegmentId,
        mac: MacAddr,
        target: FdbTarget,
        last_seen: u64,
    ) {
        let value = FdbValue::learned(target, last_seen);
        self.fdb.insert(FdbKey::new(segment, mac), value);
    }

    /// Adds a host that ARP and ND are answered for, with the flags of [`NeighValue`].
    pub fn add_neigh(&mut self, segment: SegmentId, host: IpAddr, mac: MacAddr, flags: u16) {
        let key = NeighKey {
            segment,
            host: host.into(),
        };
        let value = NeighValue {
            mac: mac.get(),
            flags,
            origin: NeighValue::STATIC,
            ..NeighValue::default()
        };
        self.neighs.insert(key, value);
    }

    /// Adds a prefix of `len` bits to the nexthop table; `mac` is zero to leave the destination as it is.
    pub fn add_nexthop(
        &mut self,
        segment: SegmentId,
        (prefix, len): (IpAddr, u32),
        target: Option<FdbTarget>,
        mac: MacAddr,
    ) {
        let key = NexthopKey {
            segment,
            host: prefix.into(),
        };
        let v4 = if prefix.is_ipv4() {
            NexthopKey::V4_BITS
        } else {
            0
        };
        let value = NexthopValue::new(target, mac, NexthopValue::STATIC, 0);
        self.nexthops
            .push((NexthopKey::SEGMENT_BITS + v4 + len, key, value));
    }

    /// Adds a flood list.
    pub fn add_flood(&mut self, id: ListId, ports: &[PortSlot], peers: &[PeerId]) {
        let list = FloodList::new(ports.iter().copied(), peers.iter().copied());
        self.flood.insert(id, list.expect("a short list"));
    }
}

/// An entry for the peer `remote`, reached from `local` by interface `ifindex`. `flags` are those of [`Peer`];
/// [`Peer::IPV6`] is set by the address.
#[must_use]
pub fn peer_entry(remote: IpAddr, local: IpAddr, ifindex: u32, mtu: u32, flags: u32) -> Peer {
    const NEXT_HOP: MacAddr = MacAddr::from_bytes([0x02, 0, 0, 0, 0, 0xfe]);
    const OWN: MacAddr = MacAddr::from_bytes([0x02, 0, 0, 0, 0, 0xfd]);
    let v6 = remote.is_ipv6();
    let template = template::build(
        (NEXT_HOP, OWN),
        local.into(),
        remote.into(),
        wire::vxlan::PORT,
    );
    let len = if v6 {
        outer_template::LEN_V6
    } else {
        outer_template::LEN_V4
    };
    Peer {
        addr: remote.into(),
        local: local.into(),
        flags: flags | if v6 { Peer::IPV6 } else { 0 },
        ifindex,
        mtu,
        template_len: u32::try_from(len).expect("at most 80"),
        template,
    }
}

impl Keyed for HostTables {
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

    fn now(&self) -> u64 {
        self.now
    }
}

impl Tables for HostTables {
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
    let (one, other) = (bytemuck::bytes_of(one), bytemuck::bytes_of(other));
    let whole = (bits / 8) as usize;
    let rest = bits % 8;
    one[..whole] == other[..whole] && (rest == 0 || (one[whole] ^ other[whole]) >> (8 - rest) == 0)
}
