//! Random and mutated frames, and the tables to look at them with.
//!
//! Everything follows from a seed: a frame that showed something is made again by its number.

use std::net::IpAddr;

use crate::{
    abi::{
        addr::MacAddr,
        config::Config,
        counter::Hook,
        fdb::{FdbKey, FdbTarget, FdbValue},
        id::{ListId, PeerId, PortSlot, SegmentId},
        neigh::NeighValue,
        peer::Peer,
        port::Port,
        reason::Reason,
        segment::Segment,
    },
    decide::{
        port,
        tunnel::{self, TunnelKey, decide_tunnel},
        uplink::decide_uplink,
        verdict::Decision,
    },
    frame::{
        flow,
        packet::{Meta, Tag},
    },
    sim::{HostTables, Outcome, decide_port},
    testkit::apply::{apply_port, apply_tunnel, apply_uplink},
    testkit::build::{self, Checksum, Fragment, Ip, Underlay},
    testkit::tables::peer_entry,
    wire::{ethernet, ipv6, udp, vlan, vxlan},
};

/// The splitmix64 generator: small, and good enough to pick frames.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator that starts at `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which must not be 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.bits() % limit as u64).expect("below a usize")
    }

    /// True in `percent` of all cases.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// 16 bits.
    pub fn word(&mut self) -> u16 {
        let [a, b, ..] = self.bits().to_be_bytes();
        u16::from_be_bytes([a, b])
    }

    /// 8 bits.
    pub fn byte(&mut self) -> u8 {
        let [byte, ..] = self.bits().to_be_bytes();
        byte
    }

    /// `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.bits().to_be_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

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
    /// Only VLAN 30, in VNI 16777215, which has nowhere to flood to.
    pub lone: u32,
    /// The uplink.
    pub uplink: u32,
    /// The kernel device.
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
/// Number of the segment of VNI 300: does not flood.
pub const QUIET: SegmentId = SegmentId::new(3);
/// Number of the segment of VNI 16777215: floods, but to nowhere.
pub const LONE: SegmentId = SegmentId::new(4);
/// Number of the segment of VNI 500: does not flood, answers ARP and ND, finds hosts by IP, learns.
pub const ROUTED: SegmentId = SegmentId::new(5);
/// A segment number that VNI 600 leads to and that is not in use.
const GONE: SegmentId = SegmentId::new(60);

/// Slot of the port at [`Interfaces::access`].
pub const PORT_ACCESS: PortSlot = PortSlot::new(10);
/// Slot of the port at [`Interfaces::narrow`].
pub const PORT_NARROW: PortSlot = PortSlot::new(11);
/// Slot of VLAN 10 at [`Interfaces::trunk`].
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

/// Offset of the stations of a target that were learned, and not been heard of for long.
pub const LEARNED: u32 = 1_000;
/// Offset of those that were heard of just now.
pub const FRESH: u32 = 2_000;
/// Offset of those that are frozen.
pub const FROZEN: u32 = 3_000;
/// The stamp of an entry that was renewed just now, whatever time it is.
const JUST_NOW: u64 = 1 << (30 + FdbValue::STAMP_SHIFT);

/// Hosts that ARP and ND are answered for, in [`TRUNK`] and [`ROUTED`]; every other one is a router.
pub const HOSTS: [&str; 4] = ["10.0.0.50", "10.0.0.51", "fd00::50", "fd00::51"];

/// The MAC of a host by its place in [`HOSTS`].
#[must_use]
pub fn host_mac(index: u32) -> MacAddr {
    station(9_u32, 50 + index)
}

/// Our addresses.
pub const LOCALS: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

/// The station of segment `segment` that the FDB has at `target`, a peer or a port.
#[must_use]
pub fn station(segment: impl Into<u32>, target: impl Into<u32>) -> MacAddr {
    MacAddr::from_parts(0x0200, segment.into() << 16 | target.into())
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
    stations: Vec<(SegmentId, MacAddr)>,
}

