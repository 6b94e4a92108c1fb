//! Counters, and what indexes them.

use bytemuck::{Pod, Zeroable};

/// Frames and bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Counter {
    /// Frames; a GSO or GRO packet counts once.
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
    /// TC ingress on the slow-path device.
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

/// The two directions of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Direction {
    /// From a port towards the overlay; to a peer.
    Encap = 0,
    /// From the overlay to a port; from a peer.
    Decap = 1,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Encap, Self::Decap];

    /// Index of the counter of object `number`.
    #[must_use]
    #[inline(always)]
    pub const fn index(self, number: u32) -> u32 {
        number.wrapping_mul(2).wrapping_add(self as u32)
    }
}
