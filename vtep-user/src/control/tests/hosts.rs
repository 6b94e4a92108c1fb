//! Hosts that ARP and ND are answered for, and the nexthop table: each rule as a claim.

use vtep_common::abi::{
    event::Event,
    neigh::NeighValue,
    nexthop::{NexthopKey, NexthopValue},
    segment::Segment,
};

use super::{
    super::{Effect, Limits, State},
    lab::{From::*, *},
};
use crate::control::record::limits;
use crate::model::{
    EventKind, Flood, NeighDel, NeighSpec, NexthopDel, NexthopSpec, Op, PortChange, PortPart,
    PortSpec, RefusalKind, Sources, VniSpec,
};

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";
const C: &str = "02:00:00:00:00:0c";
const V2: &str = "192.0.2.2";
const V3: &str = "192.0.2.3";
/// Addresses that a MAC may have.
const MOST: usize = limits::MAX_HOSTS_OF_MAC as usize;
const HOST: &str = "10.0.0.1";
const HOST6: &str = "fd00::1";

/// A lab with VNI 100, which answers ARP and ND, slot 0 `tap0` and slot 1 `tap1` in it, and somebody who watches.
fn lab() -> Lab {
    lab_with(Limits::default())
}

fn lab_with(limits: Limits) -> Lab {
    let mut lab = Lab::with(limits);
    lab.state.set_watched(true);
    let spec = VniSpec {
        suppress: Some(true),
        ageing_s: Some(100),
        sources: Some(Sources::Any),
        ..VniSpec::default()
    };
    lab.done(&vni_add_with(100, spec));
    lab.done(&port_add("tap0", 100));
    lab.done(&port_add("tap1", 100));
    lab
}

fn set(change: impl FnOnce(&mut VniSpec)) -> Op {
    let mut spec = VniSpec::default();
    change(&mut spec);
    vni_set(100, spec)
}

fn neigh(host: &str, at: &str) -> NeighSpec {
    NeighSpec {
        ip: ip(host),
        vni: vni(100),
        lladdr: Some(mac(at)),
        router: false,
    }
}

fn neigh_del(host: &str) -> Op {
    Op::NeighDel(NeighDel {
        ip: ip(host),
        vni: vni(100),
        lladdr: None,
    })
}

/// `via` a VTEP or `-`, `at` a MAC or `-`.
fn nexthop(prefix: &str, via: &str, at: &str) -> NexthopSpec {
    NexthopSpec {
        ip: prefix.parse().unwrap(),
        vni: vni(100),
        via: via.parse().ok(),
        lladdr: at.parse().ok(),
    }
}

fn nexthop_del(prefix: &str) -> Op {
    Op::NexthopDel(NexthopDel {
        ip: prefix.parse().unwrap(),
        vni: vni(100),
        via: None,
        lladdr: None,
    })
}

/// Adds `tap2` with these MACs and addresses.
fn with_port(lab: &mut Lab, macs: &[&str], ips: &[&str]) {
    lab.done(&Op::PortAdd(Box::new(PortSpec {
        macs: macs.iter().map(|at| mac(at)).collect(),
        ips: ips.iter().map(|host| ip(host)).collect(),
        ..port_spec("tap2", 100)
    })));
}

fn port_set(change: impl FnOnce(&mut PortChange)) -> Op {
    let mut to = PortChange::default();
    change(&mut to);
    Op::PortSet {
        dev: "tap2".into(),
        change: Box::new(to),
    }
}

fn port_del(dev: &str) -> Op {
    Op::PortDel {
        dev: dev.into(),
        part: PortPart::default(),
    }
}

// What the user says

#[test]
fn a_host_has_the_mac_that_the_user_gives_it() {
    let mut lab = lab();
    lab.done(&Op::NeighAdd(neigh(HOST, A)));
    let router = NeighSpec {
        router: true,
        ..neigh(HOST6, B)
    };
    lab.done(&Op::NeighAdd(router));
    assert_eq!(
        lab.neighs(),
        [
            format!("{HOST} {A} static"),
            format!("{HOST6} {B} static router")
        ]
    );
}

#[test]
fn add_refuses_a_host_of_the_users_and_replace_does_not() {
    let mut lab = lab();
    lab.done(&Op::NeighAdd(neigh(HOST, A)));
    assert_eq!(
        lab.refused(&Op::NeighAdd(neigh(HOST, B))),
        format!(
            "{HOST} exists already in vni 100 and is at {A}; use: vtep neigh replace {HOST} --vni 100 --lladdr MAC"
        )
    );
    lab.done(&Op::NeighReplace(neigh(HOST, B)));
    assert_eq!(lab.neighs(), [format!("{HOST} {B} static")]);
}

#[test]
fn what_can_be_no_host_is_refused() {
    let mut lab = lab();
    for host in [
        "0.0.0.0",
        "::",
        "239.1.1.1",
        "ff02::1",
        "255.255.255.255",
        "127.0.0.1",
        "::ffff:10.0.0.1",
    ] {
        let refusal = lab.apply(&Op::NeighAdd(neigh(host, A))).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Invalid);
        assert!(refusal.message.starts_with(host), "{}", refusal.message);
        let refusal = lab
            .apply(&Op::NexthopAdd(nexthop(host, V2, "-")))
            .unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Invalid);
    }
    lab.done(&Op::NeighAdd(neigh("fe80::1", A)));
}

