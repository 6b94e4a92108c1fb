//! The IPv6 header (RFC 8200 §3) and its fragment header (§4.5).

use network_types::ip::Ipv6Hdr;

/// Bytes of the fixed header.
pub const LEN: usize = Ipv6Hdr::LEN;
/// Length of all that follows the fixed header.
pub const PAYLOAD_LEN_OFFSET: usize = 4;
/// Next header.
pub const NEXT_HEADER_OFFSET: usize = 6;
/// Hop limit.
pub const HOP_LIMIT_OFFSET: usize = 7;
/// Source address.
pub const SOURCE_OFFSET: usize = 8;
/// Destination address.
pub const DESTINATION_OFFSET: usize = 24;

/// Next header: hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Next header: routing.
pub const ROUTING: u8 = 43;
/// Next header: fragment.
pub const FRAGMENT: u8 = 44;
/// Next header: authentication (RFC 4302).
pub const AUTHENTICATION: u8 = 51;
/// Next header: destination options.
pub const DESTINATION_OPTIONS: u8 = 60;

/// Bytes of a fragment header.
pub const FRAGMENT_LEN: usize = 8;
/// In a fragment header: offset in units of 8 bytes (upper 13 bits) and the M flag (lowest bit).
pub const FRAGMENT_OFFSET_OFFSET: usize = 2;

/// True if the first byte says version 6.
#[must_use]
#[inline(always)]
pub const fn is_version_6(first: u8) -> bool {
    first >> 4 == 6
}

/// The traffic class out of the first two bytes of the header.
#[must_use]
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the shift leaves the traffic class in the low byte, the rest is meant to go"
)]
pub const fn traffic_class(first_two: u16) -> u8 {
    (first_two >> 4) as u8
}

/// True for an extension header that names the next one in its first byte, other than that of a fragment.
#[must_use]
#[inline(always)]
pub const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        HOP_BY_HOP | ROUTING | AUTHENTICATION | DESTINATION_OPTIONS
    )
}
