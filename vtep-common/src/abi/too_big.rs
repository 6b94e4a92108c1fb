//! What the kernel side tells the daemon of a frame that is too big for its VTEP, through the ring buffer `TOO_BIG`: the daemon answers
//! its sender.

use bytemuck::{Pod, Zeroable};

use crate::abi::id::PortSlot;

/// A frame from a port that is too big for its VTEP: 1,280 bytes, numbers in host byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct TooBig {
    /// The port.
    pub port: PortSlot,
    /// Its interface.
    pub ifindex: u32,
    /// Largest IP packet that fits, in bytes.
    pub mtu: u32,
    /// The skb VLAN tag, as [`TooBig::tag`] takes it; zero for none.
    pub tag: u32,
    /// Where the IP packet begins in `bytes`.
    pub l3: u32,
    /// How many of `bytes` are the frame's. The rest says nothing.
    pub len: u32,
    /// The frame, as far as it is quoted.
    pub bytes: [u8; TooBig::MOST],
}

impl TooBig {
    /// Bytes of a frame that are handed over, at most: as many as an answer quotes, and what stands before them.
    pub const MOST: usize = 1256;

    /// An skb VLAN tag as a number, never zero.
    #[must_use]
    #[inline(always)]
    pub const fn tag(tpid: u16, tci: u16) -> u32 {
        (tpid as u32) << 16 | tci as u32
    }

    /// The frame, as far as it is quoted.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        let len = usize::try_from(self.len).unwrap_or(usize::MAX);
        self.bytes.get(..len).unwrap_or(&self.bytes)
    }
}

const _: () = assert!(size_of::<TooBig>() == 1280);
