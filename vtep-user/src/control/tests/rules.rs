//! Each rule as a claim.

use vtep_common::{
    abi::{id::Ifindex, peer::Peer, port::Port, segment::Segment},
    frame::template,
};

use super::{
    super::{Limits, Resolution, Undo, Write},
    lab::*,
    model::split,
};
use crate::model::{
    Df, FdbFilter, Flood, InnerVlan, L2cp, Mode, Op, OrInherit, OverLimit, PeerSpec, PeerState,
    PortChange, PortHook, PortPart, PortRange, PortSpec, PortState, RefusalKind, Reserved, Sources,
    VniSpec,
};

const ZERO: &str = "00:00:00:00:00:00";
const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";
const GROUP: &str = "01:00:5e:00:00:01";

/// A lab with VNI 100 and `tap0` in it.
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.done(&vni_add(100));
    lab.done(&port_add("tap0", 100));
    lab
}

fn add(lab: &mut Lab, at: &str, to: &str) {
    lab.done(&Op::FdbAdd(entry(at, 100, to)));
}

fn append(lab: &mut Lab, at: &str, to: &str) {
    lab.done(&Op::FdbAppend(entry(at, 100, to)));
}

fn flush(filter: FdbFilter) -> Op {
    Op::FdbFlush(FdbFilter {
        vni: Some(vni(100)),
        with_static: !filter.learned,
        ..filter
    })
}

fn port_set(dev: &str, change: PortChange) -> Op {
    Op::PortSet {
        dev: dev.to_owned(),
        change: Box::new(change),
    }
}

fn port_del(dev: &str) -> Op {
    Op::PortDel {
        dev: dev.to_owned(),
        part: PortPart::default(),
    }
}

// VNIs

#[test]
fn a_new_vni_has_the_documented_defaults() {
    let mut lab = Lab::new();
    lab.done(&vni_add(100));

    let row = lab.vni(100);

    assert_eq!(
        (row.mode, row.flood, row.group),
        (Mode::Flood, Flood::Her, None)
    );
    assert_eq!((row.learning, row.suppress), (true, false));
    assert_eq!((row.ageing_s, row.max_macs), (300, None));
    assert_eq!(
        (row.inner_vlan, row.reserved),
        (InnerVlan::Drop, Reserved::Ignore)
    );
    assert_eq!(
        (row.ttl.to_string(), row.tos.to_string()),
        ("64".into(), "0".into())
    );
    assert_eq!((row.df, row.srcport), (Df::Set, PortRange::DYNAMIC));
    assert!(lab.maps.segments[&SEGMENT].has(Segment::FLOODS));
}

#[test]
fn mode_l2_floods_and_does_not_learn_and_each_part_can_be_given() {
    let mut lab = Lab::new();
    let l2 = VniSpec {
        mode: Some(Mode::L2),
        ..VniSpec::default()
    };
    lab.done(&vni_add_with(1, l2.clone()));
    lab.done(&vni_add_with(
        2,
        VniSpec {
            flood: Some(Flood::None),
            learning: Some(true),
            ..l2
        },
    ));

    let [one, two] = [1, 2].map(|vni| lab.vni(vni));

    assert_eq!(
        (one.mode, one.flood, one.learning),
        (Mode::L2, Flood::Her, false)
    );
    assert_eq!(
        (two.mode, two.flood, two.learning),
        (Mode::L2, Flood::None, true)
    );
    assert!(!lab.maps.segments[&SegmentId::new(1)].has(Segment::FLOODS));
}

#[test]
fn setting_a_mode_resets_its_parts_and_nothing_else() {
    let mut lab = Lab::new();
    lab.done(&vni_add_with(
        1,
        VniSpec {
            flood: Some(Flood::None),
            learning: Some(false),
            ttl: Some(OrInherit::Inherit),
            ..VniSpec::default()
        },
    ));
    lab.done(&vni_set(
        1,
        VniSpec {
            mode: Some(Mode::Flood),
            ..VniSpec::default()
        },
    ));

    let row = lab.vni(1);

    assert_eq!((row.flood, row.learning), (Flood::Her, true));
    assert_eq!(row.ttl, OrInherit::Inherit);
}

#[test]
fn what_is_not_given_is_left_as_it_is() {
    let mut lab = Lab::new();
    let spec = VniSpec {
        mode: Some(Mode::L2),
        flood: Some(Flood::None),
        learning: Some(true),
        suppress: Some(false),
        ageing_s: Some(0),
        max_macs: Some(7),
        inner_vlan: Some(InnerVlan::Pass),
        ttl: Some("9".parse().unwrap()),
        tos: Some(OrInherit::Value(0xb8)),
        df: Some(Df::Unset),
        srcport: PortRange::new(1000, 2000),
        reserved: Some(Reserved::Strict),
        over_limit: Some(OverLimit::Drop),
        sources: Some(Sources::Any),
        l2cp: Some(L2cp::Pass),
        mss_clamp: Some(true),
        bridge: Some("br0".into()),
        group: None,
    };
    lab.done(&vni_add_with(1, spec));
    let before = lab.vni(1);

    let effect = lab.done(&vni_set(1, VniSpec::default()));

    assert_eq!(effect.writes, []);
    assert_eq!(lab.vni(1), before);
    assert_eq!((before.ageing_s, before.max_macs), (0, Some(7)));
    assert_eq!((before.tos, before.df), (OrInherit::Value(0xb8), Df::Unset));
}