#[test]
fn a_host_needs_a_unicast_mac() {
    let mut lab = lab();
    let none = NeighSpec {
        lladdr: None,
        ..neigh(HOST, A)
    };
    assert!(lab.refused(&Op::NeighAdd(none)).ends_with("--lladdr MAC"));
    for at in [
        "00:00:00:00:00:00",
        "01:00:5e:00:00:01",
        "ff:ff:ff:ff:ff:ff",
    ] {
        for op in [
            Op::NeighReplace(neigh(HOST, at)),
            Op::NexthopReplace(nexthop(HOST, V2, at)),
        ] {
            assert!(lab.refused(&op).contains("is not a unicast MAC address"));
        }
    }
}

#[test]
fn hosts_of_an_unknown_vni_are_refused_with_how_to_create_it_or_see_which_there_are() {
    let mut lab = lab();
    let create = "vni 7 does not exist; create it with: vtep vni add 7";
    let see = "vni 7 does not exist; see which do with: vtep vni show";
    let neigh = NeighSpec {
        vni: vni(7),
        ..neigh(HOST, A)
    };
    let nexthop = NexthopSpec {
        vni: vni(7),
        ..nexthop(HOST, V2, "-")
    };
    let ops = [
        Op::NeighAdd(neigh.clone()),
        Op::NeighReplace(neigh.clone()),
        Op::NexthopAdd(nexthop.clone()),
        Op::NexthopReplace(nexthop.clone()),
    ];
    for op in ops {
        assert_eq!(lab.refused(&op), create);
    }
    let ops = [
        Op::NeighDel(NeighDel {
            ip: neigh.ip,
            vni: neigh.vni,
            lladdr: None,
        }),
        Op::NexthopDel(NexthopDel {
            ip: nexthop.ip,
            vni: nexthop.vni,
            via: None,
            lladdr: None,
        }),
    ];
    for op in ops {
        assert_eq!(lab.refused(&op), see);
    }
    let neighs = lab.state.neigh_rows(Some(vni(7)), &NoClock).unwrap_err();
    let nexthops = lab.state.nexthop_rows(Some(vni(7))).unwrap_err();
    assert_eq!(
        (neighs.to_string(), nexthops.to_string()),
        (see.into(), see.into())
    );
}

#[test]
fn an_entry_is_deleted_only_where_it_is_what_was_named() {
    let mut lab = lab();
    lab.done(&Op::NeighAdd(neigh(HOST, A)));
    lab.done(&Op::NexthopAdd(nexthop("10.1.0.0/16", V2, A)));
    let neigh_at = |at: &str| {
        Op::NeighDel(NeighDel {
            ip: ip(HOST),
            vni: vni(100),
            lladdr: Some(mac(at)),
        })
    };
    let to = |via: &str, at: &str| {
        Op::NexthopDel(NexthopDel {
            ip: "10.1.0.0/16".parse().unwrap(),
            vni: vni(100),
            via: via.parse().ok(),
            lladdr: at.parse().ok(),
        })
    };
    for other in [neigh_at(B), to(V3, "-"), to("-", B), to(V3, A)] {
        assert!(
            lab.refused(&other).contains("delete it wherever"),
            "{other:?}"
        );
    }
    lab.done(&neigh_at(A));
    lab.done(&to(V2, A));
}

#[test]
fn a_host_that_is_not_there_is_not_deleted() {
    let mut lab = lab();
    assert_eq!(
        lab.refused(&neigh_del(HOST)),
        format!(
            "vni 100 has no neigh entry for {HOST}; see what it has with: vtep neigh show --vni 100"
        )
    );
    assert_eq!(
        lab.refused(&nexthop_del("10.0.0.0/8")),
        "vni 100 has no nexthop entry for 10.0.0.0/8; see what it has with: vtep nexthop show --vni 100"
    );
}

#[test]
fn full_tables_of_hosts_are_refused_as_full() {
    let mut lab = lab_with(Limits {
        neighs: 1,
        nexthops: 1,
        ..Limits::default()
    });
    lab.done(&Op::NexthopAdd(nexthop(HOST, V2, A)));
    lab.done(&Op::NexthopReplace(nexthop(HOST, V2, B)));
    for op in [
        Op::NeighAdd(neigh("10.0.0.2", A)),
        Op::NexthopAdd(nexthop("10.0.0.2", V2, "-")),
        Op::PortAdd(Box::new(PortSpec {
            ips: vec![ip("10.0.0.2")],
            ..port_spec("tap2", 100)
        })),
    ] {
        assert_eq!(
            lab.apply(&op).unwrap_err().kind,
            RefusalKind::Full,
            "{op:?}"
        );
    }
    lab.done(&nexthop_del(HOST));
    lab.done(&Op::NeighAdd(neigh("10.0.0.2", A)));
}

#[test]
fn a_deleted_vni_takes_its_hosts_along() {
    let mut lab = lab();
    with_port(&mut lab, &[A], &[HOST]);
    lab.done(&Op::NeighAdd(neigh("10.0.0.2", A)));
    lab.done(&Op::NexthopAdd(nexthop("10.0.0.3", V2, B)));
    lab.snoop(C, Port(0), "10.0.0.4", 0);
    lab.done(&vni_del(vni(100)));
    assert_eq!((lab.maps.neighs.len(), lab.maps.nexthops.len()), (0, 0));
    let State {
        hosts,
        addresses,
        nexthops,
        ..
    } = lab.state;
    let used = [hosts.own(), addresses.len(), nexthops.hosts()];
    assert_eq!((used, hosts.snooped(), nexthops.room()), ([0; 3], 0, 0));
}

