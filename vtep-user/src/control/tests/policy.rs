//! Who may send what: guards, limits, and the VTEPs that packets are taken from.

use vtep_common::abi::{
    id::{PeerId, SegmentId},
    port::Port,
    segment::{Segment, SourceKey},
    vlans::Vlans,
};

use super::super::{Effect, Limits, Write};
use super::lab::{From::Vtep, *};
use crate::model::{
    FdbFilter, Mode, NexthopSpec, Op, OverLimit, PortChange, PortGuard, PortPart, PortSpec,
    Sources, VlanId, VniSpec,
};

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";
const V2: &str = "192.0.2.2";
const V3: &str = "192.0.2.3";
const ALL: &str = "00:00:00:00:00:00";

/// A VNI as it is by default, with two ports.
fn lab() -> Lab {
    lab_with(VniSpec::default(), Limits::default())
}

fn lab_with(spec: VniSpec, limits: Limits) -> Lab {
    let mut lab = Lab::with(limits);
    lab.done(&vni_add_with(100, spec));
    lab.done(&port_add("tap0", 100));
    lab.done(&port_add("tap1", 100));
    lab
}

/// The VTEPs that packets are taken from.
fn listed(lab: &Lab) -> Vec<String> {
    let ip = |peer: PeerId| lab.state.peers.ip(peer).to_string();
    let sources = lab.maps.sources.iter();
    let mut found: Vec<_> = sources.map(|key| ip(key.parts().1)).collect();
    found.sort();
    found
}

fn sources(sources: Sources) -> VniSpec {
    VniSpec {
        sources: Some(sources),
        ..VniSpec::default()
    }
}

#[test]
fn every_entry_of_the_users_names_a_vtep_and_the_last_that_goes_takes_it_along() {
    let mut lab = lab();
    lab.done(&Op::FdbAppend(entry(ALL, 100, V2)));
    lab.done(&Op::FdbAdd(entry(A, 100, V3)));
    lab.done(&Op::FdbAppend(entry("01:00:5e:00:00:05", 100, "192.0.2.4")));
    let route = NexthopSpec {
        ip: "10.0.0.0/8".parse().unwrap(),
        vni: vni(100),
        via: Some(ip("2001:db8::2")),
        lladdr: None,
    };
    lab.done(&Op::NexthopAdd(route));
    assert_eq!(listed(&lab), [V2, V3, "192.0.2.4", "2001:db8::2"]);

    lab.done(&Op::FdbReplace(entry(A, 100, V2)));
    assert_eq!(listed(&lab), [V2, "192.0.2.4", "2001:db8::2"]);
    lab.done(&fdb_del(ALL, 100, Some(V2)));
    assert_eq!(listed(&lab), [V2, "192.0.2.4", "2001:db8::2"]);
    lab.done(&fdb_del(A, 100, None));
    assert_eq!(listed(&lab), ["192.0.2.4", "2001:db8::2"]);
    lab.done(&vni_del(vni(100)));
    assert_eq!(listed(&lab), [""; 0]);
}

#[test]
fn packets_are_taken_from_any_vtep_where_floods_go_to_a_group_or_it_is_said() {
    let group = Some(ip("239.1.1.1"));
    for (spec, want) in [
        (VniSpec::default(), Sources::Listed),
        (
            VniSpec {
                mode: Some(Mode::L3),
                ..VniSpec::default()
            },
            Sources::Listed,
        ),
        (
            VniSpec {
                mode: Some(Mode::Multicast),
                group,
                ..VniSpec::default()
            },
            Sources::Any,
        ),
        (
            VniSpec {
                mode: Some(Mode::Multicast),
                group,
                ..sources(Sources::Listed)
            },
            Sources::Listed,
        ),
        (sources(Sources::Any), Sources::Any),
    ] {
        let lab = lab_with(spec, Limits::default());
        assert_eq!(lab.vni(100).sources, want);
    }
}

#[test]
fn nothing_is_learned_from_a_vtep_that_nothing_names() {
    let mut lab = lab();
    lab.done(&Op::FdbAppend(entry(ALL, 100, V2)));
    // The data path may have told of it before it was unlisted.
    lab.learn(A, Vtep(V3));
    lab.learn(B, Vtep(V2));
    assert_eq!(lab.fdb(100), [format!("{ALL} {V2}"), format!("{B} {V2}")]);
}

