//! The counters in Prometheus text form (exposition format 0.0.4).

use std::fmt::{Display, Write as _};

use vtep_common::abi::{counter::Direction, event::EventEnd};

use super::{AnnounceCounters, learning};
use crate::{
    control::State,
    datapath::{CounterRow, Snapshot},
};

/// All metrics.
#[must_use]
pub fn text(
    snapshot: &Snapshot,
    state: &State,
    announced: AnnounceCounters,
    repaired: &[(&str, u64)],
) -> String {
    let mut out = String::new();
    let reasons: Vec<_> = snapshot
        .reasons
        .iter()
        .map(|counter| {
            let (hook, reason) = counter.key;
            (
                format!("hook=\"{}\",reason=\"{}\"", hook.name(), reason.name()),
                counter.packets,
                counter.bytes,
            )
        })
        .collect();
    counters(
        &mut out,
        "vtep",
        "by the hook that counted them and the reason that they ended under.",
        &reasons,
    );
    let vnis = named(&snapshot.segments, "vni", |number| {
        state.segment_name(number).map(|vni| vni.to_string())
    });
    counters(
        &mut out,
        "vtep_vni",
        "that went through, by VNI; tx is from the ports.",
        &vnis,
    );
    let ports = named(&snapshot.ports, "dev", |slot| {
        let (name, vlan) = state.port_name(slot)?;
        Some(vlan.map_or_else(|| name.to_owned(), |vlan| format!("{name}.{vlan}")))
    });
    counters(
        &mut out,
        "vtep_port",
        "that went through, by port; tx is from the port.",
        &ports,
    );
    let peers = named(&snapshot.peers, "peer", |number| state.peer_name(number));
    counters(
        &mut out,
        "vtep_peer",
        "that went through, by remote VTEP; tx is to it.",
        &peers,
    );

    events(
        &mut out,
        ("vtep_learn_total", "what"),
        "MACs by the result of learning.",
        &learning::learned(state),
    );
    events(
        &mut out,
        ("vtep_events_total", "end"),
        "Events from the data path to the daemon, by their fate.",
        &EventEnd::ALL.map(|end| (end.name(), learning::events(snapshot, end))),
    );
    let AnnounceCounters { sent, lost } = announced;
    events(
        &mut out,
        ("vtep_announce_total", "end"),
        "Announcements of local MACs to other VTEPs, by their fate.",
        &[("sent", sent), ("lost", lost)],
    );
    events(
        &mut out,
        ("vtep_repairs_total", "what"),
        "What others had changed about the device, the programs and the ports of vtep, and vtep put right.",
        repaired,
    );

    let totals = state.totals();
    for (name, help, value) in [
        ("vtep_vnis", "VNIs.", totals.vnis),
        (
            "vtep_ports",
            "Ports; each VLAN of an interface counts as one.",
            totals.ports,
        ),
        ("vtep_peers", "Remote VTEPs.", totals.peers),
        ("vtep_fdb_entries", "FDB entries.", totals.fdb),
        (
            "vtep_fdb_limit",
            "Capacity of the FDB, in entries.",
            totals.fdb_max,
        ),
    ] {
        line(
            &mut out,
            format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"),
        );
    }
    out
}

/// Counters with their labels.
fn named<K: Copy, N: Display>(
    rows: &[CounterRow<(K, Direction)>],
    label: &str,
    name: impl Fn(K) -> Option<N>,
) -> Vec<(String, u64, u64)> {
    let labelled = rows.iter().filter_map(|counter| {
        let (number, way) = counter.key;
        let labels = format!(
            "{label}=\"{}\",direction=\"{}\"",
            escaped(&name(number)?.to_string()),
            super::direction(way)
        );
        Some((labels, counter.packets, counter.bytes))
    });
    labelled.collect()
}

/// A counter with one label. Zeros stand there too: what has not happened yet can be watched for.
fn events(out: &mut String, (name, label): (&str, &str), help: &str, rows: &[(&str, u64)]) {
    line(
        out,
        format_args!("# HELP {name} {help}\n# TYPE {name} counter"),
    );
    for (value, times) in rows {
        line(out, format_args!("{name}{{{label}=\"{value}\"}} {times}"));
    }
}

/// A label's value: backslashes and quotation marks are escaped. Interface names can hold either.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

/// A pair of counters, packets and bytes. `help` says of which frames.
fn counters(out: &mut String, prefix: &str, help: &str, rows: &[(String, u64, u64)]) {
    for (unit, counted) in [("packets", "Frames"), ("bytes", "Bytes of frames")] {
        let name = format!("{prefix}_{unit}_total");
        line(
            out,
            format_args!("# HELP {name} {counted} {help}\n# TYPE {name} counter"),
        );
        for (labels, packets, bytes) in rows {
            let value = if unit == "packets" { packets } else { bytes };
            line(out, format_args!("{name}{{{labels}}} {value}"));
        }
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a string takes what is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Limits;

    #[test]
    fn the_help_of_a_counter_says_what_is_counted() {
        let state = State::new(Limits::default(), Vec::new(), 4789);
        let announced = AnnounceCounters { sent: 0, lost: 0 };

        let text = text(&Snapshot::default(), &state, announced, &[]);

        for (name, counted) in [("packets", "Frames "), ("bytes", "Bytes of frames ")] {
            for prefix in ["vtep", "vtep_vni", "vtep_port", "vtep_peer"] {
                let line = format!("# HELP {prefix}_{name}_total {counted}");
                assert!(text.contains(&line), "{line}: {text}");
            }
        }
    }

    #[test]
    fn what_never_happened_is_there_as_zero() {
        let mut snapshot = Snapshot::default();
        snapshot.events.push(CounterRow {
            key: EventEnd::Lost,
            packets: 3,
            bytes: 0,
        });
        let state = State::new(Limits::default(), Vec::new(), 4789);
        let announced = AnnounceCounters { sent: 2, lost: 0 };

        let text = text(&snapshot, &state, announced, &[("mtu", 0)]);

        for line in [
            "# TYPE vtep_learn_total counter",
            "vtep_learn_total{what=\"moved\"} 0",
            "vtep_events_total{end=\"sent\"} 0",
            "vtep_events_total{end=\"lost\"} 3",
            "vtep_announce_total{end=\"sent\"} 2",
            "vtep_announce_total{end=\"lost\"} 0",
            "vtep_repairs_total{what=\"mtu\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
