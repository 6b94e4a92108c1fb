//! Which frames may come in: by the MACs in them, the VTEP they came from, and what there is room for.

use std::net::Ipv6Addr;

use vtep_common::{
    abi::{
        addr::MacAddr, event::Event, fdb::FdbTarget, port::Port, reason::Reason, segment::Segment,
    },
    sim::decision::{Decision, Verdict},
    testkit::{
        build::{Ip, Underlay},
        frames::{
            CROWDED, LEARNED, PEER_V4, PLAIN, PORT_ACCESS, PORT_CROWDED, PORT_FULL, PORT_GUARDED,
            PORT_QUIET, QUIET, World, unicast,
        },
    },
};

use crate::shared::{
    OURS_V4, OURS_V6, REMOTE_V4, REMOTE_V6, at_port, at_port_xdp, at_uplink, at_uplink_xdp,
    elsewhere, left, q, tagged, udp_frame,
};

/// A frame between two MACs.
fn frame(source: MacAddr, destination: MacAddr) -> Vec<u8> {
    let mut frame = udp_frame(destination);
    frame[6..12].copy_from_slice(&source.bytes());
    frame
}

/// What TC and XDP at VLAN `vlan` of the lone port make of a frame.
fn at_lone(world: &World, vlan: u16, source: MacAddr, destination: MacAddr) -> [Decision; 2] {
    let frame = tagged(&frame(source, destination), q(vlan));
    let ifindex = world.interfaces.lone;
    [
        at_port(world, ifindex, &frame),
        at_port_xdp(world, ifindex, &frame),
    ]
}

/// What TC and XDP at the uplink make of a packet from `vtep`.
fn from_vtep(world: &World, vni: u32, vtep: &str, inner: &[u8]) -> [Decision; 2] {
    let ours = if vtep.contains(':') { OURS_V6 } else { OURS_V4 };
    let packet = Underlay::new(Ip::between(vtep, ours), vni).frame(inner);
    [at_uplink(world, &packet), at_uplink_xdp(world, &packet)]
}

#[track_caller]
fn all_left(decisions: &[Decision], reason: Reason) {
    for decision in decisions {
        assert_eq!(left(decision), reason);
    }
}

#[track_caller]
fn none_left(decisions: &[Decision]) {
    for decision in decisions {
        assert!(
            !matches!(decision.verdict, Verdict::Leave(_)),
            "{decision:?}"
        );
    }
}

/// The MACs and ports that something was learned of.
fn learned(decision: &Decision) -> Vec<MacAddr> {
    let events = decision.notes.events.iter();
    let learns = events.filter(|event| event.kind == Event::LEARN);
    learns.map(Event::mac).collect()
}

#[test]
fn link_local_groups_are_carried_where_they_may_pass_alone() {
    let world = World::default();
    let group = |last: u32| MacAddr::from_parts(0x0180, 0xc200_0000 | last);
    for last in [0, 1, 2, 0x0e, 0x0f] {
        let frame = frame(elsewhere(), group(last));
        let port = world.interfaces.access;
        let at_port = [
            at_port(&world, port, &frame),
            at_port_xdp(&world, port, &frame),
        ];
        all_left(&at_port, Reason::L2Control);
        all_left(
            &from_vtep(&world, 100, REMOTE_V4, &frame),
            Reason::L2Control,
        );
        assert_eq!(learned(&at_port[0]), []);
    }
    // What is beside them is a group as any other.
    let beside = frame(elsewhere(), group(0x10));
    none_left(&[at_port(&world, world.interfaces.access, &beside)]);

    let mut world = World::default();
    let segment = world.tables.segments.get_mut(&PLAIN).unwrap();
    segment.flags |= Segment::L2CP_PASS;
    let stp = frame(elsewhere(), group(0));
    none_left(&[at_port(&world, world.interfaces.access, &stp)]);
}

#[test]
fn a_guarded_port_takes_frames_from_its_own_macs_alone() {
    let world = World::default();
    let destination = unicast(PLAIN, PEER_V4);
    let own = at_lone(&world, 41, unicast(PLAIN, PORT_GUARDED), destination);
    none_left(&own);

    let gateway = unicast(PLAIN, PORT_ACCESS);
    for other in [
        elsewhere(),
        gateway,
        unicast(PLAIN, LEARNED + PEER_V4.get()),
    ] {
        let spoofed = at_lone(&world, 41, other, destination);
        all_left(&spoofed, Reason::SpoofedMac);
        assert_eq!(learned(&spoofed[0]), []);
    }
    // One that was learned there before there was a guard.
    let (mut world, here) = (world, unicast(PLAIN, 999_u32));
    let target = FdbTarget::Port(PORT_GUARDED);
    for last_seen in [0, world.tables.now] {
        world.tables.add_learned(PLAIN, here, target, last_seen);
        all_left(&at_lone(&world, 41, here, destination), Reason::SpoofedMac);
    }
}