#[test]
fn a_vni_is_added_once() {
    assert_eq!(
        lab().refused(&vni_add(100)),
        "vni 100 exists already; change it with: vtep vni set 100"
    );
}

#[test]
fn an_unknown_vni_is_refused_with_how_to_create_it() {
    let mut lab = lab();
    let ops = [
        vni_set(7, VniSpec::default()),
        port_add("tap1", 7),
        Op::FdbAdd(entry(A, 7, "192.0.2.2")),
    ];
    for op in ops {
        assert_eq!(
            lab.refused(&op),
            "vni 7 does not exist; create it with: vtep vni add 7"
        );
    }
}

#[test]
fn what_shows_or_removes_of_nothing_is_refused_with_how_to_see_what_there_is() {
    let mut lab = lab();
    let ops = [
        vni_del(vni(7)),
        fdb_del(A, 7, None),
        Op::FdbFlush(FdbFilter {
            vni: Some(vni(7)),
            ..FdbFilter::default()
        }),
    ];
    let no_vni = "vni 7 does not exist; see which do with: vtep vni show";
    for op in ops {
        assert_eq!(lab.refused(&op), no_vni);
    }
    let refusal = lab.state.vni_rows(Some(vni(7))).unwrap_err();
    assert_eq!(refusal.to_string(), no_vni);
    let no_port = "tap9 is not a port; see which are with: vtep port show";
    let refusal = lab.state.port_rows(Some("tap9")).unwrap_err();
    assert_eq!(refusal.to_string(), no_port);
    let del = Op::PortDel {
        dev: "tap9".into(),
        part: PortPart::default(),
    };
    assert_eq!(lab.refused(&del), no_port);
    lab.done(&vni_add(200));
    let elsewhere = Op::PortDel {
        dev: "tap0".into(),
        part: PortPart {
            vni: Some(vni(200)),
            ..PortPart::default()
        },
    };
    assert_eq!(
        lab.refused(&elsewhere),
        "port tap0 is not in vni 200; see where it is with: vtep port show tap0"
    );
    let refusal = lab.state.peer_rows(Some(ip("192.0.2.99"))).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "peer 192.0.2.99 does not exist; see which do with: vtep peer show"
    );
    assert_eq!(
        lab.refused(&fdb_del(ZERO, 100, Some("192.0.2.99"))),
        "192.0.2.99 is not on the list of 00:00:00:00:00:00 in vni 100; see the list with: vtep fdb get 00:00:00:00:00:00 --vni 100"
    );
}

#[test]
fn a_deleted_vni_takes_its_ports_entries_and_peers_along_and_no_others() {
    let mut lab = lab();
    lab.done(&vni_add(200));
    lab.done(&Op::PortAdd(Box::new(PortSpec {
        vlan: vlan(10),
        ..port_spec("tap0", 200)
    })));
    lab.done(&port_add("tap1", 100));
    add(&mut lab, A, "192.0.2.2");
    add(&mut lab, B, "tap1");
    append(&mut lab, ZERO, "192.0.2.3");
    append(&mut lab, GROUP, "192.0.2.3");
    lab.done(&Op::FdbAdd(entry(A, 200, "192.0.2.2")));

    let effect = lab.done(&vni_del(vni(100)));

    assert_eq!(lab.fdb(200), ["02:00:00:00:00:0a 192.0.2.2"]);
    assert_eq!(lab.peers(), ["192.0.2.2"]);
    assert_eq!(effect.detach, [Ifindex::new(11)], "tap0 still has a port");
    assert_eq!(effect.forget, [ip("192.0.2.3")]);
    assert_eq!(lab.state.totals().fdb, 1);
}

#[test]
fn a_vni_that_is_full_takes_no_more_macs() {
    let mut lab = lab();
    lab.done(&vni_set(
        100,
        VniSpec {
            max_macs: Some(1),
            ..VniSpec::default()
        },
    ));
    add(&mut lab, A, "192.0.2.2");
    lab.done(&Op::FdbReplace(entry(A, 100, "192.0.2.3")));

    assert_eq!(
        lab.refused(&Op::FdbAdd(entry(B, 100, "192.0.2.2"))),
        "vni 100 is at its limit of 1 MACs; raise the limit with: vtep vni set 100 --max-macs N"
    );
}

// Ports

#[test]
fn a_new_port_is_attached_and_the_last_of_an_interface_detached() {
    let mut lab = Lab::new();
    lab.done(&vni_add(100));
    lab.done(&vni_add(200));

    let first = lab.done(&port_add("tap0", 100));
    let second = lab.done(&Op::PortAdd(Box::new(PortSpec {
        vlan: vlan(10),
        ..port_spec("tap0", 200)
    })));

    assert_eq!(
        (first.attach[0].ifindex, first.attach[0].hook),
        (Ifindex::new(10), PortHook::Auto)
    );
    assert_eq!(first.undo, Some(Undo::Change(port_del("tap0"))));
    assert_eq!(second.attach, []);

    let part = PortPart {
        vlan: vlan(10),
        vni: None,
        untagged: false,
    };
    let one = lab.done(&Op::PortDel {
        dev: "tap0".into(),
        part,
    });
    assert!(one.detach.is_empty());
    assert_eq!(lab.done(&port_del("tap0")).detach, [Ifindex::new(10)]);
    assert!(
        lab.refused(&port_del("tap0"))
            .starts_with("tap0 is not a port")
    );
}

