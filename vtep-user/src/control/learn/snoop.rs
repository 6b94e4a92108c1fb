//! Hosts that are snooped at ports.

use std::net::IpAddr;

use vtep_common::abi::{
    addr::MacAddr,
    event::Event,
    id::{PortSlot, SegmentId},
    neigh::NeighOrigin,
    segment::Segment,
};

use super::{
    age,
    mac::{self, host_of},
    notify,
};
use crate::{
    control::{
        effect::Effect,
        ops::neigh,
        record::{
            address::unfit_host,
            entry::Entry,
            fdb::Fdb,
            hosts::{Hosts, Neigh},
            ignored::Ignored,
            limits::Limits,
            location::Location,
            moves::Move,
            queue::{self, NEVER},
            run::{Run, Scope},
            stamps::Stamps,
        },
        state::State,
    },
    model::{EventDetails, EventKind},
};

/// A host says that it is at a MAC.
pub(crate) fn snoop(state: &mut State, event: &Event, clock: &dyn Stamps, out: &mut Effect) {
    let (number, mac) = (event.segment, event.mac());
    let segment = state.segments.get(number);
    let snoops = segment
        .is_some_and(|segment| segment.has(Segment::SUPPRESS) && segment.has(Segment::LEARNING));
    let host = host_of(event).filter(|&ip| unfit_host(ip).is_none());
    let Some(host) = host.filter(|_| snoops && !mac.is_zero() && !mac.is_group()) else {
        state.run.counters.ignored += 1;
        return;
    };
    if !event.from_port() {
        contradict(state, number, host, event, out);
        return;
    }
    if !is_here(&state.fdb, event) {
        // A frame that was answered was no event of its own.
        mac::learn(state, event, clock, out);
    }
    if is_here(&state.fdb, event) {
        snoop_at_port(state, number, host, event, out);
    } else {
        state.run.counters.ignored += 1;
    }
}

/// True if the FDB has the MAC of an event at the port that it came from.
fn is_here(fdb: &Fdb, event: &Event) -> bool {
    let entry = fdb.get(event.segment, event.mac());
    entry.and_then(Entry::port) == Some(event.port)
}

/// Takes note of where a host at a port is.
fn snoop_at_port(
    state: &mut State,
    number: SegmentId,
    host: IpAddr,
    event: &Event,
    out: &mut Effect,
) {
    let mac = event.mac();
    let router = event.flags & Event::ROUTER != 0;
    let known = state.hosts.get(number, host);
    let new = Neigh {
        router,
        port: Some(event.port),
        last_snooped: Ignored(event.time),
        ..Neigh::new(mac, NeighOrigin::Snooped)
    };
    match known {
        Some(known) if known.origin != NeighOrigin::Snooped => {}
        Some(known) if known.mac == mac => {
            // A solicitation does not say whether its sender is a router; what is unsolicited does.
            let asked = event.flags & Event::UNSOLICITED == 0;
            let new = Neigh {
                router: router || (asked && known.router),
                due: known.due,
                ..new
            };
            neigh::put(&mut state.hosts, number, host, Some(new), out);
        }
        Some(known) => host_moves(state, number, host, known, new, out),
        None => {
            let limit = state.limits.neighs;
            // The other half is the user's.
            if state.hosts.snooped() >= limit / 2 || neigh::hosts_used(state) >= limit {
                state.run.counters.full += 1;
                notify::limit(state, out, Scope::Tables, |state| EventDetails {
                    why: Some("the neigh table is full".to_owned()),
                    ..host_event(state, EventKind::Limit, number, host, mac)
                });
                return;
            }
            put_snooped(state, number, host, new, out);
            notify::notify(state, out, |state| EventDetails {
                dev: state.port_name(event.port).map(|(dev, _)| dev.to_owned()),
                ..host_event(state, EventKind::Learned, number, host, mac)
            });
        }
    }
}

/// Another MAC says that it has a host's address.
fn host_moves(
    state: &mut State,
    number: SegmentId,
    host: IpAddr,
    known: Neigh,
    new: Neigh,
    out: &mut Effect,
) {
    if state.run.host_moves.is_frozen((number, host)) {
        state.run.counters.ignored += 1;
        return;
    }
    let frozen = note_host_move(
        &mut state.run.0,
        &state.limits,
        number,
        host,
        new.last_snooped.0,
    );
    put_snooped(state, number, host, new, out);
    notify::notify(state, out, |state| EventDetails {
        why: Some(was_at(known.mac)),
        ..host_event(state, EventKind::Moved, number, host, new.mac)
    });
    if frozen {
        notify_frozen(state, number, host, new.mac, known.mac, out);
    }
}

