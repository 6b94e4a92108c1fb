//! Frames at a port.

use std::{collections::HashSet, net::IpAddr};
use vtep_common::frame::vlan::TagEdit;
use vtep_common::runtime::verdict::Encap;
use vtep_common::sim::decision::Decision;

use proptest::prelude::*;
use vtep_common::{
    abi::{
        addr::MacAddr,
        fdb::FdbTarget,
        id::{ListId, PeerId, PortSlot},
        peer::Peer,
        reason::Reason,
        segment::Segment,
    },
    decide::port::PortStage,
    frame::packet::{Meta, Tag},
    sim::Action,
    testkit::apply::apply_port,
    testkit::{
        build::{self, Checksum, Fragment, Ip},
        check,
        frames::{
            GONE_PEER, GONE_PORT, PEER_JUMBO, PEER_UNREACHABLE, PEER_V4, PEER_V4_UNRESOLVED,
            PEER_V6, PEER_V6_UNRESOLVED, PEER_V6_ZERO, PLAIN, PORT_ACCESS, PORT_CARRIER,
            PORT_NARROW, PORT_NATIVE, PORT_VLAN_10, PORT_VLAN_20, QUIET, TRUNK, World,
            beyond_narrow, group, unicast,
        },
    },
    wire::vlan,
};

use crate::shared::{
    astray, at_port, at_port_with, at_port_xdp, deliver, elsewhere, encap, flood, ip_frame, left,
    lldp_frame, q, tagged, udp_frame, via_kernel,
};

/// A service tag.
const S_TAG: Tag = Tag {
    tpid: vlan::TYPE_8021AD,
    tci: 10,
};

/// The world, with the settings of VNI 100 changed.
fn world_with(change: impl FnOnce(&mut Segment)) -> World {
    let mut world = World::default();
    change(world.tables.segments.get_mut(&PLAIN).unwrap());
    world
}

fn from_access(world: &World, frame: &[u8]) -> Decision {
    at_port(world, world.interfaces.access, frame)
}

/// The encapsulation of a frame from the access port for `peer`, with this IP header.
fn encapsulated(world: &World, peer: PeerId, ip: &Ip) -> Encap {
    encap(&from_access(
        world,
        &ip_frame(unicast(PLAIN, peer), ip, 100),
    ))
}

fn inner_v4() -> Ip {
    Ip::between("10.0.0.1", "10.0.0.2")
}

fn inner_v6() -> Ip {
    Ip::between("fd00::1", "fd00::2")
}

/// A frame whose checksum is still to be filled in.
fn pending_frame(destination: MacAddr, ip: &Ip, len: usize) -> Vec<u8> {
    let packet = ip.tcp((4000, 5000), Checksum::Pending, &vec![0x5a; len]);
    build::ethernet(destination, elsewhere(), &[], ip.ethertype(), &packet)
}

#[test]
fn a_frame_for_a_mac_behind_a_vtep_is_encapsulated_with_the_defaults() {
    let world = World::default();
    for (peer, v6) in [(PEER_V4, false), (PEER_V6_ZERO, true)] {
        let frame = udp_frame(unicast(PLAIN, peer));

        let decision = from_access(&world, &frame);

        let Encap {
            peer: number,
            ifindex,
            v6: over_v6,
            inner_ip,
            fields,
            tag,
        } = encap(&decision);
        assert_eq!((number, over_v6, inner_ip), (peer, v6, true));
        assert_eq!(ifindex, world.interfaces.uplink);
        assert_eq!((fields.ttl, fields.tos), (64, 0));
        assert!(fields.dont_fragment);
        assert_eq!(fields.id, 0);
        assert!(fields.source_port >= 49_152);
        assert_eq!(fields.vni.get(), 100);
        assert_eq!(fields.inner_len as usize, frame.len());
        assert_eq!(fields.inner_sum, None);
        assert_eq!(tag, TagEdit::Leave);
        assert_eq!(decision.segment, PLAIN);
        assert_eq!(decision.from_port, PORT_ACCESS);
        assert_eq!(decision.from_peer, PeerId::NONE);
        assert_eq!(decision.inner_len, frame.len());
    }
}

#[test]
fn the_packet_on_the_underlay_is_the_template_and_the_frame() {
    let world = World::default();
    let frame = udp_frame(unicast(PLAIN, PEER_V4));
    let decision = from_access(&world, &frame);
    let meta = Meta::default();
    let sent = apply_port(&frame, &meta, PortStage::Tc, &decision, &world.tables);

    assert_eq!(sent.action, Action::Redirect);
    assert_eq!(&sent.frame[50..], frame);
    assert_eq!(sent.frame[12..16], [0x08, 0x00, 0x45, 0x00]);
    assert_eq!(sent.frame[20..22], [0x40, 0x00], "DF");
    assert_eq!(sent.frame[26..34], [192, 0, 2, 1, 192, 0, 2, 2]);
    assert_eq!(sent.frame[36..38], 4789_u16.to_be_bytes());
    assert_eq!(sent.frame[40..42], [0, 0], "no UDP checksum");
    assert_eq!(sent.frame[42..50], [8, 0, 0, 0, 0, 0, 100, 0]);
}

#[test]
fn ttl_is_as_set_or_that_of_the_inner_packet() {
    let fixed = world_with(|segment| segment.ttl = 9);
    let inherit = world_with(|segment| segment.flags |= Segment::TTL_INHERIT);
    for mut ip in [inner_v4(), inner_v6()] {
        ip.ttl = 33;
        for peer in [PEER_V4, PEER_V6_ZERO] {
            assert_eq!(encapsulated(&fixed, peer, &ip).fields.ttl, 9);
            assert_eq!(encapsulated(&inherit, peer, &ip).fields.ttl, 33);
        }
    }
    // What is not IP has nothing to inherit.
    let decision = from_access(&inherit, &lldp_frame(unicast(PLAIN, PEER_V4)));
    assert_eq!(encap(&decision).fields.ttl, 64);
}

