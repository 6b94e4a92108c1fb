//! The state itself, and what is asked of it by name.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use vtep_common::{
    addr::{MacAddr, VtepAddr},
    maps::{self, NexthopValue},
};

use super::{Effect, Write};
use crate::control::{
    ops::{entry::Entry, flood::Group, neigh::Neigh, nexthop::Nexthop, peer::Peer},
    record::{
        hash::{Map, Set},
        run::{Run, Untold},
        slots::Slots,
    },
};
use crate::model::{Op, PortHook, Prefix, Refusal, VlanId, Vni};

/// How much fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// FDB entries.
    pub fdb: u32,
    /// VNIs.
    pub segments: u32,
    /// Ports, each VLAN of an interface counting as one.
    pub ports: u32,
    /// VTEPs.
    pub peers: u32,
    /// Targets of one flood list, local ports and VTEPs together; at most [`maps::MAX_FLOOD_TARGETS`].
    pub flood_targets: usize,
    /// Multicast MACs with VTEPs of their own.
    pub groups: u32,
    /// Hosts that ARP and ND are answered for.
    pub neighs: u32,
    /// Entries of the nexthop table.
    pub nexthops: u32,
    /// When a MAC moves too often.
    pub duplicates: Duplicates,
}

/// When a MAC that moves counts as a duplicate, and is frozen where it is (RFC 7432 section 15.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicates {
    /// So many moves, 0 for never.
    pub moves: u32,
    /// Within so many seconds.
    pub window_s: u32,
    /// Frozen for so many seconds, 0 until it is cleared by hand.
    pub freeze_s: u32,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self {
            moves: 5,
            window_s: 180,
            freeze_s: 180,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fdb: maps::DEFAULT_FDB_ENTRIES,
            segments: maps::MAX_SEGMENTS,
            ports: maps::MAX_PORTS,
            peers: maps::MAX_PEERS,
            flood_targets: maps::MAX_FLOOD_TARGETS,
            groups: maps::MAX_FLOOD_LISTS - maps::MAX_SEGMENTS,
            neighs: maps::MAX_NEIGHS,
            nexthops: maps::MAX_NEXTHOPS,
            duplicates: Duplicates::default(),
        }
    }
}

/// What the daemon found out about an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// Its number.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// XDP can redirect to it without a frame being lost silently.
    pub xdp_target: bool,
    /// TC can hand frames straight to its other end, which lies in another network namespace.
    pub peer_target: bool,
    /// It is up, and its carrier too: somebody is at the other end.
    pub running: bool,
}

/// Interfaces by name, looked up by the daemon beforehand.
pub trait Links {
    /// The interface called `name`.
    fn link(&self, name: &str) -> Option<LinkFacts>;
}

impl<S: std::hash::BuildHasher> Links for HashMap<String, LinkFacts, S> {
    fn link(&self, name: &str) -> Option<LinkFacts> {
        self.get(name).cloned()
    }
}

/// The one interface that a change names.
impl Links for Option<LinkFacts> {
    fn link(&self, name: &str) -> Option<LinkFacts> {
        self.clone().filter(|facts| facts.name == name)
    }
}

/// Why an interface cannot be a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It leads to the underlay.
    Uplink,
    /// It is the instance's own kernel device.
    Tunnel,
}

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// VNIs.
    pub vnis: u32,
    /// Ports.
    pub ports: u32,
    /// Peers.
    pub peers: u32,
    /// FDB entries.
    pub fdb: u32,
    /// FDB entries that there is room for.
    pub fdb_max: u32,
}

/// A VNI and what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segment {
    /// Its settings, as they stand in the map.
    pub(crate) pod: maps::Segment,
    /// Its FDB.
    pub(crate) fdb: Map<MacAddr, Entry>,
    /// Slots of its ports.
    pub(crate) ports: BTreeSet<u32>,
    /// Numbers of the peers on its flood list.
    pub(crate) remotes: Vec<u32>,
    /// The multicast MACs with VTEPs of their own; each has an entry in `fdb` too.
    pub(crate) groups: BTreeMap<MacAddr, Group>,
    /// Number of the peer that is its multicast group.
    pub(crate) multicast: Option<u32>,
    /// The hosts that ARP and ND are answered for, as they stand in the map.
    pub(crate) neighs: Map<IpAddr, Neigh>,
    /// The same, by MAC.
    pub(crate) hosts: BTreeSet<(MacAddr, IpAddr)>,
    /// The user's entries of the nexthop table.
    pub(crate) nexthops: BTreeMap<Prefix, Nexthop>,
    /// The addresses of ports, and their slots.
    pub(crate) claims: BTreeMap<IpAddr, u32>,
    /// The nexthop table as it stands in the map.
    pub(crate) routes: BTreeMap<Prefix, NexthopValue>,
    /// The MACs that entries of the nexthop table follow.
    pub(crate) followers: BTreeMap<MacAddr, BTreeSet<Prefix>>,
}

