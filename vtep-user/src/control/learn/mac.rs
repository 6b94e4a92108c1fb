//! Learning from what the kernel side reports: new MACs, and MACs that move.

use std::net::IpAddr;

use vtep_common::abi::{self, addr::MacAddr, event::Event, fdb::FdbTarget, id::SegmentId};

use super::{age, announce, notify};
use crate::{
    control::{
        effect::{Effect, Write},
        ops::{entry, peer},
        record::{
            address::unfit,
            entry::{Entry, key},
            locals::Locals,
            location::Location,
            moves::Move,
            peers::Peers,
            run::Scope,
            stamps::Stamps,
        },
        state::State,
    },
    model::{EventDetails, EventKind},
};

/// Learns that the MAC of an event is where its frame came from.
pub(crate) fn learn(state: &mut State, event: &Event, clock: &dyn Stamps, out: &mut Effect) {
    let (number, mac) = (event.segment, event.mac());
    let Some(source) = source_of(state, event) else {
        state.run.counters.ignored += 1;
        return;
    };
    let at = (number, mac);
    match state.fdb.get(number, mac) {
        None => learn_new(state, at, source, event, out),
        Some(entry) if is_at(&state.peers, entry, source) => {
            // The data path has it elsewhere or not at all: it saw the frame before the last write, or that failed.
            let key = key(number, mac);
            if entry.ages() && clock.last_seen(key).is_none() {
                out.write(Write::Fdb(key, Some(entry.pod(event.time))));
            }
        }
        Some(entry) if entry.yields_to_frame(event.from_port()) => {
            learn_move(state, at, entry, source, event, clock, out);
        }
        Some(_) => state.run.counters.ignored += 1,
    }
}

/// Where a frame came from, if its source can be learned.
fn source_of(state: &State, event: &Event) -> Option<Location> {
    let mac = event.mac();
    let segment = state.segments.get(event.segment)?;
    let unicast = !mac.is_zero() && !mac.is_group() && !state.own_macs.contains(&mac);
    if !unicast || !segment.has(abi::segment::Segment::LEARNING) {
        return None;
    }
    if event.from_port() {
        let port = state.ports.get(event.port)?;
        return (port.segment == event.segment).then_some(Location::Port(event.port));
    }
    let ip = IpAddr::from(event.vtep);
    let named = || {
        let peer = state.peers.vtep(ip);
        peer.is_some_and(|peer| state.sources.is_named(event.segment, peer))
    };
    if segment.has(abi::segment::Segment::LISTED) && !named() {
        return None;
    }
    (state.peers.vtep(ip).is_some() || can_be_peer(&state.locals, ip)).then_some(Location::Vtep(ip))
}

/// True if packets can come from a VTEP at `ip`, and be sent there.
fn can_be_peer(locals: &Locals, ip: IpAddr) -> bool {
    unfit(ip).is_none() && !locals.has(ip) && locals.towards(ip).is_some()
}

fn is_at(peers: &Peers, entry: Entry, source: Location) -> bool {
    match source {
        Location::Port(slot) => entry.port() == Some(slot),
        Location::Vtep(ip) => entry.peer().is_some_and(|peer| peers.ip(peer) == ip),
    }
}

/// What is full, if a MAC can for that reason not be learned at a place, and why in words.
fn no_room(
    state: &State,
    at: (SegmentId, MacAddr),
    source: Location,
    new: bool,
) -> Option<(Scope, &'static str)> {
    if new && let Some(full) = no_room_in_fdb(state, at.0, source) {
        return Some(full);
    }
    match source {
        Location::Port(slot) => (!entry::has_port_room(&state.ports, &state.fdb, slot, at.1))
            .then_some((Scope::Port(slot), "the port is at its limit of MACs")),
        Location::Vtep(ip) if state.peers.number_of(ip).is_some() => None,
        // The last place is the user's.
        Location::Vtep(_) if state.peers.len() + 1 >= state.limits.peers => {
            Some((Scope::Tables, "the tables are full"))
        }
        Location::Vtep(_) => (state.peers.found() >= state.limits.found_peers).then_some((
            Scope::Tables,
            "as many VTEPs that nobody has named are learned from as may be",
        )),
    }
}