#[test]
fn tos_is_as_set_or_that_of_the_inner_packet_and_ecn_is_always_the_inner_one() {
    let fixed = world_with(|segment| segment.tos = 0xb8);
    let inherit = world_with(|segment| segment.flags |= Segment::TOS_INHERIT);
    for ecn in 0..4 {
        for mut ip in [inner_v4(), inner_v6()] {
            ip.tos = 0x28 | ecn;
            for peer in [PEER_V4, PEER_V6_ZERO] {
                assert_eq!(encapsulated(&fixed, peer, &ip).fields.tos, 0xb8 | ecn);
                assert_eq!(encapsulated(&inherit, peer, &ip).fields.tos, 0x28 | ecn);
            }
        }
    }
    // What is not IP has no ECN, and nothing to inherit.
    for (world, tos) in [(&fixed, 0xb8), (&inherit, 0)] {
        let decision = from_access(world, &lldp_frame(unicast(PLAIN, PEER_V4)));
        assert_eq!(encap(&decision).fields.tos, tos);
    }
}

#[test]
fn ecn_bits_of_a_configured_tos_do_not_reach_the_wire() {
    let world = world_with(|segment| segment.tos = 0xbb);
    assert_eq!(encapsulated(&world, PEER_V4, &inner_v4()).fields.tos, 0xb8);
}

#[test]
fn df_is_set_unset_or_that_of_the_inner_packet() {
    let set = World::default();
    let unset = world_with(|segment| segment.set(Segment::DF_SET, false));
    let inherit = world_with(|segment| {
        segment.flags = segment.flags.without(Segment::DF_SET) | Segment::DF_INHERIT;
    });
    for inner_df in [false, true] {
        let mut ip = inner_v4();
        ip.dont_fragment = inner_df;
        let df = |world| encapsulated(world, PEER_V4, &ip).fields.dont_fragment;
        assert!(df(&set));
        assert!(!df(&unset));
        assert_eq!(df(&inherit), inner_df);
    }
    assert!(
        encapsulated(&inherit, PEER_V4, &inner_v6())
            .fields
            .dont_fragment
    );
    let decision = from_access(&inherit, &lldp_frame(unicast(PLAIN, PEER_V4)));
    assert!(!encap(&decision).fields.dont_fragment);
}

#[test]
fn a_packet_that_may_be_fragmented_has_an_identification() {
    let world = world_with(|segment| segment.set(Segment::DF_SET, false));
    let mut ip = inner_v4();
    ip.id = 0x4321;
    assert_eq!(encapsulated(&world, PEER_V4, &ip).fields.id, 0x4321);
    let fields = encapsulated(&world, PEER_V4, &inner_v6()).fields;
    assert_eq!(fields.id, fields.source_port);
    assert_ne!(fields.id, 0);
}

#[test]
fn the_source_port_is_stable_for_a_flow_and_differs_between_flows() {
    let world = World::default();
    for template in [inner_v4(), inner_v6()] {
        let mut ports = HashSet::new();
        for port in 1..=100 {
            let port_of = |payload: &[u8], ttl| {
                let mut ip = template.clone();
                ip.ttl = ttl;
                let packet = ip.udp((port, 53), Checksum::Complete, payload);
                let destination = unicast(PLAIN, PEER_V4);
                let frame = build::ethernet(destination, elsewhere(), &[], ip.ethertype(), &packet);
                encap(&from_access(&world, &frame)).fields.source_port
            };
            let first = port_of(&[1; 10], 64);
            assert_eq!(port_of(&[2; 900], 3), first, "one flow, one port");
            ports.insert(first);
        }
        assert!(ports.len() > 90, "{} of 100", ports.len());
    }
}

#[test]
fn flows_that_differ_in_one_byte_of_an_address_take_different_ports() {
    let world = World::default();
    let port = |from: &[u8], to: &[u8]| {
        let address = |bytes: &[u8]| -> IpAddr {
            match <[u8; 4]>::try_from(bytes) {
                Ok(four) => four.into(),
                Err(_) => <[u8; 16]>::try_from(bytes).unwrap().into(),
            }
        };
        let ip = Ip::new(address(from), address(to));
        encapsulated(&world, PEER_V4, &ip).fields.source_port
    };
    for len in [4, 16] {
        let (from, to) = (vec![10; len], vec![20; len]);
        let mut ports = HashSet::from([port(&from, &to)]);
        for at in 0..len {
            for other in [11, 99] {
                let (mut from_other, mut to_other) = (from.clone(), to.clone());
                from_other[at] = other;
                to_other[at] = other;
                ports.insert(port(&from_other, &to));
                ports.insert(port(&from, &to_other));
            }
        }
        assert_eq!(ports.len(), 1 + len * 4, "one port each");
    }
}

#[test]
fn the_source_port_is_the_same_however_the_frame_is_tagged() {
    let world = World::default();
    let frame = udp_frame(unicast(TRUNK, PEER_V4));
    let port = |meta: &Meta, frame: &[u8]| {
        let decision = at_port_with(&world, meta, frame);
        encap(&decision).fields.source_port
    };
    let meta = Meta {
        ifindex: world.interfaces.trunk,
        ..Meta::default()
    };
    let in_skb = |vid| Meta {
        tag: Some(q(vid)),
        ..meta
    };
    let plain = port(&meta, &frame);
    for vid in [20, 99] {
        assert_eq!(port(&meta, &tagged(&frame, q(vid))), plain);
        assert_eq!(port(&in_skb(vid), &frame), plain);
    }
}

