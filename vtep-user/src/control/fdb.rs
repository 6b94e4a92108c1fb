//! FDB entries: where each MAC of a VNI is.

use std::net::IpAddr;

use vtep_common::{
    addr::MacAddr,
    maps::{FdbKey, FdbValue, MAX_FLOOD_LISTS},
};

use super::{Effect, State, Write, flood::Group, queue::NEVER, refuse, run::Untold};
use crate::api::{
    command::Refusal,
    model::{EntryState, EventKind, FdbDel, FdbFilter, FdbSpec, Happening, Mac, Vni},
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

/// Who made an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The user.
    Static,
    /// A frame.
    Learned,
    /// A frame, and it moved too often.
    Frozen,
}

/// An FDB entry. There can be millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// When a learned entry is to be looked at, in seconds.
    pub(super) due: Untold<u32>,
    /// Number of the peer, slot of the port, or number of the list.
    target: u16,
    /// Which of these.
    pub(super) kind: Kind,
    /// Who made it.
    pub(super) origin: Origin,
}

const _: () = assert!(size_of::<Entry>() == 8 && MAX_FLOOD_LISTS <= 1 << 16);

impl Entry {
    /// An entry of this kind; `None` if there is no target of that number.
    fn new(kind: Kind, target: u32, origin: Origin) -> Option<Self> {
        Some(Self {
            due: Untold(NEVER),
            target: u16::try_from(target).ok()?,
            kind,
            origin,
        })
    }

    /// An entry of the user's.
    pub(super) fn fixed(kind: Kind, target: u32) -> Self {
        Self::new(kind, target, Origin::Static).expect("a number that the state gave out")
    }

    /// An entry made by a frame.
    pub(super) fn learned(kind: Kind, target: u32) -> Self {
        Self::new(kind, target, Origin::Learned).expect("a number that the state gave out")
    }

    /// True unless the user made it.
    pub(super) fn is_learned(self) -> bool {
        self.origin != Origin::Static
    }

    /// The state in rows.
    pub(super) fn state(self) -> EntryState {
        match self.origin {
            Origin::Static => EntryState::Static,
            Origin::Learned | Origin::Frozen => EntryState::Learned,
        }
    }

    /// Number of the peer, slot of the port, or number of the list.
    pub(super) fn target(self) -> u32 {
        self.target.into()
    }

    /// Number of the peer that it points to.
    pub(super) fn peer(self) -> Option<u32> {
        (self.kind == Kind::Peer).then_some(self.target())
    }

    /// Slot of the port that it points to.
    pub(super) fn port(self) -> Option<u32> {
        (self.kind == Kind::Port).then_some(self.target())
    }

