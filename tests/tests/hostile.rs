//! Frames that nobody should send: each is counted under its reason, and good traffic goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use vtep_tests::encoder::inner::{every_sort, udp4};
use vtep_tests::encoder::{Mac, checksum, eth, pattern};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_MAC, FAR_VM, PORT, VM, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::link::tap::Tap;
use vtep_tests::over_each_family;
use vtep_tests::wait::DEADLINE;

over_each_family! {
    a_packet_cut_off_anywhere_is_truncated,
    a_packet_that_ends_early_by_its_own_lengths_is_refused,
    lengths_that_do_not_fit_are_refused,
    a_clear_i_flag_is_refused,
    an_unknown_vni_is_refused,
    our_own_address_as_source_is_refused,
    impossible_inner_source_macs_are_refused,
    tagged_inner_frames_are_refused_by_default,
    a_first_fragment_of_a_vxlan_packet_is_refused,
    a_frame_for_a_vm_behind_a_vtep_does_not_go_back_out,
    packets_for_other_addresses_and_ports_are_left_alone,
    options_and_extension_headers_are_read_by_the_stack,
    garbage_from_the_underlay_harms_nobody,
    mutated_packets_from_the_underlay_harm_nobody,
    garbage_from_a_vm_harms_nobody,
    what_a_vm_must_not_send_is_refused,
    a_vni_that_does_not_flood_says_so,
    every_frame_ends_in_exactly_one_reason,
}

/// The reason counts, nothing of it reached the VM, and a good packet still does.
#[track_caller]
fn refused(wire: &Wire, packet: &[u8], reason: &str) {
    wire.refuses(packet, reason);
    good_traffic_goes_on(wire);
}

#[track_caller]
fn good_traffic_goes_on(wire: &Wire) {
    assert!(wire.daemon.ended().is_none(), "the daemon is gone");
    let inner = eth(FAR_VM, VM).ethertype(0x88b6).payload(4711, 200).build();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
    let out = eth(VM, FAR_VM).ethertype(0x88b6).payload(4712, 200).build();
    wire.encap(&out);
}

/// A packet that is delivered.
fn good(wire: &Wire) -> Vec<u8> {
    wire.tunnelled(GREEN, &udp4(FAR_VM, VM).build())
}

/// The place of the outer UDP header.
fn udp_at(wire: &Wire) -> usize {
    wire.family.outer_len() - 16
}

fn a_packet_cut_off_anywhere_is_truncated(family: Family) {
    let wire = Wire::new(family);
    let whole = good(&wire);

    // Before the UDP header is there, the packet is not known to be ours.
    for len in 14..udp_at(&wire) + 8 {
        wire.uplink.send(&whole[..len]);
    }
    good_traffic_goes_on(&wire);
    for len in udp_at(&wire) + 8..whole.len() {
        wire.refuses(&whole[..len], "truncated");
    }
    good_traffic_goes_on(&wire);
}

fn a_packet_that_ends_early_by_its_own_lengths_is_refused(family: Family) {
    let wire = Wire::new(family);
    let inner = udp4(FAR_VM, VM).build();
    let vxlan = [8, 0, 0, 0, 0, 0, 100, 0];

    for len in 0..8 {
        refused(
            &wire,
            &wire.from_far().bytes(&vxlan[..len]).build(),
            "truncated",
        );
    }
    for len in 0..14 {
        refused(
            &wire,
            &wire.tunnelled(GREEN, &inner[..len]),
            "inner_truncated",
        );
    }
}

fn lengths_that_do_not_fit_are_refused(family: Family) {
    let wire = Wire::new(family);
    let set_udp_len = |change: i32| {
        let mut packet = good(&wire);
        let at = udp_at(&wire) + 4;
        let len = i32::from(u16::from_be_bytes([packet[at], packet[at + 1]])) + change;
        let len = u16::try_from(len.max(0)).unwrap();
        packet[at..at + 2].copy_from_slice(&len.to_be_bytes());
        packet
    };

    for longer in [1, 100, 40_000] {
        refused(&wire, &set_udp_len(longer), "udp_length");
    }
    // Shorter than the UDP and VXLAN headers, 0 among them.
    for shorter in [-50_000, -160, -150] {
        refused(&wire, &set_udp_len(shorter), "udp_length");
    }
}

/// Over IPv4 alone: IPv6 has no header checksum.
#[test]
fn a_wrong_ipv4_header_checksum_is_refused() {
    vtep_tests::need_root!();
    let wire = Wire::new(Family::V4);

    // TOS, identification, TTL, the checksum itself, the source.
    for byte in [15, 18, 22, 24, 25, 29] {
        let mut packet = good(&wire);
        packet[byte] ^= 0x10;
        refused(&wire, &packet, "outer_checksum");
    }
}