// The addresses of ports

#[test]
fn the_addresses_of_a_port_are_answered_for_and_delivered_to() {
    let mut lab = lab();
    with_port(&mut lab, &[A], &[HOST, HOST6]);
    assert_eq!(
        lab.neighs(),
        [
            format!("{HOST} {A} port tap2"),
            format!("{HOST6} {A} port tap2")
        ]
    );
    assert_eq!(
        lab.nexthops(),
        [
            format!("{HOST} - {A} tap2 port"),
            format!("{HOST6} - {A} tap2 port")
        ]
    );
    let row = &lab.state.port_rows(Some("tap2")).unwrap()[0];
    assert_eq!(row.ips, [ip(HOST), ip(HOST6)]);
}

#[test]
fn a_port_without_one_mac_is_delivered_to_by_address_alone() {
    for macs in [&[][..], &[A, B]] {
        let mut lab = lab();
        with_port(&mut lab, macs, &[HOST]);
        assert_eq!(lab.neighs(), [""; 0]);
        assert_eq!(lab.nexthops(), [format!("{HOST} - - tap2 port")]);
    }
}

#[test]
fn the_addresses_of_a_port_follow_its_mac() {
    let mut lab = lab();
    with_port(&mut lab, &[], &[HOST]);
    lab.done(&Op::FdbAdd(entry(A, 100, "tap2")));
    assert_eq!(lab.neighs(), [format!("{HOST} {A} port tap2")]);
    lab.done(&port_set(|change| change.macs = Some(vec![mac(B)])));
    assert_eq!(lab.nexthops(), [format!("{HOST} - {B} tap2 port")]);
    lab.done(&Op::FdbReplace(entry(B, 100, V2)));
    assert_eq!(lab.neighs(), [""; 0]);
}

#[test]
fn a_change_of_addresses_replaces_them_and_none_leaves_them() {
    let mut lab = lab();
    with_port(&mut lab, &[A], &[HOST, "10.0.0.2"]);
    lab.done(&port_set(|change| change.max_macs = Some(5)));
    assert_eq!(lab.neighs().len(), 2);
    lab.done(&port_set(|change| {
        change.ips = Some(vec![ip("10.0.0.2"), ip("10.0.0.3")]);
    }));
    assert_eq!(
        lab.neighs(),
        [
            format!("10.0.0.2 {A} port tap2"),
            format!("10.0.0.3 {A} port tap2")
        ]
    );
    lab.done(&port_set(|change| change.ips = Some(vec![])));
    assert_eq!((lab.neighs().len(), lab.nexthops().len()), (0, 0));
}

#[test]
fn the_addresses_of_a_port_go_with_it_and_move_with_it() {
    let mut lab = lab();
    lab.done(&vni_add(200));
    with_port(&mut lab, &[A], &[HOST]);
    lab.done(&port_set(|change| change.vni = Some(vni(200))));
    assert_eq!((lab.nexthops().len(), lab.maps.nexthops.len()), (0, 1));
    assert_eq!(lab.state.nexthop_rows(Some(vni(200))).unwrap().len(), 1);
    lab.done(&port_del("tap2"));
    assert_eq!((lab.maps.neighs.len(), lab.maps.nexthops.len()), (0, 0));
}

#[test]
fn an_address_belongs_to_one_port() {
    let mut lab = lab();
    with_port(&mut lab, &[A], &[HOST]);
    let op = Op::PortSet {
        dev: "tap1".into(),
        change: Box::new(PortChange {
            ips: Some(vec![ip(HOST)]),
            ..PortChange::default()
        }),
    };
    assert_eq!(
        lab.refused(&op),
        format!(
            "{HOST} is already an address of port tap2 in vni 100; give that port other addresses first with: vtep port set tap2 --ip IP"
        )
    );
}

#[test]
fn what_a_port_makes_is_not_deleted_elsewhere() {
    let mut lab = lab();
    with_port(&mut lab, &[A], &[HOST]);
    let sentence = format!(
        "{HOST} is an address of port tap2; give the port other addresses with: vtep port set tap2 --ip IP"
    );
    assert_eq!(lab.refused(&neigh_del(HOST)), sentence);
    assert_eq!(lab.refused(&nexthop_del(HOST)), sentence);
}

#[test]
fn a_port_with_addresses_is_announced_with_them() {
    let mut lab = lab();
    lab.done(&Op::FdbAppend(entry("00:00:00:00:00:00", 100, V2)));
    let effect = lab.done(&Op::PortAdd(Box::new(PortSpec {
        macs: vec![mac(A)],
        ips: vec![ip(HOST6), ip(HOST)],
        ..port_spec("tap2", 100)
    })));
    assert_eq!(effect.announce.len(), 1);
    assert_eq!(effect.announce[0].hosts, [ip(HOST), ip(HOST6)]);
    let same = lab.done(&port_set(|change| change.ips = Some(vec![ip(HOST)])));
    assert_eq!(same.announce, []);
    let more = lab.done(&port_set(|change| {
        change.ips = Some(vec![ip(HOST), ip("10.0.0.2")]);
    }));
    assert_eq!(more.announce[0].hosts, [ip(HOST), ip("10.0.0.2")]);
}

// Precedence

