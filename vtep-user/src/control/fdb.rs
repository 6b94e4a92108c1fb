//! FDB entries: where each MAC of a VNI is.

use std::net::IpAddr;

use vtep_common::{
    addr::MacAddr,
    maps::{FdbKey, FdbValue},
};

use super::{Effect, State, Write, flood::Group, refuse};
use crate::api::{
    command::Refusal,
    model::{EntryState, FdbDel, FdbFilter, FdbSpec, Mac, Vni},
};

/// What an entry points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A peer.
    Peer,
    /// A port.
    Port,
    /// The flood list of a multicast MAC.
    List,
}

/// An FDB entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Number of the peer, slot of the port, or number of the list.
    pub(super) target: u32,
    /// Which of these.
    pub(super) kind: Kind,
    /// Who made it. So far everything that is written is static.
    pub(super) origin: EntryState,
}

impl Entry {
    /// An entry of the user's.
    pub(super) const fn fixed(kind: Kind, target: u32) -> Self {
        Self {
            target,
            kind,
            origin: EntryState::Static,
        }
    }

    /// Number of the peer that it points to.
    pub(super) fn peer(self) -> Option<u32> {
        (self.kind == Kind::Peer).then_some(self.target)
    }

    /// Slot of the port that it points to.
    pub(super) fn port(self) -> Option<u32> {
        (self.kind == Kind::Port).then_some(self.target)
    }

    /// As it stands in the map.
    pub(super) fn pod(self) -> FdbValue {
        FdbValue {
            target: self.target,
            kind: match self.kind {
                Kind::Peer => FdbValue::PEER,
                Kind::Port => FdbValue::PORT,
                Kind::List => FdbValue::LIST,
            },
            origin: FdbValue::STATIC,
            ..FdbValue::default()
        }
    }

    /// From the map; `None` for what this version does not know.
    pub(super) fn from_pod(pod: &FdbValue) -> Option<Self> {
        let kind = match pod.kind {
            FdbValue::PEER => Kind::Peer,
            FdbValue::PORT => Kind::Port,
            FdbValue::LIST => Kind::List,
            _ => return None,
        };
        (pod.origin == FdbValue::STATIC).then(|| Self::fixed(kind, pod.target))
    }
}

/// Key of `mac` in segment `number`.
pub(super) fn key(number: u32, mac: MacAddr) -> FdbKey {
    FdbKey::new(number, mac)
}

/// Where a new entry is to point.
#[derive(Clone, Copy)]
enum Aim {
    Vtep(IpAddr),
    Port(u32),
}

/// What a MAC stands for in the FDB.
enum Class {
    Unicast,
    /// Multicast, with VTEPs of its own.
    Group,
    /// All zero: the flood list.
    Flood,
}

impl Class {
    fn of(mac: MacAddr) -> Self {
        if mac.is_zero() {
            Self::Flood
        } else if mac.is_group() {
            Self::Group
        } else {
            Self::Unicast
        }
    }
}

impl State {
    pub(super) fn fdb_add(&mut self, spec: &FdbSpec) -> Result<Effect, Refusal> {
        let (number, mac, aim) = self.checked(spec)?;
        match (Class::of(mac), aim) {
            (Class::Flood, Aim::Vtep(ip)) => self.list_append(number, mac, ip),
            (_, aim) if self.segments[number].fdb.contains_key(&mac) => Err(Refusal::conflict(
                self.exists_already(number, mac, aim, spec),
            )),
            (Class::Group, Aim::Vtep(ip)) => self.group_add(number, mac, ip),
            (_, aim) => self.unicast_set(number, mac, aim),
        }
    }

    pub(super) fn fdb_append(&mut self, spec: &FdbSpec) -> Result<Effect, Refusal> {
        let (number, mac, aim) = self.checked(spec)?;
        match (Class::of(mac), aim) {
            (Class::Group, Aim::Vtep(ip)) if !self.segments[number].groups.contains_key(&mac) => {
                self.group_add(number, mac, ip)
            }
            (Class::Flood | Class::Group, Aim::Vtep(ip)) => self.list_append(number, mac, ip),
            _ => Err(Refusal::invalid(format!(
                "append is for 00:00:00:00:00:00 and multicast MACs, which have several VTEPs; for {} use: vtep fdb add",
                spec.mac
            ))),
        }
    }

