//! An FDB entry, and how one is written.

use vtep_common::{
    addr::MacAddr,
    maps::{FdbKey, FdbValue, MAX_FLOOD_LISTS},
};

use crate::control::{
    Effect, State, Write,
    ops::{fdb::Aim, refuse},
    record::{queue::NEVER, run::Untold},
};
use crate::model::{EntryState, Refusal};

/// What an entry points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A peer.
    Peer,
    /// A port.
    Port,
    /// The flood list of a multicast MAC.
    List,
}

/// Who made an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The user.
    Static,
    /// A frame.
    Learned,
    /// A frame, and it moved too often.
    Frozen,
}

/// An FDB entry. There can be millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When a learned entry is to be looked at, in seconds.
    pub(crate) due: Untold<u32>,
    /// Number of the peer, slot of the port, or number of the list.
    target: u16,
    /// Which of these.
    pub(crate) kind: Kind,
    /// Who made it.
    pub(crate) origin: Origin,
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
    pub(crate) fn fixed(kind: Kind, target: u32) -> Self {
        Self::new(kind, target, Origin::Static).expect("a number that the state gave out")
    }

    /// An entry made by a frame.
    pub(crate) fn learned(kind: Kind, target: u32) -> Self {
        Self::new(kind, target, Origin::Learned).expect("a number that the state gave out")
    }

    /// True unless the user made it.
    pub(crate) fn is_learned(self) -> bool {
        self.origin != Origin::Static
    }

    /// The state in rows.
    pub(crate) fn state(self) -> EntryState {
        match self.origin {
            Origin::Static => EntryState::Static,
            Origin::Learned | Origin::Frozen => EntryState::Learned,
        }
    }

    /// Number of the peer, slot of the port, or number of the list.
    pub(crate) fn target(self) -> u32 {
        self.target.into()
    }

    /// Number of the peer that it points to.
    pub(crate) fn peer(self) -> Option<u32> {
        (self.kind == Kind::Peer).then_some(self.target())
    }

    /// Slot of the port that it points to.
    pub(crate) fn port(self) -> Option<u32> {
        (self.kind == Kind::Port).then_some(self.target())
    }

    /// As it stands in the map. `seen` is when a frame from the MAC was last seen, of a learned entry.
    pub(crate) fn pod(self, seen: u64) -> FdbValue {
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
    pub(crate) fn from_pod(pod: &FdbValue) -> Option<Self> {
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
pub(crate) fn key(number: u32, mac: MacAddr) -> FdbKey {
    FdbKey::new(number, mac)
}

impl State {
    /// Refuses if there is no room for `more` entries.
    pub(crate) fn check_fdb_room(&self, more: usize) -> Result<(), Refusal> {
        if more != 0 && self.fdb_len as usize + more > self.limits.fdb as usize {
            return Err(refuse::fdb_full(self.limits.fdb));
        }
        Ok(())
    }

    /// Refuses if a VNI may not hold `more` entries.
    pub(crate) fn check_vni_room(&self, number: u32, more: usize) -> Result<(), Refusal> {
        let segment = &self.segments[number];
        let limit = segment.pod.max_macs;
        if more != 0 && limit != 0 && segment.fdb.len() + more > limit as usize {
            return Err(refuse::vni_full(segment.vni(), limit));
        }
        Ok(())
    }

    /// Writes the entry of a unicast MAC.
    pub(crate) fn unicast_set(
        &mut self,
        number: u32,
        mac: MacAddr,
        aim: Aim,
    ) -> Result<Effect, Refusal> {
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
    pub(crate) fn has_port_room(&self, slot: u32, mac: MacAddr) -> bool {
        let port = &self.ports[slot];
        let limit = port.max_macs();
        let is_here = || {
            let entry = self.segments[port.pod.segment].fdb.get(&mac);
            entry.and_then(|entry| entry.port()) == Some(slot)
        };
        limit == 0 || port.entries() < limit as usize || is_here()
    }

    /// True if the user made the entry of a MAC.
    pub(crate) fn is_static(&self, number: u32, mac: MacAddr) -> bool {
        let entry = self.segments[number].fdb.get(&mac);
        entry.is_some_and(|entry| !entry.is_learned())
    }

    /// Writes an entry, whose peer the caller acquired, in place of the one that the MAC has. `seen` is when a frame from the
    /// MAC was last seen, of a learned entry.
    pub(crate) fn set_entry(
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
    pub(crate) fn remove_entry(&mut self, number: u32, mac: MacAddr, out: &mut Effect) {
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
}
