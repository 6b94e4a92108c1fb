//! ARP for IPv4 over Ethernet (RFC 826).

use network_types::arp::ArpHdr;

/// Bytes of a message.
pub const LEN: usize = ArpHdr::LEN;
/// `EtherType`.
pub const ETHERTYPE: u16 = 0x0806;
/// The first two words: Ethernet, IPv4.
pub const TYPES: u32 = 0x0001_0800;
/// The two address lengths: 6 and 4 bytes.
pub const LENGTHS: u16 = 0x0604;
/// Where they stand.
pub const LENGTHS_OFFSET: usize = 4;
/// Operation.
pub const OPERATION_OFFSET: usize = 6;
/// Sender's MAC.
pub const SENDER_MAC_OFFSET: usize = 8;
/// Sender's address.
pub const SENDER_OFFSET: usize = 14;
/// Target's address.
pub const TARGET_OFFSET: usize = 24;

/// Operation: who has this address?
pub const REQUEST: u16 = 1;
/// Operation: I have.
pub const REPLY: u16 = 2;