#[test]
fn what_was_learned_goes_with_the_vtep_that_nothing_names_any_more() {
    let mut lab = lab();
    lab.done(&Op::FdbAppend(entry(ALL, 100, V2)));
    lab.learn(A, Vtep(V2));

    let effect = lab.done(&fdb_del(ALL, 100, Some(V2)));

    let key = SourceKey::new(SegmentId::new(0), PeerId::new(0));
    assert!(effect.writes.contains(&Write::Source(key, false)));
    assert_eq!(lab.fdb(100), [""; 0]);
    assert_eq!(lab.peers(), [""; 0]);
}

#[test]
fn a_vni_that_is_listed_from_now_on_forgets_what_others_taught_it() {
    let mut lab = lab_with(sources(Sources::Any), Limits::default());
    lab.done(&Op::FdbAppend(entry(ALL, 100, V2)));
    lab.learn(A, Vtep(V2));
    lab.learn(B, Vtep(V3));
    assert_eq!(listed(&lab), [""; 0]);

    let effect = lab.done(&vni_set(100, sources(Sources::Listed)));
    assert!(
        matches!(
            effect.writes[..2],
            [Write::Source(_, true), Write::Segment(..)]
        ),
        "known first: {:?}",
        effect.writes
    );
    assert_eq!(listed(&lab), [V2]);
    assert_eq!(lab.fdb(100), [format!("{ALL} {V2}"), format!("{A} {V2}")]);

    lab.done(&vni_set(100, sources(Sources::Any)));
    assert_eq!(listed(&lab), [""; 0]);
}

#[test]
fn a_full_table_of_sources_is_refused_with_what_to_type() {
    let limits = Limits {
        sources: 1,
        ..Limits::default()
    };
    let mut lab = lab_with(VniSpec::default(), limits);
    lab.done(&Op::FdbAppend(entry(ALL, 100, V2)));
    lab.done(&Op::FdbAdd(entry(A, 100, V2)));
    let full = "the table of VTEPs that packets are taken from is full (1, each counted once for each VNI); \
                let a VNI take packets from any with: vtep vni set VNI --sources any";
    let route = NexthopSpec {
        ip: "10.0.0.0/8".parse().unwrap(),
        vni: vni(100),
        via: Some(ip(V3)),
        lladdr: None,
    };
    for op in [
        Op::FdbAppend(entry(ALL, 100, V3)),
        Op::FdbReplace(entry(ALL, 100, V3)),
        Op::FdbAdd(entry(B, 100, V3)),
        Op::FdbAppend(entry("01:00:5e:00:00:05", 100, V3)),
        Op::NexthopAdd(route),
    ] {
        assert_eq!(lab.refused(&op), full);
    }
    lab.done(&vni_set(100, sources(Sources::Any)));
    lab.done(&Op::FdbAppend(entry(ALL, 100, V3)));
    assert_eq!(lab.refused(&vni_set(100, sources(Sources::Listed))), full);
}

#[test]
fn a_guard_needs_the_macs_of_its_port() {
    let mut lab = Lab::new();
    lab.done(&vni_add(100));
    let guarded = |macs: &[&str]| {
        Op::PortAdd(Box::new(PortSpec {
            guard: Some(PortGuard::Mac),
            macs: macs.iter().map(|text| mac(text)).collect(),
            ..port_spec("tap0", 100)
        }))
    };
    let why = "--guard mac lets frames from the port's static MACs in, and it has none; name them with: --mac MAC, or take all frames with: --guard off";
    assert_eq!(lab.refused(&guarded(&[])), why);
    lab.done(&guarded(&[A]));
    assert!(lab.port("tap0").has(Port::GUARD_MAC));

    let change = |change| Op::PortSet {
        dev: "tap0".to_owned(),
        change: Box::new(change),
    };
    let none = PortChange {
        macs: Some(Vec::new()),
        ..PortChange::default()
    };
    assert_eq!(lab.refused(&change(none.clone())), why);
    lab.done(&change(PortChange {
        guard: Some(PortGuard::Off),
        ..none
    }));
    assert!(!lab.port("tap0").has(Port::GUARD_MAC));
}

/// A lab whose first port may have one MAC.
fn narrow(over_limit: Option<OverLimit>) -> Lab {
    let mut lab = Lab::new();
    lab.done(&vni_add(100));
    let spec = PortSpec {
        max_macs: Some(1),
        over_limit,
        ..port_spec("tap0", 100)
    };
    lab.done(&Op::PortAdd(Box::new(spec)));
    lab
}