#[test]
fn the_source_port_stays_within_the_range_of_the_vni() {
    let world = world_with(|segment| {
        segment.source_port_min = 1000;
        segment.source_port_max = 1002;
    });
    let ports: HashSet<u16> = (0..100)
        .map(|last| {
            let mut ip = inner_v4();
            ip.destination = IpAddr::from([10, 0, 0, last]);
            encapsulated(&world, PEER_V4, &ip).fields.source_port
        })
        .collect();
    assert_eq!(ports, HashSet::from([1000, 1001, 1002]));
}

#[test]
fn all_fragments_of_a_packet_take_one_source_port() {
    let world = World::default();
    for template in [inner_v4(), inner_v6()] {
        let port = |fragment, payload: &[u8]| {
            let mut ip = template.clone();
            ip.fragment = Some(fragment);
            let packet = ip.packet(17, payload);
            let frame = build::ethernet(
                unicast(PLAIN, PEER_V4),
                elsewhere(),
                &[],
                ip.ethertype(),
                &packet,
            );
            encap(&from_access(&world, &frame)).fields.source_port
        };
        let first = port(
            Fragment {
                offset: 0,
                more: true,
            },
            &[1; 64],
        );
        let middle = port(
            Fragment {
                offset: 8,
                more: true,
            },
            &[2; 64],
        );
        let last = port(
            Fragment {
                offset: 16,
                more: false,
            },
            &[3; 9],
        );
        assert_eq!([middle, last], [first, first]);
    }
}

#[test]
fn what_is_not_ip_is_spread_by_its_addresses() {
    let world = World::default();
    let ports: HashSet<u16> = (0..100)
        .map(|n: u32| {
            let source = unicast(9_u32, n);
            let destination = unicast(PLAIN, PEER_V4);
            let frame = build::ethernet(destination, source, &[], build::TYPE_ARP, &[1; 46]);
            let encap = encap(&from_access(&world, &frame));
            assert!(!encap.inner_ip);
            encap.fields.source_port
        })
        .collect();
    assert!(ports.len() > 90, "{} of 100", ports.len());
}

#[test]
fn a_frame_without_payload_is_carried() {
    let world = World::default();
    let frame = build::ethernet(unicast(PLAIN, PEER_V4), elsewhere(), &[], 0x88cc, &[]);
    assert_eq!(encap(&from_access(&world, &frame)).fields.inner_len, 14);
}

#[test]
fn a_frame_that_ends_within_its_header_or_tag_is_truncated() {
    let world = World::default();
    let frame = udp_frame(unicast(PLAIN, PEER_V4));
    for len in 0..14 {
        assert_eq!(left(&from_access(&world, &frame[..len])), Reason::Truncated);
    }
    for tag in [q(10), S_TAG] {
        let frame = tagged(&frame, tag);
        for len in 14..18 {
            let decision = at_port(&world, world.interfaces.trunk, &frame[..len]);
            assert_eq!(left(&decision), Reason::Truncated, "{len} bytes");
        }
    }
}

#[test]
fn a_frame_that_ends_within_its_second_tag_is_truncated() {
    let world = World::default();
    let inner = tagged(&udp_frame(unicast(TRUNK, PORT_CARRIER)), q(5));
    for vid in [20, 99] {
        let in_band = (tagged(&inner, q(vid)), None, 22);
        let in_skb = (inner.clone(), Some(q(vid)), 18);
        for (frame, tag, whole) in [in_band, in_skb] {
            let meta = Meta {
                ifindex: world.interfaces.trunk,
                tag,
                ..Meta::default()
            };
            for len in whole - 4..whole {
                let decision = at_port_with(&world, &meta, &frame[..len]);
                assert_eq!(left(&decision), Reason::Truncated, "{len} bytes");
            }
            deliver(&at_port_with(&world, &meta, &frame[..whole]));
        }
    }
}

#[test]
fn a_source_that_is_not_unicast_is_dropped() {
    let world = World::default();
    let mut frame = udp_frame(unicast(PLAIN, PEER_V4));
    for source in [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
        frame[6..12].copy_from_slice(&source);
        let decision = from_access(&world, &frame);
        assert_eq!(left(&decision), Reason::InvalidSourceMac);
    }
}

#[test]
fn a_mapped_vlan_is_stripped_and_names_the_vni() {
    let world = World::default();
    let trunk = world.interfaces.trunk;
    for (vid, number, vni, slot) in [
        (10, PLAIN, 100, PORT_VLAN_10),
        (20, TRUNK, 200, PORT_VLAN_20),
    ] {
        let inner = udp_frame(unicast(number, PEER_V4));
        // Priority and drop eligibility are no part of the VLAN.
        let tag = q(0xf000 | vid);
        let in_band = (tagged(&inner, tag), None, TagEdit::StripInBand);
        let in_skb = (inner.clone(), Some(tag), TagEdit::StripSkb);
        for (frame, tag, edit) in [in_band, in_skb] {
            let meta = Meta {
                ifindex: trunk,
                tag,
                ..Meta::default()
            };
            let decision = at_port_with(&world, &meta, &frame);
            let got = encap(&decision);
            assert_eq!(decision.from_port, slot);
            assert_eq!((got.fields.vni.get(), got.tag), (vni, edit));
            assert!(got.inner_ip);
            assert_eq!(got.fields.inner_len as usize, inner.len());
            let sent = apply_port(&frame, &meta, PortStage::Tc, &decision, &world.tables);
            assert_eq!(&sent.frame[50..], inner);
        }
    }
}

#[test]
fn an_unmapped_vlan_is_carried_where_the_untagged_mapping_passes_tags() {
    let world = World::default();
    let inner = udp_frame(unicast(TRUNK, PEER_V4));
    for tag in [q(99), S_TAG] {
        let in_band = (tagged(&inner, tag), None, TagEdit::Leave, false);
        let in_skb = (inner.clone(), Some(tag), TagEdit::Carry, true);
        for (frame, in_skb, edit, inner_ip) in [in_band, in_skb] {
            let meta = Meta {
                ifindex: world.interfaces.trunk,
                tag: in_skb,
                ..Meta::default()
            };
            let decision = at_port_with(&world, &meta, &frame);
            let got = encap(&decision);
            assert_eq!(decision.from_port, PORT_NATIVE);
            assert_eq!((got.tag, got.inner_ip), (edit, inner_ip));
            assert_eq!(got.fields.inner_len as usize, inner.len() + vlan::LEN);
            let sent = apply_port(&frame, &meta, PortStage::Tc, &decision, &world.tables);
            assert_eq!(&sent.frame[50..], tagged(&inner, tag));
        }
    }
}

