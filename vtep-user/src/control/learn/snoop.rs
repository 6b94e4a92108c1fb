//! Hosts that are snooped at ports.

use std::net::IpAddr;

use vtep_common::abi::{
    addr::MacAddr,
    event::Event,
    id::{PortSlot, SegmentId},
    neigh::NeighOrigin,
    segment::Segment,
};

use super::mac::host_of;
use crate::{
    control::{
        effect::Effect,
        record::{
            address::unfit_host,
            entry::Entry,
            hosts::Neigh,
            ignored::Ignored,
            moves::Move,
            queue::{self, NEVER},
            run::Scope,
            stamps::Stamps,
        },
        state::State,
    },
    model::{EventDetails, EventKind},
};

impl State {
    /// A host says that it is at a MAC.
    pub(crate) fn snoop(&mut self, event: &Event, clock: &dyn Stamps, out: &mut Effect) {
        let (number, mac) = (event.segment, event.mac());
        let segment = self.segments.get(number);
        let snoops = segment.is_some_and(|segment| {
            segment.has(Segment::SUPPRESS) && segment.has(Segment::LEARNING)
        });
        let host = host_of(event).filter(|&ip| unfit_host(ip).is_none());
        let Some(host) = host.filter(|_| snoops && !mac.is_zero() && !mac.is_group()) else {
            self.run.counters.ignored += 1;
            return;
        };
        if !event.from_port() {
            self.contradict(number, host, event, out);
            return;
        }
        if !self.is_here(event) {
            // A frame that was answered was no event of its own.
            self.learn_mac(event, clock, out);
        }
        if self.is_here(event) {
            self.snoop_at_port(number, host, event, out);
        } else {
            self.run.counters.ignored += 1;
        }
    }

    /// True if the FDB has the MAC of an event at the port that it came from.
    fn is_here(&self, event: &Event) -> bool {
        let entry = self.fdb.get(event.segment, event.mac());
        entry.and_then(Entry::port) == Some(event.port)
    }

    /// Takes note of where a host at a port is.
    fn snoop_at_port(&mut self, number: SegmentId, host: IpAddr, event: &Event, out: &mut Effect) {
        let mac = event.mac();
        let router = event.flags & Event::ROUTER != 0;
        let known = self.hosts.get(number, host);
        let new = Neigh {
            router,
            port: Some(event.port),
            last_snooped: Ignored(event.time),
            ..Neigh::new(mac, NeighOrigin::Snooped)
        };
        match known {
            Some(known) if known.origin != NeighOrigin::Snooped => {}
            Some(known) if known.mac == mac => {
                // A solicitation does not say whether its sender is a router; what is unasked does.
                let asked = event.flags & Event::UNASKED == 0;
                let new = Neigh {
                    router: router || (asked && known.router),
                    due: known.due,
                    ..new
                };
                self.put_host(number, host, Some(new), out);
            }
            Some(known) => self.host_moves(number, host, known, new, out),
            None => {
                let limit = self.limits.neighs;
                // The other half is the user's.
                if self.hosts.snooped() >= limit / 2 || self.hosts_used() >= limit {
                    self.run.counters.full += 1;
                    self.notify_limit(out, Scope::Tables, |state| EventDetails {
                        why: Some("the neigh table is full".to_owned()),
                        ..state.host_event(EventKind::Limit, number, host, mac)
                    });
                    return;
                }
                self.put_snooped(number, host, new, out);
                self.notify(out, |state| EventDetails {
                    dev: state.port_name(event.port).map(|(dev, _)| dev.to_owned()),
                    ..state.host_event(EventKind::Learned, number, host, mac)
                });
            }
        }
    }

    /// Another MAC says that it has a host's address.
    fn host_moves(
        &mut self,
        number: SegmentId,
        host: IpAddr,
        known: Neigh,
        new: Neigh,
        out: &mut Effect,
    ) {
        if self.run.host_moves.is_frozen((number, host)) {
            self.run.counters.ignored += 1;
            return;
        }
        let frozen = self.note_host_move(number, host, new.last_snooped.0);
        self.put_snooped(number, host, new, out);
        self.notify(out, |state| EventDetails {
            why: Some(was_at(known.mac)),
            ..state.host_event(EventKind::Moved, number, host, new.mac)
        });
        if frozen {
            self.notify_frozen(number, host, new.mac, known.mac, out);
        }
    }

    fn note_host_move(&mut self, number: SegmentId, host: IpAddr, time: u64) -> bool {
        let moved = Move {
            time,
            from: None,
            to: None,
        };
        let rule = self.limits.duplicates;
        self.run.host_moves.note((number, host), moved, rule)
    }

    fn notify_frozen(
        &mut self,
        number: SegmentId,
        host: IpAddr,
        mac: MacAddr,
        other: MacAddr,
        out: &mut Effect,
    ) {
        self.run.counters.frozen += 1;
        self.notify(out, |state| EventDetails {
            why: Some(format!("{other} claims the address too")),
            ..state.host_event(EventKind::Duplicate, number, host, mac)
        });
    }

