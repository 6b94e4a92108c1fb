//! Learning, moving and ageing, each rule as a claim.

use std::net::IpAddr;

use vtep_common::abi::{
    event::Event,
    fdb::{FdbKey, FdbValue},
    origin::Origin,
};

use super::{
    super::{Announce, LearnCounters, Limits},
    lab::{From::*, *},
};
use crate::control::record::queue::SECOND;
use crate::model::{
    EntryState, EventDetails, EventKind, FdbFilter, FdbRow, Flood, Op, PortChange, PortSpec,
    Sources, VniSpec,
};

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";
const C: &str = "02:00:00:00:00:0c";
const ZERO: &str = "00:00:00:00:00:00";
const V2: &str = "192.0.2.2";
const V3: &str = "192.0.2.3";

/// A lab with VNI 100, in which slot 0 is `tap0` and slot 1 `tap1`, and somebody who watches.
fn lab() -> Lab {
    lab_with(VniSpec::default(), Limits::default())
}

fn lab_with(mut spec: VniSpec, limits: Limits) -> Lab {
    let mut lab = Lab::with(limits);
    lab.state.set_watched(true);
    // What is learned from whom is another matter: see `policy`.
    spec.sources.get_or_insert(Sources::Any);
    lab.done(&vni_add_with(100, spec));
    lab.done(&port_add("tap0", 100));
    lab.done(&port_add("tap1", 100));
    lab
}

fn limits(fdb: u32) -> Limits {
    Limits {
        fdb,
        ..Limits::default()
    }
}

fn spec(change: impl FnOnce(&mut VniSpec)) -> VniSpec {
    let mut spec = VniSpec::default();
    change(&mut spec);
    spec
}

fn kinds(events: &[EventDetails]) -> Vec<EventKind> {
    events.iter().map(|event| event.event).collect()
}

fn value(lab: &Lab, at: &str) -> FdbValue {
    lab.maps.fdb[&FdbKey::new(SEGMENT, mac(at))]
}

fn counters(lab: &Lab) -> LearnCounters {
    lab.state.learn_counters()
}

// Learning

#[test]
fn a_mac_from_a_vtep_is_behind_that_vtep_which_becomes_a_peer() {
    let mut lab = lab();

    let effect = lab.learn(A, Vtep(V2));

    assert_eq!(lab.fdb(100), [format!("{A} {V2}")]);
    assert_eq!(effect.resolve, [ip(V2)]);
    assert_eq!(lab.row(A).state, EntryState::Learned);
    let value = value(&lab, A);
    assert_eq!(
        value,
        FdbValue::learned(FdbTarget::Peer(PeerId::new(0)), START)
    );
    assert_eq!(counters(&lab).learned, 1);
}

#[test]
fn a_mac_from_a_port_is_behind_that_port() {
    let mut lab = lab();
    lab.learn(A, Port(1));
    assert_eq!(lab.fdb(100), [format!("{A} tap1")]);
}

#[test]
fn what_is_learned_is_told() {
    let mut lab = lab();
    let event = &lab.learn(A, Vtep(V2)).events[0];
    assert_eq!(
        (event.event, event.vni, event.mac, event.dst, &event.dev),
        (
            EventKind::Learned,
            Some(vni(100)),
            Some(mac(A)),
            Some(ip(V2)),
            &None
        )
    );
    let event = &lab.learn(B, Port(0)).events[0];
    assert_eq!((event.dst, event.dev.as_deref()), (None, Some("tap0")));
}

#[test]
fn nothing_is_told_if_nobody_watches() {
    let mut lab = lab();
    lab.state.set_watched(false);
    let learned = lab.learn(A, Vtep(V2));
    let flushed = lab.done(&flush(FdbFilter::default()));
    assert_eq!((learned.events, flushed.events), (vec![], vec![]));
}

#[test]
fn a_vni_that_does_not_learn_does_not() {
    let mut lab = lab_with(spec(|spec| spec.learning = Some(false)), limits(9));
    lab.learn(A, Vtep(V2));
    assert_eq!((lab.fdb(100).len(), counters(&lab).ignored), (0, 1));
}

