//! The hosts that ARP and ND are answered for: their entries, those at each MAC, and how many there are of which origin.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use vtep_common::abi::{
    addr::{MacAddr, VtepAddr},
    id::{PortSlot, SegmentId},
    neigh::{NeighKey, NeighOrigin, NeighValue},
};

use super::{hash::Map, ignored::Ignored, numbered::Numbered};
use crate::model::Source;

/// Where a host is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Neigh {
    /// Its MAC.
    pub(crate) mac: MacAddr,
    /// Who said so.
    pub(crate) origin: NeighOrigin,
    /// Who set it, of an entry that was set.
    pub(crate) source: Source,
    /// Whether it is a router, if that is known: without it, nobody is answered for an IPv6 host.
    pub(crate) router: Option<bool>,
    /// Slot of the port that has the address, or at which it was snooped.
    pub(crate) port: Option<PortSlot>,
    /// When it was last snooped, in nanoseconds; 0 for before this daemon's time.
    pub(crate) last_snooped: Ignored<u64>,
    /// When a snooped entry is to be looked at, in seconds.
    pub(crate) due: Ignored<u32>,
}

impl Neigh {
    /// A host at a MAC.
    pub(crate) fn new(mac: MacAddr, origin: NeighOrigin) -> Self {
        Self {
            mac,
            origin,
            source: Source::Cli,
            router: Some(false),
            port: None,
            last_snooped: Ignored::default(),
            due: Ignored::default(),
        }
    }

    /// True if it follows from nothing else in the state.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.origin, NeighOrigin::Static | NeighOrigin::Snooped)
    }

    /// True if it was snooped at a port.
    pub(crate) fn is_snooped(&self) -> bool {
        self.origin == NeighOrigin::Snooped
    }

    /// As it stands in the map.
    pub(crate) fn pod(&self) -> NeighValue {
        let port = self.port.unwrap_or(PortSlot::NONE);
        let flags = match self.router {
            Some(true) => NeighValue::ROUTER,
            Some(false) => 0,
            None => NeighValue::ROUTER_UNKNOWN,
        };
        let configured = match self.source {
            Source::Config => NeighValue::CONFIGURED,
            Source::Cli | Source::Bridge => 0,
        };
        NeighValue::new(self.mac, self.origin, port, flags | configured)
    }
}

/// Key of `ip` in segment `number`.
pub(crate) fn key(number: SegmentId, ip: IpAddr) -> NeighKey {
    NeighKey {
        segment: number,
        host: VtepAddr::from(ip),
    }
}

/// The hosts of a segment.
#[derive(Clone, Debug, Default, PartialEq)]
struct SegmentHosts {
    /// As they stand in the map.
    entries: Map<IpAddr, Neigh>,
    /// The same, by MAC.
    by_mac: BTreeSet<(MacAddr, IpAddr)>,
    /// How many of them were snooped.
    snooped: u32,
}

/// The hosts of all VNIs, by the numbers of their segments.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Hosts {
    segments: Numbered<SegmentId, SegmentHosts>,
    /// Entries that follow from nothing else in the state.
    own: u32,
    /// Of them, those that were snooped.
    snooped: u32,
}

impl Hosts {
    /// Entries that follow from nothing else in the state.
    pub(crate) const fn own(&self) -> u32 {
        self.own
    }

    /// Entries that were snooped.
    pub(crate) const fn snooped(&self) -> u32 {
        self.snooped
    }

    /// Entries of a segment that were snooped.
    pub(crate) fn count_snooped_in(&self, number: SegmentId) -> u32 {
        self.segments.get(number).map_or(0, |table| table.snooped)
    }

    /// The entry of an address.
    pub(crate) fn get(&self, number: SegmentId, ip: IpAddr) -> Option<Neigh> {
        self.segments.get(number)?.entries.get(&ip).copied()
    }

    /// The entries of a segment.
    pub(crate) fn entries(&self, number: SegmentId) -> impl Iterator<Item = (IpAddr, &Neigh)> {
        let table = self.segments.get(number).into_iter();
        let entries = table.flat_map(|table| &table.entries);
        entries.map(|(&ip, neigh)| (ip, neigh))
    }

    /// Puts the entry of an address, or takes it away, and returns the one so far.
    pub(crate) fn put(
        &mut self,
        number: SegmentId,
        ip: IpAddr,
        new: Option<Neigh>,
    ) -> Option<Neigh> {
        let table = self.segments.at(number);
        let old = match new {
            Some(new) => table.entries.insert(ip, new),
            None => table.entries.remove(&ip),
        };
        if let Some(old) = old {
            table.by_mac.remove(&(old.mac, ip));
            table.snooped -= u32::from(old.is_snooped());
            self.uncount(old);
        }
        if let Some(new) = new {
            let table = self.segments.at(number);
            table.by_mac.insert((new.mac, ip));
            table.snooped += u32::from(new.is_snooped());
            self.own += u32::from(new.is_own());
            self.snooped += u32::from(new.is_snooped());
        }
        old
    }

    fn uncount(&mut self, old: Neigh) {
        self.own -= u32::from(old.is_own());
        self.snooped -= u32::from(old.is_snooped());
    }

    /// Takes all entries of a segment away, and returns their addresses.
    pub(crate) fn remove_segment(&mut self, number: SegmentId) -> Vec<IpAddr> {
        let mut gone = Vec::new();
        for (ip, neigh) in self.segments.take(number).entries {
            self.uncount(neigh);
            gone.push(ip);
        }
        gone
    }

    /// The hosts that are known to be at a MAC.
    pub(crate) fn at(&self, number: SegmentId, mac: MacAddr) -> Vec<IpAddr> {
        const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        const LAST: IpAddr = IpAddr::V6(Ipv6Addr::new(!0, !0, !0, !0, !0, !0, !0, !0));
        let Some(table) = self.segments.get(number) else {
            return Vec::new();
        };
        let hosts = table.by_mac.range((mac, FIRST)..=(mac, LAST));
        hosts.map(|&(_, ip)| ip).collect()
    }

    /// The hosts that were snooped at a MAC.
    pub(crate) fn snooped_at(&self, number: SegmentId, mac: MacAddr) -> Vec<IpAddr> {
        if self.snooped == 0 {
            return Vec::new();
        }
        let is_snooped = |ip: &IpAddr| {
            self.get(number, *ip)
                .is_some_and(|neigh| neigh.is_snooped())
        };
        let mut hosts = self.at(number, mac);
        hosts.retain(is_snooped);
        hosts
    }

    /// The hosts of a segment that were snooped.
    pub(crate) fn snooped_in(&self, number: SegmentId) -> Vec<IpAddr> {
        if self.snooped == 0 {
            return Vec::new();
        }
        let snooped = self.entries(number).filter(|(_, neigh)| neigh.is_snooped());
        snooped.map(|(ip, _)| ip).collect()
    }

    /// Says when an entry was snooped last and when it is to be looked at.
    pub(crate) fn set_due(&mut self, number: SegmentId, ip: IpAddr, seen: u64, due: u32) {
        if let Some(neigh) = self.segments.at(number).entries.get_mut(&ip) {
            (neigh.last_snooped, neigh.due) = (Ignored(seen), Ignored(due));
        }
    }

    /// Says that all snooped entries of a segment are to be looked at now; returns their addresses.
    pub(crate) fn set_all_due(&mut self, number: SegmentId) -> Vec<IpAddr> {
        let hosts = self.snooped_in(number);
        for ip in &hosts {
            if let Some(neigh) = self.segments.at(number).entries.get_mut(ip) {
                neigh.due = Ignored(0);
            }
        }
        hosts
    }
}
