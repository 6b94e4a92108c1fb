//! The MTUs of paths: when the underlay is believed, for how long, and when it is not.

use vtep_common::frame::path_report::PathReport;

use super::lab::*;
use crate::control::record::queue::SECOND;
use crate::model::{Op, Sources, VniSpec};

const V4: &str = "192.0.2.2";
const V6: &str = "2001:db8::2";
const B: &str = "02:00:00:00:00:0b";
const C: &str = "02:00:00:00:00:0c";

/// A lab with VNI 100 and a VTEP of each family in it, both resolved.
fn lab() -> Lab {
    let mut lab = Lab::new();
    let spec = VniSpec {
        sources: Some(Sources::Any),
        ..VniSpec::default()
    };
    lab.done(&vni_add_with(100, spec));
    for (mac, vtep) in [(B, V4), (C, V6)] {
        lab.done(&Op::FdbAdd(entry(mac, 100, vtep)));
        lab.resolve(vtep);
    }
    lab
}

/// What a router says of a packet of ours.
fn report(vtep: &str, mtu: u32) -> PathReport {
    let local = if vtep == V4 {
        "192.0.2.1"
    } else {
        "2001:db8::1"
    };
    PathReport {
        local: ip(local).into(),
        remote: ip(vtep).into(),
        source_port: 50_000,
        udp_port: UDP_PORT,
        vni: Some(100),
        mtu,
    }
}

/// Takes a message in that came by `came_by`. Returns the MTU where it has become smaller.
fn hear(lab: &mut Lab, report: &PathReport, came_by: Ifindex) -> Option<u32> {
    lab.hear(report, came_by).map(|(vtep, mtu)| {
        assert_eq!(vtep, std::net::IpAddr::from(report.remote));
        mtu
    })
}

/// The MTU of the path to a VTEP, in the row and in the map, and for how many seconds more it is believed.
fn path(lab: &Lab, vtep: &str) -> (u32, Option<u64>) {
    let rows = lab.state.peer_rows(Some(ip(vtep))).unwrap();
    let number = lab.maps.peer_index[&ip(vtep).into()];
    let mtu = rows[0].mtu.unwrap();
    assert_eq!(lab.maps.peers[&number].mtu, mtu);
    (mtu, rows[0].mtu_expires_s)
}

#[test]
fn what_the_underlay_says_is_believed_for_ten_minutes() {
    for vtep in [V4, V6] {
        let mut lab = lab();
        assert_eq!(path(&lab, vtep), (1500, None));

        assert_eq!(hear(&mut lab, &report(vtep, 1400), UPLINK), Some(1400));

        assert_eq!(path(&lab, vtep), (1400, Some(600)));
        lab.wait(599);
        assert_eq!(path(&lab, vtep), (1400, Some(1)));
        lab.wait(1);
        assert_eq!(path(&lab, vtep), (1500, None));
        let other = if vtep == V4 { V6 } else { V4 };
        assert_eq!(path(&lab, other), (1500, None));
    }
}

#[test]
fn no_message_makes_the_mtu_larger() {
    let mut lab = lab();
    hear(&mut lab, &report(V4, 1400), UPLINK);
    for mtu in [1401, 1499, 1500, 9000, u32::MAX, 0] {
        assert_eq!(hear(&mut lab, &report(V4, mtu), UPLINK), None, "{mtu}");
        assert_eq!(path(&lab, V4), (1400, Some(600)));
    }
    assert_eq!(hear(&mut lab, &report(V4, 1300), UPLINK), Some(1300));
}

#[test]
fn the_same_said_again_is_believed_for_longer() {
    let mut lab = lab();
    hear(&mut lab, &report(V4, 1400), UPLINK);
    lab.wait(500);
    assert_eq!(hear(&mut lab, &report(V4, 1400), UPLINK), None);
    assert_eq!(path(&lab, V4), (1400, Some(600)));
    lab.wait(599);
    assert_eq!(path(&lab, V4), (1400, Some(1)));
    lab.wait(1);
    assert_eq!(path(&lab, V4), (1500, None));
}

#[test]
fn nothing_is_believed_below_what_every_link_or_host_takes() {
    for (vtep, least) in [(V4, 576), (V6, 1280)] {
        let mut lab = lab();
        hear(&mut lab, &report(vtep, least), UPLINK);
        assert_eq!(path(&lab, vtep).0, least);
        assert_eq!(hear(&mut lab, &report(vtep, 68), UPLINK), None);
        assert_eq!(path(&lab, vtep).0, least);
    }
}