#[test]
fn what_was_learned_stays_when_learning_is_turned_off() {
    let mut lab = lab();
    lab.learn(A, Vtep(V2));
    lab.done(&vni_set(100, spec(|spec| spec.learning = Some(false))));
    assert_eq!(lab.fdb(100).len(), 1);
}

#[test]
fn macs_that_are_not_unicast_and_our_own_are_never_learned() {
    let mut lab = lab();
    lab.state.set_own_macs([mac(B)]);
    for at in [ZERO, "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", B] {
        lab.learn(at, Vtep(V2));
    }
    assert_eq!((lab.fdb(100).len(), counters(&lab).ignored), (0, 4));
}

#[test]
fn addresses_that_can_be_no_vteps_are_not_learned_from() {
    let mut lab = lab();
    for from in [
        "192.0.2.1",
        "0.0.0.0",
        "239.1.1.1",
        "ff05::1",
        "127.0.0.1",
        "fe80::1",
    ] {
        lab.learn(A, Vtep(from));
    }
    assert_eq!((lab.peers().len(), counters(&lab).ignored), (0, 6));
}

#[test]
fn events_of_a_vni_or_port_that_is_gone_are_ignored() {
    let mut lab = lab();
    lab.done(&vni_add(200));
    for (segment, from) in [(7, Vtep(V2)), (0, Port(9)), (1, Port(0))] {
        let event = lab.event(Event::LEARN, SegmentId::new(segment), A, from);
        lab.take(&[event]);
    }
    let mut event = lab.event(Event::LEARN, SEGMENT, A, Vtep(V2));
    event.kind = 99;
    lab.take(&[event]);
    assert_eq!((lab.maps.fdb.len(), counters(&lab).ignored), (0, 4));
}

#[test]
fn a_static_entry_is_never_overridden() {
    let mut lab = lab();
    lab.done(&Op::FdbAdd(entry(A, 100, "tap0")));
    lab.learn(A, Vtep(V2));
    assert_eq!(
        (lab.fdb(100), lab.peers().len()),
        (vec![format!("{A} tap0")], 0)
    );
}

#[test]
fn add_takes_the_place_of_what_was_learned() {
    let mut lab = lab();
    lab.learn(A, Vtep(V2));
    let effect = lab.done(&Op::FdbAdd(entry(A, 100, "tap0")));
    assert_eq!(lab.fdb(100), [format!("{A} tap0")]);
    assert_eq!(
        (lab.row(A).state, lab.row(A).age_s),
        (EntryState::Static, None)
    );
    assert_eq!(effect.forget, [ip(V2)]);
    assert_eq!(value(&lab, A).last_seen, 0);
}

#[test]
fn a_port_takes_a_mac_that_was_learned_elsewhere() {
    let mut lab = lab();
    lab.learn(A, Vtep(V2));
    lab.learn(B, Port(1));
    let change = PortChange {
        macs: Some(vec![mac(A), mac(B)]),
        ..PortChange::default()
    };
    lab.done(&Op::PortSet {
        dev: "tap0".into(),
        change: Box::new(change),
    });
    assert_eq!(lab.fdb(100), [format!("{A} tap0"), format!("{B} tap0")]);
}

#[test]
fn an_event_that_says_what_is_known_changes_nothing() {
    let mut lab = lab();
    lab.learn(A, Vtep(V2));
    let effect = lab.learn(A, Vtep(V2));
    assert_eq!((effect.writes, effect.events), (vec![], vec![]));
}

#[test]
fn an_entry_that_the_map_has_lost_is_written_again() {
    let mut lab = lab();
    lab.learn(A, Vtep(V2));
    lab.maps.fdb.clear();
    lab.learn(A, Vtep(V2));
    assert_eq!(lab.maps.fdb.len(), 1);
}

