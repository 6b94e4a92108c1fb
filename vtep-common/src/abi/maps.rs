//! The BPF maps: names, keys and values. Their layout is ABI between the kernel side, the daemon and the next daemon.
//!
//! All numbers are in host byte order unless a name ends in `_be`; padding is zero.

use bytemuck::{Pod, Zeroable};

use crate::{
    abi::addr::{MacAddr, VtepAddr},
    frame::template::TEMPLATE_WORDS,
};

/// Version of everything in this file. A daemon refuses pinned maps of another version.
pub const LAYOUT_VERSION: u32 = 4;

/// VNIs that one instance can carry; segment numbers are below this.
pub const MAX_SEGMENTS: u32 = 16_384;
/// Port mappings (interface and VLAN) of one instance.
pub const MAX_PORTS: u32 = 4_096;
/// VTEPs that one instance can send to.
pub const MAX_PEERS: u32 = 8_192;
/// Local VTEP addresses, and the multicast groups that we are a member of: each is a peer as well.
pub const MAX_LOCALS: u32 = 256 + MAX_PEERS;
/// Flood lists: one per VNI and one per multicast MAC with VTEPs of its own.
pub const MAX_FLOOD_LISTS: u32 = 65_536;
/// FDB entries, unless the daemon is told otherwise.
pub const DEFAULT_FDB_ENTRIES: u32 = 262_144;
/// Addresses that ARP and ND are answered for, in all VNIs together.
pub const MAX_NEIGHS: u32 = 262_144;
/// Hosts and prefixes of the nexthop table, in all VNIs together.
pub const MAX_NEXTHOPS: u32 = 262_144;
/// Bytes of the ring buffer that carries [`Event`](crate::abi::event::Event)s: some 29,000 of them.
pub const EVENTS_BYTES: u32 = 2 << 20;
/// Events that are held back while an earlier one of the same kind is on its way.
pub const MAX_GUARDS: u32 = 65_536;
/// Targets of one flood list, local ports and VTEPs together.
pub const MAX_FLOOD_TARGETS: usize = 510;

/// Names of the maps as they are pinned.
pub mod name {
    /// One [`Config`](crate::Config).
    pub const CONFIG: &str = "CONFIG";
    /// The [`Shape`](crate::abi::hash_table::Shape) of each [`Table`](crate::abi::hash_table::Table).
    pub const SHAPES: &str = "SHAPES";
    /// [`Bucket`](crate::abi::hash_table::Bucket)s: underlay address, as [`VtepAddr::key`](crate::abi::addr::VtepAddr::key), to
    /// [`Address`](crate::Address). All that is in `LOCALS` and `PEER_INDEX`, for the programs.
    pub const ADDRESSES: &str = "ADDRESSES";
    /// Address that VXLAN packets are taken at to [`LOCAL_OWN`](crate::LOCAL_OWN) or [`LOCAL_GROUP`](crate::LOCAL_GROUP).
    /// For the daemon alone.
    pub const LOCALS: &str = "LOCALS";
    /// [`Bucket`](crate::abi::hash_table::Bucket)s: VNI, as [`vni_key`](crate::vni_key), to segment number.
    pub const VNIS: &str = "VNIS";
    /// Segment number to [`Segment`](crate::Segment).
    pub const SEGMENTS: &str = "SEGMENTS";
    /// [`Bucket`](crate::abi::hash_table::Bucket)s: [`PortKey`](crate::PortKey) to slot in `PORTS`.
    pub const PORT_INDEX: &str = "PORT_INDEX";
    /// Slot to [`Port`](crate::Port).
    pub const PORTS: &str = "PORTS";
    /// [`Bucket`](crate::abi::hash_table::Bucket)s: [`FdbKey`](crate::FdbKey) to [`FdbValue`](crate::FdbValue).
    pub const FDB: &str = "FDB";
    /// Flood list number to [`FloodList`](crate::FloodList).
    pub const FLOOD: &str = "FLOOD";
    /// Peer number to [`Peer`](crate::Peer).
    pub const PEERS: &str = "PEERS";
    /// VTEP address to peer number. For the daemon alone.
    pub const PEER_INDEX: &str = "PEER_INDEX";
    /// [`NeighKey`](crate::NeighKey) to [`NeighValue`](crate::NeighValue).
    pub const NEIGHS: &str = "NEIGHS";
    /// Prefixes of [`NexthopKey`](crate::NexthopKey) to [`NexthopValue`](crate::NexthopValue): a trie.
    pub const NEXTHOPS: &str = "NEXTHOPS";
    /// The ring buffer of [`Event`](crate::abi::event::Event)s.
    pub const EVENTS: &str = "EVENTS";
    /// What an event is about to [`Guard`](crate::Guard), least recently used out first.
    pub const GUARDS: &str = "GUARDS";
    /// Programs that others go on to, by [`Part`](crate::Part).
    pub const PARTS: &str = "PARTS";
    /// What one part of a decision hands to the next, per CPU: one [`NexthopValue`](crate::NexthopValue). Pinned, since parts of
    /// two daemons' programs can meet while one takes over from the other.
    pub const HANDOVER: &str = "HANDOVER";
    /// Events by [`EventEnd`](crate::EventEnd), per CPU: [`Counter`](crate::Counter), without bytes.
    pub const EVENT_COUNTERS: &str = "EVENT_COUNTERS";
    /// Frames per hook and reason, per CPU: [`Counter`](crate::Counter).
    pub const REASON_COUNTERS: &str = "REASON_COUNTERS";
    /// Frames per segment and direction, per CPU.
    pub const SEGMENT_COUNTERS: &str = "SEGMENT_COUNTERS";
    /// Frames per port and direction, per CPU.
    pub const PORT_COUNTERS: &str = "PORT_COUNTERS";
    /// Frames per peer and direction, per CPU.
    pub const PEER_COUNTERS: &str = "PEER_COUNTERS";

