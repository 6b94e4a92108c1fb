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
        fdb::{FdbKey, FdbValue},
        flood::FloodList,
        hash_table::numbered,
        map::{LAYOUT_VERSION, MAX_FLOOD_TARGETS},
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
    pub vnis: HashMap<u32, u32>,
    /// `SEGMENTS`.
    pub segments: HashMap<u32, Segment>,
    /// `PORT_INDEX`.
    pub port_index: HashMap<PortKey, u32>,
    /// `PORTS`.
    pub ports: HashMap<u32, Port>,
    /// `FDB`.
    pub fdb: HashMap<FdbKey, FdbValue>,
    /// `FLOOD`.
    pub flood: HashMap<u32, FloodList>,
    /// `PEERS`.
    pub peers: HashMap<u32, Peer>,
    /// `PEER_INDEX`.
    pub peer_index: HashMap<VtepAddr, u32>,
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
    pub fn add_segment(&mut self, number: u32, segment: Segment) {
        self.vnis.insert(segment.vni, number);
        let flags = segment.flags | Segment::IN_USE;
        self.segments.insert(number, Segment { flags, ..segment });
    }

    /// Adds a port under its interface and VLAN; it is marked as in use.
    pub fn add_port(&mut self, slot: u32, port: Port) {
        self.port_index
            .insert(PortKey::new(port.ifindex, port.vlan), slot);
        let flags = port.flags | Port::IN_USE;
        self.ports.insert(slot, Port { flags, ..port });
    }

    /// Adds a peer under its address; it is marked as in use.
    pub fn add_peer(&mut self, number: u32, peer: Peer) {
        self.peer_index.insert(peer.addr, number);
        let flags = peer.flags | Peer::IN_USE;
        self.peers.insert(number, Peer { flags, ..peer });
    }

    /// Adds a static FDB entry of `kind`, one of the constants of [`FdbValue`].
    pub fn add_fdb(&mut self, segment: u32, mac: MacAddr, kind: u8, target: u32) {
        let value = FdbValue {
            target,
            kind,
            origin: FdbValue::STATIC,
            ..FdbValue::default()
        };
        self.fdb.insert(FdbKey::new(segment, mac), value);
    }

    /// Adds a learned FDB entry, last seen `last_seen`.
    pub fn add_learned(
        &mut self,
        segment: u32,
        mac: MacAddr,
        kind: u8,
        target: u32,
        last_seen: u64,
    ) {
        let value = FdbValue {
            target,
            kind,
            origin: FdbValue::LEARNED,
            last_seen,
            ..FdbValue::default()
        };
        self.fdb.insert(FdbKey::new(segment, mac), value);
    }

    /// Adds a host that ARP and ND are answered for, with the flags of [`NeighValue`].
    pub fn add_neigh(&mut self, segment: u32, host: IpAddr, mac: MacAddr, flags: u16) {
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
        segment: u32,
        (prefix, len): (IpAddr, u32),
        (kind, target): (u8, u32),
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
        let value = NexthopValue {
            mac: mac.get(),
            target,
            kind,
            origin: NexthopValue::STATIC,
            flags: 0,
        };
        self.nexthops
            .push((NexthopKey::SEGMENT_BITS + v4 + len, key, value));
    }

    /// Adds a flood list of port slots and peer numbers.
    pub fn add_flood(&mut self, number: u32, ports: &[u32], peers: &[u32]) {
        let mut list = FloodList {
            len: u32::try_from(ports.len() + peers.len()).expect("a short list"),
            ports: u32::try_from(ports.len()).expect("a short list"),
            targets: [0; MAX_FLOOD_TARGETS],
        };
        let targets = ports.iter().chain(peers);
        assert!(targets.clone().count() <= MAX_FLOOD_TARGETS);
        for (slot, target) in list.targets.iter_mut().zip(targets) {
            *slot = *target;
        }
        self.flood.insert(number, list);
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
        self.vnis.get(&vni).copied().map_or(0, numbered)
    }

    fn port_word(&self, key: &PortKey) -> u64 {
        self.port_index.get(key).copied().map_or(0, numbered)
    }

    fn segment_of_port(&self, slot: u32) -> u32 {
        self.ports.get(&slot).map_or(0, |port| port.segment)
    }

    fn fdb_word(&self, key: &FdbKey) -> u64 {
        self.fdb.get(key).map_or(0, FdbValue::word)
    }

    fn peer(&self, number: u32) -> Option<&Peer> {
        self.peers
            .get(&number)
            .filter(|peer| peer.has(Peer::IN_USE))
    }

    fn now(&self) -> u64 {
        self.now
    }
}

impl Tables for HostTables {
    fn config(&self) -> Config {
        self.config
    }

    fn segment(&self, number: u32) -> Option<&Segment> {
        self.segments
            .get(&number)
            .filter(|segment| segment.has(Segment::IN_USE))
    }

    fn port(&self, slot: u32) -> Option<&Port> {
        self.ports.get(&slot).filter(|port| port.has(Port::IN_USE))
    }

    fn flood_list(&self, number: u32) -> Option<&FloodList> {
        self.flood.get(&number)
    }

    fn neigh(&self, key: &NeighKey) -> Option<NeighValue> {
        self.neighs.get(key).copied()
    }

    fn nexthop(&self, segment: u32, host: &VtepAddr) -> Option<NexthopValue> {
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