#[test]
fn many_events_make_one_effect() {
    let mut lab = lab();
    let events = [(A, Vtep(V2)), (B, Port(0)), (A, Port(1)), (C, Vtep(V2))]
        .map(|(at, from)| lab.event(Event::LEARN, SEGMENT, at, from));
    let effect = lab.take(&events);
    assert_eq!(
        lab.fdb(100),
        [
            format!("{A} tap1"),
            format!("{B} tap0"),
            format!("{C} {V2}")
        ]
    );
    assert_eq!((effect.resolve, effect.forget), (vec![ip(V2)], vec![]));
}

#[test]
fn a_port_that_is_taken_away_takes_along_what_was_learned_behind_it() {
    let mut lab = lab();
    lab.learn(A, Port(0));
    lab.learn(B, Port(1));
    lab.done(&Op::PortDel {
        dev: "tap0".into(),
        part: crate::model::PortPart::default(),
    });
    assert_eq!(lab.fdb(100), [format!("{B} tap1")]);
}

#[test]
fn a_port_shows_and_replaces_only_the_macs_that_it_was_given() {
    let mut lab = lab();
    lab.learn(A, Port(0));
    assert_eq!(lab.state.port_rows(Some("tap0")).unwrap()[0].macs, []);
    lab.done(&Op::PortSet {
        dev: "tap0".into(),
        change: Box::new(PortChange {
            macs: Some(vec![mac(B)]),
            ..PortChange::default()
        }),
    });
    assert_eq!(lab.fdb(100), [format!("{A} tap0"), format!("{B} tap0")]);
}

// Limits

#[test]
fn a_vni_that_is_full_learns_no_more_and_that_is_counted_and_told_once_a_second() {
    let mut lab = lab_with(spec(|spec| spec.max_macs = Some(1)), Limits::default());
    lab.learn(A, Vtep(V2));

    let first = lab.learn(B, Vtep(V2));
    let second = lab.learn(C, Vtep(V2));
    lab.wait(1);
    let third = lab.learn(C, Vtep(V2));

    assert_eq!((lab.fdb(100).len(), counters(&lab).limited), (1, 3));
    let limit = [EventKind::Limit];
    let shown = [first, second, third].map(|effect| kinds(&effect.events));
    assert_eq!(shown, [&limit[..], &[], &limit]);
}

#[test]
fn a_port_that_is_full_learns_no_more_whoever_made_the_entries() {
    let mut lab = lab();
    lab.done(&Op::PortAdd(Box::new(PortSpec {
        macs: vec![mac(A)],
        max_macs: Some(2),
        ..port_spec("tap2", 100)
    })));
    lab.learn(B, Port(2));
    let effect = lab.learn(C, Port(2));
    assert_eq!((lab.fdb(100).len(), counters(&lab).limited), (2, 1));
    assert_eq!(effect.events[0].dev.as_deref(), Some("tap2"));
    lab.learn(C, Port(1));
    assert_eq!(lab.fdb(100).len(), 3);
}

#[test]
fn a_full_port_takes_no_mac_away_from_where_it_is() {
    let mut lab = lab();
    lab.done(&Op::PortAdd(Box::new(PortSpec {
        max_macs: Some(1),
        ..port_spec("tap2", 100)
    })));
    lab.learn(A, Port(2));
    lab.learn(B, Vtep(V2));
    lab.learn(B, Port(2));
    assert_eq!(lab.fdb(100), [format!("{A} tap2"), format!("{B} {V2}")]);
    assert_eq!(counters(&lab).limited, 1);
}

#[test]
fn a_vtep_that_cannot_be_a_peer_takes_no_mac_away_from_where_it_is() {
    let mut lab = lab_with(
        VniSpec::default(),
        Limits {
            peers: 2,
            ..Limits::default()
        },
    );
    lab.learn(A, Vtep(V2));
    lab.learn(B, Port(0));
    for at in [A, B] {
        lab.learn(at, Vtep(V3));
    }
    assert_eq!(lab.fdb(100), [format!("{A} {V2}"), format!("{B} tap0")]);
    assert_eq!((counters(&lab).full, counters(&lab).moved), (2, 0));
}

