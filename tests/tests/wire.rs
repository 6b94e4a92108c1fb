//! What stands on the underlay, byte by byte (RFC 7348 §5).

use std::collections::HashSet;
use std::net::IpAddr;

use vtep_tests::dump::assert_same;
use vtep_tests::encoder::inner::{self, every_sort, headless, udp4, udp6};
use vtep_tests::encoder::{Frame, Mac, checksum, eth, pattern, pseudo};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_MAC, FAR_VM, VM, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::link::tap::Transport;
use vtep_tests::over_each_family;
use vtep_tests::wait::{DEADLINE, until_true};

over_each_family! {
    every_sort_of_frame_leaves_as_rfc_7348_has_it,
    every_sort_of_frame_is_delivered_as_it_came,
    every_sort_of_flood_leaves_as_rfc_7348_has_it,
    every_sort_of_flood_is_delivered_as_it_came,
    source_ports_tell_flows_apart_and_keep_each_together,
    fragments_of_one_packet_share_a_source_port,
    source_ports_stay_in_the_range_that_is_set,
    the_ttl_is_as_set,
    the_tos_is_as_set_and_keeps_the_inner_ecn,
    df_is_as_set,
    ecn_is_merged_on_receipt,
    reserved_bits_are_ignored_unless_the_vni_is_strict,
    every_segment_of_a_tcp_super_frame_is_right,
    every_segment_of_a_udp_super_frame_is_right,
    every_segment_of_a_flooded_super_frame_is_right,
    a_flood_reaches_every_sort_of_target_once,
    a_checksum_of_zero_is_taken,
    every_bit_of_the_vni_counts,
    a_udp_port_of_ones_own_is_used,
    settings_hold_for_floods_too,
}

fn source_port(wire: &Wire, packet: &[u8]) -> u16 {
    let base = wire.family.outer_len() - 16;
    u16::from_be_bytes([packet[base], packet[base + 1]])
}

/// The ECN bits of an inner frame, as far as it is IP.
fn inner_ecn(frame: &[u8]) -> u8 {
    match frame {
        [
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            8,
            0,
            version,
            tos,
            rest @ ..,
        ] if version >> 4 == 4 && version & 15 >= 5 && rest.len() >= 18 => tos & 3,
        [
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            0x86,
            0xdd,
            version,
            low,
            rest @ ..,
        ] if version >> 4 == 6 && rest.len() >= 38 => low >> 4 & 3,
        _ => 0,
    }
}

/// Compares a whole packet with what RFC 7348 and RFC 6040 ask for by default. Free to the sender
/// are the source port, within its range, and the identification, which means nothing in a packet
/// with DF (RFC 6864).
#[track_caller]
fn assert_encapsulated(wire: &Wire, got: &[u8], inner: &[u8], what: &str) {
    assert_encapsulated_for(wire, wire.far_ip, got, inner, what);
}

/// As [`assert_encapsulated`], for another VTEP behind the same next hop.
#[track_caller]
fn assert_encapsulated_for(wire: &Wire, far_ip: IpAddr, got: &[u8], inner: &[u8], what: &str) {
    let port = source_port(wire, got);
    assert!(port >= 49152, "{what}: source port {port}");
    let head = eth(wire.mac, FAR_MAC)
        .ip(wire.ip, far_ip)
        .ttl(64)
        .tos(inner_ecn(inner));
    let head = match wire.family {
        Family::V4 => {
            let id = u16::from_be_bytes([got[18], got[19]]);
            head.fragment(id, 0x4000).udp_unchecked(port, 4789)
        }
        Family::V6 => head.udp(port, 4789),
    };
    assert_same(got, &head.vxlan(GREEN).bytes(inner).build(), what);
}

fn every_sort_of_frame_leaves_as_rfc_7348_has_it(family: Family) {
    let wire = Wire::new(family);

    // Over IPv6 these go through the kernel's device (docs/limits.md), which drops headless ones.
    let headless = if family == Family::V4 {
        headless(VM, FAR_VM)
    } else {
        vec![]
    };
    for (what, frame) in every_sort(VM, FAR_VM).into_iter().chain(headless) {
        eprintln!("{what}");
        let got = wire.encap(&frame);

        assert_encapsulated(&wire, &got, &frame, what);
    }
}

