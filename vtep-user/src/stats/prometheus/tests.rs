use std::collections::{BTreeMap, BTreeSet, HashSet};

use vtep_common::abi::id::{Ifindex, PortSlot};

use super::*;
use crate::control::{Limits, LinkFacts, Others};
use crate::datapath::DroppedFor;
use crate::model::{
    LimitStatus, Op, Parameters as _, PortSpec, UplinkStatus, VlanId, Vni, VniSpec,
};

/// A daemon that has just started.
fn status() -> Status {
    Status {
        instance: "main".into(),
        version: "0.1.0".into(),
        pid: 1,
        udp_port: 4789,
        device: Some("vtep4789".into()),
        config: None,
        locals: Vec::new(),
        uplinks: vec![UplinkStatus {
            dev: "eth0".into(),
            state: UplinkState::Down,
            hook: "tc".into(),
            why: None,
        }],
        waits_for: vec!["eth0".into()],
        repairs: 0,
        left_alone: Vec::new(),
        vnis: 0,
        ports: 0,
        peers: 0,
        fdb: 0,
        fdb_max: 0,
        limits: vec![
            LimitStatus {
                limit: "hosts".into(),
                used: Some(3),
                max: 8,
            },
            LimitStatus {
                limit: "hosts_of_mac".into(),
                used: None,
                max: 256,
            },
        ],
    }
}

/// Its tables, with VNI 1 and two ports: the interface `eth0.10`, and VLAN 10 of `eth0`.
fn state() -> State {
    let mut state = State::new(Limits::default(), Vec::new(), 4789);
    let vni = Vni::new(1).unwrap();
    let spec = Box::new(VniSpec::blank());
    let made = state.apply(&Op::VniAdd { vni, spec }, &None::<LinkFacts>);
    made.unwrap();
    for (ifindex, (dev, vlan)) in (10..).zip([("eth0.10", None), ("eth0", VlanId::new(10))]) {
        let facts = LinkFacts {
            ifindex: Ifindex::new(ifindex),
            name: dev.into(),
            mtu: 1500,
            xdp_target: false,
            other_end: None,
            others: Others::default(),
        };
        let spec = PortSpec {
            dev: dev.into(),
            vni,
            vlan,
            ..PortSpec::blank()
        };
        let made = state.apply(&Op::PortAdd(Box::new(spec)), &Some(facts));
        made.unwrap();
    }
    state
}

fn text_of(snapshot: &Snapshot) -> String {
    text(&Measured {
        snapshot,
        state: &state(),
        status: &status(),
        announced: AnnounceCounters { sent: 2, lost: 0 },
        repaired: &[("mtu", 0)],
    })
}

fn counter<K>(key: K, packets: u64) -> CounterRow<K> {
    let bytes = packets * 100;
    CounterRow {
        key,
        packets,
        bytes,
    }
}

fn assert_has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line}: {text}");
    }
}

/// The sum of a family over all of its labels.
fn sum(text: &str, family: &str) -> u64 {
    let samples = text
        .lines()
        .filter_map(|line| line.strip_prefix(family)?.strip_prefix('{'));
    let values = samples.map(|rest| rest.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap());
    values.sum()
}

#[test]
fn a_frame_counts_once_in_the_sum_whatever_hooks_it_passes() {
    let snapshot = Snapshot {
        reasons: vec![
            // Seven frames came; XDP left four of them to TC, and that one to the slow path.
            counter((Hook::UplinkXdp, Reason::Decapsulated), 2),
            counter((Hook::UplinkXdp, Reason::UnknownVni), 1),
            counter((Hook::UplinkXdp, Reason::LeftToTc), 4),
            counter((Hook::Uplink, Reason::NotVxlan), 3),
            counter((Hook::Uplink, Reason::LeftToKernel), 1),
            counter((Hook::Tunnel, Reason::FloodedLocally), 1),
            // Of the flooded one, two copies were lost.
            counter((Hook::Tunnel, Reason::CopyLost), 2),
        ],
        ..Snapshot::default()
    };

    let text = text_of(&snapshot);

    assert_eq!(sum(&text, "vtep_packets_total"), 7);
    assert_eq!(sum(&text, "vtep_bytes_total"), 700);
    assert_eq!(sum(&text, "vtep_continued_packets_total"), 5);
    assert_eq!(sum(&text, "vtep_copies_lost_bytes_total"), 200);
    assert_has(
        &text,
        &[
            "vtep_packets_total{hook=\"uplink_xdp\",reason=\"unknown_vni\",class=\"dropped\"} 1",
            "vtep_packets_total{hook=\"uplink\",reason=\"not_vxlan\",class=\"passed\"} 3",
            "vtep_continued_packets_total{hook=\"uplink\",reason=\"left_to_kernel\"} 1",
            "vtep_copies_lost_packets_total{hook=\"tunnel\"} 2",
        ],
    );
}

