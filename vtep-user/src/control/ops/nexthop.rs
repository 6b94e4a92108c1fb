//! The nexthop table: where hosts and prefixes are.
//!
//! What the user says stands before the addresses of ports. In the map an entry of the user's remembers the port that has
//! the address too, so that the next daemon knows.

use std::net::{IpAddr, Ipv4Addr};

use vtep_common::{
    addr::{MacAddr, VtepAddr},
    maps::{FdbValue, NexthopKey, NexthopValue, Segment},
};

use crate::control::{
    Effect, State, Write,
    ops::{entry::Kind, refuse},
};
use crate::model::{NeighState, NexthopDel, NexthopRow, NexthopSpec, Prefix, Refusal, Vni};

/// Where the slot of the port that has the address too, plus one, stands in the flags.
const CLAIM_SHIFT: u16 = 1;
const _: () = assert!(NexthopValue::FOLLOWS < 1 << CLAIM_SHIFT);
const _: () = assert!(vtep_common::maps::MAX_PORTS < 1 << (16 - CLAIM_SHIFT));

/// An entry of the user's. At least one of these is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Nexthop {
    /// Number of the peer to send to; without one the FDB says where the MAC is.
    pub(crate) via: Option<u32>,
    /// The inner destination MAC.
    pub(crate) mac: Option<MacAddr>,
}

impl Nexthop {
    /// The MAC that it follows.
    fn follows(self) -> Option<MacAddr> {
        self.mac.filter(|_| self.via.is_none())
    }
}