fn every_sort_of_flood_leaves_as_rfc_7348_has_it(family: Family) {
    let wire = Wire::new(family);
    flood_to(&wire, wire.far_ip);

    for (what, frame) in every_sort(VM, Mac::BROADCAST) {
        eprintln!("{what}");
        let got = wire.encap(&frame);

        assert_encapsulated(&wire, &got, &frame, what);
    }
}

fn every_sort_of_frame_is_delivered_as_it_came(family: Family) {
    let wire = Wire::new(family);

    for (what, frame) in every_sort(FAR_VM, VM)
        .into_iter()
        .chain(headless(FAR_VM, VM))
    {
        eprintln!("{what}");
        wire.delivers(&wire.tunnelled(GREEN, &frame), &frame);
    }
}

fn every_sort_of_flood_is_delivered_as_it_came(family: Family) {
    let wire = Wire::new(family);

    for dst in [Mac::BROADCAST, Mac::LLDP, Mac::nth(0x99)] {
        for (what, frame) in every_sort(FAR_VM, dst) {
            eprintln!("{what}");
            wire.delivers(&wire.tunnelled(GREEN, &frame), &frame);
        }
    }
}

fn source_ports_tell_flows_apart_and_keep_each_together(family: Family) {
    let wire = Wire::new(family);
    let port = |frame: Frame| source_port(&wire, &wire.encap(&frame.build()));
    let ((a4, b4), (a6, b6)) = (inner::v4(), inner::v6());
    let head = || eth(VM, FAR_VM);
    let flows: [(&str, &dyn Fn(u16) -> Frame); 6] = [
        ("UDP over IPv4", &|n| head().ipv4(a4, b4).udp(n, 53)),
        ("TCP over IPv4", &|n| head().ipv4(a4, b4).tcp(443, n, 7)),
        ("UDP over IPv6", &|n| head().ipv6(a6, b6).udp(n, 53)),
        ("TCP over IPv6", &|n| head().ipv6(a6, b6).tcp(443, n, 7)),
        ("addresses alone", &|n| {
            head().ipv4(
                vtep_tests::traffic::inner_v4(u8::try_from(n % 200).unwrap()),
                b4,
            )
        }),
        ("MACs", &|n| {
            let last = u8::try_from(n % 200).unwrap();
            eth(Mac([0x02, 0, 0, 0, 1, last]), FAR_VM).ethertype(0x88cc)
        }),
    ];

    for (what, flow) in flows {
        let ports: Vec<u16> = (1..=64).map(|n| port(flow(n).payload(1, 40))).collect();
        let different: HashSet<u16> = ports.iter().copied().collect();
        assert!(
            different.len() > 55,
            "{what}: {} ports for 64 flows",
            different.len()
        );
        assert!(
            different.iter().all(|port| *port >= 49152),
            "{what}: {different:?}"
        );
        for (n, first) in (1..=64).zip(&ports) {
            assert_eq!(
                port(flow(n).payload(2, 99)),
                *first,
                "{what}: flow {n} again"
            );
        }
    }
}

fn fragments_of_one_packet_share_a_source_port(family: Family) {
    let wire = Wire::new(family);
    let (from, to) = inner::v4();
    let fragment = |bits| eth(VM, FAR_VM).ipv4(from, to).fragment(7, bits);

    let first = wire.encap(&fragment(0x2000).udp(1, 2).payload(1, 64).build());
    let later = wire.encap(&fragment(9).protocol(17).payload(2, 64).build());

    assert_eq!(source_port(&wire, &first), source_port(&wire, &later));
}

fn source_ports_stay_in_the_range_that_is_set(family: Family) {
    let wire = Wire::with(family, "--srcport 40000-40007", &[]);
    let (from, to) = inner::v4();
    let port = |n| {
        let frame = eth(VM, FAR_VM).ipv4(from, to).udp(n, 53).payload(1, 40);
        source_port(&wire, &wire.encap(&frame.build()))
    };

    let ports: HashSet<u16> = (1..200).map(port).collect();
    assert_eq!(ports, (40000..=40007).collect());

    wire.daemon
        .ok(&format!("vni set {GREEN} --srcport 5000-5000"));
    assert_eq!(port(1), 5000);
}

