//! Counters as rows, for the API, and as Prometheus text.

mod exposition;
mod learning;
pub mod prometheus;

use vtep_common::abi::{
    counter::Direction,
    event::EventEnd,
    id::{PeerId, PortSlot, SegmentId},
    reason::Class,
};

pub use self::learning::AnnounceCounters;

use crate::{
    control::State,
    datapath::{Datapath, DatapathError, Snapshot},
    model::{DropsRow, Refusal, StatsFilter, StatsRow, Vni},
};

/// Reads the counters of everything that the state knows.
pub fn snapshot(datapath: &Datapath, state: &State) -> Result<Snapshot, DatapathError> {
    let segments: Vec<SegmentId> = state.segment_names().map(|(number, _)| number).collect();
    let ports: Vec<PortSlot> = state.port_names().map(|(slot, ..)| slot).collect();
    let peers: Vec<PeerId> = state.peer_names().map(|(number, _)| number).collect();
    datapath.counters(&segments, &ports, &peers)
}

/// The name of a direction where segments, ports and peers are counted: as seen from the VMs.
const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Encap => "tx",
        Direction::Decap => "rx",
    }
}

fn row(packets: u64, bytes: u64) -> StatsRow {
    StatsRow {
        hook: None,
        reason: None,
        vni: None,
        dev: None,
        peer: None,
        packets,
        bytes,
    }
}

/// The counters that match. Without a filter: all of them, those of hooks and reasons first.
pub fn rows(
    snapshot: &Snapshot,
    state: &State,
    filter: &StatsFilter,
) -> Result<Vec<StatsRow>, Refusal> {
    let StatsFilter { vni, dev, peer } = filter;
    if let Some(vni) = vni {
        state.vni_rows(Some(*vni))?;
    }
    if let Some(dev) = dev {
        state.port_rows(Some(dev))?;
    }
    if let Some(peer) = peer {
        state.peer_rows(Some(*peer))?;
    }
    let all = vni.is_none() && dev.is_none() && peer.is_none();
    let mut rows = Vec::new();
    if all {
        rows.extend(snapshot.reasons.iter().map(|counter| {
            let (hook, reason) = counter.key;
            StatsRow {
                hook: Some(hook.name().to_owned()),
                reason: Some(reason.name().to_owned()),
                ..row(counter.packets, counter.bytes)
            }
        }));
    }
    if all {
        let learned = learning::learned(state).into_iter();
        let lost = ("ring_lost", learning::events(snapshot, EventEnd::Lost));
        let happened = learned.chain([lost]).filter(|(_, times)| *times != 0);
        rows.extend(happened.map(|(what, times)| StatsRow {
            hook: Some(learning::HOOK.to_owned()),
            reason: Some(what.to_owned()),
            ..row(times, 0)
        }));
    }
    let split = |direction_of: Direction, packets, bytes| StatsRow {
        reason: Some(direction(direction_of).to_owned()),
        ..row(packets, bytes)
    };
    for counter in &snapshot.segments {
        let (number, way) = counter.key;
        let name: Option<Vni> = state.segment_name(number);
        if all || (vni.is_some() && *vni == name) {
            rows.push(StatsRow {
                vni: name,
                ..split(way, counter.packets, counter.bytes)
            });
        }
    }
    for counter in &snapshot.ports {
        let (slot, way) = counter.key;
        let name = state.port_name(slot).map(|(name, _)| name.to_owned());
        if all || (dev.is_some() && *dev == name) {
            rows.push(StatsRow {
                dev: name,
                ..split(way, counter.packets, counter.bytes)
            });
        }
    }
    for counter in &snapshot.peers {
        let (number, way) = counter.key;
        let name = state.peer_name(number);
        if all || (peer.is_some() && *peer == name) {
            rows.push(StatsRow {
                peer: name,
                ..split(way, counter.packets, counter.bytes)
            });
        }
    }
    Ok(rows)
}

/// The counters of frames that did not go through.
#[must_use]
pub fn drops(snapshot: &Snapshot) -> Vec<DropsRow> {
    let dropped = snapshot.reasons.iter().filter(|counter| {
        let (_, reason) = counter.key;
        matches!(reason.class(), Class::Dropped | Class::Aborted)
    });
    dropped
        .map(|counter| {
            let (hook, reason) = counter.key;
            DropsRow {
                hook: hook.name().to_owned(),
                reason: reason.name().to_owned(),
                packets: counter.packets,
                bytes: counter.bytes,
                meaning: reason.meaning().to_owned(),
            }
        })
        .collect()
}
