//! A host that ARP and ND are answered for: key and value of `NEIGHS`.

use bytemuck::{Pod, Zeroable};

use super::addr::{MacAddr, VtepAddr};

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
    /// Slot of the port at which it was heard, else [`NONE`](crate::abi::id::NONE). For the daemon alone.
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