/// Key of a prefix in segment `number`, and how many bits of it hold.
pub(crate) fn key(number: u32, prefix: Prefix) -> (u32, NexthopKey) {
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

/// The prefix of a key, if it is one that [`key`] makes.
pub(crate) fn prefix(bits: u32, key: &NexthopKey) -> Option<Prefix> {
    let host = IpAddr::from(key.host);
    let family = if host.is_ipv4() {
        NexthopKey::V4_BITS
    } else {
        0
    };
    let len = bits.checked_sub(NexthopKey::SEGMENT_BITS + family)?;
    let prefix = format!("{host}/{len}").parse().ok()?;
    check_prefix(prefix).is_ok().then_some(prefix)
}

/// The slot of the port that has the address too, from the flags of an entry of the user's.
pub(crate) fn claim(value: &NexthopValue) -> Option<u32> {
    u32::from(value.flags >> CLAIM_SHIFT).checked_sub(1)
}

/// All of IPv4.
fn all_of_v4() -> Prefix {
    "0.0.0.0/0".parse().expect("a prefix")
}

/// Refuses prefixes without hosts.
fn check_prefix(prefix: Prefix) -> Result<(), Refusal> {
    if prefix.is_host() {
        return refuse::check_host(prefix.addr());
    }
    let IpAddr::V6(v6) = prefix.addr() else {
        return Ok(());
    };
    if v6.to_ipv4_mapped().is_some() && prefix.len() >= 96 {
        return Err(Refusal::invalid(format!(
            "{prefix} is an IPv4-mapped IPv6 prefix; write it as IPv4"
        )));
    }
    Ok(())
}

/// True if the addresses as which IPv4 hosts stand in the table belong to an IPv6 prefix, as they do to `::/0`. Then the table
/// has an entry for all of IPv4 that leads nowhere, unless it has another.
fn covers_v4(prefix: Prefix) -> bool {
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

impl State {
    pub(crate) fn nexthop_add(&mut self, spec: &NexthopSpec) -> Result<Effect, Refusal> {
        let number = self.segment_of(spec.vni)?;
        if self.segments[number].nexthops.contains_key(&spec.ip) {
            return Err(Refusal::conflict(format!(
                "{} exists already in the nexthop table of vni {}; use: vtep nexthop replace {0} --vni {1} --via VTEP",
                spec.ip, spec.vni
            )));
        }
        self.nexthop_replace(spec)
    }

    pub(crate) fn nexthop_replace(&mut self, spec: &NexthopSpec) -> Result<Effect, Refusal> {
        let NexthopSpec {
            ip: prefix,
            vni,
            via,
            lladdr,
        } = *spec;
        let number = self.segment_of(vni)?;
        check_prefix(prefix)?;
        if let Some(via) = via {
            self.check_dst(via, "--via")?;
        }
        if via.is_none() && lladdr.is_none() {
            return Err(Refusal::invalid(format!(
                "name the place of {prefix}: a VTEP with --via VTEP, or a MAC in the FDB with --lladdr MAC"
            )));
        }
        let mac = lladdr
            .map(|mac| refuse::station(mac, "--lladdr"))
            .transpose()?;
        let old = self.segments[number].nexthops.get(&prefix).copied();
        self.check_nexthop_room(old.map_or(room(prefix), |_| 0))?;
        let holds = |mac: Option<MacAddr>| usize::from(prefix.is_host() && mac.is_some());
        let held = holds(old.and_then(|old| old.mac));
        self.check_neigh_room(holds(mac).saturating_sub(held))?;

        let mut out = Effect::default();
        let via = via.map(|ip| self.acquire_peer(ip, &mut out));
        self.nexthop_put(number, prefix, Some(Nexthop { via, mac }), &mut out);
        Ok(out)
    }

    pub(crate) fn nexthop_del(&mut self, del: &NexthopDel) -> Result<Effect, Refusal> {
        let NexthopDel {
            ip: prefix,
            vni,
            via,
            lladdr,
        } = *del;
        let number = self.segment_of(vni)?;
        let segment = &self.segments[number];
        if !segment.nexthops.contains_key(&prefix) {
            let claim = segment.claims.get(&prefix.addr());
            return Err(match claim.filter(|_| prefix.is_host()) {
                Some(&slot) => self.is_a_ports(prefix.addr(), slot),
                None => Refusal::not_found(format!(
                    "vni {vni} has no nexthop entry for {prefix}; see what it has with: vtep nexthop show --vni {vni}"
                )),
            });
        }
        let known = segment.nexthops[&prefix];
        let other_via = |ip| known.via.is_none_or(|peer| self.peers[peer].ip != ip);
        let other_mac = |mac| known.mac != Some(mac);
        if via.is_some_and(other_via) || lladdr.is_some_and(other_mac) {
            return Err(Refusal::not_found(format!(
                "the entry for {prefix} in vni {vni} leads elsewhere; delete it wherever it leads with: vtep nexthop del {prefix} --vni {vni}"
            )));
        }
        let mut out = Effect::default();
        self.nexthop_put(number, prefix, None, &mut out);
        Ok(out)
    }

    /// Refuses if there is no room for `more` entries, those that others stand in for counted too.
    pub(crate) fn check_nexthop_room(&self, more: usize) -> Result<(), Refusal> {
        if more != 0 && self.nexthop_used as usize + more > self.limits.nexthops as usize {
            return Err(Refusal::full(format!(
                "the nexthop table is full ({} entries); delete one with: vtep nexthop del HOST --vni VNI",
                self.limits.nexthops
            )));
        }
        Ok(())
    }

    /// Writes an entry of the user's, whose peer the caller acquired, or takes it away.
    pub(crate) fn nexthop_put(
        &mut self,
        number: u32,
        prefix: Prefix,
        new: Option<Nexthop>,
        out: &mut Effect,
    ) {
        let segment = &mut self.segments[number];
        let old = match new {
            Some(new) => segment.nexthops.insert(prefix, new),
            None => segment.nexthops.remove(&prefix),
        };
        if let Some(mac) = old.and_then(Nexthop::follows) {
            let followers = segment.followers.entry(mac).or_default();
            followers.remove(&prefix);
            if followers.is_empty() {
                segment.followers.remove(&mac);
            }
        }
        if let Some(mac) = new.and_then(Nexthop::follows) {
            segment.followers.entry(mac).or_default().insert(prefix);
        }
        let room = u32::try_from(room(prefix)).expect("one or two");
        let count = |entry: Option<Nexthop>| entry.map_or(0, |_| room);
        self.nexthop_used = self.nexthop_used + count(new) - count(old);
        let holds = |entry: Option<Nexthop>| {
            u32::from(prefix.is_host() && entry.is_some_and(|entry| entry.mac.is_some()))
        };
        self.neigh_used = self.neigh_used + holds(new) - holds(old);
        if covers_v4(prefix) {
            self.settle_nexthop(number, all_of_v4(), out);
        }
        self.settle_nexthop(number, prefix, out);
        if prefix.is_host() {
            self.settle_neigh(number, prefix.addr(), out);
        }
        if let Some(peer) = old.and_then(|old| old.via) {
            self.release_peer(peer, out);
        }
    }

    /// Brings the map in line with what is known of a prefix.
    pub(crate) fn settle_nexthop(&mut self, number: u32, prefix: Prefix, out: &mut Effect) {
        let wanted = self.wanted_nexthop(number, prefix);
        let segment = &mut self.segments[number];
        let old = match wanted {
            Some(wanted) => segment.routes.insert(prefix, wanted),
            None => segment.routes.remove(&prefix),
        };
        if old != wanted {
            let (bits, key) = key(number, prefix);
            out.write(Write::Nexthop(bits, key, wanted));
        }
        self.settle_flag(number, out);
    }

    /// Says in the segment whether it has entries.
    pub(crate) fn settle_flag(&mut self, number: u32, out: &mut Effect) {
        let segment = &mut self.segments[number];
        let has = !segment.routes.is_empty();
        if segment.pod.has(Segment::NEXTHOPS) != has {
            segment.pod.flags ^= Segment::NEXTHOPS;
            out.write(Write::Segment(number, Box::new(segment.pod)));
        }
    }

    /// What the map is to say of a prefix.
    fn wanted_nexthop(&self, number: u32, prefix: Prefix) -> Option<NexthopValue> {
        let segment = &self.segments[number];
        let claim = segment.claims.get(&prefix.addr()).copied();
        let claim = claim.filter(|_| prefix.is_host());
        let Some(nexthop) = segment.nexthops.get(&prefix) else {
            let mut prefixes = segment.nexthops.keys();
            if prefix == all_of_v4() && prefixes.any(|&other| covers_v4(other)) {
                return Some(NexthopValue::default());
            }
            let slot = claim?;
            return Some(NexthopValue {
                mac: self.ports[slot].one_mac().map_or(0, MacAddr::get),
                target: slot,
                kind: FdbValue::PORT,
                origin: NexthopValue::PORT,
                flags: 0,
            });
        };
        let entry = nexthop.follows().and_then(|mac| segment.fdb.get(&mac));
        let (kind, target) = match (nexthop.via, entry.map(|entry| (entry.kind, entry.target()))) {
            (Some(peer), _) | (None, Some((Kind::Peer, peer))) => (FdbValue::PEER, peer),
            (None, Some((Kind::Port, slot))) => (FdbValue::PORT, slot),
            (None, Some((Kind::List, _)) | None) => (0, 0),
        };
        let claim = claim.map_or(0, |slot| {
            u16::try_from(slot + 1).expect("below the largest number of ports") << CLAIM_SHIFT
        });
        let follows = match nexthop.via {
            Some(_) => 0,
            None => NexthopValue::FOLLOWS,
        };
        Some(NexthopValue {
            mac: nexthop.mac.map_or(0, MacAddr::get),
            target,
            kind,
            origin: NexthopValue::STATIC,
            flags: follows | claim,
        })
    }

    /// Lets the entries that follow a MAC follow it to where the FDB has it now.
    pub(crate) fn follow(&mut self, number: u32, mac: MacAddr, out: &mut Effect) {
        let followers = &self.segments[number].followers;
        if followers.is_empty() {
            return;
        }
        for prefix in followers.get(&mac).cloned().unwrap_or_default() {
            self.settle_nexthop(number, prefix, out);
        }
    }

    /// The entries of one VNI, or all, by VNI and prefix.
    pub fn nexthop_rows(&self, vni: Option<Vni>) -> Result<Vec<NexthopRow>, Refusal> {
        let mut rows = Vec::new();
        for number in self.numbers(vni)? {
            let segment = &self.segments[number];
            for (&ip, value) in &segment.routes {
                if value.origin == 0 {
                    continue;
                }
                let nexthop = segment.nexthops.get(&ip);
                let via = nexthop.and_then(|nexthop| nexthop.via);
                let mac = value.mac();
                let slot = (value.kind == FdbValue::PORT).then_some(value.target);
                rows.push(NexthopRow {
                    vni: segment.vni(),
                    ip,
                    via: via.map(|peer| self.peers[peer].ip),
                    lladdr: (!mac.is_zero()).then_some(mac),
                    dev: slot
                        .and_then(|slot| self.port_name(slot))
                        .map(|(dev, _)| dev.to_owned()),
                    state: match nexthop {
                        Some(_) => NeighState::Static,
                        None => NeighState::Port,
                    },
                    usable: value.kind != 0,
                });
            }
        }
        Ok(rows)
    }
}