#[test]
fn an_unmapped_vlan_is_dropped_where_nothing_passes_tags() {
    let world = World::default();
    let inner = udp_frame(unicast(PLAIN, PEER_V4));
    for (ifindex, tag) in [
        (world.interfaces.access, q(7)),
        (world.interfaces.access, S_TAG),
        (world.interfaces.lone, q(31)),
        // Not the VLAN 10 of the mapping: that is a customer tag.
        (world.interfaces.lone, S_TAG),
        (world.interfaces.uplink, q(7)),
    ] {
        let decision = at_port(&world, ifindex, &tagged(&inner, tag));
        assert_eq!(left(&decision), Reason::VlanUnmapped);
        let meta = Meta {
            ifindex,
            tag: Some(tag),
            ..Meta::default()
        };
        let decision = at_port_with(&world, &meta, &inner);
        assert_eq!(left(&decision), Reason::VlanUnmapped);
    }
}

#[test]
fn untagged_frames_need_a_port() {
    let world = World::default();
    let frame = udp_frame(unicast(PLAIN, PEER_V4));
    for ifindex in [world.interfaces.lone, world.interfaces.uplink, 0, 9999] {
        let decision = at_port(&world, ifindex, &frame);
        assert_eq!(left(&decision), Reason::NotAPort);
        assert_eq!(decision.from_port, PortSlot::NONE);
    }
}

#[test]
fn a_priority_tag_counts_as_no_vlan_and_is_stripped() {
    let world = World::default();
    let inner = udp_frame(unicast(PLAIN, PEER_V4));
    let tag = q(0xe000);
    let decision = from_access(&world, &tagged(&inner, tag));
    assert_eq!(encap(&decision).tag, TagEdit::StripInBand);
    assert_eq!(decision.from_port, PORT_ACCESS);
    let meta = Meta {
        ifindex: world.interfaces.access,
        tag: Some(tag),
        ..Meta::default()
    };
    let decision = at_port_with(&world, &meta, &inner);
    assert_eq!(encap(&decision).tag, TagEdit::StripSkb);
}

#[test]
fn a_second_tag_is_dropped_unless_the_vni_passes_tags() {
    let world = World::default();
    for (vid, number, passes) in [(10, PLAIN, false), (20, TRUNK, true)] {
        let inner = tagged(&udp_frame(unicast(number, PEER_V4)), q(5));
        let in_band = (tagged(&inner, q(vid)), None);
        let in_skb = (inner.clone(), Some(q(vid)));
        for (frame, tag) in [in_band, in_skb] {
            let meta = Meta {
                ifindex: world.interfaces.trunk,
                tag,
                ..Meta::default()
            };
            let decision = at_port_with(&world, &meta, &frame);
            if passes {
                // The kernel puts the second tag into the skb; its device puts it back.
                let via = via_kernel(&decision);
                assert_eq!(via.reason, Reason::EncapsulatedByKernel);
                let outcome = apply_port(&frame, &meta, PortStage::Tc, &decision, &world.tables);
                assert_eq!(outcome.skb_tag, Some(q(5)));
                assert_eq!(tagged(&outcome.frame, q(5)), inner);
            } else {
                assert_eq!(left(&decision), Reason::VlanUnmapped);
            }
        }
    }
}

#[test]
fn two_tags_that_are_carried_stay_as_they_are() {
    let world = World::default();
    let frame = tagged(&tagged(&udp_frame(unicast(TRUNK, PEER_V4)), q(5)), S_TAG);
    let decision = at_port(&world, world.interfaces.trunk, &frame);
    assert_eq!(encap(&decision).tag, TagEdit::Leave);
    assert!(!encap(&decision).inner_ip);
    let meta = Meta::default();
    let sent = apply_port(&frame, &meta, PortStage::Tc, &decision, &world.tables);
    assert_eq!(&sent.frame[50..], frame);
}

#[test]
fn a_mac_at_another_port_gets_the_frame() {
    let world = World::default();
    let frame = udp_frame(unicast(PLAIN, PORT_NARROW));
    let decision = from_access(&world, &frame);
    let to = deliver(&decision);
    assert_eq!((to.slot, to.vlan, to.strip), (PORT_NARROW, 0, 0));
    assert_eq!(to.ifindex, world.interfaces.narrow);
    assert!(to.to_other_end);

    let decision = from_access(&world, &udp_frame(beyond_narrow()));
    let to = deliver(&decision);
    assert_eq!(to.slot, PORT_NARROW);
    assert!(
        !to.to_other_end,
        "there it would be taken for the end's own"
    );

    let frame = udp_frame(unicast(PLAIN, PORT_VLAN_10));
    let decision = from_access(&world, &frame);
    assert!(!deliver(&decision).to_other_end, "it lies here");
    let outcome = apply_port(
        &frame,
        &Meta::default(),
        PortStage::Tc,
        &decision,
        &world.tables,
    );
    assert_eq!(outcome.skb_tag, Some(q(10)));
}

#[test]
fn a_frame_moves_between_two_vlans_of_one_trunk() {
    let mut world = World::default();
    world
        .tables
        .add_fdb(TRUNK, unicast(1_u32, 1_u32), FdbTarget::Port(PORT_NATIVE));
    let frame = tagged(&udp_frame(unicast(1_u32, 1_u32)), q(20));
    let decision = at_port(&world, world.interfaces.trunk, &frame);
    let to = deliver(&decision);
    assert_eq!((to.slot, to.tag), (PORT_NATIVE, TagEdit::StripInBand));
    assert_eq!(to.ifindex, world.interfaces.trunk);
    assert!(!to.to_other_end, "back by the way it came");
}

