//! What arrives from a VM.

use std::net::Ipv4Addr;

use vtep_common::abi::counter::Direction::{Decap, Encap};
use vtep_common::abi::counter::Hook;
use vtep_common::abi::counter::Hook::{Port, PortXdp};
use vtep_common::abi::reason::Reason;
use vtep_common::testkit::frames::{
    GONE_PEER, GONE_PORT, LONE, PEER_JUMBO, PEER_UNREACHABLE, PEER_V4, PEER_V4_UNRESOLVED, PEER_V6,
    PEER_V6_UNRESOLVED, PEER_V6_ZERO, PLAIN, PORT_ACCESS, PORT_CARRIER, PORT_NARROW, PORT_NATIVE,
    PORT_QUIET, PORT_VLAN_10, PORT_VLAN_20, PORT_VLAN_40, QUIET, ROUTED, TRUNK, group, host_mac,
};
use vtep_tests::encoder::{Frame, Mac, eth};
use vtep_tests::need_root;
use vtep_tests::testrun::fixture::Count::{Lost, Peer, Port as ToPort, Segment};
use vtep_tests::testrun::fixture::{Case, Count, case, raw_case, source_port};
use vtep_tests::testrun::with_bench;

use crate::named::{
    AtBothHooks as _, FAR_V4, FAR_V6, HOP_MAC, INNER_V4, INNER_V6, JUMBO_V4, LLDP, OWN_MAC, OWN_V4,
    OWN_V6, VM, VXLAN, ZERO_V6, access, all, at, carrier, lldp, lone, mac, pending, quiet, sent,
    trunk, udp4, udp6, uplink,
};

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
fn a_flow_keeps_its_source_port_and_flows_differ() {
    need_root!();
    let (a, b) = INNER_V4;
    let flow = |source, len| {
        let head = eth(VM, at(PLAIN, PEER_V4)).ipv4(a, b);
        head.tcp(source, 80, 7).payload(1, len).build()
    };
    let ports = with_bench(|bench| {
        let world = vtep_common::testkit::frames::World::new(bench.interfaces);
        bench.load(&world.tables);
        let meta = vtep_common::frame::packet::Meta {
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
