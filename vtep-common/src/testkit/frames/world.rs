//! Tables that have something of everything, and their numbers.

use std::net::IpAddr;

use crate::{
    abi::{
        addr::{MacAddr, VtepAddr},
        config::Config,
        fdb::{FdbKey, FdbTarget, FdbValue},
        flags::{PeerFlags, PortFlags},
        id::{Ifindex, ListId, PeerId, PortSlot, SegmentId},
        neigh::NeighValue,
        peer::Peer,
        policer::{Policed, Policer},
        port::Port,
        segment::Segment,
    },
    frame::flow,
    sim::HostTables,
    testkit::{build::Underlay, tables::peer_entry},
};

/// Interface numbers of the [`World`]. In the kernel they must be those of interfaces that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interfaces {
    /// A port of VNI 100.
    pub access: u32,
    /// Another port of VNI 100, with a small MTU, into which XDP cannot redirect.
    pub narrow: u32,
    /// A trunk: VLAN 10 in VNI 100, VLAN 20 in VNI 200, the rest in VNI 200 too.
    pub trunk: u32,
    /// An untagged port of VNI 200.
    pub carrier: u32,
    /// A port of VNI 300, which does not flood.
    pub quiet: u32,
    /// VLAN 30 in VNI 16777215, which has nowhere to flood to; VLANs 41, 42 and 47 in VNI 100, 43 in VNI 700.
    pub lone: u32,
    /// The uplink.
    pub uplink: u32,
    /// The slow-path device.
    pub device: u32,
}

impl Default for Interfaces {
    fn default() -> Self {
        Self {
            access: 101,
            narrow: 102,
            trunk: 103,
            carrier: 104,
            quiet: 105,
            lone: 106,
            uplink: 201,
            device: 202,
        }
    }
}

/// Number of the segment of VNI 100: floods, drops inner tags, everything else as by default.
pub const PLAIN: SegmentId = SegmentId::new(1);
/// Number of the segment of VNI 200: passes inner tags, is strict on reserved bits, inherits TTL, TOS and DF.
pub const TRUNK: SegmentId = SegmentId::new(2);
/// Number of the segment of VNI 300: does not flood, takes packets from listed VTEPs alone: from [`PEER_V4`] and [`PEER_V6`].
pub const QUIET: SegmentId = SegmentId::new(3);
/// Number of the segment of VNI 16777215: floods, but to nowhere.
pub const LONE: SegmentId = SegmentId::new(4);
/// Number of the segment of VNI 500: does not flood, answers ARP and ND, finds hosts by IP, learns.
pub const ROUTED: SegmentId = SegmentId::new(5);
/// Number of the segment of VNI 700: has as many MACs as it may, and drops frames from others.
pub const CROWDED: SegmentId = SegmentId::new(6);
/// A segment number that VNI 600 leads to and that is not in use.
const GONE: SegmentId = SegmentId::new(60);

/// Slot of the port at [`Interfaces::access`].
pub const PORT_ACCESS: PortSlot = PortSlot::new(10);
/// Slot of the port at [`Interfaces::narrow`], which is isolated. Its other end lies in another namespace, and has the MAC that
/// [`unicast`] makes of it.
pub const PORT_NARROW: PortSlot = PortSlot::new(11);
/// Slot of VLAN 10 at [`Interfaces::trunk`], which is isolated.
pub const PORT_VLAN_10: PortSlot = PortSlot::new(12);
/// Slot of VLAN 20 at [`Interfaces::trunk`].
pub const PORT_VLAN_20: PortSlot = PortSlot::new(13);
/// Slot of the untagged port at [`Interfaces::trunk`].
pub const PORT_NATIVE: PortSlot = PortSlot::new(14);
/// Slot of the port at [`Interfaces::carrier`].
pub const PORT_CARRIER: PortSlot = PortSlot::new(17);
/// Slot of the port at [`Interfaces::quiet`].
pub const PORT_QUIET: PortSlot = PortSlot::new(15);
/// Slot of VLAN 30 at [`Interfaces::lone`].
pub const PORT_LONE: PortSlot = PortSlot::new(16);
/// Slot of VLAN 40 at [`Interfaces::trunk`].
pub const PORT_VLAN_40: PortSlot = PortSlot::new(18);
/// Slot of VLAN 40 at [`Interfaces::lone`].
pub const PORT_ROUTED_OTHER: PortSlot = PortSlot::new(19);
/// Slot of VLAN 41 at [`Interfaces::lone`], which has a guard.
pub const PORT_GUARDED: PortSlot = PortSlot::new(30);
/// Slot of VLAN 42 at [`Interfaces::lone`], which has as many MACs as it may.
pub const PORT_FULL: PortSlot = PortSlot::new(31);
/// Slot of VLAN 43 at [`Interfaces::lone`].
pub const PORT_CROWDED: PortSlot = PortSlot::new(32);

