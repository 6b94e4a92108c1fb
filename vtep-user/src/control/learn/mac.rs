//! Learning from what the kernel side reports: new MACs, and MACs that move.

use std::net::IpAddr;

use vtep_common::abi::{self, addr::MacAddr, event::Event, fdb::FdbTarget, id::SegmentId};

use crate::{
    control::{
        effect::{Effect, Write},
        record::{
            address::unfit,
            entry::{Entry, key},
            location::Location,
            moves::Move,
            run::Scope,
            stamps::Stamps,
        },
        state::State,
    },
    model::{EventDetails, EventKind},
};

impl State {
    /// Takes in what the kernel side reported, in its order.
    pub fn learn(&mut self, events: &[Event], clock: &dyn Stamps) -> Effect {
        self.run.now = clock.now().max(self.run.now);
        let mut out = Effect::default();
        for event in events {
            match event.kind {
                Event::LEARN => self.learn_mac(event, clock, &mut out),
                Event::HEARD => self.snoop(event, clock, &mut out),
                Event::MISS => self.miss(event, &mut out),
                _ => self.run.counters.ignored += 1,
            }
        }
        self.finish(&mut out);
        out
    }

    /// Learns that the MAC of an event is where its frame came from.
    pub(crate) fn learn_mac(&mut self, event: &Event, clock: &dyn Stamps, out: &mut Effect) {
        let (number, mac) = (event.segment, event.mac());
        let Some(source) = self.source_of(event) else {
            self.run.counters.ignored += 1;
            return;
        };
        let at = (number, mac);
        match self.fdb.get(number, mac) {
            None => self.learn_new(at, source, event, out),
            Some(entry) if self.is_at(entry, source) => {
                // The data path has it elsewhere or not at all: it saw the frame before the last write, or that failed.
                let key = key(number, mac);
                if entry.ages() && clock.last_seen(key).is_none() {
                    out.write(Write::Fdb(key, Some(entry.pod(event.time))));
                }
            }
            Some(entry) if entry.yields_to_frame(event.from_port()) => {
                self.learn_move(at, entry, source, event, out);
            }
            Some(_) => self.run.counters.ignored += 1,
        }
    }

    /// Where a frame came from, if its source can be learned.
    fn source_of(&self, event: &Event) -> Option<Location> {
        let mac = event.mac();
        let segment = self.segments.get(event.segment)?;
        let unicast = !mac.is_zero() && !mac.is_group() && !self.own_macs.contains(&mac);
        if !unicast || !segment.has(abi::segment::Segment::LEARNING) {
            return None;
        }
        if event.from_port() {
            let port = self.ports.get(event.port)?;
            return (port.segment == event.segment).then_some(Location::Port(event.port));
        }
        let ip = IpAddr::from(event.vtep);
        (self.peers.vtep(ip).is_some() || self.can_be_peer(ip)).then_some(Location::Vtep(ip))
    }

    /// True if packets can come from a VTEP at `ip`, and be sent there.
    fn can_be_peer(&self, ip: IpAddr) -> bool {
        unfit(ip).is_none() && !self.locals.has(ip) && self.local_for(ip).is_some()
    }

    fn is_at(&self, entry: Entry, source: Location) -> bool {
        match source {
            Location::Port(slot) => entry.port() == Some(slot),
            Location::Vtep(ip) => entry.peer().is_some_and(|peer| self.peers.ip(peer) == ip),
        }
    }

    /// What is full, if a MAC can for that reason not be learned at a place.
    fn no_room(
        &self,
        (number, mac): (SegmentId, MacAddr),
        source: Location,
        new: bool,
    ) -> Option<Scope> {
        let limit = self.segments[number].max_macs;
        match source {
            _ if new && self.fdb.len() >= self.limits.fdb => Some(Scope::Tables),
            _ if new && limit != 0 && self.fdb.len_in(number) >= limit as usize => {
                Some(Scope::Vni(number))
            }
            Location::Port(slot) => (!self.has_port_room(slot, mac)).then_some(Scope::Port(slot)),
            Location::Vtep(ip) => (self.peers.number_of(ip).is_none()
                && self.peers.len() >= self.limits.peers)
                .then_some(Scope::Tables),
        }
    }