fn note_host_move(
    run: &mut Run,
    limits: &Limits,
    number: SegmentId,
    host: IpAddr,
    time: u64,
) -> bool {
    let place = Location::Port(PortSlot::NONE);
    let moved = Move {
        time,
        from: place,
        came: time,
        to: place,
        added: None,
    };
    let rule = limits.duplicates;
    let frozen = run.host_moves.note((number, host), moved, rule);
    if frozen {
        run.host_moves.freeze((number, host), None, time, rule);
    }
    frozen
}

fn notify_frozen(
    state: &mut State,
    number: SegmentId,
    host: IpAddr,
    mac: MacAddr,
    other: MacAddr,
    out: &mut Effect,
) {
    state.run.counters.frozen += 1;
    notify::notify(state, out, |state| EventDetails {
        why: Some(format!("{other} claims the address too")),
        ..host_event(state, EventKind::Duplicate, number, host, mac)
    });
}

/// A host behind a VTEP says, unsolicited, that it has an address. What was snooped here of another is out of date.
fn contradict(state: &mut State, number: SegmentId, host: IpAddr, event: &Event, out: &mut Effect) {
    let mac = event.mac();
    let known = state.hosts.get(number, host);
    let known = known.filter(|known| known.origin == NeighOrigin::Snooped && known.mac != mac);
    let Some(known) = known else { return };
    if state.run.host_moves.is_frozen((number, host)) {
        state.run.counters.ignored += 1;
        return;
    }
    if note_host_move(&mut state.run.0, &state.limits, number, host, event.time) {
        notify_frozen(state, number, host, known.mac, mac, out);
        return;
    }
    neigh::remove_own(state, number, host, out);
    notify::notify(state, out, |state| EventDetails {
        dst: Some(event.vtep.into()),
        why: Some(was_at(known.mac)),
        ..host_event(state, EventKind::Moved, number, host, mac)
    });
}

fn put_snooped(
    state: &mut State,
    number: SegmentId,
    host: IpAddr,
    mut new: Neigh,
    out: &mut Effect,
) {
    new.due.0 = age::due(&state.segments, number, new.last_snooped.0);
    neigh::put(&mut state.hosts, number, host, Some(new), out);
    queue_host(&mut state.run.0, &state.hosts, number, host, new.due.0);
}

fn queue_host(run: &mut Run, hosts: &Hosts, number: SegmentId, host: IpAddr, due: u32) {
    let queue = &mut run.hosts;
    queue.push(due, (number, host));
    if queue.is_stale(hosts.snooped() as usize) {
        queue.retain(|at, (number, host)| {
            let neigh = hosts.get(*number, *host);
            neigh.is_some_and(|neigh| neigh.due.0 == at)
        });
    }
}

/// Looks at a host whose time has come, unless that is out of date.
pub(crate) fn age(
    state: &mut State,
    at: u32,
    (number, host): (SegmentId, IpAddr),
    out: &mut Effect,
) {
    let now = state.run.now;
    let Some(neigh) = state.hosts.get(number, host) else {
        return;
    };
    if !neigh.is_snooped() || neigh.due.0 != at {
        return;
    }
    let seen = match neigh.last_snooped.0 {
        0 => now,
        seen => seen,
    };
    let due = match state.segments[number].ageing_s {
        0 => NEVER,
        ageing_s => queue::after(seen, ageing_s),
    };
    if due == NEVER || !queue::is_over(due, now) {
        state.hosts.set_due(number, host, seen, due);
        queue_host(&mut state.run.0, &state.hosts, number, host, due);
        return;
    }
    let mac = neigh.mac;
    state.run.host_moves.forget((number, host));
    neigh::remove_own(state, number, host, out);
    notify::notify(state, out, |state| {
        host_event(state, EventKind::Aged, number, host, mac)
    });
}

/// Notifies that a host may move again.
pub(crate) fn thaw(state: &mut State, (number, host): (SegmentId, IpAddr), out: &mut Effect) {
    if let Some(neigh) = state.hosts.get(number, host) {
        let mac = neigh.mac;
        notify::notify(state, out, |state| {
            host_event(state, EventKind::Thawed, number, host, mac)
        });
    }
}

/// An event of a host.
fn host_event(
    state: &State,
    event: EventKind,
    number: SegmentId,
    host: IpAddr,
    mac: MacAddr,
) -> EventDetails {
    EventDetails {
        vni: state.segment_name(number),
        mac: Some(mac),
        ip: Some(host),
        ..EventDetails::new(event)
    }
}

fn was_at(mac: MacAddr) -> String {
    format!("it was at {mac}")
}