#[test]
fn a_port_needs_an_interface_and_one_that_is_not_ours_or_taken() {
    let mut lab = lab();
    assert_eq!(
        lab.refused(&port_add("tap9", 100)),
        "interface tap9 does not exist; create it with: ip tuntap add dev tap9 mode tap, or have the port wait for it with: --wait"
    );
    assert_eq!(
        lab.refused(&port_add("tap0", 100)),
        "port tap0 is already in vni 100; remove it first with: vtep port del tap0"
    );
    assert!(
        lab.refused(&port_add("eth0", 100))
            .starts_with("eth0 is the uplink")
    );
    assert!(
        lab.refused(&port_add("vtep4789", 100))
            .contains("slow-path device")
    );
}

#[test]
fn a_vlan_that_is_taken_is_refused_by_its_name() {
    let mut lab = Lab::new();
    lab.done(&vni_add(100));
    let op = Op::PortAdd(Box::new(PortSpec {
        vlan: vlan(10),
        ..port_spec("tap0", 100)
    }));
    lab.done(&op);
    assert_eq!(
        lab.refused(&op),
        "port tap0 vlan 10 is already in vni 100; remove it first with: vtep port del tap0 --vlan 10"
    );
    let part = PortPart {
        vlan: vlan(20),
        vni: None,
        untagged: false,
    };
    assert!(
        lab.refused(&Op::PortDel {
            dev: "tap0".into(),
            part
        })
        .starts_with("port tap0 has no vlan 20; it has: --vlan 10")
    );
    assert!(
        lab.refused(&port_set("tap0", PortChange::default()))
            .starts_with("port tap0 takes no untagged frames; it has: --vlan 10")
    );
}

#[test]
fn the_vlans_of_an_interface_share_its_hook() {
    let mut lab = lab();
    let tagged = |hook| {
        Op::PortAdd(Box::new(PortSpec {
            vlan: vlan(10),
            hook,
            ..port_spec("tap0", 100)
        }))
    };
    assert!(
        lab.refused(&tagged(Some(PortHook::Xdp)))
            .contains("vtep port set tap0 --hook xdp")
    );
    lab.done(&tagged(None));

    let change = PortChange {
        hook: Some(PortHook::Xdp),
        ..PortChange::default()
    };
    let effect = lab.done(&port_set("tap0", change));

    assert_eq!(effect.attach[0].hook, PortHook::Xdp);
    let rows = lab.state.port_rows(Some("tap0")).unwrap();
    assert!(rows.len() == 2 && rows.iter().all(|row| row.hook == PortHook::Xdp));
}

#[test]
fn the_macs_of_a_port_are_entries_and_a_set_replaces_them() {
    let mut lab = lab();
    lab.done(&Op::PortAdd(Box::new(PortSpec {
        macs: vec![mac(A)],
        ..port_spec("tap1", 100)
    })));
    assert_eq!(lab.fdb(100), [format!("{A} tap1")]);

    lab.done(&port_set(
        "tap1",
        PortChange {
            macs: Some(vec![mac(B)]),
            ..PortChange::default()
        },
    ));

    assert_eq!(lab.fdb(100), [format!("{B} tap1")]);
    assert_eq!(lab.state.port_rows(Some("tap1")).unwrap()[0].macs, [mac(B)]);
    lab.done(&port_del("tap1"));
    assert_eq!(lab.fdb(100), [""; 0]);
}

#[test]
fn a_port_takes_no_mac_that_is_elsewhere_or_not_unicast() {
    let mut lab = lab();
    add(&mut lab, A, "192.0.2.2");
    for at in [A, ZERO, GROUP] {
        let op = Op::PortAdd(Box::new(PortSpec {
            macs: vec![mac(at)],
            ..port_spec("tap1", 100)
        }));
        lab.refused(&op);
    }
}

#[test]
fn a_port_holds_no_more_macs_than_it_may() {
    let mut lab = lab();
    let one = |macs| {
        Op::PortAdd(Box::new(PortSpec {
            macs,
            max_macs: Some(1),
            ..port_spec("tap1", 100)
        }))
    };
    lab.refused(&one(vec![mac(A), mac(B)]));
    lab.done(&one(vec![mac(A)]));
    assert_eq!(
        lab.refused(&Op::FdbAdd(entry(B, 100, "tap1"))),
        "port tap1 is at its limit of 1 MACs; raise the limit with: vtep port set tap1 --max-macs N"
    );
    lab.done(&port_set(
        "tap1",
        PortChange {
            max_macs: Some(0),
            ..PortChange::default()
        },
    ));
    add(&mut lab, B, "tap1");
}

#[test]
fn a_port_that_moves_to_another_vni_takes_its_macs_along() {
    let mut lab = lab();
    lab.done(&vni_add(200));
    add(&mut lab, A, "tap0");

    lab.done(&port_set(
        "tap0",
        PortChange {
            vni: Some(vni(200)),
            ..PortChange::default()
        },
    ));

    assert_eq!(
        (lab.fdb(100).len(), lab.fdb(200)),
        (0, vec![format!("{A} tap0")])
    );
    assert_eq!(
        (lab.vni(100).ports.len(), lab.vni(200).ports),
        (0, vec!["tap0".to_owned()])
    );
}

#[test]
fn a_change_that_cannot_be_attached_is_taken_back_by_its_undo() {
    let mut lab = lab();
    lab.done(&vni_add(200));
    add(&mut lab, A, "tap0");
    let before = lab.rows();
    let change = PortChange {
        vni: Some(vni(200)),
        hook: Some(PortHook::Xdp),
        macs: Some(vec![mac(B)]),
        max_macs: Some(5),
        ..PortChange::default()
    };

    let undo = lab.done(&port_set("tap0", change)).undo.unwrap();
    assert_ne!(lab.rows(), before);
    lab.roll_back(&undo);

    assert_eq!(lab.rows(), before);
}

