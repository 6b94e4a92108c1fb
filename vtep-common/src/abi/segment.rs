//! A VNI and its settings, as they lie in `SEGMENTS`, and the keys of `VNIS`.

use bytemuck::{Pod, Zeroable};

use super::{
    flags::{SegmentFlags, flagged},
    id::{PeerId, SegmentId},
};

/// A VNI and its settings: 48 bytes. A slot that is not in use is all zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Segment {
    /// The VNI.
    pub vni: u32,
    /// The `IN_USE` … bits below.
    pub flags: SegmentFlags,
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
    pub const IN_USE: SegmentFlags = SegmentFlags::bit(0);
    /// Broadcast, multicast and unknown unicast are flooded.
    pub const FLOODS: SegmentFlags = SegmentFlags::bit(1);
    /// Inner VLAN tags are carried.
    pub const INNER_VLAN_PASS: SegmentFlags = SegmentFlags::bit(2);
    /// Packets with reserved header bits set are dropped.
    pub const RESERVED_STRICT: SegmentFlags = SegmentFlags::bit(3);
    /// The outer TTL is the inner one.
    pub const TTL_INHERIT: SegmentFlags = SegmentFlags::bit(4);
    /// The outer DSCP is the inner one.
    pub const TOS_INHERIT: SegmentFlags = SegmentFlags::bit(5);
    /// DF is set on outer IPv4.
    pub const DF_SET: SegmentFlags = SegmentFlags::bit(6);
    /// DF is set on outer IPv4 where the inner packet has it or is IPv6.
    pub const DF_INHERIT: SegmentFlags = SegmentFlags::bit(7);
    /// Source MACs are learned, and held against static entries.
    pub const LEARNING: SegmentFlags = SegmentFlags::bit(8);
    /// ARP and ND are answered at ports, and heard.
    pub const SUPPRESS: SegmentFlags = SegmentFlags::bit(9);
    /// There are entries in `NEXTHOPS`.
    pub const NEXTHOPS: SegmentFlags = SegmentFlags::bit(10);
    /// Frames to link-local group addresses are carried.
    pub const L2CP_PASS: SegmentFlags = SegmentFlags::bit(11);
    /// It has as many MACs as it may, and frames from others are dropped.
    pub const FULL: SegmentFlags = SegmentFlags::bit(12);
    /// Packets are taken from those VTEPs alone that an entry of it names.
    pub const LISTED: SegmentFlags = SegmentFlags::bit(13);
    /// At its limit of MACs it becomes [`Segment::FULL`]; else others are not learned, and their frames pass. For the daemon alone.
    pub const OVER_LIMIT_DROP: SegmentFlags = SegmentFlags::bit(14);
    /// SYNs offer no larger segments than the path to their VTEP carries.
    pub const MSS_CLAMP: SegmentFlags = SegmentFlags::bit(15);
    /// The configuration file made it. For the daemon alone.
    pub const CONFIGURED: SegmentFlags = SegmentFlags::bit(31);
}

flagged!(Segment: SegmentFlags);

const _: () = assert!(size_of::<Segment>() == 48);

/// Key of `SOURCES`: a peer that entries of a segment name.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct SourceKey(u64);

impl SourceKey {
    /// The key of a peer in a segment.
    #[must_use]
    #[inline(always)]
    pub const fn new(segment: SegmentId, peer: PeerId) -> Self {
        Self((segment.get() as u64) << 32 | peer.get() as u64)
    }

    /// The segment and the peer.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
    pub const fn parts(self) -> (SegmentId, PeerId) {
        (
            SegmentId::new((self.0 >> 32) as u32),
            PeerId::new(self.0 as u32),
        )
    }
}

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
