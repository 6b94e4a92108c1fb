//! Frames that would hop into a VLAN, or out of it, by the untagged port of its interface.

use std::net::IpAddr;

use vtep_common::sim::decide_tunnel;
use vtep_common::sim::decision::{Decision, Verdict};
use vtep_common::{
    abi::{
        counter::Direction,
        id::{PortSlot, SegmentId},
        port::PortKey,
        reason::Reason,
    },
    decide::tunnel::TunnelKey,
    frame::{
        packet::{Meta, Tag},
        vlan::ShownVlan,
    },
    sim::HostCounters,
    testkit::frames::{PEER_JUMBO, PORT_CARRIER, PORT_NATIVE, PORT_VLAN_20, TRUNK, World, unicast},
    wire::vlan,
};

use crate::shared::{
    OURS_V4, REMOTE_V4, at_port, at_port_with, at_port_xdp, at_uplink, at_uplink_xdp, deliver,
    encap, flood, left, q, tagged, udp_frame, underlays,
};

/// VLANs of the trunk that have ports of their own.
const MAPPED: [u16; 3] = [10, 20, 40];

/// An 802.1ad tag.
const fn ad(vid: u16) -> Tag {
    Tag {
        tpid: vlan::TYPE_8021AD,
        tci: vid,
    }
}

/// The frame with these tags in its bytes, outermost first.
fn with_tags(frame: &[u8], tags: &[Tag]) -> Vec<u8> {
    let inwards = tags.iter().rev();
    inwards.fold(frame.to_vec(), |frame, tag| tagged(&frame, *tag))
}

/// Tags by which a device sees a frame in one of those VLANs, or perhaps does.
fn hopping() -> Vec<Vec<Tag>> {
    let mut all: Vec<Vec<Tag>> = Vec::new();
    for vid in MAPPED {
        all.push(vec![q(vid)]);
        all.push(vec![q(0xe000 | vid)]);
        all.push(vec![q(vid), q(99)]);
        all.push(vec![q(0), q(vid)]);
        all.push(vec![ad(0), q(vid)]);
        all.push(vec![q(0x2000), q(0), q(vid)]);
    }
    all
}

/// Tags by which none sees it there.
fn staying() -> Vec<Vec<Tag>> {
    vec![
        vec![],
        vec![q(99)],
        vec![ad(99)],
        vec![q(0x6000)],
        vec![q(99), q(10)],
        vec![ad(99), q(20)],
        // Another VLAN, whose number happens to be the same.
        vec![ad(10)],
        vec![ad(20), q(20)],
    ]
}

/// What the three hooks of frames from VTEPs make of an inner frame.
fn from_vtep(world: &World, inner: &[u8]) -> [Decision; 3] {
    let [underlay, _] = underlays(200);
    let addr = |text: &str| text.parse::<IpAddr>().unwrap().into();
    let key = TunnelKey {
        vni: 200,
        source: addr(REMOTE_V4),
        destination: Some(addr(OURS_V4)),
    };
    let outer = underlay.frame(inner);
    [
        at_uplink_xdp(world, &outer),
        at_uplink(world, &outer),
        decide_tunnel(inner, &Meta::default(), &key, &world.tables),
    ]
}

#[test]
fn a_frame_from_a_vtep_does_not_hop_into_another_vlan_of_its_port() {
    let world = World::default();
    let frame = udp_frame(unicast(TRUNK, PORT_NATIVE));
    for tags in hopping() {
        let [xdp, tc, tunnel] = from_vtep(&world, &with_tags(&frame, &tags));
        // XDP sees that there is a tag, and no more.
        assert_eq!(left(&xdp), Reason::LeftToTc, "{tags:?}");
        assert_eq!(left(&tc), Reason::VlanHop, "{tags:?}");
        assert_eq!(left(&tunnel), Reason::VlanHop, "{tags:?}");
    }
    for tags in staying() {
        let [xdp, tc, tunnel] = from_vtep(&world, &with_tags(&frame, &tags));
        if tags.is_empty() {
            assert_eq!(deliver(&xdp).slot, PORT_NATIVE);
        } else {
            assert_eq!(left(&xdp), Reason::LeftToTc, "{tags:?}");
        }
        for decision in [tc, tunnel] {
            assert_eq!(deliver(&decision).slot, PORT_NATIVE, "{tags:?}");
        }
    }
}

#[test]
fn the_skb_tag_of_a_decapsulated_frame_counts_as_well() {
    let world = World::default();
    let frame = udp_frame(unicast(TRUNK, PORT_NATIVE));
    let key = TunnelKey {
        vni: 200,
        source: REMOTE_V4.parse::<IpAddr>().unwrap().into(),
        destination: None,
    };
    let decide = |skb: Tag, rest: &[Tag]| {
        let meta = Meta {
            tag: Some(skb),
            ..Meta::default()
        };
        decide_tunnel(&with_tags(&frame, rest), &meta, &key, &world.tables)
    };
    assert_eq!(left(&decide(q(10), &[])), Reason::VlanHop);
    assert_eq!(left(&decide(q(0), &[q(20)])), Reason::VlanHop);
    assert_eq!(deliver(&decide(q(99), &[q(20)])).slot, PORT_NATIVE);
}