#[test]
fn a_guard_holds_in_a_vni_that_does_not_learn() {
    let mut world = World::default();
    world
        .tables
        .segments
        .get_mut(&PLAIN)
        .unwrap()
        .set(Segment::LEARNING, false);
    let spoofed = at_lone(&world, 41, elsewhere(), unicast(PLAIN, PEER_V4));
    all_left(&spoofed, Reason::SpoofedMac);
}

#[test]
fn a_port_with_as_many_macs_as_it_may_have_says_so_of_others_and_drops_them() {
    let world = World::default();
    let destination = unicast(PLAIN, PEER_V4);
    let moved = unicast(PLAIN, LEARNED + PORT_ACCESS.get());
    for other in [elsewhere(), moved] {
        let over = at_lone(&world, 42, other, destination);
        all_left(&over, Reason::MacLimit);
        assert_eq!(learned(&over[0]), [other]);
    }
    none_left(&at_lone(&world, 42, unicast(PLAIN, PORT_FULL), destination));
}

#[test]
fn a_vni_with_as_many_macs_as_it_may_have_lets_them_move() {
    let world = World::default();
    let destination = unicast(CROWDED, PEER_V4);
    let over = at_lone(&world, 43, elsewhere(), destination);
    all_left(&over, Reason::MacLimit);
    assert_eq!(learned(&over[0]), [elsewhere()]);
    let inner = frame(elsewhere(), unicast(CROWDED, PORT_CROWDED));
    all_left(&from_vtep(&world, 700, REMOTE_V4, &inner), Reason::MacLimit);

    let moved = unicast(CROWDED, LEARNED + PEER_V4.get());
    let decisions = at_lone(&world, 43, moved, destination);
    none_left(&decisions);
    assert_eq!(learned(&decisions[0]), [moved]);
}

#[test]
fn limits_mean_nothing_to_a_vni_that_does_not_learn() {
    let mut world = World::default();
    world
        .tables
        .segments
        .get_mut(&PLAIN)
        .unwrap()
        .set(Segment::LEARNING, false);
    let port = world.tables.ports.get_mut(&PORT_FULL).unwrap();
    assert!(port.has(Port::FULL));
    none_left(&at_lone(&world, 42, elsewhere(), unicast(PLAIN, PEER_V4)));
}

#[test]
fn packets_are_taken_from_listed_vteps_alone() {
    let mut world = World::default();
    let inner = frame(elsewhere(), unicast(QUIET, PORT_QUIET));
    none_left(&from_vtep(&world, 300, REMOTE_V4, &inner));
    // A stranger, and a VTEP that entries of other VNIs name.
    for unlisted in ["198.51.100.9", "192.0.2.5", "2001:db8::3"] {
        all_left(
            &from_vtep(&world, 300, unlisted, &inner),
            Reason::UnlistedSource,
        );
    }
    world.tables.sources.clear();
    all_left(
        &from_vtep(&world, 300, REMOTE_V4, &inner),
        Reason::UnlistedSource,
    );
}

#[test]
fn packets_from_addresses_that_no_host_has_are_left_to_the_host() {
    let world = World::default();
    let inner = frame(elsewhere(), unicast(PLAIN, PORT_ACCESS));
    for nobody in [
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "ff02::1",
    ] {
        let [tc, xdp] = from_vtep(&world, 100, nobody, &inner);
        assert_eq!(left(&tc), Reason::BadSource);
        assert_eq!(left(&xdp), Reason::LeftToTc);
        assert_eq!(learned(&tc), []);
    }
    none_left(&from_vtep(&world, 100, "223.255.255.255", &inner));
    none_left(&from_vtep(&world, 100, "::2:0:0:1", &inner));
}

#[test]
fn an_ipv4_address_in_an_ipv6_header_is_nobodys() {
    let world = World::default();
    let inner = frame(elsewhere(), unicast(PLAIN, PORT_ACCESS));
    let (ours, theirs) = (format!("::ffff:{OURS_V4}"), format!("::ffff:{REMOTE_V4}"));
    for (from, to, want) in [
        (REMOTE_V6, ours.as_str(), Reason::NotOurAddress),
        (theirs.as_str(), OURS_V6, Reason::BadSource),
    ] {
        let (from, to): (Ipv6Addr, Ipv6Addr) = (from.parse().unwrap(), to.parse().unwrap());
        let packet = Underlay::new(Ip::new(from.into(), to.into()), 100).frame(&inner);
        assert_eq!(packet[12..14], [0x86, 0xdd], "over IPv6");
        assert_eq!(left(&at_uplink(&world, &packet)), want);
        assert_eq!(left(&at_uplink_xdp(&world, &packet)), Reason::LeftToTc);
    }
}
