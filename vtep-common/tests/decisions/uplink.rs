//! Frames at an uplink.

use std::collections::HashSet;
use vtep_common::sim::decide_uplink;

use vtep_common::{
    abi::{
        addr::MacAddr,
        config::Config,
        fdb::FdbTarget,
        id::{PeerId, PortSlot, SegmentId},
        port::Port,
        reason::Reason,
        segment::Segment,
    },
    decide::tunnel::DecapStage,
    frame::{
        ecn,
        packet::{Meta, Tag},
    },
    sim::{Action, HostTables},
    testkit::apply::apply_uplink,
    testkit::{
        build::{self, Checksum, Ip, Underlay},
        frames::{
            GONE_PORT, LONE, PEER_V4, PEER_V6, PLAIN, PORT_ACCESS, PORT_NARROW, PORT_NATIVE,
            PORT_QUIET, PORT_VLAN_10, QUIET, TRUNK, World, beyond_narrow, group, unicast,
        },
    },
    wire::{ethernet, vlan},
};

use crate::shared::{
    OURS_V4, OURS_V6, REMOTE_V4, astray, at_uplink, at_uplink_xdp, deliver, elsewhere, ip_frame,
    left, q, tagged, udp_frame, underlays, uplink_meta,
};

#[test]
fn a_frame_for_a_local_mac_is_delivered_without_its_outer_headers() {
    let world = World::default();
    let inner = udp_frame(unicast(PLAIN, PORT_ACCESS));
    for (underlay, peer) in underlays(100).into_iter().zip([PEER_V4, PEER_V6]) {
        let frame = underlay.frame(&inner);
        for stage in [DecapStage::Xdp, DecapStage::Tc] {
            let meta = uplink_meta(&world);
            let decision = decide_uplink(frame.as_slice(), &meta, stage, &world.tables);

            let to = deliver(&decision);
            assert_eq!(to.slot, PORT_ACCESS);
            assert_eq!(to.ifindex, world.interfaces.access);
            assert_eq!((to.vlan, to.to_other_end), (0, false));
            assert_eq!(decision.segment, PLAIN);
            assert_eq!(decision.from_peer, peer);
            assert_eq!(decision.from_port, PortSlot::NONE);
            assert_eq!(decision.inner_len, inner.len());
            let outcome = apply_uplink(&frame, &Meta::default(), stage, &decision);
            assert_eq!(outcome.action, Action::Redirect);
            assert_eq!(outcome.frame, inner);
        }
    }
}

#[test]
fn a_frame_for_a_trunk_gets_the_vlan_of_its_port() {
    let world = World::default();
    let inner = udp_frame(unicast(PLAIN, PORT_VLAN_10));
    for underlay in underlays(100) {
        let frame = underlay.frame(&inner);
        let decision = at_uplink(&world, &frame);
        assert_eq!(deliver(&decision).vlan, 10);

        let in_skb = apply_uplink(&frame, &Meta::default(), DecapStage::Tc, &decision);
        assert_eq!((in_skb.frame, in_skb.skb_tag), (inner.clone(), Some(q(10))));

        let decision = at_uplink_xdp(&world, &frame);
        let in_band = apply_uplink(&frame, &Meta::default(), DecapStage::Xdp, &decision);
        assert_eq!(in_band.frame, tagged(&inner, q(10)));
        assert_eq!(in_band.skb_tag, None);
    }
}

#[test]
fn a_vtep_that_is_no_peer_is_welcome() {
    let inner = udp_frame(unicast(PLAIN, PORT_ACCESS));
    let frame = Underlay::new(Ip::between("203.0.113.9", OURS_V4), 100).frame(&inner);
    let decision = at_uplink(&World::default(), &frame);
    assert_eq!(deliver(&decision).slot, PORT_ACCESS);
    assert_eq!(decision.from_peer, PeerId::NONE);
}

