//! Reading the counters.

use std::{collections::HashMap, os::fd::AsFd as _};

use aya::{
    maps::{MapData, MapError, PerCpuArray},
    util::nr_cpus,
};
use vtep_common::abi::{
    counter::{Counter, Direction, Hook},
    drops::OwnerKind,
    event::EventEnd,
    id::{Id, PeerId, PortSlot, SegmentId},
    map::name,
    reason::Reason,
};

use super::{
    Datapath,
    batch::{self, BatchError},
    counter_row::{CounterRow, sum},
    drops::DroppedFor,
    error::DatapathError,
};

/// All counters that are not zero, at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Frames by hook and reason.
    pub reasons: Vec<CounterRow<(Hook, Reason)>>,
    /// Frames by segment number and direction.
    pub segments: Vec<CounterRow<(SegmentId, Direction)>>,
    /// Frames by port slot and direction.
    pub ports: Vec<CounterRow<(PortSlot, Direction)>>,
    /// Frames by peer number and direction.
    pub peers: Vec<CounterRow<(PeerId, Direction)>>,
    /// Frames that were dropped, by their owner. Some may be of owners that nobody knows any more.
    pub drops: Vec<CounterRow<DroppedFor>>,
    /// Events by what became of them; they have no bytes.
    pub events: Vec<CounterRow<EventEnd>>,
}

impl Datapath {
    /// Reads the counters of the reasons, and of the segments, ports and peers with these numbers.
    pub fn counters(
        &self,
        segments: &[SegmentId],
        ports: &[PortSlot],
        peers: &[PeerId],
    ) -> Result<Snapshot, DatapathError> {
        let mut events = Vec::new();
        for end in EventEnd::ALL {
            events.extend(self.event_counter(end)?);
        }
        Ok(Snapshot {
            reasons: self.reasons()?,
            events,
            drops: self.maps.drops.rows()?,
            segments: both_ways(
                &self.maps.segment_counters,
                name::SEGMENT_COUNTERS,
                segments,
            )?,
            ports: both_ways(&self.maps.port_counters, name::PORT_COUNTERS, ports)?,
            peers: both_ways(&self.maps.peer_counters, name::PEER_COUNTERS, peers)?,
        })
    }

    /// The counters of all reasons, which are read at once.
    fn reasons(&self) -> Result<Vec<CounterRow<(Hook, Reason)>>, DatapathError> {
        let counters = self.reason_counters()?;
        let mut rows = Vec::new();
        for hook in Hook::ALL {
            for reason in Reason::ALL {
                let index = hook.index() * Reason::SLOTS + reason.code();
                let counter = counters.get(&index).copied().unwrap_or_default();
                rows.extend(row((hook, *reason), counter));
            }
        }
        Ok(rows)
    }

    /// What the map of the reasons holds, each with the sum over all CPUs, by its place.
    fn reason_counters(&self) -> Result<HashMap<u32, Counter>, DatapathError> {
        let map = &self.maps.reason_counters;
        let failed = |source| DatapathError::map("read", name::REASON_COUNTERS, source);
        let cpus = nr_cpus().map_err(|(_, error)| failed(MapError::IoError(error)))?;
        let mut counters = HashMap::new();
        let fd = self.maps.reason_counters_fd.as_fd();
        let read = batch::each_per_cpu(fd, cpus, |index: u32, values: &[Counter]| {
            counters.insert(index, sum(values));
        });
        match read {
            Ok(()) => {}
            Err(BatchError::Unsupported) => {
                for index in 0..map.len() {
                    counters.insert(index, sum(&map.get(&index, 0).map_err(failed)?));
                }
            }
            Err(BatchError::Refused(source)) => return Err(failed(MapError::IoError(source))),
        }
        Ok(counters)
    }

    /// Forgets what was dropped for all other owners.
    pub fn keep_drops(
        &mut self,
        is_kept: impl Fn(OwnerKind, u32) -> bool,
    ) -> Result<(), DatapathError> {
        self.maps.drops.keep(is_kept)
    }

    /// Forgets what was dropped for owners that have gone since.
    pub fn forget_drops(&mut self) -> Result<(), DatapathError> {
        self.maps.drops.forget_gone()
    }

    /// Packets to each of these peers, and from it.
    pub fn packets_of_peers(
        &self,
        peers: &[PeerId],
    ) -> Result<Vec<(PeerId, u64, u64)>, DatapathError> {
        let counted = |id: PeerId, direction: Direction| {
            let counters = &self.maps.peer_counters;
            let index = direction.index(id.get());
            let row = read(counters, name::PEER_COUNTERS, index, id)?;
            Ok::<_, DatapathError>(row.map_or(0, |row| row.packets))
        };
        let each = peers.iter().map(|&id| {
            let (sent, heard) = (
                counted(id, Direction::Encap)?,
                counted(id, Direction::Decap)?,
            );
            Ok((id, sent, heard))
        });
        each.collect()
    }

    /// Events that the ring buffer had no room for, in all.
    pub fn lost_events(&self) -> Result<u64, DatapathError> {
        let lost = self.event_counter(EventEnd::Lost)?;
        Ok(lost.map_or(0, |counter| counter.packets))
    }

    fn event_counter(&self, end: EventEnd) -> Result<Option<CounterRow<EventEnd>>, DatapathError> {
        let counters = &self.maps.event_counters;
        read(counters, name::EVENT_COUNTERS, end as u32, end)
    }
}

fn both_ways<K: Id>(
    map: &PerCpuArray<MapData, Counter>,
    name: &'static str,
    numbers: &[K],
) -> Result<Vec<CounterRow<(K, Direction)>>, DatapathError> {
    let mut rows = Vec::new();
    for number in numbers {
        for direction in Direction::ALL {
            rows.extend(read(
                map,
                name,
                direction.index((*number).into()),
                (*number, direction),
            )?);
        }
    }
    Ok(rows)
}

/// The sum over all CPUs, if it is not zero.
fn read<K>(
    map: &PerCpuArray<MapData, Counter>,
    name: &'static str,
    index: u32,
    key: K,
) -> Result<Option<CounterRow<K>>, DatapathError> {
    let values = map
        .get(&index, 0)
        .map_err(|source| DatapathError::map("read", name, source))?;
    Ok(row(key, sum(&values)))
}

/// A row, unless nothing was counted.
fn row<K>(key: K, counter: Counter) -> Option<CounterRow<K>> {
    let Counter { packets, bytes } = counter;
    (packets != 0).then_some(CounterRow {
        key,
        packets,
        bytes,
    })
}