/// Slot of VLAN 44 at [`Interfaces::lone`], whose floods are above its rate.
pub const PORT_NOISY: PortSlot = PortSlot::new(33);
/// Slot of VLAN 45 at [`Interfaces::lone`], which sends more than its rate.
pub const PORT_FAST: PortSlot = PortSlot::new(34);
/// Slot of VLAN 46 at [`Interfaces::lone`], which is sent more than its rate.
pub const PORT_SLOW: PortSlot = PortSlot::new(35);
/// Slot of a port of VNI 100 that waits for its interface.
pub const PORT_ABSENT: PortSlot = PortSlot::new(36);

/// Slot of VLAN 47 at [`Interfaces::lone`], which has a guard of addresses: [`OWN`].
pub const PORT_OWN: PortSlot = PortSlot::new(37);
/// The addresses of [`PORT_OWN`].
pub const OWN: [&str; 4] = ["10.0.0.7", "10.0.0.1", "fd00::7", "fd00::1"];

/// A peer over IPv4.
pub const PEER_V4: PeerId = PeerId::new(20);
/// A peer over IPv6 that wants checksums.
pub const PEER_V6: PeerId = PeerId::new(21);
/// A peer over IPv6 that takes zero for a checksum.
pub const PEER_V6_ZERO: PeerId = PeerId::new(22);
/// A peer over IPv4 that is not resolved.
pub const PEER_V4_UNRESOLVED: PeerId = PeerId::new(23);
/// A peer over IPv6 that is not resolved.
pub const PEER_V6_UNRESOLVED: PeerId = PeerId::new(24);
/// A peer over IPv4 with an MTU that no frame exceeds.
pub const PEER_JUMBO: PeerId = PeerId::new(25);
/// A peer over IPv4 that no route leads to.
pub const PEER_UNREACHABLE: PeerId = PeerId::new(26);

/// A peer number that the FDB leads to and that is not in use.
pub const GONE_PEER: PeerId = PeerId::new(90);
/// A port slot that the FDB leads to and that is not in use.
pub const GONE_PORT: PortSlot = PortSlot::new(91);

/// Offset of the MACs of a target that were learned, and not seen for long.
pub const LEARNED: u32 = 1_000;
/// Offset of those that were seen just now.
pub const FRESH: u32 = 2_000;
/// Offset of those that are frozen.
pub const FROZEN: u32 = 3_000;
/// The stamp of an entry that was refreshed just now, whatever time it is.
const JUST_NOW: u64 = 1 << (30 + FdbValue::STAMP_SHIFT);

/// A policer whose bucket holds nothing, at any time on any clock of the first 100 days.
pub const USED_UP: Policer = Policer {
    used_until: (1 << 62) - 1,
    burst: 1 << 61,
    cost: 1 << 40,
    rate: 1,
};

/// Hosts that ARP and ND are answered for, in [`TRUNK`] and [`ROUTED`]; every other one is a router.
pub const HOSTS: [&str; 4] = ["10.0.0.50", "10.0.0.51", "fd00::50", "fd00::51"];

/// The MAC of a host by its place in [`HOSTS`].
#[must_use]
pub fn host_mac(index: u32) -> MacAddr {
    unicast(9_u32, 50 + index)
}

/// Our addresses.
pub const LOCALS: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

/// The unicast MAC of segment `segment` that the FDB has at `target`, a peer or a port.
#[must_use]
pub fn unicast(segment: impl Into<u32>, target: impl Into<u32>) -> MacAddr {
    MacAddr::from_parts(0x0200, segment.into() << 16 | target.into())
}

/// A MAC of [`PLAIN`] that the other end of [`PORT_NARROW`] does not have, and the FDB has there.
#[must_use]
pub fn beyond_narrow() -> MacAddr {
    unicast(PLAIN, 300_u32)
}

