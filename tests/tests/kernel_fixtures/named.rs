//! Names for what is in the tables, and frames of it.

use std::net::{Ipv4Addr, Ipv6Addr};

use vtep_common::abi::addr::MacAddr;
use vtep_common::abi::counter::Direction::{Decap, Encap};
use vtep_common::abi::counter::Hook::{Port, PortXdp, Uplink, UplinkXdp};
use vtep_common::abi::drops::Owners;
use vtep_common::abi::id::{PeerId, PortSlot, SegmentId};
use vtep_common::abi::reason::Reason;
use vtep_common::testkit::frames::{Interfaces, unicast};
use vtep_tests::encoder::{Frame, Mac, eth, pseudo};
use vtep_tests::testrun::fixture::Count::{Peer, Port as ToPort, Segment};
use vtep_tests::testrun::fixture::{Count, Fixture, check};
use vtep_tests::testrun::with_shared_test_bed;

/// Ours, in the tables' templates.
pub(crate) const OWN_MAC: Mac = Mac([0x02, 0, 0, 0, 0, 0xfd]);
/// The next hop's, in the tables' templates.
pub(crate) const HOP_MAC: Mac = Mac([0x02, 0, 0, 0, 0, 0xfe]);
/// The VM that frames come from.
pub(crate) const VM: Mac = Mac([0x02, 0, 0, 0x09, 0, 1]);

pub(crate) const OWN_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const FAR_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(crate) const JUMBO_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 5);
pub(crate) const OWN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub(crate) const FAR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
pub(crate) const ZERO_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 3);

pub(crate) const INNER_V4: (Ipv4Addr, Ipv4Addr) =
    (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
pub(crate) const INNER_V6: (Ipv6Addr, Ipv6Addr) = (
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2),
);

pub(crate) const VXLAN: u16 = 4789;
pub(crate) const LLDP: u16 = 0x88cc;

/// The MAC of a segment behind a port or a peer.
pub(crate) fn at(segment: impl Into<u32>, target: impl Into<u32>) -> Mac {
    mac(unicast(segment, target))
}

pub(crate) fn mac(addr: MacAddr) -> Mac {
    Mac(addr.bytes())
}

/// A UDP packet over IPv4 from [`VM`].
pub(crate) fn udp4(to: Mac) -> Frame {
    let (a, b) = INNER_V4;
    eth(VM, to).ipv4(a, b).udp(1000, 2000).payload(1, 64)
}

/// A UDP packet whose checksum offload is still to fill in, and the same when it has.
pub(crate) fn pending(to: Mac) -> (Vec<u8>, Vec<u8>) {
    let done = udp4(to).build();
    let (a, b) = INNER_V4;
    let len = u32::try_from(done.len() - 34).expect("a short packet");
    // What offload starts from: the pseudo header's sum, not complemented.
    let sum = !vtep_tests::encoder::checksum(&[&pseudo(a.into(), b.into(), 17, len)]);
    let mut open = done.clone();
    open[40..42].copy_from_slice(&sum.to_be_bytes());
    assert_ne!(open, done);
    (open, done)
}

/// A UDP packet over IPv6 from [`VM`].
pub(crate) fn udp6(to: Mac) -> Frame {
    let (a, b) = INNER_V6;
    eth(VM, to).ipv6(a, b).udp(1000, 2000).payload(2, 64)
}

/// A frame of no protocol that anybody reads.
pub(crate) fn lldp(to: Mac, len: usize) -> Frame {
    eth(VM, to).ethertype(LLDP).payload(3, len)
}

/// Up to the UDP header, from the far VTEP to us.
pub(crate) fn from_v4() -> Frame {
    eth(HOP_MAC, OWN_MAC)
        .ipv4(FAR_V4, OWN_V4)
        .udp_unchecked(55555, VXLAN)
}

/// The same over IPv6, where the checksum is right.
pub(crate) fn from_v6() -> Frame {
    eth(HOP_MAC, OWN_MAC).ipv6(FAR_V6, OWN_V6).udp(55555, VXLAN)
}