#[test]
fn a_carried_tag_is_delivered_with_the_frame() {
    let world = World::default();
    let inner = udp_frame(unicast(TRUNK, PORT_CARRIER));
    let meta = Meta {
        ifindex: world.interfaces.trunk,
        tag: Some(q(99)),
        ..Meta::default()
    };
    let decision = at_port_with(&world, &meta, &inner);
    assert_eq!(deliver(&decision).tag, TagEdit::Carry);
    let outcome = apply_port(&inner, &meta, PortStage::Tc, &decision, &world.tables);
    assert_eq!(outcome.skb_tag, Some(q(99)));

    // Into a VLAN: the port's tag goes outside.
    let inner = udp_frame(unicast(TRUNK, PORT_VLAN_20));
    let meta = Meta {
        ifindex: world.interfaces.carrier,
        ..meta
    };
    let decision = at_port_with(&world, &meta, &inner);
    let outcome = apply_port(&inner, &meta, PortStage::Tc, &decision, &world.tables);
    assert_eq!(outcome.frame, tagged(&inner, q(99)));
    assert_eq!(outcome.skb_tag, Some(q(20)));
}

#[test]
fn a_frame_never_goes_back_to_the_port_it_came_from() {
    let world = World::default();
    let decision = from_access(&world, &udp_frame(unicast(PLAIN, PORT_ACCESS)));
    assert_eq!(left(&decision), Reason::SamePort);
    let frame = tagged(&udp_frame(unicast(PLAIN, PORT_VLAN_10)), q(10));
    let decision = at_port(&world, world.interfaces.trunk, &frame);
    assert_eq!(left(&decision), Reason::SamePort);
}

#[test]
fn isolated_ports_exchange_no_frames() {
    let world = World::default();
    let tag = q(10);
    let to_isolated = tagged(&udp_frame(unicast(PLAIN, PORT_NARROW)), tag);
    let decision = at_port(&world, world.interfaces.trunk, &to_isolated);
    assert_eq!(left(&decision), Reason::Isolated);
    // With the others of the VNI they do, and with VTEPs.
    let to_other = tagged(&udp_frame(unicast(PLAIN, PORT_ACCESS)), tag);
    let decision = at_port(&world, world.interfaces.trunk, &to_other);
    assert_eq!(deliver(&decision).slot, PORT_ACCESS);
    let decision = from_access(&world, &udp_frame(unicast(PLAIN, PORT_NARROW)));
    assert_eq!(deliver(&decision).slot, PORT_NARROW);
    let to_vtep = tagged(&udp_frame(unicast(PLAIN, PEER_V4)), tag);
    encap(&at_port(&world, world.interfaces.trunk, &to_vtep));
}

#[test]
fn a_frame_too_large_for_its_port_is_dropped_but_not_a_gso_packet() {
    let world = World::default();
    for (payload, fits) in [(604, true), (605, false)] {
        let destination = unicast(PLAIN, PORT_NARROW);
        let frame = build::ethernet(destination, elsewhere(), &[], 0x88cc, &vec![1; payload]);
        let decision = from_access(&world, &frame);
        if fits {
            deliver(&decision);
        } else {
            assert_eq!(left(&decision), Reason::TooBig);
        }
        let gso = Meta {
            ifindex: world.interfaces.access,
            gso_size: 500,
            ..Meta::default()
        };
        deliver(&at_port_with(&world, &gso, &frame));
    }
}

#[test]
fn groups_and_unknown_unicast_are_flooded_from_their_port() {
    let world = world_with(|segment| {
        segment.tos = 0xb8;
        segment.ttl = 9;
    });
    for destination in [
        MacAddr::BROADCAST,
        group(77_u32),
        unicast(PLAIN, 999_u32),
        MacAddr::ZERO,
    ] {
        let decision = from_access(&world, &udp_frame(destination));
        let to = flood(&decision);
        assert_eq!((to.list, to.from), (PLAIN.into(), PORT_ACCESS));
        let outer = to.encap.fields;
        assert_eq!((outer.vni.get(), outer.ttl, outer.tos), (100, 9, 0xb8));
        assert!(outer.dont_fragment);
        assert!(outer.source_port >= 49_152);
    }
}

#[test]
fn a_group_with_a_list_of_its_own_is_flooded_to_that() {
    let decision = from_access(&World::default(), &udp_frame(group(PLAIN)));
    assert_eq!(flood(&decision).list, ListId::new(100 + PLAIN.get()));
}

#[test]
fn a_flood_without_targets_is_dropped() {
    let world = World::default();
    let frame = tagged(&udp_frame(MacAddr::BROADCAST), q(30));
    let decision = at_port(&world, world.interfaces.lone, &frame);
    assert_eq!(left(&decision), Reason::NowhereToFlood);

    // The port that the frame came from is no target.
    let mut world = World::default();
    world.tables.add_flood(PLAIN.into(), &[PORT_ACCESS], &[]);
    let decision = from_access(&world, &udp_frame(MacAddr::BROADCAST));
    assert_eq!(left(&decision), Reason::NowhereToFlood);
    world
        .tables
        .add_flood(PLAIN.into(), &[PORT_ACCESS], &[PEER_V4]);
    flood(&from_access(&world, &udp_frame(MacAddr::BROADCAST)));
}

#[test]
fn a_vni_that_does_not_flood_says_why() {
    let world = World::default();
    let quiet = world.interfaces.quiet;
    let unknown = at_port(&world, quiet, &udp_frame(unicast(QUIET, 999_u32)));
    assert_eq!(left(&unknown), Reason::NoFdbEntry);
    let broadcast = at_port(&world, quiet, &udp_frame(MacAddr::BROADCAST));
    assert_eq!(left(&broadcast), Reason::FloodOff);
    let with_list = at_port(&world, quiet, &udp_frame(group(QUIET)));
    assert_eq!(left(&with_list), Reason::FloodOff);
}

