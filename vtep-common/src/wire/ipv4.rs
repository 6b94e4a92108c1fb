//! The IPv4 header (RFC 791 §3.1).

use network_types::ip::Ipv4Hdr;

/// Bytes of a header without options.
pub const LEN: usize = Ipv4Hdr::LEN;
/// Type of service: DSCP (RFC 2474) and ECN (RFC 3168).
pub const TOS_OFFSET: usize = 1;
/// Length of header and payload.
pub const TOTAL_LEN_OFFSET: usize = 2;
/// Identification.
pub const ID_OFFSET: usize = 4;
/// Flags and fragment offset.
pub const FRAGMENT_OFFSET: usize = 6;
/// Time to live.
pub const TTL_OFFSET: usize = 8;
/// Protocol.
pub const PROTOCOL_OFFSET: usize = 9;
/// Header checksum.
pub const CHECKSUM_OFFSET: usize = 10;
/// Source address.
pub const SOURCE_OFFSET: usize = 12;
/// Destination address.
pub const DESTINATION_OFFSET: usize = 16;

/// "Don't fragment".
pub const DF: u16 = 0x4000;
/// "More fragments".
pub const MF: u16 = 0x2000;
/// The bits of the fragment offset, in units of 8 bytes.
pub const FRAGMENT_MASK: u16 = 0x1fff;

/// Bytes of the header, options included, as its first byte says; `None` if that byte is no sound IPv4 start.
#[must_use]
#[inline(always)]
pub fn header_len(first: u8) -> Option<usize> {
    let len = usize::from(first & 0x0f).wrapping_mul(4);
    if first >> 4 == 4 && len >= LEN {
        Some(len)
    } else {
        None
    }
}