/// Changes one byte.
pub(crate) fn with_byte(frame: &Frame, at: usize, value: u8) -> Vec<u8> {
    let mut bytes = frame.build();
    assert_ne!(bytes[at], value);
    bytes[at] = value;
    bytes
}

pub(crate) fn uplink(interfaces: &Interfaces) -> u32 {
    interfaces.uplink
}

pub(crate) fn access(interfaces: &Interfaces) -> u32 {
    interfaces.access
}

pub(crate) fn trunk(interfaces: &Interfaces) -> u32 {
    interfaces.trunk
}

pub(crate) fn carrier(interfaces: &Interfaces) -> u32 {
    interfaces.carrier
}

pub(crate) fn quiet(interfaces: &Interfaces) -> u32 {
    interfaces.quiet
}

pub(crate) fn lone(interfaces: &Interfaces) -> u32 {
    interfaces.lone
}

/// What is counted for a frame from the far VTEP to a port.
pub(crate) fn delivered(segment: SegmentId, peer: PeerId, port: PortSlot) -> [Count; 3] {
    [
        Segment(segment, Decap),
        Peer(peer, Decap),
        ToPort(port, Decap),
    ]
}

/// What is counted for a frame from a port to a VTEP.
pub(crate) fn sent(segment: SegmentId, port: PortSlot, peer: PeerId) -> [Count; 3] {
    [
        Segment(segment, Encap),
        ToPort(port, Encap),
        Peer(peer, Encap),
    ]
}

/// Whose a frame from a port is.
pub(crate) const fn from_port(segment: SegmentId, port: PortSlot) -> Owners {
    Owners {
        segment,
        port,
        peer: PeerId::NONE,
    }
}

/// Whose a frame from a port to a VTEP is.
pub(crate) const fn to_peer(segment: SegmentId, port: PortSlot, peer: PeerId) -> Owners {
    Owners {
        segment,
        port,
        peer,
    }
}

/// Whose a frame from a VTEP is.
pub(crate) const fn from_peer(segment: SegmentId, peer: PeerId) -> Owners {
    Owners {
        segment,
        port: PortSlot::NONE,
        peer,
    }
}

/// Whose a frame from a VTEP to a port is.
pub(crate) const fn to_port(segment: SegmentId, peer: PeerId, port: PortSlot) -> Owners {
    to_peer(segment, port, peer)
}

/// Runs cases, after those of other tests.
pub(crate) fn all(cases: &[Fixture]) {
    with_shared_test_bed(|bench| check(bench, cases));
}

/// What XDP and TC do alike.
pub(crate) trait AtBothHooks {
    /// Dropped with the same reason at both hooks of an uplink.
    fn drops_at_uplinks(self, reason: Reason) -> Self;
    /// Left as it is at both hooks of an uplink: XDP leaves it to TC, which knows the reason.
    fn passes_uplinks(self, reason: Reason) -> Self;
    /// Delivered at both hooks of an uplink as `inner`.
    fn delivers_at_uplinks(self, inner: &[u8], counts: &[Count]) -> Self;
    /// Dropped with the same reason at both hooks of a port.
    fn drops_at_ports(self, reason: Reason) -> Self;
}

impl AtBothHooks for Fixture {
    fn drops_at_uplinks(self, reason: Reason) -> Self {
        self.drops(Uplink, reason).drops(UplinkXdp, reason)
    }

    fn passes_uplinks(self, reason: Reason) -> Self {
        self.passes(Uplink, reason)
            .passes(UplinkXdp, Reason::LeftToTc)
    }

    fn delivers_at_uplinks(self, inner: &[u8], counts: &[Count]) -> Self {
        self.becomes(Uplink, Reason::Decapsulated, inner)
            .counts(inner.len(), counts)
            .becomes(UplinkXdp, Reason::Decapsulated, inner)
            .counts(inner.len(), counts)
    }

    fn drops_at_ports(self, reason: Reason) -> Self {
        self.drops(Port, reason).drops(PortXdp, reason)
    }
}