#[test]
fn a_port_at_its_limit_says_so_to_the_data_path_unless_others_may_pass() {
    let mut lab = narrow(None);
    let full = |lab: &Lab| lab.port("tap0").has(Port::FULL);
    assert!(!full(&lab));
    lab.learn(A, From::Port(0));
    assert!(full(&lab));
    lab.done(&fdb_del(A, 100, None));
    assert!(!full(&lab));

    let mut lab = narrow(Some(OverLimit::Flood));
    lab.learn(A, From::Port(0));
    assert!(!full(&lab));
    lab.done(&Op::PortSet {
        dev: "tap0".to_owned(),
        change: Box::new(PortChange {
            over_limit: Some(OverLimit::Drop),
            ..PortChange::default()
        }),
    });
    assert!(full(&lab));
}

#[test]
fn a_vni_at_its_limit_lets_others_pass_unless_they_are_to_be_dropped() {
    let full = |lab: &Lab| {
        let number = lab.state.segments.number_of(vni(100)).unwrap();
        lab.maps.segments[&number].has(Segment::FULL)
    };
    let limited = |over_limit| VniSpec {
        max_macs: Some(1),
        over_limit,
        ..VniSpec::default()
    };
    let mut lab = lab_with(limited(None), Limits::default());
    lab.learn(A, From::Port(0));
    assert!(!full(&lab));
    lab.done(&vni_set(
        100,
        VniSpec {
            over_limit: Some(OverLimit::Drop),
            ..VniSpec::default()
        },
    ));
    assert!(full(&lab));
    lab.done(&Op::FdbFlush(FdbFilter {
        vni: Some(vni(100)),
        ..FdbFilter::default()
    }));
    assert!(!full(&lab));
}

/// A port for a VLAN of a device.
fn vlan_add(dev: &str, number: u32, vlan: u16) -> Op {
    Op::PortAdd(Box::new(PortSpec {
        vlan: VlanId::new(vlan),
        ..port_spec(dev, number)
    }))
}

/// Where the writes of a change say a thing.
fn place(effect: &Effect, is_it: impl Fn(&Write) -> bool) -> usize {
    effect.writes.iter().position(is_it).expect("it is written")
}

#[test]
fn the_untagged_port_knows_of_the_vlans_beside_it_before_they_have_frames() {
    let mut lab = lab();
    let trunk = |lab: &Lab| lab.port("tap0").has(Port::TRUNK);
    assert!(!trunk(&lab));

    let added = lab.done(&vlan_add("tap0", 100, 20));
    assert!(trunk(&lab) && !lab.port("tap1").has(Port::TRUNK));
    let known = place(&added, |write| matches!(write, Write::Trunk(_, Some(_))));
    let told = place(
        &added,
        |write| matches!(write, Write::Port(_, port) if port.has(Port::TRUNK)),
    );
    let taken = place(&added, |write| {
        matches!(write, Write::PortIndex(_, Some(_)))
    });
    assert!(known < taken && told < taken);

    // The key goes first: for a moment the VLAN is nobody's.
    lab.done(&vlan_add("tap0", 100, 30));
    let part = |vlan| PortPart {
        untagged: false,
        vlan: VlanId::new(vlan),
        vni: None,
    };
    let del = |vlan| Op::PortDel {
        dev: "tap0".to_owned(),
        part: part(vlan),
    };
    let gone = lab.done(&del(20));
    let free = place(&gone, |write| matches!(write, Write::PortIndex(_, None)));
    let forgotten = place(&gone, |write| matches!(write, Write::Trunk(..)));
    assert!(free < forgotten && trunk(&lab));
    lab.done(&del(30));
    assert!(!trunk(&lab) && lab.maps.trunks.is_empty());
}

#[test]
fn an_untagged_port_that_comes_later_knows_as_well() {
    let mut lab = Lab::new();
    lab.done(&vni_add_with(100, VniSpec::default()));
    lab.done(&vlan_add("tap0", 100, 20));
    lab.done(&port_add("tap0", 100));
    let untagged = |port: &&Port| port.vlan == 0;
    let port = lab.maps.ports.values().find(untagged).unwrap();
    assert!(port.has(Port::TRUNK));
}

