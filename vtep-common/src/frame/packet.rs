//! Reading a frame, whatever memory it lies in.
//!
//! A frame is read through *windows*: one check that so many bytes lie at an offset, and then reads at constant places
//! within. That is what the verifier follows cheaply, and it keeps the checks few.

use crate::abi::addr::MacAddr;

/// Bytes of a frame that are known to be there. Reads are at constant offsets below the window's length.
pub trait Window: Copy {
    /// One byte.
    fn byte(self, at: usize) -> u8;
    /// A 16-bit word in network byte order, returned in host byte order.
    fn be16(self, at: usize) -> u16;
    /// A 32-bit word in network byte order, returned in host byte order.
    fn be32(self, at: usize) -> u32;

    /// A 32-bit word as it lies in memory.
    fn raw32(self, at: usize) -> u32;

    /// The Ethernet address at `at`.
    #[inline(always)]
    fn mac(self, at: usize) -> MacAddr {
        MacAddr::from_parts(self.be16(at), self.be32(at.wrapping_add(2)))
    }
}

/// A frame that can be read at an offset. Every window is checked; nothing here can panic.
///
/// Offsets are bytes from the first byte of the Ethernet header.
pub trait PacketRead {
    /// What [`window`](Self::window) returns.
    type Window<'a>: Window
    where
        Self: 'a;

    /// Length of the frame in bytes, also of the part that [`window`](Self::window) cannot reach.
    fn frame_len(&self) -> usize;

    /// The `N` bytes at `offset`, or `None` where they do not all lie in readable memory.
    fn window<const N: usize>(&self, offset: usize) -> Option<Self::Window<'_>>;

    /// Returns `bits`, below 128, as they are, and hides from the verifier which bits they are.
    #[inline(always)]
    fn opaque(&self, bits: u8) -> u8 {
        bits
    }
}

/// A window on a slice.
#[derive(Clone, Copy, Debug)]
pub struct SliceWindow<'a>(&'a [u8]);

impl SliceWindow<'_> {
    /// `N` bytes, zero where they lie outside the window: the callers' constants rule that out.
    fn bytes<const N: usize>(self, at: usize) -> [u8; N] {
        debug_assert!(
            at.saturating_add(N) <= self.0.len(),
            "a read at {at} leaves the window"
        );
        at.checked_add(N)
            .and_then(|end| self.0.get(at..end)?.try_into().ok())
            .unwrap_or([0; N])
    }
}

impl Window for SliceWindow<'_> {
    fn byte(self, at: usize) -> u8 {
        let [byte] = self.bytes(at);
        byte
    }

    fn be16(self, at: usize) -> u16 {
        u16::from_be_bytes(self.bytes(at))
    }

    fn be32(self, at: usize) -> u32 {
        u32::from_be_bytes(self.bytes(at))
    }

    fn raw32(self, at: usize) -> u32 {
        u32::from_ne_bytes(self.bytes(at))
    }
}

impl PacketRead for [u8] {
    type Window<'a> = SliceWindow<'a>;

    fn frame_len(&self) -> usize {
        self.len()
    }

    fn window<const N: usize>(&self, offset: usize) -> Option<SliceWindow<'_>> {
        self.get(offset..offset.checked_add(N)?).map(SliceWindow)
    }
}

/// An 802.1Q or 802.1ad tag (IEEE 802.1Q §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The tag protocol identifier, host byte order: 0x8100 or 0x88a8.
    pub tpid: u16,
    /// Priority, drop eligibility and VLAN ID, host byte order.
    pub tci: u16,
}

impl Tag {
    /// The VLAN ID: 12 bits, 0 for a tag that carries only a priority.
    #[must_use]
    #[inline(always)]
    pub const fn vid(self) -> u16 {
        self.tci & 0x0fff
    }
}

/// What the kernel knows of a frame that does not stand in its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The interface on which the frame arrived.
    pub ifindex: u32,
    /// The skb VLAN tag (TC), else `None`.
    pub tag: Option<Tag>,
    /// Bytes of payload in each segment of a GSO or GRO packet, 0 for an ordinary frame.
    pub gso_size: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_past_the_end_is_none_at_every_length() {
        let frame = [7u8; 20];
        for len in 0..=frame.len() {
            let cut = &frame[..len];
            for offset in 0..30 {
                assert_eq!(cut.window::<4>(offset).is_some(), offset + 4 <= len);
            }
        }
        assert!(frame[..].window::<4>(usize::MAX).is_none());
    }

    #[test]
    fn words_are_read_in_network_byte_order() {
        let frame = [0x02, 0, 0, 0, 0, 0x0b, 0x12, 0x34];
        let window = frame[..].window::<8>(0).unwrap();
        assert_eq!(window.be16(6), 0x1234);
        assert_eq!(window.mac(0).to_string(), "02:00:00:00:00:0b");
    }
}
