//! The metrics of a daemon, for Prometheus.
//!
//! A frame counts once in any sum over a family: what a hook leaves to a later hook, and what is lost of a flood's copies, have families of
//! their own.

use std::collections::HashMap;
use std::hash::Hash;

use vtep_common::abi::counter::{Direction, Hook};
use vtep_common::abi::drops::{DropKey, OwnerKind};
use vtep_common::abi::event::EventEnd;
use vtep_common::abi::id::{PeerId, PortSlot, SegmentId};
use vtep_common::abi::map::LAYOUT_VERSION;
use vtep_common::abi::reason::{Class, Reason};

use super::exposition::{Exposition, Kind, Labels};
use super::{AnnounceCounters, learning};
use crate::control::State;
use crate::datapath::{CounterRow, Snapshot};
use crate::model::{PeerState, Status, UplinkState, Value as _};

/// What the metrics are made of.
#[derive(Clone, Copy)]
pub struct Measured<'a> {
    /// The counters of the data path.
    pub snapshot: &'a Snapshot,
    /// The tables.
    pub state: &'a State,
    /// The daemon itself.
    pub status: &'a Status,
    /// What was announced.
    pub announced: AnnounceCounters,
    /// How often each kind of thing was put right.
    pub repaired: &'a [(&'static str, u64)],
}

/// All metrics.
#[must_use]
pub fn text(measured: &Measured<'_>) -> String {
    let mut out = Exposition::default();
    about_the_daemon(&mut out, measured);
    by_reason(&mut out, measured.snapshot);
    by_owner(&mut out, measured);
    dropped_by_owner(&mut out, measured);
    happened(&mut out, measured);
    peers(&mut out, measured.state);
    tables(&mut out, measured);
    out.finish()
}

fn about_the_daemon(out: &mut Exposition, measured: &Measured<'_>) {
    let status = measured.status;
    let layout = LAYOUT_VERSION.to_string();
    out.family(
        Kind::Gauge,
        "vtep_build_info",
        "The version of the daemon, and of the layout of its pinned maps.",
    )
    .sample(&[("version", &status.version), ("layout", &layout)], 1);
    let udp_port = status.udp_port.to_string();
    let device = status.device.as_deref().unwrap_or_default();
    out.family(
        Kind::Gauge,
        "vtep_slow_path_device_info",
        "The slow-path device, and the UDP port that it holds.",
    )
    .sample(&[("dev", device), ("udp_port", &udp_port)], 1);
    let mut up = out.family(
        Kind::Gauge,
        "vtep_uplink_up",
        "Whether an uplink is there and switched on.",
    );
    for uplink in &status.uplinks {
        let is_up = uplink.state == UplinkState::Up;
        up.sample(&[("dev", &uplink.dev)], is_up.into());
    }
    let mut hooks = out.family(
        Kind::Gauge,
        "vtep_uplink_info",
        "The hook that takes the packets of an uplink first.",
    );
    for uplink in &status.uplinks {
        hooks.sample(&[("dev", &uplink.dev), ("hook", &uplink.hook)], 1);
    }
    out.single(
        Kind::Gauge,
        "vtep_waiting",
        "How many things the daemon waits for: uplinks, addresses, bridges.",
        status.waits_for.len() as u64,
    );
    out.single(
        Kind::Gauge,
        "vtep_left_alone",
        "How many things are not as they should be, and vtep does not or cannot put them right.",
        status.left_alone.len() as u64,
    );
}

/// The name of a class, in the label.
const fn class(class: Class) -> &'static str {
    match class {
        Class::Delivered => "delivered",
        Class::Passed => "passed",
        Class::Continued => "continued",
        Class::Dropped => "dropped",
        Class::Aborted => "aborted",
    }
}

/// Every reason at every hook, be it zero: what has not happened yet can be watched for.
fn by_reason(out: &mut Exposition, snapshot: &Snapshot) {
    let counted = Counted::of(&snapshot.reasons);
    let rows = |wanted: fn(Reason) -> bool, with_class: bool| {
        let each = Hook::ALL.into_iter().flat_map(move |hook| {
            let reasons = Reason::ALL.iter().copied().filter(move |it| wanted(*it));
            reasons.map(move |reason| (hook, reason))
        });
        let rows = each.map(|(hook, reason)| {
            let (packets, bytes) = counted.get((hook, reason));
            let mut labels = vec![("hook", hook.name()), ("reason", reason.name())];
            if with_class {
                labels.push(("class", class(reason.class())));
            }
            (labels, packets, bytes)
        });
        rows.collect::<Vec<_>>()
    };
    out.frames(
        ("vtep_packets_total", "vtep_bytes_total"),
        "by the hook where they ended and the reason that they ended under.",
        &rows(
            |reason| reason != Reason::CopyLost && reason.class() != Class::Continued,
            true,
        ),
    );
    out.frames(
        ("vtep_continued_packets_total", "vtep_continued_bytes_total"),
        "that a hook left to a later one, which counts them again.",
        &rows(|reason| reason.class() == Class::Continued, false),
    );
    let lost = Hook::ALL.map(|hook| {
        let (packets, bytes) = counted.get((hook, Reason::CopyLost));
        (vec![("hook", hook.name())], packets, bytes)
    });
    out.frames(
        (
            "vtep_copies_lost_packets_total",
            "vtep_copies_lost_bytes_total",
        ),
        "that are copies of a flooded one and were lost; the flooded one counts by itself.",
        &lost,
    );
}

