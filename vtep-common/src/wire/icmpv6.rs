//! `ICMPv6` (RFC 4443) and the messages of neighbour discovery (RFC 4861 sections 4.3, 4.4 and 4.6.1).

/// IP protocol number.
pub const PROTOCOL: u8 = 58;
/// Bytes of an error message before what it quotes.
pub const ERROR_LEN: usize = 8;
/// Type of "packet too big".
pub const PACKET_TOO_BIG: u8 = 2;
/// Of "packet too big", the MTU: a 32-bit word.
pub const MTU_OFFSET: usize = 4;
/// Hop limit of every message of neighbour discovery.
pub const HOP_LIMIT: u8 = 255;
/// Type of a report of a group that somebody listens to (RFC 2710).
pub const LISTENER_REPORT: u8 = 131;
/// Type of its withdrawal.
pub const LISTENER_DONE: u8 = 132;
/// Type of a report of version 2 (RFC 3810).
pub const LISTENER_REPORT_V2: u8 = 143;
/// Type of a router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// Type of a router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Type of a redirect.
pub const REDIRECT: u8 = 137;
/// Bytes of a router solicitation, without options.
pub const SOLICITATION_LEN: usize = 8;
/// Type of a neighbour solicitation.
pub const SOLICITATION: u8 = 135;
/// Type of a neighbour advertisement.
pub const ADVERTISEMENT: u8 = 136;
/// Bytes of either message, without options.
pub const LEN: usize = 24;
/// Checksum.
pub const CHECKSUM_OFFSET: usize = 2;
/// Flags of an advertisement: a 32-bit word.
pub const FLAGS_OFFSET: usize = 4;
/// The address asked for, or advertised.
pub const TARGET_OFFSET: usize = 8;

/// Flag: the sender is a router.
pub const ROUTER: u32 = 1 << 31;
/// Flag: the advertisement answers a solicitation.
pub const SOLICITED: u32 = 1 << 30;
/// Flag: the advertisement replaces what was known.
pub const OVERRIDE: u32 = 1 << 29;

/// True for a message about another packet: it is never answered by one (RFC 4443 section 2.4).
#[must_use]
#[inline(always)]
pub const fn is_error(kind: u8) -> bool {
    kind < 128 || kind == REDIRECT
}

/// Bytes of an option with a MAC.
pub const OPTION_LEN: usize = 8;
/// First word of an option with the source's MAC: its type 1 and its length of 8 bytes.
pub const SOURCE_MAC: u16 = 0x0101;
/// First word of an option with the target's MAC.
pub const TARGET_MAC: u16 = 0x0201;