    /// The [`Clock`](crate::Clock) of one daemon's programs. Not pinned.
    pub const CLOCK: &str = "CLOCK";

    /// All that are pinned.
    pub const ALL: [&str; 23] = [
        CONFIG,
        SHAPES,
        ADDRESSES,
        LOCALS,
        VNIS,
        SEGMENTS,
        PORT_INDEX,
        PORTS,
        FDB,
        FLOOD,
        PEERS,
        PEER_INDEX,
        NEIGHS,
        NEXTHOPS,
        EVENTS,
        GUARDS,
        PARTS,
        HANDOVER,
        EVENT_COUNTERS,
        REASON_COUNTERS,
        SEGMENT_COUNTERS,
        PORT_COUNTERS,
        PEER_COUNTERS,
    ];
}

/// Value in `LOCALS`: one of our own VTEP addresses.
pub const LOCAL_OWN: u32 = 1;
/// Value in `LOCALS`: a multicast group that we are a member of.
pub const LOCAL_GROUP: u32 = 2;

/// What holds for the whole instance: 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Config {
    /// [`LAYOUT_VERSION`] of the daemon that made the maps.
    pub layout: u32,
    /// Interface number of the kernel device.
    pub device: u32,
    /// UDP port of VXLAN.
    pub udp_port: u16,
    /// [`Config::PARTIAL_CHECKSUMS`].
    pub flags: u16,
    /// Zero.
    pub pad: u32,
}

impl Config {
    /// Frames can reach the uplink's XDP hook with inner checksums still to be filled in by offload (the uplink is a veth):
    /// XDP leaves those to TC, where the kernel remembers the offload.
    pub const PARTIAL_CHECKSUMS: u16 = 1;
    /// XDP leaves every frame to TC: it is generic XDP on a veth, where the *outer* checksum can still be to be filled in by
    /// offload too. The kernel would remember that of a frame whose outer headers are gone.
    pub const XDP_LEAVES_ALL: u16 = 1 << 1;
}

const _: () = assert!(size_of::<Config>() == 16);

/// What time it is to the programs: 24 bytes, of each daemon's programs their own, and not pinned. All zero: unknown.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Clock {
    /// Nanoseconds of a tick.
    pub tick_ns: u64,
    /// When tick 0 was, nanoseconds of `CLOCK_MONOTONIC`, modulo 2^64: it may have been before it started.
    pub base: u64,
    /// Where `read_ticks` leaves the number of ticks.
    pub ticks: u64,
}