#[test]
fn what_never_happened_is_there_as_zero() {
    let mut snapshot = Snapshot::default();
    snapshot.events.push(counter(EventEnd::Lost, 3));

    let text = text_of(&snapshot);

    for reason in Reason::ALL {
        let label = format!("reason=\"{}\"", reason.name());
        let samples = text.lines().filter(|line| line.contains(&label)).count();
        let families = usize::from(*reason != Reason::CopyLost) * 2;
        assert_eq!(samples, families * Hook::ALL.len(), "{label}");
    }
    assert_has(
        &text,
        &[
            "# TYPE vtep_learn_total counter",
            "vtep_learn_total{what=\"moved\"} 0",
            "vtep_events_total{end=\"sent\"} 0",
            "vtep_events_total{end=\"lost\"} 3",
            "vtep_announce_total{end=\"sent\"} 2",
            "vtep_announce_total{end=\"lost\"} 0",
            "vtep_repairs_total{what=\"mtu\"} 0",
            "vtep_vni_packets_total{vni=\"1\",direction=\"rx\"} 0",
            "vtep_peers_in_state{state=\"unreachable\"} 0",
        ],
    );
}

#[test]
fn the_daemon_its_uplinks_and_its_tables_are_there() {
    assert_has(
        &text_of(&Snapshot::default()),
        &[
            &format!("vtep_build_info{{version=\"0.1.0\",layout=\"{LAYOUT_VERSION}\"}} 1"),
            "vtep_slow_path_device_info{dev=\"vtep4789\",udp_port=\"4789\"} 1",
            "vtep_uplink_up{dev=\"eth0\"} 0",
            "vtep_uplink_info{dev=\"eth0\",hook=\"tc\"} 1",
            "vtep_waiting 1",
            "vtep_left_alone 0",
            "vtep_vnis 1",
            "vtep_ports 2",
            "vtep_table_entries{table=\"hosts\"} 3",
            "vtep_table_limit{table=\"hosts\"} 8",
            "vtep_table_limit{table=\"hosts_of_mac\"} 256",
        ],
    );
}

#[test]
fn the_vlan_of_an_interface_is_not_taken_for_another_interface() {
    let state = state();
    let slot = |wanted: &str| -> PortSlot {
        let mut names = state.port_names();
        names.find(|(_, dev, _)| *dev == wanted).unwrap().0
    };
    let snapshot = Snapshot {
        ports: vec![
            counter((slot("eth0.10"), Direction::Encap), 1),
            counter((slot("eth0"), Direction::Encap), 2),
        ],
        ..Snapshot::default()
    };

    assert_has(
        &text_of(&snapshot),
        &[
            "vtep_port_packets_total{dev=\"eth0.10\",vlan=\"\",direction=\"tx\"} 1",
            "vtep_port_packets_total{dev=\"eth0\",vlan=\"10\",direction=\"tx\"} 2",
        ],
    );
}

/// What was dropped for an owner.
fn dropped(kind: OwnerKind, number: u32, packets: u64) -> CounterRow<DroppedFor> {
    let key = DroppedFor {
        kind,
        number,
        hook: Hook::Port,
        reason: Reason::SpoofedMac,
    };
    counter(key, packets)
}

