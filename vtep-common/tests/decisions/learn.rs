//! What frames teach, and what they must not contradict.

use vtep_common::sim::decision::{Decision, Verdict};
use vtep_common::{
    abi::{
        event::Event,
        fdb::{FdbKey, FdbTarget, FdbValue},
        id::PortSlot,
        origin::Origin,
        reason::Reason,
    },
    testkit::frames::{
        FRESH, FROZEN, LEARNED, LONE, PEER_V4, PEER_V6, PLAIN, PORT_ACCESS, PORT_NARROW, World,
        unicast,
    },
};

use crate::shared::{
    REMOTE_V4, at_port, at_port_xdp, at_uplink, at_uplink_xdp, flood, left, lldp_frame, udp_frame,
    underlays,
};

/// A frame from `source` to a MAC behind a peer.
fn from(source: vtep_common::abi::addr::MacAddr) -> Vec<u8> {
    let mut frame = udp_frame(unicast(PLAIN, PEER_V4));
    frame[6..12].copy_from_slice(&source.bytes());
    frame
}

fn events(decision: &Decision) -> Vec<Event> {
    decision.notes.events.clone()
}

/// The one thing that was told.
#[track_caller]
fn learned(decision: &Decision) -> Event {
    match events(decision).as_slice() {
        [event] if event.kind == Event::LEARN => *event,
        other => panic!("told {other:?}"),
    }
}

/// What the access port makes of a frame from `source`.
fn at_access(source: vtep_common::abi::addr::MacAddr) -> Decision {
    let world = World::default();
    at_port(&world, world.interfaces.access, &from(source))
}

/// What the uplink makes of a frame from `source`, sent by [`REMOTE_V4`].
fn from_vtep(source: vtep_common::abi::addr::MacAddr) -> Decision {
    let world = World::default();
    let mut inner = udp_frame(unicast(PLAIN, PORT_ACCESS));
    inner[6..12].copy_from_slice(&source.bytes());
    let [v4, _] = underlays(100);
    at_uplink(&world, &v4.frame(&inner))
}

#[test]
fn a_source_that_is_not_known_is_told_with_its_port() {
    let event = learned(&at_access(unicast(9_u32, 1_u32)));
    assert_eq!(event.mac(), unicast(9_u32, 1_u32));
    assert_eq!((event.segment, event.port), (PLAIN, PORT_ACCESS));
    assert_eq!(event.vtep.words_be(), [0; 4]);
    assert_eq!(event.flags, 0);
}

#[test]
fn a_source_that_is_not_known_is_told_with_its_vtep() {
    let event = learned(&from_vtep(unicast(9_u32, 1_u32)));
    let vtep: std::net::IpAddr = REMOTE_V4.parse().unwrap();
    assert_eq!(event.vtep, vtep.into());
    assert_eq!((event.segment, event.port), (PLAIN, PortSlot::NONE));
}

#[test]
fn over_ipv6_the_vtep_is_an_ipv6_one() {
    let world = World::default();
    let [_, v6] = underlays(100);
    let frame = v6.frame(&udp_frame(unicast(PLAIN, PORT_ACCESS)));
    assert!(learned(&at_uplink(&world, &frame)).vtep.is_v6());
}

#[test]
fn a_flooded_frame_says_that_everybody_sees_it() {
    let world = World::default();
    let frame = lldp_frame(vtep_common::abi::addr::MacAddr::BROADCAST);
    let decision = at_port(&world, world.interfaces.access, &frame);
    flood(&decision);
    assert_eq!(learned(&decision).flags, Event::GROUP);
}

#[test]
fn a_mac_that_was_learned_elsewhere_is_told_again() {
    for kept in [LEARNED, FRESH] {
        assert_eq!(
            learned(&at_access(unicast(PLAIN, kept + PEER_V4.get()))).mac(),
            unicast(PLAIN, kept + PEER_V4.get())
        );
        learned(&from_vtep(unicast(PLAIN, kept + PORT_ACCESS.get())));
    }
}

#[test]
fn a_mac_where_it_is_known_to_be_is_not_told() {
    for kept in [LEARNED, FRESH] {
        let decision = at_access(unicast(PLAIN, kept + PORT_ACCESS.get()));
        assert_eq!(events(&decision), []);
        let decision = from_vtep(unicast(PLAIN, kept + PEER_V4.get()));
        assert_eq!(events(&decision), []);
    }
}

#[test]
fn a_stamp_is_renewed_where_it_is_old_and_only_there() {
    let key = |target| Some(FdbKey::new(PLAIN, unicast(PLAIN, target)));
    let old = at_access(unicast(PLAIN, LEARNED + PORT_ACCESS.get()));
    assert_eq!(old.notes.refreshed, key(LEARNED + PORT_ACCESS.get()));
    let old = from_vtep(unicast(PLAIN, LEARNED + PEER_V4.get()));
    assert_eq!(old.notes.refreshed, key(LEARNED + PEER_V4.get()));
    for target in [
        FRESH + PORT_ACCESS.get(),
        LEARNED + PEER_V4.get(),
        PORT_ACCESS.get(),
    ] {
        let notes = at_access(unicast(PLAIN, target)).notes;
        assert_eq!(notes.refreshed, None, "{target}");
    }
}