fn a_clear_i_flag_is_refused(family: Family) {
    let wire = Wire::new(family);
    let inner = udp4(FAR_VM, VM).build();

    for flags in [0x00, 0xf7, 0x80] {
        let packet = wire
            .from_far()
            .vxlan_noisy(flags, [0; 3], GREEN, 0)
            .bytes(&inner)
            .build();
        refused(&wire, &packet, "vni_flag_clear");
    }
}

fn an_unknown_vni_is_refused(family: Family) {
    let wire = Wire::new(family);

    for dst in [VM, Mac::BROADCAST] {
        let packet = wire.tunnelled(GREEN + 1, &udp4(FAR_VM, dst).build());
        refused(&wire, &packet, "unknown_vni");
    }
    wire.daemon.ok(&format!("vni add {}", GREEN + 1));
    wire.daemon.ok(&format!("vni del {} --force", GREEN + 1));
    refused(
        &wire,
        &wire.tunnelled(GREEN + 1, &udp4(FAR_VM, VM).build()),
        "unknown_vni",
    );
}

fn our_own_address_as_source_is_refused(family: Family) {
    let wire = Wire::new(family);
    let inner = udp4(FAR_VM, VM).build();

    let packet = eth(FAR_MAC, wire.mac).ip(wire.ip, wire.ip).udp(50000, 4789);

    refused(
        &wire,
        &packet.vxlan(GREEN).bytes(&inner).build(),
        "own_source",
    );
}

fn impossible_inner_source_macs_are_refused(family: Family) {
    let wire = Wire::new(family);

    for src in [Mac::ZERO, Mac::BROADCAST, Mac::LLDP] {
        for dst in [VM, Mac::BROADCAST] {
            let packet = wire.tunnelled(GREEN, &udp4(src, dst).build());
            refused(&wire, &packet, "invalid_source_mac");
        }
    }
}

fn tagged_inner_frames_are_refused_by_default(family: Family) {
    let wire = Wire::new(family);

    for dst in [VM, Mac::BROADCAST] {
        for tag in [
            eth(FAR_VM, dst).vlan(5),
            eth(FAR_VM, dst).ethertype(0x88a8).bytes(&[0, 5]),
        ] {
            let inner = tag.bytes(&[0x88, 0xb6]).payload(1, 60).build();
            refused(&wire, &wire.tunnelled(GREEN, &inner), "inner_vlan");
        }
    }
    wire.daemon
        .ok(&format!("vni set {GREEN} --inner-vlan pass"));
    let inner = eth(FAR_VM, VM)
        .vlan(5)
        .ethertype(0x88b6)
        .payload(1, 60)
        .build();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
}

fn a_first_fragment_of_a_vxlan_packet_is_refused(family: Family) {
    let wire = Wire::new(family);
    let inner = udp4(FAR_VM, VM).build();
    let head = || eth(FAR_MAC, wire.mac).ip(wire.far_ip, wire.ip);
    let udp = |bytes: &[u8]| {
        let whole = [&[0xc3, 0x50, 0x12, 0xb5, 0, 250, 0, 0], bytes].concat();
        let Family::V6 = family else {
            return head().fragment(9, 0x2000).protocol(17).bytes(&whole);
        };
        head()
            .protocol(44)
            .bytes(&[17, 0, 0, 1, 0, 0, 0, 9])
            .bytes(&whole)
    };
    let vxlan = [&[8, 0, 0, 0, 0, 0, 100, 0], &inner[..120]].concat();

    refused(&wire, &udp(&vxlan).build(), "outer_fragment");
}

fn a_frame_for_a_vm_behind_a_vtep_does_not_go_back_out(family: Family) {
    let wire = Wire::new(family);
    let inner = udp4(Mac::nth(0x55), FAR_VM).build();

    refused(&wire, &wire.tunnelled(GREEN, &inner), "split_horizon");
    // Floods go to ports only, even with VTEPs on the flood list.
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));
    let flood = udp4(FAR_VM, Mac::BROADCAST).build();
    wire.delivers(&wire.tunnelled(GREEN, &flood), &flood);
    let left = wire.uplink.collect(Duration::from_millis(50), |_| false);
    assert!(
        !left.iter().any(|frame| frame.ends_with(&flood)),
        "a flood went back out"
    );
}