#[test]
fn the_user_comes_before_a_port_and_that_before_the_nexthop_table_and_that_before_what_is_heard() {
    let mut lab = lab();
    lab.snoop(C, Port(0), HOST, 0);
    assert_eq!(lab.neighs(), [format!("{HOST} {C} snooped tap0 0s")]);
    lab.done(&Op::NexthopAdd(nexthop(HOST, V2, B)));
    assert_eq!(lab.neighs(), [format!("{HOST} {B} nexthop")]);
    with_port(&mut lab, &[A], &[HOST]);
    assert_eq!(lab.neighs(), [format!("{HOST} {A} port tap2")]);
    lab.done(&Op::NeighAdd(neigh(HOST, C)));
    assert_eq!(lab.neighs(), [format!("{HOST} {C} static")]);

    lab.snoop(B, Port(0), HOST, Event::UNSOLICITED);
    assert_eq!(lab.neighs(), [format!("{HOST} {C} static")]);
    lab.done(&neigh_del(HOST));
    assert_eq!(lab.neighs(), [format!("{HOST} {A} port tap2")]);
    lab.done(&port_del("tap2"));
    assert_eq!(lab.neighs(), [format!("{HOST} {B} nexthop")]);
    assert!(
        lab.refused(&neigh_del(HOST))
            .contains("follows from the nexthop table")
    );
    lab.done(&nexthop_del(HOST));
    assert_eq!(lab.neighs(), [""; 0]);
}

#[test]
fn the_users_nexthop_comes_before_a_port_which_a_new_daemon_knows_too() {
    let mut lab = lab();
    with_port(&mut lab, &[A], &[HOST]);
    lab.done(&Op::NexthopAdd(nexthop(HOST, V2, "-")));
    assert_eq!(lab.nexthops(), [format!("{HOST} {V2} - - static")]);
    lab.state = lab.adopt().state;
    lab.done(&nexthop_del(HOST));
    assert_eq!(lab.nexthops(), [format!("{HOST} - {A} tap2 port")]);
}

// What is snooped

#[test]
fn a_host_that_is_heard_at_a_port_is_known_with_its_mac() {
    let mut lab = lab();
    let effect = lab.snoop(A, Port(1), HOST, 0);
    assert_eq!(lab.neighs(), [format!("{HOST} {A} snooped tap1 0s")]);
    assert_eq!(
        lab.fdb(100),
        [format!("{A} tap1")],
        "the MAC is learned from the same frame"
    );
    let last = effect.events.last().unwrap();
    assert_eq!(
        (last.event, last.ip, last.mac, last.dev.as_deref()),
        (
            EventKind::Learned,
            Some(ip(HOST)),
            Some(mac(A)),
            Some("tap1")
        )
    );
}

#[test]
fn nothing_is_heard_without_suppression_and_what_was_heard_is_forgotten_with_it() {
    let mut lab = lab();
    lab.snoop(A, Port(0), HOST, 0);
    lab.done(&set(|spec| spec.suppress = Some(false)));
    assert_eq!(lab.neighs(), [""; 0]);
    lab.snoop(A, Port(0), HOST, 0);
    assert_eq!(lab.neighs(), [""; 0]);
}

#[test]
fn a_host_is_a_router_if_it_says_so_and_until_it_says_otherwise() {
    let mut lab = lab();
    lab.snoop(A, Port(0), HOST6, Event::UNSOLICITED | Event::ROUTER);
    lab.snoop(A, Port(0), HOST6, 0);
    assert_eq!(
        lab.neighs(),
        [format!("{HOST6} {A} snooped tap0 0s router")]
    );
    lab.snoop(A, Port(0), HOST6, Event::UNSOLICITED);
    assert_eq!(lab.neighs(), [format!("{HOST6} {A} snooped tap0 0s")]);
}

#[test]
fn what_can_be_no_host_is_not_heard() {
    let mut lab = lab();
    for host in [
        "0.0.0.0",
        "239.1.1.1",
        "255.255.255.255",
        "127.0.0.1",
        "::1",
        "ff02::1",
    ] {
        lab.snoop(A, Port(0), host, 0);
    }
    for at in ["00:00:00:00:00:00", "01:00:5e:00:00:01"] {
        lab.snoop(at, Port(0), HOST, 0);
    }
    lab.snoop(A, Port(9), HOST, 0);
    assert_eq!(lab.neighs(), [""; 0]);
}

#[test]
fn a_mac_that_is_not_learned_for_want_of_room_brings_no_hosts() {
    let mut lab = lab();
    lab.done(&set(|spec| spec.max_macs = Some(1)));
    lab.learn(A, Port(0));
    lab.snoop(B, Port(0), HOST, 0);
    assert_eq!(lab.neighs(), [""; 0]);
}

#[test]
fn a_mac_that_is_elsewhere_brings_no_hosts() {
    let mut lab = lab();
    lab.done(&Op::FdbAdd(entry(A, 100, V2)));
    lab.snoop(A, Port(0), HOST, 0);
    assert_eq!(lab.neighs(), [""; 0]);
}

#[test]
fn where_nothing_is_learned_nothing_is_heard() {
    let mut lab = lab();
    lab.done(&Op::FdbAdd(entry(A, 100, "tap0")));
    lab.done(&set(|spec| spec.learning = Some(false)));
    lab.snoop(A, Port(0), HOST, 0);
    assert_eq!(lab.neighs(), [""; 0]);
}

