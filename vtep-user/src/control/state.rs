//! The state: it arranges the rooms, and says what is asked of it by name.

use std::{collections::HashMap, net::IpAddr};

use vtep_common::abi::{
    self,
    addr::{MacAddr, VtepAddr},
    drops::OwnerKind,
    fdb::FdbTarget,
    flags::ConfigFlags,
    id::{Ifindex, PeerId, PortSlot, SegmentId},
};

use super::{
    effect::Write,
    record::{
        addresses::PortAddresses,
        bridges::Bridges,
        entry::Entry,
        facts::ReservedFor,
        fdb::Fdb,
        flood::FloodLists,
        hash::Set,
        hosts::Hosts,
        ignored::Ignored,
        limits::Limits,
        locals::Locals,
        location::Location,
        nexthops::Nexthops,
        peers::Peers,
        ports::Ports,
        rates::RateTable,
        run::{LearnCounters, Run},
        segments::{self, Segments},
        sources::SourceTable,
    },
};
use crate::model::{VlanId, Vni};

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSizes {
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

/// Everything that the daemon knows.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub(super) limits: Limits,
    pub(super) udp_port: u16,
    pub(super) locals: Locals,
    pub(super) reserved: HashMap<Ifindex, ReservedFor>,
    /// The hypervisor's own MACs.
    pub(super) own_macs: Set<MacAddr>,
    pub(super) segments: Segments,
    pub(super) bridges: Bridges,
    pub(super) ports: Ports,
    /// The rates of ports.
    pub(super) rates: RateTable,
    pub(super) fdb: Fdb,
    pub(super) flood: FloodLists,
    pub(super) peers: Peers,
    /// The hosts that ARP and ND are answered for.
    pub(super) hosts: Hosts,
    /// The addresses of ports.
    pub(super) addresses: PortAddresses,
    pub(super) nexthops: Nexthops,
    /// The VTEPs that VNIs have to do with.
    pub(super) sources: SourceTable,
    /// What only this run of the daemon knows.
    pub(super) run: Ignored<Run>,
}

impl State {
    /// An empty state. [`State::start`] says what is to be written for it.
    #[must_use]
    pub fn new(limits: Limits, locals: Vec<IpAddr>, udp_port: u16) -> Self {
        Self {
            limits,
            udp_port,
            locals: Locals::new(locals),
            reserved: HashMap::new(),
            own_macs: Set::default(),
            segments: Segments::default(),
            bridges: Bridges::default(),
            ports: Ports::default(),
            fdb: Fdb::default(),
            flood: FloodLists::default(),
            peers: Peers::default(),
            hosts: Hosts::default(),
            addresses: PortAddresses::default(),
            nexthops: Nexthops::default(),
            rates: RateTable::default(),
            sources: SourceTable::default(),
            run: Ignored::default(),
        }
    }

