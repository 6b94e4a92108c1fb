//! The modes and multicast groups: each rule as a claim.

use vtep_common::abi::{peer::Peer, segment::Segment};

use super::{
    super::{Limits, Write},
    lab::{From::*, *},
    model::split,
};
use crate::model::{Flood, Mode, Op, PeerSpec, RefusalKind, VniSpec};

const A: &str = "02:00:00:00:00:0a";
const ZERO: &str = "00:00:00:00:00:00";
const V2: &str = "192.0.2.2";
const GROUP: &str = "239.1.1.1";
const GROUP6: &str = "ff05::100";

fn multicast(group: &str) -> VniSpec {
    VniSpec {
        mode: Some(Mode::Multicast),
        group: Some(ip(group)),
        ..VniSpec::default()
    }
}

fn mode(mode: Mode) -> VniSpec {
    VniSpec {
        mode: Some(mode),
        ..VniSpec::default()
    }
}

/// A lab with VNI 100, which floods to a group, and slot 0 `tap0` in it.
fn lab(group: &str) -> Lab {
    let mut lab = Lab::new();
    lab.done(&vni_add_with(100, multicast(group)));
    lab.done(&port_add("tap0", 100));
    lab
}

#[test]
fn each_mode_sets_its_three_parts() {
    let rows = [Mode::Multicast, Mode::Flood, Mode::L2, Mode::L3].map(|of| {
        let mut lab = Lab::new();
        let group = (of == Mode::Multicast).then(|| ip(GROUP));
        lab.done(&vni_add_with(100, VniSpec { group, ..mode(of) }));
        let row = lab.vni(100);
        let floods = lab.maps.segments[&SEGMENT].has(Segment::FLOODS);
        assert_eq!(floods, of != Mode::L3);
        (row.flood, row.learning, row.suppress)
    });
    assert_eq!(
        rows,
        [
            (Flood::Multicast, true, false),
            (Flood::Her, true, false),
            (Flood::Her, false, false),
            (Flood::None, false, true),
        ]
    );
}

#[test]
fn floods_go_to_the_group_of_which_we_become_a_member() {
    for group in [GROUP, GROUP6] {
        let mut lab = Lab::new();
        let effect = lab.done(&vni_add_with(100, multicast(group)));
        lab.done(&port_add("tap0", 100));
        assert_eq!((effect.join, effect.resolve), (vec![ip(group)], vec![]));
        assert_eq!(lab.vni(100).group, Some(ip(group)));
        assert_eq!(split(&lab.maps.flood[&SEGMENT.into()]), (vec![0], vec![0]));
        let peer = lab.maps.peers[&PeerId::new(0)];
        assert_eq!(peer.addr, ip(group).into());
        assert_eq!(
            peer.flags.without(Peer::IPV6 | Peer::CHECKSUM),
            Peer::IN_USE | Peer::MULTICAST
        );
        let local = if group == GROUP {
            "0.0.0.0"
        } else {
            "2001:db8::1"
        };
        assert_eq!((peer.local, peer.mtu), (ip(local).into(), 0));
    }
}

#[test]
fn a_group_is_no_vtep() {
    let mut lab = lab(GROUP);
    assert_eq!((lab.peers().len(), lab.vni(100).remotes.len()), (0, 0));
    assert_eq!((lab.state.peer_ips().count(), lab.fdb(100).len()), (0, 0));
    assert_eq!(lab.state.groups().collect::<Vec<_>>(), [ip(GROUP)]);
    assert!(lab.state.peer_rows(Some(ip(GROUP))).is_err());
    let set = Op::PeerSet {
        ip: ip(GROUP),
        spec: PeerSpec::default(),
    };
    assert_eq!(lab.apply(&set).unwrap_err().kind, RefusalKind::NotFound);
    assert_eq!(lab.state.resolved(ip(GROUP), resolved()), []);
    lab.learn(A, Vtep(GROUP));
    assert_eq!(lab.fdb(100), [""; 0]);
}

#[test]
fn vteps_on_the_list_get_a_copy_each_beside_the_group() {
    let mut lab = lab(GROUP);
    lab.done(&Op::FdbAppend(entry(ZERO, 100, V2)));
    assert_eq!(
        split(&lab.maps.flood[&SEGMENT.into()]),
        (vec![0], vec![0, 1])
    );
    assert_eq!(lab.vni(100).remotes, [ip(V2)]);
    let effect = lab.learn(A, Port(0));
    assert_eq!(effect.announce[0].to, [ip(GROUP), ip(V2)]);
    lab.done(&vni_set(100, mode(Mode::Flood)));
    assert_eq!(split(&lab.maps.flood[&SEGMENT.into()]), (vec![0], vec![1]));
}

#[test]
fn vnis_share_a_group_and_the_last_leaves_it() {
    let mut lab = lab(GROUP);
    let joined = lab.done(&vni_add_with(200, multicast(GROUP))).join;
    let left = lab.done(&vni_set(100, mode(Mode::L2))).leave;
    assert!(joined.is_empty() && left.is_empty());
    assert_eq!(lab.vni(100).group, None);
    let effect = lab.done(&vni_del(vni(200)));
    assert_eq!((effect.leave, effect.forget), (vec![ip(GROUP)], vec![]));
    assert_eq!((lab.maps.groups.len(), lab.maps.peers.len()), (0, 0));
}