#[test]
fn overlapping_macs_of_two_vnis_stay_apart() {
    let mut world = World::default();
    let twin = unicast(PLAIN, PORT_ACCESS);
    world
        .tables
        .add_fdb(TRUNK, twin, FdbTarget::Port(PORT_NATIVE));
    for (vni, slot) in [(100, PORT_ACCESS), (200, PORT_NATIVE)] {
        for underlay in underlays(vni) {
            let decision = at_uplink(&world, &underlay.frame(&udp_frame(twin)));
            assert_eq!(deliver(&decision).slot, slot);
        }
    }
    // Known in other segments alone.
    for underlay in underlays(300) {
        let decision = at_uplink(&world, &underlay.frame(&udp_frame(twin)));
        assert_eq!(left(&decision), Reason::NoFdbEntry);
    }
}

#[test]
fn a_frame_for_a_mac_behind_a_vtep_never_goes_back() {
    for underlay in underlays(100) {
        let frame = underlay.frame(&udp_frame(unicast(PLAIN, PEER_V6)));
        for decision in [
            at_uplink(&World::default(), &frame),
            at_uplink_xdp(&World::default(), &frame),
        ] {
            assert_eq!(left(&decision), Reason::SplitHorizon);
            assert_eq!(decision.segment, PLAIN);
        }
    }
}

#[test]
fn an_unknown_vni_is_dropped() {
    let world = World::default();
    // 600 leads to a segment that is gone.
    for vni in [0, 101, 600, 0x00ff_fffe] {
        for underlay in underlays(vni) {
            let frame = underlay.frame(&udp_frame(unicast(PLAIN, PORT_ACCESS)));
            let decision = at_uplink(&world, &frame);
            assert_eq!(left(&decision), Reason::UnknownVni);
            assert_eq!(decision.segment, SegmentId::NONE);
        }
    }
}

#[test]
fn a_packet_from_one_of_our_own_addresses_is_dropped() {
    for (from, to) in [(OURS_V4, OURS_V4), (OURS_V6, OURS_V6)] {
        let frame = Underlay::new(Ip::between(from, to), 100)
            .frame(&udp_frame(unicast(PLAIN, PORT_ACCESS)));
        for decision in [
            at_uplink(&World::default(), &frame),
            at_uplink_xdp(&World::default(), &frame),
        ] {
            assert_eq!(left(&decision), Reason::OwnSource);
        }
    }
}

#[test]
fn reserved_bits_matter_only_where_the_vni_is_strict() {
    let world = World::default();
    for (vni, destination, strict) in [
        (100, unicast(PLAIN, PORT_ACCESS), false),
        (200, unicast(TRUNK, PORT_NATIVE), true),
    ] {
        for mut underlay in underlays(vni) {
            underlay.second |= 1;
            let decision = at_uplink(&world, &underlay.frame(&udp_frame(destination)));
            if strict {
                assert_eq!(left(&decision), Reason::ReservedBits);
                assert_eq!(decision.segment, TRUNK);
            } else {
                deliver(&decision);
            }
        }
    }
}

#[test]
fn an_inner_tag_is_dropped_unless_the_vni_passes_tags() {
    let world = World::default();
    for tag in [
        q(0),
        q(7),
        Tag {
            tpid: vlan::TYPE_8021AD,
            tci: 7,
        },
    ] {
        for underlay in underlays(100) {
            let inner = tagged(&udp_frame(unicast(PLAIN, PORT_ACCESS)), tag);
            let frame = underlay.frame(&inner);
            assert_eq!(left(&at_uplink(&world, &frame)), Reason::InnerVlan);
            assert_eq!(left(&at_uplink_xdp(&world, &frame)), Reason::InnerVlan);
        }
        for underlay in underlays(200) {
            let inner = tagged(&udp_frame(unicast(TRUNK, PORT_NATIVE)), tag);
            let frame = underlay.frame(&inner);
            let decision = at_uplink(&world, &frame);
            deliver(&decision);
            let outcome = apply_uplink(&frame, &Meta::default(), DecapStage::Tc, &decision);
            assert_eq!(outcome.frame, inner, "untouched");
        }
    }
}