#[test]
fn an_unresolved_peer_is_reached_through_the_slow_path_device() {
    let world = World::default();
    for (peer, checksum) in [(PEER_V4_UNRESOLVED, false), (PEER_V6_UNRESOLVED, true)] {
        let decision = from_access(&world, &udp_frame(unicast(PLAIN, peer)));
        let via = via_kernel(&decision);
        assert_eq!(via.reason, Reason::EncapsulatedUnresolved);
        assert_eq!((via.peer, via.vni, via.ttl), (peer, 100, 64));
        assert_eq!(via.remote, world.tables.peers[&peer].addr);
        assert_eq!(via.local, world.tables.peers[&peer].local);
        assert_eq!((via.dont_fragment, via.checksum), (true, checksum));
        assert!(via.source_port >= 49_152);
    }
}

#[test]
fn a_peer_without_a_route_is_a_drop_of_its_own() {
    let world = World::default();
    let frame = udp_frame(unicast(PLAIN, PEER_UNREACHABLE));
    assert_eq!(left(&from_access(&world, &frame)), Reason::NoRoute);
    let xdp = at_port_xdp(&world, world.interfaces.access, &frame);
    assert_eq!(left(&xdp), Reason::NoRoute);
}

#[test]
fn entries_that_lead_nowhere_are_our_fault() {
    let world = World::default();
    for target in [GONE_PEER.get(), GONE_PORT.get()] {
        let decision = from_access(&world, &udp_frame(unicast(PLAIN, target)));
        assert_eq!(left(&decision), Reason::TableGap);
    }
}

#[test]
fn an_entry_that_leads_to_a_port_of_another_vni_is_our_fault() {
    let (world, mac) = astray();
    let frame = udp_frame(mac);
    assert_eq!(left(&from_access(&world, &frame)), Reason::TableGap);
    let at_xdp = at_port_xdp(&world, world.interfaces.access, &frame);
    assert_eq!(left(&at_xdp), Reason::TableGap);
}

#[test]
fn the_packet_that_encapsulation_makes_must_fit_the_path() {
    let world = World::default();
    // 1500 less IP, UDP, VXLAN and the inner Ethernet header.
    for (peer, room) in [(PEER_V4, 1450), (PEER_V6_ZERO, 1430)] {
        for (payload, fits) in [(room, true), (room + 1, false)] {
            let destination = unicast(PLAIN, peer);
            let frame = build::ethernet(destination, elsewhere(), &[], 0x88cc, &vec![1; payload]);
            let decision = from_access(&world, &frame);
            if fits {
                encap(&decision);
            } else {
                assert_eq!(left(&decision), Reason::TooBig);
            }
        }
    }
}

#[test]
fn a_tag_that_is_stripped_takes_no_room_and_one_that_is_carried_does() {
    let world = World::default();
    let trunk = world.interfaces.trunk;
    for (vid, room) in [(20, 1450), (99, 1446)] {
        for (payload, fits) in [(room, true), (room + 1, false)] {
            let destination = unicast(TRUNK, PEER_V4);
            let inner = build::ethernet(destination, elsewhere(), &[], 0x88cc, &vec![1; payload]);
            let in_band = at_port(&world, trunk, &tagged(&inner, q(vid)));
            let meta = Meta {
                ifindex: trunk,
                tag: Some(q(vid)),
                ..Meta::default()
            };
            let in_skb = at_port_with(&world, &meta, &inner);
            for decision in [in_band, in_skb] {
                if fits {
                    encap(&decision);
                } else {
                    assert_eq!(left(&decision), Reason::TooBig, "VLAN {vid}");
                }
            }
        }
    }
}

/// A GSO packet of TCP over `ip`, with segments of `gso_size` bytes, at the trunk; `vid` as skb or in-band tag.
fn gso_packet(ip: &Ip, gso_size: u32, vid: Option<u16>, in_band: bool) -> Decision {
    let world = World::default();
    let mut frame = pending_frame(unicast(TRUNK, PEER_V4), ip, 8000);
    let mut tag = vid.map(q);
    if in_band {
        frame = tagged(&frame, tag.take().unwrap());
    }
    let meta = Meta {
        ifindex: world.interfaces.trunk,
        tag,
        gso_size,
    };
    at_port_with(&world, &meta, &frame)
}

#[test]
fn each_segment_of_a_gso_packet_must_fit_the_path() {
    // 1450 less IP and TCP headers.
    for (ip, room, why) in [
        (inner_v4(), 1410, Reason::TooBig),
        (inner_v6(), 1390, Reason::TooBigAnswered),
    ] {
        let fits = encap(&gso_packet(&ip, room, None, false));
        assert!(fits.fields.inner_len > 8000, "it leaves as one");
        let too_big = gso_packet(&ip, room + 1, None, false);
        assert_eq!(too_big.verdict.reason(false), why);
    }
}

#[test]
fn the_tag_of_a_gso_packet_takes_room_in_each_segment_if_it_is_carried() {
    for in_band in [false, true] {
        let room = |vid, gso_size| {
            let decision = gso_packet(&inner_v4(), gso_size, Some(vid), in_band);
            decision.verdict.reason(false)
        };
        assert_eq!(room(20, 1410), Reason::Encapsulated, "stripped {in_band}");
        assert_eq!(room(20, 1411), Reason::TooBig, "stripped {in_band}");
        assert_eq!(room(99, 1406), Reason::Encapsulated, "carried {in_band}");
        assert_eq!(room(99, 1407), Reason::TooBig, "carried {in_band}");
    }
}

