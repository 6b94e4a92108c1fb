//! Taking over what the data path is told of limits and rates, and of the VTEPs that packets are taken from.

use std::collections::HashSet;

use vtep_common::abi::{
    addr::MacAddr,
    id::{PortSlot, SegmentId},
    policer::{Policed, Policer},
    port::{GuardedKey, Port},
    segment::{Segment, SourceKey},
};

use super::{Adoption, Dump};
use crate::control::{
    effect::{Effect, Write},
    ops::{address, guard, limit},
    record::{
        rates::{is_possible, policer},
        sources::SourceTable,
    },
    state::State,
};

impl Adoption {
    /// Says in ports and segments whether they are full, which a daemon that was killed may not have come to.
    pub(crate) fn limits(&mut self, dump: &Dump) {
        let State {
            segments,
            ports,
            fdb,
            ..
        } = &mut self.state;
        let mut out = Effect::default();
        let numbers: Vec<SegmentId> = segments.numbers().collect();
        for number in numbers {
            limit::sync_segment(segments, fdb, number, &mut out);
        }
        let slots: Vec<PortSlot> = dump.ports.iter().map(|(slot, _)| *slot).collect();
        for slot in slots {
            limit::sync_port(ports, fdb, slot, &mut out);
        }
        self.early.append(&mut out.writes);
    }

    /// Takes over the rates of ports. What a port's flags do not lead to was half set, or half taken away.
    pub(crate) fn rates(&mut self, dump: &Dump) {
        let State { ports, rates, .. } = &mut self.state;
        for &((slot, what), pod) in &dump.policers {
            let has = ports.get(slot).is_some_and(|port| port.has(what.flag()));
            if !has || !is_possible(what, pod.rate) {
                let none = Write::Policer(slot, what, Policer::NONE);
                self.late.push(none);
                continue;
            }
            rates.set(slot, what, pod.rate);
            let wanted = policer(what, pod.rate);
            if (wanted.burst, wanted.cost) != (pod.burst, pod.cost) {
                self.early.push(Write::Policer(slot, what, wanted));
            }
        }
        let all: Vec<(PortSlot, Port)> = ports.iter().map(|(slot, port)| (slot, *port)).collect();
        for (slot, old) in all {
            let mut port = old;
            for what in Policed::ALL {
                port.set(what.flag(), rates.get(slot, what) != 0);
            }
            if port != old {
                ports.set(slot, port);
                self.early.push(Write::Port(slot, port));
            }
        }
    }

    /// Brings the addresses that guards let in in line with those of the ports.
    pub(crate) fn guarded(&mut self, dump: &Dump) {
        let State {
            ports, addresses, ..
        } = &mut self.state;
        let all: Vec<(PortSlot, Port)> = ports.iter().map(|(slot, port)| (slot, *port)).collect();
        for (slot, mut port) in all {
            port.own_v4 = guard::own_v4(&port, addresses.of(slot));
            if ports.set(slot, port) {
                self.early.push(Write::Port(slot, port));
            }
        }
        let guards = ports.iter().filter(|(_, port)| port.has(Port::GUARD_IP));
        let wanted: HashSet<GuardedKey> = guards
            .flat_map(|(slot, _)| {
                let ips = addresses.of(slot).iter();
                ips.map(move |&ip| address::key(slot, ip))
            })
            .collect();
        let found: HashSet<GuardedKey> = dump.guarded.iter().copied().collect();
        let came = wanted.difference(&found);
        self.early
            .extend(came.map(|&key| Write::Guarded(key, true)));
        let went = found.difference(&wanted);
        self.late
            .extend(went.map(|&key| Write::Guarded(key, false)));
    }

    /// Counts anew what names which VTEP, and brings the map in line with that.
    pub(crate) fn sources(&mut self, dump: &Dump) {
        self.state.sources = SourceTable::default();
        let numbers: Vec<SegmentId> = self.state.segments.numbers().collect();
        for &number in &numbers {
            self.count_sources(number);
        }
        let mut wanted: HashSet<SourceKey> = HashSet::new();
        for number in numbers {
            if self.state.segments[number].has(Segment::LISTED) {
                let named = self.state.sources.of(number).into_iter();
                let named = named.filter(|(_, named)| *named);
                wanted.extend(named.map(|(peer, _)| SourceKey::new(number, peer)));
            }
        }
        for _ in 0..wanted.len() {
            self.state.sources.set_listed(true);
        }
        let found: HashSet<SourceKey> = dump.sources.iter().copied().collect();
        let came = wanted.difference(&found);
        self.early.extend(came.map(|&key| Write::Source(key, true)));
        let went = found.difference(&wanted);
        self.early
            .extend(went.map(|&key| Write::Source(key, false)));
    }

    fn count_sources(&mut self, number: SegmentId) {
        let State {
            sources,
            fdb,
            flood,
            nexthops,
            ..
        } = &mut self.state;
        for (_, entry) in fdb.entries(number) {
            match entry.peer() {
                Some(peer) if entry.ages() => sources.learn(number, peer),
                Some(peer) => {
                    sources.name(number, peer);
                }
                None => {}
            }
        }
        let lists = flood.macs(number).into_iter().chain([MacAddr::ZERO]);
        for mac in lists {
            for &peer in flood.remotes(number, mac) {
                sources.name(number, peer);
            }
        }
        for peer in nexthops.vias(number) {
            sources.name(number, peer);
        }
    }
}