#[test]
fn a_mac_may_move_within_a_full_vni_and_counts_at_its_new_place() {
    let mut lab = lab_with(spec(|spec| spec.max_macs = Some(1)), limits(1));
    lab.learn(A, Port(0));
    lab.learn(A, Port(1));
    assert_eq!(lab.fdb(100), [format!("{A} tap1")]);
    assert_eq!(
        [0, 1].map(|slot| lab.state.fdb.count_behind(PortSlot::new(slot))),
        [0, 1]
    );
}

// External entries, which nothing makes yet but a later daemon

/// A lab whose entries age after 10 seconds, and in which a control plane has put `A` behind `V2`.
fn external() -> Lab {
    let mut lab = lab_with(ageing(10), Limits::default());
    lab.learn(A, Vtep(V2));
    let value = lab.maps.fdb.get_mut(&FdbKey::new(SEGMENT, mac(A))).unwrap();
    (value.origin, value.last_seen) = (Origin::External, 0);
    let adopted = lab.adopt();
    lab.state = adopted.state;
    lab.replay(&adopted.writes);
    assert_eq!(value_of(&lab).origin, Origin::External);
    lab
}

fn value_of(lab: &Lab) -> FdbValue {
    value(lab, A)
}

#[test]
fn an_external_entry_is_shown_as_one_without_an_age() {
    let lab = external();
    let rows = lab.state.fdb_rows(&FdbFilter::default(), &NoClock).unwrap();
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((row.state, row.age_s), (EntryState::Evpn, None));
}

#[test]
fn an_external_entry_does_not_age() {
    let mut lab = external();
    lab.wait(1_000);
    assert_eq!(lab.fdb(100), [format!("{A} {V2}")]);
}

#[test]
fn an_external_entry_is_replaced_by_no_frame_from_a_vtep() {
    let mut lab = external();
    lab.learn(A, Vtep(V3));
    assert_eq!(lab.fdb(100), [format!("{A} {V2}")]);
    assert_eq!(value_of(&lab).origin, Origin::External);
}

#[test]
fn a_local_port_beats_an_external_entry_by_being_newer() {
    let mut lab = external();
    lab.learn(A, Port(1));
    assert_eq!(lab.fdb(100), [format!("{A} tap1")]);
    assert_eq!(value_of(&lab).origin, Origin::Learned);
}

#[test]
fn what_the_user_says_replaces_an_external_entry() {
    let mut lab = external();
    lab.done(&Op::FdbAdd(entry(A, 100, V3)));
    assert_eq!(lab.fdb(100), [format!("{A} {V3}")]);
    assert_eq!(value_of(&lab).origin, Origin::Static);
}

#[test]
fn full_tables_are_counted() {
    let mut lab = lab_with(
        VniSpec::default(),
        Limits {
            fdb: 2,
            peers: 2,
            ..Limits::default()
        },
    );
    lab.learn(A, Vtep(V2));
    lab.learn(B, Vtep(V3));
    assert_eq!((lab.fdb(100).len(), counters(&lab).full), (1, 1));
    lab.learn(B, Port(0));
    lab.learn(C, Port(0));
    assert_eq!((lab.fdb(100).len(), counters(&lab).full), (2, 2));
}

// Moves

#[test]
fn a_mac_moves_at_once_and_both_places_are_told() {
    let mut lab = lab();
    lab.learn(A, Vtep(V2));

    let effect = lab.learn(A, Port(0));

    assert_eq!(lab.fdb(100), [format!("{A} tap0")]);
    assert_eq!((effect.forget, counters(&lab).moved), (vec![ip(V2)], 1));
    let event = &effect.events[0];
    assert_eq!(
        (event.event, event.dev.as_deref(), event.old_dst),
        (EventKind::Moved, Some("tap0"), Some(ip(V2)))
    );
    let back = &lab.learn(A, Vtep(V3)).events[0];
    assert_eq!(
        (back.dst, back.old_dev.as_deref()),
        (Some(ip(V3)), Some("tap0"))
    );
}

// Announcements

