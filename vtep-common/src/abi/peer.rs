//! A remote VTEP: the value of `PEERS`.

use bytemuck::{Pod, Zeroable};

use super::{
    addr::VtepAddr,
    flags::{PeerFlags, flagged},
    outer_template::TEMPLATE_WORDS,
};

/// A remote VTEP: 128 bytes. A slot that is not in use is all zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Peer {
    /// Its underlay address.
    pub addr: VtepAddr,
    /// Our own underlay address towards it.
    pub local: VtepAddr,
    /// The `IN_USE` … bits below.
    pub flags: PeerFlags,
    /// Interface by which packets to it leave.
    pub ifindex: u32,
    /// Largest IP packet that the path to it carries, in bytes.
    pub mtu: u32,
    /// Bytes of `template` that are used: [`crate::abi::outer_template::LEN_V4`] or [`crate::abi::outer_template::LEN_V6`].
    pub template_len: u32,
    /// The outer headers, with what changes per packet left zero.
    pub template: [u64; TEMPLATE_WORDS],
}

impl Peer {
    /// The slot holds a peer.
    pub const IN_USE: PeerFlags = PeerFlags::bit(0);
    /// Route and next hop are known: `ifindex`, `mtu` and `template` hold.
    pub const RESOLVED: PeerFlags = PeerFlags::bit(1);
    /// The underlay to this peer is IPv6.
    pub const IPV6: PeerFlags = PeerFlags::bit(2);
    /// The outer UDP checksum is correct rather than zero.
    pub const CHECKSUM: PeerFlags = PeerFlags::bit(3);
    /// The user asked for zero checksums over IPv6: for the daemon alone.
    pub const CSUM6_OFF: PeerFlags = PeerFlags::bit(4);
    /// XDP can redirect to the egress interface, without a frame being lost silently.
    pub const XDP_TARGET: PeerFlags = PeerFlags::bit(5);
    /// There is no route, or the interface of the route is down.
    pub const UNREACHABLE: PeerFlags = PeerFlags::bit(6);
    /// A multicast group: copies go to every VTEP that is a member.
    pub const MULTICAST: PeerFlags = PeerFlags::bit(7);
    /// The configuration file says how it is sent to. For the daemon alone.
    pub const CONFIGURED: PeerFlags = PeerFlags::bit(31);
}

flagged!(Peer: PeerFlags);

const _: () = assert!(size_of::<Peer>() == 128);