#[test]
fn a_host_goes_with_its_port() {
    let mut lab = lab();
    lab.snoop(A, Port(0), HOST, 0);
    lab.done(&Op::FdbAdd(entry(B, 100, "tap0")));
    lab.snoop(B, Port(0), HOST6, 0);
    lab.done(&port_del("tap0"));
    assert_eq!(lab.neighs(), [""; 0]);
}

#[test]
fn a_host_that_is_not_heard_for_the_ageing_time_goes() {
    let mut lab = lab();
    lab.done(&Op::FdbAdd(entry(A, 100, "tap0")));
    lab.snoop(A, Port(0), HOST, 0);
    lab.wait(60);
    lab.snoop(A, Port(0), HOST, 0);
    lab.wait(99);
    assert_eq!(lab.neighs(), [format!("{HOST} {A} snooped tap0 99s")]);
    let effect = lab.wait(1);
    assert_eq!(lab.neighs(), [""; 0]);
    assert_eq!(
        (effect.events[0].event, effect.events[0].ip),
        (EventKind::Aged, Some(ip(HOST)))
    );
}

#[test]
fn a_host_goes_with_its_mac() {
    let mut lab = lab();
    lab.snoop(A, Port(0), HOST, 0);
    lab.done(&fdb_del(A, 100, None));
    assert_eq!(lab.neighs(), [""; 0]);
    lab.snoop(A, Port(0), HOST, 0);
    lab.wait(50);
    lab.snoop(A, Port(0), HOST, 0);
    lab.wait(50);
    assert_eq!(
        (lab.fdb(100).len(), lab.neighs().len()),
        (0, 0),
        "the MAC aged"
    );
}

#[test]
fn a_host_stays_with_its_mac_where_that_moves() {
    let mut lab = lab();
    lab.snoop(A, Port(0), HOST, 0);
    lab.learn(A, Port(1));
    assert_eq!(lab.neighs(), [format!("{HOST} {A} snooped tap1 0s")]);
    lab.learn(A, Vtep(V2));
    assert_eq!(lab.neighs(), [format!("{HOST} {A} snooped 0s")]);
    lab.done(&port_del("tap1"));
    assert_eq!(lab.neighs().len(), 1);
}

#[test]
fn a_daemon_that_was_killed_while_a_mac_moved_leaves_its_hosts_where_the_mac_is() {
    let mut lab = lab();
    lab.snoop(A, Port(0), HOST, 0);
    let before = lab.maps.neighs.clone();
    lab.learn(A, Vtep(V2));
    // The FDB entry was written, and those of the hosts were not.
    lab.maps.neighs = before;

    let adopted = lab.adopt();
    lab.state = adopted.state;
    lab.replay(&adopted.writes);

    assert_eq!(lab.neighs(), [format!("{HOST} {A} snooped 0s")]);
    lab.done(&port_del("tap0"));
    assert_eq!(lab.adopt().writes, []);
}

/// What kinds of events there were, and of which MAC, of the host's address.
fn told(effect: &Effect) -> Vec<(EventKind, String)> {
    let of_host = effect.events.iter().filter(|event| event.ip.is_some());
    of_host
        .map(|event| (event.event, event.mac.unwrap().to_string()))
        .collect()
}

#[test]
fn an_address_that_a_second_mac_claims_is_answered_by_nobody_until_the_first_is_silent() {
    let mut lab = lab();
    lab.snoop(A, Port(0), HOST, 0);
    lab.wait(1);

    let effect = lab.snoop(B, Port(1), HOST, 0);

    assert_eq!(lab.neighs(), [""; 0]);
    assert_eq!(told(&effect), [(EventKind::Duplicate, B.to_owned())]);
    let last = effect.events.last().unwrap();
    assert_eq!(
        last.why.as_deref(),
        Some("02:00:00:00:00:0a claims the address too")
    );
    assert_eq!(told(&lab.wait(4)), []);
    assert_eq!(lab.neighs(), [""; 0]);
    let effect = lab.wait(1);
    assert_eq!(lab.neighs(), [format!("{HOST} {B} snooped tap1 5s")]);
    assert_eq!(told(&effect), [(EventKind::Moved, B.to_owned())]);
    assert_eq!(
        effect.events[0].why.as_deref(),
        Some("it was at 02:00:00:00:00:0a")
    );
}

#[test]
fn a_contested_address_goes_back_to_who_had_it_if_the_other_is_silent() {
    let mut lab = lab();
    lab.snoop(A, Port(0), HOST, 0);
    lab.snoop(B, Port(1), HOST, 0);
    lab.wait(4);
    lab.snoop(A, Port(0), HOST, 0);
    let effect = lab.wait(1);
    assert_eq!(lab.neighs(), [format!("{HOST} {A} snooped tap0 1s")]);
    assert_eq!(told(&effect), [(EventKind::Thawed, A.to_owned())]);
}

#[test]
fn a_thief_does_not_get_an_address_while_its_owner_speaks_or_sends() {
    for speaks in [true, false] {
        let mut lab = lab();
        lab.learn(A, Vtep(V2));
        lab.snoop(B, Port(1), HOST, 0);
        for second in 0..20 {
            if second == 0 || speaks {
                lab.snoop(A, Vtep(V2), HOST, 0);
            }
            lab.snoop(B, Port(1), HOST, 0);
            assert_eq!(lab.neighs(), [""; 0], "{speaks}, after {second} seconds");
            lab.wait(1);
            lab.seen(A);
        }
    }
}