#[test]
fn a_port_whose_interface_is_gone_waits_with_its_static_entries() {
    let mut lab = lab();
    add(&mut lab, A, "tap0");
    add(&mut lab, B, "192.0.2.2");
    lab.learn("02:00:00:00:00:0a", From::Port(0));

    let effect = lab.state.link_gone(Ifindex::new(10));
    lab.replay(&effect.writes);

    assert_eq!(
        lab.fdb(100),
        [format!("{A} tap0"), format!("{B} 192.0.2.2")]
    );
    let row = lab.rows().ports.remove(0);
    assert_eq!(
        (row.state, row.ifindex, row.delivery),
        (PortState::Absent, None, None)
    );
    assert_eq!(effect.detach, [Ifindex::new(10)]);
    assert_eq!(lab.state.attachments().count(), 0);
    assert!(lab.state.awaits("tap0"));
    // A frame for it is known to be for it, and no flood looks for it.
    let port = lab.maps.ports[&PortSlot::new(0)];
    assert!(port.has(Port::ABSENT) && !port.has(Port::XDP_TARGET | Port::PEER_TARGET));
    let list = lab.maps.flood.get(&SEGMENT.into());
    assert!(list.is_none_or(|list| list.ports().next().is_none()));
    assert_eq!(lab.state.link_gone(Ifindex::new(10)).writes, []);
}

#[test]
fn a_change_of_an_interface_reaches_its_ports_once() {
    let mut lab = lab();
    let mut facts = facts(Ifindex::new(10), "vnet0");
    (facts.mtu, facts.xdp_target) = (9000, true);
    lab.links = [("vnet0".to_owned(), facts.clone())].into();

    let writes = lab.state.link_changed(&facts);
    lab.replay(&writes);

    assert_eq!(lab.port("vnet0").mtu, 9000);
    assert_eq!(
        lab.state.port_rows(Some("vnet0")).unwrap()[0]
            .delivery
            .as_deref(),
        Some("xdp")
    );
    assert!(lab.state.port_rows(Some("tap0")).is_err());
    assert_eq!(lab.state.link_changed(&facts), []);
}

#[test]
fn a_new_interface_of_a_name_takes_over_from_one_that_is_gone_unnoticed() {
    let mut lab = lab();
    lab.links
        .insert("tap0".into(), facts(Ifindex::new(77), "tap0"));

    lab.done(&port_add("tap0", 100));
    let effect = lab.state.link_gone(Ifindex::new(10));
    lab.replay(&effect.writes);

    assert_eq!(
        lab.state.port_rows(Some("tap0")).unwrap()[0].ifindex,
        Some(77)
    );
}

// FDB

#[test]
fn an_entry_points_to_a_vtep_or_to_a_port() {
    let mut lab = lab();
    add(&mut lab, A, "192.0.2.2");
    add(&mut lab, B, "tap0");

    assert_eq!(
        lab.fdb(100),
        [format!("{A} 192.0.2.2"), format!("{B} tap0")]
    );
    let targets: Vec<_> = lab.maps.fdb.values().map(|value| value.target).collect();
    assert!(targets.contains(&FdbTarget::Peer(PeerId::new(0))));
    assert!(targets.contains(&FdbTarget::Port(PortSlot::new(0))));
}

#[test]
fn add_refuses_what_exists_and_replace_does_not() {
    let mut lab = lab();
    add(&mut lab, A, "192.0.2.2");

    assert_eq!(
        lab.refused(&Op::FdbAdd(entry(A, 100, "192.0.2.3"))),
        format!(
            "{A} exists already in vni 100 and points to 192.0.2.2; use: vtep fdb replace {A} --vni 100 --dst 192.0.2.3"
        )
    );
    let effect = lab.done(&Op::FdbReplace(entry(A, 100, "192.0.2.3")));

    assert_eq!(
        (effect.resolve, effect.forget),
        (vec![ip("192.0.2.3")], vec![ip("192.0.2.2")])
    );
    assert_eq!(
        lab.done(&Op::FdbReplace(entry(A, 100, "192.0.2.3"))).writes,
        []
    );
    lab.done(&Op::FdbReplace(entry(A, 100, "tap0")));
    assert_eq!(
        (lab.fdb(100), lab.peers().len()),
        (vec![format!("{A} tap0")], 0)
    );
}

#[test]
fn the_flood_list_names_all_ports_and_then_the_vteps_in_order() {
    let mut lab = lab();
    lab.done(&port_add("tap1", 100));
    add(&mut lab, ZERO, "192.0.2.3");
    append(&mut lab, ZERO, "2001:db8::2");

    assert_eq!(
        split(&lab.maps.flood[&SEGMENT.into()]),
        (vec![0, 1], vec![0, 1])
    );
    assert_eq!(
        lab.fdb(100),
        [format!("{ZERO} 192.0.2.3"), format!("{ZERO} 2001:db8::2")]
    );
    assert_eq!(lab.vni(100).remotes, [ip("192.0.2.3"), ip("2001:db8::2")]);
    assert_eq!(
        lab.state.totals().fdb,
        0,
        "the list takes no room in the FDB"
    );
}