    pub(super) fn fdb_replace(&mut self, spec: &FdbSpec) -> Result<Effect, Refusal> {
        let (number, mac, aim) = self.checked(spec)?;
        match (Class::of(mac), aim) {
            (Class::Group, Aim::Vtep(ip)) if !self.segments[number].groups.contains_key(&mac) => {
                self.group_add(number, mac, ip)
            }
            (Class::Flood | Class::Group, Aim::Vtep(ip)) => {
                if self.remotes(number, mac).is_empty() {
                    self.check_list_room(number, mac)?;
                }
                let mut out = Effect::default();
                let peer = self.acquire_peer(ip, &mut out);
                self.list_set(number, mac, peer, &mut out);
                Ok(out)
            }
            (_, aim) => self.unicast_set(number, mac, aim),
        }
    }

    pub(super) fn fdb_del(&mut self, del: &FdbDel) -> Result<Effect, Refusal> {
        let number = self.segment_of(del.vni)?;
        let mac = MacAddr::from(del.mac);
        let mut out = Effect::default();
        if mac.is_zero() {
            let (Some(dst), None) = (del.dst, &del.dev) else {
                return Err(Refusal::invalid(format!(
                    "the flood list has one entry for each VTEP; name the one to delete: vtep fdb del {} --vni {} --dst VTEP",
                    del.mac, del.vni
                )));
            };
            let peer = self.on_list(number, mac, dst)?;
            self.list_remove(number, mac, |other| other == peer, &mut out);
            return Ok(out);
        }
        let entry = *self.segments[number]
            .fdb
            .get(&mac)
            .ok_or_else(|| refuse::no_entry(del.mac, del.vni))?;
        if entry.kind == Kind::List
            && let (Some(dst), None) = (del.dst, &del.dev)
        {
            let peer = self.on_list(number, mac, dst)?;
            self.group_remove(number, mac, |other| other == peer, &mut out);
            return Ok(out);
        }
        if !self.points_to(entry, del.dst, del.dev.as_deref()) {
            return Err(Refusal::not_found(format!(
                "{} in vni {} points to {} and not there; delete it wherever it points with: vtep fdb del {0} --vni {1}",
                del.mac,
                del.vni,
                self.whereabouts(entry)
            )));
        }
        self.remove_entry(number, mac, &mut out);
        Ok(out)
    }

    /// Deletes what matches: without `dst` and `dev` everything, static entries and those of `port add --mac` included;
    /// with `dst` that VTEP's places on the flood lists too.
    pub(super) fn fdb_flush(&mut self, filter: &FdbFilter) -> Result<Effect, Refusal> {
        let Some(vni) = filter.vni else {
            return Err(Refusal::invalid(
                "flush empties the FDB of one VNI; name it with: --vni VNI",
            ));
        };
        let number = self.segment_of(vni)?;
        if let Some(dev) = &filter.dev {
            self.ports_in(dev, number)?;
        }
        let mut out = Effect::default();
        if filter.learned {
            return Ok(out);
        }
        let (dst, dev) = (filter.dst, filter.dev.as_deref());
        let macs: Vec<_> = self.segments[number]
            .fdb
            .iter()
            .filter(|(_, entry)| entry.kind != Kind::List && self.points_to(**entry, dst, dev))
            .map(|(&mac, _)| mac)
            .collect();
        for mac in macs {
            self.remove_entry(number, mac, &mut out);
        }
        if dev.is_none() {
            let peer = dst.map(|ip| self.peer_index.get(&ip).copied());
            let goes = |other| peer.is_none_or(|peer| peer == Some(other));
            let macs: Vec<_> = self.segments[number].groups.keys().copied().collect();
            for mac in macs {
                self.group_remove(number, mac, goes, &mut out);
            }
            self.list_remove(number, MacAddr::ZERO, goes, &mut out);
        }
        Ok(out)
    }

    /// What all three ways of writing an entry ask first.
    fn checked(&self, spec: &FdbSpec) -> Result<(u32, MacAddr, Aim), Refusal> {
        let FdbSpec { mac, vni, dst, dev } = spec;
        let (mac, vni) = (MacAddr::from(*mac), *vni);
        let number = self.segment_of(vni)?;
        if mac == MacAddr::BROADCAST {
            return Err(Refusal::invalid(format!(
                "broadcast goes to the flood list; add to it with: vtep fdb append 00:00:00:00:00:00 --vni {vni} --dst VTEP"
            )));
        }
        let aim = match (dst, dev) {
            (Some(ip), None) => {
                self.check_dst(*ip)?;
                Aim::Vtep(*ip)
            }
            (None, Some(dev)) if matches!(Class::of(mac), Class::Unicast) => {
                Aim::Port(self.port_in(dev, number)?)
            }
            (None, Some(_)) => {
                return Err(Refusal::invalid(format!(
                    "{mac} goes to every port of vni {vni} anyway; name a VTEP with: --dst VTEP"
                )));
            }
            (Some(_), Some(_)) => {
                return Err(Refusal::invalid(
                    "an FDB entry points to one place; give --dst or --dev, not both",
                ));
            }
            (None, None) => {
                return Err(Refusal::invalid(
                    "say where the MAC is: behind a VTEP with --dst IP, or behind a port with --dev PORT",
                ));
            }
        };
        Ok((number, mac, aim))
    }