#[test]
fn a_frame_of_its_owner_is_no_claim_for_longer_than_the_ageing_time() {
    let mut lab = lab();
    lab.learn(A, Vtep(V2));
    lab.snoop(A, Vtep(V2), HOST, 0);
    for _ in 0..110 {
        lab.snoop(B, Port(1), HOST, 0);
        lab.wait(1);
        lab.seen(A);
    }
    assert_eq!(lab.neighs(), [format!("{HOST} {B} snooped tap1 1s")]);
}

#[test]
fn what_a_vteps_host_has_said_is_remembered_against_who_claims_it_here() {
    let mut lab = lab();
    lab.learn(A, Vtep(V2));
    lab.snoop(A, Vtep(V2), HOST, 0);
    assert_eq!(lab.neighs(), [""; 0], "it is not answered for here");

    let effect = lab.snoop(B, Port(1), HOST, 0);

    assert_eq!(lab.neighs(), [""; 0]);
    assert_eq!(told(&effect), [(EventKind::Duplicate, B.to_owned())]);
    assert_eq!(lab.state.learn_counters().frozen, 1);
}

#[test]
fn a_host_that_comes_from_a_vtep_with_its_mac_contests_nothing() {
    let mut lab = lab();
    lab.learn(A, Vtep(V2));
    lab.snoop(A, Vtep(V2), HOST, 0);
    lab.snoop(A, Port(0), HOST, 0);
    assert_eq!(lab.neighs(), [format!("{HOST} {A} snooped tap0 0s")]);
    assert_eq!(lab.wait(50).events, []);
}

#[test]
fn a_contested_host_is_cleared_by_hand() {
    let ops = [
        Op::NeighReplace(neigh(HOST, A)),
        set(|spec| spec.suppress = Some(false)),
        vni_del(vni(100)),
    ];
    for op in ops {
        let mut lab = lab();
        lab.snoop(A, Port(0), HOST, 0);
        lab.snoop(B, Port(0), HOST, 0);
        lab.done(&op);
        assert_eq!(told(&lab.wait(50)), [], "{op:?}");
    }
}

#[test]
fn a_mac_that_is_not_where_it_speaks_claims_nothing() {
    let mut lab = lab();
    lab.snoop(A, Port(0), HOST, 0);
    lab.done(&Op::FdbAdd(entry(B, 100, V2)));
    lab.snoop(B, Vtep(V3), HOST, 0);
    lab.snoop(B, Port(1), HOST, 0);
    assert_eq!(lab.neighs(), [format!("{HOST} {A} snooped tap0 0s")]);
    assert_eq!(lab.state.learn_counters().frozen, 0);
}

#[test]
fn a_host_behind_a_vtep_takes_away_what_was_heard_and_adds_nothing() {
    let mut lab = lab();
    lab.snoop(B, Vtep(V2), HOST, Event::UNSOLICITED);
    assert_eq!(lab.neighs(), [""; 0]);
    lab.snoop(A, Port(0), HOST6, Event::UNSOLICITED);
    lab.snoop(A, Vtep(V2), HOST6, Event::UNSOLICITED);
    assert_eq!(lab.neighs().len(), 1, "it says the same");
    for flags in [0, Event::UNSOLICITED, Event::ADVERTISED] {
        let mut lab = lab.clone();
        let effect = lab.snoop(B, Vtep(V2), HOST6, flags);
        assert_eq!(lab.neighs(), [""; 0]);
        assert_eq!(told(&effect), [(EventKind::Duplicate, B.to_owned())]);
        // The other one is silent.
        let effect = lab.wait(6);
        assert_eq!(told(&effect), [(EventKind::Moved, B.to_owned())]);
        assert_eq!(lab.neighs(), [""; 0]);
    }
}

#[test]
fn a_host_behind_a_vtep_does_not_contradict_the_user() {
    let mut lab = lab();
    lab.done(&Op::NeighAdd(neigh(HOST, A)));
    lab.snoop(B, Vtep(V2), HOST, Event::UNSOLICITED);
    assert_eq!(lab.neighs(), [format!("{HOST} {A} static")]);
}

#[test]
fn a_host_of_which_nobody_knows_whether_it_is_a_router_is_not_answered_for() {
    let mut lab = lab();
    let unknown = |lab: &Lab| {
        let values: Vec<_> = lab.maps.neighs.values().map(|value| value.flags).collect();
        values == [NeighValue::ROUTER_UNKNOWN]
    };
    // A router says that it is one in its advertisements alone: a question does not say that it is none.
    lab.snoop(A, Port(0), HOST6, 0);
    assert!(unknown(&lab));
    assert_eq!(lab.neighs().len(), 1);
    lab.state = lab.adopt().state;
    assert!(unknown(&lab));
    lab.snoop(A, Port(0), HOST6, Event::ADVERTISED | Event::ROUTER);
    lab.snoop(A, Port(0), HOST6, 0);
    assert_eq!(
        lab.neighs(),
        [format!("{HOST6} {A} snooped tap0 0s router")]
    );
    lab.snoop(A, Port(0), HOST6, Event::ADVERTISED);
    assert_eq!(lab.maps.neighs.values().next().unwrap().flags, 0);
}