#[test]
fn ecn_is_merged_as_rfc_6040_says_or_left_to_the_kernel() {
    use ecn::{CE, ECT_0, ECT_1, NOT_ECT};
    // Outer, inner, and what becomes of the frame: delivered as it is, left because it must change, or dropped.
    let table = |outer, inner| match (outer, inner) {
        (CE, NOT_ECT) => Some(Reason::EcnNotCapable),
        (CE, ECT_0 | ECT_1) | (ECT_1, ECT_0) => Some(Reason::LeftToKernel),
        _ => None,
    };
    let all = [NOT_ECT, ECT_0, ECT_1, CE];
    for (outer, inner) in all.into_iter().flat_map(|o| all.map(|i| (o, i))) {
        for mut ip in [
            Ip::between("10.0.0.1", "10.0.0.2"),
            Ip::between("fd00::1", "fd00::2"),
        ] {
            ip.tos = 0x48 | inner;
            let carried = ip_frame(unicast(PLAIN, PORT_ACCESS), &ip, 60);
            for mut underlay in underlays(100) {
                underlay.ip.tos = 0xb8 | outer;
                let decision = at_uplink(&World::default(), &underlay.frame(&carried));
                match table(outer, inner) {
                    Some(reason) => assert_eq!(left(&decision), reason, "{outer:02b} {inner:02b}"),
                    None => assert_eq!(deliver(&decision).slot, PORT_ACCESS),
                }
            }
        }
    }
}

#[test]
fn ecn_of_what_is_not_ip_is_nobodys() {
    // Payloads that would be IP, not ECN-capable, if the EtherType or the version said so.
    for (ethertype, first) in [
        (0x88cc, 0x45),
        (0x88cc, 0x60),
        (ethernet::TYPE_IPV4, 0x60),
        (ethernet::TYPE_IPV6, 0x45),
    ] {
        let mut payload = [0; 60];
        payload[0] = first;
        let destination = unicast(PLAIN, PORT_ACCESS);
        let inner = build::ethernet(destination, elsewhere(), &[], ethertype, &payload);
        for mut underlay in underlays(100) {
            underlay.ip.tos = ecn::CE;
            let decision = at_uplink(&World::default(), &underlay.frame(&inner));
            assert_eq!(deliver(&decision).slot, PORT_ACCESS);
        }
    }
}

#[test]
fn an_inner_frame_without_an_ethernet_header_is_dropped() {
    let inner = udp_frame(unicast(PLAIN, PORT_ACCESS));
    for underlay in underlays(100) {
        for len in 0..ethernet::LEN {
            let frame = underlay.frame(&inner[..len]);
            let decision = at_uplink(&World::default(), &frame);
            assert_eq!(left(&decision), Reason::InnerTruncated, "{len} bytes");
            // Also if more bytes follow the packet.
            let padded = [frame.as_slice(), &[0; 60]].concat();
            let decision = at_uplink(&World::default(), &padded);
            assert_eq!(left(&decision), Reason::InnerTruncated, "{len} bytes");
        }
    }
}

#[test]
fn a_source_that_is_not_unicast_is_dropped() {
    let world = World::default();
    let mut inner = udp_frame(unicast(PLAIN, PORT_ACCESS));
    for source in [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
        inner[6..12].copy_from_slice(&source);
        for underlay in underlays(100) {
            let decision = at_uplink(&world, &underlay.frame(&inner));
            assert_eq!(left(&decision), Reason::InvalidSourceMac);
        }
    }
}

#[test]
fn unknown_unicast_and_groups_are_left_to_be_flooded_where_the_vni_floods() {
    let world = World::default();
    for underlay in underlays(100) {
        for destination in [unicast(PLAIN, 999_u32), group(PLAIN), group(77_u32)] {
            let frame = underlay.frame(&udp_frame(destination));
            assert_eq!(left(&at_uplink(&world, &frame)), Reason::LeftToKernel);
            assert_eq!(left(&at_uplink_xdp(&world, &frame)), Reason::LeftToTc);
        }
    }
    for underlay in underlays(300) {
        let frame = underlay.frame(&udp_frame(unicast(QUIET, 999_u32)));
        assert_eq!(left(&at_uplink(&world, &frame)), Reason::NoFdbEntry);
        let frame = underlay.frame(&udp_frame(group(77_u32)));
        assert_eq!(left(&at_uplink(&world, &frame)), Reason::FloodOff);
        assert_eq!(left(&at_uplink_xdp(&world, &frame)), Reason::FloodOff);
    }
}

