//! `ICMPv4` (RFC 792).

/// IP protocol number.
pub const PROTOCOL: u8 = 1;
/// Bytes before what a message quotes.
pub const LEN: usize = 8;
/// Type of "destination unreachable".
pub const UNREACHABLE: u8 = 3;
/// Its code for "fragmentation needed and DF set".
pub const FRAGMENTATION_NEEDED: u8 = 4;
/// Type of "source quench".
pub const SOURCE_QUENCH: u8 = 4;
/// Type of a redirect.
pub const REDIRECT: u8 = 5;
/// Type of "time exceeded".
pub const TIME_EXCEEDED: u8 = 11;
/// Type of "parameter problem".
pub const PARAMETER_PROBLEM: u8 = 12;
/// Checksum.
pub const CHECKSUM_OFFSET: usize = 2;
/// Of "fragmentation needed", the MTU that does not need it (RFC 1191 section 4).
pub const MTU_OFFSET: usize = 6;

/// True for a message about another packet: it is never answered by one (RFC 1122 section 3.2.2).
#[must_use]
#[inline(always)]
pub const fn is_error(kind: u8) -> bool {
    matches!(
        kind,
        UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM
    )
}