#[test]
fn a_mac_has_or_claims_so_many_addresses_and_the_user_gives_it_more() {
    let mut lab = lab();
    let hosts: Vec<String> = (0..=MOST)
        .map(|number| format!("10.1.{}.{}", number / 200, number % 200 + 1))
        .collect();
    // One is contested.
    lab.snoop(B, Port(1), &hosts[0], 0);
    let events: Vec<_> = hosts
        .iter()
        .map(|host| Event {
            host: ip(host).into(),
            ..lab.event(Event::SNOOPED, SEGMENT, A, Port(0))
        })
        .collect();

    let effect = lab.take(&events);

    assert_eq!(lab.neighs().len(), MOST - 1);
    assert_eq!(lab.state.learn_counters().limited, 1);
    let last = effect.events.last().unwrap();
    assert_eq!(
        (last.event, last.ip, last.why.as_deref()),
        (
            EventKind::Limit,
            Some(ip(hosts.last().unwrap())),
            Some("the MAC is at its limit of addresses")
        )
    );
    // What is said again is no more than before.
    lab.take(&events[..MOST]);
    assert_eq!(lab.state.learn_counters().limited, 1);
    lab.done(&Op::NeighAdd(neigh(hosts.last().unwrap(), A)));
    lab.snoop(B, Port(1), "10.1.9.9", 0);
    assert_eq!(lab.neighs().len(), MOST + 1);
}

#[test]
fn guests_fill_only_half_of_the_table_of_hosts() {
    let mut lab = lab_with(Limits {
        neighs: 4,
        ..Limits::default()
    });
    for host in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        lab.snoop(A, Port(0), host, 0);
    }
    assert_eq!(
        (lab.neighs().len(), lab.state.learn_counters().full),
        (2, 1)
    );
    for host in ["10.0.0.4", "10.0.0.5"] {
        lab.done(&Op::NeighAdd(neigh(host, A)));
    }
    assert_eq!(lab.neighs().len(), 4);
}

