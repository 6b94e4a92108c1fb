//! What the settings of a VNI, of a peer and of the daemon make of the outer headers.

use vtep_tests::encoder::inner::{self, udp4, udp6};
use vtep_tests::encoder::{Frame, Mac, checksum, eth, pseudo};
use vtep_tests::lab::GREEN;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_MAC, FAR_VM, VM, Wire};
use vtep_tests::link::Link as _;
use vtep_tests::link::tap::GsoType;
use vtep_tests::over_each_family;

use crate::{assert_encapsulated, flood_to, source_port};

over_each_family! {
    the_ttl_is_as_set,
    the_tos_is_as_set_and_keeps_the_inner_ecn,
    an_inner_ce_is_copied_in_place_and_is_ect_0_by_the_slow_path_device,
    df_is_as_set,
    ecn_is_merged_on_receipt,
    reserved_bits_are_ignored_unless_the_vni_is_strict,
    a_checksum_of_zero_is_taken,
    every_bit_of_the_vni_counts,
    a_udp_port_of_ones_own_is_used,
    settings_hold_for_floods_too,
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
        // The slow-path device makes ECT(0) of CE, and these go through it over IPv6 (docs/limits.md).
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

fn an_inner_ce_is_copied_in_place_and_is_ect_0_by_the_slow_path_device(family: Family) {
    const CE: u8 = 3;
    const ECT_0: u8 = 2;
    let wire = Wire::with_vnet_port(family);
    flood_to(&wire, wire.far_ip);
    if family == Family::V6 {
        // A checksum that only the kernel can fill in would send them to the device.
        wire.daemon
            .ok(&format!("peer set {} --csum6 off", wire.far_ip));
    }
    for base in [udp4(VM, FAR_VM), udp6(VM, FAR_VM)] {
        let sent = wire.encap(&base.tos(CE).build());
        assert_eq!(outer_fields(&wire, &sent).1, CE, "in place");
    }

    let (from, to) = inner::v4();
    let head = eth(VM, Mac::nth(0x99)).ipv4(from, to).tos(CE);
    let mut flooded = head.tcp(1, 2, 3).payload(4, 3_000).build();
    let sum = !checksum(&[&pseudo(from.into(), to.into(), 6, 3_020)]);
    flooded[50..52].copy_from_slice(&sum.to_be_bytes());
    wire.port.send_gso(&flooded, GsoType::Tcp, 1_000, 34);
    for _ in 0..3 {
        let is_ours = |frame: &[u8]| wire.is_vxlan(frame) && frame.len() > 1_000;
        let sent = wire.uplink.wait_for("a segment", is_ours);
        assert_eq!(outer_fields(&wire, &sent).1, ECT_0, "by the device");
        assert_eq!(sent[wire.family.outer_len() + 15], CE, "inside");
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
