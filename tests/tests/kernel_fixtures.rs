//! Each program over frames with a name: action, the whole frame and all counters together.
//!
//! The tables are those of the random frames (`vtep_common::host::frames::World`); the packets are built by the tests'
//! own builder, and nothing of what is wanted comes from the code under test.

use std::net::{Ipv4Addr, Ipv6Addr};

use vtep_common::addr::MacAddr;
use vtep_common::count::Direction::{Decap, Encap};
use vtep_common::host::frames::{
    GONE_PEER, GONE_PORT, Interfaces, LONE, PEER_JUMBO, PEER_UNREACHABLE, PEER_V4,
    PEER_V4_UNRESOLVED, PEER_V6, PEER_V6_UNRESOLVED, PEER_V6_ZERO, PLAIN, PORT_ACCESS,
    PORT_CARRIER, PORT_NARROW, PORT_NATIVE, PORT_QUIET, PORT_VLAN_10, PORT_VLAN_20, PORT_VLAN_40,
    QUIET, ROUTED, TRUNK, group, host_mac, station,
};
use vtep_common::maps::Hook::{self, Port, PortXdp, Tunnel, Uplink, UplinkXdp};
use vtep_common::reason::Reason;
use vtep_tests::frame::{Frame, Mac, eth, pseudo};
use vtep_tests::need_root;
use vtep_tests::testrun::fixture::{
    Case, Count, Count::Lost, Count::Peer, Count::Port as ToPort, Count::Segment, case, check,
    raw_case, source_port,
};
use vtep_tests::testrun::with_bench;

/// Ours, in the tables' templates.
const OWN_MAC: Mac = Mac([0x02, 0, 0, 0, 0, 0xfd]);
/// The next hop's, in the tables' templates.
const HOP_MAC: Mac = Mac([0x02, 0, 0, 0, 0, 0xfe]);
/// The VM that frames come from.
const VM: Mac = Mac([0x02, 0, 0, 0x09, 0, 1]);

const OWN_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FAR_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const JUMBO_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 5);
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const FAR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const ZERO_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 3);

const INNER_V4: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
const INNER_V6: (Ipv6Addr, Ipv6Addr) = (
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2),
);

const VXLAN: u16 = 4789;
const LLDP: u16 = 0x88cc;

/// The station of a segment behind a port or a peer.
fn at(segment: u32, target: u32) -> Mac {
    mac(station(segment, target))
}

fn mac(addr: MacAddr) -> Mac {
    Mac(addr.bytes())
}

/// A UDP packet over IPv4 from [`VM`].
fn udp4(to: Mac) -> Frame {
    let (a, b) = INNER_V4;
    eth(VM, to).ipv4(a, b).udp(1000, 2000).payload(1, 64)
}

/// A UDP packet over IPv6 from [`VM`].
fn udp6(to: Mac) -> Frame {
    let (a, b) = INNER_V6;
    eth(VM, to).ipv6(a, b).udp(1000, 2000).payload(2, 64)
}

/// A frame of no protocol that anybody reads.
fn lldp(to: Mac, len: usize) -> Frame {
    eth(VM, to).ethertype(LLDP).payload(3, len)
}

/// Up to the UDP header, from the far VTEP to us.
fn from_v4() -> Frame {
    eth(HOP_MAC, OWN_MAC)
        .ipv4(FAR_V4, OWN_V4)
        .udp_unchecked(55555, VXLAN)
}

/// The same over IPv6, where the checksum is right.
fn from_v6() -> Frame {
    eth(HOP_MAC, OWN_MAC).ipv6(FAR_V6, OWN_V6).udp(55555, VXLAN)
}

/// Changes one byte.
fn with_byte(frame: &Frame, at: usize, value: u8) -> Vec<u8> {
    let mut bytes = frame.build();
    assert_ne!(bytes[at], value);
    bytes[at] = value;
    bytes
}

fn uplink(interfaces: &Interfaces) -> u32 {
    interfaces.uplink
}

fn access(interfaces: &Interfaces) -> u32 {
    interfaces.access
}

fn trunk(interfaces: &Interfaces) -> u32 {
    interfaces.trunk
}

fn carrier(interfaces: &Interfaces) -> u32 {
    interfaces.carrier
}

fn quiet(interfaces: &Interfaces) -> u32 {
    interfaces.quiet
}

fn lone(interfaces: &Interfaces) -> u32 {
    interfaces.lone
}

/// What is counted for a frame from the far VTEP to a port.
fn delivered(segment: u32, peer: u32, port: u32) -> [Count; 3] {
    [
        Segment(segment, Decap),
        Peer(peer, Decap),
        ToPort(port, Decap),
    ]
}

/// What is counted for a frame from a port to a VTEP.
fn sent(segment: u32, port: u32, peer: u32) -> [Count; 3] {
    [
        Segment(segment, Encap),
        ToPort(port, Encap),
        Peer(peer, Encap),
    ]
}

/// Runs cases in a bench of their own.
fn all(cases: &[Case]) {
    with_bench(|bench| check(bench, cases));
}

trait AtUplinks {
    /// Dropped with the same reason at both hooks of an uplink.
    fn drops_at_uplinks(self, reason: Reason) -> Self;
    /// Left as it is at both hooks of an uplink: XDP leaves it to TC, which knows the reason.
    fn passes_uplinks(self, reason: Reason) -> Self;
    /// Delivered at both hooks of an uplink as `inner`.
    fn delivers_at_uplinks(self, inner: &[u8], counts: &[Count]) -> Self;
    /// Dropped with the same reason at both hooks of a port.
    fn drops_at_ports(self, reason: Reason) -> Self;
}

