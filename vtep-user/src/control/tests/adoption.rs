//! A new daemon and what an earlier one left.

use vtep_common::abi::{
    fdb::{FdbKey, FdbValue},
    peer::Peer,
    port::Port,
};

use super::{
    super::{Limits, State},
    lab::*,
    model::Model,
};
use crate::model::{
    Df, Flood, InnerVlan, Mode, Op, OrInherit, PeerSpec, PeerState, PortHook, PortRange, PortSpec,
    PortState, Reserved, VniSpec,
};

/// A lab with something of everything.
fn full() -> Lab {
    let mut lab = Lab::new();
    lab.done(&vni_add_with(
        100,
        VniSpec {
            mode: Some(Mode::L2),
            flood: Some(Flood::None),
            learning: Some(true),
            ageing_s: Some(17),
            max_macs: Some(9),
            inner_vlan: Some(InnerVlan::Pass),
            ttl: Some(OrInherit::Inherit),
            tos: Some(OrInherit::Value(0x20)),
            df: Some(Df::Inherit),
            srcport: PortRange::new(5, 6),
            reserved: Some(Reserved::Strict),
            ..VniSpec::default()
        },
    ));
    lab.done(&vni_add(200));
    lab.done(&Op::PortAdd(Box::new(PortSpec {
        hook: Some(PortHook::Xdp),
        macs: vec![mac("02:00:00:00:00:01")],
        max_macs: Some(3),
        ..port_spec("tap0", 100)
    })));
    lab.done(&Op::PortAdd(Box::new(PortSpec {
        vlan: vlan(10),
        ..port_spec("tap0", 200)
    })));
    lab.done(&port_add("tap1", 200));
    for (at, to) in [
        ("02:00:00:00:00:0a", "192.0.2.2"),
        ("00:00:00:00:00:00", "192.0.2.3"),
        ("00:00:00:00:00:00", "2001:db8::2"),
        ("01:00:5e:00:00:01", "192.0.2.2"),
    ] {
        lab.done(&Op::FdbReplace(entry(at, 100, to)));
        lab.done(&Op::FdbReplace(entry(at, 200, to)));
    }
    lab.done(&Op::PeerSet {
        ip: ip("2001:db8::2"),
        spec: PeerSpec { csum6: Some(false) },
    });
    lab.resolve("192.0.2.2");
    lab
}

#[test]
fn everything_that_was_set_is_read_back_from_the_maps() {
    let lab = full();

    let adopted = lab.adopt();

    assert_eq!(
        (&adopted.writes[..], &adopted.notes[..]),
        (&[][..], &[][..])
    );
    assert_eq!(rows(&adopted.state), lab.rows());
    let attachments: Vec<_> = adopted
        .state
        .attachments()
        .map(|at| (at.ifindex.get(), at.hook))
        .collect();
    assert_eq!(attachments, [(10, PortHook::Xdp), (11, PortHook::Auto)]);
    assert_eq!(adopted.state.peer_ips().count(), lab.peers().len());
}

#[test]
fn a_resolved_peer_stays_resolved() {
    let lab = full();
    let adopted = lab.adopt();
    let row = &adopted.state.peer_rows(Some(ip("192.0.2.2"))).unwrap()[0];
    assert_eq!(
        (row.state, row.dev.as_deref()),
        (PeerState::Resolved, Some("eth0"))
    );
}

#[test]
fn empty_maps_make_an_empty_state() {
    let dump = Model::default().dump();
    let adopted = State::adopt(&dump, Vec::new(), UDP_PORT, Limits::default(), &[].into());
    assert_eq!(adopted.writes, []);
    assert!(adopted.state == State::new(Limits::default(), Vec::new(), UDP_PORT));
}

#[test]
fn ports_whose_interface_is_gone_wait_for_it_and_that_is_told() {
    let mut lab = full();
    lab.links.remove("tap0");

    let adopted = lab.adopt();
    lab.state = adopted.state;
    lab.replay(&adopted.writes);

    assert_eq!(adopted.notes.len(), 2);
    assert!(adopted.notes[0].contains("vni 100"), "{}", adopted.notes[0]);
    let states = |lab: &Lab| {
        let rows = lab.state.port_rows(None).unwrap().into_iter();
        rows.map(|row| (row.dev, row.state, row.ifindex))
            .collect::<Vec<_>>()
    };
    let waits = || ("tap0".to_owned(), PortState::Absent, None);
    let there = ("tap1".to_owned(), PortState::Attached, Some(11));
    assert_eq!(states(&lab), [waits(), waits(), there.clone()]);
    assert!(lab.fdb(100).iter().any(|row| row.ends_with("tap0")));
    let again = lab.adopt();
    assert_eq!((again.writes, again.notes.len()), (vec![], 0));

    // Another has the number that it had, and it comes by another one.
    lab.links
        .insert("mgmt0".into(), facts(Ifindex::new(10), "mgmt0"));
    lab.links
        .insert("tap0".into(), facts(Ifindex::new(50), "tap0"));
    let adopted = lab.adopt();
    lab.state = adopted.state;
    lab.replay(&adopted.writes);
    let back = || ("tap0".to_owned(), PortState::Attached, Some(50));
    assert_eq!(states(&lab), [back(), back(), there]);
    assert_eq!(lab.adopt().writes, []);
}