/// The multicast address of segment `segment` with a flood list of its own.
#[must_use]
pub fn group(segment: impl Into<u32>) -> MacAddr {
    MacAddr::from_parts(0x0100, 0x5e00_0000 | segment.into())
}

/// The flood list of [`group`].
fn own_list(segment: SegmentId) -> ListId {
    ListId::new(100 + segment.get())
}

/// Tables that have something of everything, and the frames to go with them.
#[derive(Clone, Debug)]
pub struct World {
    /// The tables.
    pub tables: HostTables,
    /// The interface numbers in them.
    pub interfaces: Interfaces,
    /// Every FDB entry, by segment.
    pub(super) macs: Vec<(SegmentId, MacAddr)>,
}

impl Default for World {
    fn default() -> Self {
        Self::new(Interfaces::default())
    }
}

/// An address from a text that is one.
pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

impl World {
    /// The tables with these interface numbers.
    #[must_use]
    pub fn new(interfaces: Interfaces) -> Self {
        let mut world = Self {
            tables: HostTables::new(),
            interfaces,
            macs: Vec::new(),
        };
        world.tables.config.device = interfaces.device;
        world
            .tables
            .uplinks
            .insert((interfaces.uplink, Underlay::DESTINATION));
        world.tables.config.flags = Config::PARTIAL_CHECKSUMS;
        for local in LOCALS {
            world.tables.add_local(ip(local));
        }
        world.add_segments();
        world.add_ports();
        world.add_peers();
        world.add_macs();
        world
    }

    fn add_segments(&mut self) {
        let plain = Segment {
            vni: 100,
            flags: Segment::FLOODS | Segment::DF_SET | Segment::LEARNING,
            ttl: 64,
            source_port_min: flow::DEFAULT_PORT_MIN,
            source_port_max: flow::DEFAULT_PORT_MAX,
            ..Segment::default()
        };
        let trunk = Segment {
            vni: 200,
            flags: Segment::FLOODS
                | Segment::INNER_VLAN_PASS
                | Segment::RESERVED_STRICT
                | Segment::TTL_INHERIT
                | Segment::TOS_INHERIT
                | Segment::DF_INHERIT
                | Segment::LEARNING
                | Segment::SUPPRESS
                | Segment::MSS_CLAMP,
            source_port_min: 50_000,
            source_port_max: 50_999,
            ..plain
        };
        let quiet = Segment {
            vni: 300,
            flags: Segment::LISTED,
            ttl: 7,
            tos: 0xb8,
            ..plain
        };
        let lone = Segment {
            vni: 0x00ff_ffff,
            flags: Segment::FLOODS | Segment::DF_SET,
            ..plain
        };
        let routed = Segment {
            vni: 500,
            flags: Segment::DF_SET
                | Segment::LEARNING
                | Segment::SUPPRESS
                | Segment::NEXTHOPS
                | Segment::MSS_CLAMP,
            ..plain
        };
        let crowded = Segment {
            vni: 700,
            flags: plain.flags | Segment::L2CP_PASS | Segment::FULL | Segment::MSS_CLAMP,
            ..plain
        };
        self.tables.add_segment(ROUTED, routed);
        self.tables.add_segment(CROWDED, crowded);
        self.tables.add_segment(PLAIN, plain);
        self.tables.add_segment(TRUNK, trunk);
        self.tables.add_segment(QUIET, quiet);
        self.tables.add_segment(LONE, lone);
        self.tables.vnis.insert(600, GONE);
    }