#[test]
fn xdp_leaves_a_port_that_it_cannot_redirect_to() {
    let world = World::default();
    for underlay in underlays(100) {
        let frame = underlay.frame(&udp_frame(unicast(PLAIN, PORT_NARROW)));
        assert_eq!(left(&at_uplink_xdp(&world, &frame)), Reason::LeftToTc);
        let to = deliver(&at_uplink(&world, &frame));
        assert!(to.to_other_end, "TC hands it straight over");

        let frame = underlay.frame(&udp_frame(beyond_narrow()));
        let to = deliver(&at_uplink(&world, &frame));
        assert_eq!(to.slot, PORT_NARROW);
        assert!(
            !to.to_other_end,
            "there it would be taken for the end's own"
        );
    }
}

#[test]
fn xdp_leaves_checksums_that_are_pending_where_they_can_be() {
    let mut world = World::default();
    for (from, to) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
        let ip = Ip::between(from, to);
        for checksum in [Checksum::Pending, Checksum::Complete] {
            for packet in [
                ip.udp((1, 2), checksum, &[3; 40]),
                ip.tcp((1, 2), checksum, &[3; 41]),
            ] {
                let destination = unicast(PLAIN, PORT_ACCESS);
                let inner = build::ethernet(destination, elsewhere(), &[], ip.ethertype(), &packet);
                for underlay in underlays(100) {
                    let frame = underlay.frame(&inner);
                    world.tables.config.flags = Config::PARTIAL_CHECKSUMS;
                    let decision = at_uplink_xdp(&world, &frame);
                    if checksum == Checksum::Pending {
                        assert_eq!(left(&decision), Reason::LeftToTc);
                    } else {
                        deliver(&decision);
                    }
                    world.tables.config.set(Config::PARTIAL_CHECKSUMS, false);
                    deliver(&at_uplink_xdp(&world, &frame));
                    deliver(&at_uplink(&world, &frame));
                }
            }
        }
    }
}

#[test]
fn xdp_leaves_checksums_that_are_pending_behind_a_tag_too() {
    let world = World::default();
    let ip = Ip::between("10.0.0.1", "10.0.0.2");
    let packet = ip.udp((1, 2), Checksum::Pending, &[3; 40]);
    let destination = unicast(TRUNK, PORT_NATIVE);
    let inner = build::ethernet(destination, elsewhere(), &[q(7)], ip.ethertype(), &packet);
    for underlay in underlays(200) {
        let decision = at_uplink_xdp(&world, &underlay.frame(&inner));
        assert_eq!(left(&decision), Reason::LeftToTc);
    }
}

#[test]
fn a_packet_with_bytes_behind_it_is_left_to_be_trimmed() {
    let world = World::default();
    for underlay in underlays(100) {
        let sound = underlay.frame(&udp_frame(unicast(PLAIN, PORT_ACCESS)));
        let frame = [sound.as_slice(), &[0; 4]].concat();
        assert_eq!(left(&at_uplink(&world, &frame)), Reason::LeftToKernel);
        assert_eq!(left(&at_uplink_xdp(&world, &frame)), Reason::LeftToTc);
    }
}

#[test]
fn padding_within_the_inner_frame_is_part_of_it() {
    let world = World::default();
    let inner = [udp_frame(unicast(PLAIN, PORT_ACCESS)), vec![0; 18]].concat();
    for underlay in underlays(100) {
        let frame = underlay.frame(&inner);
        let decision = at_uplink(&world, &frame);
        let outcome = apply_uplink(&frame, &Meta::default(), DecapStage::Tc, &decision);
        assert_eq!(outcome.frame, inner);
    }
}