/// TTL, TOS and the IPv4 flags of a packet's outer header.
fn outer_fields(wire: &Wire, packet: &[u8]) -> (u8, u8, u8) {
    match wire.family {
        Family::V4 => (packet[22], packet[15], packet[20] >> 5),
        Family::V6 => (packet[21], packet[14] << 4 | packet[15] >> 4, 0),
    }
}

fn set(wire: &Wire, args: &str) {
    wire.daemon.ok(&format!("vni set {GREEN} {args}"));
}

fn the_ttl_is_as_set(family: Family) {
    let wire = Wire::new(family);
    let ttl = |frame: Frame| outer_fields(&wire, &wire.encap(&frame.build())).0;

    set(&wire, "--ttl 17");
    assert_eq!(ttl(udp4(VM, FAR_VM).ttl(33)), 17);
    set(&wire, "--ttl inherit");
    assert_eq!(ttl(udp4(VM, FAR_VM).ttl(33)), 33);
    assert_eq!(ttl(udp6(VM, FAR_VM).ttl(34)), 34);
    set(&wire, "--ttl 255");
    assert_eq!(ttl(eth(VM, FAR_VM).ethertype(0x88cc).payload(1, 60)), 255);
}

fn the_tos_is_as_set_and_keeps_the_inner_ecn(family: Family) {
    let wire = Wire::new(family);
    let tos = |frame: Frame| outer_fields(&wire, &wire.encap(&frame.build())).1;

    for ecn in 0..4 {
        // The kernel's device makes ECT(0) of CE, and these go through it over IPv6 (docs/limits.md).
        let outer = if family == Family::V6 && ecn == 3 {
            2
        } else {
            ecn
        };
        for base in [udp4(VM, FAR_VM), udp6(VM, FAR_VM)] {
            for (set_to, dscp) in [("0", 0), ("40", 0x28), ("inherit", 0xb8)] {
                set(&wire, &format!("--tos {set_to}"));
                let got = tos(base.clone().tos(0xb8 | ecn));
                assert_eq!(got, dscp | outer, "--tos {set_to}, inner ECN {ecn:02b}");
            }
        }
    }
}

fn df_is_as_set(family: Family) {
    if family == Family::V6 {
        return df_means_nothing_over_ipv6();
    }
    let wire = Wire::new(family);
    let flags = |frame: Frame| outer_fields(&wire, &wire.encap(&frame.build())).2;

    assert_eq!(flags(udp4(VM, FAR_VM)), 2, "set by default");
    set(&wire, "--df unset");
    assert_eq!(flags(udp4(VM, FAR_VM).df()), 0);
    set(&wire, "--df inherit");
    assert_eq!(flags(udp4(VM, FAR_VM).df()), 2);
    assert_eq!(flags(udp4(VM, FAR_VM)), 0);
    assert_eq!(
        flags(udp6(VM, FAR_VM)),
        2,
        "IPv6 never fragments on the way"
    );
    set(&wire, "--df set");
    assert_eq!(flags(udp4(VM, FAR_VM)), 2);
}

fn df_means_nothing_over_ipv6() {
    let wire = Wire::with(Family::V6, "--df unset", &[]);
    let frame = udp4(VM, FAR_VM).build();

    assert_encapsulated(&wire, &wire.encap(&frame), &frame, "IPv6 with --df unset");
}

/// RFC 6040 §4.2, figure 4: what becomes of the inner ECN field (rows) under the outer one.
const FIGURE_4: [[Option<u8>; 4]; 4] = [
    [Some(0), Some(0), Some(0), None],
    [Some(1), Some(1), Some(1), Some(3)],
    [Some(2), Some(1), Some(2), Some(3)],
    [Some(3), Some(3), Some(3), Some(3)],
];

