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

/// A lab in which `V2` is on the list of VNI 100, and `A` was behind it for long.
fn far_lab() -> Lab {
    let mut lab = lab();
    lab.done(&Op::FdbAppend(entry("00:00:00:00:00:00", 100, V2)));
    lab.learn(A, Vtep(V2));
    lab.wait(250);
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
fn the_fifth_move_freezes_a_mac_where_it_was_longest_and_both_places_are_shown() {
    let mut lab = lab();
    flap(&mut lab, 4);
    assert!(!is_frozen(&lab));

    let effect = lab.learn(A, Vtep(V2));

    assert!(is_frozen(&lab));
    let [event] = &effect.events[..] else {
        panic!("{:?}", effect.events)
    };
    assert_eq!(
        (event.event, event.dev.as_deref(), event.old_dst),
        (EventKind::Duplicate, Some("tap0"), Some(ip(V2)))
    );
    assert_eq!(lab.state.learn_counters().frozen, 1);
    assert_eq!(lab.peers(), [""; 0], "the thief is no peer");
    lab.learn(A, Vtep(V2));
    let row = lab.row(A);
    assert_eq!(row.dev.as_deref(), Some("tap0"));
    assert_eq!((row.other_dst, row.other_dev), (Some(ip(V2)), None));
}

#[test]
fn a_mac_that_a_port_steals_from_a_listed_vtep_is_frozen_behind_the_vtep() {
    let mut lab = far_lab();
    for _ in 0..2 {
        lab.learn(A, Port(1));
        lab.wait(1);
        lab.learn(A, Vtep(V2));
        lab.wait(1);
    }
    assert!(!is_frozen(&lab));
    lab.learn(A, Port(1));
    assert!(is_frozen(&lab));
    let row = lab.row(A);
    assert_eq!(
        (row.dst, row.other_dev.as_deref()),
        (Some(ip(V2)), Some("tap1"))
    );
}

#[test]
fn a_mac_is_never_frozen_behind_a_vtep_that_the_vni_does_not_name() {
    for named in ["nowhere", "in another VNI", "here"] {
        let mut lab = lab();
        lab.done(&vni_add(200));
        lab.learn(A, Vtep(V2));
        match named {
            "here" => drop(lab.done(&Op::FdbAdd(entry(B, 100, V2)))),
            "in another VNI" => drop(lab.done(&Op::FdbAdd(entry(B, 200, V2)))),
            _ => {}
        }
        lab.wait(250);
        for slot in [0, 1, 0, 1, 0] {
            lab.learn(A, Port(slot));
            if !is_frozen(&lab) {
                lab.learn(A, Vtep(V2));
            }
        }
        assert!(is_frozen(&lab), "{named}");
        let at = lab.row(A).dst;
        assert_eq!(at, (named == "here").then(|| ip(V2)), "{named}");
    }
}

#[test]
fn a_mac_goes_back_to_the_port_where_it_was_longest_from_wherever_the_count_ends() {
    let mut lab = lab();
    lab.done(&port_add("tap2", 100));
    lab.wait(1);
    for slot in [1, 0, 1, 2, 1] {
        assert!(!is_frozen(&lab));
        lab.learn(A, Port(slot));
        lab.wait(1);
    }
    assert!(is_frozen(&lab));
    assert_eq!(lab.row(A).dev.as_deref(), Some("tap0"));
}

#[test]
fn what_was_before_the_window_is_no_claim_to_a_mac() {
    let mut lab = lab();
    // It moves away for good, and somebody fights for it there.
    lab.learn(A, Port(1));
    lab.wait(179);
    for _ in 0..3 {
        lab.learn(A, Vtep(V2));
        lab.learn(A, Port(1));
    }
    assert!(is_frozen(&lab));
    assert_eq!(lab.row(A).dev.as_deref(), Some("tap1"));
}

#[test]
fn failovers_twice_a_minute_freeze_nothing() {
    let mut lab = far_lab();
    for number in 0..120 {
        let to = if number % 2 == 0 { Port(0) } else { Vtep(V2) };
        lab.learn(A, to);
        assert!(!is_frozen(&lab), "failover {number}");
        // Each master sends.
        for _ in 0..3 {
            lab.wait(10);
            lab.seen(A);
        }
    }
}

#[test]
fn a_thief_who_waits_between_thefts_is_found_out_too() {
    let mut lab = lab();
    let mut thefts = 0;
    while !is_frozen(&lab) {
        lab.learn(A, Vtep(V2));
        thefts += 1;
        lab.wait(1);
        // The MAC's owner speaks.
        lab.learn(A, Port(0));
        lab.wait(30);
        assert!(thefts < 10);
    }
    assert_eq!(lab.row(A).dev.as_deref(), Some("tap0"));
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
    assert_eq!(lab.row(A).other_dst, None);
    lab.learn(A, Vtep(V2));
    assert_eq!(lab.row(A).dst, Some(ip(V2)));
    lab.learn(A, Port(0));
    flap(&mut lab, 2);
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
    lab.seen(A);
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
        dev: "tap0".into(),
        part: PortPart::default(),
    });
    lab.learn(A, Port(1));
    assert!(!is_frozen(&lab));
}

#[test]
fn a_frozen_mac_thaws_when_the_port_goes_that_it_was_seen_at_too() {
    let mut lab = far_lab();
    for _ in 0..3 {
        lab.learn(A, Port(0));
        lab.learn(A, Vtep(V2));
    }
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
fn an_interface_that_changes_is_no_excuse() {
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
    lab.learn(A, Vtep(V2));
    assert_eq!(lab.row(A).dev.as_deref(), Some("tap0"));
    lab.wait(180);
    assert!(!is_frozen(&lab));
}
