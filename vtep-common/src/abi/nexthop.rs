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
    /// [`NexthopOrigin::code`]. For the daemon alone.
    origin: u8,
    /// [`NexthopValue::TRACKS`].
    pub flags: u16,
}

/// Who made an entry of the nexthop table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NexthopOrigin {
    /// It is one of the addresses that a port was given.
    Port,
    /// The user.
    Static,
}

impl NexthopOrigin {
    /// The code in the map.
    #[must_use]
    #[inline(always)]
    pub const fn code(self) -> u8 {
        match self {
            Self::Static => 1,
            Self::Port => 2,
        }
    }

    /// From its code; `None` for one that means nothing.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Static),
            2 => Some(Self::Port),
            _ => None,
        }
    }
}

impl NexthopValue {
    /// An entry that leads to `target`, or as good as none. `mac` is the one to write, or zero.
    #[must_use]
    #[inline(always)]
    pub const fn new(
        target: PackedTarget,
        mac: MacAddr,
        origin: NexthopOrigin,
        flags: u16,
    ) -> Self {
        Self {
            mac: mac.get(),
            number: target.number(),
            code: target.code(),
            origin: origin.code(),
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

    /// Who made the entry; `None` for one that leads nowhere, and for a code that means nothing.
    #[must_use]
    pub const fn origin(&self) -> Option<NexthopOrigin> {
        NexthopOrigin::from_code(self.origin)
    }

    /// No VTEP was named: the host is where the FDB has `mac`. For the daemon alone.
    pub const TRACKS: u16 = 1;
    /// In `HANDOVER` alone: the frame comes back, and is a SYN that offers no more than fits, or [`CUT`](Self::CUT).
    pub const CLAMPED: u16 = 1 << 1;
    /// In `HANDOVER` alone: the frame is a GSO packet for the slow path to cut.
    pub const CUT: u16 = 1 << 2;
    /// The configuration file made the entry. For the daemon alone.
    pub const CONFIGURED: u16 = 1 << 15;
}

const _: () = assert!(size_of::<NexthopValue>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_names_its_origin() {
        for origin in [NexthopOrigin::Port, NexthopOrigin::Static] {
            assert_eq!(NexthopOrigin::from_code(origin.code()), Some(origin));
        }
        assert_eq!(NexthopValue::default().origin(), None);
        assert_eq!(NexthopOrigin::from_code(3), None);
    }
}