fn packets_for_other_addresses_and_ports_are_left_alone(family: Family) {
    let wire = Wire::new(family);
    let inner = udp4(FAR_VM, VM).build();
    // A host behind this one, to which it routes.
    let elsewhere = family.address(9, 9);
    for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        wire.ns.sysctl(key, "1");
    }
    wire.ns.sysctl("ipv4/conf/all/send_redirects", "0");
    wire.ns.ip(&format!(
        "route add {elsewhere} via {} dev {UPLINK}",
        wire.far_ip
    ));

    let packet = eth(FAR_MAC, wire.mac)
        .ip(wire.far_ip, elsewhere)
        .udp(50000, 4789)
        .vxlan(GREEN)
        .bytes(&inner);
    let packet = packet.build();
    wire.uplink.send(&packet);

    let forwarded = wire
        .uplink
        .wait_for("the packet as the host forwards it", |frame| {
            frame.ends_with(&packet[wire.family.outer_len() - 16..])
        });
    assert_eq!(forwarded[6..12], wire.mac.0);
    assert_eq!(wire.port.recv(Duration::ZERO), None, "it was decapsulated");

    let socket = wire
        .ns
        .run(|| std::net::UdpSocket::bind((wire.ip, 4790)).unwrap());
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let other = eth(FAR_MAC, wire.mac)
        .ip(wire.far_ip, wire.ip)
        .udp(50000, 4790);
    wire.uplink.send(&other.vxlan(GREEN).bytes(&inner).build());
    let mut got = [0; 2000];
    let (len, _) = socket
        .recv_from(&mut got)
        .expect("a datagram for another port");
    assert_eq!(got[8..len], inner[..]);
}

fn options_and_extension_headers_are_read_by_the_stack(family: Family) {
    let wire = Wire::new(family);
    let inner = udp4(FAR_VM, VM).build();
    let head = eth(FAR_MAC, wire.mac).ip(wire.far_ip, wire.ip);
    let head = match family {
        Family::V4 => head.options(&[1, 1, 1, 0]),
        Family::V6 => head.options(&[0, 0, 1, 4, 0, 0, 0, 0]),
    };

    wire.delivers(
        &head.udp(50000, 4789).vxlan(GREEN).bytes(&inner).build(),
        &inner,
    );
}

fn garbage_from_the_underlay_harms_nobody(family: Family) {
    let wire = Wire::new(family);

    for seed in 0..3000_u32 {
        let len = 14 + usize::try_from(seed.wrapping_mul(7919) % 300).unwrap();
        let mut frame = pattern(seed, len);
        // Half of it looks like ours at first sight.
        if seed % 2 == 0 {
            let like = good(&wire);
            let headers = usize::try_from(seed / 2 % 75).unwrap().min(len);
            frame[..headers].copy_from_slice(&like[..headers]);
        }
        wire.uplink.send(&frame);
    }

    good_traffic_goes_on(&wire);
}

fn mutated_packets_from_the_underlay_harm_nobody(family: Family) {
    let wire = Wire::new(family);
    let frames: Vec<Vec<u8>> = every_sort(FAR_VM, VM)
        .into_iter()
        .chain(every_sort(FAR_VM, Mac::BROADCAST))
        .map(|(_, inner)| wire.tunnelled(GREEN, &inner))
        .collect();

    for seed in 0..4000_u32 {
        let mut frame = frames[usize::try_from(seed).unwrap() % frames.len()].clone();
        let noise = pattern(seed, 8);
        for pair in noise.chunks(2) {
            let at = usize::from(pair[0]) % frame.len().min(110);
            frame[at] = pair[1];
        }
        // Half of them with a header checksum that is right again.
        if seed % 2 == 0 && family == Family::V4 {
            frame[24..26].copy_from_slice(&[0, 0]);
            let sum = checksum(&[&frame[14..34]]);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        wire.uplink.send(&frame);
        if seed % 200 == 0 {
            wire.port.drain();
        }
    }

    wire.port.drain();
    good_traffic_goes_on(&wire);
}

fn garbage_from_a_vm_harms_nobody(family: Family) {
    let wire = Wire::new(family);
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));
    let sorts = every_sort(VM, FAR_VM);

    for seed in 0..4000_u32 {
        let frame = if seed % 2 == 0 {
            let len = 14 + usize::try_from(seed.wrapping_mul(7919) % 1400).unwrap();
            pattern(seed, len)
        } else {
            let mut frame = sorts[usize::try_from(seed / 2).unwrap() % sorts.len()]
                .1
                .clone();
            for pair in pattern(seed, 6).chunks(2) {
                let at = usize::from(pair[0]) % frame.len().min(80);
                frame[at] = pair[1];
            }
            frame
        };
        wire.port.send(&frame);
        if seed % 200 == 0 {
            wire.uplink.drain();
        }
    }

    wire.uplink.drain();
    good_traffic_goes_on(&wire);
}

