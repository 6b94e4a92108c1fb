//! The nexthop table: what the user said, what stands in the map for it, which MACs it tracks, and how much room it takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use vtep_common::abi::{
    addr::{MacAddr, VtepAddr},
    id::{PeerId, PortSlot, SegmentId},
    nexthop::{NexthopKey, NexthopValue},
};

use super::numbered::Numbered;
use crate::model::{Prefix, Source};

/// Where the slot of the port that has the address too, plus one, stands in the flags.
pub(crate) const PORT_SHIFT: u16 = 1;
const _: () = assert!(NexthopValue::TRACKS < 1 << PORT_SHIFT);
/// The bits of it, before they are shifted.
const PORT_MASK: u16 = (NexthopValue::CONFIGURED - 1) >> PORT_SHIFT;
const _: () = assert!(vtep_common::abi::map::MAX_PORTS < PORT_MASK as u32);

/// An entry of the user's. At least one of these is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Nexthop {
    /// Number of the peer to send to; without one the FDB says where the MAC is.
    pub(crate) via: Option<PeerId>,
    /// The inner destination MAC.
    pub(crate) mac: Option<MacAddr>,
    /// Who set it.
    pub(crate) source: Source,
}

impl Nexthop {
    /// The MAC that it tracks.
    pub(crate) fn tracks(self) -> Option<MacAddr> {
        self.mac.filter(|_| self.via.is_none())
    }
}

/// Key of a prefix in segment `number`, and how many bits of it hold.
pub(crate) fn key(number: SegmentId, prefix: Prefix) -> (u32, NexthopKey) {
    let host = prefix.addr();
    let family = if host.is_ipv4() {
        NexthopKey::V4_BITS
    } else {
        0
    };
    let bits = NexthopKey::SEGMENT_BITS + family + u32::from(prefix.len());
    let key = NexthopKey {
        segment: number,
        host: VtepAddr::from(host),
    };
    (bits, key)
}

/// The slot of the port that has the address too, from the flags of an entry of the user's.
pub(crate) fn port_of(value: &NexthopValue) -> Option<PortSlot> {
    let slot = u32::from((value.flags >> PORT_SHIFT) & PORT_MASK).checked_sub(1);
    slot.map(PortSlot::new)
}

/// All of IPv4.
pub(crate) fn all_of_v4() -> Prefix {
    "0.0.0.0/0".parse().expect("a prefix")
}

/// True if the addresses as which IPv4 hosts stand in the table belong to an IPv6 prefix, as they do to `::/0`. Then the table
/// has an entry for all of IPv4 that leads nowhere, unless it has another.
pub(crate) fn covers_v4(prefix: Prefix) -> bool {
    let IpAddr::V6(v6) = prefix.addr() else {
        return false;
    };
    let mapped = u128::from(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped());
    (u128::from(v6) ^ mapped).leading_zeros() >= u32::from(prefix.len())
}

/// Entries that a prefix may need in the map.
pub(crate) fn room(prefix: Prefix) -> usize {
    1 + usize::from(covers_v4(prefix))
}

/// The nexthop table of a segment.
#[derive(Clone, Debug, Default, PartialEq)]
struct SegmentNexthops {
    /// The user's entries.
    entries: BTreeMap<Prefix, Nexthop>,
    /// The table as it stands in the map.
    routes: BTreeMap<Prefix, NexthopValue>,
    /// The prefixes whose entries track a MAC.
    tracking: BTreeMap<MacAddr, BTreeSet<Prefix>>,
}

/// The nexthop tables of all VNIs, by the numbers of their segments.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Nexthops {
    segments: Numbered<SegmentId, SegmentNexthops>,
    /// Entries that the user's may need in the map.
    room: u32,
    /// Hosts whose MACs the user's entries say.
    hosts: u32,
}

impl Nexthops {
    /// Entries that the user's may need in the map.
    pub(crate) const fn room(&self) -> u32 {
        self.room
    }

    /// Hosts whose MACs the user's entries say.
    pub(crate) const fn hosts(&self) -> u32 {
        self.hosts
    }