fn ecn_is_merged_on_receipt(family: Family) {
    let wire = Wire::new(family);

    for dst in [VM, Mac::BROADCAST] {
        for base in [udp4(FAR_VM, dst), udp6(FAR_VM, dst)] {
            for (inner, row) in (0_u8..).zip(FIGURE_4) {
                for (outer, want) in (0_u8..).zip(row) {
                    let sent = base.clone().tos(0x28 | inner).build();
                    let packet = wire
                        .from_far_with_tos(outer)
                        .vxlan(GREEN)
                        .bytes(&sent)
                        .build();
                    match want {
                        Some(ecn) => {
                            eprintln!("to {dst}, inner {inner:02b}, outer {outer:02b}");
                            wire.delivers(&packet, &base.clone().tos(0x28 | ecn).build());
                        }
                        None => wire.refuses(&packet, "ecn_not_capable"),
                    }
                }
            }
        }
    }
    let arp = eth(FAR_VM, VM)
        .arp_request((FAR_VM, inner::v4().1), inner::v4().0)
        .build();
    wire.delivers(
        &wire.from_far_with_tos(3).vxlan(GREEN).bytes(&arp).build(),
        &arp,
    );
}

fn reserved_bits_are_ignored_unless_the_vni_is_strict(family: Family) {
    let wire = Wire::new(family);
    let noises = [
        (0xff, [0, 0, 0], 0),
        (0x88, [0, 0, 0], 0),
        (0x09, [0, 0, 0], 0),
        (0x08, [1, 0, 0], 0),
        (0x08, [0, 0, 0x80], 0),
        (0x08, [0, 0, 0], 1),
        (0x08, [0, 0, 0], 0x80),
    ];
    let noisy = |dst, (flags, reserved1, reserved2)| {
        let inner = udp4(FAR_VM, dst).build();
        let packet = wire
            .from_far()
            .vxlan_noisy(flags, reserved1, GREEN, reserved2)
            .bytes(&inner);
        (packet.build(), inner)
    };

    for noise in noises {
        let (packet, inner) = noisy(VM, noise);
        wire.delivers(&packet, &inner);
    }
    set(&wire, "--reserved strict");
    for noise in noises {
        for dst in [VM, Mac::BROADCAST] {
            wire.refuses(&noisy(dst, noise).0, "reserved_bits");
        }
    }
    let clean = udp4(FAR_VM, VM).build();
    wire.delivers(&wire.tunnelled(GREEN, &clean), &clean);
    set(&wire, "--reserved ignore");
    let (packet, inner) = noisy(VM, noises[0]);
    wire.delivers(&packet, &inner);
}

fn every_segment_of_a_tcp_super_frame_is_right(family: Family) {
    segments_are_right(&Wire::with_vnet_port(family), FAR_VM, Transport::Tcp);
}

fn every_segment_of_a_udp_super_frame_is_right(family: Family) {
    segments_are_right(&Wire::with_vnet_port(family), FAR_VM, Transport::Udp);
}

fn every_segment_of_a_flooded_super_frame_is_right(family: Family) {
    let wire = Wire::with_vnet_port(family);
    flood_to(&wire, wire.far_ip);

    for transport in [Transport::Tcp, Transport::Udp] {
        segments_are_right(&wire, Mac::nth(0x99), transport);
    }
}

/// Puts a VTEP on the flood list.
fn flood_to(wire: &Wire, far: IpAddr) {
    let zero = Mac::ZERO;
    wire.daemon
        .ok(&format!("fdb append {zero} --vni {GREEN} --dst {far}"));
}