#[test]
fn a_port_that_a_command_has_wait_outlives_the_daemon_with_all_that_it_has() {
    let mut lab = Lab::new();
    lab.done(&vni_add(100));
    lab.done(&Op::PortAdd(Box::new(PortSpec {
        macs: vec![mac("02:00:00:00:00:01")],
        ips: vec![ip("10.0.0.1")],
        max_macs: Some(3),
        isolated: Some(true),
        wait: true,
        ..port_spec("late0", 100)
    })));
    let before = lab.rows();
    assert_eq!(before.ports[0].state, PortState::Absent);

    let adopted = lab.adopt();

    assert_eq!((adopted.writes, adopted.notes.len()), (vec![], 0));
    assert_eq!(rows(&adopted.state), before);
    assert!(adopted.state.awaits("late0"));
    assert_eq!(adopted.state.attachments().count(), 0);
}

#[test]
fn what_changed_while_no_daemon_ran_is_brought_up_to_date() {
    let mut lab = full();
    lab.links.get_mut("tap1").unwrap().mtu = 9000;
    let links = lab
        .links
        .values()
        .map(|facts| (facts.ifindex, facts.clone()))
        .collect();

    let adopted = State::adopt(
        &lab.maps.dump(),
        vec![ip("192.0.2.9")],
        8472,
        Limits::default(),
        &links,
    );
    lab.state = adopted.state;
    lab.replay(&adopted.writes);

    assert_eq!(lab.port("tap1").mtu, 9000);
    let v4 = lab
        .maps
        .peers
        .values()
        .find(|peer| peer.has(Peer::RESOLVED))
        .unwrap();
    let header = bytemuck::bytes_of(&v4.template);
    assert_eq!(&header[26..30], [192, 0, 2, 9]);
    assert_eq!(&header[36..38], 8472_u16.to_be_bytes());
}

#[test]
fn entries_that_point_nowhere_or_are_not_understood_are_taken_away() {
    let mut lab = full();
    let bad = [
        Some(FdbTarget::Peer(PeerId::new(99))),
        Some(FdbTarget::Port(PortSlot::new(99))),
        Some(FdbTarget::Port(PortSlot::new(2))),
        Some(FdbTarget::List(ListId::new(0))),
        Some(FdbTarget::List(ListId::new(0xffff))),
        None,
    ];
    for (last, target) in (0x80..).zip(bad) {
        let at = mac("02:00:00:00:00:00").bytes();
        let at = crate::model::MacAddr::from_bytes([at[0], 0, 0, 0, 0, last]);
        let key = FdbKey::new(SEGMENT, at);
        match target {
            Some(target) => drop(lab.maps.fdb.insert(key, FdbValue::static_to(target))),
            None => drop(lab.maps.unknown.insert(key)),
        }
    }
    let before = lab.rows();

    let adopted = lab.adopt();

    assert_eq!(adopted.writes.len(), bad.len());
    assert_eq!(rows(&adopted.state), before);
}

#[test]
fn hostile_numbers_in_the_maps_do_no_harm() {
    let mut lab = full();
    let mut segment = lab.maps.segments[&SEGMENT];
    (segment.mode, segment.flood, segment.source_port_min) = (99, 99, 0);
    lab.maps.segments.insert(SEGMENT, segment);
    let mut port = lab.maps.ports[&PortSlot::new(0)];
    port.flags |= Port::HOOK_TC | Port::HOOK_XDP;
    lab.maps.ports.insert(PortSlot::new(0), port);
    lab.maps.ports.insert(PortSlot::NONE, port);
    lab.maps.vnis.insert(0x0100_0000, SEGMENT);
    lab.maps.vnis.insert(7, SegmentId::NONE);
    let list = lab.maps.flood.get_mut(&SEGMENT.into()).unwrap();
    (list.len, list.ports) = (u32::MAX, u32::MAX);

    let adopted = lab.adopt();

    rows(&adopted.state);
    assert!(!adopted.writes.is_empty());
}