#[test]
fn udp_gso_packets_are_measured_by_their_own_headers() {
    let world = World::default();
    let packet = inner_v4().udp((1, 2), Checksum::Pending, &[1; 6000]);
    let destination = unicast(PLAIN, PEER_V4);
    let frame = build::ethernet(destination, elsewhere(), &[], 0x0800, &packet);
    for (gso_size, fits) in [(1422, true), (1423, false)] {
        let meta = Meta {
            ifindex: world.interfaces.access,
            tag: None,
            gso_size,
        };
        let decision = at_port_with(&world, &meta, &frame);
        if fits {
            encap(&decision);
        } else {
            assert_eq!(left(&decision), Reason::TooBig);
        }
    }
}

#[test]
fn a_checksum_over_ipv6_is_made_here_only_where_the_inner_one_is_pending() {
    let world = World::default();
    for ip in [inner_v4(), inner_v6()] {
        let destination = unicast(PLAIN, PEER_V6);
        let pending = from_access(&world, &pending_frame(destination, &ip, 100));
        assert!(encap(&pending).fields.inner_sum.is_some());
        for checksum in [Checksum::Complete, Checksum::Zero, Checksum::Wrong] {
            let packet = ip.udp((1, 2), checksum, &[1; 99]);
            let frame = build::ethernet(destination, elsewhere(), &[], ip.ethertype(), &packet);
            let via = via_kernel(&from_access(&world, &frame));
            assert_eq!(via.reason, Reason::EncapsulatedByKernel);
            assert!(via.checksum);
        }
    }
}

#[test]
fn what_offload_cannot_know_gets_its_checksum_from_the_slow_path_device() {
    let world = World::default();
    let destination = unicast(PLAIN, PEER_V6);
    let pending = |ip: &Ip| pending_frame(destination, ip, 100);
    let mut options = inner_v4();
    options.options = 4;
    let mut fragment = inner_v4();
    fragment.fragment = Some(Fragment {
        offset: 0,
        more: true,
    });
    let mut extension = inner_v6();
    extension.extension = Some(0);
    let padded = [pending(&inner_v4()), vec![0; 2]].concat();
    for frame in [
        lldp_frame(destination),
        pending(&options),
        pending(&fragment),
        pending(&extension),
        padded,
    ] {
        let via = via_kernel(&from_access(&world, &frame));
        assert_eq!(via.reason, Reason::EncapsulatedByKernel);
    }
}

#[test]
fn gso_packets_over_ipv6_with_checksum_go_through_the_slow_path_device() {
    let world = World::default();
    let frame = pending_frame(unicast(PLAIN, PEER_V6), &inner_v4(), 8000);
    let meta = Meta {
        ifindex: world.interfaces.access,
        tag: None,
        gso_size: 1300,
    };
    let via = via_kernel(&at_port_with(&world, &meta, &frame));
    assert_eq!(via.reason, Reason::EncapsulatedByKernel);
}

#[test]
fn a_peer_that_takes_zero_over_ipv6_gets_zero() {
    let world = World::default();
    for checksum in [Checksum::Complete, Checksum::Pending] {
        let packet = inner_v4().udp((1, 2), checksum, &[1; 99]);
        let destination = unicast(PLAIN, PEER_V6_ZERO);
        let frame = build::ethernet(destination, elsewhere(), &[], 0x0800, &packet);
        let decision = from_access(&world, &frame);
        assert_eq!(encap(&decision).fields.inner_sum, None);
        let meta = Meta::default();
        let sent = apply_port(&frame, &meta, PortStage::Tc, &decision, &world.tables);
        assert_eq!(sent.frame[60..62], [0, 0]);
    }
}

#[test]
fn what_does_not_fit_a_16_bit_length_goes_through_the_slow_path_device() {
    let mut world = World::default();
    let jumbo = world.tables.peers[&PEER_JUMBO];
    world.tables.peers.insert(PEER_V6_ZERO, {
        let mut peer = world.tables.peers[&PEER_V6_ZERO];
        peer.mtu = jumbo.mtu;
        peer
    });
    for (peer, longest) in [(PEER_JUMBO, 65_535 - 36), (PEER_V6_ZERO, 65_535 - 56)] {
        for gso_size in [0, 1400] {
            let meta = Meta {
                ifindex: world.interfaces.access,
                tag: None,
                gso_size,
            };
            let frame = pending_frame(unicast(PLAIN, peer), &inner_v4(), 70_000);
            let fits = at_port_with(&world, &meta, &frame[..longest]);
            assert_eq!(encap(&fits).fields.inner_len as usize, longest);
            let via = via_kernel(&at_port_with(&world, &meta, &frame[..=longest]));
            assert_eq!(via.reason, Reason::EncapsulatedByKernel);
        }
    }
}

#[test]
fn xdp_encapsulates_plain_frames_and_leaves_the_rest() {
    let world = World::default();
    let access = world.interfaces.access;
    for peer in [PEER_V4, PEER_V6_ZERO] {
        let frame = udp_frame(unicast(PLAIN, peer));
        let xdp = at_port_xdp(&world, access, &frame);
        assert_eq!(xdp, from_access(&world, &frame));
        encap(&xdp);
    }
    for frame in [
        udp_frame(unicast(PLAIN, PEER_V6)),
        udp_frame(unicast(PLAIN, PEER_V4_UNRESOLVED)),
        pending_frame(unicast(PLAIN, PEER_V4), &inner_v4(), 100),
        ip_frame(unicast(PLAIN, PEER_V4), &inner_v4(), 2000),
        udp_frame(unicast(PLAIN, PORT_NARROW)),
        udp_frame(MacAddr::BROADCAST),
    ] {
        assert_eq!(left(&at_port_xdp(&world, access, &frame)), Reason::LeftToTc);
    }
}