#[test]
fn a_group_can_be_changed_and_stays_until_it_is() {
    let mut lab = lab(GROUP);
    let effect = lab.done(&vni_set(100, mode(Mode::Multicast)));
    assert_eq!(
        (effect.writes, lab.vni(100).group),
        (vec![], Some(ip(GROUP)))
    );
    let group = VniSpec {
        group: Some(ip(GROUP6)),
        ..VniSpec::default()
    };
    let effect = lab.done(&vni_set(100, group));
    assert_eq!(
        (effect.join, effect.leave),
        (vec![ip(GROUP6)], vec![ip(GROUP)])
    );
}

#[test]
fn flood_multicast_needs_a_group_and_nothing_else_takes_one() {
    let mut lab = lab(GROUP);
    lab.done(&vni_add(200));
    let flood = VniSpec {
        flood: Some(Flood::Multicast),
        ..VniSpec::default()
    };
    for spec in [mode(Mode::Multicast), flood] {
        for op in [vni_add_with(7, spec.clone()), vni_set(200, spec)] {
            assert!(lab.refused(&op).ends_with("--group GROUP"));
        }
    }
    for mode in [None, Some(Mode::Flood), Some(Mode::L2), Some(Mode::L3)] {
        let spec = VniSpec {
            mode,
            ..multicast(GROUP)
        };
        for op in [vni_add_with(7, spec.clone()), vni_set(200, spec)] {
            let refusal = lab.refused(&op);
            assert!(
                refusal.ends_with("--mode multicast, or --flood multicast"),
                "{refusal}"
            );
        }
    }
    let left = VniSpec {
        group: Some(ip(GROUP6)),
        ..mode(Mode::L3)
    };
    lab.refused(&vni_set(100, left));
}

#[test]
fn a_group_is_a_multicast_address_of_a_family_that_we_have() {
    let mut lab = lab(GROUP);
    for group in ["192.0.2.9", "2001:db8::9", "0.0.0.0", "::ffff:239.1.1.1"] {
        for op in [
            vni_add_with(7, multicast(group)),
            vni_set(100, multicast(group)),
        ] {
            let refusal = lab.refused(&op);
            assert!(refusal.starts_with(&ip(group).to_string()), "{refusal}");
            assert!(
                refusal.contains("239.1.1.1 or ff05::100 with: --group"),
                "{refusal}"
            );
        }
    }
    let writes = lab.state.set_locals(vec![ip("192.0.2.1")]);
    lab.replay(&writes);
    for op in [
        vni_add_with(7, multicast(GROUP6)),
        vni_set(100, multicast(GROUP6)),
    ] {
        assert_eq!(
            lab.refused(&op),
            "no local IPv6 address; start vtep with: --local <IPv6 address>"
        );
    }
}

#[test]
fn a_group_takes_a_place_among_the_peers_and_on_the_list() {
    let mut lab = Lab::with(Limits {
        peers: 1,
        flood_targets: 1,
        ..Limits::default()
    });
    lab.done(&vni_add(100));
    lab.done(&port_add("tap0", 100));
    assert!(
        lab.refused(&vni_set(100, multicast(GROUP)))
            .contains("is full (1 targets")
    );
    lab.done(&vni_add_with(200, multicast(GROUP)));
    assert_eq!(
        lab.apply(&vni_add_with(7, multicast(GROUP6)))
            .unwrap_err()
            .kind,
        RefusalKind::Full
    );
    assert_eq!(
        lab.apply(&port_add("tap1", 200)).unwrap_err().kind,
        RefusalKind::Full
    );
}

#[test]
fn a_group_of_ipv6_is_sent_to_from_our_address_of_now() {
    let mut lab = lab(GROUP6);
    let writes = lab.state.set_locals(vec![ip("2001:db8::7")]);
    lab.replay(&writes);
    assert_eq!(
        lab.maps.peers[&PeerId::new(0)].local,
        ip("2001:db8::7").into()
    );
    assert!(!lab.maps.peers[&PeerId::new(0)].has(Peer::UNREACHABLE));
}

#[test]
fn a_new_daemon_is_told_the_groups_and_repairs_what_was_half_done() {
    let lab = lab(GROUP);
    let adopted = lab.adopt();
    assert_eq!(adopted.state.groups().collect::<Vec<_>>(), [ip(GROUP)]);

    let mut half = lab.clone();
    half.maps.peers.clear();
    half.maps.peer_index.clear();
    half.maps.flood.clear();
    half.maps.groups.clear();
    let adopted = half.adopt();
    let group = |write: &Write| matches!(write, Write::Group(_, true));
    assert!(adopted.writes.iter().any(group));
    half.state = adopted.state;
    half.replay(&adopted.writes);
    assert_eq!(half.maps.flood, lab.maps.flood);

    let mut left = Lab::new();
    left.maps.groups.insert(ip(GROUP).into());
    assert_eq!(left.adopt().writes, [Write::Group(ip(GROUP).into(), false)]);
}