/// What is announced of a MAC that was learned at the first port.
fn announced(mac: &str, to: &[&str]) -> Announce {
    Announce {
        port: PortSlot::new(0),
        learned: true,
        vni: vni(100),
        mac: super::lab::mac(mac),
        hosts: Vec::new(),
        to: to.iter().map(|to| ip(to)).collect::<Vec<IpAddr>>(),
    }
}

/// A lab with two VTEPs on its list.
fn listed() -> Lab {
    let mut lab = lab();
    for vtep in [V2, V3] {
        lab.done(&Op::FdbAppend(entry(ZERO, 100, vtep)));
    }
    lab
}

#[test]
fn a_mac_that_comes_from_a_vtep_to_a_port_is_announced_to_all() {
    let mut lab = listed();
    assert_eq!(lab.learn(A, Vtep(V2)).announce, []);
    assert_eq!(lab.learn(A, Port(0)).announce, [announced(A, &[V2, V3])]);
    assert_eq!(lab.learn(A, Port(1)).announce, [], "no VTEP need know");
}

#[test]
fn a_new_mac_at_a_port_is_announced_unless_its_frame_went_to_all_anyway() {
    let mut lab = listed();
    let mut event = lab.event(Event::LEARN, SEGMENT, A, Port(0));
    event.flags = Event::GROUP;
    assert_eq!(lab.take(&[event]).announce, []);
    assert_eq!(lab.learn(B, Port(0)).announce, [announced(B, &[V2, V3])]);
}

#[test]
fn a_mac_that_moves_by_a_frame_for_all_is_not_announced_for_all_have_seen_it() {
    let mut lab = listed();
    lab.learn(A, Vtep(V2));
    let mut event = lab.event(Event::LEARN, SEGMENT, A, Port(0));
    event.flags = Event::GROUP;
    assert_eq!(lab.take(&[event]).announce, []);
}

#[test]
fn nothing_is_announced_where_nothing_is_flooded() {
    let mut lab = listed();
    lab.done(&vni_set(100, spec(|spec| spec.flood = Some(Flood::None))));
    assert_eq!(lab.learn(A, Port(0)).announce, []);
    let mut lab = self::lab();
    assert_eq!(lab.learn(A, Port(0)).announce, [], "to nobody");
}

#[test]
fn a_guest_that_makes_macs_up_is_not_announced_without_end() {
    let mut lab = listed();
    let events: Vec<_> = (0..1000)
        .map(|number: u64| Event {
            mac: 0x0200_0000_0000 + number,
            ..lab.event(Event::LEARN, SEGMENT, A, Port(0))
        })
        .collect();
    let effect = lab.take(&events);
    assert_eq!((lab.fdb(100).len(), effect.announce.len()), (1002, 256));
    assert_eq!(lab.learn("02:ff:00:00:00:01", Port(1)).announce.len(), 1);
    lab.wait(1);
    assert_eq!(lab.learn("02:ff:00:00:00:02", Port(0)).announce.len(), 1);
}

#[test]
fn the_macs_that_a_port_is_given_are_announced() {
    let mut lab = listed();
    let effect = lab.done(&Op::PortAdd(Box::new(PortSpec {
        macs: vec![mac(A)],
        ..port_spec("tap2", 100)
    })));
    let given = |mac| Announce {
        port: PortSlot::new(2),
        learned: false,
        ..announced(mac, &[V2, V3])
    };
    assert_eq!(effect.announce, [given(A)]);
    let set = |macs| Op::PortSet {
        dev: "tap2".into(),
        change: Box::new(PortChange {
            macs: Some(macs),
            ..PortChange::default()
        }),
    };
    let effect = lab.done(&set(vec![mac(A), mac(B)]));
    assert_eq!(effect.announce, [given(B)], "the others know A");
    let many = (0..1000_u16).map(|number| {
        let [high, low] = number.to_be_bytes();
        crate::model::MacAddr::from_bytes([2, 0, 0, 1, high, low])
    });
    assert_eq!(lab.done(&set(many.collect())).announce.len(), 1000);
}

// Ageing