#[test]
fn xdp_leaves_a_peer_whose_interface_it_cannot_redirect_to() {
    let mut world = World::default();
    let frame = udp_frame(unicast(PLAIN, PEER_V4));
    let peer = world.tables.peers.get_mut(&PEER_V4).unwrap();
    peer.set(Peer::XDP_TARGET, false);
    let xdp = at_port_xdp(&world, world.interfaces.access, &frame);
    assert_eq!(left(&xdp), Reason::LeftToTc);
    encap(&from_access(&world, &frame));
}

#[test]
fn xdp_leaves_checksums_that_may_be_pending_where_the_headers_hide_it() {
    let world = World::default();
    let with_options = Ip {
        options: 8,
        ..inner_v4()
    };
    let with_extension = Ip {
        extension: Some(60),
        ..Ip::between("fd00::1", "fd00::2")
    };
    let frame = |ip: &Ip, packet: &[u8]| {
        build::ethernet(
            unicast(PLAIN, PEER_V4),
            elsewhere(),
            &[],
            ip.ethertype(),
            packet,
        )
    };
    for (ip, checksum, left_to_tc) in [
        (&with_options, Checksum::Pending, true),
        (&with_options, Checksum::Complete, false),
        (&with_extension, Checksum::Pending, true),
        (&with_extension, Checksum::Complete, true),
    ] {
        let frame = frame(ip, &ip.tcp((1, 2), checksum, &[7; 100]));
        let xdp = at_port_xdp(&world, world.interfaces.access, &frame);
        if left_to_tc {
            assert_eq!(left(&xdp), Reason::LeftToTc);
        } else {
            encap(&xdp);
        }
        encap(&from_access(&world, &frame));
    }
    let sctp = frame(&inner_v4(), &inner_v4().packet(132, &[7; 100]));
    let xdp = at_port_xdp(&world, world.interfaces.access, &sctp);
    assert_eq!(left(&xdp), Reason::LeftToTc);
    // Padding behind a packet whose checksum is there is no reason.
    for checksum in [Checksum::Pending, Checksum::Complete] {
        let packet = inner_v4().tcp((1, 2), checksum, &[]);
        let padded = frame(&inner_v4(), &[packet, vec![0; 6]].concat());
        let xdp = at_port_xdp(&world, world.interfaces.access, &padded);
        match checksum {
            Checksum::Pending => assert_eq!(left(&xdp), Reason::LeftToTc),
            _ => drop(encap(&xdp)),
        }
    }
}

#[test]
fn xdp_strips_a_mapped_tag() {
    let world = World::default();
    let inner = udp_frame(unicast(PLAIN, PEER_V4));
    let frame = tagged(&inner, q(10));
    let decision = at_port_xdp(&world, world.interfaces.trunk, &frame);
    let meta = Meta::default();
    let sent = apply_port(&frame, &meta, PortStage::Xdp, &decision, &world.tables);
    assert_eq!(&sent.frame[50..], inner);
}

/// A frame of TCP or UDP whose checksum is pending, with or without an skb tag or an in-band one.
fn any_pending() -> impl Strategy<Value = (Vec<u8>, Option<Tag>)> {
    let payload = proptest::collection::vec(any::<u8>(), 0..1300);
    (
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        any::<(bool, bool, u16, u16)>(),
        any::<(u8, u8, u16)>(),
        payload,
        (0..4_u8, prop_oneof![Just(20_u16), 0..0x1000_u16]),
    )
        .prop_map(|(from, to, flags, header, payload, (tagging, tci))| {
            let (v6, is_tcp, source_port, destination_port) = flags;
            let address = |bytes: [u8; 16]| -> IpAddr {
                match bytes.first_chunk::<4>() {
                    Some(four) if !v6 => (*four).into(),
                    _ => bytes.into(),
                }
            };
            let mut ip = Ip::new(address(from), address(to));
            (ip.tos, ip.ttl, ip.id) = header;
            let ports = (source_port, destination_port);
            let packet = if is_tcp {
                ip.tcp(ports, Checksum::Pending, &payload)
            } else {
                ip.udp(ports, Checksum::Pending, &payload)
            };
            let destination = unicast(TRUNK, PEER_V6);
            let frame = build::ethernet(destination, elsewhere(), &[], ip.ethertype(), &packet);
            let tag = q(tci);
            match tagging {
                0 => (tagged(&frame, tag), None),
                1 => (frame, Some(tag)),
                _ => (frame, None),
            }
        })
}

proptest! {
    #[test]
    fn the_checksum_over_ipv6_is_right_once_the_inner_one_is_filled_in((frame, tag) in any_pending()) {
        let world = check::world();
        let meta = Meta { ifindex: world.interfaces.trunk, tag, gso_size: 0 };
        // A tag with the VLAN of another segment leads elsewhere, and one with the ID that no VLAN has leads nowhere.
        let skb = tag.map(Tag::vid);
        let in_band = (frame[12..14] == [0x81, 0x00])
            .then(|| u16::from_be_bytes([frame[14], frame[15]]) & 0xfff);
        prop_assume!([10, 40, 0xfff].map(Some).iter().all(|vid| skb != *vid && in_band != *vid));
        let decision = at_port_with(world, &meta, &frame);
        prop_assert!(encap(&decision).fields.inner_sum.is_some());
        // Sums up the whole packet, among much else.
        check::port(world, &frame, &meta);
    }

    #[test]
    fn nothing_that_a_port_sends_breaks_what_must_hold(
        frame in proptest::collection::vec(any::<u8>(), 0..300),
        at in 0..7_usize,
        gso_size in prop_oneof![Just(0_u32), any::<u32>()],
        tci in proptest::option::of(any::<u16>()),
    ) {
        let world = check::world();
        let all = world.interfaces;
        let ports = [all.access, all.narrow, all.trunk, all.carrier, all.quiet, all.lone, all.uplink];
        let meta = Meta { ifindex: ports[at], tag: tci.map(q), gso_size };
        check::port(world, &frame, &meta);
    }
}
