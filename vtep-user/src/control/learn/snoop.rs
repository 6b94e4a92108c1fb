//! Hosts that are snooped at ports, and what hosts behind VTEPs say against that.

use std::net::IpAddr;

use vtep_common::abi::{
    addr::MacAddr, event::Event, id::SegmentId, neigh::NeighOrigin, segment::Segment,
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
            claims::{Claim, Claims, Settled},
            entry::{Entry, key},
            hosts::{Hosts, Neigh},
            ignored::Ignored,
            limits::MAX_HOSTS_OF_MAC,
            location::Location,
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
    if event.from_port() && !is_here(state, event) {
        // A frame that was answered was no event of its own.
        mac::learn(state, event, clock, out);
    }
    if !is_here(state, event) {
        state.run.counters.ignored += 1;
        return;
    }
    let new = Claim {
        mac,
        port: event.from_port().then_some(event.port),
        router: says_router(host, event),
        time: event.time,
    };
    match state.hosts.get(number, host) {
        Some(known) if !known.is_snooped() => {}
        Some(known) if known.mac == mac => {
            if event.from_port() {
                let refreshed = Neigh {
                    due: known.due,
                    ..neigh_of(Claim {
                        router: new.router.or(known.router),
                        ..new
                    })
                };
                neigh::put(&mut state.hosts, number, host, Some(refreshed), out);
            }
        }
        known => claim((state, out), (number, host), known, new),
    }
}

/// True if the MAC of an event is where the FDB has it; behind a VTEP also if the FDB does not have it.
fn is_here(state: &State, event: &Event) -> bool {
    let entry = state.fdb.get(event.segment, event.mac());
    match entry {
        Some(entry) if event.from_port() => entry.port() == Some(event.port),
        Some(entry) => state.location_of(entry) == Some(Location::Vtep(event.vtep.into())),
        None => !event.from_port(),
    }
}

/// Whether a host is a router, if a message says so: of IPv6 hosts advertisements alone do.
fn says_router(host: IpAddr, event: &Event) -> Option<bool> {
    let says = host.is_ipv4() || event.flags & (Event::ADVERTISED | Event::UNSOLICITED) != 0;
    let router = event.flags & Event::ROUTER != 0;
    (says || router).then_some(router)
}

/// A host as its claim has it.
fn neigh_of(claim: Claim) -> Neigh {
    Neigh {
        router: claim.router,
        port: claim.port,
        last_snooped: Ignored(claim.time),
        ..Neigh::new(claim.mac, NeighOrigin::Snooped)
    }
}

/// A MAC claims an address of which nobody has said so far that it has it.
///
/// Whoever claims it first has it. With a second MAC it is contested, and nobody has it until that is settled.
fn claim(
    (state, out): (&mut State, &mut Effect),
    (number, host): (SegmentId, IpAddr),
    known: Option<Neigh>,
    new: Claim,
) {
    let claims = state.run.claims.to(number, host);
    let is_known = claims.iter().any(|claim| claim.mac == new.mac);
    let others = claims.iter().any(|claim| claim.mac != new.mac);
    if !is_known && hosts_of(state, number, new.mac) >= MAX_HOSTS_OF_MAC as usize {
        state.run.counters.limited += 1;
        let why = "the MAC is at its limit of addresses";
        refuse(state, number, host, new, why, out);
        return;
    }
    if known.is_none() && !others && new.port.is_some() {
        if take(state, number, host, new, out) {
            let dev = new.port.and_then(|slot| state.port_name(slot));
            let dev = dev.map(|(dev, _)| dev.to_owned());
            notify::notify(state, out, |state| EventDetails {
                dev,
                ..host_event(state, EventKind::Learned, number, host, new.mac)
            });
        }
        return;
    }
    if let Some(known) = known {
        let time = match known.last_snooped.0 {
            0 => new.time,
            time => time,
        };
        let known = Claim {
            mac: known.mac,
            port: known.port,
            router: known.router,
            time,
        };
        state.run.claims.note(number, host, known);
        neigh::remove_own(state, number, host, out);
    }
    let other = known.map_or_else(
        || claimant(&state.run.claims, number, host, new.mac),
        |known| Some(known.mac),
    );
    let begins = state.run.claims.note(number, host, new);
    if begins || known.is_some() {
        state.run.counters.frozen += 1;
        notify::notify(state, out, |state| EventDetails {
            why: other.map(|other| format!("{other} claims the address too")),
            ..host_event(state, EventKind::Duplicate, number, host, new.mac)
        });
    }
}