impl Clock {
    /// The time of the last tick, nanoseconds of `CLOCK_MONOTONIC`; `None` where it is not known.
    #[must_use]
    #[inline(always)]
    pub const fn at(&self, ticks: u64) -> Option<u64> {
        if self.tick_ns == 0 {
            return None;
        }
        Some(ticks.wrapping_mul(self.tick_ns).wrapping_add(self.base))
    }
}

const _: () = assert!(size_of::<Clock>() == 24);

/// A VNI and its settings: 48 bytes. A slot that is not in use is all zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Segment {
    /// The VNI.
    pub vni: u32,
    /// The `IN_USE` … bits below.
    pub flags: u32,
    /// Outer TTL or hop limit, where not inherited.
    pub ttl: u8,
    /// Outer TOS or traffic class (DSCP; the ECN bits come from the inner packet), where not inherited.
    pub tos: u8,
    /// The mode as the user named it: for the daemon alone.
    pub mode: u8,
    /// The way of flooding as the user named it: for the daemon alone.
    pub flood: u8,
    /// Smallest outer UDP source port.
    pub source_port_min: u16,
    /// Largest outer UDP source port.
    pub source_port_max: u16,
    /// Seconds until a learned entry ages out, 0 for never: for the daemon alone.
    pub ageing_s: u32,
    /// Largest number of FDB entries, 0 for no limit: for the daemon alone.
    pub max_macs: u32,
    /// Multicast group, or all zero: for the daemon alone.
    pub group: [u8; 16],
    /// Zero.
    pub pad: [u32; 2],
}

impl Segment {
    /// The slot holds a VNI.
    pub const IN_USE: u32 = 1;
    /// Broadcast, multicast and unknown unicast are flooded.
    pub const FLOODS: u32 = 1 << 1;
    /// Inner VLAN tags are carried.
    pub const INNER_VLAN_PASS: u32 = 1 << 2;
    /// Packets with reserved header bits set are dropped.
    pub const RESERVED_STRICT: u32 = 1 << 3;
    /// The outer TTL is the inner one.
    pub const TTL_INHERIT: u32 = 1 << 4;
    /// The outer DSCP is the inner one.
    pub const TOS_INHERIT: u32 = 1 << 5;
    /// DF is set on outer IPv4.
    pub const DF_SET: u32 = 1 << 6;
    /// DF is set on outer IPv4 where the inner packet has it or is IPv6.
    pub const DF_INHERIT: u32 = 1 << 7;
    /// Source MACs are learned, and held against static entries.
    pub const LEARNING: u32 = 1 << 8;
    /// ARP and ND are answered at ports, and heard.
    pub const SUPPRESS: u32 = 1 << 9;
    /// There are entries in `NEXTHOPS`.
    pub const NEXTHOPS: u32 = 1 << 10;

    /// True if `flag` is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

const _: () = assert!(size_of::<Segment>() == 48);

/// Key of `PORT_INDEX`: an interface and a VLAN on it, in the map a word of 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortKey {
    /// Interface number.
    pub ifindex: u32,
    /// VLAN ID, 0 for untagged frames.
    pub vlan: u16,
}

impl PortKey {
    /// The key of an entry of `PORT_INDEX`, never zero.
    #[must_use]
    #[inline(always)]
    pub fn word(self) -> u64 {
        u64::from(self.ifindex) << 16 | u64::from(self.vlan)
    }

    /// From the key of an entry.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the parts are meant")]
    pub const fn from_word(word: u64) -> Self {
        Self {
            ifindex: (word >> 16) as u32,
            vlan: word as u16,
        }
    }

    /// The key of VLAN `vlan` at interface `ifindex`.
    #[must_use]
    #[inline(always)]
    pub const fn new(ifindex: u32, vlan: u16) -> Self {
        Self { ifindex, vlan }
    }
}

