//! Tables that somebody fills, and who has room in them all the same: each rule as a claim.

use std::net::IpAddr;

use vtep_common::abi::event::Event;

use super::{
    super::Limits,
    lab::{From::*, *},
};
use crate::control::record::{limits, queue::SECOND};
use crate::model::{EventKind, FdbDel, Op, PortPart, PortSpec, RefusalKind, VniSpec};

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";
const ZERO: &str = "00:00:00:00:00:00";
const VTEPS: [&str; 5] = [
    "192.0.2.2",
    "192.0.2.3",
    "192.0.2.4",
    "192.0.2.5",
    "192.0.2.6",
];
const NOBODY: [IpAddr; 0] = [];
/// Of so many places, 10 are kept for what the user says.
const PLACES: u32 = 320;

/// A lab with VNI 100, in which slot 0 is `tap0`, and VNI 200, in which slot 1 is `tap1`.
fn lab(limits: Limits) -> Lab {
    let mut lab = Lab::with(limits);
    lab.state.set_watched(true);
    lab.done(&vni_add(100));
    lab.done(&vni_add(200));
    lab.done(&port_add("tap0", 100));
    lab.done(&port_add("tap1", 200));
    lab
}

fn places() -> Limits {
    Limits {
        fdb: PLACES,
        ..Limits::default()
    }
}

fn peers(peers: u32, found_peers: u32) -> Limits {
    Limits {
        peers,
        found_peers,
        ..Limits::default()
    }
}

/// Frames from so many MACs, in a segment, at a port.
fn flood_of(lab: &Lab, segment: u32, slot: u32, macs: std::ops::Range<u64>) -> Vec<Event> {
    macs.map(|number| Event {
        mac: 0x0200_0000_0000 | u64::from(segment) << 24 | number,
        ..lab.event(Event::LEARN, SegmentId::new(segment), A, Port(slot))
    })
    .collect()
}

fn max(lab: &Lab, limit: &str) -> (Option<u64>, u64) {
    let rows = lab.state.limit_rows();
    let row = rows.iter().find(|row| row.limit == limit).unwrap();
    (row.used, row.max)
}

fn named(mac: &str, vni: u32, vtep: &str) -> Op {
    Op::FdbAppend(entry(mac, vni, vtep))
}

fn unnamed(vni: u32, vtep: &str) -> Op {
    Op::FdbDel(FdbDel {
        mac: mac(ZERO),
        vni: self::vni(vni),
        dst: Some(ip(vtep)),
        dev: None,
    })
}

#[test]
fn one_vm_leaves_room_for_other_tenants_and_for_the_user() {
    let mut lab = lab(places());

    let effect = lab.take(&flood_of(&lab, 0, 0, 0..400));

    assert_eq!(lab.fdb(100).len(), 301);
    let last = effect.events.last().unwrap();
    assert_eq!((last.event, last.vni), (EventKind::Limit, Some(vni(100))));
    assert!(last.why.as_deref().unwrap().contains("--max-macs"));
    lab.take(&flood_of(&lab, 1, 1, 0..5));
    assert_eq!(lab.fdb(200).len(), 5);
    for number in 0..10 {
        let at = format!("02:01:00:00:00:{number:02x}");
        lab.done(&Op::FdbAdd(entry(&at, 200, "tap1")));
    }
    lab.done(&Op::PortAdd(Box::new(PortSpec {
        macs: vec![mac(A), mac(B)],
        ..port_spec("tap2", 200)
    })));
}

#[test]
fn what_is_learned_never_takes_the_places_that_are_kept() {
    let mut lab = lab(places());
    // By turns, each VNI takes its share of what the other has left.
    for turn in 0..200_u64 {
        let from = turn * 10;
        lab.take(&flood_of(&lab, 0, 0, from..from + 10));
        lab.take(&flood_of(&lab, 1, 1, from..from + 10));
    }
    let (learned, most) = max(&lab, "fdb_learned");
    assert_eq!(most, 310);
    assert!((306..=310).contains(&learned.unwrap()), "{learned:?}");
}

#[test]
fn a_limit_of_its_own_takes_the_place_of_the_share() {
    let mut lab = lab(places());
    let spec = |max_macs| {
        Box::new(VniSpec {
            max_macs: Some(max_macs),
            ..VniSpec::default()
        })
    };
    lab.done(&Op::VniSet {
        vni: vni(100),
        spec: spec(PLACES),
    });
    lab.take(&flood_of(&lab, 0, 0, 0..400));
    assert_eq!(lab.fdb(100).len(), 301, "the port has none");
    lab.done(&Op::PortSet {
        dev: "tap0".into(),
        change: Box::new(crate::model::PortChange {
            max_macs: Some(PLACES),
            ..crate::model::PortChange::default()
        }),
    });
    lab.take(&flood_of(&lab, 0, 0, 400..800));
    assert_eq!(lab.fdb(100).len(), 310);
}

#[test]
fn what_the_user_says_is_no_part_of_a_share() {
    let mut lab = lab(places());
    for number in 0..=255 {
        let at = format!("02:01:00:00:00:{number:02x}");
        lab.done(&Op::FdbAdd(entry(&at, 100, "tap0")));
    }
    lab.take(&flood_of(&lab, 0, 0, 0..400));
    assert_eq!(max(&lab, "fdb_learned").0, Some(53));
}

