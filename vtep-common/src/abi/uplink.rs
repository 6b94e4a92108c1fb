//! The MACs that the host takes packets to at its uplinks.

use bytemuck::{Pod, Zeroable};

use super::{addr::MacAddr, map::UPLINK_PLACES};

/// Value of `UPLINKS`: a MAC in the lower 48 bits, and 16 bits of the number of the interface where the host takes frames to it. Zero where
/// there is none.
///
/// The map is direct-mapped: each word has one place, and of two that share theirs the last one written is there. TC asks the kernel about the
/// other, or leaves its packets to the slow-path device.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct UplinkWord(u64);

impl UplinkWord {
    /// The word of a MAC at an interface.
    #[must_use]
    #[inline(always)]
    pub const fn new(ifindex: u32, mac: MacAddr) -> Self {
        Self((ifindex as u64) << 48 | mac.get())
    }

    /// The lower 16 bits of the number of the interface, and the MAC.
    #[must_use]
    pub const fn parts(self) -> (u32, MacAddr) {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        (
            (self.0 >> 48) as u32,
            MacAddr::from_bytes([a, b, c, d, e, f]),
        )
    }

    /// Where it stands in the map: what tells the MACs of one host apart is mostly their last byte.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lowest bits are left")]
    pub const fn place(self) -> u32 {
        (self.0 >> 48 ^ self.0 >> 40) as u32 & (UPLINK_PLACES - 1)
    }
}