/// A port: 24 bytes. A slot that is not in use is all zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Port {
    /// Interface number.
    pub ifindex: u32,
    /// Number of the segment that it belongs to.
    pub segment: u32,
    /// The `IN_USE` … bits below.
    pub flags: u32,
    /// VLAN ID that its frames carry, 0 for none.
    pub vlan: u16,
    /// The hook as the user named it: for the daemon alone.
    pub hook: u16,
    /// MTU of the interface, in bytes: the largest frame without its Ethernet header and tag.
    pub mtu: u32,
    /// Largest number of FDB entries behind the port, 0 for no limit: for the daemon alone.
    pub max_macs: u32,
}

impl Port {
    /// The slot holds a port.
    pub const IN_USE: u32 = 1;
    /// XDP can redirect to the interface, without a frame being lost silently.
    pub const XDP_TARGET: u32 = 1 << 1;
    /// TC can hand frames straight to the interface's other end, which lies in another network namespace.
    pub const PEER_TARGET: u32 = 1 << 2;

    /// True if `flag` is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

const _: () = assert!(size_of::<Port>() == 24);

/// Key of the FDB: 8 bytes, the segment number in the upper 16 bits and the MAC below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FdbKey(u64);

const _: () = assert!(MAX_SEGMENTS <= 1 << 16);

impl FdbKey {
    /// The key of `mac` in the segment with number `segment`.
    #[must_use]
    #[inline(always)]
    pub fn new(segment: u32, mac: MacAddr) -> Self {
        Self((u64::from(segment) << 48) | mac.get())
    }

    /// The key of an entry of `FDB`. Zero for the zero MAC in segment 0, which no entry is for.
    #[must_use]
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// From the key of an entry.
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// Number of the segment.
    #[must_use]
    pub const fn segment(self) -> u32 {
        (self.0 >> 48) as u32
    }

    /// The MAC.
    #[must_use]
    pub const fn mac(self) -> MacAddr {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        MacAddr::from_bytes([a, b, c, d, e, f])
    }
}

/// Where an FDB entry points: in the map a word of 8 bytes, the stamp in its upper half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdbValue {
    /// Number of the peer, port or flood list.
    pub target: u32,
    /// [`FdbValue::PEER`], [`FdbValue::PORT`] or [`FdbValue::LIST`].
    pub kind: u8,
    /// Who made the entry: [`FdbValue::STATIC`] or [`FdbValue::LEARNED`].
    pub origin: u8,
    /// [`FdbValue::FROZEN`].
    pub flags: u16,
    /// When a frame from the MAC was last seen, in nanoseconds of `CLOCK_MONOTONIC`, a second too early at most; zero for
    /// static entries. In the map as 32 bits of [`FdbValue::STAMP_SHIFT`], which start anew after 834 days.
    pub last_seen: u64,
}

impl FdbValue {
    /// `target` is a peer number.
    pub const PEER: u8 = 1;
    /// `target` is a slot of `PORTS`.
    pub const PORT: u8 = 2;
    /// `target` is a flood list: a multicast MAC with VTEPs of its own.
    pub const LIST: u8 = 3;
    /// Made by the user; never ages, and frames from elsewhere with this source are dropped.
    pub const STATIC: u8 = 1;
    /// Learned from frames; ages, and moves.
    pub const LEARNED: u8 = 2;
    /// Moved too often (RFC 7432 section 15.1): it stays where it is, and no frame from elsewhere is an event.
    pub const FROZEN: u16 = 1;
    /// How long a stamp is left as it is before traffic renews it, in nanoseconds.
    pub const REFRESH_NS: u64 = 1_000_000_000;
    /// Stamps count units of 2 to this power nanoseconds: some 17 ms.
    pub const STAMP_SHIFT: u32 = 24;

    /// The stamp of a time.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "stamps start anew")]
    pub const fn stamp(time: u64) -> u32 {
        (time >> Self::STAMP_SHIFT) as u32
    }

    /// True if traffic at the time `now` is to renew the stamp. One of the future was made on another CPU just now.
    #[must_use]
    #[inline(always)]
    pub const fn is_stale(&self, now: u64) -> bool {
        const AGE: i32 = FdbValue::stamp(FdbValue::REFRESH_NS).cast_signed();
        let age = Self::stamp(now).wrapping_sub(Self::stamp(self.last_seen));
        age.cast_signed() > AGE
    }

