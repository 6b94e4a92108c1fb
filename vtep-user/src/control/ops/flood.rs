//! Putting VTEPs on flood lists, and taking them off.

use std::net::IpAddr;

use vtep_common::abi::{
    addr::MacAddr,
    fdb::FdbTarget,
    id::{PeerId, SegmentId},
};

use super::refuse;
use crate::{
    control::{
        effect::{Effect, Write},
        record::entry::Entry,
        state::State,
    },
    model::Refusal,
};

impl State {
    /// Refuses if the list of `mac` has no room for one more.
    pub(crate) fn check_list_room(&self, number: SegmentId, mac: MacAddr) -> Result<(), Refusal> {
        let limit = self.limits.flood_targets;
        if self.ports.flooded(number).len() + self.flood.targets_on(number, mac) >= limit {
            let vni = self.segments.vni(number);
            return Err(refuse::list_full(mac, vni, limit));
        }
        Ok(())
    }

    /// Refuses if one of the lists of a segment has no room for one more port.
    pub(crate) fn check_lists_room(&self, number: SegmentId) -> Result<(), Refusal> {
        self.check_list_room(number, MacAddr::ZERO)?;
        self.flood
            .macs(number)
            .into_iter()
            .try_for_each(|mac| self.check_list_room(number, mac))
    }

    /// Writes the list of `mac`.
    pub(crate) fn write_list(&self, number: SegmentId, mac: MacAddr, out: &mut Effect) {
        let list = self.flood.pod(number, mac, self.ports.flooded(number));
        out.write(Write::Flood(self.flood.list_of(number, mac), list));
    }

    /// Writes all lists of a segment, after its ports changed.
    pub(crate) fn write_lists(&self, number: SegmentId, out: &mut Effect) {
        self.write_list(number, MacAddr::ZERO, out);
        for mac in self.flood.macs(number) {
            self.write_list(number, mac, out);
        }
    }

    /// Puts a peer, which the caller acquired, on the list of `mac`.
    pub(crate) fn list_push(
        &mut self,
        number: SegmentId,
        mac: MacAddr,
        peer: PeerId,
        out: &mut Effect,
    ) {
        self.flood.push(number, mac, peer);
        self.write_list(number, mac, out);
    }

    /// Makes `peer`, which the caller acquired, the only one on the list of `mac`.
    pub(crate) fn list_set(
        &mut self,
        number: SegmentId,
        mac: MacAddr,
        peer: PeerId,
        out: &mut Effect,
    ) {
        let old = self.flood.set(number, mac, peer);
        if old != [peer] {
            self.write_list(number, mac, out);
        }
        for peer in old {
            self.release_peer(peer, out);
        }
    }

    /// Takes those peers off the list of `mac` that `goes` says.
    pub(crate) fn list_remove(
        &mut self,
        number: SegmentId,
        mac: MacAddr,
        goes: impl Fn(PeerId) -> bool,
        out: &mut Effect,
    ) {
        let gone = self.flood.take(number, mac, goes);
        if gone.is_empty() {
            return;
        }
        self.write_list(number, mac, out);
        for peer in gone {
            self.release_peer(peer, out);
        }
    }

    /// Puts a VTEP on a list that exists.
    pub(crate) fn list_append(
        &mut self,
        number: SegmentId,
        mac: MacAddr,
        ip: IpAddr,
    ) -> Result<Effect, Refusal> {
        let vni = self.segments.vni(number);
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
    pub(crate) fn group_add(
        &mut self,
        number: SegmentId,
        mac: MacAddr,
        ip: IpAddr,
    ) -> Result<Effect, Refusal> {
        self.check_fdb_room(1)?;
        self.check_vni_room(number, 1)?;
        self.check_list_room(number, mac)?;
        if self.flood.groups() >= self.limits.groups {
            return Err(Refusal::full(format!(
                "all {} lists for multicast MACs are in use; leave {mac} to the flood list",
                self.limits.groups
            )));
        }
        let mut out = Effect::default();
        let peer = self.acquire_peer(ip, &mut out);
        let entry = Entry::static_to(FdbTarget::List(self.flood.add(number, mac)));
        self.list_push(number, mac, peer, &mut out);
        self.set_entry(number, mac, entry, 0, &mut out);
        Ok(out)
    }

    /// Takes VTEPs off the list of a multicast MAC, and with the last of them the list.
    pub(crate) fn group_remove(
        &mut self,
        number: SegmentId,
        mac: MacAddr,
        goes: impl Fn(PeerId) -> bool,
        out: &mut Effect,
    ) {
        if self
            .flood
            .remotes(number, mac)
            .iter()
            .all(|&peer| goes(peer))
        {
            self.remove_entry(number, mac, out);
        } else {
            self.list_remove(number, mac, goes, out);
        }
    }

    /// Number of the peer `ip`, if it is on the list of `mac`.
    pub(crate) fn on_list(
        &self,
        number: SegmentId,
        mac: MacAddr,
        ip: IpAddr,
    ) -> Result<PeerId, Refusal> {
        let vni = self.segments.vni(number);
        self.peers
            .number_of(ip)
            .filter(|peer| self.flood.remotes(number, mac).contains(peer))
            .ok_or_else(|| refuse::not_on_list(mac, vni, ip))
    }
}