/// What went through, by VNI, port and peer.
fn by_owner(out: &mut Exposition, measured: &Measured<'_>) {
    let Measured {
        snapshot, state, ..
    } = *measured;
    let vnis: Vec<_> = state
        .segment_names()
        .map(|(number, vni)| (number, [("vni", vni.to_string())]))
        .collect();
    out.frames(
        ("vtep_vni_packets_total", "vtep_vni_bytes_total"),
        "that went through, by VNI; tx is from the ports.",
        &both_ways(&snapshot.segments, &vnis),
    );
    let ports: Vec<_> = state
        .port_names()
        .map(|(slot, dev, vlan)| {
            let vlan = vlan.map_or_else(String::new, |vlan| vlan.to_string());
            (slot, [("dev", dev.to_owned()), ("vlan", vlan)])
        })
        .collect();
    out.frames(
        ("vtep_port_packets_total", "vtep_port_bytes_total"),
        "that went through, by port; tx is from the port. The VLAN of untagged frames is empty.",
        &both_ways(&snapshot.ports, &ports),
    );
    let peers: Vec<_> = state
        .peer_names()
        .map(|(number, ip)| (number, [("peer", ip.to_string())]))
        .collect();
    out.frames(
        ("vtep_peer_packets_total", "vtep_peer_bytes_total"),
        "that went through, by remote VTEP; tx is to it.",
        &both_ways(&snapshot.peers, &peers),
    );
}

/// What was dropped, by VNI, port and peer: a frame once in each family. Of what never happened there is no row, and there are none but those
/// of `DROPS`.
fn dropped_by_owner(out: &mut Exposition, measured: &Measured<'_>) {
    let Measured {
        snapshot, state, ..
    } = *measured;
    let rows = |kind: OwnerKind, names: &'_ dyn Fn(u32) -> Option<Vec<(&'static str, String)>>| {
        let of_kind = snapshot.drops.iter().filter(|row| row.key.kind == kind);
        let named = of_kind.filter_map(|row| Some((names(row.key.number)?, row)));
        named.collect::<Vec<_>>()
    };
    let vni = |number| {
        let name = state.segment_name(SegmentId::new(number));
        let name = name.map(|vni| vni.to_string());
        Some(vec![("vni", name.or_else(|| nobody(number))?)])
    };
    let port = |number| {
        let (dev, vlan) = match state.port_name(PortSlot::new(number)) {
            Some((dev, vlan)) => (
                dev.to_owned(),
                vlan.map_or_else(String::new, |vlan| vlan.to_string()),
            ),
            None => (nobody(number)?, String::new()),
        };
        Some(vec![("dev", dev), ("vlan", vlan)])
    };
    let peer = |number| {
        let name = state.peer_name(PeerId::new(number));
        let name = name.map(|ip| ip.to_string());
        Some(vec![("peer", name.or_else(|| nobody(number))?)])
    };
    for (family, help, rows) in [
        (
            (
                "vtep_vni_dropped_packets_total",
                "vtep_vni_dropped_bytes_total",
            ),
            "that were dropped, by VNI, hook and reason; the VNI is empty where it is none that exists.",
            rows(OwnerKind::Segment, &vni),
        ),
        (
            (
                "vtep_port_dropped_packets_total",
                "vtep_port_dropped_bytes_total",
            ),
            "that were dropped, by the port that they came from or else were for, hook and reason; dev is empty where there is none.",
            rows(OwnerKind::Port, &port),
        ),
        (
            (
                "vtep_peer_dropped_packets_total",
                "vtep_peer_dropped_bytes_total",
            ),
            "that were dropped, by the remote VTEP that they came from or else were for, hook and reason; peer is empty where it is none that is known.",
            rows(OwnerKind::Peer, &peer),
        ),
    ] {
        let rows: Vec<_> = rows
            .iter()
            .map(|(names, row)| {
                let names = names.iter().map(|(label, value)| (*label, value.as_str()));
                let why = [
                    ("hook", row.key.hook.name()),
                    ("reason", row.key.reason.name()),
                ];
                (names.chain(why).collect(), row.packets, row.bytes)
            })
            .collect();
        out.frames(family, help, &rows);
    }
}

/// The name of nobody, if that is whose number it is. An owner that is gone has none.
fn nobody(number: u32) -> Option<String> {
    (number == DropKey::NOBODY).then(String::new)
}

