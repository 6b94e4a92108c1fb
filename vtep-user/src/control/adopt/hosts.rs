//! Taking over the hosts that ARP and ND are answered for, and the nexthop table.
//!
//! The daemon reads what the user said, which hosts were snooped, and which addresses the ports have. Everything else follows from
//! that, and what the maps have of it is brought in line.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use vtep_common::abi::{
    addr::MacAddr,
    fdb::FdbTarget,
    id::{PortSlot, SegmentId},
    neigh::{NeighKey, NeighOrigin, NeighValue},
    nexthop::{NexthopKey, NexthopOrigin, NexthopValue},
    segment::Segment,
};

use super::{Adoption, Dump};
use crate::{
    control::{
        effect::{Effect, Write},
        ops::nexthop::prefix,
        ops::{address, neigh, nexthop},
        record::{
            address::unfit_host,
            author,
            entry::Entry,
            hosts::{self, Neigh},
            nexthops::{self, Nexthop},
        },
    },
    model::Prefix,
};

/// The MAC in the lower 48 bits of a number, if it is a unicast MAC.
fn unicast(raw: u64) -> Option<MacAddr> {
    let [high, low, bytes @ ..] = raw.to_be_bytes();
    let mac = MacAddr::from_bytes(bytes);
    (high == 0 && low == 0 && !mac.is_zero() && !mac.is_group()).then_some(mac)
}

impl Adoption {
    pub(crate) fn hosts(&mut self, dump: &Dump) {
        // What is written on the way is of no interest, but what differs from the maps in the end.
        let mut out = Effect::default();
        let mut ports: HashMap<PortSlot, BTreeSet<IpAddr>> = HashMap::new();
        for (bits, key, value) in &dump.nexthops {
            if self.state.segments.get(key.segment).is_none() {
                continue;
            }
            if let Some(prefix) = prefix(*bits, key) {
                let port = self.nexthop(key.segment, prefix, value, &mut out);
                let port = port.filter(|_| prefix.is_host());
                if let Some(slot) = port.filter(|&slot| self.has_port(key.segment, slot)) {
                    ports.entry(slot).or_default().insert(prefix.addr());
                }
            }
        }
        for (key, value) in &dump.neighs {
            self.neigh(key, value, &mut out);
        }
        for (slot, ips) in ports {
            address::set(&mut self.state, slot, &ips, &mut out);
        }
        let numbers: Vec<_> = self.state.segments.numbers().collect();
        for &number in &numbers {
            neigh::age_anew(&mut self.state.hosts, &mut self.state.run.0, number);
            nexthop::sync_flag(
                &mut self.state.segments,
                &self.state.nexthops,
                number,
                &mut out,
            );
        }
        self.compare_nexthops(dump, &numbers);
        self.compare_neighs(dump, &numbers);
        let pods: HashMap<SegmentId, &Segment> = dump
            .segments
            .iter()
            .map(|(number, pod)| (*number, pod))
            .collect();
        for number in numbers {
            let pod = &self.state.segments[number];
            if pods.get(&number).is_some_and(|old| *old != pod) {
                self.early.push(Write::Segment(number, Box::new(*pod)));
            }
        }
    }

    fn has_port(&self, number: SegmentId, slot: PortSlot) -> bool {
        let port = self.state.ports.get(slot);
        port.is_some_and(|port| port.segment == number)
    }

    /// Takes an entry of the user's over. Returns the slot of the port that has the address.
    fn nexthop(
        &mut self,
        number: SegmentId,
        prefix: Prefix,
        value: &NexthopValue,
        out: &mut Effect,
    ) -> Option<PortSlot> {
        let target = value.target().get();
        let origin = value.origin();
        if origin == Some(NexthopOrigin::Port)
            && let Some(FdbTarget::Port(slot)) = target
        {
            return Some(slot);
        }
        if origin != Some(NexthopOrigin::Static) {
            return None;
        }
        let mac = unicast(value.mac);
        let tracks = value.flags & NexthopValue::TRACKS != 0;
        let via = target.and_then(FdbTarget::peer).filter(|_| !tracks);
        let via = via.filter(|&peer| self.state.peers.is_vtep(peer));
        let wanted = if tracks { mac.is_some() } else { via.is_some() };
        if wanted {
            if let Some(peer) = via {
                self.state.peers.refer(peer);
            }
            let source = author::source(value.flags & NexthopValue::CONFIGURED != 0);
            let nexthop = Nexthop { via, mac, source };
            nexthop::put(&mut self.state, number, prefix, Some(nexthop), out);
        }
        nexthops::port_of(value)
    }

    /// Takes over what the user said of a host, or what was snooped of it.
    fn neigh(&mut self, key: &NeighKey, value: &NeighValue, out: &mut Effect) {
        let (number, ip) = (key.segment, IpAddr::from(key.host));
        let Some(segment) = self.state.segments.get(number) else {
            return;
        };
        let origin = match value.origin() {
            Some(NeighOrigin::Static) => NeighOrigin::Static,
            Some(NeighOrigin::Snooped) if segment.has(Segment::SUPPRESS) => NeighOrigin::Snooped,
            _ => return,
        };
        let snooped = origin == NeighOrigin::Snooped;
        let mac = unicast(value.mac).filter(|_| unfit_host(ip).is_none());
        let entry = mac.and_then(|mac| self.state.fdb.get(number, mac));
        if let Some(mac) = mac.filter(|_| !snooped || entry.is_some()) {
            let neigh = Neigh {
                router: (value.flags & NeighValue::ROUTER_UNKNOWN == 0)
                    .then_some(value.flags & NeighValue::ROUTER != 0),
                // The FDB says where the MAC is: an earlier daemon may have been killed before it said so of the MAC's hosts.
                port: entry.filter(|_| snooped).and_then(Entry::port),
                source: author::source(!snooped && value.flags & NeighValue::CONFIGURED != 0),
                ..Neigh::new(mac, origin)
            };
            neigh::put(&mut self.state.hosts, number, ip, Some(neigh), out);
        }
        if snooped {
            neigh::sync(&mut self.state, number, ip, out);
        }
    }

    fn compare_nexthops(&mut self, dump: &Dump, numbers: &[SegmentId]) {
        let mut wanted: HashMap<(u32, NexthopKey), NexthopValue> = HashMap::new();
        for &number in numbers {
            let routes = self.state.nexthops.routes(number);
            wanted.extend(routes.map(|(prefix, value)| (nexthops::key(number, prefix), value)));
        }
        for (bits, key, value) in &dump.nexthops {
            match wanted.remove(&(*bits, *key)) {
                Some(same) if same == *value => {}
                other => self.early.push(Write::Nexthop(*bits, *key, other)),
            }
        }
        let missing = wanted.into_iter();
        self.early
            .extend(missing.map(|((bits, key), value)| Write::Nexthop(bits, key, Some(value))));
    }

    fn compare_neighs(&mut self, dump: &Dump, numbers: &[SegmentId]) {
        let mut wanted: HashMap<NeighKey, NeighValue> = HashMap::new();
        for &number in numbers {
            let neighs = self.state.hosts.entries(number);
            wanted.extend(neighs.map(|(ip, neigh)| (hosts::key(number, ip), neigh.pod())));
        }
        for (key, value) in &dump.neighs {
            match wanted.remove(key) {
                Some(same) if same == *value => {}
                other => self.early.push(Write::Neigh(*key, other)),
            }
        }
        let missing = wanted.into_iter();
        self.early
            .extend(missing.map(|(key, value)| Write::Neigh(key, Some(value))));
    }
}
