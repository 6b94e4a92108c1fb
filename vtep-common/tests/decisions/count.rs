//! Whom a frame is counted for.

use std::{cell::RefCell, collections::BTreeMap};
use vtep_common::sim::decision::Decision;

use vtep_common::{
    abi::{
        counter::{Counter, Direction},
        drops::{OwnerKind, Owners},
        id::{PeerId, PortSlot, SegmentId},
        reason::Reason,
    },
    sim::HostCounters,
    testkit::frames::{
        PEER_UNREACHABLE, PEER_V4, PEER_V6, PLAIN, PORT_ACCESS, PORT_NARROW, PORT_VLAN_10, QUIET,
        World, group, unicast,
    },
};

use crate::shared::{at_port, at_uplink, q, tagged, udp_frame, underlays};

use Direction::{Decap, Encap};

/// What one frame is counted for: segments, ports and peers with their direction.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    segments: Vec<(u32, Direction)>,
    ports: Vec<(u32, Direction)>,
    peers: Vec<(u32, Direction)>,
}

/// Counts one frame, whose inner frame has `bytes`.
fn counted(decision: &Decision, reason: Reason, frame_len: usize, bytes: usize) -> Counted {
    let counters = HostCounters::default();
    counters.record(decision, reason, frame_len, &World::default().tables);
    let of_reason = Counter {
        packets: 1,
        bytes: frame_len as u64,
    };
    assert_eq!(
        *counters.reasons.borrow(),
        BTreeMap::from([(reason.code(), of_reason)])
    );
    let list = |map: &RefCell<BTreeMap<u32, Counter>>| {
        let map = map.borrow();
        map.iter()
            .map(|(index, counter)| {
                assert_eq!((counter.packets, counter.bytes), (1, bytes as u64));
                let direction = Direction::ALL[usize::from(index % 2 == 1)];
                assert_eq!(direction.index(index / 2), *index);
                (index / 2, direction)
            })
            .collect()
    };
    Counted {
        segments: list(&counters.segments),
        ports: list(&counters.ports),
        peers: list(&counters.peers),
    }
}

#[test]
fn an_encapsulated_frame_counts_for_its_vni_port_and_peer() {
    let world = World::default();
    let frame = udp_frame(unicast(PLAIN, PEER_V4));
    let decision = at_port(&world, world.interfaces.access, &frame);
    let got = counted(&decision, Reason::Encapsulated, frame.len(), frame.len());
    let want = Counted {
        segments: vec![(PLAIN.get(), Encap)],
        ports: vec![(PORT_ACCESS.get(), Encap)],
        peers: vec![(PEER_V4.get(), Encap)],
    };
    assert_eq!(got, want);
}

#[test]
fn a_decapsulated_frame_counts_its_inner_bytes_for_vni_port_and_peer() {
    let world = World::default();
    let inner = udp_frame(unicast(PLAIN, PORT_ACCESS));
    let [_, underlay] = underlays(100);
    let frame = underlay.frame(&inner);
    let decision = at_uplink(&world, &frame);
    let got = counted(&decision, Reason::Decapsulated, frame.len(), inner.len());
    let want = Counted {
        segments: vec![(PLAIN.get(), Decap)],
        ports: vec![(PORT_ACCESS.get(), Decap)],
        peers: vec![(PEER_V6.get(), Decap)],
    };
    assert_eq!(got, want);
}

#[test]
fn a_switched_frame_counts_for_both_ports_and_no_peer() {
    let world = World::default();
    let frame = udp_frame(unicast(PLAIN, PORT_NARROW));
    let decision = at_port(&world, world.interfaces.access, &frame);
    let got = counted(&decision, Reason::Switched, frame.len(), frame.len());
    let want = Counted {
        segments: vec![(PLAIN.get(), Encap)],
        ports: vec![(PORT_ACCESS.get(), Encap), (PORT_NARROW.get(), Decap)],
        peers: vec![],
    };
    assert_eq!(got, want);
}