#[test]
fn a_vtep_is_on_a_list_once() {
    let mut lab = lab();
    append(&mut lab, ZERO, "192.0.2.2");
    append(&mut lab, GROUP, "192.0.2.2");
    for op in [
        Op::FdbAdd(entry(ZERO, 100, "192.0.2.2")),
        Op::FdbAppend(entry(ZERO, 100, "192.0.2.2")),
    ] {
        assert!(
            lab.refused(&op)
                .starts_with("192.0.2.2 exists already on the list of 00:")
        );
    }
    assert!(
        lab.refused(&Op::FdbAppend(entry(GROUP, 100, "192.0.2.2")))
            .contains(GROUP)
    );
    assert!(
        lab.refused(&Op::FdbAdd(entry(GROUP, 100, "192.0.2.3")))
            .contains("use: vtep fdb append")
    );
}

#[test]
fn replace_makes_a_list_of_one() {
    let mut lab = lab();
    for at in [ZERO, GROUP] {
        append(&mut lab, at, "192.0.2.2");
        append(&mut lab, at, "192.0.2.3");
        lab.done(&Op::FdbReplace(entry(at, 100, "192.0.2.3")));
    }
    assert_eq!(
        lab.fdb(100),
        [format!("{ZERO} 192.0.2.3"), format!("{GROUP} 192.0.2.3")]
    );
    assert_eq!(lab.peers(), ["192.0.2.3"]);
}

#[test]
fn a_multicast_mac_has_a_list_of_its_own_that_goes_with_its_last_vtep() {
    let mut lab = lab();
    append(&mut lab, GROUP, "192.0.2.2");
    append(&mut lab, GROUP, "192.0.2.3");
    lab.done(&port_add("tap1", 100));
    let list = vtep_common::abi::map::MAX_SEGMENTS;
    assert_eq!(
        split(&lab.maps.flood[&ListId::new(list)]),
        (vec![0, 1], vec![0, 1])
    );

    lab.done(&fdb_del(GROUP, 100, Some("192.0.2.2")));
    assert_eq!(lab.fdb(100), [format!("{GROUP} 192.0.2.3")]);
    lab.done(&fdb_del(GROUP, 100, Some("192.0.2.3")));

    assert_eq!(
        (lab.fdb(100).len(), lab.maps.fdb.len(), lab.maps.flood.len()),
        (0, 0, 1)
    );
}

#[test]
fn append_is_for_lists() {
    let refusal = lab().refused(&Op::FdbAppend(entry(A, 100, "192.0.2.2")));
    assert!(refusal.ends_with("use: vtep fdb add"), "{refusal}");
}

#[test]
fn lists_hold_no_ports_and_broadcast_has_none() {
    let mut lab = lab();
    for at in [ZERO, GROUP] {
        let refusal = lab.refused(&Op::FdbAppend(entry(at, 100, "tap0")));
        assert!(refusal.contains("goes to every port"), "{refusal}");
    }
    let refusal = lab.refused(&Op::FdbAdd(entry("ff:ff:ff:ff:ff:ff", 100, "192.0.2.2")));
    assert!(
        refusal.contains("vtep fdb append 00:00:00:00:00:00 --vni 100"),
        "{refusal}"
    );
}

#[test]
fn an_entry_points_to_exactly_one_place() {
    let mut lab = lab();
    for (dst, dev) in [
        (None, None),
        (Some(ip("192.0.2.2")), Some("tap0".to_owned())),
    ] {
        let mut spec = entry(A, 100, "tap0");
        (spec.dst, spec.dev) = (dst, dev);
        assert_eq!(
            lab.apply(&Op::FdbAdd(spec)).unwrap_err().kind,
            RefusalKind::Invalid
        );
    }
}

#[test]
fn an_address_that_can_be_no_vteps_is_refused() {
    let mut lab = lab();
    let bad = [
        "192.0.2.1",
        "2001:db8::1",
        "0.0.0.0",
        "::",
        "239.1.1.1",
        "ff02::1",
        "255.255.255.255",
        "127.0.0.1",
        "::1",
        "::ffff:192.0.2.2",
        "fe80::1",
    ];
    for dst in bad {
        for at in [A, ZERO, GROUP] {
            let refusal = lab.apply(&Op::FdbReplace(entry(at, 100, dst))).unwrap_err();
            assert_eq!(refusal.kind, RefusalKind::Invalid);
            assert!(refusal.message.starts_with(dst), "{}", refusal.message);
        }
    }
}

#[test]
fn a_family_without_a_local_address_is_refused() {
    let mut lab = lab();
    let writes = lab.state.set_locals(vec![ip("192.0.2.1")]);
    lab.replay(&writes);
    assert_eq!(
        lab.refused(&Op::FdbAdd(entry(A, 100, "2001:db8::2"))),
        "no local IPv6 address; start vtep with: --local <IPv6 address>"
    );
}

#[test]
fn a_port_that_is_none_or_in_another_vni_is_refused() {
    let mut lab = lab();
    lab.done(&vni_add(200));
    assert_eq!(
        lab.refused(&Op::FdbAdd(entry(A, 200, "tap0"))),
        "port tap0 is not in vni 200; put it there with: vtep port add tap0 --vni 200"
    );
    assert_eq!(
        lab.refused(&Op::FdbAdd(entry(A, 100, "tap3"))),
        "tap3 is not a port; make it one with: vtep port add tap3 --vni VNI"
    );
}