    /// Slots of the ports of `dev` in a segment.
    fn ports_in(&self, dev: &str, number: u32) -> Result<Vec<(u16, u32)>, Refusal> {
        let slots: Vec<_> = self
            .device(dev)?
            .1
            .slots
            .iter()
            .map(|(&vlan, &slot)| (vlan, slot))
            .filter(|&(_, slot)| self.ports[slot].pod.segment == number)
            .collect();
        if slots.is_empty() {
            return Err(refuse::not_in_vni(dev, self.segments[number].vni()));
        }
        Ok(slots)
    }

    /// The one port of `dev` in a segment that an entry can mean: that of its untagged frames, or its only one.
    fn port_in(&self, dev: &str, number: u32) -> Result<u32, Refusal> {
        match self.ports_in(dev, number)?.as_slice() {
            [(0, slot), ..] | [(_, slot)] => Ok(*slot),
            _ => Err(Refusal::invalid(format!(
                "{dev} is in vni {} with several VLANs; say which with: vtep port set {dev} --vlan ID --mac MAC",
                self.segments[number].vni()
            ))),
        }
    }

    /// True if an entry points to everything that is given.
    pub(super) fn points_to(&self, entry: Entry, dst: Option<IpAddr>, dev: Option<&str>) -> bool {
        let to_dst = |ip| entry.peer().is_some_and(|peer| self.peers[peer].ip == ip);
        let to_dev = |dev| {
            entry
                .port()
                .is_some_and(|slot| self.devices[&self.ports[slot].pod.ifindex].name == dev)
        };
        dst.is_none_or(to_dst) && dev.is_none_or(to_dev)
    }

    /// Where an entry points, for a sentence.
    fn whereabouts(&self, entry: Entry) -> String {
        match entry.kind {
            Kind::Peer => self.peers[entry.target].ip.to_string(),
            Kind::Port => self.devices[&self.ports[entry.target].pod.ifindex]
                .name
                .clone(),
            Kind::List => "a list of VTEPs".to_owned(),
        }
    }

    fn exists_already(&self, number: u32, mac: MacAddr, aim: Aim, spec: &FdbSpec) -> String {
        let vni = spec.vni;
        let entry = self.segments[number].fdb[&mac];
        let (verb, aim) = match (entry.kind, aim) {
            (Kind::List, Aim::Vtep(ip)) => ("append", format!("--dst {ip}")),
            (_, Aim::Vtep(ip)) => ("replace", format!("--dst {ip}")),
            (_, Aim::Port(_)) => (
                "replace",
                format!("--dev {}", spec.dev.as_deref().unwrap_or("PORT")),
            ),
        };
        format!(
            "{mac} exists already in vni {vni} and points to {}; use: vtep fdb {verb} {mac} --vni {vni} {aim}",
            self.whereabouts(entry)
        )
    }

    /// Refuses if there is no room for `more` entries.
    pub(super) fn check_fdb_room(&self, more: usize) -> Result<(), Refusal> {
        if more != 0 && self.fdb_len as usize + more > self.limits.fdb as usize {
            return Err(refuse::fdb_full(self.limits.fdb));
        }
        Ok(())
    }

    /// Refuses if a VNI may not hold `more` entries.
    pub(super) fn check_vni_room(&self, number: u32, more: usize) -> Result<(), Refusal> {
        let segment = &self.segments[number];
        let limit = segment.pod.max_macs;
        if more != 0 && limit != 0 && segment.fdb.len() + more > limit as usize {
            return Err(refuse::vni_full(segment.vni(), limit));
        }
        Ok(())
    }

    /// Writes the entry of a unicast MAC.
    fn unicast_set(&mut self, number: u32, mac: MacAddr, aim: Aim) -> Result<Effect, Refusal> {
        let known = self.segments[number].fdb.contains_key(&mac);
        self.check_fdb_room(usize::from(!known))?;
        self.check_vni_room(number, usize::from(!known))?;
        let mut out = Effect::default();
        let entry = match aim {
            Aim::Port(slot) => {
                self.check_port_room(slot, mac)?;
                Entry::fixed(Kind::Port, slot)
            }
            Aim::Vtep(ip) => Entry::fixed(Kind::Peer, self.acquire_peer(ip, &mut out)),
        };
        self.set_entry(number, mac, entry, &mut out);
        Ok(out)
    }