#[test]
fn a_flood_counts_every_copy_but_none_for_the_port_it_came_from() {
    let world = World::default();
    let frame = udp_frame(group(77_u32));
    let decision = at_port(&world, world.interfaces.access, &frame);
    let got = counted(&decision, Reason::Flooded, frame.len(), frame.len());
    let want = Counted {
        segments: vec![(PLAIN.get(), Encap)],
        ports: vec![
            (PORT_ACCESS.get(), Encap),
            (PORT_NARROW.get(), Decap),
            (PORT_VLAN_10.get(), Decap),
        ],
        peers: vec![(PEER_V4.get(), Encap), (PEER_V6.get(), Encap)],
    };
    assert_eq!(got, want);
}

#[test]
fn a_flood_from_an_isolated_port_reaches_no_other_isolated_one() {
    let world = World::default();
    let frame = tagged(&udp_frame(group(77_u32)), q(10));
    let decision = at_port(&world, world.interfaces.trunk, &frame);
    let got = counted(&decision, Reason::Flooded, frame.len(), frame.len());
    let want = Counted {
        segments: vec![(PLAIN.get(), Encap)],
        ports: vec![(PORT_ACCESS.get(), Decap), (PORT_VLAN_10.get(), Encap)],
        peers: vec![(PEER_V4.get(), Encap), (PEER_V6.get(), Encap)],
    };
    assert_eq!(got, want);
}

/// Frames and bytes under a reason.
fn under(counters: &HostCounters, reason: Reason) -> (u64, u64) {
    let reasons = counters.reasons.borrow();
    let counter = reasons.get(&reason.code()).copied().unwrap_or_default();
    (counter.packets, counter.bytes)
}

#[test]
fn a_copy_that_cannot_go_is_lost_under_a_reason_of_its_own() {
    let world = World::default();
    // One of the two peers of this list has no route.
    let frame = udp_frame(group(PLAIN));
    let decision = at_port(&world, world.interfaces.access, &frame);
    let counters = HostCounters::default();
    counters.record(&decision, Reason::Flooded, frame.len(), &world.tables);
    let once = (1, frame.len() as u64);
    assert_eq!(under(&counters, Reason::Flooded), once);
    assert_eq!(under(&counters, Reason::CopyLost), once);

    // The paths over IPv6 and over IPv4 carry 1430 and 1450 bytes of payload.
    for (payload, lost) in [(1430, 0), (1431, 1), (1450, 1), (1451, 2)] {
        let mut frame = udp_frame(group(77_u32));
        frame.resize(14 + payload, 0);
        let decision = at_port(&world, world.interfaces.access, &frame);
        let counters = HostCounters::default();
        counters.record(&decision, Reason::Flooded, frame.len(), &world.tables);
        let got = under(&counters, Reason::CopyLost);
        assert_eq!(got.0, lost, "{payload} bytes");
        let sent = counters.peers.borrow().len() as u64;
        assert_eq!(sent + lost, 2);
    }
}

#[test]
fn a_frame_that_failed_counts_under_what_failed_and_for_nobody() {
    let world = World::default();
    let frame = udp_frame(unicast(PLAIN, PEER_V4));
    let decision = at_port(&world, world.interfaces.access, &frame);
    for reason in [Reason::Reshape, Reason::Redirect] {
        let got = counted(&decision, reason, frame.len(), frame.len());
        let nobody = Counted {
            segments: vec![],
            ports: vec![],
            peers: vec![],
        };
        assert_eq!(got, nobody);
    }
}

/// The rows of what was dropped under a reason: frames by kind and number of the owner.
fn rows(counters: &HostCounters, reason: Reason) -> BTreeMap<(OwnerKind, u32), u64> {
    let drops = counters.drops.borrow();
    let of_reason = drops
        .iter()
        .filter(|((_, _, code), _)| *code == reason.code());
    of_reason
        .map(|((kind, number, _), counter)| ((*kind, *number), counter.packets))
        .collect()
}

/// One frame for each kind of owner.
fn once(owners: Owners) -> BTreeMap<(OwnerKind, u32), u64> {
    let row = |kind: OwnerKind| ((kind, owners.number(kind)), 1);
    OwnerKind::ALL.map(row).into()
}

/// The rows of one frame that is dropped.
fn dropped(world: &World, decision: &Decision) -> (Reason, BTreeMap<(OwnerKind, u32), u64>) {
    let counters = HostCounters::default();
    let reason = decision.verdict.reason(decision.from_port.is_none());
    counters.record(decision, reason, 100, &world.tables);
    (reason, rows(&counters, reason))
}