#[test]
fn a_frame_of_another_port_does_not_hop_into_a_vlan_either() {
    let world = World::default();
    let frame = udp_frame(unicast(TRUNK, PORT_NATIVE));
    let carrier = world.interfaces.carrier;
    for tags in hopping() {
        let bytes = with_tags(&frame, &tags);
        assert_eq!(
            left(&at_port(&world, carrier, &bytes)),
            Reason::VlanHop,
            "{tags:?}"
        );
        assert_eq!(
            left(&at_port_xdp(&world, carrier, &bytes)),
            Reason::LeftToTc
        );
        let meta = Meta {
            ifindex: carrier,
            tag: Some(tags[0]),
            ..Meta::default()
        };
        let rest = with_tags(&frame, &tags[1..]);
        let decision = at_port_with(&world, &meta, &rest);
        assert_eq!(left(&decision), Reason::VlanHop, "{tags:?}");
    }
    for tags in staying() {
        let decision = at_port(&world, carrier, &with_tags(&frame, &tags));
        assert_eq!(deliver(&decision).slot, PORT_NATIVE, "{tags:?}");
    }
}

#[test]
fn of_a_frame_whose_tag_goes_the_next_one_counts() {
    let world = World::default();
    let frame = udp_frame(unicast(TRUNK, PORT_NATIVE));
    // VLAN 20 belongs to the same VNI: its tag goes, and the second one stays.
    let trunk = world.interfaces.trunk;
    for (second, hops) in [(10, true), (40, true), (99, false), (0, false)] {
        let in_band = with_tags(&frame, &[q(20), q(second)]);
        let meta = Meta {
            ifindex: trunk,
            tag: Some(q(20)),
            ..Meta::default()
        };
        let skb = with_tags(&frame, &[q(second)]);
        for decision in [
            at_port(&world, trunk, &in_band),
            at_port_with(&world, &meta, &skb),
        ] {
            if hops {
                assert_eq!(left(&decision), Reason::VlanHop, "{second}");
            } else {
                assert_eq!(deliver(&decision).slot, PORT_NATIVE, "{second}");
            }
        }
    }
    let hidden = with_tags(&frame, &[q(20), q(0), q(10)]);
    assert_eq!(left(&at_port(&world, trunk, &hidden)), Reason::VlanHop);
}

#[test]
fn a_vlan_that_the_port_table_misses_for_a_moment_is_not_the_untagged_ports() {
    let mut world = World::default();
    let trunk = world.interfaces.trunk;
    for vid in MAPPED {
        let key = PortKey::new(trunk, vid);
        world.tables.port_index.remove(&key).unwrap();
    }
    let frame = udp_frame(unicast(TRUNK, PEER_JUMBO));
    for tags in hopping() {
        let bytes = with_tags(&frame, &tags);
        for decision in [
            at_port(&world, trunk, &bytes),
            at_port_xdp(&world, trunk, &bytes),
        ] {
            assert_eq!(left(&decision), Reason::VlanHop, "{tags:?}");
        }
    }
    for tags in staying() {
        let bytes = with_tags(&frame, &tags);
        let carried = encap(&at_port(&world, trunk, &bytes));
        assert_eq!(carried.peer, PEER_JUMBO, "{tags:?}");
    }
}

#[test]
fn what_linux_takes_for_no_tag_is_none() {
    let world = World::default();
    let frame = udp_frame(unicast(TRUNK, PORT_NATIVE));
    let old = Tag {
        tpid: 0x9100,
        tci: 10,
    };
    for decision in from_vtep(&world, &with_tags(&frame, &[old])) {
        assert_eq!(deliver(&decision).slot, PORT_NATIVE);
    }
}

#[test]
fn ports_of_vlans_and_of_interfaces_without_any_take_every_tag() {
    let world = World::default();
    for to in [PORT_VLAN_20, PORT_CARRIER] {
        let frame = udp_frame(unicast(TRUNK, to));
        for tags in hopping() {
            for decision in from_vtep(&world, &with_tags(&frame, &tags)) {
                assert_eq!(deliver(&decision).slot, to, "{tags:?}");
            }
        }
    }
}

/// How many copies of a flood went to a port, and how many would have hopped.
fn copies(world: &World, decision: &Decision, to: PortSlot) -> (u64, u64) {
    let counters = HostCounters::default();
    let reason = decision.verdict.reason(decision.from_port.is_none());
    counters.record(decision, reason, 100, &world.tables);
    let packets = |found: Option<&vtep_common::abi::counter::Counter>| {
        found.map_or(0, |counter| counter.packets)
    };
    let ports = counters.ports.borrow();
    let index = Direction::Decap.index(to.get());
    let reasons = counters.reasons.borrow();
    (
        packets(ports.get(&index)),
        packets(reasons.get(&Reason::VlanHop.code())),
    )
}

#[test]
fn no_copy_of_a_flood_hops() {
    let world = World::default();
    let frame = udp_frame(vtep_common::abi::addr::MacAddr::BROADCAST);
    let carrier = world.interfaces.carrier;
    let floods = |tags: &[Tag]| {
        let bytes = with_tags(&frame, tags);
        let from_port = at_port(&world, carrier, &bytes);
        let [_, _, from_vtep] = from_vtep(&world, &bytes);
        assert_eq!(flood(&from_port).segment, SegmentId::new(2));
        assert!(matches!(from_vtep.verdict, Verdict::FloodPorts(_)));
        [from_port, from_vtep]
    };
    for tags in hopping() {
        for decision in floods(&tags) {
            assert_eq!(copies(&world, &decision, PORT_NATIVE), (0, 1), "{tags:?}");
            // Whoever else is there gets it.
            assert_eq!(copies(&world, &decision, PORT_VLAN_20).0, 1);
        }
    }
    for tags in staying() {
        for decision in floods(&tags) {
            assert_eq!(copies(&world, &decision, PORT_NATIVE), (1, 0), "{tags:?}");
        }
    }
    assert_eq!(flood(&floods(&[])[0]).vlan, ShownVlan::NONE);
}