#[test]
fn a_daemon_that_takes_over_says_which_vlans_have_ports() {
    let mut lab = lab();
    lab.done(&vlan_add("tap0", 100, 20));
    // As an earlier build left it, and with one that is nobody's.
    let stray = Ifindex::new(99);
    let ours = std::mem::take(&mut lab.maps.trunks);
    lab.maps.trunks.insert(stray, Box::new(Vlans::of([7])));
    let flagged = lab.port("tap0");
    for port in lab.maps.ports.values_mut() {
        port.set(Port::TRUNK, false);
    }

    let adopted = lab.adopt();

    assert_eq!(adopted.state, lab.state);
    for (ifindex, vlans) in ours {
        let write = Write::Trunk(ifindex, Some(vlans));
        assert!(adopted.writes.contains(&write), "{write:?}");
    }
    assert!(adopted.writes.contains(&Write::Trunk(stray, None)));
    let told = |write: &Write| matches!(write, Write::Port(_, port) if *port == flagged);
    assert!(adopted.writes.iter().any(told));
}

/// The addresses that guards let in.
fn guarded(lab: &Lab) -> Vec<String> {
    let keys = lab.maps.guarded.iter();
    let mut found: Vec<_> = keys
        .map(|key| format!("{} {}", key.port, std::net::IpAddr::from(key.host)))
        .collect();
    found.sort();
    found
}

#[test]
fn a_guard_of_addresses_knows_those_of_its_port_before_it_asks_for_them() {
    let mut lab = lab();
    let spec = |macs: &[&str], ips: &[&str]| PortSpec {
        macs: macs.iter().map(|at| mac(at)).collect(),
        ips: ips.iter().map(|at| ip(at)).collect(),
        guard: Some(PortGuard::Ip),
        ..port_spec("tap2", 100)
    };
    for (macs, ips) in [(&[][..], &["10.0.0.1"][..]), (&[A], &[])] {
        let refusal = lab.refused(&Op::PortAdd(Box::new(spec(macs, ips))));
        assert!(refusal.contains("--mac MAC --ip IP"), "{refusal}");
    }

    let added = lab.done(&Op::PortAdd(Box::new(spec(&[A], &["10.0.0.1", "fd00::1"]))));
    assert_eq!(guarded(&lab), ["2 10.0.0.1", "2 fd00::1"]);
    let own_v4 = |lab: &Lab| lab.port("tap2").own_v4.to_ne_bytes();
    assert_eq!(own_v4(&lab), [10, 0, 0, 1]);
    let flags = lab.port("tap2");
    assert!(flags.has(Port::GUARD_IP) && flags.has(Port::GUARD_MAC));
    let known = place(&added, |write| matches!(write, Write::Guarded(_, true)));
    let asked = place(
        &added,
        |write| matches!(write, Write::Port(_, port) if port.has(Port::GUARD_IP)),
    );
    assert!(known < asked);

    let set = |change: PortChange| Op::PortSet {
        dev: "tap2".to_owned(),
        change: Box::new(change),
    };
    lab.done(&set(PortChange {
        ips: Some(vec![ip("10.0.0.2")]),
        ..PortChange::default()
    }));
    assert_eq!(guarded(&lab), ["2 10.0.0.2"]);
    assert_eq!(own_v4(&lab), [10, 0, 0, 2]);
    let refusal = lab.refused(&set(PortChange {
        ips: Some(vec![]),
        ..PortChange::default()
    }));
    assert!(refusal.contains("--guard ip"), "{refusal}");

    // The flag goes first: no frame asks for an address that is gone.
    let eased = lab.done(&set(PortChange {
        guard: Some(PortGuard::Mac),
        ..PortChange::default()
    }));
    let asked = place(&eased, |write| matches!(write, Write::Port(..)));
    let gone = place(&eased, |write| matches!(write, Write::Guarded(_, false)));
    assert!(asked < gone && guarded(&lab).is_empty());
    assert_eq!(own_v4(&lab), [0; 4]);

    lab.done(&set(PortChange {
        guard: Some(PortGuard::Ip),
        router: Some(true),
        ..PortChange::default()
    }));
    assert!(lab.port("tap2").has(Port::ROUTER));
    lab.done(&vni_del(vni(100)));
    assert_eq!(guarded(&lab), [""; 0]);
}