    /// Counts, and notifies, that a MAC was not learned for want of room.
    fn refuse_mac(&mut self, (number, mac): (SegmentId, MacAddr), full: Scope, out: &mut Effect) {
        match full {
            Scope::Tables => self.run.counters.full += 1,
            Scope::Vni(_) | Scope::Port(_) => self.run.counters.limited += 1,
        }
        self.notify_limit(out, full, |state| {
            let (dev, why) = match full {
                Scope::Tables => (None, "the tables are full"),
                Scope::Vni(_) => (None, "the VNI is at its limit of MACs"),
                Scope::Port(slot) => (state.port_name(slot), "the port is at its limit of MACs"),
            };
            EventDetails {
                vni: Some(state.segments.vni(number)),
                mac: Some(mac),
                dev: dev.map(|(dev, _)| dev.to_owned()),
                why: Some(why.to_owned()),
                ..EventDetails::new(EventKind::Limit)
            }
        });
    }

    fn learn_new(
        &mut self,
        at: (SegmentId, MacAddr),
        source: Location,
        event: &Event,
        out: &mut Effect,
    ) {
        if let Some(full) = self.no_room(at, source, true) {
            self.refuse_mac(at, full, out);
            return;
        }
        let entry = self.learned_entry(source, out);
        self.write_learned(at, entry, event, out);
        self.run.counters.learned += 1;
        self.notify_mac(out, EventKind::Learned, at, (Some(entry), None));
        if let Location::Port(slot) = source
            && event.flags & Event::GROUP == 0
        {
            self.announce_learned(slot, at.1, out);
        }
    }

    /// Moves a MAC at once. Where there is no room for it at its new place it goes: it is not at the old one any more.
    fn learn_move(
        &mut self,
        at: (SegmentId, MacAddr),
        old: Entry,
        source: Location,
        event: &Event,
        out: &mut Effect,
    ) {
        let (number, mac) = at;
        if let Some(full) = self.no_room(at, source, false) {
            self.refuse_mac(at, full, out);
            self.remove_entry(number, mac, out);
            return;
        }
        let mut entry = self.learned_entry(source, out);
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
            entry.freeze();
            self.run.counters.frozen += 1;
        }
        self.run.counters.moved += 1;
        // Notified first: with the old entry its peer may go.
        self.notify_mac(out, EventKind::Moved, at, (Some(entry), Some(old)));
        if frozen {
            self.notify_mac(out, EventKind::Duplicate, at, (Some(entry), Some(old)));
        }
        self.write_learned(at, entry, event, out);
        // A frame for a group has reached the other VTEPs by itself.
        if let (Location::Port(slot), None) = (source, from)
            && event.flags & Event::GROUP == 0
        {
            self.announce_learned(slot, mac, out);
        }
    }

    /// An entry that points to a place, whose peer it acquires.
    fn learned_entry(&mut self, source: Location, out: &mut Effect) -> Entry {
        match source {
            Location::Port(slot) => Entry::learned(FdbTarget::Port(slot)),
            Location::Vtep(ip) => Entry::learned(FdbTarget::Peer(self.acquire_peer(ip, out))),
        }
    }

    fn write_learned(
        &mut self,
        (number, mac): (SegmentId, MacAddr),
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
        self.notify(out, |state| EventDetails {
            vni: Some(vni),
            mac: Some(event.mac()).filter(|mac| !mac.is_zero()),
            ip: host_of(event),
            old_dst: (!event.from_port()).then(|| event.vtep.into()),
            old_dev: state.port_name(event.port).map(|(dev, _)| dev.to_owned()),
            ..EventDetails::new(EventKind::Miss)
        });
    }
}

/// The host that an event is about.
pub(crate) fn host_of(event: &Event) -> Option<IpAddr> {
    let zero = <vtep_common::abi::addr::VtepAddr as bytemuck::Zeroable>::zeroed();
    (event.host != zero).then(|| event.host.into())
}
