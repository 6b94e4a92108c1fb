//! Hosts that are found by their address, where the FDB does not know the MAC.

use vtep_common::sim::decide_tunnel;
use vtep_common::sim::decision::{Decision, Verdict};
use vtep_common::{
    abi::{addr::MacAddr, event::Event, fdb::FdbTarget, reason::Reason, segment::Segment},
    decide::{port, tunnel::TunnelKey},
    frame::packet::Meta,
    testkit::apply::{apply_port, apply_tunnel},
    testkit::{
        build::{self, Checksum, Ip},
        frames::{PEER_V4, PEER_V6_ZERO, PORT_ROUTED_OTHER, PORT_VLAN_40, ROUTED, World, unicast},
    },
};

use crate::shared::{
    OURS_V4, REMOTE_V4, at_port, at_port_xdp, at_uplink, deliver, encap, left, q, tagged, underlays,
};

/// A unicast MAC that no FDB has.
fn unknown() -> MacAddr {
    unicast(ROUTED, 200_u32)
}

/// A frame to an unknown MAC, for this host.
fn to(host: &str) -> Vec<u8> {
    let source = if host.contains(':') {
        "fd00::1"
    } else {
        "10.0.0.1"
    };
    let ip = Ip::between(source, host);
    let packet = ip.udp((4000, 5000), Checksum::Complete, &[0x5a; 100]);
    build::ethernet(
        unknown(),
        unicast(9_u32, 1_u32),
        &[],
        ip.ethertype(),
        &packet,
    )
}

/// What VLAN 40 makes of it.
fn at_routed(world: &World, frame: &[u8]) -> Decision {
    at_port(world, world.interfaces.trunk, &tagged(frame, q(40)))
}

#[test]
fn a_host_behind_a_vtep_is_sent_to_it() {
    let world = World::default();
    let decision = at_routed(&world, &to("10.0.5.9"));
    assert_eq!(encap(&decision).peer, PEER_V4);
    assert!(decision.destination.is_zero(), "the MAC stays");
}

#[test]
fn the_destination_mac_is_rewritten_where_the_table_says_so() {
    let world = World::default();
    let frame = tagged(&to("fd00::9"), q(40));
    let meta = Meta {
        ifindex: world.interfaces.trunk,
        ..Meta::default()
    };
    let decision = at_port(&world, world.interfaces.trunk, &frame);
    assert_eq!(encap(&decision).peer, PEER_V6_ZERO);
    let out = apply_port(&frame, &meta, port::PortStage::Tc, &decision, &world.tables).frame;
    assert_eq!(out[70..76], unicast(9_u32, 77_u32).bytes());
}

#[test]
fn the_longest_prefix_wins() {
    let world = World::default();
    let decision = at_routed(&world, &to("10.0.64.9"));
    assert_eq!(deliver(&decision).slot, PORT_ROUTED_OTHER);
    assert_eq!(decision.destination, unicast(9_u32, 77_u32));
    let decision = at_routed(&world, &to("10.0.63.9"));
    assert_eq!(encap(&decision).peer, PEER_V4);
}

#[test]
fn a_local_host_is_switched_but_never_back() {
    let world = World::default();
    let decision = at_routed(&world, &to("10.0.128.9"));
    assert_eq!(left(&decision), Reason::SamePort);
}

#[test]
fn an_entry_that_leads_nowhere_is_as_good_as_none() {
    let world = World::default();
    for host in ["10.0.192.9", "10.1.0.1", "fd01::1"] {
        let decision = at_routed(&world, &to(host));
        assert_eq!(left(&decision), Reason::NoFdbEntry, "{host}");
        let missed = decision.notes.events.iter().last().unwrap();
        assert_eq!(missed.kind, Event::MISS);
        assert_eq!(missed.mac(), unknown());
        assert_eq!(std::net::IpAddr::from(missed.host).to_string(), host);
    }
}

#[test]
fn a_packet_that_says_it_is_of_another_version_has_no_host() {
    let world = World::default();
    for (host, version) in [("10.0.5.9", 0x65), ("fd00::9", 0x45)] {
        let mut frame = to(host);
        frame[14] = version;
        let decision = at_routed(&world, &frame);
        assert_eq!(left(&decision), Reason::NoFdbEntry, "{host}");
    }
}

#[test]
fn the_fdb_comes_first() {
    let mut world = World::default();
    world
        .tables
        .add_fdb(ROUTED, unknown(), FdbTarget::Peer(PEER_V6_ZERO));
    let decision = at_routed(&world, &to("10.0.5.9"));
    assert_eq!(encap(&decision).peer, PEER_V6_ZERO);
}

#[test]
fn what_is_in_the_table_is_not_flooded_either() {
    let mut world = World::default();
    let segment = world.tables.segments.get_mut(&ROUTED).unwrap();
    segment.flags |= Segment::FLOODS;
    let decision = at_routed(&world, &to("10.0.5.9"));
    assert_eq!(encap(&decision).peer, PEER_V4);
    let decision = at_routed(&world, &to("10.1.0.1"));
    assert_eq!(left(&decision), Reason::NowhereToFlood);
}

#[test]
fn another_vni_has_another_table() {
    let mut world = World::default();
    let plain = vtep_common::testkit::frames::PLAIN;
    let segment = world.tables.segments.get_mut(&plain).unwrap();
    segment.flags |= Segment::NEXTHOPS;
    let decision = at_port(&world, world.interfaces.access, &to("10.0.5.9"));
    assert!(matches!(decision.verdict, Verdict::Flood(_)));
}

#[test]
fn xdp_leaves_it_to_tc() {
    let world = World::default();
    let frame = tagged(&to("10.0.5.9"), q(40));
    let decision = at_port_xdp(&world, world.interfaces.trunk, &frame);
    assert_eq!(left(&decision), Reason::LeftToTc);
}

#[test]
fn at_the_far_end_a_host_is_found_by_its_address_and_never_sent_on() {
    let world = World::default();
    let [outer, _] = underlays(500);
    let addr = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
    let key = TunnelKey {
        vni: 500,
        source: addr(REMOTE_V4).into(),
        destination: Some(addr(OURS_V4).into()),
    };
    for (host, written) in [
        ("10.0.128.9", unicast(9_u32, 77_u32)),
        ("fd00:80::9", unknown()),
    ] {
        let frame = to(host);
        let decision = at_uplink(&world, &outer.frame(&frame));
        assert_eq!(left(&decision), Reason::LeftToKernel);
        let decision = decide_tunnel(frame.as_slice(), &Meta::default(), &key, &world.tables);
        assert_eq!(deliver(&decision).slot, PORT_VLAN_40);
        let out = apply_tunnel(&frame, &Meta::default(), &decision).frame;
        assert_eq!(out[..6], written.bytes(), "{host}");
        assert_eq!(out[6..], frame[6..]);
    }
    // A host behind another VTEP: split horizon.
    let frame = to("10.0.5.9");
    let decision = decide_tunnel(frame.as_slice(), &Meta::default(), &key, &world.tables);
    assert_eq!(left(&decision), Reason::NoFdbEntry);
}
