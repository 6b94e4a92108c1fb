//! MACs that move too often, each rule as a claim.

use vtep_common::abi::fdb::FdbKey;

use super::{
    super::Limits,
    lab::{From::*, *},
};
use crate::model::{Duplicates, EventKind, FdbFilter, Op, PortPart};

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";
const V2: &str = "192.0.2.2";
const V3: &str = "192.0.2.3";

/// A lab with VNI 100, in which slot 0 is `tap0` and slot 1 `tap1`, both there for long, and `A` at `tap0`.
fn lab() -> Lab {
    lab_with(Limits::default())
}

fn lab_with(limits: Limits) -> Lab {
    let mut lab = Lab::with(limits);
    lab.state.set_watched(true);
    lab.done(&vni_add(100));
    lab.done(&port_add("tap0", 100));
    lab.done(&port_add("tap1", 100));
    lab.wait(1000);
    lab.learn(A, Port(0));
    lab
}

fn is_frozen(lab: &Lab) -> bool {
    let frozen = lab.maps.fdb[&FdbKey::new(SEGMENT, mac(A))].frozen;
    assert_eq!(lab.row(A).duplicate, frozen);
    frozen
}

/// So many moves to and fro between a port and a VTEP, a second apart.
fn flap(lab: &mut Lab, moves: u32) {
    for number in 0..moves {
        lab.wait(1);
        let to = if number % 2 == 0 { Vtep(V2) } else { Port(0) };
        lab.learn(A, to);
    }
}

#[test]
fn a_mac_is_frozen_where_its_fifth_move_took_it() {
    let mut lab = lab();
    flap(&mut lab, 4);
    assert!(!is_frozen(&lab));

    let effect = lab.learn(A, Vtep(V2));

    assert!(is_frozen(&lab));
    let kinds: Vec<_> = effect.events.iter().map(|event| event.event).collect();
    assert_eq!(kinds, [EventKind::Moved, EventKind::Duplicate]);
    assert_eq!(lab.state.learn_counters().frozen, 1);
    lab.learn(A, Port(0));
    assert_eq!(lab.row(A).dst, Some(ip(V2)));
}

#[test]
fn moves_between_ports_count() {
    let mut lab = lab();
    for slot in [1, 0, 1, 0, 1] {
        assert!(!is_frozen(&lab));
        lab.learn(A, Port(slot));
    }
    assert!(is_frozen(&lab));
}

#[test]
fn moves_between_vteps_are_followed_always() {
    let mut lab = lab();
    for _ in 0..10 {
        lab.learn(B, Vtep(V2));
        lab.learn(B, Vtep(V3));
    }
    assert!(!lab.row(B).duplicate);
}

#[test]
fn moves_that_are_spread_over_more_than_the_window_do_not_count_together() {
    let mut lab = lab();
    flap(&mut lab, 4);
    lab.wait(181);
    flap(&mut lab, 4);
    assert!(!is_frozen(&lab));
}

#[test]
fn a_frozen_mac_thaws_by_itself_and_that_is_told() {
    let mut lab = lab();
    flap(&mut lab, 5);
    lab.wait(179);
    assert!(is_frozen(&lab));
    lab.seen(A);

    let effect = lab.wait(1);

    assert!(!is_frozen(&lab));
    assert_eq!(
        (effect.events[0].event, effect.events[0].mac),
        (EventKind::Thawed, Some(mac(A)))
    );
    assert_eq!(lab.row(A).age_s, Some(1), "the stamp is kept");
    lab.learn(A, Port(0));
    assert_eq!(lab.row(A).dev.as_deref(), Some("tap0"));
    flap(&mut lab, 3);
    assert!(!is_frozen(&lab), "the count begins anew");
}

#[test]
fn a_frozen_mac_ages_like_any_other() {
    let mut lab = lab_with(Limits {
        duplicates: Duplicates {
            freeze_s: 0,
            ..Duplicates::default()
        },
        ..Limits::default()
    });
    flap(&mut lab, 5);
    lab.wait(299);
    assert!(is_frozen(&lab));
    lab.wait(1);
    assert_eq!(lab.fdb(100).len(), 0);
}

