//! One file per header: lengths, offsets and constants, and what is read or written of it.
//!
//! Lengths come from `network-types`. Offsets are bytes from the start of the header; every field on the wire is in
//! network byte order, and every value that a function here takes or returns is in host byte order.

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod sctp;
pub mod tcp;
pub mod udp;
pub mod vlan;
pub mod vxlan;