#[test]
fn what_is_dropped_at_a_port_counts_for_the_port_however_early_it_is_dropped() {
    let world = World::default();
    let port = Owners {
        segment: PLAIN,
        port: PORT_ACCESS,
        peer: PeerId::NONE,
    };
    let mut from_group = udp_frame(unicast(PLAIN, PEER_V4));
    from_group[6] |= 1;
    let unmapped = tagged(&udp_frame(unicast(PLAIN, PEER_V4)), q(777));
    let to_itself = udp_frame(unicast(PLAIN, PORT_ACCESS));
    let no_route = udp_frame(unicast(PLAIN, PEER_UNREACHABLE));
    let to_peer = Owners {
        peer: PEER_UNREACHABLE,
        ..port
    };
    for (frame, reason, owners) in [
        (from_group, Reason::InvalidSourceMac, port),
        (unmapped, Reason::VlanUnmapped, port),
        (to_itself, Reason::SamePort, port),
        (no_route, Reason::NoRoute, to_peer),
    ] {
        let decision = at_port(&world, world.interfaces.access, &frame);

        assert_eq!(dropped(&world, &decision), (reason, once(owners)));
    }
}

#[test]
fn what_is_dropped_from_a_vtep_counts_for_the_vtep_and_for_the_port_that_it_was_for() {
    let world = World::default();
    let [over_v4, _] = underlays(100);
    let from = Owners {
        segment: PLAIN,
        port: PortSlot::NONE,
        peer: PEER_V4,
    };
    let to_narrow = Owners {
        port: PORT_NARROW,
        ..from
    };
    let mut from_group = udp_frame(unicast(PLAIN, PORT_ACCESS));
    from_group[6] |= 1;
    let mut too_big = udp_frame(unicast(PLAIN, PORT_NARROW));
    too_big.resize(1000, 0);
    for (inner, reason, owners) in [
        (from_group, Reason::InvalidSourceMac, from),
        (too_big, Reason::TooBig, to_narrow),
    ] {
        let decision = at_uplink(&world, &over_v4.frame(&inner));

        assert_eq!(dropped(&world, &decision), (reason, once(owners)));
    }
    let [over_v4, _] = underlays(300);
    let inner = udp_frame(unicast(QUIET, 99_u32));
    let decision = at_uplink(&world, &over_v4.frame(&inner));
    let in_quiet = Owners {
        segment: QUIET,
        ..from
    };
    let want = (Reason::NoFdbEntry, once(in_quiet));
    assert_eq!(dropped(&world, &decision), want);
}

#[test]
fn ten_thousand_vnis_that_do_not_exist_have_one_row_for_each_kind_of_owner() {
    let world = World::default();
    let counters = HostCounters::default();
    let inner = udp_frame(unicast(PLAIN, PORT_ACCESS));
    for vni in 10_000..20_000 {
        let [_, underlay] = underlays(vni);
        let frame = underlay.frame(&inner);
        let decision = at_uplink(&world, &frame);
        let reason = decision.verdict.reason(true);
        assert_eq!(reason, Reason::UnknownVni);
        counters.record(&decision, reason, frame.len(), &world.tables);
    }

    let of_nobody = Owners {
        segment: SegmentId::NONE,
        port: PortSlot::NONE,
        peer: PEER_V6,
    };
    let want: BTreeMap<_, _> = once(of_nobody)
        .into_keys()
        .map(|row| (row, 10_000))
        .collect();
    assert_eq!(rows(&counters, Reason::UnknownVni), want);
    assert_eq!(counters.drops.borrow().len(), 3);
}

#[test]
fn a_lost_copy_counts_for_the_port_that_it_came_from_and_the_vtep_that_it_was_for() {
    let world = World::default();
    let frame = udp_frame(group(PLAIN));
    let decision = at_port(&world, world.interfaces.access, &frame);
    let counters = HostCounters::default();

    counters.record(&decision, Reason::Flooded, frame.len(), &world.tables);

    let owners = Owners {
        segment: PLAIN,
        port: PORT_ACCESS,
        peer: PEER_UNREACHABLE,
    };
    assert_eq!(rows(&counters, Reason::CopyLost), once(owners));
    assert_eq!(counters.drops.borrow().len(), 3);
}