impl AtUplinks for Case {
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

#[test]
fn the_uplink_delivers_what_is_for_a_local_port() {
    need_root!();
    let to_access = at(PLAIN, PORT_ACCESS);
    let (inner4, inner6, other) = (
        udp4(to_access).build(),
        udp6(to_access).build(),
        lldp(to_access, 333).build(),
    );
    let counts = delivered(PLAIN, PEER_V4, PORT_ACCESS);
    let counts6 = delivered(PLAIN, PEER_V6, PORT_ACCESS);
    let mut cases = Vec::new();
    for (name, inner) in [
        ("IPv4 over IPv4", &inner4),
        ("IPv6 over IPv4", &inner6),
        ("no IP over IPv4", &other),
    ] {
        let outer = from_v4().vxlan(100).bytes(inner);
        cases.push(case(name, uplink, &outer).delivers_at_uplinks(inner, &counts));
    }
    for (name, inner) in [
        ("IPv4 over IPv6", &inner4),
        ("IPv6 over IPv6", &inner6),
        ("no IP over IPv6", &other),
    ] {
        let outer = from_v6().vxlan(100).bytes(inner);
        cases.push(case(name, uplink, &outer).delivers_at_uplinks(inner, &counts6));
    }
    let unchecked = eth(HOP_MAC, OWN_MAC)
        .ipv6(FAR_V6, OWN_V6)
        .udp_unchecked(1, VXLAN)
        .vxlan(100)
        .bytes(&inner6);
    let stranger = eth(HOP_MAC, OWN_MAC)
        .ipv4([198, 51, 100, 9].into(), OWN_V4)
        .udp_unchecked(1, VXLAN)
        .vxlan(100)
        .bytes(&inner4);
    let noisy = from_v4()
        .vxlan_noisy(0xff, [1, 2, 3], 100, 0x55)
        .bytes(&inner4);
    cases.push(
        case("a zero checksum over IPv6 is taken", uplink, &unchecked)
            .delivers_at_uplinks(&inner6, &counts6),
    );
    cases.push(
        case("a VTEP that is no peer is heard too", uplink, &stranger).delivers_at_uplinks(
            &inner4,
            &[Segment(PLAIN, Decap), ToPort(PORT_ACCESS, Decap)],
        ),
    );
    cases.push(
        case("reserved bits are ignored", uplink, &noisy).delivers_at_uplinks(&inner4, &counts),
    );
    all(&cases);
}

#[test]
fn the_uplink_delivers_to_vlans_and_small_ports_as_each_hook_can() {
    need_root!();
    let to_vlan = udp4(at(PLAIN, PORT_VLAN_10)).build();
    let tagged = {
        let (a, b) = INNER_V4;
        eth(VM, at(PLAIN, PORT_VLAN_10))
            .vlan(10)
            .ipv4(a, b)
            .udp(1000, 2000)
            .payload(1, 64)
            .build()
    };
    let (a, b) = INNER_V4;
    let carried = eth(VM, at(TRUNK, PORT_CARRIER))
        .vlan(77)
        .ipv4(a, b)
        .udp(1, 2)
        .payload(4, 40)
        .build();
    let narrow = udp4(at(PLAIN, PORT_NARROW)).build();
    let to_vlan_counts = delivered(PLAIN, PEER_V4, PORT_VLAN_10);
    let narrow_counts = delivered(PLAIN, PEER_V4, PORT_NARROW);
    let tiny = lldp(at(PLAIN, PORT_ACCESS), 5).build();
    let tiny_counts = delivered(PLAIN, PEER_V4, PORT_ACCESS);
    all(&[
        // TC keeps the tag beside the frame, where a test run does not show it.
        case(
            "a VLAN's tag is put back",
            uplink,
            &from_v4().vxlan(100).bytes(&to_vlan),
        )
        .becomes(Uplink, Reason::Decapsulated, &to_vlan)
        .counts(to_vlan.len(), &to_vlan_counts)
        .becomes(UplinkXdp, Reason::Decapsulated, &tagged)
        .counts(to_vlan.len(), &to_vlan_counts),
        case(
            "an inner tag crosses where the VNI passes tags",
            uplink,
            &from_v4().vxlan(200).bytes(&carried),
        )
        .delivers_at_uplinks(&carried, &delivered(TRUNK, PEER_V4, PORT_CARRIER)),
        case(
            "XDP leaves a port that it cannot reach to TC",
            uplink,
            &from_v4().vxlan(100).bytes(&narrow),
        )
        .becomes(Uplink, Reason::Decapsulated, &narrow)
        .counts(narrow.len(), &narrow_counts)
        .passes(UplinkXdp, Reason::LeftToTc),
        case(
            "TC leaves a frame too short for its helper to the kernel",
            uplink,
            &from_v4().vxlan(100).bytes(&tiny),
        )
        .passes(Uplink, Reason::LeftToKernel)
        .becomes(UplinkXdp, Reason::Decapsulated, &tiny)
        .counts(tiny.len(), &tiny_counts),
        case(
            "an inner checksum still to be filled in is left to TC",
            uplink,
            &from_v4()
                .vxlan(100)
                .bytes(&pending(at(PLAIN, PORT_ACCESS)).0),
        )
        .becomes(
            Uplink,
            Reason::Decapsulated,
            &pending(at(PLAIN, PORT_ACCESS)).0,
        )
        .counts(106, &delivered(PLAIN, PEER_V4, PORT_ACCESS))
        .passes(UplinkXdp, Reason::LeftToTc),
    ]);
}

#[test]
fn the_uplink_passes_what_is_not_ours() {
    need_root!();
    let inner = udp4(at(PLAIN, PORT_ACCESS)).build();
    let head = || eth(HOP_MAC, OWN_MAC);
    let (own, far) = (OWN_V4, FAR_V4);
    all(&[
        case(
            "another UDP port",
            uplink,
            &head()
                .ipv4(far, own)
                .udp(55555, 4790)
                .vxlan(100)
                .bytes(&inner),
        )
        .passes_uplinks(Reason::NotVxlan),
        case(
            "another UDP port over IPv6",
            uplink,
            &head()
                .ipv6(FAR_V6, OWN_V6)
                .udp(55555, 4790)
                .vxlan(100)
                .bytes(&inner),
        )
        .passes_uplinks(Reason::NotVxlan),
        case(
            "TCP to the same port",
            uplink,
            &head().ipv4(far, own).tcp(1, VXLAN, 1),
        )
        .passes_uplinks(Reason::NotVxlan),
        case(
            "another destination",
            uplink,
            &head()
                .ipv4(far, [192, 0, 2, 77].into())
                .udp(55555, VXLAN)
                .vxlan(100)
                .bytes(&inner),
        )
        .passes_uplinks(Reason::NotOurAddress),
        case(
            "another destination over IPv6",
            uplink,
            &head()
                .ipv6(FAR_V6, Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77))
                .udp(55555, VXLAN)
                .vxlan(100)
                .bytes(&inner),
        )
        .passes_uplinks(Reason::NotOurAddress),
        case(
            "a later fragment, which has no ports",
            uplink,
            &head()
                .ipv4(far, own)
                .fragment(1, 185)
                .protocol(17)
                .payload(1, 200),
        )
        .passes_uplinks(Reason::NotVxlan),
        case("ARP", uplink, &head().arp_request((HOP_MAC, far), own))
            .passes_uplinks(Reason::NotVxlan),
        case("an Ethernet header alone", uplink, &head().ethertype(LLDP))
            .passes_uplinks(Reason::NotVxlan),
        case(
            "a packet in a VLAN",
            uplink,
            &head()
                .vlan(5)
                .ipv4(far, own)
                .udp_unchecked(55555, VXLAN)
                .vxlan(100)
                .bytes(&inner),
        )
        .passes_uplinks(Reason::NotVxlan),
        case(
            "IP options are the stack's to read",
            uplink,
            &head()
                .ipv4(far, own)
                .options(&[1, 1, 1, 0])
                .udp_unchecked(55555, VXLAN)
                .vxlan(100)
                .bytes(&inner),
        )
        .passes_uplinks(Reason::LeftToStack),
        case(
            "extension headers are the stack's to read",
            uplink,
            &head()
                .ipv6(FAR_V6, OWN_V6)
                .options(&[0, 0, 1, 4, 0, 0, 0, 0])
                .udp(55555, VXLAN)
                .vxlan(100)
                .bytes(&inner),
        )
        .passes_uplinks(Reason::LeftToStack),
    ]);
}