#[test]
fn an_entry_means_the_untagged_frames_of_an_interface_or_its_only_vlan() {
    let mut lab = Lab::new();
    lab.done(&vni_add(100));
    let tagged = |id| {
        Op::PortAdd(Box::new(PortSpec {
            vlan: vlan(id),
            ..port_spec("tap0", 100)
        }))
    };
    lab.done(&tagged(10));
    add(&mut lab, A, "tap0");
    lab.done(&tagged(20));
    assert!(
        lab.refused(&Op::FdbAdd(entry(B, 100, "tap0")))
            .contains("vtep port set tap0 --vlan ID")
    );
    lab.done(&port_add("tap0", 100));
    add(&mut lab, B, "tap0");

    let rows = lab.state.port_rows(Some("tap0")).unwrap();
    let macs: Vec<_> = rows
        .iter()
        .map(|row| (row.vlan, row.macs.clone()))
        .collect();
    assert_eq!(
        macs,
        [
            (None, vec![mac(B)]),
            (vlan(10), vec![mac(A)]),
            (vlan(20), vec![])
        ]
    );
}

#[test]
fn del_deletes_wherever_it_points_or_only_there() {
    let mut lab = lab();
    add(&mut lab, A, "192.0.2.2");
    add(&mut lab, B, "tap0");

    let refusal = lab.refused(&fdb_del(A, 100, Some("192.0.2.3")));
    assert_eq!(
        refusal,
        format!(
            "{A} in vni 100 points to 192.0.2.2 and not there; delete it wherever it points with: vtep fdb del {A} --vni 100"
        )
    );
    lab.done(&fdb_del(A, 100, None));
    lab.done(&fdb_del(B, 100, Some("tap0")));

    assert_eq!((lab.fdb(100).len(), lab.peers().len()), (0, 0));
    assert_eq!(
        lab.apply(&fdb_del(A, 100, None)).unwrap_err().kind,
        RefusalKind::NotFound
    );
}

#[test]
fn del_of_the_flood_list_wants_the_vtep() {
    let mut lab = lab();
    append(&mut lab, ZERO, "192.0.2.2");
    assert!(
        lab.refused(&fdb_del(ZERO, 100, None))
            .contains("--dst VTEP")
    );
    assert!(
        lab.refused(&fdb_del(ZERO, 100, Some("192.0.2.3")))
            .contains("is not on the list")
    );
    lab.done(&fdb_del(ZERO, 100, Some("192.0.2.2")));
    assert_eq!(lab.fdb(100), [""; 0]);
}

#[test]
fn flush_deletes_what_matches() {
    let filled = || {
        let mut lab = lab();
        lab.done(&vni_add(200));
        add(&mut lab, A, "192.0.2.2");
        add(&mut lab, B, "tap0");
        append(&mut lab, ZERO, "192.0.2.2");
        append(&mut lab, ZERO, "192.0.2.3");
        append(&mut lab, GROUP, "192.0.2.2");
        lab.done(&Op::FdbAdd(entry(A, 200, "192.0.2.2")));
        lab
    };
    let left = |filter: FdbFilter| {
        let mut lab = filled();
        lab.done(&flush(filter));
        assert_eq!(lab.fdb(200).len(), 1);
        lab.fdb(100)
    };
    let none = FdbFilter::default;
    assert_eq!(left(none()), [""; 0]);
    assert_eq!(
        left(FdbFilter {
            learned: true,
            ..none()
        })
        .len(),
        5
    );
    assert_eq!(
        left(FdbFilter {
            dst: Some(ip("192.0.2.2")),
            ..none()
        }),
        [format!("{ZERO} 192.0.2.3"), format!("{B} tap0")]
    );
    assert_eq!(
        left(FdbFilter {
            dst: Some(ip("192.0.2.9")),
            ..none()
        })
        .len(),
        5
    );
    assert_eq!(
        left(FdbFilter {
            dev: Some("tap0".into()),
            ..none()
        })
        .len(),
        4
    );
    assert!(lab().refused(&Op::FdbFlush(none())).contains("--vni"));
    assert!(
        lab()
            .refused(&flush(FdbFilter {
                dev: Some("tap3".into()),
                ..none()
            }))
            .contains("not a port")
    );
}

#[test]
fn a_full_fdb_says_how_to_make_room() {
    let mut lab = Lab::with(Limits {
        fdb: 1,
        ..Limits::default()
    });
    lab.done(&vni_add(100));
    lab.done(&port_add("tap0", 100));
    add(&mut lab, A, "192.0.2.2");
    let full = "the FDB is full (1 entries); remove some with: vtep fdb flush --vni VNI, or enlarge it, which \
                interrupts forwarding: vtep teardown, then vtep run --fdb-max NUMBER";
    for op in [
        Op::FdbAdd(entry(B, 100, "192.0.2.2")),
        Op::FdbReplace(entry(B, 100, "tap0")),
        Op::FdbAppend(entry(GROUP, 100, "192.0.2.2")),
        port_set(
            "tap0",
            PortChange {
                macs: Some(vec![mac(B)]),
                ..PortChange::default()
            },
        ),
    ] {
        let refusal = lab.apply(&op).unwrap_err();
        assert_eq!(
            (refusal.kind, refusal.message.as_str()),
            (RefusalKind::Full, full)
        );
    }
    lab.done(&Op::FdbReplace(entry(A, 100, "tap0")));
}