/// Rows for both directions of each thing.
fn both_ways<'a, K: Copy + Eq + Hash, const N: usize>(
    counters: &[CounterRow<(K, Direction)>],
    things: &'a [(K, [(&'static str, String); N])],
) -> Vec<(Labels<'a>, u64, u64)> {
    let counted = Counted::of(counters);
    let rows = things.iter().flat_map(|(number, names)| {
        let counted = &counted;
        Direction::ALL.into_iter().map(move |way| {
            let (packets, bytes) = counted.get((*number, way));
            let names = names.iter().map(|(label, value)| (*label, value.as_str()));
            let labels = names.chain([("direction", super::direction(way))]);
            (labels.collect(), packets, bytes)
        })
    });
    rows.collect()
}

/// What the daemon has done.
fn happened(out: &mut Exposition, measured: &Measured<'_>) {
    let Measured {
        snapshot,
        state,
        announced: AnnounceCounters { sent, lost },
        repaired,
        ..
    } = *measured;
    let events = EventEnd::ALL.map(|end| (end.name(), learning::events(snapshot, end)));
    let learned = learning::learned(state);
    let families: [(_, _, _, &[_]); 4] = [
        (
            "vtep_learn_total",
            "what",
            "MACs by the result of learning.",
            &learned,
        ),
        (
            "vtep_events_total",
            "end",
            "Events from the data path to the daemon, by their fate.",
            &events,
        ),
        (
            "vtep_announce_total",
            "end",
            "Announcements of local MACs to other VTEPs, by their fate.",
            &[("sent", sent), ("lost", lost)],
        ),
        (
            "vtep_repairs_total",
            "what",
            "What others had changed about the device, the programs and the ports of vtep, and vtep put right.",
            repaired,
        ),
    ];
    for (name, label, help, rows) in families {
        let mut family = out.family(Kind::Counter, name, help);
        for (value, times) in rows {
            family.sample(&[(label, value)], *times);
        }
    }
}

fn peers(out: &mut Exposition, state: &State) {
    let rows = state.peer_rows(None).unwrap_or_default();
    let rows: Vec<_> = rows.iter().map(|row| (row.ip.to_string(), row)).collect();
    let mut up = out.family(
        Kind::Gauge,
        "vtep_peer_up",
        "Whether a remote VTEP can be sent to: its route and next hop are known.",
    );
    for (ip, row) in &rows {
        let is_up = matches!(row.state, PeerState::Resolved | PeerState::Silent);
        up.sample(&[("peer", ip)], is_up.into());
    }
    let mut mtu = out.family(
        Kind::Gauge,
        "vtep_peer_mtu_bytes",
        "The largest IP packet that the path to a remote VTEP carries.",
    );
    for (ip, row) in &rows {
        if let Some(bytes) = row.mtu {
            mtu.sample(&[("peer", ip)], bytes.into());
        }
    }
    let mut states = out.family(
        Kind::Gauge,
        "vtep_peers_in_state",
        "Remote VTEPs, by their state.",
    );
    for (word, _) in PeerState::WORDS {
        let of_it = rows.iter().filter(|(_, row)| row.state.as_str() == *word);
        states.sample(&[("state", word)], of_it.count() as u64);
    }
}

/// How full the tables are.
fn tables(out: &mut Exposition, measured: &Measured<'_>) {
    let totals = measured.state.totals();
    for (name, help, value) in [
        ("vtep_vnis", "VNIs.", totals.vnis),
        (
            "vtep_ports",
            "Ports; each VLAN of an interface counts as one.",
            totals.ports,
        ),
        ("vtep_peers", "Remote VTEPs and groups.", totals.peers),
        ("vtep_fdb_entries", "FDB entries.", totals.fdb),
        (
            "vtep_fdb_limit",
            "Capacity of the FDB, in entries.",
            totals.fdb_max,
        ),
    ] {
        out.single(Kind::Gauge, name, help, value.into());
    }
    let limits = &measured.status.limits;
    let mut used = out.family(
        Kind::Gauge,
        "vtep_table_entries",
        "Entries of a table, or of a part of it that has a limit of its own.",
    );
    for row in limits {
        if let Some(entries) = row.used {
            used.sample(&[("table", &row.limit)], entries);
        }
    }
    let mut most = out.family(
        Kind::Gauge,
        "vtep_table_limit",
        "The most entries that fit now.",
    );
    for row in limits {
        most.sample(&[("table", &row.limit)], row.max);
    }
}

/// Counters by what they count; what is not there is zero.
struct Counted<K>(HashMap<K, (u64, u64)>);

impl<K: Copy + Eq + Hash> Counted<K> {
    fn of(rows: &[CounterRow<K>]) -> Self {
        let rows = rows.iter().map(|row| (row.key, (row.packets, row.bytes)));
        Self(rows.collect())
    }

    fn get(&self, key: K) -> (u64, u64) {
        self.0.get(&key).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