/// What is full, if the FDB has for that reason no room for a learned entry.
fn no_room_in_fdb(
    state: &State,
    number: SegmentId,
    source: Location,
) -> Option<(Scope, &'static str)> {
    let State { fdb, limits, .. } = state;
    if limits.fdb_left(fdb.len()) == 0 {
        return Some((Scope::Tables, "the tables are full"));
    }
    let share = limits.fdb_share(fdb.len());
    let limit = state.segments[number].max_macs;
    if limit != 0 && fdb.len_in(number) >= limit as usize {
        return Some((Scope::Vni(number), "the VNI is at its limit of MACs"));
    }
    if limit == 0 && fdb.learned_in(number) >= share {
        let why = "the VNI has its share of the FDB; give it a limit of its own with --max-macs";
        return Some((Scope::Vni(number), why));
    }
    match source {
        Location::Port(slot)
            if state.ports[slot].max_macs == 0 && fdb.learned_at(slot) >= share =>
        {
            let why =
                "the port has its share of the FDB; give it a limit of its own with --max-macs";
            Some((Scope::Port(slot), why))
        }
        _ => None,
    }
}

/// Counts, and notifies, that a MAC was not learned for want of room.
fn refuse_mac(
    state: &mut State,
    (number, mac): (SegmentId, MacAddr),
    (full, why): (Scope, &'static str),
    out: &mut Effect,
) {
    match full {
        Scope::Tables => state.run.counters.full += 1,
        Scope::Vni(_) | Scope::Port(_) => state.run.counters.limited += 1,
    }
    notify::limit(state, out, full, |state| {
        let dev = match full {
            Scope::Tables | Scope::Vni(_) => None,
            Scope::Port(slot) => state.port_name(slot),
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
    state: &mut State,
    at: (SegmentId, MacAddr),
    source: Location,
    event: &Event,
    out: &mut Effect,
) {
    if let Some(full) = no_room(state, at, source, true) {
        refuse_mac(state, at, full, out);
        return;
    }
    let entry = learned_entry(state, source, out);
    write_learned(state, at, entry, event, out);
    state.run.counters.learned += 1;
    notify::mac(state, out, EventKind::Learned, at, (Some(source), None));
    if let Location::Port(slot) = source
        && event.flags & Event::GROUP == 0
    {
        announce::learned(state, slot, at.1, out);
    }
}

/// Moves a MAC at once, or freezes it where it was longest. Where there is no room for it at its new place, it stays: whoever has a
/// full port must not take it away from where it is.
fn learn_move(
    state: &mut State,
    at: (SegmentId, MacAddr),
    old: Entry,
    source: Location,
    event: &Event,
    clock: &dyn Stamps,
    out: &mut Effect,
) {
    let (number, mac) = at;
    if let Some(full) = no_room(state, at, source, false) {
        refuse_mac(state, at, full, out);
        return;
    }
    let added = match source {
        Location::Port(slot) => state.run.added.get(&slot).copied(),
        Location::Vtep(_) => None,
    };
    let rule = state.limits.duplicates;
    let from = state.location_of(old);
    let frozen = from.is_some_and(|from| {
        let moved = Move {
            time: event.time,
            from,
            came: old.since(event.time),
            to: source,
            added,
        };
        state.run.moves.note(key(number, mac), moved, rule)
    });
    let place = if frozen {
        longest_at(state, at, source, event.time)
    } else {
        source
    };
    if Some(place) != from {
        move_to(state, at, old, place, event, out);
    }
    if frozen {
        let other = if place == source { from } else { Some(source) };
        freeze(state, at, (place, other), event.time, clock, out);
    }
}

/// Where a MAC that came to `source` at `time` was longest lately, and can be: at a port, or behind a VTEP that the VNI names.
fn longest_at(state: &State, at: (SegmentId, MacAddr), source: Location, time: u64) -> Location {
    let (number, mac) = at;
    let rule = state.limits.duplicates;
    let places = state.run.moves.places(key(number, mac), source, time, rule);
    let fits = |place: &Location| match *place {
        Location::Port(slot) => {
            let port = state.ports.get(slot);
            port.is_some_and(|port| port.segment == number)
                && entry::has_port_room(&state.ports, &state.fdb, slot, mac)
        }
        Location::Vtep(ip) => peer::is_listed(state, number, ip),
    };
    places.into_iter().find(fits).unwrap_or(source)
}

/// Moves a MAC to a place.
fn move_to(
    state: &mut State,
    at: (SegmentId, MacAddr),
    old: Entry,
    place: Location,
    event: &Event,
    out: &mut Effect,
) {
    let from = state.location_of(old);
    let entry = learned_entry(state, place, out);
    state.run.counters.moved += 1;
    notify::mac(state, out, EventKind::Moved, at, (Some(place), from));
    write_learned(state, at, entry, event, out);
    // A frame for a group has reached the other VTEPs by itself.
    if let (Location::Port(slot), Some(Location::Vtep(_))) = (place, from)
        && event.flags & Event::GROUP == 0
    {
        announce::learned(state, slot, at.1, out);
    }
}

/// Freezes a MAC where the FDB has it: it was seen elsewhere too.
fn freeze(
    state: &mut State,
    (number, mac): (SegmentId, MacAddr),
    (place, other): (Location, Option<Location>),
    time: u64,
    clock: &dyn Stamps,
    out: &mut Effect,
) {
    let Some(entry) = state.fdb.freeze(number, mac) else {
        return;
    };
    let at = key(number, mac);
    let seen = clock.last_seen(at).unwrap_or(time);
    out.write(Write::Fdb(at, Some(entry.pod(seen))));
    let rule = state.limits.duplicates;
    state.run.moves.freeze(at, other, time, rule);
    state.run.counters.frozen += 1;
    let places = (Some(place), other);
    notify::mac(state, out, EventKind::Duplicate, (number, mac), places);
}

/// An entry that points to a place, whose peer it acquires.
fn learned_entry(state: &mut State, source: Location, out: &mut Effect) -> Entry {
    match source {
        Location::Port(slot) => Entry::learned(FdbTarget::Port(slot)),
        Location::Vtep(ip) => {
            Entry::learned(FdbTarget::Peer(peer::acquire_learned(state, ip, out)))
        }
    }
}

fn write_learned(
    state: &mut State,
    (number, mac): (SegmentId, MacAddr),
    mut entry: Entry,
    event: &Event,
    out: &mut Effect,
) {
    entry.due.0 = age::due(&state.segments, number, event.time);
    entry.came(event.time);
    entry::set(state, number, mac, entry, event.time, out);
    age::queue_key(&mut state.run.0, &state.fdb, key(number, mac), entry.due.0);
}

/// Somebody sent to what nobody knows, or asked for it.
pub(crate) fn miss(state: &mut State, event: &Event, out: &mut Effect) {
    if !state.run.watched {
        return;
    }
    let Some(vni) = state.segment_name(event.segment) else {
        return;
    };
    notify::notify(state, out, |state| EventDetails {
        vni: Some(vni),
        mac: Some(event.mac()).filter(|mac| !mac.is_zero()),
        ip: host_of(event),
        old_dst: (!event.from_port()).then(|| event.vtep.into()),
        old_dev: state.port_name(event.port).map(|(dev, _)| dev.to_owned()),
        ..EventDetails::new(EventKind::Miss)
    });
}

/// The host that an event is about.
pub(crate) fn host_of(event: &Event) -> Option<IpAddr> {
    let zero = <vtep_common::abi::addr::VtepAddr as bytemuck::Zeroable>::zeroed();
    (event.host != zero).then(|| event.host.into())
}
