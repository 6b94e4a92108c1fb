//! Tables by hand, entry by entry.

use std::net::IpAddr;

use crate::{
    abi::{
        addr::MacAddr,
        config::Config,
        fdb::{FdbKey, FdbTarget, FdbValue},
        flags::PeerFlags,
        flood::FloodList,
        id::{Ifindex, ListId, PeerId, PortSlot, SegmentId},
        map::LAYOUT_VERSION,
        neigh::{NeighKey, NeighOrigin, NeighValue},
        nexthop::{NexthopKey, NexthopOrigin, NexthopValue},
        outer_template,
        peer::Peer,
        port::{Port, PortKey},
        segment::Segment,
        vlans::Vlans,
    },
    frame::template,
    sim::HostTables,
    wire,
};

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
            // Later than the stamps of entries that were never refreshed.
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

    /// Adds a port under its interface and VLAN; it is marked as in use, and as a trunk's where there are VLANs beside it.
    pub fn add_port(&mut self, slot: PortSlot, port: Port) {
        self.port_index
            .insert(PortKey::new(port.ifindex, port.vlan), slot);
        let flags = port.flags | Port::IN_USE;
        self.ports.insert(slot, Port { flags, ..port });
        let of_interface = |key: &&PortKey| key.ifindex == port.ifindex;
        let keys = self.port_index.keys().filter(of_interface);
        let vlans = Vlans::of(keys.map(|key| key.vlan).filter(|vlan| *vlan != 0));
        if vlans.is_empty() {
            return;
        }
        self.trunks.insert(Ifindex::new(port.ifindex), vlans);
        if let Some(untagged) = self.port_index.get(&PortKey::new(port.ifindex, 0)) {
            let untagged = self.ports.get_mut(untagged).expect("added");
            untagged.set(Port::TRUNK, true);
        }
    }

    /// Adds a peer under its address; it is marked as in use.
    pub fn add_peer(&mut self, id: PeerId, peer: Peer) {
        self.peer_index.insert(peer.addr, id);
        let flags = peer.flags | Peer::IN_USE;
        self.peers.insert(id, Peer { flags, ..peer });
    }

    /// Adds a static FDB entry.
    pub fn add_fdb(&mut self, segment: SegmentId, mac: MacAddr, target: FdbTarget) {
        let value = FdbValue::static_to(target);
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
        let value = NeighValue::new(mac, NeighOrigin::Static, PortSlot::NONE, flags);
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
        let value = NexthopValue::new(target.into(), mac, NexthopOrigin::Static, 0);
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
pub fn peer_entry(remote: IpAddr, local: IpAddr, ifindex: u32, mtu: u32, flags: PeerFlags) -> Peer {
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
        flags: flags | if v6 { Peer::IPV6 } else { PeerFlags::NONE },
        ifindex,
        mtu,
        template_len: u32::try_from(len).expect("at most 80"),
        template,
    }
}
