//! Counters as rows, for the API, and as Prometheus text.

mod exposition;
mod learning;
pub mod prometheus;

use std::collections::BTreeMap;

use vtep_common::abi::{
    counter::{Direction, Hook},
    drops::OwnerKind,
    event::EventEnd,
    id::{PeerId, PortSlot, SegmentId},
    reason::Reason,
};

pub use self::learning::AnnounceCounters;

use crate::{
    control::State,
    datapath::{CounterRow, Datapath, DatapathError, DroppedFor, Snapshot},
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

/// The counters that match. Without a filter: all of them but drops by owner, those of hooks and reasons first.
pub fn rows(
    snapshot: &Snapshot,
    state: &State,
    filter: &StatsFilter,
) -> Result<Vec<StatsRow>, Refusal> {
    check(state, filter)?;
    let StatsFilter { vni, dev, peer } = filter;
    let all = is_all(filter);
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
    // Not among all, where each frame has its one row by hook and reason.
    rows.extend(
        dropped_for(snapshot, state, filter).map(|counter| StatsRow {
            hook: Some(counter.key.hook.name().to_owned()),
            reason: Some(counter.key.reason.name().to_owned()),
            vni: *vni,
            dev: dev.clone(),
            peer: *peer,
            ..row(counter.packets, counter.bytes)
        }),
    );
    Ok(rows)
}

/// The counters of frames that did not go through: all of them, or those of the one owner that matches.
pub fn drops(
    snapshot: &Snapshot,
    state: &State,
    filter: &StatsFilter,
) -> Result<Vec<DropsRow>, Refusal> {
    check(state, filter)?;
    let mut by_reason: BTreeMap<(Hook, Reason), (u64, u64)> = BTreeMap::new();
    let mut add = |key, packets, bytes| {
        let sum = by_reason.entry(key).or_default();
        *sum = (sum.0 + packets, sum.1 + bytes);
    };
    if is_all(filter) {
        for counter in &snapshot.reasons {
            if counter.key.1.is_lost() {
                add(counter.key, counter.packets, counter.bytes);
            }
        }
    } else {
        // An interface can have several ports.
        for counter in dropped_for(snapshot, state, filter) {
            let key = (counter.key.hook, counter.key.reason);
            add(key, counter.packets, counter.bytes);
        }
    }
    let rows = by_reason
        .into_iter()
        .map(|((hook, reason), (packets, bytes))| DropsRow {
            hook: hook.name().to_owned(),
            reason: reason.name().to_owned(),
            packets,
            bytes,
            meaning: reason.meaning().to_owned(),
        });
    Ok(rows.collect())
}

/// Refuses what does not exist, and what is not counted.
fn check(state: &State, filter: &StatsFilter) -> Result<(), Refusal> {
    filter.check()?;
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
    Ok(())
}

/// Whether nothing in particular is asked for.
const fn is_all(filter: &StatsFilter) -> bool {
    let StatsFilter { vni, dev, peer } = filter;
    vni.is_none() && dev.is_none() && peer.is_none()
}

/// What was dropped for the one owner that matches: none without a filter.
fn dropped_for<'a>(
    snapshot: &'a Snapshot,
    state: &'a State,
    filter: &'a StatsFilter,
) -> impl Iterator<Item = &'a CounterRow<DroppedFor>> {
    snapshot.drops.iter().filter(move |counter| {
        let DroppedFor { kind, number, .. } = counter.key;
        match kind {
            OwnerKind::Segment => {
                filter.vni.is_some() && filter.vni == state.segment_name(SegmentId::new(number))
            }
            OwnerKind::Port => {
                let name = state.port_name(PortSlot::new(number)).map(|(dev, _)| dev);
                filter.dev.is_some() && filter.dev.as_deref() == name
            }
            OwnerKind::Peer => {
                filter.peer.is_some() && filter.peer == state.peer_name(PeerId::new(number))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Limits;
    use crate::model::RefusalKind;

    #[test]
    fn counters_of_two_at_once_are_refused() {
        let state = State::new(Limits::default(), Vec::new(), 4789);
        let filter = StatsFilter {
            vni: Vni::new(1),
            dev: Some("vm0".into()),
            peer: None,
        };

        let refused = [
            rows(&Snapshot::default(), &state, &filter).map(|_| ()),
            drops(&Snapshot::default(), &state, &filter).map(|_| ()),
        ];

        for refused in refused {
            let refusal = refused.unwrap_err();
            assert_eq!(refusal.kind, RefusalKind::Invalid, "{refusal}");
        }
    }
}
