//! The Ethernet header (IEEE 802.3 §3.1.1).

use network_types::eth::EthHdr;

/// Bytes of the header, without any tag.
pub const LEN: usize = EthHdr::LEN;
/// Destination address.
pub const DESTINATION_OFFSET: usize = 0;
/// Source address.
pub const SOURCE_OFFSET: usize = 6;
/// `EtherType`.
pub const TYPE_OFFSET: usize = 12;

/// `EtherType` of IPv4.
pub const TYPE_IPV4: u16 = 0x0800;
/// `EtherType` of IPv6.
pub const TYPE_IPV6: u16 = 0x86dd;
/// The smallest `EtherType`; what is less is the length of an LLC frame (IEEE 802.3 clause 3.2.6).
pub const FIRST_TYPE: u16 = 0x0600;
/// The first three bytes of an LLC frame with a SNAP header (RFC 1042).
pub const SNAP: u32 = 0xaa_aa03;