#[test]
fn what_quotes_no_packet_of_ours_changes_nothing() {
    let good = report(V4, 1400);
    let not_local = ip("192.0.2.9").into();
    let forged = [
        (
            PathReport {
                local: not_local,
                ..good
            },
            UPLINK,
            "another sender",
        ),
        (
            PathReport {
                remote: not_local,
                ..good
            },
            UPLINK,
            "no VTEP of ours",
        ),
        (
            PathReport {
                udp_port: 4790,
                ..good
            },
            UPLINK,
            "another port",
        ),
        (
            PathReport {
                vni: Some(101),
                ..good
            },
            UPLINK,
            "no VNI of ours",
        ),
        (
            PathReport {
                source_port: 49_151,
                ..good
            },
            UPLINK,
            "no source port of ours",
        ),
        (
            PathReport {
                source_port: 53,
                vni: None,
                ..good
            },
            UPLINK,
            "no source port of ours",
        ),
        (good, TUNNEL, "by another interface"),
    ];
    for (report, came_by, what) in forged {
        let mut lab = lab();
        assert_eq!(hear(&mut lab, &report, came_by), None, "{what}");
        assert_eq!(path(&lab, V4), (1500, None), "{what}");
    }
    let mut lab = lab();
    // Where a router quotes so little, the VNI is not known.
    let short = PathReport { vni: None, ..good };
    assert_eq!(hear(&mut lab, &short, UPLINK), Some(1400));
}

#[test]
fn a_vtep_that_is_not_resolved_has_no_path_to_learn_of() {
    let mut lab = lab();
    lab.done(&Op::FdbAdd(entry("02:00:00:00:00:0d", 100, "192.0.2.3")));
    let report = PathReport {
        remote: ip("192.0.2.3").into(),
        ..report(V4, 1400)
    };
    assert_eq!(hear(&mut lab, &report, UPLINK), None);
}

#[test]
fn a_route_that_says_less_counts_and_one_that_says_more_does_not() {
    let mut lab = lab();
    hear(&mut lab, &report(V4, 1400), UPLINK);
    for (of_route, want) in [(1300, 1300), (9000, 1400), (1500, 1400)] {
        let mut found = resolved();
        if let super::super::Resolution::Resolved { mtu, .. } = &mut found {
            *mtu = of_route;
        }
        let writes = lab.state.resolved(ip(V4), found);
        lab.replay(&writes);
        assert_eq!(path(&lab, V4).0, want);
    }
    lab.wait(600);
    assert_eq!(path(&lab, V4), (1500, None));
}

#[test]
fn a_peer_that_goes_takes_what_was_learned_along() {
    let mut lab = lab();
    hear(&mut lab, &report(V4, 1400), UPLINK);
    lab.done(&fdb_del(B, 100, None));
    lab.done(&Op::FdbAdd(entry(B, 100, V4)));
    lab.resolve(V4);
    assert_eq!(path(&lab, V4), (1500, None));
    hear(&mut lab, &report(V4, 1450), UPLINK);
    // The time of what was learned first.
    lab.now += 600 * SECOND - 1;
    lab.tick();
    assert_eq!(path(&lab, V4).0, 1450);
}

#[test]
fn a_port_with_a_larger_mtu_than_fits_is_advised() {
    let mut lab = lab();
    lab.done(&port_add("tap0", 100));
    let row = |lab: &Lab| lab.rows().ports.remove(0);
    // The IPv6 VTEP is the one with less room.
    assert_eq!(
        (row(&lab).mtu, row(&lab).mtu_advice),
        (Some(1500), Some(1430))
    );
    let advice = lab.state.mtu_advice(Ifindex::new(10));
    assert_eq!(
        advice,
        [
            "port tap0 has MTU 1500, but packets of more than 1430 bytes do not reach every VTEP of vni 100; \
          set the MTU of the guest to 1430"
        ]
    );
    hear(&mut lab, &report(V4, 1400), UPLINK);
    assert_eq!(row(&lab).mtu_advice, Some(1350));

    lab.done(&fdb_del(B, 100, None));
    lab.done(&fdb_del(C, 100, None));
    assert_eq!(row(&lab).mtu_advice, None);
    assert!(lab.state.mtu_advice(Ifindex::new(10)).is_empty());
}
