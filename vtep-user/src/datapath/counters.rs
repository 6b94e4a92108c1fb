//! Reading the counters.

use aya::maps::{MapData, PerCpuArray};
use vtep_common::abi::{
    counter::{Counter, Direction, Hook},
    drops::OwnerKind,
    event::EventEnd,
    id::{Id, PeerId, PortSlot, SegmentId},
    map::name,
    reason::Reason,
};

use super::{Datapath, counter_row::CounterRow, drops::DroppedFor, error::DatapathError};

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
        let mut reasons = Vec::new();
        for hook in Hook::ALL {
            for reason in Reason::ALL {
                let index = hook.index() * Reason::SLOTS + reason.code();
                reasons.extend(read(
                    &self.maps.reason_counters,
                    name::REASON_COUNTERS,
                    index,
                    (hook, *reason),
                )?);
            }
        }
        let mut events = Vec::new();
        for end in EventEnd::ALL {
            events.extend(self.event_counter(end)?);
        }
        Ok(Snapshot {
            reasons,
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
    let packets = values.iter().map(|counter| counter.packets).sum();
    let bytes = values.iter().map(|counter| counter.bytes).sum();
    Ok((packets != 0).then_some(CounterRow {
        key,
        packets,
        bytes,
    }))
}