#[test]
fn of_vteps_that_nobody_has_named_few_are_learned_from() {
    let mut lab = lab(peers(5, 2));
    lab.done(&named(ZERO, 100, VTEPS[0]));
    for (number, vtep) in VTEPS.into_iter().enumerate() {
        let at = format!("02:00:00:00:01:{number:02x}");
        lab.learn(&at, Vtep(vtep));
    }
    assert_eq!(lab.peers(), VTEPS[..3]);
    assert_eq!(max(&lab, "peers_learned"), (Some(2), 2));
    assert_eq!(lab.state.learn_counters().full, 2);
    // More of those that are known.
    lab.learn(A, Vtep(VTEPS[2]));
    lab.learn(B, Vtep(VTEPS[0]));
    assert_eq!(lab.fdb(100).len(), 6);
    // One that is named counts no more.
    lab.done(&named(ZERO, 200, VTEPS[1]));
    lab.learn("02:00:00:00:02:00", Vtep(VTEPS[3]));
    assert_eq!(lab.peers(), VTEPS[..4]);
}

#[test]
fn a_vtep_that_nobody_has_named_makes_room_for_one_that_the_user_names() {
    let mut lab = lab(peers(3, 3));
    for (at, vtep) in [
        (A, VTEPS[0]),
        (B, VTEPS[1]),
        ("02:00:00:00:00:0c", VTEPS[2]),
    ] {
        lab.learn(at, Vtep(vtep));
    }
    assert_eq!(lab.peers(), VTEPS[..2], "the last place is the user's");

    let effect = lab.done(&named(ZERO, 100, VTEPS[3]));

    assert_eq!(lab.peers(), [VTEPS[1], VTEPS[3]]);
    assert_eq!(lab.fdb(100).len(), 2, "its MAC goes too");
    assert_eq!(
        (effect.forget, effect.resolve),
        (vec![ip(VTEPS[0])], vec![ip(VTEPS[3])])
    );
    lab.done(&named(ZERO, 100, VTEPS[2]));
    assert_eq!(lab.peers(), [VTEPS[2], VTEPS[3]]);
    lab.done(&named(ZERO, 100, VTEPS[1]));
    let refusal = lab.apply(&named(ZERO, 100, VTEPS[4])).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Full);
    lab.done(&unnamed(100, VTEPS[2]));
    lab.done(&named(ZERO, 100, VTEPS[4]));
    assert_eq!(lab.peers(), [VTEPS[1], VTEPS[3], VTEPS[4]]);
}

#[test]
fn a_vteps_path_is_found_anew_when_it_is_named_and_when_it_is_not_any_more() {
    let mut lab = lab(Limits::default());
    let v2 = VTEPS[0];
    assert_eq!(lab.learn(A, Vtep(v2)).resolve, [ip(v2)]);
    assert_eq!(lab.learn(B, Vtep(v2)).resolve, NOBODY);
    assert!(!lab.state.is_named(ip(v2)));

    assert_eq!(lab.done(&named(ZERO, 100, v2)).resolve, [ip(v2)]);
    assert!(lab.state.is_named(ip(v2)));
    assert_eq!(lab.done(&named(ZERO, 200, v2)).resolve, NOBODY);
    assert_eq!(lab.done(&unnamed(100, v2)).resolve, NOBODY);
    assert_eq!(lab.done(&unnamed(200, v2)).resolve, [ip(v2)]);
    assert!(!lab.state.is_named(ip(v2)));

    // MACs that come and go name nobody.
    lab.learn(A, Vtep(VTEPS[1]));
    let back = lab.learn(A, Vtep(v2));
    assert_eq!((back.resolve, back.forget), (vec![], vec![ip(VTEPS[1])]));
    lab.state = lab.adopt().state;
    assert!(!lab.state.is_named(ip(v2)));
    assert_eq!(max(&lab, "peers_learned").0, Some(1));
}

#[test]
fn macs_with_many_hosts_age_a_bounded_number_in_each_tick() {
    const MACS: u64 = 40;
    let mut lab = Lab::new();
    let spec = VniSpec {
        suppress: Some(true),
        ageing_s: Some(10),
        ..VniSpec::default()
    };
    lab.done(&vni_add_with(100, spec));
    lab.done(&port_add("tap0", 100));
    let mut all = Vec::new();
    for number in 0..MACS {
        for host in 0..limits::MAX_HOSTS_OF_MAC {
            let [high, low] = u16::try_from(host).unwrap().to_be_bytes();
            let host = format!("10.{number}.{high}.{low}");
            all.push(Event {
                mac: 0x0200_0000_0000 + number,
                host: ip(&host).into(),
                ..lab.event(Event::SNOOPED, SEGMENT, A, Port(0))
            });
        }
    }
    lab.take(&all);
    assert!(lab.neighs().len() > 10_000);
    // They speak again, though their MACs send nothing that would refresh the entries.
    lab.now += 5 * SECOND;
    for event in &mut all {
        event.time = lab.now;
    }
    lab.take(&all);

    lab.now += 5 * SECOND;
    let mut total = 0;
    let mut most = 0;
    while total == 0 || lab.state.is_behind() {
        let writes = lab.tick_unchecked().writes.len();
        (total, most) = (total + writes, most.max(writes));
    }

    assert!(total > 10_000 && most < 5_000, "{most} of {total}");
}

#[test]
fn ports_that_wait_take_places_too() {
    let mut lab = lab(Limits {
        ports: 4,
        ..Limits::default()
    });
    let waits = |dev: &str| {
        let mut spec = port_spec(dev, 100);
        spec.wait = true;
        Op::PortAdd(Box::new(spec))
    };
    lab.done(&waits("later0"));
    lab.done(&waits("later1"));
    let refusal = lab.apply(&waits("later2")).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Full);
    // One that goes makes room.
    lab.done(&Op::PortDel {
        dev: "later0".to_owned(),
        part: PortPart::default(),
    });
    lab.done(&waits("later2"));
}