    fn add_ports(&mut self) {
        let Interfaces {
            access,
            narrow,
            trunk,
            carrier,
            quiet,
            lone,
            ..
        } = self.interfaces;
        let mut add = |slot, ifindex, vlan, segment, flags, mtu| {
            let mut port = Port {
                ifindex,
                segment,
                flags,
                vlan,
                mtu,
                own_v4: if slot == PORT_OWN { own_v4() } else { 0 },
                ..Port::default()
            };
            if slot == PORT_NARROW {
                port.set_other_end(Some(unicast(segment, slot)));
            }
            self.tables.add_port(slot, port);
        };
        let rates = Port::BUM_RATE | Port::RATE_IN | Port::RATE_OUT;
        let within = Port::XDP_TARGET | rates;
        add(PORT_ACCESS, access, 0, PLAIN, within, 1500);
        let apart = Port::ISOLATED;
        add(PORT_NARROW, narrow, 0, PLAIN, apart, 600);
        add(
            PORT_VLAN_10,
            trunk,
            10,
            PLAIN,
            Port::XDP_TARGET | apart,
            1500,
        );
        add(PORT_VLAN_20, trunk, 20, TRUNK, Port::XDP_TARGET, 1500);
        add(PORT_NATIVE, trunk, 0, TRUNK, Port::XDP_TARGET, 1500);
        add(PORT_CARRIER, carrier, 0, TRUNK, Port::XDP_TARGET, 1500);
        add(PORT_QUIET, quiet, 0, QUIET, Port::XDP_TARGET, 600);
        add(PORT_LONE, lone, 30, LONE, Port::XDP_TARGET, 1500);
        add(PORT_VLAN_40, trunk, 40, ROUTED, Port::XDP_TARGET, 1500);
        add(PORT_ROUTED_OTHER, lone, 40, ROUTED, PortFlags::NONE, 1500);
        add(PORT_GUARDED, lone, 41, PLAIN, Port::GUARD_MAC, 1500);
        let guarded = Port::GUARD_MAC | Port::GUARD_IP;
        add(PORT_OWN, lone, 47, PLAIN, guarded, 1500);
        add(PORT_FULL, lone, 42, PLAIN, Port::FULL, 1500);
        add(PORT_CROWDED, lone, 43, CROWDED, PortFlags::NONE, 1500);
        add(PORT_NOISY, lone, 44, PLAIN, Port::BUM_RATE, 1500);
        add(PORT_FAST, lone, 45, PLAIN, Port::RATE_IN, 1500);
        let slow = Port::XDP_TARGET | Port::RATE_OUT;
        add(PORT_SLOW, lone, 46, CROWDED, slow, 1500);
        let nowhere = Ifindex::absent(0).get();
        add(PORT_ABSENT, nowhere, 0, PLAIN, Port::ABSENT, 65_535);
        let mut police = |slot, what, policer| {
            self.tables.policers.insert((slot, what), policer);
        };
        police(
            PORT_ACCESS,
            Policed::Bum,
            Policer::frames(Policer::FRAMES.1),
        );
        police(PORT_ACCESS, Policed::In, Policer::bits(Policer::BITS.1));
        police(PORT_ACCESS, Policed::Out, Policer::bits(Policer::BITS.1));
        police(PORT_NOISY, Policed::Bum, USED_UP);
        police(PORT_FAST, Policed::In, USED_UP);
        police(PORT_SLOW, Policed::Out, USED_UP);
    }

    fn add_peers(&mut self) {
        let uplink = self.interfaces.uplink;
        let [v4, v6] = LOCALS.map(ip);
        let mut add = |number, remote: &str, mtu, flags| {
            let remote = ip(remote);
            let local = if remote.is_ipv6() { v6 } else { v4 };
            let peer = peer_entry(remote, local, uplink, mtu, flags);
            self.tables.add_peer(number, peer);
        };
        let resolved = Peer::RESOLVED | Peer::XDP_TARGET;
        add(PEER_V4, "192.0.2.2", 1500, resolved);
        add(PEER_V6, "2001:db8::2", 1500, resolved | Peer::CHECKSUM);
        let zero = resolved | Peer::CSUM6_OFF;
        add(PEER_V6_ZERO, "2001:db8::3", 1500, zero);
        add(PEER_V4_UNRESOLVED, "192.0.2.4", 0, PeerFlags::NONE);
        add(PEER_V6_UNRESOLVED, "2001:db8::4", 0, Peer::CHECKSUM);
        add(PEER_JUMBO, "192.0.2.5", u32::MAX, resolved);
        add(PEER_UNREACHABLE, "192.0.2.6", 0, Peer::UNREACHABLE);
    }

