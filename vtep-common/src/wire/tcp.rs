//! The TCP header (RFC 9293 §3.1).

/// IP protocol number.
pub const PROTOCOL: u8 = 6;
/// Bytes of a header without options.
pub const LEN: usize = 20;
/// Data offset: upper four bits, in units of 4 bytes.
pub const DATA_OFFSET: usize = 12;
/// The same as a byte.
pub const LEN_U8: u8 = 20;
/// Flags.
pub const FLAGS_OFFSET: usize = 13;
/// The SYN flag.
pub const SYN: u8 = 1 << 1;
/// Option: no more options.
pub const OPTION_END: u8 = 0;
/// Option: no operation.
pub const OPTION_NOP: u8 = 1;
/// Option: the maximum segment size.
pub const OPTION_MSS: u8 = 2;
/// Bytes of that option.
pub const MSS_LEN: u8 = 4;
/// Checksum.
pub const CHECKSUM_OFFSET: usize = 16;
