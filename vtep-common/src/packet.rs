//! Reading a frame, whatever memory it lies in.

use crate::addr::MacAddr;

/// A frame that can be read at an offset. Every read is checked; nothing here can panic.
///
/// Offsets are bytes from the first byte of the Ethernet header.
pub trait PacketRead {
    /// Length of the frame in bytes, also of the part that [`load`](Self::load) cannot reach.
    fn frame_len(&self) -> usize;

    /// Copies `N` bytes at `offset`, or `None` where they do not all lie in readable memory.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// A 16-bit word in network byte order, returned in host byte order.
    #[inline(always)]
    fn be16(&self, offset: usize) -> Option<u16> {
        self.load(offset).map(u16::from_be_bytes)
    }

    /// A 32-bit word in network byte order, returned in host byte order.
    #[inline(always)]
    fn be32(&self, offset: usize) -> Option<u32> {
        self.load(offset).map(u32::from_be_bytes)
    }

    /// One byte.
    #[inline(always)]
    fn byte(&self, offset: usize) -> Option<u8> {
        self.load::<1>(offset).map(|[byte]| byte)
    }

    /// The Ethernet address at `offset`.
    #[inline(always)]
    fn mac(&self, offset: usize) -> Option<MacAddr> {
        let high = self.be16(offset)?;
        let low = self.be32(offset.wrapping_add(2))?;
        Some(MacAddr::from_parts(high, low))
    }
}

impl PacketRead for [u8] {
    fn frame_len(&self) -> usize {
        self.len()
    }

    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let end = offset.checked_add(N)?;
        self.get(offset..end)?.try_into().ok()
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
    /// The outermost VLAN tag where the kernel keeps it beside the frame (TC), else `None`.
    pub tag: Option<Tag>,
    /// Bytes of payload in each segment of a super-frame (GSO/GRO), 0 for an ordinary frame.
    pub gso_size: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_past_the_end_is_none_at_every_length() {
        let frame = [7u8; 20];
        for len in 0..=frame.len() {
            let cut = &frame[..len];
            for offset in 0..30 {
                assert_eq!(cut.load::<4>(offset).is_some(), offset + 4 <= len);
            }
        }
        assert_eq!(frame[..].load::<4>(usize::MAX), None);
    }

    #[test]
    fn words_are_read_in_network_byte_order() {
        let frame = [0x02, 0, 0, 0, 0, 0x0b, 0x12, 0x34];
        assert_eq!(frame[..].be16(6), Some(0x1234));
        assert_eq!(frame[..].mac(0).unwrap().to_string(), "02:00:00:00:00:0b");
    }
}
