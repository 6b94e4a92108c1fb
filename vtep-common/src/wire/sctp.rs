//! The SCTP header (RFC 9260 section 3.1). Its ports stand where those of TCP do.

/// IP protocol number.
pub const PROTOCOL: u8 = 132;