#[test]
fn a_frozen_mac_is_cleared_by_hand() {
    let ways = [
        fdb_del(A, 100, None),
        Op::FdbReplace(entry(A, 100, "tap0")),
        Op::FdbFlush(FdbFilter {
            vni: Some(vni(100)),
            ..FdbFilter::default()
        }),
    ];
    for way in ways {
        let mut lab = lab();
        flap(&mut lab, 5);
        lab.done(&way);
        if matches!(way, Op::FdbReplace(_)) {
            assert!(!is_frozen(&lab));
            lab.done(&fdb_del(A, 100, None));
        }
        lab.learn(A, Port(0));
        flap(&mut lab, 4);
        assert!(!is_frozen(&lab), "{way:?}");
        assert_eq!(lab.wait(200).events.len(), 0, "there is nothing to thaw");
    }
}

#[test]
fn a_frozen_mac_goes_with_its_port() {
    let mut lab = lab();
    for slot in [1, 0, 1, 0, 1] {
        lab.learn(A, Port(slot));
    }
    lab.done(&Op::PortDel {
        dev: "tap1".into(),
        part: PortPart::default(),
    });
    lab.learn(A, Port(0));
    assert!(!is_frozen(&lab));
}

#[test]
fn a_frozen_mac_thaws_when_the_port_goes_that_it_was_seen_at_too() {
    let mut lab = lab();
    flap(&mut lab, 5);
    let del = |dev: &str| Op::PortDel {
        dev: dev.into(),
        part: PortPart::default(),
    };
    lab.done(&del("tap1"));
    assert!(is_frozen(&lab));

    let effect = lab.done(&del("tap0"));

    assert!(!is_frozen(&lab));
    assert_eq!(effect.events[0].event, EventKind::Thawed);
    assert_eq!(lab.row(A).dst, Some(ip(V2)));
}

#[test]
fn a_vm_that_comes_back_to_a_new_port_is_not_a_duplicate() {
    let mut lab = lab();
    for _ in 0..10 {
        lab.learn(A, Vtep(V2));
        lab.wait(1);
        lab.done(&Op::PortDel {
            dev: "tap0".into(),
            part: PortPart::default(),
        });
        lab.done(&port_add("tap0", 100));
        lab.learn(A, Port(0));
        lab.wait(1);
    }
    assert!(!is_frozen(&lab));
}

#[test]
fn a_vm_that_comes_back_to_an_interface_that_came_up_is_not_a_duplicate() {
    let mut lab = lab();
    let mut facts = lab.links["tap0"].clone();
    for _ in 0..10 {
        lab.learn(A, Vtep(V2));
        lab.wait(1);
        for running in [false, true] {
            facts.running = running;
            lab.links.insert("tap0".into(), facts.clone());
            let writes = lab.state.link_changed(&facts);
            lab.replay(&writes);
        }
        lab.learn(A, Port(0));
        lab.wait(1);
    }
    assert!(!is_frozen(&lab));
}

#[test]
fn an_interface_that_changes_otherwise_is_no_excuse() {
    let mut lab = lab();
    let mut facts = lab.links["tap0"].clone();
    for number in 0..3 {
        lab.learn(A, Vtep(V2));
        lab.wait(1);
        facts.mtu += number;
        let writes = lab.state.link_changed(&facts);
        lab.links.insert("tap0".into(), facts.clone());
        lab.replay(&writes);
        lab.learn(A, Port(0));
        lab.wait(1);
    }
    assert!(is_frozen(&lab));
}

#[test]
fn nothing_is_frozen_where_no_moves_are_too_many() {
    let duplicates = Duplicates {
        moves: 0,
        ..Duplicates::default()
    };
    let mut lab = lab_with(Limits {
        duplicates,
        ..Limits::default()
    });
    flap(&mut lab, 20);
    assert!(!is_frozen(&lab));
}

#[test]
fn a_new_daemon_keeps_what_is_frozen_and_thaws_it() {
    let mut lab = lab();
    flap(&mut lab, 5);
    lab.state = lab.adopt().state;
    assert!(is_frozen(&lab));
    lab.learn(A, Port(0));
    assert_eq!(lab.row(A).dst, Some(ip(V2)));
    lab.wait(180);
    assert!(!is_frozen(&lab));
}