    /// The time that the stamp stands for, of all that it can stand for the last one that is not after `now` by more than
    /// half of them.
    #[must_use]
    pub const fn seen_before(&self, now: u64) -> u64 {
        let age = Self::stamp(now).wrapping_sub(Self::stamp(self.last_seen));
        (now >> Self::STAMP_SHIFT).wrapping_add_signed((age.cast_signed() as i64).wrapping_neg())
            << Self::STAMP_SHIFT
    }

    /// The word of an entry of `FDB`. Of the target 16 bits are kept, of the flags 4: there are no more.
    #[must_use]
    #[inline(always)]
    pub fn word(&self) -> u64 {
        u64::from(self.target & 0xffff)
            | u64::from(self.kind) << 16
            | u64::from(self.origin & 0xf) << 24
            | u64::from(self.flags & 0xf) << 28
            | u64::from(Self::stamp(self.last_seen)) << 32
    }

    /// From the word of an entry; `None` where that is not in use.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the parts are meant")]
    pub const fn from_word(word: u64) -> Option<Self> {
        if word == 0 {
            return None;
        }
        Some(Self {
            target: word as u32 & 0xffff,
            kind: (word >> 16) as u8,
            origin: (word >> 24) as u8 & 0xf,
            flags: (word >> 28) as u16 & 0xf,
            last_seen: (word >> 32) << Self::STAMP_SHIFT,
        })
    }
}

const _: () = assert!(MAX_PEERS <= 1 << 16 && MAX_PORTS <= 1 << 16 && MAX_FLOOD_LISTS <= 1 << 16);

/// The key of a VNI in `VNIS`, never zero.
#[must_use]
#[inline(always)]
pub fn vni_key(vni: u32) -> u64 {
    u64::from(vni) | 1 << 32
}

/// The VNI of a key in `VNIS`.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
pub const fn vni_of(key: u64) -> u32 {
    key as u32
}

/// What an underlay address is to us: a word of `ADDRESSES`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address(u64);

impl Address {
    /// One of our own VTEP addresses.
    pub const OWN: u64 = 1 << 32;
    /// A multicast group that we are a member of.
    pub const GROUP: u64 = 1 << 33;
    /// A peer, whose number is the lower half.
    const PEER: u64 = 1 << 34;
    /// All that makes an address one of ours.
    const LOCAL: u64 = Self::OWN | Self::GROUP;

    /// From a word of the table; zero for an address that is not there.
    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word; zero where it says nothing.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// VXLAN packets for it are ours.
    #[must_use]
    #[inline(always)]
    pub const fn is_local(self) -> bool {
        self.0 & Self::LOCAL != 0
    }

    /// Number of the peer.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub const fn peer(self) -> Option<u32> {
        if self.0 & Self::PEER == 0 {
            None
        } else {
            Some(self.0 as u32)
        }
    }

    /// Number of the peer, or [`NONE`](crate::decide::verdict::NONE). Without a branch.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub const fn peer_or_none(self) -> u32 {
        const { assert!(crate::decide::verdict::NONE == u32::MAX) };
        let none = (self.0 >> Self::PEER.trailing_zeros() & 1).wrapping_sub(1);
        (self.0 | none) as u32
    }

    /// With a bit of [`Address::OWN`] … set or not.
    #[must_use]
    pub const fn with(self, bit: u64, set: bool) -> Self {
        Self(if set { self.0 | bit } else { self.0 & !bit })
    }

    /// As the address of a peer, or of none.
    #[must_use]
    pub fn with_peer(self, number: Option<u32>) -> Self {
        let rest = self.0 & Self::LOCAL;
        Self(match number {
            Some(number) => rest | Self::PEER | u64::from(number),
            None => rest,
        })
    }
}

/// Key of `NEIGHS`: 20 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct NeighKey {
    /// Number of the segment.
    pub segment: u32,
    /// Address of the host.
    pub host: VtepAddr,
}