impl Default for World {
    fn default() -> Self {
        Self::new(Interfaces::default())
    }
}

/// At which hook a frame is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// At an uplink.
    Uplink(tunnel::Stage),
    /// At a port.
    Port(port::Stage),
    /// Behind the kernel device.
    Tunnel(TunnelKey),
}

/// A frame and all that a decision on it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its bytes.
    pub frame: Vec<u8>,
    /// What the kernel knows beside them.
    pub meta: Meta,
    /// Where it is.
    pub side: Side,
}

impl Sample {
    /// The hook.
    #[must_use]
    pub fn hook(&self) -> Hook {
        match self.side {
            Side::Uplink(tunnel::Stage::Xdp) => Hook::UplinkXdp,
            Side::Uplink(_) => Hook::Uplink,
            Side::Port(port::Stage::Xdp) => Hook::PortXdp,
            Side::Port(_) => Hook::Port,
            Side::Tunnel(_) => Hook::Tunnel,
        }
    }

    /// The decision on it.
    #[must_use]
    pub fn decide(&self, tables: &HostTables) -> Decision {
        let Self { frame, meta, side } = self;
        match side {
            Side::Uplink(stage) => decide_uplink(frame.as_slice(), meta, *stage, tables),
            Side::Port(stage) => decide_port(frame, meta, *stage, tables),
            Side::Tunnel(key) => decide_tunnel(frame.as_slice(), meta, key, tables),
        }
    }

    /// What the decision does to it.
    #[must_use]
    pub fn apply(&self, decision: &Decision, tables: &HostTables) -> Outcome {
        let Self { frame, meta, side } = self;
        match side {
            Side::Uplink(stage) => apply_uplink(frame, meta, *stage, decision),
            Side::Port(stage) => apply_port(frame, meta, *stage, decision, tables),
            Side::Tunnel(_) => apply_tunnel(frame, meta, decision),
        }
    }

    /// The reason that it is counted under.
    #[must_use]
    pub fn reason(&self, decision: &Decision) -> Reason {
        decision.verdict.reason(!matches!(self.side, Side::Port(_)))
    }

    /// True if `BPF_PROG_TEST_RUN` can show the frame to a program just so: it takes no tag beside the frame, no frame
    /// shorter than its Ethernet header or longer than a page, and knows no tunnel key.
    #[must_use]
    pub fn runs_in_kernel(&self) -> bool {
        const LONGEST: usize = 3_000;
        let Meta { tag, gso_size, .. } = self.meta;
        tag.is_none()
            && gso_size == 0
            && (ethernet::LEN..=LONGEST).contains(&self.frame.len())
            && !matches!(self.side, Side::Tunnel(_))
    }
}

