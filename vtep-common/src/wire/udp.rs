//! The UDP header (RFC 768).

use network_types::udp::UdpHdr;

/// Bytes of the header.
pub const LEN: usize = UdpHdr::LEN;
/// IP protocol number.
pub const PROTOCOL: u8 = 17;
/// Destination port.
pub const DESTINATION_OFFSET: usize = 2;
/// Length of header and payload.
pub const LEN_OFFSET: usize = 4;
/// Checksum; 0 means none was computed.
pub const CHECKSUM_OFFSET: usize = 6;