const _: () = assert!(size_of::<NeighKey>() == 20);

/// The MAC of a host: 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct NeighValue {
    /// The MAC, in the lower 48 bits: see [`MacAddr::get`].
    pub mac: u64,
    /// Slot of the port at which it was heard, else [`NONE`](crate::decide::verdict::NONE). For the daemon alone.
    pub port: u32,
    /// [`NeighValue::ROUTER`].
    pub flags: u16,
    /// Who made the entry: [`NeighValue::STATIC`] …. For the daemon alone.
    pub origin: u8,
    /// Zero.
    pub pad: u8,
}

impl NeighValue {
    /// The host is a router: ND answers say so (RFC 4861 section 4.4).
    pub const ROUTER: u16 = 1;
    /// The MAC.
    #[must_use]
    #[inline(always)]
    pub const fn mac(&self) -> MacAddr {
        MacAddr::from_number(self.mac)
    }

    /// Made by the user.
    pub const STATIC: u8 = 1;
    /// Heard at a port.
    pub const SNOOPED: u8 = 2;
    /// From the addresses that a port was given.
    pub const PORT: u8 = 3;
    /// From the nexthop table.
    pub const NEXTHOP: u8 = 4;
}

const _: () = assert!(size_of::<NeighValue>() == 16);

/// Key of `NEXTHOPS`, whose prefixes are at least the segment: 20 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct NexthopKey {
    /// Number of the segment.
    pub segment: u32,
    /// Address of the host, or of the network.
    pub host: VtepAddr,
}

impl NexthopKey {
    /// Bits of a key up to its address.
    pub const SEGMENT_BITS: u32 = 32;
    /// Bits of an IPv6-mapped address up to the IPv4 one.
    pub const V4_BITS: u32 = 96;
    /// Bits of a whole key.
    pub const BITS: u32 = Self::SEGMENT_BITS + 128;
}

const _: () = assert!(size_of::<NexthopKey>() == 20);

/// Where a host of the nexthop table is: 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct NexthopValue {
    /// The inner destination MAC to write, in the lower 48 bits, or zero to leave it.
    pub mac: u64,
    /// Number of the peer, or slot of the port.
    pub target: u32,
    /// [`FdbValue::PEER`], [`FdbValue::PORT`], or zero where neither is known (yet): as good as no entry.
    pub kind: u8,
    /// Who made the entry: [`NexthopValue::STATIC`] or [`NexthopValue::PORT`]. For the daemon alone.
    pub origin: u8,
    /// [`NexthopValue::FOLLOWS`].
    pub flags: u16,
}

impl NexthopValue {
    /// The MAC to write, or zero.
    #[must_use]
    #[inline(always)]
    pub const fn mac(&self) -> MacAddr {
        MacAddr::from_number(self.mac)
    }

    /// Made by the user.
    pub const STATIC: u8 = 1;
    /// From the addresses that a port was given.
    pub const PORT: u8 = 2;
    /// No VTEP was named: the host is where the FDB has `mac`. For the daemon alone.
    pub const FOLLOWS: u16 = 1;
}

const _: () = assert!(size_of::<NexthopValue>() == 16);

/// Holds back events that repeat one on its way: 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Guard {
    /// What the event said: see [`Event::place`](crate::abi::event::Event::place).
    pub place: u64,
    /// When the event was sent, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
}

impl Guard {
    /// How long an event holds back those that say the same, in nanoseconds.
    pub const HOLD_NS: u64 = 250_000_000;
}

const _: () = assert!(size_of::<Guard>() == 16);

/// Programs that others go on to: the verifier walks through each on its own. The numbers index `PARTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Part {
    /// `tc_port_rest`: what `tc_port` leaves: what is to be flooded, and hosts that are found by IP.
    PortRest = 0,
    /// `tc_port_found`: frames that `tc_port_rest` gives back, with what it found.
    PortFound = 1,
    /// `tc_port_neigh`: ARP and ND, which are heard and answered; what remains goes on to `tc_port_rest`.
    PortNeigh = 2,
    /// `tc_port_flood`: frames for which `tc_port_rest` has found a flood list.
    PortFlood = 3,
}

