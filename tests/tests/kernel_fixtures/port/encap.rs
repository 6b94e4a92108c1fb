//! What goes to a VTEP.

use vtep_common::abi::counter::Hook;
use vtep_common::abi::counter::Hook::{Port, PortXdp};
use vtep_common::abi::reason::Reason;
use vtep_common::testkit::frames::{
    PEER_JUMBO, PEER_V4, PEER_V6, PEER_V6_ZERO, PLAIN, PORT_ACCESS, PORT_NARROW, PORT_NATIVE,
    PORT_QUIET, QUIET, TRUNK,
};
use vtep_tests::encoder::{Frame, eth};
use vtep_tests::need_root;
use vtep_tests::testrun::fixture::{Count, Fixture, case, raw_case, source_port};
use vtep_tests::testrun::with_shared_test_bed;

use crate::named::{
    AtBothHooks as _, FAR_V4, FAR_V6, HOP_MAC, INNER_V4, INNER_V6, JUMBO_V4, OWN_MAC, OWN_V4,
    OWN_V6, VM, VXLAN, ZERO_V6, access, all, at, from_port, lldp, pending, quiet, sent, to_peer,
    trunk, udp4, udp6,
};

use super::{outer_v4, outer_v6_zero};

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
            .of(to_peer(PLAIN, PORT_ACCESS, PEER_V4))
            .passes(PortXdp, Reason::LeftToTc),
        case("the largest over IPv6", access, &v6(1444))
            .encapsulates(Port, outer_v6_zero(100, v6(1444).build()))
            .counts(1444, &counts(PEER_V6_ZERO))
            .encapsulates(PortXdp, outer_v6_zero(100, v6(1444).build()))
            .counts(1444, &counts(PEER_V6_ZERO)),
        case("one more over IPv6", access, &v6(1445))
            .drops(Port, Reason::TooBig)
            .of(to_peer(PLAIN, PORT_ACCESS, PEER_V6_ZERO))
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
        .drops_at_ports(Reason::TooBig)
        .of(from_port(PLAIN, PORT_ACCESS)),
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
    let at_both = |case: Fixture, counts: [Count; 3], len: usize, outer: &dyn Fn() -> Outer| {
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
fn a_flow_keeps_its_source_port_and_flows_differ() {
    need_root!();
    let (a, b) = INNER_V4;
    let flow = |source, len| {
        let head = eth(VM, at(PLAIN, PEER_V4)).ipv4(a, b);
        head.tcp(source, 80, 7).payload(1, len).build()
    };
    let ports = with_shared_test_bed(|bench| {
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