fn ageing(seconds: u32) -> VniSpec {
    spec(|spec| spec.ageing_s = Some(seconds))
}

#[test]
fn an_entry_goes_when_it_was_not_seen_for_the_ageing_time() {
    let mut lab = lab_with(ageing(10), Limits::default());
    lab.learn(A, Vtep(V2));

    lab.wait(9);
    assert_eq!((lab.fdb(100).len(), lab.row(A).age_s), (1, Some(9)));
    let effect = lab.wait(1);

    assert_eq!((lab.fdb(100).len(), lab.maps.fdb.len()), (0, 0));
    assert_eq!((effect.forget, counters(&lab).aged), (vec![ip(V2)], 1));
    let event = &effect.events[0];
    assert_eq!(
        (event.event, event.mac, event.old_dst),
        (EventKind::Aged, Some(mac(A)), Some(ip(V2)))
    );
}

#[test]
fn traffic_keeps_an_entry() {
    let mut lab = lab_with(ageing(10), Limits::default());
    lab.learn(A, Vtep(V2));
    lab.wait(7);
    lab.seen(A);
    lab.wait(9);
    assert_eq!((lab.fdb(100).len(), lab.row(A).age_s), (1, Some(9)));
    lab.wait(1);
    assert_eq!(lab.fdb(100).len(), 0);
}

#[test]
fn a_moved_entry_ages_from_its_move() {
    let mut lab = lab_with(ageing(10), Limits::default());
    lab.learn(A, Vtep(V2));
    lab.wait(9);
    lab.learn(A, Vtep(V3));
    lab.wait(9);
    assert_eq!(lab.fdb(100).len(), 1);
    lab.wait(1);
    assert_eq!(lab.fdb(100).len(), 0);
}

#[test]
fn static_entries_do_not_age_even_where_a_learned_one_was() {
    let mut lab = lab_with(ageing(10), Limits::default());
    lab.learn(A, Vtep(V2));
    lab.done(&Op::FdbReplace(entry(A, 100, V2)));
    lab.wait(1000);
    assert_eq!(lab.fdb(100).len(), 1);
}

#[test]
fn ageing_0_is_never() {
    let mut lab = lab_with(ageing(0), Limits::default());
    lab.learn(A, Vtep(V2));
    lab.wait(1_000_000);
    assert_eq!(lab.fdb(100).len(), 1);
}

#[test]
fn another_ageing_time_holds_for_what_is_there() {
    let mut lab = lab_with(ageing(0), Limits::default());
    lab.learn(A, Vtep(V2));
    lab.wait(50);
    lab.done(&vni_set(100, ageing(60)));
    lab.wait(9);
    assert_eq!(lab.fdb(100).len(), 1);
    lab.done(&vni_set(100, ageing(1000)));
    lab.wait(100);
    assert_eq!(lab.fdb(100).len(), 1);
    lab.done(&vni_set(100, ageing(0)));
    lab.wait(10_000);
    assert_eq!(lab.fdb(100).len(), 1);
    lab.done(&vni_set(100, ageing(20)));
    lab.wait(0);
    assert_eq!(lab.fdb(100).len(), 0);
}

#[test]
fn a_tick_looks_at_a_bounded_number_and_says_when_it_is_behind() {
    let mut lab = lab_with(ageing(10), Limits::default());
    let events: Vec<_> = (0..5_000)
        .map(|number: u64| Event {
            mac: 0x0200_0000_0000 + number,
            ..lab.event(Event::LEARN, SEGMENT, A, Vtep(V2))
        })
        .collect();
    lab.take(&events);
    assert!(!lab.state.is_behind());

    lab.now += 10 * SECOND;
    let removed = lab.tick().writes.len();

    assert!((1..4_500).contains(&removed), "{removed}");
    assert!(lab.state.is_behind());
    lab.wait(0);
    assert!(!lab.state.is_behind() && lab.maps.fdb.is_empty());
}