    /// The user's entry of a prefix.
    pub(crate) fn get(&self, number: SegmentId, prefix: Prefix) -> Option<Nexthop> {
        self.segments.get(number)?.entries.get(&prefix).copied()
    }

    /// The VTEPs that the user's entries name, each as often as they do.
    pub(crate) fn vias(&self, number: SegmentId) -> impl Iterator<Item = PeerId> {
        let tables = self.segments.get(number).into_iter();
        tables.flat_map(|table| table.entries.values().filter_map(|entry| entry.via))
    }

    /// Puts an entry of the user's, or takes it away, and returns the one so far.
    pub(crate) fn put(
        &mut self,
        number: SegmentId,
        prefix: Prefix,
        new: Option<Nexthop>,
    ) -> Option<Nexthop> {
        let table = self.segments.at(number);
        let old = match new {
            Some(new) => table.entries.insert(prefix, new),
            None => table.entries.remove(&prefix),
        };
        if let Some(mac) = old.and_then(Nexthop::tracks) {
            let tracking = table.tracking.entry(mac).or_default();
            tracking.remove(&prefix);
            if tracking.is_empty() {
                table.tracking.remove(&mac);
            }
        }
        if let Some(mac) = new.and_then(Nexthop::tracks) {
            table.tracking.entry(mac).or_default().insert(prefix);
        }
        if let Some(new) = new {
            let (room, hosts) = takes(prefix, new);
            self.room += room;
            self.hosts += hosts;
        }
        if let Some(old) = old {
            self.uncount(prefix, old);
        }
        old
    }

    fn uncount(&mut self, prefix: Prefix, old: Nexthop) {
        let (room, hosts) = takes(prefix, old);
        self.room -= room;
        self.hosts -= hosts;
    }

    /// What stands in the map, by prefix.
    pub(crate) fn routes(&self, number: SegmentId) -> impl Iterator<Item = (Prefix, NexthopValue)> {
        let table = self.segments.get(number).into_iter();
        let routes = table.flat_map(|table| &table.routes);
        routes.map(|(&prefix, &value)| (prefix, value))
    }

    /// True if anything stands in the map.
    pub(crate) fn has_routes(&self, number: SegmentId) -> bool {
        let table = self.segments.get(number);
        table.is_some_and(|table| !table.routes.is_empty())
    }

    /// Says what stands in the map for a prefix; true if that is something else than before.
    pub(crate) fn set_route(
        &mut self,
        number: SegmentId,
        prefix: Prefix,
        route: Option<NexthopValue>,
    ) -> bool {
        let routes = &mut self.segments.at(number).routes;
        let old = match route {
            Some(route) => routes.insert(prefix, route),
            None => routes.remove(&prefix),
        };
        old != route
    }

    /// The prefixes whose entries track a MAC.
    pub(crate) fn tracking(&self, number: SegmentId, mac: MacAddr) -> Vec<Prefix> {
        let table = self.segments.get(number);
        let tracking = table.and_then(|table| table.tracking.get(&mac));
        tracking.into_iter().flatten().copied().collect()
    }

    /// True if an entry of the user's covers all of IPv4 (see [`covers_v4`]).
    pub(crate) fn cover_v4(&self, number: SegmentId) -> bool {
        let table = self.segments.get(number);
        table.is_some_and(|table| table.entries.keys().any(|&prefix| covers_v4(prefix)))
    }

    /// Takes the table of a segment away. Returns the prefixes that stand in the map, and the peers that entries send to.
    pub(crate) fn remove_segment(&mut self, number: SegmentId) -> (Vec<Prefix>, Vec<PeerId>) {
        let table = self.segments.take(number);
        for (&prefix, &nexthop) in &table.entries {
            self.uncount(prefix, nexthop);
        }
        let peers = table.entries.values().filter_map(|nexthop| nexthop.via);
        (table.routes.keys().copied().collect(), peers.collect())
    }
}

/// What an entry takes: room in the map, and hosts.
fn takes(prefix: Prefix, nexthop: Nexthop) -> (u32, u32) {
    let room = u32::try_from(room(prefix)).expect("one or two");
    (room, u32::from(prefix.is_host() && nexthop.mac.is_some()))
}