    /// As it stands in the map. `seen` is when a frame from the MAC was last seen, of a learned entry.
    pub(super) fn pod(self, seen: u64) -> FdbValue {
        let learned = self.is_learned();
        FdbValue {
            target: self.target(),
            kind: match self.kind {
                Kind::Peer => FdbValue::PEER,
                Kind::Port => FdbValue::PORT,
                Kind::List => FdbValue::LIST,
            },
            origin: if learned {
                FdbValue::LEARNED
            } else {
                FdbValue::STATIC
            },
            flags: if self.origin == Origin::Frozen {
                FdbValue::FROZEN
            } else {
                0
            },
            last_seen: if learned { seen } else { 0 },
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
        let origin = match pod.origin {
            FdbValue::STATIC => Origin::Static,
            FdbValue::LEARNED if kind == Kind::List => return None,
            FdbValue::LEARNED if pod.flags & FdbValue::FROZEN != 0 => Origin::Frozen,
            FdbValue::LEARNED => Origin::Learned,
            _ => return None,
        };
        Self::new(kind, pod.target, origin)
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
            (_, aim) if self.is_static(number, mac) => Err(Refusal::conflict(
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
    /// with `dst` that VTEP's places on the flood lists too; with `learned` nothing that the user made.
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
        let before = self.fdb_len;
        let (dst, dev) = (filter.dst, filter.dev.as_deref());
        let macs: Vec<_> = self.segments[number]
            .fdb
            .iter()
            .filter(|(_, entry)| entry.is_learned() || !filter.learned)
            .filter(|(_, entry)| entry.kind != Kind::List && self.points_to(**entry, dst, dev))
            .map(|(&mac, _)| mac)
            .collect();
        for mac in macs {
            self.remove_entry(number, mac, &mut out);
        }
        let mut gone = u64::from(before - self.fdb_len);
        if dev.is_none() && !filter.learned {
            let peer = dst.map(|ip| self.peer_index.get(&ip).copied());
            let goes = |other| peer.is_none_or(|peer| peer == Some(other));
            let macs: Vec<_> = self.segments[number].groups.keys().copied().collect();
            for mac in macs.into_iter().chain([MacAddr::ZERO]) {
                let on_list = self.remotes(number, mac).iter();
                gone += on_list.filter(|&&peer| goes(peer)).map(|_| 1).sum::<u64>();
                if mac.is_zero() {
                    self.list_remove(number, mac, goes, &mut out);
                } else {
                    self.group_remove(number, mac, goes, &mut out);
                }
            }
        }
        if gone != 0 {
            self.tell(&mut out, |_| Happening {
                vni: Some(vni),
                dst,
                dev: filter.dev.clone(),
                count: Some(gone),
                ..Happening::new(EventKind::Flushed)
            });
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
                self.check_dst(*ip, "--dst")?;
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
            Kind::Peer => self.peers[entry.target()].ip.to_string(),
            Kind::Port => self.devices[&self.ports[entry.target()].pod.ifindex]
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
        self.set_entry(number, mac, entry, 0, &mut out);
        Ok(out)
    }

    fn check_port_room(&self, slot: u32, mac: MacAddr) -> Result<(), Refusal> {
        if self.has_port_room(slot, mac) {
            return Ok(());
        }
        let (dev, vlan) = self.port_name(slot).expect("in use");
        Err(refuse::port_full(dev, vlan, self.ports[slot].max_macs()))
    }

    /// True if a port may have `mac` behind it, or has it already.
    pub(super) fn has_port_room(&self, slot: u32, mac: MacAddr) -> bool {
        let port = &self.ports[slot];
        let limit = port.max_macs();
        let is_here = || {
            let entry = self.segments[port.pod.segment].fdb.get(&mac);
            entry.and_then(|entry| entry.port()) == Some(slot)
        };
        limit == 0 || port.entries() < limit as usize || is_here()
    }

    /// True if the user made the entry of a MAC.
    pub(super) fn is_static(&self, number: u32, mac: MacAddr) -> bool {
        let entry = self.segments[number].fdb.get(&mac);
        entry.is_some_and(|entry| !entry.is_learned())
    }

    /// Writes an entry, whose peer the caller acquired, in place of the one that the MAC has. `seen` is when a frame from the
    /// MAC was last seen, of a learned entry.
    pub(super) fn set_entry(
        &mut self,
        number: u32,
        mac: MacAddr,
        entry: Entry,
        seen: u64,
        out: &mut Effect,
    ) {
        let old = self.segments[number].fdb.insert(mac, entry);
        if old != Some(entry) {
            out.write(Write::Fdb(key(number, mac), Some(entry.pod(seen))));
        }
        match old {
            Some(old) => self.leave_port(mac, old),
            None => self.fdb_len += 1,
        }
        if let Some(slot) = entry.port() {
            let port = &mut self.ports[slot];
            if entry.is_learned() {
                port.learned += 1;
            } else {
                port.macs.insert(mac);
            }
        }
        if !entry.is_learned() {
            self.run.moves.forget(key(number, mac));
        }
        self.move_snooped(number, mac, entry.port(), out);
        self.follow(number, mac, out);
        let slots = [Some(entry), old].map(|entry| entry.filter(|entry| !entry.is_learned()));
        for slot in slots.into_iter().flatten().filter_map(Entry::port) {
            self.settle_port(slot, out);
        }
        if let Some(peer) = old.and_then(Entry::peer) {
            self.release_peer(peer, out);
        }
    }

    /// Deletes the entry of a MAC.
    pub(super) fn remove_entry(&mut self, number: u32, mac: MacAddr, out: &mut Effect) {
        if let Some(old) = self.segments[number].fdb.remove(&mac) {
            out.write(Write::Fdb(key(number, mac), None));
            self.fdb_len -= 1;
            self.leave_port(mac, old);
            self.run.moves.forget(key(number, mac));
            self.forget_snooped_at(number, mac, out);
            self.follow(number, mac, out);
            if let Some(slot) = old.port().filter(|_| !old.is_learned()) {
                self.settle_port(slot, out);
            }
            if let Some(peer) = old.peer() {
                self.release_peer(peer, out);
            }
            if let Some(group) = self.segments[number].groups.remove(&mac) {
                out.write(Write::Flood(group.list(), None));
                self.groups.remove(group.number);
                for peer in group.remotes {
                    self.release_peer(peer, out);
                }
            }
        }
    }

    /// Takes an entry off the port that it pointed to.
    fn leave_port(&mut self, mac: MacAddr, old: Entry) {
        if let Some(slot) = old.port() {
            let port = &mut self.ports[slot];
            if old.is_learned() {
                port.learned -= 1;
            } else {
                port.macs.remove(&mac);
            }
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
        self.set_entry(number, mac, entry, 0, &mut out);
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