#[test]
fn an_entry_that_the_map_does_not_have_ages_out() {
    let mut lab = lab_with(ageing(10), Limits::default());
    lab.learn(A, Vtep(V2));
    let key = FdbKey::new(SEGMENT, mac(A));
    lab.maps.fdb.remove(&key);
    lab.now += 10 * SECOND;
    let effect = lab.tick_unchecked();
    assert_eq!((lab.state.totals().fdb, effect.writes.len() > 1), (0, true));
}

#[test]
fn a_new_daemon_ages_what_it_found() {
    let mut lab = lab_with(ageing(10), Limits::default());
    lab.learn(A, Vtep(V2));
    lab.learn(B, Port(0));
    lab.now += 9 * SECOND;
    lab.seen(B);

    lab.state = lab.adopt().state;
    lab.wait(1);

    assert_eq!(lab.fdb(100), [format!("{B} tap0")]);
    assert_eq!(lab.row(B).age_s, Some(1));
    lab.wait(9);
    assert_eq!(lab.fdb(100).len(), 0);
}

// Rows and flushes

fn flush(filter: FdbFilter) -> Op {
    Op::FdbFlush(FdbFilter {
        vni: Some(vni(100)),
        with_static: !filter.learned,
        ..filter
    })
}

/// A lab with something learned and something static in each place.
fn mixed() -> Lab {
    let mut lab = lab();
    lab.learn(A, Vtep(V2));
    lab.learn(B, Port(0));
    lab.done(&Op::FdbAdd(entry(C, 100, V2)));
    lab.done(&Op::FdbAppend(entry(ZERO, 100, V2)));
    lab
}

#[test]
fn learned_rows_can_be_asked_for() {
    let filter = FdbFilter {
        learned: true,
        ..FdbFilter::default()
    };
    let rows = mixed().state.fdb_rows(&filter, &NoClock).unwrap();
    let macs: Vec<_> = rows.iter().map(|row: &FdbRow| row.mac).collect();
    assert_eq!(macs, [mac(A), mac(B)]);
}

#[test]
fn a_flush_of_what_was_learned_leaves_what_the_user_made_and_tells_how_many_went() {
    let left = |change: fn(&mut FdbFilter)| {
        let mut lab = mixed();
        let mut filter = FdbFilter {
            learned: true,
            ..FdbFilter::default()
        };
        change(&mut filter);
        let effect = lab.done(&flush(filter));
        (
            lab.fdb(100).len(),
            effect.events.first().and_then(|event| event.count),
        )
    };
    assert_eq!(left(|_| ()), (2, Some(2)));
    assert_eq!(left(|filter| filter.dst = Some(ip(V2))), (3, Some(1)));
    assert_eq!(
        left(|filter| filter.dev = Some("tap0".into())),
        (3, Some(1))
    );
    assert_eq!(left(|filter| filter.dst = Some(ip(V3))), (4, None));
}

#[test]
fn a_flush_of_everything_tells_how_many_went() {
    let effect = mixed().done(&flush(FdbFilter::default()));
    let event = &effect.events[0];
    assert_eq!(
        (event.event, event.vni, event.count),
        (EventKind::Flushed, Some(vni(100)), Some(4))
    );
}

#[test]
fn a_million_macs_are_learned_aged_and_looked_up_quickly() {
    const COUNT: u64 = 1_000_000;
    let mut lab = lab_with(ageing(10), limits(1_100_000));
    lab.state.set_watched(false);
    let events: Vec<_> = (0..COUNT)
        .map(|number| Event {
            mac: 0x0200_0000_0000 + number,
            ..lab.event(
                Event::LEARN,
                SEGMENT,
                A,
                if number % 2 == 0 { Vtep(V2) } else { Port(0) },
            )
        })
        .collect();
    let start = std::time::Instant::now();
    for events in events.chunks(1000) {
        lab.state.learn(events, &NoClock);
    }
    assert_eq!(lab.state.totals().fdb, 1_000_000);
    lab.now += 10 * SECOND;
    while lab.state.totals().fdb != 0 {
        lab.tick_unchecked();
    }
    // Far more than it takes, far less than one pass over the table for each entry would.
    assert!(start.elapsed().as_secs() < 60);
}