fn a_flood_reaches_every_sort_of_target_once(family: Family) {
    let wire = Wire::new(family);
    let neighbour = wire.add_port("tap2", "");
    let [second, unresolved] = [3, 4].map(|host| family.address(0, host));
    wire.ns.ip(&format!(
        "neigh replace {second} lladdr {FAR_MAC} dev {UPLINK} nud permanent"
    ));
    for far in [wire.far_ip, unresolved, second] {
        flood_to(&wire, far);
    }
    until_true("the second peer to be resolved", || {
        let rows = wire.daemon.rows(&format!("peer show {second}"));
        rows.first().is_some_and(|row| !row["mac"].is_null())
    });
    let sorts = every_sort(VM, Mac::BROADCAST);

    for (what, frame) in &sorts {
        eprintln!("{what}");
        neighbour.drain();
        wire.port.send(frame);

        let is_copy = |packet: &&Vec<u8>| wire.is_vxlan(packet) && packet.ends_with(frame);
        let seen = wire
            .uplink
            .collect(DEADLINE, |seen| seen.iter().filter(is_copy).count() == 2);
        let copies: Vec<&Vec<u8>> = seen.iter().filter(is_copy).collect();
        assert_eq!(copies.len(), 2, "{what}: copies to two resolved VTEPs");
        for (far, copy) in [wire.far_ip, second].into_iter().zip(&copies) {
            assert_encapsulated_for(&wire, far, copy, frame, what);
            if family == Family::V4 {
                assert_eq!(
                    copy[18..20],
                    [0, 0],
                    "{what}: made in place, without identification"
                );
            }
        }
        assert_eq!(
            source_port(&wire, copies[0]),
            source_port(&wire, copies[1]),
            "{what}"
        );
        neighbour.expect(frame);
    }

    assert_eq!(wire.left(), Vec::<Vec<u8>>::new(), "no copy more");
    let rows = wire.daemon.rows("stats");
    let sent = |peer: IpAddr| {
        let row = rows
            .iter()
            .find(|row| row["peer"] == peer.to_string() && row["reason"] == "tx");
        row.expect("a row of the peer")["packets"].as_u64()
    };
    let floods = u64::try_from(sorts.len()).unwrap();
    // One more is what `left` sends.
    assert_eq!(sent(wire.far_ip), Some(floods + 1));
    assert_eq!(sent(second), Some(floods));
    assert_eq!(sent(unresolved), Some(floods));
    assert_eq!(wire.daemon.dropped("copy_lost"), 0);
}