    fn add_macs(&mut self) {
        const PEERS: [PeerId; 7] = [
            PEER_V4,
            PEER_V6,
            PEER_V6_ZERO,
            PEER_V4_UNRESOLVED,
            PEER_V6_UNRESOLVED,
            PEER_JUMBO,
            PEER_UNREACHABLE,
        ];
        let lists: [(SegmentId, &[PortSlot], &[PeerId]); 4] = [
            (
                PLAIN,
                &[PORT_ACCESS, PORT_NARROW, PORT_VLAN_10],
                &[PEER_V4, PEER_V6],
            ),
            (
                TRUNK,
                &[PORT_VLAN_20, PORT_NATIVE, PORT_CARRIER],
                &[PEER_V6, PEER_V6_UNRESOLVED, PEER_V6_ZERO, PEER_V4],
            ),
            (QUIET, &[PORT_QUIET], &[]),
            (CROWDED, &[PORT_CROWDED, PORT_SLOW], &[PEER_V4]),
        ];
        for (number, ports, peers) in lists {
            self.tables.add_flood(number.into(), ports, peers);
            for port in ports {
                self.add_mac(number, FdbTarget::Port(*port));
            }
        }
        self.add_mac(LONE, FdbTarget::Port(PORT_LONE));
        self.add_mac(ROUTED, FdbTarget::Port(PORT_VLAN_40));
        for own in OWN {
            self.tables.guarded.insert((PORT_OWN, ip(own).into()));
        }
        for port in [PORT_OWN, PORT_GUARDED, PORT_FULL, PORT_ABSENT] {
            self.add_mac(PLAIN, FdbTarget::Port(port));
        }
        let narrow = FdbTarget::Port(PORT_NARROW);
        self.tables.add_fdb(PLAIN, beyond_narrow(), narrow);
        for peer in [PEER_V4, PEER_V6] {
            self.tables.sources.insert((QUIET, peer));
        }
        for number in [PLAIN, TRUNK, QUIET, LONE, ROUTED, CROWDED] {
            for peer in PEERS {
                self.add_mac(number, FdbTarget::Peer(peer));
            }
            // Entries that lead nowhere.
            self.add_mac(number, FdbTarget::Peer(GONE_PEER));
            self.add_mac(number, FdbTarget::Port(GONE_PORT));
            let list = FdbTarget::List(own_list(number));
            self.tables.add_fdb(number, group(number), list);
            self.macs.push((number, group(number)));
        }
        for (number, port) in [
            (PLAIN, PORT_ACCESS),
            (ROUTED, PORT_VLAN_40),
            (CROWDED, PORT_CROWDED),
            (CROWDED, PORT_SLOW),
        ] {
            for target in [FdbTarget::Port(port), FdbTarget::Peer(PEER_V4)] {
                for (offset, last_seen) in [(LEARNED, 0), (FRESH, JUST_NOW), (FROZEN, 0)] {
                    let mac = unicast(number, offset + target.number());
                    self.tables.add_learned(number, mac, target, last_seen);
                    self.macs.push((number, mac));
                }
                let key = FdbKey::new(number, unicast(number, FROZEN + target.number()));
                let frozen = self.tables.fdb.get_mut(&key).expect("added");
                frozen.frozen = true;
            }
        }
        self.add_hosts();
        self.tables.add_flood(
            own_list(PLAIN),
            &[PORT_ACCESS, PORT_VLAN_10],
            &[PEER_JUMBO, PEER_UNREACHABLE],
        );
    }

    fn add_hosts(&mut self) {
        for (index, host) in (0..).zip(HOSTS) {
            let flags = if index % 2 == 1 {
                NeighValue::ROUTER
            } else {
                0
            };
            for number in [TRUNK, ROUTED] {
                self.tables
                    .add_neigh(number, ip(host), host_mac(index), flags);
            }
        }
        let mut add = |prefix: &str, len, to, mac| {
            self.tables.add_nexthop(ROUTED, (ip(prefix), len), to, mac);
        };
        let mac = unicast(9_u32, 77_u32);
        let local = Some(FdbTarget::Port(PORT_VLAN_40));
        add(
            "10.0.0.0",
            17,
            Some(FdbTarget::Peer(PEER_V4)),
            MacAddr::ZERO,
        );
        add(
            "10.0.64.0",
            18,
            Some(FdbTarget::Port(PORT_ROUTED_OTHER)),
            mac,
        );
        add("10.0.128.0", 18, local, mac);
        add("10.0.192.0", 19, None, mac);
        add("fd00::", 25, Some(FdbTarget::Peer(PEER_V6_ZERO)), mac);
        add("fd00:80::", 26, local, MacAddr::ZERO);
    }

    fn add_mac(&mut self, segment: SegmentId, target: FdbTarget) {
        let mac = unicast(segment, target.number());
        self.tables.add_fdb(segment, mac, target);
        self.macs.push((segment, mac));
    }
}

/// The first of [`OWN`], as a port has it.
fn own_v4() -> u32 {
    let [first, ..] = OWN.map(|own| VtepAddr::from(ip(own)));
    let [.., v4] = first.words_be();
    v4
}