impl Segment {
    pub(crate) fn new(pod: maps::Segment) -> Self {
        Self {
            pod,
            fdb: Map::default(),
            ports: BTreeSet::new(),
            remotes: Vec::new(),
            groups: BTreeMap::new(),
            multicast: None,
            neighs: Map::default(),
            hosts: BTreeSet::new(),
            nexthops: BTreeMap::new(),
            claims: BTreeMap::new(),
            routes: BTreeMap::new(),
            followers: BTreeMap::new(),
        }
    }

    /// True if its floods leave for anywhere.
    pub(crate) fn has_remotes(&self) -> bool {
        self.multicast.is_some() || !self.remotes.is_empty()
    }

    /// The VNI.
    pub(crate) fn vni(&self) -> Vni {
        Vni::new(self.pod.vni).expect("made from a VNI")
    }
}

/// One VLAN of an interface, or its untagged frames.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Port {
    /// As it stands in the map.
    pub(crate) pod: maps::Port,
    /// The MACs that the user put behind it.
    pub(crate) macs: BTreeSet<MacAddr>,
    /// How many were learned behind it besides.
    pub(crate) learned: u32,
    /// Its addresses.
    pub(crate) ips: BTreeSet<IpAddr>,
}

/// An interface with ports.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Device {
    /// Its name.
    pub(crate) name: String,
    /// The hook that the user named.
    pub(crate) hook: PortHook,
    /// Its ports: VLAN ID, or 0 for untagged frames, to slot.
    pub(crate) slots: BTreeMap<u16, u32>,
    /// Whether it is up, with somebody at the other end.
    pub(crate) running: bool,
}

/// Everything that the daemon knows.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub(crate) limits: Limits,
    pub(crate) udp_port: u16,
    pub(crate) locals: Vec<IpAddr>,
    /// Every address of this host: none of them is another VTEP's.
    pub(crate) own: Vec<IpAddr>,
    pub(crate) reserved: HashMap<u32, Reserved>,
    /// The hypervisor's own MACs.
    pub(crate) own_macs: Set<MacAddr>,
    pub(crate) segments: Slots<Segment>,
    /// VNI to segment number.
    pub(crate) vnis: BTreeMap<u32, u32>,
    pub(crate) ports: Slots<Port>,
    /// Interface number to interface.
    pub(crate) devices: BTreeMap<u32, Device>,
    /// Name to interface number.
    pub(crate) names: HashMap<String, u32>,
    pub(crate) peers: Slots<Peer>,
    /// Address to peer number.
    pub(crate) peer_index: Map<IpAddr, u32>,
    /// The flood lists of multicast MACs, numbered from [`maps::MAX_SEGMENTS`] on.
    pub(crate) groups: Slots<()>,
    /// Entries in all FDBs.
    pub(crate) fdb_len: u32,
    /// Hosts that ARP and ND are answered for, or would be if no other entry stood in for theirs.
    pub(crate) neigh_used: u32,
    /// Of them, those that were heard.
    pub(crate) snooped_len: u32,
    /// Entries of the nexthop table, or what would be if no other stood in for it.
    pub(crate) nexthop_used: u32,
    pub(crate) run: Untold<Run>,
}

impl State {
    /// An empty state. [`State::start`] says what is to be written for it.
    #[must_use]
    pub fn new(limits: Limits, locals: Vec<IpAddr>, udp_port: u16) -> Self {
        Self {
            limits,
            udp_port,
            locals: distinct(locals),
            own: Vec::new(),
            reserved: HashMap::new(),
            own_macs: Set::default(),
            segments: Slots::default(),
            vnis: BTreeMap::new(),
            ports: Slots::default(),
            devices: BTreeMap::new(),
            names: HashMap::new(),
            peers: Slots::default(),
            peer_index: Map::default(),
            groups: Slots::default(),
            fdb_len: 0,
            neigh_used: 0,
            snooped_len: 0,
            nexthop_used: 0,
            run: Untold::default(),
        }
    }

    /// What every daemon writes when it starts: the local addresses and what holds for the whole instance. `device` is the
    /// number of the kernel device, `flags` those of [`maps::Config`].
    #[must_use]
    pub fn start(&self, device: u32, flags: u16) -> Vec<Write> {
        let mut writes: Vec<_> = self
            .locals
            .iter()
            .map(|&ip| Write::Local(VtepAddr::from(ip), true))
            .collect();
        writes.push(Write::Config(maps::Config {
            layout: maps::LAYOUT_VERSION,
            device,
            udp_port: self.udp_port,
            flags,
            pad: 0,
        }));
        writes
    }

