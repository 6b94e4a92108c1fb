//! The TCP header (RFC 9293 §3.1).

/// IP protocol number.
pub const PROTOCOL: u8 = 6;
/// Bytes of a header without options.
pub const LEN: usize = 20;
/// Data offset: upper four bits, in units of 4 bytes.
pub const DATA_OFFSET: usize = 12;
/// Checksum.
pub const CHECKSUM_OFFSET: usize = 16;