#[test]
fn full_tables_are_refused_as_full() {
    let limits = Limits {
        segments: 1,
        ports: 1,
        peers: 1,
        flood_targets: 2,
        groups: 1,
        ..Limits::default()
    };
    let mut lab = Lab::with(limits);
    lab.done(&vni_add(100));
    lab.done(&port_add("tap0", 100));
    append(&mut lab, GROUP, "192.0.2.2");
    append(&mut lab, ZERO, "192.0.2.2");
    for op in [
        vni_add(200),
        port_add("tap1", 100),
        Op::FdbAdd(entry(A, 100, "192.0.2.3")),
        Op::FdbAppend(entry("01:00:5e:00:00:02", 100, "192.0.2.2")),
    ] {
        assert_eq!(
            lab.apply(&op).unwrap_err().kind,
            RefusalKind::Full,
            "{op:?}"
        );
    }
}

#[test]
fn a_full_list_takes_neither_ports_nor_vteps() {
    let mut lab = Lab::with(Limits {
        flood_targets: 2,
        ..Limits::default()
    });
    lab.done(&vni_add(100));
    lab.done(&port_add("tap0", 100));
    append(&mut lab, ZERO, "192.0.2.2");
    assert!(
        lab.refused(&port_add("tap1", 100))
            .contains("is full (2 targets")
    );
    assert!(
        lab.refused(&Op::FdbAppend(entry(ZERO, 100, "192.0.2.3")))
            .contains("is full")
    );
    lab.done(&Op::FdbReplace(entry(ZERO, 100, "192.0.2.3")));
}

#[test]
fn get_shows_the_entries_of_one_mac() {
    let mut lab = lab();
    add(&mut lab, A, "192.0.2.2");
    append(&mut lab, ZERO, "192.0.2.3");
    append(&mut lab, ZERO, "192.0.2.2");
    append(&mut lab, GROUP, "192.0.2.2");
    let count = |at| {
        lab.state
            .fdb_get(mac(at), vni(100), &NoClock)
            .map(|rows| rows.len())
    };
    assert_eq!([A, ZERO, GROUP].map(|at| count(at).unwrap()), [1, 2, 1]);
    assert_eq!(count(B).unwrap_err().kind, RefusalKind::NotFound);
}

#[test]
fn rows_can_be_asked_for_by_vtep_and_by_port() {
    let mut lab = lab();
    add(&mut lab, A, "192.0.2.2");
    add(&mut lab, B, "tap0");
    append(&mut lab, ZERO, "192.0.2.2");
    append(&mut lab, ZERO, "192.0.2.3");
    let count = |filter| lab.state.fdb_rows(&filter, &NoClock).map(|rows| rows.len());
    let none = FdbFilter::default;
    assert_eq!(
        count(FdbFilter {
            dst: Some(ip("192.0.2.2")),
            ..none()
        }),
        Ok(2)
    );
    assert_eq!(
        count(FdbFilter {
            dev: Some("tap0".into()),
            ..none()
        }),
        Ok(1)
    );
    assert_eq!(
        count(FdbFilter {
            learned: true,
            ..none()
        }),
        Ok(0)
    );
    assert!(
        count(FdbFilter {
            dev: Some("tap3".into()),
            ..none()
        })
        .is_err()
    );
}

// Peers

#[test]
fn a_peer_lives_as_long_as_something_points_to_it() {
    let mut lab = lab();
    let first = lab.done(&Op::FdbAdd(entry(A, 100, "192.0.2.2")));
    let second = lab.done(&Op::FdbAppend(entry(ZERO, 100, "192.0.2.2")));
    assert_eq!(
        (first.resolve, second.resolve),
        (vec![ip("192.0.2.2")], vec![])
    );

    let one = lab.done(&fdb_del(A, 100, None));
    let two = lab.done(&fdb_del(ZERO, 100, Some("192.0.2.2")));
    assert_eq!((one.forget, two.forget), (vec![], vec![ip("192.0.2.2")]));
    assert!(
        lab.refused(&Op::PeerSet {
            ip: ip("192.0.2.2"),
            spec: PeerSpec::default()
        })
        .contains("a peer exists while an FDB entry points to it")
    );
}

#[test]
fn a_resolved_peer_has_its_outer_headers() {
    let mut lab = lab();
    add(&mut lab, A, "192.0.2.2");
    assert_eq!(
        lab.state.peer_rows(None).unwrap()[0].state,
        PeerState::Resolving
    );
    assert!(!lab.maps.peers[&PeerId::new(0)].has(Peer::RESOLVED));

    lab.resolve("192.0.2.2");

    let peer = lab.maps.peers[&PeerId::new(0)];
    let macs = (mac("02:00:00:00:00:02"), mac("02:00:00:00:00:01"));
    let (local, remote) = (ip("192.0.2.1").into(), ip("192.0.2.2").into());
    assert_eq!(
        peer.template,
        template::build(macs, local, remote, UDP_PORT)
    );
    assert_eq!(
        (peer.ifindex, peer.mtu, peer.template_len),
        (UPLINK.get(), 1500, 50)
    );
    assert!(peer.has(Peer::XDP_TARGET));
    let row = &lab.state.peer_rows(Some(ip("192.0.2.2"))).unwrap()[0];
    assert_eq!((row.state, row.mtu), (PeerState::Resolved, Some(1500)));
    assert_eq!(
        (row.dev.as_deref(), row.mac),
        (Some("eth0"), Some(mac("02:00:00:00:00:02")))
    );
}

