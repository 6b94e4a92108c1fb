//! Learning from what the kernel side tells: new MACs, and MACs that move.

use std::net::IpAddr;

use vtep_common::{addr::MacAddr, events::Event, maps};

use crate::control::{
    Effect, State, Write,
    ops::{
        entry::{Entry, Kind, Origin, key},
        peer,
    },
    record::{moves::Move, run::Scope},
};
use crate::model::{EventKind, Happening};

/// The clock, and the stamps that traffic renews, as they stand in the map. Times are nanoseconds of `CLOCK_MONOTONIC`.
pub trait Clock {
    /// Now.
    fn now(&self) -> u64;
    /// When a frame from a learned MAC was last seen; `None` if the map does not have the entry.
    fn last_seen(&self, key: maps::FdbKey) -> Option<u64>;
}

/// How often something was learned, or was not, since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LearnCounters {
    /// New entries.
    pub learned: u64,
    /// Entries that moved.
    pub moved: u64,
    /// Entries that aged out.
    pub aged: u64,
    /// MACs not learned for the limit of their VNI or port.
    pub limited: u64,
    /// MACs not learned because the FDB, or the table of peers, is full.
    pub full: u64,
    /// Entries that were frozen because they moved too often.
    pub frozen: u64,
    /// Events about MACs that are never learned: our own, group addresses, or of a port or VNI that is gone.
    pub ignored: u64,
}

/// Where a frame came from.
#[derive(Clone, Copy)]
enum Place {
    Port(u32),
    Vtep(IpAddr),
}

impl State {
    /// Takes in what the kernel side told, in its order.
    pub fn learn(&mut self, events: &[Event], clock: &dyn Clock) -> Effect {
        self.run.now = clock.now().max(self.run.now);
        let mut out = Effect::default();
        for event in events {
            match event.kind {
                Event::LEARN => self.learn_mac(event, clock, &mut out),
                Event::HEARD => self.hear(event, clock, &mut out),
                Event::MISS => self.miss(event, &mut out),
                _ => self.run.counters.ignored += 1,
            }
        }
        self.settle(&mut out);
        out
    }

    /// What has been learned in all.
    #[must_use]
    pub fn learn_counters(&self) -> LearnCounters {
        self.run.counters
    }

    /// Learns that the MAC of an event is where its frame came from.
    pub(crate) fn learn_mac(&mut self, event: &Event, clock: &dyn Clock, out: &mut Effect) {
        let (number, mac) = (event.segment, event.mac());
        let Some(place) = self.place_of(event) else {
            self.run.counters.ignored += 1;
            return;
        };
        let at = (number, mac);
        match self.segments[number].fdb.get(&mac).copied() {
            None => self.learn_new(at, place, event, out),
            Some(entry) if self.is_at(entry, place) => {
                // The data path has it elsewhere or not at all: it saw the frame before the last write, or that failed.
                let key = key(number, mac);
                if entry.is_learned() && clock.last_seen(key).is_none() {
                    out.write(Write::Fdb(key, Some(entry.pod(event.time))));
                }
            }
            Some(entry) if entry.origin == Origin::Learned => {
                self.learn_move(at, entry, place, event, out);
            }
            Some(_) => self.run.counters.ignored += 1,
        }
    }

    /// Where a frame came from, if its source can be learned.
    fn place_of(&self, event: &Event) -> Option<Place> {
        let mac = event.mac();
        let segment = self.segments.get(event.segment)?;
        let station = !mac.is_zero() && !mac.is_group() && !self.own_macs.contains(&mac);
        if !station || !segment.pod.has(maps::Segment::LEARNING) {
            return None;
        }
        if event.from_port() {
            let port = self.ports.get(event.port)?;
            return (port.pod.segment == event.segment).then_some(Place::Port(event.port));
        }
        let ip = IpAddr::from(event.vtep);
        (self.vtep(ip).is_some() || self.can_be_peer(ip)).then_some(Place::Vtep(ip))
    }

    /// True if packets can come from a VTEP at `ip`, and be sent there.
    fn can_be_peer(&self, ip: IpAddr) -> bool {
        peer::unfit(ip).is_none() && !self.is_own(ip) && self.local_for(ip).is_some()
    }

    fn is_at(&self, entry: Entry, place: Place) -> bool {
        match place {
            Place::Port(slot) => entry.port() == Some(slot),
            Place::Vtep(ip) => entry.peer().is_some_and(|peer| self.peers[peer].ip == ip),
        }
    }

    /// What is full, if a MAC can for that reason not be learned at a place.
    fn no_room(&self, (number, mac): (u32, MacAddr), place: Place, new: bool) -> Option<Scope> {
        let segment = &self.segments[number];
        let limit = segment.pod.max_macs;
        match place {
            _ if new && self.fdb_len >= self.limits.fdb => Some(Scope::Tables),
            _ if new && limit != 0 && segment.fdb.len() >= limit as usize => {
                Some(Scope::Vni(number))
            }
            Place::Port(slot) => (!self.has_port_room(slot, mac)).then_some(Scope::Port(slot)),
            Place::Vtep(ip) => (!self.peer_index.contains_key(&ip)
                && self.peers.len() >= self.limits.peers)
                .then_some(Scope::Tables),
        }
    }

