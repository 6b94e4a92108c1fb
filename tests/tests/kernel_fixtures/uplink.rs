//! What arrives from the underlay.

use std::net::Ipv6Addr;

use vtep_common::abi::counter::Direction::Decap;
use vtep_common::abi::counter::Hook::{Uplink, UplinkXdp};
use vtep_common::abi::id::SegmentId;
use vtep_common::abi::reason::Reason;
use vtep_common::testkit::frames::{
    CROWDED, GONE_PORT, PEER_V4, PEER_V6, PLAIN, PORT_ABSENT, PORT_ACCESS, PORT_CARRIER,
    PORT_NARROW, PORT_NATIVE, PORT_SLOW, PORT_VLAN_10, QUIET, TRUNK,
};
use vtep_tests::encoder::{Frame, Mac, eth};
use vtep_tests::need_root;
use vtep_tests::testrun::fixture::Count::{Port as ToPort, Segment};
use vtep_tests::testrun::fixture::{case, raw_case};

use crate::named::{
    AtBothHooks as _, FAR_V4, FAR_V6, HOP_MAC, INNER_V4, LLDP, OWN_MAC, OWN_V4, OWN_V6, VM, VXLAN,
    all, at, delivered, from_peer, from_v4, from_v6, lldp, pending, to_port, udp4, udp6, uplink,
    with_byte,
};

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
        // TC keeps the tag in the skb, where a test run does not show it.
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
    // The packet that says that it is one byte longer than it is.
    let longer = |inner: &Frame, at: usize| {
        let mut bytes = inner.build();
        bytes[at] += 1;
        from_v4().vxlan(100).bytes(&bytes)
    };
    let padded = [udp4(to_access).build(), vec![0; 18]].concat();
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
        case("a GSO packet", uplink, &plain)
            .gso(100)
            .passes(Uplink, Reason::LeftToKernel),
        case(
            "longer by its own word",
            uplink,
            &longer(&udp4(to_access), 17),
        )
        .passes_uplinks(Reason::LeftToKernel),
        case("longer IPv6", uplink, &longer(&udp6(to_access), 19))
            .passes_uplinks(Reason::LeftToKernel),
        case("padded", uplink, &from_v4().vxlan(100).bytes(&padded))
            .delivers_at_uplinks(&padded, &delivered(PLAIN, PEER_V4, PORT_ACCESS)),
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
        .drops_at_uplinks(Reason::UnknownVni)
        .of(from_peer(SegmentId::NONE, PEER_V4)),
        case(
            "more than its port may be sent",
            uplink,
            &from_v4().vxlan(700).bytes(
                &eth(at(CROWDED, PEER_V4), at(CROWDED, PORT_SLOW))
                    .ipv4(a, b)
                    .udp(1, 2)
                    .build(),
            ),
        )
        .drops_at_uplinks(Reason::Rate)
        .of(to_port(CROWDED, PEER_V4, PORT_SLOW)),
        case("a VNI that is gone", uplink, &in_vni(600, &udp4(to_access)))
            .drops_at_uplinks(Reason::UnknownVni)
            .of(from_peer(SegmentId::NONE, PEER_V4)),
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
        .drops_at_uplinks(Reason::ReservedBits)
        .of(from_peer(TRUNK, PEER_V4)),
        case(
            "a reserved byte where the VNI is strict",
            uplink,
            &from_v4().vxlan_noisy(0x08, [0; 3], 200, 1).bytes(&inner),
        )
        .drops_at_uplinks(Reason::ReservedBits)
        .of(from_peer(TRUNK, PEER_V4)),
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
            .drops_at_uplinks(Reason::InnerTruncated)
            .of(from_peer(PLAIN, PEER_V4)),
        case(
            "13 bytes of inner frame",
            uplink,
            &from_v4().vxlan(100).bytes(&inner[..13]),
        )
        .drops_at_uplinks(Reason::InnerTruncated)
        .of(from_peer(PLAIN, PEER_V4)),
        case(
            "an inner tag",
            uplink,
            &in_vni(100, &eth(VM, to_access).vlan(10).ipv4(a, b).udp(1, 2)),
        )
        .drops_at_uplinks(Reason::InnerVlan)
        .of(from_peer(PLAIN, PEER_V4)),
        case(
            "an inner tag of a VLAN that another port has",
            uplink,
            &in_vni(
                200,
                &eth(VM, at(TRUNK, PORT_NATIVE))
                    .vlan(10)
                    .ipv4(a, b)
                    .udp(1, 2),
            ),
        )
        .drops(Uplink, Reason::VlanHop)
        .of(to_port(TRUNK, PEER_V4, PORT_NATIVE))
        .passes(UplinkXdp, Reason::LeftToTc),
        case(
            "for a port that waits for its interface",
            uplink,
            &in_vni(100, &from(VM, at(PLAIN, PORT_ABSENT))),
        )
        .drops(Uplink, Reason::PortAbsent)
        .of(to_port(PLAIN, PEER_V4, PORT_ABSENT))
        .passes(UplinkXdp, Reason::LeftToTc),
        case(
            "an inner source of zero",
            uplink,
            &in_vni(100, &from(Mac::ZERO, to_access)),
        )
        .drops_at_uplinks(Reason::InvalidSourceMac)
        .of(from_peer(PLAIN, PEER_V4)),
        case(
            "an inner source that is a group",
            uplink,
            &in_vni(100, &from(Mac::LLDP, to_access)),
        )
        .drops_at_uplinks(Reason::InvalidSourceMac)
        .of(from_peer(PLAIN, PEER_V4)),
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
        .drops_at_uplinks(Reason::EcnNotCapable)
        .of(from_peer(PLAIN, PEER_V6)),
        case(
            "unknown unicast where the VNI does not flood",
            uplink,
            &in_vni(300, &udp4(Mac::nth(0x99))),
        )
        .drops_at_uplinks(Reason::NoFdbEntry)
        .of(from_peer(QUIET, PEER_V4)),
        case(
            "a broadcast where the VNI does not flood",
            uplink,
            &in_vni(300, &udp4(Mac::BROADCAST)),
        )
        .drops_at_uplinks(Reason::FloodOff)
        .of(from_peer(QUIET, PEER_V4)),
        case(
            "for a MAC behind a VTEP",
            uplink,
            &in_vni(100, &udp4(at(PLAIN, PEER_V6))),
        )
        .drops_at_uplinks(Reason::SplitHorizon)
        .of(from_peer(PLAIN, PEER_V4)),
        case(
            "larger than the port takes",
            uplink,
            &in_vni(100, &lldp(at(PLAIN, PORT_NARROW), 605)),
        )
        .drops(Uplink, Reason::TooBig)
        .of(to_port(PLAIN, PEER_V4, PORT_NARROW))
        .passes(UplinkXdp, Reason::LeftToTc),
        case(
            "for a port that is gone",
            uplink,
            &in_vni(100, &udp4(at(PLAIN, GONE_PORT))),
        )
        .drops_at_uplinks(Reason::TableGap)
        .of(from_peer(PLAIN, PEER_V4)),
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
