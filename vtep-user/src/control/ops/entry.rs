//! Writing an FDB entry, and what follows from it.

use vtep_common::abi::{
    addr::MacAddr,
    fdb::FdbTarget,
    id::{PortSlot, SegmentId},
};

use super::refuse;
use crate::{
    control::{
        effect::{Effect, Write},
        record::{
            entry::{Entry, key},
            location::Location,
        },
        state::State,
    },
    model::Refusal,
};

impl State {
    /// Refuses if there is no room for `more` entries.
    pub(crate) fn check_fdb_room(&self, more: usize) -> Result<(), Refusal> {
        if more != 0 && self.fdb.len() as usize + more > self.limits.fdb as usize {
            return Err(refuse::fdb_full(self.limits.fdb));
        }
        Ok(())
    }

    /// Refuses if a VNI may not hold `more` entries.
    pub(crate) fn check_vni_room(&self, number: SegmentId, more: usize) -> Result<(), Refusal> {
        let limit = self.segments[number].max_macs;
        if more != 0 && limit != 0 && self.fdb.len_in(number) + more > limit as usize {
            return Err(refuse::vni_full(self.segments.vni(number), limit));
        }
        Ok(())
    }

    /// Writes the entry of a unicast MAC.
    pub(crate) fn unicast_set(
        &mut self,
        number: SegmentId,
        mac: MacAddr,
        location: Location,
    ) -> Result<Effect, Refusal> {
        let known = self.fdb.get(number, mac).is_some();
        self.check_fdb_room(usize::from(!known))?;
        self.check_vni_room(number, usize::from(!known))?;
        let mut out = Effect::default();
        let entry = match location {
            Location::Port(slot) => {
                self.check_port_room(slot, mac)?;
                Entry::static_to(FdbTarget::Port(slot))
            }
            Location::Vtep(ip) => {
                Entry::static_to(FdbTarget::Peer(self.acquire_peer(ip, &mut out)))
            }
        };
        self.set_entry(number, mac, entry, 0, &mut out);
        Ok(out)
    }

    fn check_port_room(&self, slot: PortSlot, mac: MacAddr) -> Result<(), Refusal> {
        if self.has_port_room(slot, mac) {
            return Ok(());
        }
        let (dev, vlan) = self.port_name(slot).expect("in use");
        Err(refuse::port_full(dev, vlan, self.ports[slot].max_macs))
    }

    /// True if a port may have `mac` behind it, or has it already.
    pub(crate) fn has_port_room(&self, slot: PortSlot, mac: MacAddr) -> bool {
        let port = &self.ports[slot];
        let limit = port.max_macs;
        let is_here = || {
            let entry = self.fdb.get(port.segment, mac);
            entry.and_then(Entry::port) == Some(slot)
        };
        limit == 0 || self.fdb.count_behind(slot) < limit as usize || is_here()
    }

    /// True if the user made the entry of a MAC.
    pub(crate) fn is_static(&self, number: SegmentId, mac: MacAddr) -> bool {
        let entry = self.fdb.get(number, mac);
        entry.is_some_and(Entry::is_static)
    }

    /// Writes an entry, whose peer the caller acquired, in place of the one that the MAC has. `seen` is when a frame from the
    /// MAC was last seen, of an entry that ages.
    pub(crate) fn set_entry(
        &mut self,
        number: SegmentId,
        mac: MacAddr,
        entry: Entry,
        seen: u64,
        out: &mut Effect,
    ) {
        let old = self.fdb.insert(number, mac, entry);
        if old != Some(entry) {
            out.write(Write::Fdb(key(number, mac), Some(entry.pod(seen))));
        }
        if !entry.ages() {
            self.run.moves.forget(key(number, mac));
        }
        self.move_snooped(number, mac, entry.port(), out);
        self.track(number, mac, out);
        let slots = [Some(entry), old].map(|entry| entry.filter(|entry| entry.is_static()));
        for slot in slots.into_iter().flatten().filter_map(Entry::port) {
            self.sync_port(slot, out);
        }
        if let Some(peer) = old.and_then(Entry::peer) {
            self.release_peer(peer, out);
        }
    }

    /// Deletes the entry of a MAC.
    pub(crate) fn remove_entry(&mut self, number: SegmentId, mac: MacAddr, out: &mut Effect) {
        let Some(old) = self.fdb.remove(number, mac) else {
            return;
        };
        out.write(Write::Fdb(key(number, mac), None));
        self.run.moves.forget(key(number, mac));
        self.forget_snooped_at(number, mac, out);
        self.track(number, mac, out);
        if let Some(slot) = old.port().filter(|_| old.is_static()) {
            self.sync_port(slot, out);
        }
        if let Some(peer) = old.peer() {
            self.release_peer(peer, out);
        }
        if let Some((list, remotes)) = self.flood.remove(number, mac) {
            out.write(Write::Flood(list, None));
            for peer in remotes {
                self.release_peer(peer, out);
            }
        }
    }
}