impl Part {
    /// Every part, with the name of its program.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::PortRest, "tc_port_rest"),
        (Self::PortFound, "tc_port_found"),
        (Self::PortNeigh, "tc_port_neigh"),
        (Self::PortFlood, "tc_port_flood"),
    ];
}

/// What became of an event. The numbers index `EVENT_COUNTERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EventEnd {
    /// It is in the ring buffer.
    Sent = 0,
    /// It repeats one that is on its way.
    HeldBack = 1,
    /// The ring buffer is full: the next frame tries again.
    Lost = 2,
}

impl EventEnd {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sent, Self::HeldBack, Self::Lost];

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::HeldBack => "held_back",
            Self::Lost => "lost",
        }
    }
}

/// Where a frame is copied to: 2048 bytes. The first `ports` targets are slots of `PORTS`, the others peer numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct FloodList {
    /// Targets in all.
    pub len: u32,
    /// Of them, local ports.
    pub ports: u32,
    /// The targets.
    pub targets: [u32; MAX_FLOOD_TARGETS],
}

const _: () = assert!(size_of::<FloodList>() == 2048);

/// A remote VTEP: 128 bytes. A slot that is not in use is all zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Peer {
    /// Its underlay address.
    pub addr: VtepAddr,
    /// Our own underlay address towards it.
    pub local: VtepAddr,
    /// The `IN_USE` … bits below.
    pub flags: u32,
    /// Interface by which packets to it leave.
    pub ifindex: u32,
    /// Largest IP packet that the path to it carries, in bytes.
    pub mtu: u32,
    /// Bytes of `template` that are used: [`crate::frame::template::LEN_V4`] or [`crate::frame::template::LEN_V6`].
    pub template_len: u32,
    /// The outer headers, with what changes per packet left zero.
    pub template: [u64; TEMPLATE_WORDS],
}

impl FloodList {
    /// The slots of its ports.
    pub fn ports(&self) -> impl Iterator<Item = &u32> {
        self.targets.iter().take(self.ports as usize)
    }

    /// The numbers of its peers.
    pub fn peers(&self) -> impl Iterator<Item = &u32> {
        let used = self.targets.iter().take(self.len as usize);
        used.skip(self.ports as usize)
    }
}

impl Peer {
    /// The slot holds a peer.
    pub const IN_USE: u32 = 1;
    /// Route and next hop are known: `ifindex`, `mtu` and `template` hold.
    pub const RESOLVED: u32 = 1 << 1;
    /// The underlay to this peer is IPv6.
    pub const IPV6: u32 = 1 << 2;
    /// The outer UDP checksum is correct rather than zero.
    pub const CHECKSUM: u32 = 1 << 3;
    /// The user asked for zero checksums over IPv6: for the daemon alone.
    pub const CSUM6_OFF: u32 = 1 << 4;
    /// XDP can redirect to the egress interface, without a frame being lost silently.
    pub const XDP_TARGET: u32 = 1 << 5;
    /// There is no route, or the interface of the route is down.
    pub const UNREACHABLE: u32 = 1 << 6;
    /// A multicast group: copies go to every VTEP that is a member.
    pub const MULTICAST: u32 = 1 << 7;

    /// True if `flag` is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

const _: () = assert!(size_of::<Peer>() == 128);

/// Frames and bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Counter {
    /// Frames; a super-frame counts once.
    pub packets: u64,
    /// Bytes of those frames.
    pub bytes: u64,
}

const _: () = assert!(size_of::<Counter>() == 16);

/// Where in the data path a frame is looked at. The numbers index the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Hook {
    /// XDP on an uplink.
    UplinkXdp = 0,
    /// TC ingress on an uplink.
    Uplink = 1,
    /// TC ingress on the kernel device.
    Tunnel = 2,
    /// TC ingress on a port.
    Port = 3,
    /// XDP on a port.
    PortXdp = 4,
}

impl Hook {
    /// Every hook, in the order of the numbers.
    pub const ALL: [Self; 5] = [
        Self::UplinkXdp,
        Self::Uplink,
        Self::Tunnel,
        Self::Port,
        Self::PortXdp,
    ];