#[test]
fn drops_have_the_name_of_their_owner_and_nobodys_an_empty_one() {
    let state = state();
    let slot = |wanted: &str| -> u32 {
        let mut names = state.port_names();
        let found = names.find(|(_, dev, _)| *dev == wanted).unwrap();
        found.0.get()
    };
    let vni = state.segment_names().next().unwrap().0.get();
    let snapshot = Snapshot {
        drops: vec![
            dropped(OwnerKind::Segment, vni, 5),
            dropped(OwnerKind::Segment, DropKey::NOBODY, 2),
            dropped(OwnerKind::Port, slot("eth0.10"), 3),
            dropped(OwnerKind::Port, slot("eth0"), 4),
            dropped(OwnerKind::Peer, DropKey::NOBODY, 7),
            // Whoever that was is gone.
            dropped(OwnerKind::Port, 999, 9),
        ],
        ..Snapshot::default()
    };

    let text = text_of(&snapshot);

    let why = "hook=\"port\",reason=\"spoofed_mac\"";
    assert_has(
        &text,
        &[
            &format!("vtep_vni_dropped_packets_total{{vni=\"1\",{why}}} 5"),
            &format!("vtep_vni_dropped_packets_total{{vni=\"\",{why}}} 2"),
            &format!("vtep_port_dropped_packets_total{{dev=\"eth0.10\",vlan=\"\",{why}}} 3"),
            &format!("vtep_port_dropped_packets_total{{dev=\"eth0\",vlan=\"10\",{why}}} 4"),
            &format!("vtep_peer_dropped_bytes_total{{peer=\"\",{why}}} 700"),
        ],
    );
    for kind in ["vni", "port", "peer"] {
        let family = format!("vtep_{kind}_dropped_packets_total");
        assert_eq!(sum(&text, &family), 7, "{kind}");
    }
}

#[test]
fn every_sample_belongs_to_a_family_with_help_and_none_is_there_twice() {
    let text = text_of(&Snapshot::default());

    let mut family = "";
    let (mut families, mut seen) = (HashSet::new(), HashSet::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap();
            assert!(help.ends_with('.'), "{line}");
            assert!(families.insert(family), "{line}");
        } else if !line.starts_with('#') {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(sample.split('{').next(), Some(family), "{line}");
            assert!(value.parse::<u64>().is_ok(), "{line}");
            assert!(seen.insert(sample), "{line}");
        }
    }
}

/// The values of every label that a text names as `LABEL="VALUE"` or `LABEL=~"VALUE|VALUE"`, and all names of metrics in it.
fn named(text: &str) -> (BTreeSet<&str>, BTreeMap<&str, BTreeSet<&str>>) {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let words = text.split(|char| !is_word(char));
    let names = words.filter(|word| word.starts_with("vtep_") && *word != "vtep_");
    let mut labels: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    // A JSON text has its quotation marks escaped.
    for (before, after) in text
        .match_indices('"')
        .map(|(at, _)| (&text[..at], &text[at + 1..]))
    {
        let before = before.trim_end_matches('\\');
        let Some(before) = before
            .strip_suffix("=~")
            .or_else(|| before.strip_suffix('='))
        else {
            continue;
        };
        let label = before.rsplit(|char| !is_word(char)).next().unwrap();
        let values = after.split(['"', '\\']).next().unwrap().split('|');
        labels.entry(label).or_default().extend(values);
    }
    (names.collect(), labels)
}

#[test]
fn the_rules_and_the_board_name_only_what_there_is() {
    let text = text_of(&Snapshot::default());
    let (there, values) = named(&text);
    for file in [
        include_str!("../../../../dist/prometheus/vtep.rules.yml"),
        include_str!("../../../../dist/prometheus/vtep.rules.test.yml"),
        include_str!("../../../../dist/grafana/vtep.json"),
    ] {
        let (names, labels) = named(file);
        assert!(names.len() > 5, "{names:?}");
        assert_eq!(names.difference(&there).collect::<Vec<_>>(), [&""; 0]);
        for label in ["reason", "class", "what", "end", "hook", "state"] {
            let wanted = labels.get(label).into_iter().flatten();
            let have = &values[label];
            assert_eq!(
                wanted
                    .filter(|value| !have.contains(*value))
                    .collect::<Vec<_>>(),
                [&""; 0],
                "{label}"
            );
        }
    }
}

#[test]
fn every_alert_has_a_test() {
    let rules = include_str!("../../../../dist/prometheus/vtep.rules.yml");
    let tests = include_str!("../../../../dist/prometheus/vtep.rules.test.yml");
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        // It is told from what is well, and it fires.
        let quiet = format!("alertname: {alert}}}");
        let fires = format!("alertname: {alert}\n        exp_alerts:");
        assert!(tests.contains(&quiet) && tests.contains(&fires), "{alert}");
    }
}
