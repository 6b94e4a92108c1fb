//! `/metrics` as Prometheus gets it: what passes several hooks counts once, and promtool has nothing to say, also of the rules and the board.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use vtep_tests::daemon::refusal::text;
use vtep_tests::daemon::samples::sum;
use vtep_tests::encoder::Mac;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::lab::ns::{unique, with_input};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, VM, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::need_root;
use vtep_tests::traffic::checks::marked;
use vtep_tests::wait;

/// Prometheus' own checks.
fn promtool(args: &[&str], input: &str) -> Option<Output> {
    let mut command = Command::new("promtool");
    command.args(args);
    let is_there = Command::new("promtool").arg("--version").output().is_ok();
    is_there.then(|| with_input(&mut command, input))
}

#[track_caller]
fn assert_passes(out: &Output) {
    let said = [text(&out.stdout), text(&out.stderr)].concat();
    assert!(out.status.success() && out.stderr.is_empty(), "{said}");
}

fn dist(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../dist")
        .join(file)
}

#[test]
fn a_frame_that_xdp_and_tc_see_counts_once() {
    need_root!();
    let wire = Wire::with(
        Family::V4,
        "",
        &["--uplink-hook", "xdp", "--xdp-mode", "generic"],
    );
    let count = |family: &str, labels: &[&str]| sum(&wire.daemon.metrics(), family, labels);
    let uplink = |class: &str| {
        let class = format!("class=\"{class}\"");
        ["uplink_xdp", "uplink", "tunnel"]
            .map(|hook| {
                count(
                    "vtep_packets_total",
                    &[&format!("hook=\"{hook}\""), class.as_str()],
                )
            })
            .iter()
            .sum::<u64>()
    };
    let (delivered, left) = (
        uplink("delivered"),
        count("vtep_continued_packets_total", &[]),
    );

    // XDP finishes the first; a flood goes on to TC and to the slow path.
    let unicast = udp4(FAR_VM, VM).build();
    wire.delivers(&wire.tunnelled(GREEN, &unicast), &unicast);
    let flood = marked(FAR_VM, Mac::BROADCAST, 1).build();
    wire.delivers(&wire.tunnelled(GREEN, &flood), &flood);

    wait::until_true("both frames to be counted", || {
        uplink("delivered") >= delivered + 2
    });
    assert_eq!(uplink("delivered"), delivered + 2);
    assert!(count("vtep_continued_packets_total", &[]) > left);
    assert_eq!(
        count("vtep_packets_total", &["reason=\"left_to_tc\""]),
        0,
        "what goes on to another hook is in no sum of those that ended"
    );
}

#[test]
fn promtool_takes_the_metrics_of_a_daemon_that_has_everything() {
    need_root!();
    let wire = Wire::with(Family::V4, "", &["--uplink-hook", "tc"]);
    wire.encap(&udp4(VM, FAR_VM).build());
    let metrics = wire.daemon.metrics();

    for line in [
        format!("vtep_uplink_up{{dev=\"{UPLINK}\"}} 1"),
        format!("vtep_uplink_info{{dev=\"{UPLINK}\",hook=\"tc\"}} 1"),
        format!("vtep_peer_up{{peer=\"{}\"}} 1", wire.far_ip),
        format!("vtep_peer_mtu_bytes{{peer=\"{}\"}} 1500", wire.far_ip),
        "vtep_peers_in_state{state=\"resolved\"} 1".to_owned(),
        "vtep_slow_path_device_info{dev=\"vtep4789\",udp_port=\"4789\"} 1".to_owned(),
        "vtep_table_limit{table=\"vnis\"} 16384".to_owned(),
        "vtep_port_packets_total{dev=\"vm0\",vlan=\"\",direction=\"tx\"} 1".to_owned(),
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}: {metrics}"
        );
    }
    let Some(checked) = promtool(&["check", "metrics"], &metrics) else {
        vtep_tests::skip!("needs promtool, of the package prometheus");
    };
    assert_passes(&checked);
}

#[test]
fn promtool_takes_the_rules_and_each_fires_when_it_should() {
    for (verb, file) in [
        ("check", "prometheus/vtep.rules.yml"),
        ("test", "prometheus/vtep.rules.test.yml"),
    ] {
        let file = dist(file);
        let Some(checked) = promtool(&[verb, "rules", &file.display().to_string()], "") else {
            vtep_tests::skip!("needs promtool, of the package prometheus");
        };
        assert_passes(&checked);
    }
}

/// The queries of a board.
fn queries<'a>(board: &'a Value, found: &mut BTreeSet<&'a str>) {
    match board {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str));
            fields.values().for_each(|value| queries(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

#[test]
fn promtool_takes_every_query_of_the_board() {
    let board = fs::read(dist("grafana/vtep.json")).expect("the board");
    let board: Value = serde_json::from_slice(&board).expect("JSON");
    let mut found = BTreeSet::new();
    queries(&board, &mut found);
    assert!(found.len() > 10, "{found:?}");
    let rules = found.into_iter().enumerate().map(|(nth, query)| {
        let query = query
            .replace("$instance", ".*")
            .replace("$__rate_interval", "5m");
        let query = serde_json::to_string(&query).expect("a string");
        format!("{{record: \"query:{nth}\", expr: {query}}}")
    });
    let rules = rules.collect::<Vec<_>>().join(",");
    let rules = format!("groups: [{{name: board, rules: [{rules}]}}]");
    let file = std::env::temp_dir().join(format!("vtep-board-{}.yml", unique("b")));
    fs::write(&file, rules).expect("write the queries down");

    let checked = promtool(&["check", "rules", &file.display().to_string()], "");

    fs::remove_file(&file).expect("remove it");
    let Some(checked) = checked else {
        vtep_tests::skip!("needs promtool, of the package prometheus");
    };
    assert_passes(&checked);
}