#[test]
fn tc_leaves_inner_frames_that_are_too_small_for_it() {
    let world = World::default();
    // `bpf_skb_adjust_room` leaves at least an IP header of the outer family.
    for (underlay, least) in underlays(100).into_iter().zip([20, 40]) {
        for payload in 0..60 {
            let destination = unicast(PLAIN, PORT_ACCESS);
            let inner = build::ethernet(destination, elsewhere(), &[], 0x88cc, &vec![1; payload]);
            let frame = underlay.frame(&inner);
            let decision = at_uplink(&world, &frame);
            if payload < least {
                assert_eq!(left(&decision), Reason::LeftToKernel, "{payload} bytes");
            } else {
                deliver(&decision);
            }
            deliver(&at_uplink_xdp(&world, &frame));
        }
    }
}

#[test]
fn a_frame_that_does_not_fit_its_port_is_dropped_by_tc() {
    let world = World::default();
    for underlay in underlays(100) {
        // 600 bytes and an Ethernet header with a tag.
        for (len, fits) in [(618, true), (619, false)] {
            let destination = unicast(PLAIN, PORT_NARROW);
            let payload = vec![1; len - ethernet::LEN];
            let inner = build::ethernet(destination, elsewhere(), &[], 0x88cc, &payload);
            let frame = underlay.frame(&inner);
            let decision = at_uplink(&world, &frame);
            if fits {
                deliver(&decision);
            } else {
                assert_eq!(left(&decision), Reason::TooBig);
                assert_eq!(left(&at_uplink_xdp(&world, &frame)), Reason::LeftToTc);
            }
        }
    }
}

#[test]
fn gro_packets_are_left_to_the_slow_path_device_whatever_their_size() {
    let world = World::default();
    let meta = Meta {
        gso_size: 1400,
        ..uplink_meta(&world)
    };
    for underlay in underlays(100) {
        for len in [100, 9000] {
            let ip = Ip::between("10.0.0.1", "10.0.0.2");
            let inner = ip_frame(unicast(PLAIN, PORT_ACCESS), &ip, len);
            let frame = underlay.frame(&inner);
            let decision = decide_uplink(frame.as_slice(), &meta, DecapStage::Tc, &world.tables);
            assert_eq!(left(&decision), Reason::LeftToKernel);
        }
    }
}

#[test]
fn gro_packets_of_tcp_go_straight_to_the_other_end_that_they_are_for() {
    let world = World::default();
    let meta = Meta {
        gso_size: 1400,
        ..uplink_meta(&world)
    };
    let packet = Ip::between("10.0.0.1", "10.0.0.2").tcp((1, 2), Checksum::Complete, &[7; 3_000]);
    let to = |destination| build::ethernet(destination, elsewhere(), &[], 0x0800, &packet);
    for underlay in underlays(100) {
        let decide = |inner: &[u8]| {
            let frame = underlay.frame(inner);
            decide_uplink(frame.as_slice(), &meta, DecapStage::Tc, &world.tables)
        };
        assert!(deliver(&decide(&to(unicast(PLAIN, PORT_NARROW)))).to_other_end);
        assert_eq!(left(&decide(&to(beyond_narrow()))), Reason::LeftToKernel);
    }
}

#[test]
fn a_gro_packet_whose_inner_length_is_not_its_own_is_left_to_the_slow_path_device() {
    let world = World::default();
    let meta = Meta {
        gso_size: 1400,
        ..uplink_meta(&world)
    };
    for (from, to) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
        let mut ip = Ip::between(from, to);
        let right = if to.contains(':') { 2_820 } else { 2_840 };
        // As one that was merged without mending it; as a jumbogram; as one that was cut.
        for (len, sound) in [
            (right, true),
            (right - 1_400, false),
            (0, false),
            (right + 1, false),
        ] {
            ip.len = Some(len);
            let packet = ip.tcp((1, 2), Checksum::Complete, &[7; 2_800]);
            let mac = unicast(PLAIN, PORT_NARROW);
            let inner = build::ethernet(mac, elsewhere(), &[], ip.ethertype(), &packet);
            for underlay in underlays(100) {
                let frame = underlay.frame(&inner);
                let decision =
                    decide_uplink(frame.as_slice(), &meta, DecapStage::Tc, &world.tables);
                if sound {
                    assert!(deliver(&decision).to_other_end);
                } else {
                    assert_eq!(left(&decision), Reason::LeftToKernel, "{len}");
                }
            }
        }
    }
}

