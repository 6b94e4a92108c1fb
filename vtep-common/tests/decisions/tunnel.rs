//! Frames that the slow-path device has decapsulated.

use std::net::IpAddr;
use vtep_common::sim::decide_tunnel;
use vtep_common::sim::decision::{Decision, Verdict};

use vtep_common::abi::id::ListId;
use vtep_common::runtime::verdict::FloodPorts;
use vtep_common::{
    abi::{addr::MacAddr, reason::Reason},
    decide::tunnel::TunnelKey,
    frame::{packet::Meta, vlan::ShownVlan},
    sim::Action,
    testkit::apply::apply_tunnel,
    testkit::frames::{
        GONE_PORT, LONE, PEER_V4, PLAIN, PORT_ACCESS, PORT_NARROW, PORT_NATIVE, PORT_VLAN_10,
        QUIET, TRUNK, World, group, unicast,
    },
};

use crate::shared::{OURS_V4, REMOTE_V4, astray, deliver, left, q, tagged, udp_frame};

/// A key with this VNI, from a peer to us.
fn key(vni: u32) -> TunnelKey {
    TunnelKey {
        vni,
        source: addr(REMOTE_V4).into(),
        destination: Some(addr(OURS_V4).into()),
    }
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The verdict to copy a frame without a tag to the ports of a list.
const fn flood_ports(list: ListId, bytes: u32) -> Verdict {
    Verdict::FloodPorts(FloodPorts {
        list,
        segment: PLAIN,
        vlan: ShownVlan::NONE,
        bytes,
    })
}

fn decide(frame: &[u8], key: &TunnelKey) -> Decision {
    decide_tunnel(frame, &Meta::default(), key, &World::default().tables)
}

#[test]
fn a_frame_for_a_local_mac_is_delivered_as_it_is() {
    let frame = udp_frame(unicast(PLAIN, PORT_ACCESS));
    let decision = decide(&frame, &key(100));
    let to = deliver(&decision);
    assert_eq!((to.slot, to.strip), (PORT_ACCESS, 0));
    assert_eq!(decision.from_peer, PEER_V4);
    assert_eq!(decision.inner_len, frame.len());
}

#[test]
fn a_gro_packet_is_delivered_whatever_its_size() {
    let world = World::default();
    let meta = Meta {
        gso_size: 500,
        ..Meta::default()
    };
    let frame = [udp_frame(unicast(PLAIN, PORT_NARROW)), vec![0; 9000]].concat();
    let decision = decide_tunnel(frame.as_slice(), &meta, &key(100), &world.tables);
    assert_eq!(deliver(&decision).slot, PORT_NARROW);
    assert_eq!(left(&decide(&frame, &key(100))), Reason::TooBig);
}

#[test]
fn floods_go_to_local_ports_alone() {
    for destination in [unicast(PLAIN, 999_u32), group(77_u32), MacAddr::BROADCAST] {
        let frame = udp_frame(destination);
        let decision = decide(&frame, &key(100));
        assert_eq!(decision.verdict, flood_ports(PLAIN.into(), 142));
    }
}

#[test]
fn a_group_with_a_list_of_its_own_is_flooded_to_that() {
    let decision = decide(&udp_frame(group(PLAIN)), &key(100));
    assert_eq!(
        decision.verdict,
        flood_ports(ListId::new(100 + PLAIN.get()), 142)
    );
}

#[test]
fn a_flood_without_local_ports_has_nowhere_to_go() {
    let mut world = World::default();
    let frame = udp_frame(group(77_u32));
    let lone = decide_tunnel(
        frame.as_slice(),
        &Meta::default(),
        &key(0x00ff_ffff),
        &world.tables,
    );
    assert_eq!(left(&lone), Reason::NowhereToFlood);
    assert_eq!(lone.segment, LONE);
    // VTEPs alone do not count: a frame from a VTEP never goes to them.
    world.tables.add_flood(PLAIN.into(), &[], &[PEER_V4]);
    let decision = decide_tunnel(frame.as_slice(), &Meta::default(), &key(100), &world.tables);
    assert_eq!(left(&decision), Reason::NowhereToFlood);
}

#[test]
fn a_vni_that_does_not_flood_does_not_flood_here_either() {
    let decision = decide(&udp_frame(group(77_u32)), &key(300));
    assert_eq!(left(&decision), Reason::FloodOff);
    let decision = decide(&udp_frame(unicast(QUIET, 999_u32)), &key(300));
    assert_eq!(left(&decision), Reason::NoFdbEntry);
}

#[test]
fn a_frame_for_a_mac_behind_a_vtep_never_goes_back() {
    let decision = decide(&udp_frame(unicast(PLAIN, PEER_V4)), &key(100));
    assert_eq!(left(&decision), Reason::SplitHorizon);
}

#[test]
fn an_entry_that_leads_to_no_port_or_to_one_of_another_vni_is_our_fault() {
    let (world, mac) = astray();
    for destination in [unicast(PLAIN, GONE_PORT), mac] {
        let frame = udp_frame(destination);
        let decision = decide_tunnel(frame.as_slice(), &Meta::default(), &key(100), &world.tables);
        assert_eq!(left(&decision), Reason::TableGap);
    }
}

#[test]
fn what_was_sent_to_another_address_passes_and_what_we_sent_is_dropped() {
    let frame = udp_frame(unicast(PLAIN, PORT_ACCESS));
    let to_another = TunnelKey {
        destination: Some(addr("192.0.2.77").into()),
        ..key(100)
    };
    assert_eq!(left(&decide(&frame, &to_another)), Reason::WrongDestination);
    let own = TunnelKey {
        source: addr(OURS_V4).into(),
        ..key(100)
    };
    assert_eq!(left(&decide(&frame, &own)), Reason::OwnSource);
    let unknown = TunnelKey {
        destination: None,
        ..key(100)
    };
    deliver(&decide(&frame, &unknown));
}

#[test]
fn an_unknown_vni_is_dropped() {
    for vni in [0, 101, 600] {
        let decision = decide(&udp_frame(unicast(PLAIN, PORT_ACCESS)), &key(vni));
        assert_eq!(left(&decision), Reason::UnknownVni);
    }
}

#[test]
fn a_tag_is_dropped_unless_the_vni_passes_tags_wherever_it_stands() {
    let world = World::default();
    for (vni, destination, passes) in [
        (100, unicast(PLAIN, PORT_ACCESS), false),
        (200, unicast(TRUNK, PORT_NATIVE), true),
    ] {
        let plain = udp_frame(destination);
        let in_band = (tagged(&plain, q(7)), None);
        let in_skb = (plain, Some(q(7)));
        for (frame, tag) in [in_band, in_skb] {
            let meta = Meta {
                tag,
                ..Meta::default()
            };
            let decision = decide_tunnel(frame.as_slice(), &meta, &key(vni), &world.tables);
            if passes {
                assert_eq!(deliver(&decision).slot, PORT_NATIVE);
                let outcome = apply_tunnel(&frame, &meta, &decision);
                assert_eq!((outcome.frame, outcome.skb_tag), (frame, tag));
            } else {
                assert_eq!(left(&decision), Reason::InnerVlan);
            }
        }
    }
}

#[test]
fn a_frame_for_a_trunk_gets_the_vlan_of_its_port() {
    let frame = udp_frame(unicast(PLAIN, PORT_VLAN_10));
    let decision = decide(&frame, &key(100));
    let outcome = apply_tunnel(&frame, &Meta::default(), &decision);
    assert_eq!(outcome.action, Action::Redirect);
    assert_eq!((outcome.frame, outcome.skb_tag), (frame, Some(q(10))));
}

#[test]
fn short_frames_are_dropped_and_small_ones_are_not() {
    let frame = udp_frame(unicast(PLAIN, PORT_ACCESS));
    for len in 0..14 {
        let decision = decide(&frame[..len], &key(100));
        assert_eq!(left(&decision), Reason::InnerTruncated);
    }
    for len in 14..60 {
        deliver(&decide(&frame[..len], &key(100)));
    }
}