/// The reasons that frames at `hook` can end with, each reached by [`World::sample`].
///
/// [`Reason::Reshape`] and [`Reason::Redirect`] are no decision's: they count what a helper refused. XDP leaves to TC what it
/// cannot finish, so what only TC or the kernel device ends is missing there.
#[must_use]
pub fn reachable(hook: Hook) -> &'static [Reason] {
    match hook {
        Hook::UplinkXdp => &[
            Reason::Decapsulated,
            Reason::LeftToTc,
            Reason::Truncated,
            Reason::OuterChecksum,
            Reason::UdpLength,
            Reason::OuterFragment,
            Reason::VniFlagClear,
            Reason::ReservedBits,
            Reason::UnknownVni,
            Reason::OwnSource,
            Reason::InnerTruncated,
            Reason::InnerVlan,
            Reason::InvalidSourceMac,
            Reason::EcnNotCapable,
            Reason::NoFdbEntry,
            Reason::FloodOff,
            Reason::SplitHorizon,
            Reason::TableGap,
            Reason::StaticElsewhere,
        ],
        Hook::Uplink => &[
            Reason::Decapsulated,
            Reason::NotVxlan,
            Reason::NotOurAddress,
            Reason::LeftToKernel,
            Reason::LeftToStack,
            Reason::Truncated,
            Reason::OuterChecksum,
            Reason::UdpLength,
            Reason::OuterFragment,
            Reason::VniFlagClear,
            Reason::ReservedBits,
            Reason::UnknownVni,
            Reason::OwnSource,
            Reason::InnerTruncated,
            Reason::InnerVlan,
            Reason::InvalidSourceMac,
            Reason::EcnNotCapable,
            Reason::NoFdbEntry,
            Reason::FloodOff,
            Reason::SplitHorizon,
            Reason::TooBig,
            Reason::TableGap,
            Reason::StaticElsewhere,
        ],
        // The kernel device has read the outer headers and merged ECN.
        Hook::Tunnel => &[
            Reason::Decapsulated,
            Reason::FloodedLocally,
            Reason::UnknownVni,
            Reason::OwnSource,
            Reason::InnerTruncated,
            Reason::InnerVlan,
            Reason::InvalidSourceMac,
            Reason::NoFdbEntry,
            Reason::NowhereToFlood,
            Reason::FloodOff,
            Reason::SplitHorizon,
            Reason::TooBig,
            Reason::TableGap,
            Reason::WrongDestination,
            Reason::StaticElsewhere,
        ],
        Hook::Port => &[
            Reason::Encapsulated,
            Reason::EncapsulatedByKernel,
            Reason::EncapsulatedUnresolved,
            Reason::Switched,
            Reason::Flooded,
            Reason::Truncated,
            Reason::InvalidSourceMac,
            Reason::NoFdbEntry,
            Reason::NowhereToFlood,
            Reason::FloodOff,
            Reason::SamePort,
            Reason::TooBig,
            Reason::VlanUnmapped,
            Reason::NotAPort,
            Reason::TableGap,
            Reason::NoRoute,
            Reason::Answered,
            Reason::UnknownNeigh,
            Reason::StaticElsewhere,
        ],
        Hook::PortXdp => &[
            Reason::Encapsulated,
            Reason::LeftToTc,
            Reason::Truncated,
            Reason::InvalidSourceMac,
            Reason::SamePort,
            Reason::TooBig,
            Reason::VlanUnmapped,
            Reason::NotAPort,
            Reason::TableGap,
            Reason::NoRoute,
            Reason::StaticElsewhere,
        ],
    }
}

/// An address from a text that is one.
fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