    /// A host behind a VTEP says, unsolicited, that it has an address. What was snooped here of another is out of date.
    fn contradict(&mut self, number: SegmentId, host: IpAddr, event: &Event, out: &mut Effect) {
        let mac = event.mac();
        let known = self.hosts.get(number, host);
        let known = known.filter(|known| known.origin == NeighOrigin::Snooped && known.mac != mac);
        let Some(known) = known else { return };
        if self.run.host_moves.is_frozen((number, host)) {
            self.run.counters.ignored += 1;
            return;
        }
        if self.note_host_move(number, host, event.time) {
            self.notify_frozen(number, host, known.mac, mac, out);
            return;
        }
        self.remove_own_host(number, host, out);
        self.notify(out, |state| EventDetails {
            dst: Some(event.vtep.into()),
            why: Some(was_at(known.mac)),
            ..state.host_event(EventKind::Moved, number, host, mac)
        });
    }

    fn put_snooped(&mut self, number: SegmentId, host: IpAddr, mut new: Neigh, out: &mut Effect) {
        new.due.0 = self.due(number, new.last_snooped.0);
        self.put_host(number, host, Some(new), out);
        self.queue_host(number, host, new.due.0);
    }

    fn queue_host(&mut self, number: SegmentId, host: IpAddr, due: u32) {
        let (queue, hosts) = (&mut self.run.0.hosts, &self.hosts);
        queue.push(due, (number, host));
        if queue.is_stale(hosts.snooped() as usize) {
            queue.retain(|at, (number, host)| {
                let neigh = hosts.get(*number, *host);
                neigh.is_some_and(|neigh| neigh.due.0 == at)
            });
        }
    }

    /// Looks at a host whose time has come, unless that is out of date.
    pub(crate) fn age_host(
        &mut self,
        at: u32,
        (number, host): (SegmentId, IpAddr),
        out: &mut Effect,
    ) {
        let now = self.run.now;
        let Some(neigh) = self.hosts.get(number, host) else {
            return;
        };
        if !neigh.is_snooped() || neigh.due.0 != at {
            return;
        }
        let seen = match neigh.last_snooped.0 {
            0 => now,
            seen => seen,
        };
        let due = match self.segments[number].ageing_s {
            0 => NEVER,
            ageing_s => queue::after(seen, ageing_s),
        };
        if due == NEVER || !queue::is_over(due, now) {
            self.hosts.set_due(number, host, seen, due);
            self.queue_host(number, host, due);
            return;
        }
        let mac = neigh.mac;
        self.run.host_moves.forget((number, host));
        self.remove_own_host(number, host, out);
        self.notify(out, |state| {
            state.host_event(EventKind::Aged, number, host, mac)
        });
    }

    /// Looks at all snooped hosts of a segment anew, after its ageing time changed, or when nobody knows when they were snooped.
    pub(crate) fn age_hosts_anew(&mut self, number: SegmentId) {
        for host in self.hosts.set_all_due(number) {
            self.run.hosts.push(0, (number, host));
        }
    }

    /// Forgets the hosts that were snooped at a MAC.
    pub(crate) fn forget_snooped_at(&mut self, number: SegmentId, mac: MacAddr, out: &mut Effect) {
        for host in self.hosts.snooped_at(number, mac) {
            self.run.host_moves.forget((number, host));
            self.remove_own_host(number, host, out);
        }
    }

    /// Forgets all hosts of a segment that were snooped.
    pub(crate) fn forget_snooped(&mut self, number: SegmentId, out: &mut Effect) {
        for host in self.hosts.snooped_in(number) {
            self.run.host_moves.forget((number, host));
            self.remove_own_host(number, host, out);
        }
    }

    /// Lets the hosts at a MAC be where that is now: at a port, or behind a VTEP.
    pub(crate) fn move_snooped(
        &mut self,
        number: SegmentId,
        mac: MacAddr,
        port: Option<PortSlot>,
        out: &mut Effect,
    ) {
        for host in self.hosts.snooped_at(number, mac) {
            if let Some(neigh) = self.hosts.get(number, host) {
                self.put_host(number, host, Some(Neigh { port, ..neigh }), out);
            }
        }
    }

    /// Notifies that a host may move again.
    pub(crate) fn thaw_host(&mut self, (number, host): (SegmentId, IpAddr), out: &mut Effect) {
        if let Some(neigh) = self.hosts.get(number, host) {
            let mac = neigh.mac;
            self.notify(out, |state| {
                state.host_event(EventKind::Thawed, number, host, mac)
            });
        }
    }

    /// An event of a host.
    fn host_event(
        &self,
        event: EventKind,
        number: SegmentId,
        host: IpAddr,
        mac: MacAddr,
    ) -> EventDetails {
        EventDetails {
            vni: self.segment_name(number),
            mac: Some(mac),
            ip: Some(host),
            ..EventDetails::new(event)
        }
    }
}

fn was_at(mac: MacAddr) -> String {
    format!("it was at {mac}")
}