    /// Says which MACs are the hypervisor's own: they are never learned.
    pub fn set_own_macs(&mut self, macs: impl IntoIterator<Item = MacAddr>) {
        self.own_macs = macs.into_iter().collect();
    }

    /// Says whether somebody wants to know what happens: if not, [`Effect::events`] stays empty.
    pub fn set_watched(&mut self, watched: bool) {
        self.run.watched = watched;
    }

    /// Says which interfaces cannot be ports.
    pub fn set_reserved(&mut self, reserved: HashMap<u32, Reserved>) {
        self.reserved = reserved;
    }

    /// Makes one change, wholly or not at all: a refusal leaves the state as it was.
    pub fn apply(&mut self, op: &Op, links: &dyn Links) -> Result<Effect, Refusal> {
        match op {
            Op::VniAdd { vni, spec } => self.vni_add(*vni, spec),
            Op::VniSet { vni, spec } => self.vni_set(*vni, spec),
            Op::VniDel { vni } => self.vni_del(*vni),
            Op::PortAdd(spec) => self.port_add(spec, links),
            Op::PortSet { dev, change } => self.port_set(dev, change),
            Op::PortDel { dev, part } => self.port_del(dev, part),
            Op::FdbAdd(spec) => self.fdb_add(spec),
            Op::FdbAppend(spec) => self.fdb_append(spec),
            Op::FdbReplace(spec) => self.fdb_replace(spec),
            Op::FdbDel(del) => self.fdb_del(del),
            Op::FdbFlush(filter) => self.fdb_flush(filter),
            Op::NeighAdd(spec) => self.neigh_add(spec),
            Op::NeighReplace(spec) => self.neigh_replace(spec),
            Op::NeighDel(del) => self.neigh_del(del),
            Op::NexthopAdd(spec) => self.nexthop_add(spec),
            Op::NexthopReplace(spec) => self.nexthop_replace(spec),
            Op::NexthopDel(del) => self.nexthop_del(del),
            Op::PeerSet { ip, spec } => self.peer_set(*ip, spec),
        }
    }

    /// Our VTEP addresses, in the order given.
    #[must_use]
    pub fn locals(&self) -> &[IpAddr] {
        &self.locals
    }

    /// The address that packets to `peer` come from: the first local one of its family.
    #[must_use]
    pub fn local_for(&self, peer: IpAddr) -> Option<IpAddr> {
        self.locals
            .iter()
            .copied()
            .find(|local| local.is_ipv4() == peer.is_ipv4())
    }

    /// How much there is.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            vnis: self.segments.len(),
            ports: self.ports.len(),
            peers: self.peers.len(),
            fdb: self.fdb_len,
            fdb_max: self.limits.fdb,
        }
    }

    /// Segment numbers and their VNIs.
    pub fn segment_names(&self) -> impl Iterator<Item = (u32, Vni)> {
        self.segments
            .iter()
            .map(|(number, segment)| (number, segment.vni()))
    }

    /// Port slots, each with its interface and VLAN.
    pub fn port_names(&self) -> impl Iterator<Item = (u32, &str, Option<VlanId>)> {
        self.ports.iter().map(|(slot, port)| {
            let device = &self.devices[&port.pod.ifindex];
            (slot, device.name.as_str(), VlanId::new(port.pod.vlan))
        })
    }

    /// Peer numbers and their addresses.
    pub fn peer_names(&self) -> impl Iterator<Item = (u32, IpAddr)> {
        self.peers.iter().map(|(number, peer)| (number, peer.ip))
    }

    /// The segment with number `number`.
    #[must_use]
    pub fn segment_name(&self, number: u32) -> Option<Vni> {
        self.segments.get(number).map(Segment::vni)
    }

    /// The interface and VLAN of port slot `slot`.
    #[must_use]
    pub fn port_name(&self, slot: u32) -> Option<(&str, Option<VlanId>)> {
        let pod = &self.ports.get(slot)?.pod;
        Some((
            self.devices[&pod.ifindex].name.as_str(),
            VlanId::new(pod.vlan),
        ))
    }

    /// The address of the peer with number `number`.
    #[must_use]
    pub fn peer_name(&self, number: u32) -> Option<IpAddr> {
        self.peers.get(number).map(|peer| peer.ip)
    }
}

/// The values, each once, in their order.
pub(crate) fn distinct<T: PartialEq>(values: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(values.len());
    for value in values {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept
}
