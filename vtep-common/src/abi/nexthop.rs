//! An entry of the nexthop table: key and value of `NEXTHOPS`.

use bytemuck::{Pod, Zeroable};

use super::{
    addr::{MacAddr, VtepAddr},
    fdb::PackedTarget,
    id::SegmentId,
};

/// Key of `NEXTHOPS`, whose prefixes are at least the segment: 20 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct NexthopKey {
    /// The segment.
    pub segment: SegmentId,
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
    /// [`PackedTarget::number`].
    number: u32,
    /// [`PackedTarget::code`]; with none (yet), the entry is as good as no entry.
    code: u8,
    /// Who made the entry: [`NexthopValue::STATIC`] or [`NexthopValue::PORT`]. For the daemon alone.
    pub origin: u8,
    /// [`NexthopValue::FOLLOWS`].
    pub flags: u16,
}

impl NexthopValue {
    /// An entry that leads to `target`, or as good as none. `mac` is the one to write, or zero.
    #[must_use]
    #[inline(always)]
    pub const fn new(target: PackedTarget, mac: MacAddr, origin: u8, flags: u16) -> Self {
        Self {
            mac: mac.get(),
            number: target.number(),
            code: target.code(),
            origin,
            flags,
        }
    }

    /// Where it leads, if that is known.
    #[must_use]
    #[inline(always)]
    pub const fn target(&self) -> PackedTarget {
        PackedTarget::from_parts(self.code, self.number)
    }

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