#[test]
fn the_guests_of_one_vni_leave_places_for_the_hosts_of_another() {
    let mut lab = lab_with(Limits {
        neighs: 400,
        ..Limits::default()
    });
    lab.done(&vni_add_with(
        200,
        VniSpec {
            suppress: Some(true),
            ..VniSpec::default()
        },
    ));
    lab.done(&port_add("tap2", 200));
    for number in 1..=200 {
        lab.snoop(A, Port(0), &format!("10.1.0.{number}"), 0);
    }
    assert_eq!(lab.neighs().len(), 194);
    let event = Event {
        host: ip(HOST).into(),
        ..lab.event(Event::SNOOPED, SegmentId::new(1), B, Port(2))
    };
    lab.take(&[event]);
    assert_eq!(
        lab.state
            .neigh_rows(Some(vni(200)), &NoClock)
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_host_that_is_known_is_announced_with_its_mac() {
    let mut lab = lab();
    lab.done(&Op::FdbAppend(entry("00:00:00:00:00:00", 100, V2)));
    lab.snoop(A, Port(0), HOST, 0);
    lab.learn(A, Vtep(V2));
    let effect = lab.learn(A, Port(0));
    assert_eq!(effect.announce[0].hosts, [ip(HOST)]);
}

#[test]
fn a_new_daemon_knows_what_was_heard_and_ages_it() {
    let mut lab = lab();
    lab.done(&Op::FdbAdd(entry(A, 100, "tap0")));
    lab.snoop(A, Port(0), HOST, 0);
    lab.wait(90);
    lab.state = lab.adopt().state;
    lab.wait(99);
    assert_eq!(
        lab.neighs().len(),
        1,
        "nobody knows for how long it was silent"
    );
    lab.wait(1);
    lab.wait(100);
    assert_eq!(lab.neighs(), [""; 0]);
}

#[test]
fn what_nobody_knows_is_told() {
    let mut lab = lab();
    let event = Event {
        host: ip(HOST).into(),
        ..lab.event(Event::MISS, SEGMENT, A, Port(0))
    };
    let gone = Event {
        segment: SegmentId::new(7),
        ..event
    };
    let effect = lab.take(&[event, gone]);
    assert_eq!(effect.events.len(), 1);
    let event = &effect.events[0];
    assert_eq!(
        (
            event.event,
            event.vni,
            event.mac,
            event.ip,
            event.old_dev.as_deref()
        ),
        (
            EventKind::Miss,
            Some(vni(100)),
            Some(mac(A)),
            Some(ip(HOST)),
            Some("tap0")
        )
    );
}

#[test]
fn a_new_daemon_forgets_a_host_whose_mac_is_gone() {
    let mut lab = lab();
    lab.snoop(A, Port(0), HOST, 0);
    lab.maps.fdb.clear();
    let adopted = lab.adopt();
    lab.state = adopted.state;
    lab.replay(&adopted.writes);
    assert_eq!(lab.neighs(), [""; 0]);
}

// The nexthop table

#[test]
fn a_prefix_is_behind_the_vtep_that_the_user_names_which_becomes_a_peer() {
    let mut lab = lab();
    let effect = lab.done(&Op::NexthopAdd(nexthop("10.1.0.0/16", V2, "-")));
    lab.done(&Op::NexthopAdd(nexthop("fd00::/64", V2, A)));
    assert_eq!(
        lab.nexthops(),
        [
            format!("10.1.0.0/16 {V2} - - static"),
            format!("fd00::/64 {V2} {A} - static")
        ]
    );
    assert_eq!(effect.resolve, [ip(V2)]);
    let mut bits: Vec<_> = lab.maps.nexthops.keys().map(|(bits, _)| *bits).collect();
    bits.sort_unstable();
    assert_eq!(
        bits,
        [
            NexthopKey::SEGMENT_BITS + 64,
            NexthopKey::SEGMENT_BITS + 96 + 16
        ]
    );
    assert_eq!(lab.neighs(), [""; 0], "a prefix is no host");
}

#[test]
fn a_vteps_last_nexthop_is_its_last_reference() {
    let mut lab = lab();
    lab.done(&Op::NexthopAdd(nexthop(HOST, V2, "-")));
    let effect = lab.done(&Op::NexthopReplace(nexthop(HOST, V3, "-")));
    assert_eq!(
        (effect.resolve, effect.forget),
        (vec![ip(V3)], vec![ip(V2)])
    );
    assert_eq!(lab.done(&nexthop_del(HOST)).forget, [ip(V3)]);
}

#[test]
fn the_segment_says_whether_it_has_nexthops() {
    let mut lab = lab();
    let has = |lab: &Lab| lab.maps.segments[&SEGMENT].has(Segment::NEXTHOPS);
    assert!(!has(&lab));
    lab.done(&Op::NexthopAdd(nexthop(HOST, V2, "-")));
    assert!(has(&lab));
    lab.done(&set(|spec| spec.flood = Some(Flood::None)));
    assert!(has(&lab));
    lab.done(&nexthop_del(HOST));
    assert!(!has(&lab));
}

#[test]
fn a_nexthop_exists_once() {
    let mut lab = lab();
    lab.done(&Op::NexthopAdd(nexthop(HOST, V2, "-")));
    assert_eq!(
        lab.refused(&Op::NexthopAdd(nexthop(HOST, V3, "-"))),
        format!(
            "{HOST} exists already in the nexthop table of vni 100; use: vtep nexthop replace {HOST} --vni 100 --via VTEP"
        )
    );
}

#[test]
fn a_via_that_can_be_no_vtep_is_refused() {
    let mut lab = lab();
    let refused = |lab: &mut Lab, via| lab.refused(&Op::NexthopAdd(nexthop(HOST, via, "-")));
    for via in ["239.1.1.1", "0.0.0.0", "192.0.2.1", "127.0.0.1"] {
        let refusal = refused(&mut lab, via);
        assert!(
            refusal.starts_with(via) && refusal.contains("with: --via"),
            "{refusal}"
        );
    }
    let writes = lab.state.set_locals(vec![ip("192.0.2.1")]);
    lab.replay(&writes);
    assert_eq!(
        refused(&mut lab, "2001:db8::2"),
        "no local IPv6 address; start vtep with: --local <IPv6 address>"
    );
}

#[test]
fn a_nexthop_says_where() {
    let refusal = lab().refused(&Op::NexthopAdd(nexthop(HOST, "-", "-")));
    assert!(
        refusal.contains("--via VTEP") && refusal.contains("--lladdr MAC"),
        "{refusal}"
    );
}

#[test]
fn without_a_via_a_host_is_where_the_fdb_has_its_mac() {
    let mut lab = lab();
    lab.done(&Op::NexthopAdd(nexthop(HOST, "-", A)));
    assert_eq!(lab.nexthops(), [format!("{HOST} - {A} - static?")]);
    lab.learn(A, Vtep(V2));
    assert_eq!(lab.nexthops(), [format!("{HOST} - {A} - static")]);
    lab.learn(A, Port(1));
    assert_eq!(lab.nexthops(), [format!("{HOST} - {A} tap1 static")]);
    lab.done(&fdb_del(A, 100, None));
    assert_eq!(lab.nexthops(), [format!("{HOST} - {A} - static?")]);
    let value = lab.maps.nexthops.values().next().unwrap();
    assert_eq!(
        (value.target().get(), value.flags),
        (None, NexthopValue::TRACKS)
    );
}

#[test]
fn a_nexthop_that_names_a_vtep_follows_nothing() {
    let mut lab = lab();
    lab.done(&Op::NexthopAdd(nexthop(HOST, V2, A)));
    lab.learn(A, Port(1));
    assert_eq!(lab.nexthops(), [format!("{HOST} {V2} {A} - static")]);
}

#[test]
fn a_default_of_ipv6_is_none_of_ipv4() {
    let mut lab = lab();
    lab.done(&Op::NexthopAdd(nexthop("::/0", V2, "-")));
    assert_eq!(lab.nexthops(), [format!("::/0 {V2} - - static")]);
    let v4 = NexthopKey::SEGMENT_BITS + NexthopKey::V4_BITS;
    let target = |lab: &Lab| {
        let mut found = lab
            .maps
            .nexthops
            .iter()
            .filter(|((bits, _), _)| *bits == v4);
        found.next().map(|(_, value)| value.target().get())
    };
    assert_eq!(target(&lab), Some(None), "it leads nowhere");
    lab.done(&Op::NexthopAdd(nexthop("0.0.0.0/0", V3, "-")));
    let Some(Some(FdbTarget::Peer(_))) = target(&lab) else {
        panic!("{:?}", target(&lab));
    };
    lab.done(&nexthop_del("0.0.0.0/0"));
    assert_eq!(target(&lab), Some(None));
    lab.done(&nexthop_del("::/0"));
    assert_eq!(lab.maps.nexthops.len(), 0);
}

#[test]
fn an_ipv4_prefix_is_not_written_as_ipv6() {
    let refusal = lab().refused(&Op::NexthopAdd(nexthop("::ffff:10.0.0.0/104", V2, "-")));
    assert!(refusal.ends_with("write it as IPv4"), "{refusal}");
}