    fn check_port_room(&self, slot: u32, mac: MacAddr) -> Result<(), Refusal> {
        let port = &self.ports[slot];
        let limit = port.max_macs();
        if limit != 0 && !port.macs.contains(&mac) && port.macs.len() >= limit as usize {
            let (dev, vlan) = self.port_name(slot).expect("in use");
            return Err(refuse::port_full(dev, vlan, limit));
        }
        Ok(())
    }

    /// Writes an entry, whose peer the caller acquired, in place of the one that the MAC has.
    pub(super) fn set_entry(&mut self, number: u32, mac: MacAddr, entry: Entry, out: &mut Effect) {
        let old = self.segments[number].fdb.insert(mac, entry);
        if old != Some(entry) {
            out.write(Write::Fdb(key(number, mac), Some(entry.pod())));
        }
        match old {
            Some(old) => self.release_entry(mac, old, out),
            None => self.fdb_len += 1,
        }
        if let Some(slot) = entry.port() {
            self.ports[slot].macs.insert(mac);
        }
    }

    /// Deletes the entry of a MAC.
    pub(super) fn remove_entry(&mut self, number: u32, mac: MacAddr, out: &mut Effect) {
        if let Some(old) = self.segments[number].fdb.remove(&mac) {
            out.write(Write::Fdb(key(number, mac), None));
            self.fdb_len -= 1;
            self.release_entry(mac, old, out);
            if let Some(group) = self.segments[number].groups.remove(&mac) {
                out.write(Write::Flood(group.list(), None));
                self.groups.remove(group.number);
                for peer in group.remotes {
                    self.release_peer(peer, out);
                }
            }
        }
    }

    fn release_entry(&mut self, mac: MacAddr, old: Entry, out: &mut Effect) {
        match old.kind {
            Kind::Peer => self.release_peer(old.target, out),
            Kind::Port => {
                self.ports[old.target].macs.remove(&mac);
            }
            Kind::List => {}
        }
    }

    /// Puts a VTEP on a list that exists.
    fn list_append(&mut self, number: u32, mac: MacAddr, ip: IpAddr) -> Result<Effect, Refusal> {
        let vni = self.segments[number].vni();
        if self.on_list(number, mac, ip).is_ok() {
            return Err(Refusal::conflict(format!(
                "{ip} exists already on the list of {mac} in vni {vni}; see the list with: vtep fdb get {mac} --vni {vni}"
            )));
        }
        self.check_list_room(number, mac)?;
        let mut out = Effect::default();
        let peer = self.acquire_peer(ip, &mut out);
        self.list_push(number, mac, peer, &mut out);
        Ok(out)
    }

    /// Makes a list for a multicast MAC that has none.
    fn group_add(&mut self, number: u32, mac: MacAddr, ip: IpAddr) -> Result<Effect, Refusal> {
        self.check_fdb_room(1)?;
        self.check_vni_room(number, 1)?;
        self.check_list_room(number, mac)?;
        if self.groups.len() >= self.limits.groups {
            return Err(Refusal::full(format!(
                "there is room for {} multicast MACs with VTEPs of their own and no more; leave {mac} to the flood list",
                self.limits.groups
            )));
        }
        let mut out = Effect::default();
        let peer = self.acquire_peer(ip, &mut out);
        let group = Group {
            number: self.groups.insert(()),
            remotes: Vec::new(),
        };
        let entry = Entry::fixed(Kind::List, group.list());
        self.segments[number].groups.insert(mac, group);
        self.list_push(number, mac, peer, &mut out);
        self.set_entry(number, mac, entry, &mut out);
        Ok(out)
    }

    /// Takes VTEPs off the list of a multicast MAC, and with the last of them the list.
    fn group_remove(
        &mut self,
        number: u32,
        mac: MacAddr,
        goes: impl Fn(u32) -> bool,
        out: &mut Effect,
    ) {
        if self.remotes(number, mac).iter().all(|&peer| goes(peer)) {
            self.remove_entry(number, mac, out);
        } else {
            self.list_remove(number, mac, goes, out);
        }
    }

    /// Number of the peer `ip`, if it is on the list of `mac`.
    fn on_list(&self, number: u32, mac: MacAddr, ip: IpAddr) -> Result<u32, Refusal> {
        let vni: Vni = self.segments[number].vni();
        self.peer_index
            .get(&ip)
            .copied()
            .filter(|peer| self.remotes(number, mac).contains(peer))
            .ok_or_else(|| refuse::not_on_list(Mac::from(mac), vni, ip))
    }
}