impl World {
    /// The tables with these interface numbers.
    #[must_use]
    pub fn new(interfaces: Interfaces) -> Self {
        let mut world = Self {
            tables: HostTables::new(),
            interfaces,
            stations: Vec::new(),
        };
        world.tables.config.device = interfaces.device;
        world.tables.config.flags = Config::PARTIAL_CHECKSUMS;
        for local in LOCALS {
            world.tables.add_local(ip(local));
        }
        world.add_segments();
        world.add_ports();
        world.add_peers();
        world.add_stations();
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
                | Segment::SUPPRESS,
            source_port_min: 50_000,
            source_port_max: 50_999,
            ..plain
        };
        let quiet = Segment {
            vni: 300,
            flags: 0,
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
            flags: Segment::DF_SET | Segment::LEARNING | Segment::SUPPRESS | Segment::NEXTHOPS,
            ..plain
        };
        self.tables.add_segment(ROUTED, routed);
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
            let port = Port {
                ifindex,
                segment,
                flags,
                vlan,
                mtu,
                ..Port::default()
            };
            self.tables.add_port(slot, port);
        };
        add(PORT_ACCESS, access, 0, PLAIN, Port::XDP_TARGET, 1500);
        add(PORT_NARROW, narrow, 0, PLAIN, Port::PEER_TARGET, 600);
        add(PORT_VLAN_10, trunk, 10, PLAIN, Port::XDP_TARGET, 1500);
        add(PORT_VLAN_20, trunk, 20, TRUNK, Port::XDP_TARGET, 1500);
        add(PORT_NATIVE, trunk, 0, TRUNK, Port::XDP_TARGET, 1500);
        add(PORT_CARRIER, carrier, 0, TRUNK, Port::XDP_TARGET, 1500);
        add(PORT_QUIET, quiet, 0, QUIET, Port::XDP_TARGET, 600);
        add(PORT_LONE, lone, 30, LONE, Port::XDP_TARGET, 1500);
        add(PORT_VLAN_40, trunk, 40, ROUTED, Port::XDP_TARGET, 1500);
        add(PORT_ROUTED_OTHER, lone, 40, ROUTED, 0, 1500);
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
        add(PEER_V4_UNRESOLVED, "192.0.2.4", 0, 0);
        add(PEER_V6_UNRESOLVED, "2001:db8::4", 0, Peer::CHECKSUM);
        add(PEER_JUMBO, "192.0.2.5", u32::MAX, resolved);
        add(PEER_UNREACHABLE, "192.0.2.6", 0, Peer::UNREACHABLE);
    }

    fn add_stations(&mut self) {
        const PEERS: [PeerId; 7] = [
            PEER_V4,
            PEER_V6,
            PEER_V6_ZERO,
            PEER_V4_UNRESOLVED,
            PEER_V6_UNRESOLVED,
            PEER_JUMBO,
            PEER_UNREACHABLE,
        ];
        let lists: [(SegmentId, &[PortSlot], &[PeerId]); 3] = [
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
        ];
        for (number, ports, peers) in lists {
            self.tables.add_flood(number.into(), ports, peers);
            for port in ports {
                self.add_station(number, FdbTarget::Port(*port));
            }
        }
        self.add_station(LONE, FdbTarget::Port(PORT_LONE));
        self.add_station(ROUTED, FdbTarget::Port(PORT_VLAN_40));
        for number in [PLAIN, TRUNK, QUIET, LONE, ROUTED] {
            for peer in PEERS {
                self.add_station(number, FdbTarget::Peer(peer));
            }
            // Entries that lead nowhere.
            self.add_station(number, FdbTarget::Peer(GONE_PEER));
            self.add_station(number, FdbTarget::Port(GONE_PORT));
            let list = FdbTarget::List(own_list(number));
            self.tables.add_fdb(number, group(number), list);
            self.stations.push((number, group(number)));
        }
        for (number, port) in [(PLAIN, PORT_ACCESS), (ROUTED, PORT_VLAN_40)] {
            for target in [FdbTarget::Port(port), FdbTarget::Peer(PEER_V4)] {
                for (offset, last_seen) in [(LEARNED, 0), (FRESH, JUST_NOW), (FROZEN, 0)] {
                    let mac = station(number, offset + target.number());
                    self.tables.add_learned(number, mac, target, last_seen);
                    self.stations.push((number, mac));
                }
                let key = FdbKey::new(number, station(number, FROZEN + target.number()));
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
        let mac = station(9_u32, 77_u32);
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

    fn add_station(&mut self, segment: SegmentId, target: FdbTarget) {
        let mac = station(segment, target.number());
        self.tables.add_fdb(segment, mac, target);
        self.stations.push((segment, mac));
    }

    /// The frame of a seed. A fifth of all seeds each goes to every hook, in the order of [`Hook::ALL`].
    #[must_use]
    pub fn sample(&self, seed: u64) -> Sample {
        let mut rng = Rng::new(seed);
        match Hook::ALL[rng_index(seed)] {
            Hook::UplinkXdp => self.at_uplink(&mut rng, tunnel::Stage::Xdp),
            Hook::Uplink => self.at_uplink(&mut rng, tunnel::Stage::Tc),
            Hook::Tunnel => self.behind_device(&mut rng),
            Hook::Port => self.at_port(&mut rng, port::Stage::Tc),
            Hook::PortXdp => self.at_port(&mut rng, port::Stage::Xdp),
        }
    }

    fn at_uplink(&self, rng: &mut Rng, stage: tunnel::Stage) -> Sample {
        let (vni, number) = self.any_vni(rng);
        let inner = self.inner_frame(rng, number);
        let (source, destination) = any_vteps(rng);
        let mut outer = Underlay::new(Ip::new(source, destination), vni);
        outer.source_port = rng.word();
        outer.ip.tos = rng.byte();
        tamper_ip(rng, &mut outer.ip, 4);
        if rng.percent(3) {
            outer.udp_port = rng.pick(&[53, 4788, 4790, 8472]);
        }
        if rng.percent(5) {
            let near = udp::LEN + vxlan::LEN + inner.len() + rng.below(40);
            let near = u16::try_from(near.saturating_sub(20)).unwrap_or(u16::MAX);
            let odd = rng.word();
            outer.udp_len = Some(rng.pick(&[0, 7, 8, 15, 16, near, near, odd]));
        }
        if rng.percent(3) {
            outer.first = 0;
        }
        if rng.percent(10) {
            outer.first |= u32::from(rng.word()) << rng.below(16) & !vxlan::FLAG_I;
            outer.second |= u32::from(rng.byte());
        }
        let mut frame = outer.frame(&inner);
        mutate(rng, &mut frame);
        let tc = stage == tunnel::Stage::Tc;
        let meta = Meta {
            ifindex: self.interfaces.uplink,
            tag: (tc && rng.percent(2)).then(|| any_tag(rng)),
            gso_size: if tc && rng.percent(8) { 100 } else { 0 },
        };
        Sample {
            frame,
            meta,
            side: Side::Uplink(stage),
        }
    }

    fn behind_device(&self, rng: &mut Rng) -> Sample {
        let (vni, number) = self.any_vni(rng);
        let mut frame = self.inner_frame(rng, number);
        mutate(rng, &mut frame);
        if rng.percent(2) {
            frame.truncate(rng.below(ethernet::LEN));
        }
        let (source, destination) = any_vteps(rng);
        let key = TunnelKey {
            vni,
            source: source.into(),
            destination: rng.percent(80).then(|| destination.into()),
        };
        let meta = Meta {
            ifindex: self.interfaces.device,
            tag: rng.percent(15).then(|| any_tag(rng)),
            gso_size: if rng.percent(15) { 100 } else { 0 },
        };
        Sample {
            frame,
            meta,
            side: Side::Tunnel(key),
        }
    }

    fn at_port(&self, rng: &mut Rng, stage: port::Stage) -> Sample {
        let Interfaces {
            access,
            narrow,
            trunk,
            carrier,
            quiet,
            lone,
            uplink,
            ..
        } = self.interfaces;
        let choices = [
            (access, 0, PLAIN),
            (narrow, 0, PLAIN),
            (trunk, 10, PLAIN),
            (trunk, 20, TRUNK),
            (trunk, 40, ROUTED),
            (trunk, 0, TRUNK),
            (carrier, 0, TRUNK),
            (quiet, 0, QUIET),
            (lone, 30, LONE),
            (uplink, 0, PLAIN),
        ];
        let (ifindex, vlan, number) = rng.pick(&choices);
        let mut frame = self.inner_frame(rng, number);
        let tc = stage == port::Stage::Tc;
        let mut tag = None;
        if vlan != 0 && rng.percent(95) {
            let wanted = Tag {
                tpid: vlan::TYPE_8021Q,
                tci: vlan | rng.word() & 0xf000,
            };
            if tc && rng.percent(30) {
                tag = Some(wanted);
            } else {
                insert_tag(&mut frame, wanted);
            }
        } else if rng.percent(20) {
            let any = any_tag(rng);
            if tc && rng.percent(50) {
                tag = Some(any);
            } else {
                insert_tag(&mut frame, any);
            }
        }
        mutate(rng, &mut frame);
        if rng.percent(1) {
            frame.truncate(rng.below(vlan::LEN + ethernet::LEN));
        }
        let gso = tc && rng.percent(12);
        let meta = Meta {
            ifindex,
            tag,
            gso_size: if gso {
                rng.pick(&[100, 500, 1400, 1460])
            } else {
                0
            },
        };
        Sample {
            frame,
            meta,
            side: Side::Port(stage),
        }
    }

    /// A VNI, and a segment whose stations make sense in it.
    fn any_vni(&self, rng: &mut Rng) -> (u32, SegmentId) {
        if rng.percent(6) {
            let unknown = rng.pick(&[0, 101, 600, 0x0064_0000]);
            return (unknown, PLAIN);
        }
        let number = rng.pick(&[PLAIN, PLAIN, TRUNK, QUIET, LONE, ROUTED]);
        (self.tables.segments[&number].vni, number)
    }

    /// A frame as a VM would send it, or would not.
    fn inner_frame(&self, rng: &mut Rng, number: SegmentId) -> Vec<u8> {
        let known: Vec<MacAddr> = self
            .stations
            .iter()
            .filter(|(segment, _)| *segment == number)
            .map(|(_, mac)| *mac)
            .collect();
        let destination = match rng.below(100) {
            0..72 => rng.pick(&known),
            72..78 => MacAddr::BROADCAST,
            78..82 => MacAddr::from_parts(0x3333, 0xff00_0001),
            82..97 => station(number, 200_u32),
            _ => MacAddr::from_parts(rng.word(), u32::from(rng.word())),
        };
        let source = match rng.below(100) {
            0..60 => station(9_u32, u32::from(rng.byte())),
            60..96 => rng.pick(&known),
            96..98 => MacAddr::ZERO,
            _ => group(number),
        };
        if rng.percent(12) {
            let mut frame = message(rng, destination, source);
            if rng.percent(10) {
                insert_tag(&mut frame, any_tag(rng));
            }
            return frame;
        }
        let mut tags = Vec::new();
        while tags.len() < 2 && rng.percent(8) {
            tags.push(any_tag(rng));
        }
        let (ethertype, body) = any_body(rng);
        let mut frame = build::ethernet(destination, source, &tags, ethertype, &body);
        if rng.percent(6) {
            let padding = 1 + rng.below(46);
            frame.extend(rng.bytes(padding));
        }
        frame
    }
}

fn rng_index(seed: u64) -> usize {
    usize::try_from(seed % Hook::ALL.len() as u64).expect("below 5")
}

/// Source and destination of an outer packet.
fn any_vteps(rng: &mut Rng) -> (IpAddr, IpAddr) {
    let v6 = rng.percent(50);
    let sources = if v6 {
        ["2001:db8::2", "2001:db8::3", "2001:db8::99", "2001:db8::1"]
    } else {
        ["192.0.2.2", "192.0.2.5", "198.51.100.9", "192.0.2.1"]
    };
    let source = if rng.percent(95) {
        rng.pick(&sources[..3])
    } else {
        sources[3]
    };
    let destination = match (v6, rng.percent(95)) {
        (false, true) => "192.0.2.1",
        (false, false) => "192.0.2.77",
        (true, true) => "2001:db8::1",
        (true, false) => "2001:db8::77",
    };
    (ip(source), ip(destination))
}

/// Makes something of an IP header odd, `percent` of the time for each thing.
fn tamper_ip(rng: &mut Rng, ip: &mut Ip, percent: usize) {
    if rng.percent(percent) {
        ip.fragment = Some(Fragment {
            offset: rng.pick(&[0, 0, 0, 1, 185]),
            more: rng.percent(60),
        });
    }
    if rng.percent(percent) {
        ip.options = rng.pick(&[4, 8, 40]);
        ip.extension = Some(rng.pick(&[
            ipv6::HOP_BY_HOP,
            ipv6::ROUTING,
            ipv6::DESTINATION_OPTIONS,
            51,
        ]));
    }
    if rng.percent(percent) {
        let odd = rng.word();
        ip.len = Some(rng.pick(&[0, 19, 20, 27, 28, 35, 36, 100, 1500, odd]));
    }
}

/// `EtherType` and payload of a frame.
fn any_body(rng: &mut Rng) -> (u16, Vec<u8>) {
    let len = match rng.below(10) {
        0..3 => rng.below(4),
        3..6 => rng.below(100),
        6..8 => 500 + rng.below(200),
        _ => 1300 + rng.below(250),
    };
    let payload = rng.bytes(len);
    if rng.percent(15) {
        let ethertype = rng.pick(&[build::TYPE_ARP, 0x88cc, 0x0026, 0x8847]);
        return (ethertype, payload);
    }
    let subnet = rng.byte();
    let mut ip = if rng.percent(50) {
        Ip::new(
            [10, 0, subnet, 1].into(),
            [10, 0, subnet, 2 + rng.byte() % 100].into(),
        )
    } else {
        let net = u16::from(subnet);
        Ip::new(
            [0xfd00, net, 0, 0, 0, 0, 0, 1].into(),
            [0xfd00, net, 0, 0, 0, 0, 0, 2].into(),
        )
    };
    ip.tos = rng.byte();
    ip.ttl = rng.byte();
    ip.id = rng.word();
    ip.dont_fragment = rng.percent(50);
    tamper_ip(rng, &mut ip, 4);
    let checksum = match rng.below(100) {
        0..45 => Checksum::Complete,
        45..85 => Checksum::Pending,
        85..90 => Checksum::Zero,
        _ => Checksum::Wrong,
    };
    let ports = (rng.word(), rng.word());
    let packet = match rng.below(10) {
        0..4 => ip.tcp(ports, checksum, &payload),
        4..8 => ip.udp(ports, checksum, &payload),
        _ => ip.packet(rng.pick(&[1, build::ICMPV6, 132, 47]), &payload),
    };
    (ip.ethertype(), packet)
}

/// An ARP or ND message, most often a sound one.
fn message(rng: &mut Rng, unicast: MacAddr, any_source: MacAddr) -> Vec<u8> {
    let index = rng.below(HOSTS.len());
    let known = ip(HOSTS[index]);
    // Sometimes the host that is asked for asks itself.
    let source = match rng.below(10) {
        0 => host_mac(u32::try_from(index).expect("below 4")),
        1..8 => station(9_u32, u32::from(rng.byte())),
        _ => any_source,
    };
    let claimed = if rng.percent(94) { source } else { host_mac(0) };
    let to_all = rng.percent(75);
    match known {
        IpAddr::V4(known) => {
            let target = rng.pick(&[known, known, [10, 0, 0, 99].into(), [224, 0, 0, 1].into()]);
            let sender = rng.pick(&[
                [0, 0, 0, 0].into(),
                [10, 0, 0, 7].into(),
                [10, 0, 0, 8].into(),
                target,
                [239, 1, 1, 1].into(),
            ]);
            let mut body = vec![0, 1, 8, 0, 6, 4, 0, rng.pick(&[1, 1, 1, 1, 2, 2, 3])];
            body.extend(claimed.bytes());
            body.extend(sender.octets());
            body.extend([0; 6]);
            body.extend(target.octets());
            if rng.percent(4) {
                let at = rng.below(8);
                body[at] ^= 1 << rng.below(8);
            }
            if rng.percent(50) {
                body.extend([0; 18]);
            }
            let destination = if to_all { MacAddr::BROADCAST } else { unicast };
            build::ethernet(destination, source, &[], build::TYPE_ARP, &body)
        }
        IpAddr::V6(known) => {
            let all: std::net::Ipv6Addr = [0xff02, 0, 0, 0, 0, 0, 0, 1].into();
            let stranger = [0xfd00, 0, 0, 0, 0, 0, 0, 0x99].into();
            let target = rng.pick(&[known, known, known, stranger, all]);
            let asker = rng.pick(&[
                std::net::Ipv6Addr::UNSPECIFIED,
                [0xfd00, 0, 0, 0, 0, 0, 0, 7].into(),
                [0xfe80, 0, 0, 0, 0, 0, 0, 8].into(),
                all,
            ]);
            let mut ip = Ip::new(asker.into(), all.into());
            ip.ttl = if rng.percent(95) { 255 } else { 64 };
            let kind = rng.pick(&[135, 135, 135, 136, 136, 133]);
            let mut body = vec![kind, u8::from(rng.percent(4)), 0, 0];
            body.extend([rng.pick(&[0, 0x20, 0x60, 0xa0, 0xe0]), 0, 0, 0]);
            body.extend(target.octets());
            let options = rng.pick(&[0, 1, 1, 1, 2, 2, 3]);
            for number in 0..options {
                let nonce = number == 1;
                let own = if kind == 136 { 2 } else { 1 };
                body.extend([if nonce { 14 } else { own }, 1]);
                body.extend(if nonce {
                    [1, 2, 3, 4, 5, 6]
                } else {
                    claimed.bytes()
                });
            }
            let sum = ip
                .pseudo_sum(build::ICMPV6, body.len())
                .bytes(&body)
                .checksum();
            body[2..4].copy_from_slice(&sum.to_be_bytes());
            if rng.percent(6) {
                let at = rng.below(body.len());
                body[at] ^= 1 << rng.below(8);
            }
            let packet = ip.packet(build::ICMPV6, &body);
            let destination = if to_all {
                MacAddr::from_parts(0x3333, 1)
            } else {
                unicast
            };
            build::ethernet(destination, source, &[], ip.ethertype(), &packet)
        }
    }
}

fn any_tag(rng: &mut Rng) -> Tag {
    let vlan = rng.pick(&[0, 10, 20, 30, 31, 40, 4095]);
    Tag {
        tpid: if rng.percent(80) {
            vlan::TYPE_8021Q
        } else {
            vlan::TYPE_8021AD
        },
        tci: vlan | rng.word() & 0xf000,
    }
}

fn insert_tag(frame: &mut Vec<u8>, tag: Tag) {
    let [a, b] = tag.tpid.to_be_bytes();
    let [c, d] = tag.tci.to_be_bytes();
    let at = ethernet::TYPE_OFFSET;
    frame.splice(at..at, [a, b, c, d]);
}

/// Spoils a frame, or more often leaves it as it is. At least an Ethernet header remains.
fn mutate(rng: &mut Rng, frame: &mut Vec<u8>) {
    match rng.below(100) {
        0..10 => {
            let kept = ethernet::LEN + rng.below(frame.len() + 1 - ethernet::LEN);
            frame.truncate(kept);
        }
        10..20 => {
            for _ in 0..=rng.below(3) {
                // Most of what matters stands in front.
                let reach = if rng.percent(70) {
                    frame.len().min(110)
                } else {
                    frame.len()
                };
                let at = rng.below(reach);
                frame[at] ^= 1 << rng.below(8);
            }
        }
        20..23 => {
            let trailer = 1 + rng.below(20);
            frame.extend(rng.bytes(trailer));
        }
        23..25 => {
            let at = rng.below(frame.len());
            let end = (at + 1 + rng.below(16)).min(frame.len());
            let noise = rng.bytes(end - at);
            frame[at..end].copy_from_slice(&noise);
        }
        25 => {
            let len = ethernet::LEN + rng.below(120);
            *frame = rng.bytes(len);
        }
        _ => {}
    }
}