fn what_a_vm_must_not_send_is_refused(family: Family) {
    let wire = Wire::new(family);
    let small = |src, dst| eth(src, dst).ethertype(0x88b6).payload(1, 60).build();

    for src in [Mac::ZERO, Mac::BROADCAST, Mac::LLDP] {
        wire.refuses_from_vm(&small(src, FAR_VM), "invalid_source_mac");
    }
    wire.refuses_from_vm(&small(VM, VM), "same_port");
    wire.refuses_from_vm(
        &eth(VM, FAR_VM)
            .vlan(3)
            .ethertype(0x88b6)
            .payload(1, 60)
            .build(),
        "vlan_unmapped",
    );
    wire.refuses_from_vm(&small(VM, Mac::BROADCAST), "nowhere_to_flood");
    let largest = 1500 - usize::try_from(family.overhead()).unwrap();
    let long = |len| eth(VM, FAR_VM).ethertype(0x88b6).payload(1, len).build();
    wire.encap(&long(largest));
    wire.refuses_from_vm(&long(largest + 1), "too_big");
    good_traffic_goes_on(&wire);
}

fn a_vni_that_does_not_flood_says_so(family: Family) {
    let wire = Wire::with(family, "--flood none", &[]);
    let small = |dst| eth(VM, dst).ethertype(0x88b6).payload(1, 60).build();
    let far = |dst| wire.tunnelled(GREEN, &udp4(FAR_VM, dst).build());

    wire.refuses_from_vm(&small(Mac::BROADCAST), "flood_off");
    wire.refuses_from_vm(&small(Mac::nth(0x99)), "no_fdb_entry");
    refused(&wire, &far(Mac::BROADCAST), "flood_off");
    refused(&wire, &far(Mac::nth(0x99)), "no_fdb_entry");
    assert_eq!(wire.daemon.rows(&format!("port show {PORT}")).len(), 1);
}

/// How many frames ended with each reason, at whichever hook; stops on the way left out.
fn ends(wire: &Wire) -> BTreeMap<String, u64> {
    let mut ends = BTreeMap::new();
    for row in wire.daemon.rows("stats") {
        let (hook, reason) = (row["hook"].as_str(), row["reason"].as_str());
        let (Some(_), Some(reason)) = (hook, reason) else {
            continue;
        };
        if !reason.starts_with("left_to") {
            *ends.entry(reason.to_owned()).or_default() += row["packets"].as_u64().unwrap();
        }
    }
    ends.retain(|_, packets| *packets != 0);
    ends
}

fn every_frame_ends_in_exactly_one_reason(family: Family) {
    let wire = Wire::new(family);
    let beside = Tap::new(&wire.ns, "vm1");
    wire.daemon.ok(&format!("port add vm1 --vni {GREEN}"));
    let far = |dst| udp4(FAR_VM, dst).build();
    let other_port = eth(FAR_MAC, wire.mac)
        .ip(wire.far_ip, wire.ip)
        .udp(5, 6)
        .build();
    let before = ends(&wire);

    for _ in 0..30 {
        wire.uplink.send(&wire.tunnelled(GREEN, &far(VM)));
        wire.uplink
            .send(&wire.tunnelled(GREEN, &far(Mac::BROADCAST)));
        wire.uplink.send(&wire.tunnelled(999, &far(VM)));
        wire.uplink.send(&other_port);
        wire.port.send(&udp4(VM, FAR_VM).build());
        wire.port.send(&udp4(VM, Mac::BROADCAST).build());
        wire.port.send(&udp4(VM, VM).build());
    }
    // The last of what takes the longest way: a flood through the slow-path device.
    let last = eth(FAR_VM, Mac::BROADCAST)
        .ethertype(0x88b6)
        .payload(3, 99)
        .build();
    wire.delivers(&wire.tunnelled(GREEN, &last), &last);
    beside.expect(&last);

    let mut now = ends(&wire);
    for (reason, packets) in before {
        *now.get_mut(&reason).expect("counters never go back") -= packets;
    }
    now.retain(|_, packets| *packets != 0);
    let encapsulated = match family {
        Family::V4 => "encapsulated",
        Family::V6 => "encapsulated_by_kernel",
    };
    let want = [
        ("decapsulated", 30),
        // A checksum that covers all of the frame is left to the slow-path device.
        (encapsulated, 30),
        ("flooded", 30),
        ("flooded_locally", 31),
        ("not_vxlan", 30),
        ("same_port", 30),
        ("unknown_vni", 30),
    ];
    assert_eq!(
        now,
        want.map(|(reason, packets)| (reason.to_owned(), packets))
            .into()
    );
}