/// Somebody else who claims an address.
fn claimant(claims: &Claims, number: SegmentId, host: IpAddr, mac: MacAddr) -> Option<MacAddr> {
    let mut macs = claims.to(number, host).iter().map(|claim| claim.mac);
    macs.find(|other| *other != mac)
}

/// How many addresses a MAC has or claims.
fn hosts_of(state: &State, number: SegmentId, mac: MacAddr) -> usize {
    state.hosts.snooped_at(number, mac).len() + state.run.claims.count_of(number, mac)
}

/// Takes a claim into the table of hosts; false if there is no room.
fn take(
    state: &mut State,
    number: SegmentId,
    host: IpAddr,
    claim: Claim,
    out: &mut Effect,
) -> bool {
    let (limits, snooped) = (&state.limits, state.hosts.snooped());
    if state.hosts.count_snooped_in(number) >= limits.snooped_share(snooped)
        || neigh::hosts_used(state) >= limits.neighs
    {
        state.run.counters.full += 1;
        let why = "the neigh table is full";
        refuse(state, number, host, claim, why, out);
        return false;
    }
    state.run.claims.forget(number, host);
    put_snooped(state, number, host, neigh_of(claim), out);
    true
}

/// Notifies that a claim was not taken for want of room.
fn refuse(
    state: &mut State,
    number: SegmentId,
    host: IpAddr,
    claim: Claim,
    why: &str,
    out: &mut Effect,
) {
    let scope = claim.port.map_or(Scope::Tables, Scope::Port);
    notify::limit(state, out, scope, |state| EventDetails {
        why: Some(why.to_owned()),
        ..host_event(state, EventKind::Limit, number, host, claim.mac)
    });
}

/// Looks at the claims to an address whose time has come: who is silent has none any more.
pub(crate) fn settle(
    state: &mut State,
    at: u32,
    (number, host): (SegmentId, IpAddr),
    clock: &dyn Stamps,
    out: &mut Effect,
) {
    let Some(segment) = state.segments.get(number) else {
        return;
    };
    let fdb = &state.fdb;
    let sends = |mac: MacAddr, since: u64| {
        let seen = clock.last_seen(key(number, mac)).unwrap_or(0);
        fdb.get(number, mac).is_some_and(Entry::ages) && seen > since
    };
    let time = (state.run.0.now, segment.ageing_s);
    let settled = state.run.0.claims.settle(at, (number, host), time, sends);
    let Settled::For(winner, before) = settled else {
        return;
    };
    let mac = winner.map_or(before, |winner| winner.mac);
    let port = state.fdb.get(number, mac).and_then(Entry::port);
    if let Some(winner) = winner
        && port.is_some()
        && state.hosts.get(number, host).is_none()
    {
        take(state, number, host, Claim { port, ..winner }, out);
    }
    let (kind, why) = if mac == before {
        (EventKind::Thawed, None)
    } else {
        (EventKind::Moved, Some(was_at(before)))
    };
    notify::notify(state, out, |state| EventDetails {
        why,
        ..host_event(state, kind, number, host, mac)
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
    neigh::remove_own(state, number, host, out);
    notify::notify(state, out, |state| {
        host_event(state, EventKind::Aged, number, host, mac)
    });
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