/// Sends super-frames, and compares every segment on the underlay with what it is to be.
fn segments_are_right(wire: &Wire, to: Mac, transport: Transport) {
    const SIZE: u16 = 1000;
    let ((a4, b4), (a6, b6)) = (inner::v4(), inner::v6());
    let protocol = transport.protocol();

    for (src, dst) in [(IpAddr::from(a4), IpAddr::from(b4)), (a6.into(), b6.into())] {
        let data = pattern(5, 20_500);
        let l4 = 14 + if src.is_ipv4() { 20 } else { 40 };
        let (sum_at, payload) = (l4 + transport.sum_at(), l4 + transport.header_len());
        let head = eth(VM, to).ip(src, dst);
        let head = match transport {
            Transport::Tcp => head.tcp(1, 2, 1_000_000),
            Transport::Udp => head.udp(1, 2),
        };
        let mut big = head.bytes(&data).build();
        // As a guest hands it over: the checksum field holds the sum of the pseudo header alone.
        let len = u32::try_from(big.len() - l4).unwrap();
        let sum = !checksum(&[&pseudo(src, dst, protocol, len)]);
        big[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
        wire.port.send_super(&big, transport, SIZE, l4);

        let mut got = vec![];
        let packets = wire.uplink.collect(DEADLINE, |seen| {
            seen.iter().filter(|frame| wire.is_vxlan(frame)).count() == 21
        });
        let packets: Vec<_> = packets
            .iter()
            .filter(|frame| wire.is_vxlan(frame))
            .collect();
        assert_eq!(packets.len(), 21, "segments on the wire");
        let ports: HashSet<u16> = packets
            .iter()
            .map(|packet| source_port(wire, packet))
            .collect();
        assert_eq!(ports.len(), 1, "one flow, one source port");
        for packet in packets {
            let inner = &packet[wire.family.outer_len()..];
            assert_encapsulated(wire, packet, inner, "a segment");
            let len = u32::try_from(inner.len() - l4).unwrap();
            assert_ne!(inner[sum_at..sum_at + 2], [0, 0], "no checksum");
            assert_eq!(
                checksum(&[&pseudo(src, dst, protocol, len), &inner[l4..]]),
                0,
                "{transport:?} checksum"
            );
            if src.is_ipv4() {
                assert_eq!(checksum(&[&inner[14..34]]), 0, "inner IPv4 checksum");
            }
            let word = u32::from_be_bytes(inner[l4 + 4..l4 + 8].try_into().unwrap());
            match transport {
                Transport::Tcp => {
                    let seq = u32::try_from(1_000_000 + got.len()).unwrap();
                    assert_eq!(word, seq, "sequence");
                }
                Transport::Udp => assert_eq!(word >> 16, len, "UDP length"),
            }
            let left = data.len() - got.len();
            let size = left.min(SIZE.into());
            assert_eq!(inner.len() - payload, size, "as large as the guest asked");
            got.extend(&inner[payload..]);
        }
        assert_same(&got, &data, "the payload");
    }
}

fn a_checksum_of_zero_is_taken(family: Family) {
    let wire = Wire::new(family);

    for dst in [VM, Mac::BROADCAST] {
        let inner = udp4(FAR_VM, dst).build();
        let head = || eth(FAR_MAC, wire.mac).ip(wire.far_ip, wire.ip);
        for udp in [head().udp_unchecked(50000, 4789), head().udp(50000, 4789)] {
            wire.delivers(&udp.vxlan(GREEN).bytes(&inner).build(), &inner);
        }
    }
    if family == Family::V6 {
        wire.daemon
            .ok(&format!("peer set {} --csum6 off", wire.far_ip));
        flood_to(&wire, wire.far_ip);
        for frame in [
            udp4(VM, FAR_VM),
            udp6(VM, FAR_VM),
            udp4(VM, Mac::BROADCAST),
            udp6(VM, Mac::nth(0x99)),
        ] {
            let got = wire.encap(&frame.build());
            assert_eq!(
                got[60..62],
                [0, 0],
                "sent without checksum to a peer that takes it"
            );
        }
        wire.daemon
            .ok(&format!("peer set {} --csum6 on", wire.far_ip));
        let frame = udp4(VM, FAR_VM).build();
        assert_encapsulated(&wire, &wire.encap(&frame), &frame, "after --csum6 on");
    }
}

fn every_bit_of_the_vni_counts(family: Family) {
    let wire = Wire::new(family);

    for bit in 0..24 {
        let vni = GREEN ^ (1 << bit);
        wire.refuses(
            &wire.tunnelled(vni, &udp4(FAR_VM, VM).build()),
            "unknown_vni",
        );
    }
    let wire = Wire::with_vni(family, 0x00ff_ffff);
    let frame = udp4(VM, FAR_VM).build();
    let got = wire.encap(&frame);
    let vni_at = family.outer_len() - 4;
    assert_eq!(got[vni_at..vni_at + 4], [0xff, 0xff, 0xff, 0]);
    let frame = udp4(FAR_VM, VM).build();
    wire.delivers(&wire.tunnelled(0x00ff_ffff, &frame), &frame);
}

fn a_udp_port_of_ones_own_is_used(family: Family) {
    let wire = Wire::with(family, "", &["--udp-port", "8472"]);
    wire.port.send(&udp4(VM, FAR_VM).build());

    let udp = family.outer_len() - 16;
    wire.uplink.wait_for("packet to UDP port 8472", |frame| {
        frame.get(udp + 2..udp + 4) == Some(&8472_u16.to_be_bytes())
    });
    let inner = udp4(FAR_VM, VM).build();
    let packet = eth(FAR_MAC, wire.mac)
        .ip(wire.far_ip, wire.ip)
        .udp(50000, 8472)
        .vxlan(GREEN);
    wire.delivers(&packet.bytes(&inner).build(), &inner);
}

fn settings_hold_for_floods_too(family: Family) {
    let wire = Wire::with(
        family,
        "--ttl 9 --tos 40 --df unset --srcport 40000-40000",
        &[],
    );
    flood_to(&wire, wire.far_ip);

    for frame in [
        udp4(VM, Mac::BROADCAST).tos(2),
        udp6(VM, Mac::nth(0x99)).tos(2),
    ] {
        let got = wire.encap(&frame.build());

        assert_eq!(outer_fields(&wire, &got), (9, 42, 0));
        assert_eq!(source_port(&wire, &got), 40000);
    }
}
