//! A host that ARP and ND are answered for: key and value of `NEIGHS`.

use bytemuck::{Pod, Zeroable};

use super::{
    addr::{MacAddr, VtepAddr},
    id::{PortSlot, SegmentId},
};

/// Key of `NEIGHS`: 20 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct NeighKey {
    /// The segment.
    pub segment: SegmentId,
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
    /// The port at which it was heard, else [`PortSlot::NONE`]. For the daemon alone.
    pub port: PortSlot,
    /// The `ROUTER` … bits below.
    pub flags: u16,
    /// [`NeighOrigin::code`]. For the daemon alone.
    origin: u8,
    /// Zero.
    pad: u8,
}

/// Who says where a host is, in order of precedence: what comes later stands above what comes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeighOrigin {
    /// It was heard at a port.
    Snooped,
    /// It follows from the nexthop table.
    Nexthop,
    /// It is one of the addresses that a port was given.
    Port,
    /// The user.
    Static,
}

impl NeighOrigin {
    /// All of them, in order of precedence.
    pub const ALL: [Self; 4] = [Self::Snooped, Self::Nexthop, Self::Port, Self::Static];

    /// The code in the map.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Static => 1,
            Self::Snooped => 2,
            Self::Port => 3,
            Self::Nexthop => 4,
        }
    }

    /// From its code; `None` for one that means nothing.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Static),
            2 => Some(Self::Snooped),
            3 => Some(Self::Port),
            4 => Some(Self::Nexthop),
            _ => None,
        }
    }
}

impl NeighValue {
    /// The host is a router: ND answers say so (RFC 4861 section 4.4).
    pub const ROUTER: u16 = 1;
    /// Nobody has said whether the host is a router, and an ND answer would have to: there is none.
    pub const ROUTER_UNKNOWN: u16 = 1 << 1;
    /// The configuration file made the entry. For the daemon alone.
    pub const CONFIGURED: u16 = 1 << 2;

    /// A host at a MAC.
    #[must_use]
    pub const fn new(mac: MacAddr, origin: NeighOrigin, port: PortSlot, flags: u16) -> Self {
        Self {
            mac: mac.get(),
            port,
            flags,
            origin: origin.code(),
            pad: 0,
        }
    }

    /// Who made the entry; `None` for a code that means nothing.
    #[must_use]
    pub const fn origin(&self) -> Option<NeighOrigin> {
        NeighOrigin::from_code(self.origin)
    }

    /// The MAC.
    #[must_use]
    #[inline(always)]
    pub const fn mac(&self) -> MacAddr {
        MacAddr::from_number(self.mac)
    }
}

const _: () = assert!(size_of::<NeighValue>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_names_its_origin() {
        for origin in NeighOrigin::ALL {
            assert_eq!(NeighOrigin::from_code(origin.code()), Some(origin));
        }
        assert_eq!(NeighValue::default().origin(), None);
        assert_eq!(NeighOrigin::from_code(5), None);
    }
}