#[test]
fn a_stamp_is_left_for_a_second() {
    let mut world = World::default();
    let source = unicast(PLAIN, LEARNED + PORT_ACCESS.get());
    let key = FdbKey::new(PLAIN, source);
    let now = world.tables.now;
    for (age, renewed) in [
        (FdbValue::REFRESH_NS, None),
        (
            FdbValue::REFRESH_NS + (2 << FdbValue::STAMP_SHIFT),
            Some(key),
        ),
    ] {
        world.tables.fdb.get_mut(&key).unwrap().last_seen = now - age;
        let decision = at_port(&world, world.interfaces.access, &from(source));
        assert_eq!(decision.notes.refreshed, renewed);
    }
}

#[test]
fn a_frozen_mac_is_not_told_and_its_frames_from_elsewhere_are_dropped() {
    for decision in [
        at_access(unicast(PLAIN, FROZEN + PEER_V4.get())),
        from_vtep(unicast(PLAIN, FROZEN + PORT_ACCESS.get())),
    ] {
        assert_eq!(events(&decision), []);
        assert_eq!(left(&decision), Reason::DuplicateMac);
    }
    // Where it stays, it may send.
    let here = at_access(unicast(PLAIN, FROZEN + PORT_ACCESS.get()));
    assert!(matches!(here.verdict, Verdict::Encap(_)));
    let here = from_vtep(unicast(PLAIN, FROZEN + PEER_V4.get()));
    assert!(matches!(here.verdict, Verdict::Deliver(_)));
}

#[test]
fn a_frame_against_a_static_entry_is_dropped_and_teaches_nothing() {
    let (at_port, at_peer) = (unicast(PLAIN, PORT_NARROW), unicast(PLAIN, PEER_V6));
    for decision in [at_access(at_port), at_access(at_peer), from_vtep(at_peer)] {
        assert_eq!(left(&decision), Reason::StaticElsewhere);
        assert_eq!(events(&decision), []);
    }
    // An anycast gateway has its MAC here and behind the other VTEPs.
    let decision = from_vtep(at_port);
    assert!(matches!(decision.verdict, Verdict::Deliver(_)));
    assert_eq!(events(&decision), []);
    // Where the entry says it is, it may send.
    assert!(matches!(
        at_access(unicast(PLAIN, PORT_ACCESS)).verdict,
        Verdict::Encap(_)
    ));
}

#[test]
fn a_frame_against_an_external_entry_passes_and_is_told_from_a_port_alone() {
    let source = unicast(9_u32, 1_u32);
    let mut world = World::default();
    for target in [FdbTarget::Peer(PEER_V6), FdbTarget::Port(PORT_NARROW)] {
        let value = FdbValue {
            origin: Origin::External,
            ..FdbValue::static_to(target)
        };
        world.tables.fdb.insert(FdbKey::new(PLAIN, source), value);

        let decision = at_port(&world, world.interfaces.access, &from(source));
        assert_eq!(learned(&decision).port, PORT_ACCESS);
        assert!(matches!(decision.verdict, Verdict::Encap(_)));

        let mut inner = udp_frame(unicast(PLAIN, PORT_ACCESS));
        inner[6..12].copy_from_slice(&source.bytes());
        let [v4, _] = underlays(100);
        let decision = at_uplink(&world, &v4.frame(&inner));
        assert_eq!(events(&decision), []);
        assert!(matches!(decision.verdict, Verdict::Deliver(_)));
    }
}

#[test]
fn an_external_entry_has_no_stamp_to_renew() {
    let source = unicast(9_u32, 1_u32);
    let mut world = World::default();
    let value = FdbValue {
        origin: Origin::External,
        ..FdbValue::static_to(FdbTarget::Port(PORT_ACCESS))
    };
    world.tables.fdb.insert(FdbKey::new(PLAIN, source), value);

    let decision = at_port(&world, world.interfaces.access, &from(source));

    assert_eq!(
        (events(&decision), decision.notes.refreshed),
        (vec![], None)
    );
}

#[test]
fn a_vni_that_does_not_learn_tells_nothing_and_holds_nothing_against_static_entries() {
    let mut world = World::default();
    let segment = world.tables.segments.get_mut(&PLAIN).unwrap();
    segment.set(vtep_common::abi::segment::Segment::LEARNING, false);
    for source in [unicast(9_u32, 1_u32), unicast(PLAIN, PEER_V6)] {
        let decision = at_port(&world, world.interfaces.access, &from(source));
        assert_eq!(events(&decision), []);
        assert!(matches!(decision.verdict, Verdict::Encap(_)));
    }
    assert_ne!(PLAIN, LONE);
}

#[test]
fn xdp_tells_the_same() {
    let world = World::default();
    let frame = from(unicast(9_u32, 1_u32));
    let decision = at_port_xdp(&world, world.interfaces.access, &frame);
    learned(&decision);
    let [v4, _] = underlays(100);
    let frame = v4.frame(&udp_frame(unicast(PLAIN, PORT_ACCESS)));
    learned(&at_uplink_xdp(&world, &frame));
}