#[test]
fn nothing_is_written_where_the_way_to_a_peer_did_not_change() {
    let mut lab = lab();
    add(&mut lab, A, "192.0.2.2");
    lab.resolve("192.0.2.2");
    assert_eq!(lab.state.resolved(ip("192.0.2.2"), resolved()), []);
    assert_eq!(lab.state.resolved(ip("192.0.2.99"), resolved()), []);
}

#[test]
fn a_peer_that_cannot_be_reached_is_not_resolved() {
    let cases = [
        (Resolution::NoRoute, PeerState::Unreachable),
        (
            Resolution::LinkDown { dev: "eth0".into() },
            PeerState::Unreachable,
        ),
        (
            Resolution::Pending {
                dev: "eth0".into(),
                via: None,
            },
            PeerState::Resolving,
        ),
    ];
    for (resolution, state) in cases {
        let mut lab = lab();
        add(&mut lab, A, "2001:db8::2");
        lab.resolve("2001:db8::2");
        let writes = lab.state.resolved(ip("2001:db8::2"), resolution);
        lab.replay(&writes);
        assert!(!lab.maps.peers[&PeerId::new(0)].has(Peer::RESOLVED));
        let row = &lab.state.peer_rows(None).unwrap()[0];
        assert_eq!((row.state, row.mac, row.mtu), (state, None, None));
    }
}

#[test]
fn checksums_are_for_ipv6_peers_and_can_be_switched_off_there() {
    let mut lab = lab();
    add(&mut lab, A, "192.0.2.2");
    add(&mut lab, B, "2001:db8::2");
    let set = |peer: &str, csum6| Op::PeerSet {
        ip: ip(peer),
        spec: PeerSpec { csum6: Some(csum6) },
    };
    assert!(
        !lab.maps.peers[&PeerId::new(0)].has(Peer::CHECKSUM)
            && lab.maps.peers[&PeerId::new(1)].has(Peer::CHECKSUM)
    );

    lab.done(&set("2001:db8::2", false));
    assert!(!lab.maps.peers[&PeerId::new(1)].has(Peer::CHECKSUM));
    lab.resolve("2001:db8::2");
    assert!(!lab.maps.peers[&PeerId::new(1)].has(Peer::CHECKSUM));
    let csum6: Vec<_> = lab
        .state
        .peer_rows(None)
        .unwrap()
        .iter()
        .map(|row| row.csum6)
        .collect();
    assert_eq!(csum6, [None, Some(false)]);

    lab.done(&set("2001:db8::2", true));
    assert!(lab.maps.peers[&PeerId::new(1)].has(Peer::CHECKSUM));
    assert!(
        lab.refused(&set("192.0.2.2", false))
            .contains("--csum6 is for IPv6 peers")
    );
}

#[test]
fn a_new_local_address_is_in_the_outer_headers_at_once() {
    let mut lab = lab();
    add(&mut lab, A, "192.0.2.2");
    lab.resolve("192.0.2.2");

    let writes = lab.state.set_locals(vec![ip("192.0.2.7"), ip("192.0.2.7")]);
    lab.replay(&writes);

    let peer = lab.maps.peers[&PeerId::new(0)];
    assert_eq!(
        (peer.local, &bytemuck::bytes_of(&peer.template)[26..30]),
        (ip("192.0.2.7").into(), &[192, 0, 2, 7][..])
    );
    assert!(matches!(
        writes[..],
        [
            Write::Local(_, true),
            Write::Peer(..),
            Write::Local(_, false),
            Write::Local(_, false)
        ]
    ));
}

#[test]
fn a_peer_without_a_local_address_of_its_family_is_not_resolved() {
    let mut lab = lab();
    add(&mut lab, A, "192.0.2.2");
    lab.resolve("192.0.2.2");

    let writes = lab.state.set_locals(vec![ip("2001:db8::1")]);
    lab.replay(&writes);
    lab.resolve("192.0.2.2");

    assert!(!lab.maps.peers[&PeerId::new(0)].has(Peer::RESOLVED));
    assert_eq!(
        lab.state.peer_rows(None).unwrap()[0].state,
        PeerState::Unreachable
    );
}

#[test]
fn numbers_have_names() {
    let mut lab = lab();
    add(&mut lab, A, "192.0.2.2");
    assert_eq!(lab.state.segment_name(SEGMENT), Some(vni(100)));
    assert_eq!(lab.state.port_name(PortSlot::new(0)), Some(("tap0", None)));
    assert_eq!(lab.state.peer_name(PeerId::new(0)), Some(ip("192.0.2.2")));
    assert_eq!(lab.state.peer_name(PeerId::new(1)), None);
}

#[test]
fn a_million_entries_are_quick() {
    const COUNT: u32 = 1_000_000;
    let mut lab = Lab::with(Limits {
        fdb: COUNT,
        ..Limits::default()
    });
    lab.done(&vni_add(100));
    let mut spec = entry(A, 100, "192.0.2.2");
    let start = std::time::Instant::now();
    for number in 0..COUNT {
        let [a, b, c, d] = number.to_be_bytes();
        spec.mac = crate::model::MacAddr::from_bytes([2, 0, a, b, c, d]);
        lab.state
            .apply(&Op::FdbAdd(spec.clone()), &lab.links)
            .unwrap();
    }
    assert_eq!(lab.state.totals().fdb, COUNT);
    lab.state.apply(&vni_del(vni(100)), &lab.links).unwrap();
    assert_eq!(lab.state.totals().peers, 0);
    // Far more than it takes, far less than one pass over the table for each entry would.
    assert!(start.elapsed().as_secs() < 60);
}