    /// Counts, and tells, that a MAC was not learned for want of room.
    fn refuse_mac(&mut self, (number, mac): (u32, MacAddr), full: Scope, out: &mut Effect) {
        match full {
            Scope::Tables => self.run.counters.full += 1,
            Scope::Vni(_) | Scope::Port(_) => self.run.counters.limited += 1,
        }
        self.tell_limit(out, full, |state| {
            let (dev, why) = match full {
                Scope::Tables => (None, "the tables are full"),
                Scope::Vni(_) => (None, "the VNI is at its limit of MACs"),
                Scope::Port(slot) => (state.port_name(slot), "the port is at its limit of MACs"),
            };
            Happening {
                vni: Some(state.segments[number].vni()),
                mac: Some(mac),
                dev: dev.map(|(dev, _)| dev.to_owned()),
                why: Some(why.to_owned()),
                ..Happening::new(EventKind::Limit)
            }
        });
    }

    fn learn_new(&mut self, at: (u32, MacAddr), place: Place, event: &Event, out: &mut Effect) {
        if let Some(full) = self.no_room(at, place, true) {
            self.refuse_mac(at, full, out);
            return;
        }
        let entry = self.learned_entry(place, out);
        self.write_learned(at, entry, event, out);
        self.run.counters.learned += 1;
        self.tell_mac(out, EventKind::Learned, at, (Some(entry), None));
        if let Place::Port(slot) = place
            && event.flags & Event::GROUP == 0
        {
            self.announce_learned(slot, at.1, out);
        }
    }

    /// Moves a MAC at once. Where there is no room for it at its new place it goes: it is not at the old one any more.
    fn learn_move(
        &mut self,
        at: (u32, MacAddr),
        old: Entry,
        place: Place,
        event: &Event,
        out: &mut Effect,
    ) {
        let (number, mac) = at;
        if let Some(full) = self.no_room(at, place, false) {
            self.refuse_mac(at, full, out);
            self.remove_entry(number, mac, out);
            return;
        }
        let mut entry = self.learned_entry(place, out);
        let to = entry
            .port()
            .map(|slot| (slot, self.run.fresh.get(&slot).copied()));
        let from = old.port();
        let frozen = (from.is_some() || to.is_some()) && {
            let moved = Move {
                time: event.time,
                from,
                to,
            };
            let rule = self.limits.duplicates;
            self.run.moves.note(key(number, mac), moved, rule)
        };
        if frozen {
            entry.origin = Origin::Frozen;
            self.run.counters.frozen += 1;
        }
        self.run.counters.moved += 1;
        // Told first: with the old entry its peer may go.
        self.tell_mac(out, EventKind::Moved, at, (Some(entry), Some(old)));
        if frozen {
            self.tell_mac(out, EventKind::Duplicate, at, (Some(entry), Some(old)));
        }
        self.write_learned(at, entry, event, out);
        // A frame for a group has reached the other VTEPs by itself.
        if let (Place::Port(slot), None) = (place, from)
            && event.flags & Event::GROUP == 0
        {
            self.announce_learned(slot, mac, out);
        }
    }

    /// An entry that points to a place, whose peer it acquires.
    fn learned_entry(&mut self, place: Place, out: &mut Effect) -> Entry {
        match place {
            Place::Port(slot) => Entry::learned(Kind::Port, slot),
            Place::Vtep(ip) => Entry::learned(Kind::Peer, self.acquire_peer(ip, out)),
        }
    }

    fn write_learned(
        &mut self,
        (number, mac): (u32, MacAddr),
        mut entry: Entry,
        event: &Event,
        out: &mut Effect,
    ) {
        entry.due.0 = self.due(number, event.time);
        self.set_entry(number, mac, entry, event.time, out);
        self.queue_key(key(number, mac), entry.due.0);
    }

    /// Somebody sent to what nobody knows, or asked for it.
    fn miss(&mut self, event: &Event, out: &mut Effect) {
        if !self.run.watched {
            return;
        }
        let Some(vni) = self.segment_name(event.segment) else {
            return;
        };
        self.tell(out, |state| Happening {
            vni: Some(vni),
            mac: Some(event.mac()).filter(|mac| !mac.is_zero()),
            ip: host_of(event),
            old_dst: (!event.from_port()).then(|| event.vtep.into()),
            old_dev: state.port_name(event.port).map(|(dev, _)| dev.to_owned()),
            ..Happening::new(EventKind::Miss)
        });
    }

    /// Brings what several changes in one effect ask for to what holds now.
    pub(crate) fn settle(&self, out: &mut Effect) {
        if out.forget.is_empty() {
            return;
        }
        let is = |ip: &IpAddr| self.peer_index.contains_key(ip);
        out.forget.retain(|ip| !is(ip));
        out.resolve.retain(is);
        for list in [&mut out.forget, &mut out.resolve] {
            list.sort_unstable();
            list.dedup();
        }
    }
}

/// The host that an event is about.
pub(crate) fn host_of(event: &Event) -> Option<IpAddr> {
    let zero = <vtep_common::addr::VtepAddr as bytemuck::Zeroable>::zeroed();
    (event.host != zero).then(|| event.host.into())
}