#[test]
fn the_uplink_leaves_to_the_kernel_what_it_cannot_finish() {
    need_root!();
    let (a, b) = INNER_V4;
    let to_access = at(PLAIN, PORT_ACCESS);
    let capable = |ecn| {
        eth(VM, to_access)
            .ipv4(a, b)
            .tos(ecn)
            .udp(1, 2)
            .payload(5, 30)
    };
    let congested = |inner: &Frame| {
        eth(HOP_MAC, OWN_MAC)
            .ipv4(FAR_V4, OWN_V4)
            .tos(3)
            .udp_unchecked(55555, VXLAN)
            .vxlan(100)
            .bytes(&inner.build())
    };
    let marked = capable(3).build();
    let plain = from_v4().vxlan(100).bytes(&udp4(to_access).build());
    all(&[
        case(
            "a broadcast",
            uplink,
            &from_v4().vxlan(100).bytes(&udp4(Mac::BROADCAST).build()),
        )
        .passes_uplinks(Reason::LeftToKernel),
        case(
            "unknown unicast",
            uplink,
            &from_v4().vxlan(100).bytes(&udp4(Mac::nth(0x99)).build()),
        )
        .passes_uplinks(Reason::LeftToKernel),
        case(
            "congestion that is still to be marked",
            uplink,
            &congested(&capable(2)),
        )
        .passes_uplinks(Reason::LeftToKernel),
        case(
            "congestion that is marked already",
            uplink,
            &congested(&capable(3)),
        )
        .delivers_at_uplinks(&marked, &delivered(PLAIN, PEER_V4, PORT_ACCESS)),
        case("bytes behind the packet", uplink, &plain.clone().bytes(&[])).delivers_at_uplinks(
            &udp4(to_access).build(),
            &delivered(PLAIN, PEER_V4, PORT_ACCESS),
        ),
        raw_case("a trailer", uplink, [plain.build(), vec![0xee; 3]].concat())
            .passes_uplinks(Reason::LeftToKernel),
        case("a super-frame", uplink, &plain)
            .merged(100)
            .passes(Uplink, Reason::LeftToKernel),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list, one entry for each case")]
fn the_uplink_drops_what_is_ours_but_bad() {
    need_root!();
    let to_access = at(PLAIN, PORT_ACCESS);
    let inner = udp4(to_access).build();
    let good = || from_v4().vxlan(100).bytes(&inner);
    let head = || eth(HOP_MAC, OWN_MAC);
    let (a, b) = INNER_V4;
    let in_vni = |vni, inner: &Frame| from_v4().vxlan(vni).bytes(&inner.build());
    let from = |source, to| {
        let (a, b) = INNER_V4;
        eth(source, to).ipv4(a, b).udp(1, 2).payload(1, 20)
    };
    let cut = |len: usize| good().build()[..len].to_vec();
    all(&[
        case(
            "a VNI that does not exist",
            uplink,
            &in_vni(999, &udp4(to_access)),
        )
        .drops_at_uplinks(Reason::UnknownVni),
        case("a VNI that is gone", uplink, &in_vni(600, &udp4(to_access)))
            .drops_at_uplinks(Reason::UnknownVni),
        case(
            "the I flag is clear",
            uplink,
            &from_v4().vxlan_noisy(0xf7, [0; 3], 100, 0).bytes(&inner),
        )
        .drops_at_uplinks(Reason::VniFlagClear),
        case(
            "reserved flags where the VNI is strict",
            uplink,
            &from_v4().vxlan_noisy(0x88, [0; 3], 200, 0).bytes(&inner),
        )
        .drops_at_uplinks(Reason::ReservedBits),
        case(
            "a reserved byte where the VNI is strict",
            uplink,
            &from_v4().vxlan_noisy(0x08, [0; 3], 200, 1).bytes(&inner),
        )
        .drops_at_uplinks(Reason::ReservedBits),
        case(
            "our own source",
            uplink,
            &head()
                .ipv4(OWN_V4, OWN_V4)
                .udp_unchecked(1, VXLAN)
                .vxlan(100)
                .bytes(&inner),
        )
        .drops_at_uplinks(Reason::OwnSource),
        case(
            "our own source over IPv6",
            uplink,
            &head()
                .ipv6(OWN_V6, OWN_V6)
                .udp(1, VXLAN)
                .vxlan(100)
                .bytes(&inner),
        )
        .drops_at_uplinks(Reason::OwnSource),
        case(
            "a first fragment",
            uplink,
            &head()
                .ipv4(FAR_V4, OWN_V4)
                .fragment(1, 0x2000)
                .udp_unchecked(1, VXLAN)
                .vxlan(100)
                .bytes(&inner),
        )
        .drops_at_uplinks(Reason::OuterFragment),
        case(
            "a first fragment over IPv6",
            uplink,
            &first_fragment_v6(&inner),
        )
        .drops_at_uplinks(Reason::OuterFragment),
        raw_case(
            "a wrong header checksum",
            uplink,
            with_byte(&good(), 24, 0x5a),
        )
        .drops_at_uplinks(Reason::OuterChecksum),
        raw_case(
            "a UDP length beyond the packet",
            uplink,
            with_byte(&good(), 38, 2),
        )
        .drops_at_uplinks(Reason::UdpLength),
        raw_case(
            "a UDP length below its headers",
            uplink,
            with_byte(&good(), 39, 15),
        )
        .drops_at_uplinks(Reason::UdpLength),
        raw_case("a packet cut off", uplink, cut(100)).drops_at_uplinks(Reason::Truncated),
        raw_case("cut off within the VXLAN header", uplink, cut(45))
            .drops_at_uplinks(Reason::Truncated),
        case("no inner frame", uplink, &from_v4().vxlan(100))
            .drops_at_uplinks(Reason::InnerTruncated),
        case(
            "13 bytes of inner frame",
            uplink,
            &from_v4().vxlan(100).bytes(&inner[..13]),
        )
        .drops_at_uplinks(Reason::InnerTruncated),
        case(
            "an inner tag",
            uplink,
            &in_vni(100, &eth(VM, to_access).vlan(10).ipv4(a, b).udp(1, 2)),
        )
        .drops_at_uplinks(Reason::InnerVlan),
        case(
            "an inner source of zero",
            uplink,
            &in_vni(100, &from(Mac::ZERO, to_access)),
        )
        .drops_at_uplinks(Reason::InvalidSourceMac),
        case(
            "an inner source that is a group",
            uplink,
            &in_vni(100, &from(Mac::LLDP, to_access)),
        )
        .drops_at_uplinks(Reason::InvalidSourceMac),
        case(
            "congestion, and an inner packet that is not capable",
            uplink,
            &head()
                .ipv6(FAR_V6, OWN_V6)
                .tos(3)
                .udp(1, VXLAN)
                .vxlan(100)
                .bytes(&inner),
        )
        .drops_at_uplinks(Reason::EcnNotCapable),
        case(
            "unknown unicast where the VNI does not flood",
            uplink,
            &in_vni(300, &udp4(Mac::nth(0x99))),
        )
        .drops_at_uplinks(Reason::NoFdbEntry),
        case(
            "a broadcast where the VNI does not flood",
            uplink,
            &in_vni(300, &udp4(Mac::BROADCAST)),
        )
        .drops_at_uplinks(Reason::FloodOff),
        case(
            "for a station behind a VTEP",
            uplink,
            &in_vni(100, &udp4(at(PLAIN, PEER_V6))),
        )
        .drops_at_uplinks(Reason::SplitHorizon),
        case(
            "larger than the port takes",
            uplink,
            &in_vni(100, &lldp(at(PLAIN, PORT_NARROW), 605)),
        )
        .drops(Uplink, Reason::TooBig)
        .passes(UplinkXdp, Reason::LeftToTc),
        case(
            "for a port that is gone",
            uplink,
            &in_vni(100, &udp4(at(PLAIN, GONE_PORT))),
        )
        .drops_at_uplinks(Reason::TableGap),
    ]);
}

/// The first fragment of a packet over IPv6.
fn first_fragment_v6(inner: &[u8]) -> Frame {
    let whole = from_v6().vxlan(100).bytes(inner).build();
    eth(HOP_MAC, OWN_MAC)
        .ipv6(FAR_V6, OWN_V6)
        .protocol(44)
        .bytes(&[17, 0, 0, 1, 0, 0, 0, 9])
        .bytes(&whole[54..])
}

/// The packet that a VTEP sends for VNI 100: TTL 64, DF, DSCP 0.
fn outer_v4(vni: u32, to: Ipv4Addr, tos: u8, inner: Vec<u8>) -> impl Fn(u16) -> Vec<u8> {
    move |port| {
        assert!((49152..=65535).contains(&port), "source port {port}");
        eth(OWN_MAC, HOP_MAC)
            .ipv4(OWN_V4, to)
            .tos(tos)
            .df()
            .udp_unchecked(port, VXLAN)
            .vxlan(vni)
            .bytes(&inner)
            .build()
    }
}

/// The same over IPv6 with a checksum of zero.
fn outer_v6_zero(vni: u32, inner: Vec<u8>) -> impl Fn(u16) -> Vec<u8> {
    move |port| {
        assert!((49152..=65535).contains(&port), "source port {port}");
        eth(OWN_MAC, HOP_MAC)
            .ipv6(OWN_V6, ZERO_V6)
            .udp_unchecked(port, VXLAN)
            .vxlan(vni)
            .bytes(&inner)
            .build()
    }
}

/// A UDP packet whose checksum offload is still to fill in, and the same when it has.
fn pending(to: Mac) -> (Vec<u8>, Vec<u8>) {
    let done = udp4(to).build();
    let (a, b) = INNER_V4;
    let len = u32::try_from(done.len() - 34).expect("a short packet");
    // What offload starts from: the pseudo header's sum, not complemented.
    let sum = !vtep_tests::frame::checksum(&[&pseudo(a.into(), b.into(), 17, len)]);
    let mut open = done.clone();
    open[40..42].copy_from_slice(&sum.to_be_bytes());
    assert_ne!(open, done);
    (open, done)
}

#[test]
fn a_port_sends_known_unicast_to_its_vtep_with_the_bytes_of_the_rfc() {
    need_root!();
    let v4 = at(PLAIN, PEER_V4);
    let zero = at(PLAIN, PEER_V6_ZERO);
    let mut cases = Vec::new();
    let (a, b) = INNER_V4;
    for (name, to_v4, to_zero) in [
        ("IPv4", udp4(v4), udp4(zero)),
        ("IPv6", udp6(v4), udp6(zero)),
        (
            "ARP",
            eth(VM, v4).arp_request((VM, a), b),
            eth(VM, zero).arp_request((VM, a), b),
        ),
        ("LLDP, odd length", lldp(v4, 333), lldp(zero, 333)),
        ("no payload", lldp(v4, 0), lldp(zero, 0)),
    ] {
        let (frame, counts) = (to_v4.build(), sent(PLAIN, PORT_ACCESS, PEER_V4));
        let mut over_v4 = case(name, access, &to_v4);
        for hook in [Port, PortXdp] {
            over_v4 = over_v4
                .encapsulates(hook, outer_v4(100, FAR_V4, 0, frame.clone()))
                .counts(frame.len(), &counts);
        }
        let (frame, counts) = (to_zero.build(), sent(PLAIN, PORT_ACCESS, PEER_V6_ZERO));
        let mut over_v6 = case(name, access, &to_zero);
        for hook in [Port, PortXdp] {
            over_v6 = over_v6
                .encapsulates(hook, outer_v6_zero(100, frame.clone()))
                .counts(frame.len(), &counts);
        }
        cases.extend([over_v4, over_v6]);
    }
    all(&cases);
}

#[test]
fn a_port_takes_the_largest_frame_that_fits_the_underlay_and_no_larger() {
    need_root!();
    // 1500 bytes carry IP, UDP and VXLAN headers of 36 or 56 bytes and the inner frame.
    let v4 = |len: usize| lldp(at(PLAIN, PEER_V4), len - 14);
    let v6 = |len: usize| lldp(at(PLAIN, PEER_V6_ZERO), len - 14);
    let jumbo = lldp(at(PLAIN, PEER_JUMBO), 2500);
    let big = jumbo.build();
    let counts = |peer| sent(PLAIN, PORT_ACCESS, peer);
    all(&[
        case("the largest over IPv4", access, &v4(1464))
            .encapsulates(Port, outer_v4(100, FAR_V4, 0, v4(1464).build()))
            .counts(1464, &counts(PEER_V4))
            .encapsulates(PortXdp, outer_v4(100, FAR_V4, 0, v4(1464).build()))
            .counts(1464, &counts(PEER_V4)),
        case("one more over IPv4", access, &v4(1465))
            .drops(Port, Reason::TooBig)
            .passes(PortXdp, Reason::LeftToTc),
        case("the largest over IPv6", access, &v6(1444))
            .encapsulates(Port, outer_v6_zero(100, v6(1444).build()))
            .counts(1444, &counts(PEER_V6_ZERO))
            .encapsulates(PortXdp, outer_v6_zero(100, v6(1444).build()))
            .counts(1444, &counts(PEER_V6_ZERO)),
        case("one more over IPv6", access, &v6(1445))
            .drops(Port, Reason::TooBig)
            .passes(PortXdp, Reason::LeftToTc),
        case("a jumbo frame where it fits", access, &jumbo)
            .encapsulates(Port, outer_v4(100, JUMBO_V4, 0, big.clone()))
            .counts(big.len(), &counts(PEER_JUMBO))
            .encapsulates(PortXdp, outer_v4(100, JUMBO_V4, 0, big.clone()))
            .counts(big.len(), &counts(PEER_JUMBO)),
        case(
            "larger than the other port takes",
            access,
            &lldp(at(PLAIN, PORT_NARROW), 605),
        )
        .drops_at_ports(Reason::TooBig),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list, one entry for each case")]
fn a_port_gives_the_outer_header_the_ttl_tos_and_df_that_its_vni_says() {
    need_root!();
    let (a, b) = INNER_V4;
    let (a6, b6) = INNER_V6;
    let plain = eth(VM, at(PLAIN, PEER_V4))
        .ipv4(a, b)
        .tos(0xb9)
        .ttl(3)
        .udp(1, 2)
        .build();
    let inherits = |df: bool| {
        let ip = eth(VM, at(TRUNK, PEER_V4)).ipv4(a, b);
        let ip = if df { ip.df() } else { ip.fragment(0x4321, 0) };
        ip.tos(0xb9).ttl(33).udp(1, 2)
    };
    let inherits_v6 = eth(VM, at(TRUNK, PEER_V6_ZERO))
        .ipv6(a6, b6)
        .tos(0xba)
        .ttl(9)
        .udp(1, 2);
    let set = eth(VM, at(QUIET, PEER_V4))
        .ipv4(a, b)
        .fragment(0x1357, 0)
        .tos(3)
        .udp(1, 2);
    let set_no_ip = lldp(at(QUIET, PEER_V4), 20);
    // VNI 200 inherits all three; VNI 300 has TTL 7, DSCP 46 and no DF, so that packets need an identification.
    let outer = |vni, tos, ttl, (id, df): (Option<u16>, u16), range: (u16, u16), inner: Vec<u8>| {
        move |port: u16| {
            assert!((range.0..=range.1).contains(&port), "source port {port}");
            eth(OWN_MAC, HOP_MAC)
                .ipv4(OWN_V4, FAR_V4)
                .tos(tos)
                .ttl(ttl)
                .fragment(id.unwrap_or(port), df)
                .udp_unchecked(port, VXLAN)
                .vxlan(vni)
                .bytes(&inner)
                .build()
        }
    };
    let (narrow, wide) = ((50_000, 50_999), (49_152, 65_535));
    let (df, none) = (0x4000, 0);
    let inherited6 = inherits_v6.build();
    let at_both = |case: Case, counts: [Count; 3], len: usize, outer: &dyn Fn() -> Outer| {
        case.encapsulates(Port, outer())
            .counts(len, &counts)
            .encapsulates(PortXdp, outer())
            .counts(len, &counts)
    };
    let cases = [
        at_both(
            raw_case(
                "TTL 64 and DF; only ECN is the inner one",
                access,
                plain.clone(),
            ),
            sent(PLAIN, PORT_ACCESS, PEER_V4),
            plain.len(),
            &|| Box::new(outer(100, 1, 64, (Some(0), df), wide, plain.clone())),
        ),
        at_both(
            case("all is inherited", trunk, &inherits(true)),
            sent(TRUNK, PORT_NATIVE, PEER_V4),
            inherits(true).build().len(),
            &|| {
                Box::new(outer(
                    200,
                    0xb9,
                    33,
                    (Some(0), df),
                    narrow,
                    inherits(true).build(),
                ))
            },
        ),
        at_both(
            case(
                "no DF is inherited, and the identification",
                trunk,
                &inherits(false),
            ),
            sent(TRUNK, PORT_NATIVE, PEER_V4),
            inherits(false).build().len(),
            &|| {
                let inner = inherits(false).build();
                Box::new(outer(200, 0xb9, 33, (Some(0x4321), none), narrow, inner))
            },
        ),
        at_both(
            case("all is inherited over IPv6", trunk, &inherits_v6),
            sent(TRUNK, PORT_NATIVE, PEER_V6_ZERO),
            inherited6.len(),
            &|| {
                let inner = inherited6.clone();
                Box::new(move |port| {
                    eth(OWN_MAC, HOP_MAC)
                        .ipv6(OWN_V6, ZERO_V6)
                        .tos(0xba)
                        .ttl(9)
                        .udp_unchecked(port, VXLAN)
                        .vxlan(200)
                        .bytes(&inner)
                        .build()
                })
            },
        ),
        at_both(
            case("a TTL and a DSCP that are set, and congestion", quiet, &set),
            sent(QUIET, PORT_QUIET, PEER_V4),
            set.build().len(),
            &|| Box::new(outer(300, 0xbb, 7, (Some(0x1357), none), wide, set.build())),
        ),
        at_both(
            case("the same for a frame without IP", quiet, &set_no_ip),
            sent(QUIET, PORT_QUIET, PEER_V4),
            set_no_ip.build().len(),
            &|| Box::new(outer(300, 0xb8, 7, (None, none), wide, set_no_ip.build())),
        ),
    ];
    all(&cases);
}

type Outer = Box<dyn Fn(u16) -> Vec<u8> + Sync>;

#[test]
fn a_port_sends_over_ipv6_with_a_right_checksum_or_leaves_it_to_the_kernel() {
    need_root!();
    let v6 = at(PLAIN, PEER_V6);
    let (open, done) = pending(v6);
    let counts = sent(PLAIN, PORT_ACCESS, PEER_V6);
    let len = open.len();
    let end = open.clone();
    let by_kernel = |name, frame: &Frame| {
        case(name, access, frame)
            .redirects(Port, Reason::EncapsulatedByKernel)
            .counts(frame.build().len(), &counts)
            .passes(PortXdp, Reason::LeftToTc)
    };
    all(&[
        // The outer checksum is that of the packet when offload has filled in the inner one.
        raw_case("the inner checksum is still to be filled in", access, open)
            .encapsulates(Port, move |port| {
                let outer = eth(OWN_MAC, HOP_MAC)
                    .ipv6(OWN_V6, FAR_V6)
                    .udp(port, VXLAN)
                    .vxlan(100);
                let mut packet = outer.bytes(&done).build();
                let at = packet.len() - end.len();
                packet[at..].copy_from_slice(&end);
                packet
            })
            .counts(len, &counts)
            .passes(PortXdp, Reason::LeftToTc),
        by_kernel("the inner checksum is complete", &udp4(v6)),
        by_kernel("the inner packet is no IP", &lldp(v6, 100)),
        by_kernel("there is no inner checksum", &{
            let (a, b) = INNER_V4;
            eth(VM, v6).ipv4(a, b).udp_unchecked(1, 2).payload(1, 20)
        }),
    ]);
}

#[test]
fn a_port_maps_vlans() {
    need_root!();
    let (a, b) = INNER_V4;
    let tagged = |to, tci| {
        eth(VM, to)
            .vlan(tci)
            .ipv4(a, b)
            .udp(1000, 2000)
            .payload(1, 64)
    };
    let v4 = at(PLAIN, PEER_V4);
    let stripped = udp4(v4).build();
    let in_trunk = tagged(at(TRUNK, PEER_JUMBO), 99).build();
    let twice = eth(VM, v4).vlan(10).vlan(5).ipv4(a, b).udp(1, 2);
    let range = |inner: Vec<u8>| {
        move |port: u16| {
            assert!((50_000..=50_999).contains(&port), "source port {port}");
            eth(OWN_MAC, HOP_MAC)
                .ipv4(OWN_V4, JUMBO_V4)
                .fragment(0, 0)
                .udp_unchecked(port, VXLAN)
                .vxlan(200)
                .bytes(&inner)
                .build()
        }
    };
    let strips = |name, device, tci, port| {
        let counts = sent(PLAIN, port, PEER_V4);
        // Ports count a frame with the tag that it came with.
        let len = stripped.len() + 4;
        case(name, device, &tagged(v4, tci))
            .encapsulates(Port, outer_v4(100, FAR_V4, 0, stripped.clone()))
            .counts(len, &counts)
            .encapsulates(PortXdp, outer_v4(100, FAR_V4, 0, stripped.clone()))
            .counts(len, &counts)
    };
    let carried_counts = sent(TRUNK, PORT_NATIVE, PEER_JUMBO);
    all(&[
        strips("a mapped tag goes", trunk, 10, PORT_VLAN_10),
        strips("its priority goes with it", trunk, 0xe00a, PORT_VLAN_10),
        strips(
            "a tag with a priority alone is no VLAN",
            access,
            0x6000,
            PORT_ACCESS,
        ),
        raw_case(
            "any other tag is carried where the VNI passes tags",
            trunk,
            in_trunk.clone(),
        )
        .encapsulates(Port, range(in_trunk.clone()))
        .counts(in_trunk.len(), &carried_counts)
        .encapsulates(PortXdp, range(in_trunk.clone()))
        .counts(in_trunk.len(), &carried_counts),
        case("an unmapped tag is dropped", access, &tagged(v4, 10))
            .drops_at_ports(Reason::VlanUnmapped),
        case("a second tag is dropped", trunk, &twice).drops_at_ports(Reason::VlanUnmapped),
        case(
            "untagged where only a VLAN is mapped",
            lone,
            &udp4(at(LONE, PEER_V4)),
        )
        .drops_at_ports(Reason::NotAPort),
        case("an interface that is no port", uplink, &udp4(v4)).drops_at_ports(Reason::NotAPort),
        raw_case(
            "cut off within its tag",
            access,
            tagged(v4, 10).build()[..16].to_vec(),
        )
        .drops_at_ports(Reason::Truncated),
    ]);
}

#[test]
fn a_port_answers_for_hosts_and_finds_them_by_their_address() {
    need_root!();
    let asker = Ipv4Addr::new(10, 0, 0, 7);
    let host = Ipv4Addr::new(10, 0, 0, 50);
    let known = mac(host_mac(0));
    let ask = |target| eth(VM, Mac::BROADCAST).arp_request((VM, asker), target);
    let answer = eth(known, VM).arp_reply((known, host), (VM, asker));
    let own = [
        Segment(TRUNK, Encap),
        ToPort(PORT_CARRIER, Encap),
        ToPort(PORT_CARRIER, Decap),
    ];
    let unknown = |tag: bool, to| {
        let frame = eth(VM, Mac::nth(0x99));
        let frame = if tag { frame.vlan(40) } else { frame };
        frame.ipv4(asker, to).udp(1, 2).payload(1, 30)
    };
    let (behind, nowhere) = (Ipv4Addr::new(10, 0, 5, 9), Ipv4Addr::new(10, 1, 0, 1));
    let elsewhere = eth(at(PLAIN, PEER_V4), at(PLAIN, PEER_V6))
        .ethertype(LLDP)
        .payload(1, 50);
    all(&[
        case("ARP for a known host", carrier, &ask(host))
            .becomes(Port, Reason::Answered, &answer.build())
            .counts(ask(host).build().len(), &own)
            .passes(PortXdp, Reason::LeftToTc),
        case(
            "ARP for a host that nobody knows, where the VNI does not flood",
            trunk,
            &eth(VM, Mac::BROADCAST)
                .vlan(40)
                .arp_request((VM, asker), Ipv4Addr::new(10, 0, 0, 99)),
        )
        .drops(Port, Reason::UnknownNeigh)
        .passes(PortXdp, Reason::LeftToTc),
        case(
            "a host behind a VTEP, found by its address",
            trunk,
            &unknown(true, behind),
        )
        .encapsulates(
            Port,
            outer_v4(500, FAR_V4, 0, unknown(false, behind).build()),
        )
        .counts(
            unknown(true, behind).build().len(),
            &sent(ROUTED, PORT_VLAN_40, PEER_V4),
        )
        .passes(PortXdp, Reason::LeftToTc),
        case(
            "a host that no address leads to",
            trunk,
            &unknown(true, nowhere),
        )
        .drops(Port, Reason::NoFdbEntry)
        .passes(PortXdp, Reason::LeftToTc),
        case("a source that is elsewhere for good", access, &elsewhere)
            .drops_at_ports(Reason::StaticElsewhere),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list, one entry for each case")]
fn a_port_switches_floods_and_drops_by_its_vni() {
    need_root!();
    let from = |source| {
        eth(source, at(PLAIN, PEER_V4))
            .ethertype(LLDP)
            .payload(1, 50)
    };
    let local = udp4(at(PLAIN, PORT_NARROW));
    let to_vlan = udp4(at(PLAIN, PORT_VLAN_10));
    let everybody = [
        Segment(PLAIN, Encap),
        ToPort(PORT_ACCESS, Encap),
        ToPort(PORT_NARROW, Decap),
        ToPort(PORT_VLAN_10, Decap),
        Peer(PEER_V4, Encap),
        Peer(PEER_V6, Encap),
    ];
    let own_list = [
        Segment(PLAIN, Encap),
        ToPort(PORT_ACCESS, Encap),
        ToPort(PORT_VLAN_10, Decap),
        Peer(PEER_JUMBO, Encap),
        // The other VTEP of the list has no route.
        Lost,
    ];
    let no_copies_to_vteps = [
        Segment(PLAIN, Encap),
        ToPort(PORT_ACCESS, Encap),
        ToPort(PORT_NARROW, Decap),
        ToPort(PORT_VLAN_10, Decap),
        Lost,
        Lost,
    ];
    let switched = |name, frame: &Frame, port| {
        case(name, access, frame)
            .redirects(Port, Reason::Switched)
            .counts(
                frame.build().len(),
                &[
                    Segment(PLAIN, Encap),
                    ToPort(PORT_ACCESS, Encap),
                    ToPort(port, Decap),
                ],
            )
            .passes(PortXdp, Reason::LeftToTc)
    };
    let flooded = |name, frame: &Frame, counts: &[Count]| {
        case(name, access, frame)
            .floods(Port, Reason::Flooded)
            .counts(frame.build().len(), counts)
            .passes(PortXdp, Reason::LeftToTc)
    };
    let unresolved = |name, peer| {
        let frame = udp4(at(PLAIN, peer));
        case(name, access, &frame)
            .redirects(Port, Reason::EncapsulatedUnresolved)
            .counts(frame.build().len(), &sent(PLAIN, PORT_ACCESS, peer))
            .passes(PortXdp, Reason::LeftToTc)
    };
    let between_vlans = eth(VM, at(TRUNK, PORT_VLAN_20))
        .ethertype(LLDP)
        .payload(1, 80);
    let local_access = lldp(at(PLAIN, PORT_ACCESS), 60);
    let out_of_vlan = eth(VM, at(PLAIN, PORT_ACCESS))
        .vlan(10)
        .ethertype(LLDP)
        .payload(3, 60);
    let lonely = eth(VM, Mac::BROADCAST)
        .vlan(30)
        .ethertype(LLDP)
        .payload(1, 50);
    all(&[
        switched("to another port of the VNI", &local, PORT_NARROW),
        switched("to a VLAN of the VNI", &to_vlan, PORT_VLAN_10),
        case("between VLANs of one trunk", trunk, &between_vlans)
            .redirects(Port, Reason::Switched)
            .counts(
                94,
                &[
                    Segment(TRUNK, Encap),
                    ToPort(PORT_NATIVE, Encap),
                    ToPort(PORT_VLAN_20, Decap),
                ],
            )
            .passes(PortXdp, Reason::LeftToTc),
        case("out of a VLAN", trunk, &out_of_vlan)
            .becomes(Port, Reason::Switched, &local_access.build())
            .counts(
                out_of_vlan.build().len(),
                &[
                    Segment(PLAIN, Encap),
                    ToPort(PORT_VLAN_10, Encap),
                    ToPort(PORT_ACCESS, Decap),
                ],
            )
            .passes(PortXdp, Reason::LeftToTc),
        case(
            "for the port that it came from",
            access,
            &udp4(at(PLAIN, PORT_ACCESS)),
        )
        .drops_at_ports(Reason::SamePort),
        flooded("a broadcast", &udp4(Mac::BROADCAST), &everybody),
        flooded("unknown unicast", &udp4(Mac::nth(0x99)), &everybody),
        flooded("LLDP", &lldp(Mac::LLDP, 46), &everybody),
        flooded(
            "a group with VTEPs of its own",
            &udp4(mac(group(PLAIN))),
            &own_list,
        ),
        case(
            "unknown unicast where the VNI does not flood",
            quiet,
            &udp4(Mac::nth(0x99)),
        )
        .drops(Port, Reason::NoFdbEntry)
        .passes(PortXdp, Reason::LeftToTc),
        case(
            "a broadcast where the VNI does not flood",
            quiet,
            &udp4(Mac::BROADCAST),
        )
        .drops(Port, Reason::FloodOff)
        .passes(PortXdp, Reason::LeftToTc),
        case("a broadcast with nobody to hear it", lone, &lonely)
            .drops(Port, Reason::NowhereToFlood)
            .passes(PortXdp, Reason::LeftToTc),
        case("a source of zero", access, &from(Mac::ZERO)).drops_at_ports(Reason::InvalidSourceMac),
        case("a source that is a group", access, &from(Mac::BROADCAST))
            .drops_at_ports(Reason::InvalidSourceMac),
        flooded(
            "a broadcast larger than the underlay carries",
            &lldp(Mac::BROADCAST, 1480),
            &no_copies_to_vteps,
        ),
        case(
            "a VTEP without a route",
            access,
            &udp4(at(PLAIN, PEER_UNREACHABLE)),
        )
        .drops_at_ports(Reason::NoRoute),
        unresolved("a VTEP that is not resolved", PEER_V4_UNRESOLVED),
        unresolved("a VTEP over IPv6 that is not resolved", PEER_V6_UNRESOLVED),
        case("a VTEP that is gone", access, &udp4(at(PLAIN, GONE_PEER)))
            .drops_at_ports(Reason::TableGap),
        case("a port that is gone", access, &udp4(at(PLAIN, GONE_PORT)))
            .drops_at_ports(Reason::TableGap),
        case(
            "a super-frame whose segments do not fit",
            access,
            &big_tcp(),
        )
        .merged(1420)
        .drops(Port, Reason::TooBig),
    ]);
}

/// A TCP packet larger than the underlay carries.
fn big_tcp() -> Frame {
    let (a, b) = INNER_V4;
    eth(VM, at(PLAIN, PEER_V4))
        .ipv4(a, b)
        .tcp(1, 2, 3)
        .payload(6, 2800)
}

#[test]
fn behind_the_kernel_device_nothing_goes_on_without_a_tunnel_key() {
    need_root!();
    // A test run cannot give one: with a key, the tunnel program is tested with real packets.
    let device = |interfaces: &Interfaces| interfaces.device;
    all(&[
        case("IPv4", device, &udp4(at(PLAIN, PORT_ACCESS))).drops(Tunnel, Reason::TableGap),
        case("IPv6", device, &udp6(at(PLAIN, PORT_ACCESS))).drops(Tunnel, Reason::TableGap),
        case("a broadcast", device, &lldp(Mac::BROADCAST, 46)).drops(Tunnel, Reason::TableGap),
    ]);
}

#[test]
fn a_flow_keeps_its_source_port_and_flows_differ() {
    need_root!();
    let (a, b) = INNER_V4;
    let flow = |source, len| {
        let head = eth(VM, at(PLAIN, PEER_V4)).ipv4(a, b);
        head.tcp(source, 80, 7).payload(1, len).build()
    };
    let ports = with_bench(|bench| {
        let world = vtep_common::host::frames::World::new(bench.interfaces);
        bench.load(&world.tables);
        let meta = vtep_common::packet::Meta {
            ifindex: bench.interfaces.access,
            tag: None,
            gso_size: 0,
        };
        let mut port = |hook: Hook, frame: &[u8]| {
            let ran = bench.run(hook, frame, &meta).expect("a test run");
            source_port(&ran.frame).expect("an outer header")
        };
        let flows: Vec<u16> = (1..=200)
            .map(|source| {
                let first = port(Port, &flow(source, 0));
                assert_eq!(port(Port, &flow(source, 900)), first, "flow {source}");
                assert_eq!(port(PortXdp, &flow(source, 17)), first, "flow {source}");
                first
            })
            .collect();
        flows
    });
    let mut different = ports;
    different.sort_unstable();
    different.dedup();
    assert!(different.len() > 190, "{} of 200 differ", different.len());
}