    /// The name in metrics and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UplinkXdp => "uplink_xdp",
            Self::Uplink => "uplink",
            Self::Tunnel => "tunnel",
            Self::Port => "port",
            Self::PortXdp => "port_xdp",
        }
    }

    /// The number.
    #[must_use]
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self as u32
    }
}

/// Marks the PODs as usable by aya, which has a marker of its own.
#[cfg(feature = "user")]
mod user {
    use super::{
        Clock, Config, Counter, FloodList, Guard, NeighKey, NeighValue, NexthopKey, NexthopValue,
        Peer, Port, Segment,
    };
    use crate::abi::{
        addr::VtepAddr,
        hash_table::{Bucket, Shape},
    };

    macro_rules! pod {
        ($($type:ty),+) => {$(
            // SAFETY: the type is `bytemuck::Pod` (derived, so checked): any bit pattern is valid and there is no padding.
            unsafe impl aya::Pod for $type {}
        )+};
    }
    pod!(
        Bucket,
        Clock,
        Config,
        Counter,
        FloodList,
        Guard,
        NeighKey,
        NeighValue,
        NexthopKey,
        NexthopValue,
        Peer,
        Port,
        Segment,
        Shape,
        VtepAddr
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_fdb_value_survives_the_round_trip() {
        let value = FdbValue {
            target: 0xffff,
            kind: FdbValue::LIST,
            origin: FdbValue::LEARNED,
            flags: FdbValue::FROZEN,
            last_seen: 0xffff_ffff << FdbValue::STAMP_SHIFT,
        };
        assert_eq!(FdbValue::from_word(value.word()), Some(value));
        assert_eq!(FdbValue::from_word(0), None);
    }

    #[test]
    fn a_stamp_is_stale_after_a_second_also_where_stamps_start_anew() {
        let unit = 1 << FdbValue::STAMP_SHIFT;
        for seen in [0, 1_000 * unit, 0xffff_fff0 * unit] {
            let value = FdbValue {
                last_seen: seen,
                ..FdbValue::default()
            };
            let kept = FdbValue::from_word(value.word() | 1).unwrap();
            assert!(!kept.is_stale(seen + FdbValue::REFRESH_NS / 2));
            assert!(!kept.is_stale(seen + FdbValue::REFRESH_NS));
            assert!(kept.is_stale(seen + FdbValue::REFRESH_NS + unit));
            // Made on another CPU just now.
            let earlier = seen.saturating_sub(unit);
            assert!(!kept.is_stale(earlier));
            assert_eq!(kept.seen_before(earlier), seen);
            let now = seen + 5 * FdbValue::REFRESH_NS;
            assert_eq!(kept.seen_before(now), seen);
        }
        // A round and a half of all stamps later.
        let late = FdbValue {
            last_seen: (1 << 32) * unit + 7 * unit,
            ..FdbValue::default()
        };
        let kept = FdbValue::from_word(late.word() | 1).unwrap();
        assert_eq!(kept.seen_before(late.last_seen + unit), late.last_seen);
    }

    #[test]
    fn an_address_is_a_peer_and_ours_at_once() {
        let address = Address::default()
            .with_peer(Some(0))
            .with(Address::GROUP, true);
        assert_eq!((address.peer(), address.is_local()), (Some(0), true));
        let address = address.with_peer(None);
        assert_eq!((address.peer(), address.is_local()), (None, true));
        assert_eq!(address.with(Address::GROUP, false).word(), 0);
    }

    #[test]
    fn a_port_key_survives_the_round_trip() {
        let key = PortKey::new(u32::MAX, 4_094);
        assert_eq!(PortKey::from_word(key.word()), key);
    }

    #[test]
    fn an_fdb_key_keeps_its_parts() {
        let mac = MacAddr::from_bytes([0x02, 1, 2, 3, 4, 5]);
        let key = FdbKey::new(MAX_SEGMENTS - 1, mac);
        assert_eq!((key.segment(), key.mac()), (MAX_SEGMENTS - 1, mac));
    }
}