#[test]
fn a_packet_that_says_that_it_is_longer_than_its_frame_is_left_to_the_slow_path_device() {
    let world = World::default();
    for (from, to) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
        let mut ip = Ip::between(from, to);
        let right = if to.contains(':') { 108 } else { 128 };
        for (len, sound) in [
            (right, true),
            (right - 1, true),
            (right + 1, false),
            (60_000, false),
        ] {
            ip.len = Some(len);
            let inner = ip_frame(unicast(PLAIN, PORT_ACCESS), &ip, 100);
            for underlay in underlays(100) {
                let frame = underlay.frame(&inner);
                if sound {
                    deliver(&at_uplink(&world, &frame));
                    deliver(&at_uplink_xdp(&world, &frame));
                } else {
                    assert_eq!(
                        left(&at_uplink(&world, &frame)),
                        Reason::LeftToKernel,
                        "{len}"
                    );
                    assert_eq!(
                        left(&at_uplink_xdp(&world, &frame)),
                        Reason::LeftToTc,
                        "{len}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_packet_for_the_mac_of_another_host_passes() {
    let world = World::default();
    let inner = udp_frame(unicast(PLAIN, PORT_ACCESS));
    for underlay in underlays(100) {
        let mut frame = underlay.frame(&inner);
        let mut broken = underlay;
        broken.first = 0;
        let mut broken = broken.frame(&inner);
        for other in [
            unicast(PLAIN, PORT_ACCESS),
            MacAddr::from_bytes([2, 0, 0, 0, 0, 0xfc]),
        ] {
            for frame in [&mut frame, &mut broken] {
                frame[..6].copy_from_slice(&other.bytes());
                assert_eq!(left(&at_uplink(&world, frame)), Reason::NotOurAddress);
                assert_eq!(left(&at_uplink_xdp(&world, frame)), Reason::LeftToTc);
            }
        }
        // Groups are everybody's.
        frame[..6].copy_from_slice(&MacAddr::BROADCAST.bytes());
        for decision in [at_uplink(&world, &frame), at_uplink_xdp(&world, &frame)] {
            assert_eq!(deliver(&decision).slot, PORT_ACCESS);
        }
    }
}

#[test]
fn what_is_not_ours_passes_and_xdp_leaves_it_to_be_counted_by_tc() {
    let world = World::default();
    let inner = udp_frame(unicast(PLAIN, PORT_ACCESS));
    let mut dns = Underlay::new(Ip::between(REMOTE_V4, OURS_V4), 100);
    dns.udp_port = 53;
    let mut options = Underlay::new(Ip::between(REMOTE_V4, OURS_V4), 100);
    options.ip.options = 4;
    let transit = Underlay::new(Ip::between(REMOTE_V4, "198.51.100.1"), 100);
    for (underlay, reason) in [
        (dns, Reason::NotVxlan),
        (options, Reason::LeftToStack),
        (transit, Reason::NotOurAddress),
    ] {
        let frame = underlay.frame(&inner);
        let decision = at_uplink(&world, &frame);
        assert_eq!(left(&decision), reason);
        let outcome = apply_uplink(&frame, &Meta::default(), DecapStage::Tc, &decision);
        assert_eq!(
            (outcome.action, outcome.frame),
            (Action::Pass, frame.clone())
        );
        assert_eq!(left(&at_uplink_xdp(&world, &frame)), Reason::LeftToTc);
    }
}

#[test]
fn a_tag_on_the_outside_belongs_to_somebody_else() {
    let world = World::default();
    for underlay in underlays(100) {
        let frame = underlay.frame(&udp_frame(unicast(PLAIN, PORT_ACCESS)));
        let meta = Meta {
            tag: Some(q(7)),
            ..Meta::default()
        };
        let decision = decide_uplink(frame.as_slice(), &meta, DecapStage::Tc, &world.tables);
        assert_eq!(left(&decision), Reason::NotVxlan);
        let frame = tagged(&frame, q(7));
        assert_eq!(left(&at_uplink(&world, &frame)), Reason::NotVxlan);
    }
}

#[test]
fn an_entry_that_leads_to_no_port_is_our_fault() {
    let world = World::default();
    for underlay in underlays(100) {
        let frame = underlay.frame(&udp_frame(unicast(PLAIN, GONE_PORT)));
        assert_eq!(left(&at_uplink(&world, &frame)), Reason::TableGap);
        assert_eq!(left(&at_uplink_xdp(&world, &frame)), Reason::TableGap);
    }
}

#[test]
fn an_entry_that_leads_to_a_port_of_another_vni_is_our_fault() {
    let (world, mac) = astray();
    for underlay in underlays(100) {
        let frame = underlay.frame(&udp_frame(mac));
        assert_eq!(left(&at_uplink(&world, &frame)), Reason::TableGap);
        assert_eq!(left(&at_uplink_xdp(&world, &frame)), Reason::TableGap);
    }
}

#[test]
fn an_inner_packet_of_any_kind_is_delivered_byte_for_byte() {
    let world = World::default();
    let mut seen = HashSet::new();
    for (from, to) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
        for len in 60..200 {
            let inner = ip_frame(unicast(QUIET, PORT_QUIET), &Ip::between(from, to), len);
            for underlay in underlays(300) {
                let frame = underlay.frame(&inner);
                let decision = at_uplink(&world, &frame);
                let outcome = apply_uplink(&frame, &Meta::default(), DecapStage::Tc, &decision);
                assert_eq!(outcome.frame, inner);
                seen.insert(outcome.frame);
            }
        }
    }
    assert_eq!(seen.len(), 280);
}

#[test]
fn every_vni_of_24_bits_can_be_told() {
    for vni in [0, 1, 0x0001_0000, 0x00ff_ffff] {
        let mut tables = HostTables::new();
        let meta = Meta {
            ifindex: 4,
            ..Meta::default()
        };
        tables.uplinks.insert((4, Underlay::DESTINATION));
        tables.add_local(OURS_V4.parse().unwrap());
        tables.add_segment(
            LONE,
            Segment {
                vni,
                ..Segment::default()
            },
        );
        let slot = PortSlot::new(1);
        tables.add_port(
            slot,
            Port {
                ifindex: 5,
                segment: LONE,
                mtu: 1500,
                ..Port::default()
            },
        );
        tables.add_fdb(LONE, unicast(LONE, 1_u32), FdbTarget::Port(slot));
        let frame = Underlay::new(Ip::between(REMOTE_V4, OURS_V4), vni)
            .frame(&udp_frame(unicast(LONE, 1_u32)));
        let decision = decide_uplink(frame.as_slice(), &meta, DecapStage::Tc, &tables);
        assert_eq!(deliver(&decision).slot, slot);
    }
}

#[test]
fn tc_decapsulates_what_is_as_long_as_the_header_of_its_own_family() {
    let world = World::default();
    let mac = unicast(PLAIN, PORT_ACCESS);
    // EtherType of the inner frame; over IPv4 and IPv6, the shortest payload that is not left to the kernel.
    for (ethertype, shortest) in [
        (ethernet::TYPE_IPV4, [20, 20]),
        (ethernet::TYPE_IPV6, [20, 40]),
        (0x88b5, [20, 40]),
    ] {
        for (underlay, shortest) in underlays(100).into_iter().zip(shortest) {
            for (len, is_left) in [(shortest, false), (shortest - 1, true)] {
                let mut inner = udp_frame(mac);
                inner[12..14].copy_from_slice(&ethertype.to_be_bytes());
                inner.truncate(ethernet::LEN + len);
                // Nothing else may be wrong with it.
                let at = if ethertype == ethernet::TYPE_IPV6 {
                    18
                } else {
                    16
                };
                let says = if ethertype == ethernet::TYPE_IPV6 {
                    0
                } else {
                    20
                };
                inner[at..at + 2].copy_from_slice(&u16::to_be_bytes(says));
                let decision = at_uplink(&world, &underlay.frame(&inner));
                if is_left {
                    assert_eq!(
                        left(&decision),
                        Reason::LeftToKernel,
                        "{ethertype:#x}, {len}"
                    );
                } else {
                    assert_eq!(deliver(&decision).slot, PORT_ACCESS);
                }
            }
        }
    }
}