    /// What every daemon writes when it starts: the local addresses and what holds for the whole instance. `device` is the
    /// number of the slow-path device, `flags` those of [`abi::config::Config`].
    #[must_use]
    pub fn start(&self, device: Ifindex, flags: ConfigFlags) -> Vec<Write> {
        let locals = self.locals.all().iter();
        let mut writes: Vec<_> = locals
            .map(|&ip| Write::Local(VtepAddr::from(ip), true))
            .collect();
        writes.push(Write::Config(abi::config::Config {
            layout: abi::map::LAYOUT_VERSION,
            device: device.get(),
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

    /// Says whether somebody wants to know what happens: if not, [`Effect::events`](super::effect::Effect::events) stays empty.
    pub fn set_watched(&mut self, watched: bool) {
        self.run.watched = watched;
    }

    /// Says which interfaces cannot be ports.
    pub fn set_reserved(&mut self, reserved: HashMap<Ifindex, ReservedFor>) {
        self.reserved = reserved;
    }

    /// Takes on what addresses this host has.
    pub fn set_own_addresses(&mut self, own: Vec<IpAddr>) {
        self.locals.set_own(own);
    }

    /// Our VTEP addresses, in the order given.
    #[must_use]
    pub fn locals(&self) -> &[IpAddr] {
        self.locals.all()
    }

    /// Our VTEP addresses that this host does not have.
    pub fn missing_locals(&self) -> impl Iterator<Item = IpAddr> {
        let locals = self.locals.all().iter().copied();
        locals.filter(|&ip| !self.locals.is_here(ip))
    }

    /// The address that packets to `peer` come from: the first local one of its family.
    #[must_use]
    pub fn local_for(&self, peer: IpAddr) -> Option<IpAddr> {
        self.locals.towards(peer)
    }

    /// How much fits.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// How much there is.
    #[must_use]
    pub fn totals(&self) -> TableSizes {
        TableSizes {
            vnis: self.segments.len(),
            ports: self.ports.len(),
            peers: self.peers.len(),
            fdb: self.fdb.len(),
            fdb_max: self.limits.fdb,
        }
    }

    /// What has been learned in all.
    #[must_use]
    pub fn learn_counters(&self) -> LearnCounters {
        self.run.counters
    }

    /// Segment numbers and their VNIs.
    pub fn segment_names(&self) -> impl Iterator<Item = (SegmentId, Vni)> {
        let segments = self.segments.iter();
        segments.map(|(number, segment)| (number, segments::vni_of(segment)))
    }

    /// Port slots, each with its interface and VLAN.
    pub fn port_names(&self) -> impl Iterator<Item = (PortSlot, &str, Option<VlanId>)> {
        let ports = self.ports.iter();
        ports.map(|(slot, port)| (slot, self.ports.device_name(slot), VlanId::new(port.vlan)))
    }

    /// Peer numbers and their addresses.
    pub fn peer_names(&self) -> impl Iterator<Item = (PeerId, IpAddr)> {
        self.peers.iter().map(|(number, peer)| (number, peer.ip))
    }

    /// The segment with number `number`.
    #[must_use]
    pub fn segment_name(&self, number: SegmentId) -> Option<Vni> {
        self.segments.get(number).map(segments::vni_of)
    }

    /// The interface and VLAN of port slot `slot`.
    #[must_use]
    pub fn port_name(&self, slot: PortSlot) -> Option<(&str, Option<VlanId>)> {
        let vlan = VlanId::new(self.ports.get(slot)?.vlan);
        Some((self.ports.device_name(slot), vlan))
    }

    /// Where an entry points, unless that is to a list.
    pub(super) fn location_of(&self, entry: Entry) -> Option<Location> {
        match entry.target() {
            FdbTarget::Peer(peer) => Some(Location::Vtep(self.peers.ip(peer))),
            FdbTarget::Port(slot) => Some(Location::Port(slot)),
            FdbTarget::List(_) => None,
        }
    }

    /// The VTEP or the interface that a location is.
    pub(super) fn names_of(&self, at: Option<Location>) -> (Option<IpAddr>, Option<String>) {
        match at {
            Some(Location::Vtep(ip)) => (Some(ip), None),
            Some(Location::Port(slot)) => {
                (None, self.port_name(slot).map(|(dev, _)| dev.to_owned()))
            }
            None => (None, None),
        }
    }

    /// Whether there is a VNI, port or peer with this number.
    #[must_use]
    pub fn is_owner(&self, kind: OwnerKind, number: u32) -> bool {
        match kind {
            OwnerKind::Segment => self.segment_name(SegmentId::new(number)).is_some(),
            OwnerKind::Port => self.port_name(PortSlot::new(number)).is_some(),
            OwnerKind::Peer => self.peer_name(PeerId::new(number)).is_some(),
        }
    }

    /// The address of the peer with number `number`.
    #[must_use]
    pub fn peer_name(&self, number: PeerId) -> Option<IpAddr> {
        self.peers.get(number).map(|peer| peer.ip)
    }

    /// Every VTEP, for a daemon that has just started to resolve.
    pub fn peer_ips(&self) -> impl Iterator<Item = IpAddr> {
        let peers = self.peers.iter().map(|(_, peer)| peer);
        peers.filter(|peer| !peer.is_group()).map(|peer| peer.ip)
    }

    /// Every multicast group that VNIs flood to, for a daemon that has just started to join them.
    pub fn groups(&self) -> impl Iterator<Item = IpAddr> {
        let peers = self.peers.iter().map(|(_, peer)| peer);
        peers.filter(|peer| peer.is_group()).map(|peer| peer.ip)
    }
}
