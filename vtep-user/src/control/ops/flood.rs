//! Flood lists: that of a VNI, and those of multicast MACs with VTEPs of their own.
//!
//! A list names all ports of its VNI, the one a frame came from included (the data path skips it), and then its VTEPs.

use std::{collections::BTreeSet, net::IpAddr};

use bytemuck::Zeroable;
use vtep_common::{
    addr::MacAddr,
    maps::{FloodList, MAX_SEGMENTS},
};

use crate::control::{
    Effect, State, Write,
    ops::{
        entry::{Entry, Kind},
        refuse,
    },
    state::Segment,
};
use crate::model::Refusal;

/// A multicast MAC with VTEPs of its own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    /// Which of the lists that are no VNI's own.
    pub(crate) number: u32,
    /// Numbers of its peers.
    pub(crate) remotes: Vec<u32>,
}

impl Group {
    /// Number of its flood list.
    pub(crate) const fn list(&self) -> u32 {
        MAX_SEGMENTS + self.number
    }
}

/// The list of these ports and peers; `None` if there are none, for an empty list is not kept. The multicast group of the VNI
/// comes before the VTEPs.
pub(crate) fn list(
    ports: &BTreeSet<u32>,
    multicast: Option<u32>,
    remotes: &[u32],
) -> Option<Box<FloodList>> {
    let remotes = || multicast.iter().chain(remotes);
    let len = ports.len() + remotes().count();
    if len == 0 {
        return None;
    }
    let mut list = Box::new(FloodList::zeroed());
    list.len = u32::try_from(len).expect("limited");
    list.ports = u32::try_from(ports.len()).expect("limited");
    for (target, number) in list.targets.iter_mut().zip(ports.iter().chain(remotes())) {
        *target = *number;
    }
    Some(list)
}

impl Segment {
    /// The multicast group on the list of `mac`.
    fn group_on(&self, mac: MacAddr) -> Option<u32> {
        self.multicast.filter(|_| mac.is_zero())
    }
}

impl State {
    /// The peers of the flood list of `mac` in segment `number`; the zero MAC names the VNI's own.
    pub(crate) fn remotes(&self, number: u32, mac: MacAddr) -> &[u32] {
        let segment = &self.segments[number];
        if mac.is_zero() {
            &segment.remotes
        } else {
            segment
                .groups
                .get(&mac)
                .map_or(&[], |group| group.remotes.as_slice())
        }
    }

    fn remotes_mut(&mut self, number: u32, mac: MacAddr) -> &mut Vec<u32> {
        let segment = &mut self.segments[number];
        if mac.is_zero() {
            return &mut segment.remotes;
        }
        let group = segment.groups.get_mut(&mac);
        &mut group.expect("checked by the caller").remotes
    }

    /// Refuses if the list of `mac` has no room for one more.
    pub(crate) fn check_list_room(&self, number: u32, mac: MacAddr) -> Result<(), Refusal> {
        let segment = &self.segments[number];
        let limit = self.limits.flood_targets;
        let multicast = usize::from(segment.group_on(mac).is_some());
        if segment.ports.len() + multicast + self.remotes(number, mac).len() >= limit {
            return Err(refuse::list_full(mac, segment.vni(), limit));
        }
        Ok(())
    }

    /// Refuses if one of the lists of a segment has no room for one more port.
    pub(crate) fn check_lists_room(&self, number: u32) -> Result<(), Refusal> {
        self.check_list_room(number, MacAddr::ZERO)?;
        self.segments[number]
            .groups
            .keys()
            .try_for_each(|&mac| self.check_list_room(number, mac))
    }

    /// Writes the list of `mac`.
    pub(crate) fn write_list(&self, number: u32, mac: MacAddr, out: &mut Effect) {
        let segment = &self.segments[number];
        let at = segment.groups.get(&mac).map_or(number, Group::list);
        out.write(Write::Flood(
            at,
            list(
                &segment.ports,
                segment.group_on(mac),
                self.remotes(number, mac),
            ),
        ));
    }

    /// Writes all lists of a segment, after its ports changed.
    pub(crate) fn write_lists(&self, number: u32, out: &mut Effect) {
        self.write_list(number, MacAddr::ZERO, out);
        for &mac in self.segments[number].groups.keys() {
            self.write_list(number, mac, out);
        }
    }

    /// Puts a peer, which the caller acquired, on the list of `mac`.
    pub(crate) fn list_push(&mut self, number: u32, mac: MacAddr, peer: u32, out: &mut Effect) {
        self.remotes_mut(number, mac).push(peer);
        self.write_list(number, mac, out);
    }

    /// Makes `peer`, which the caller acquired, the only one on the list of `mac`.
    pub(crate) fn list_set(&mut self, number: u32, mac: MacAddr, peer: u32, out: &mut Effect) {
        let old = std::mem::replace(self.remotes_mut(number, mac), vec![peer]);
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
        number: u32,
        mac: MacAddr,
        goes: impl Fn(u32) -> bool,
        out: &mut Effect,
    ) {
        let remotes = self.remotes_mut(number, mac);
        let (gone, kept): (Vec<_>, Vec<_>) = remotes.drain(..).partition(|&peer| goes(peer));
        *remotes = kept;
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
        number: u32,
        mac: MacAddr,
        ip: IpAddr,
    ) -> Result<Effect, Refusal> {
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
    pub(crate) fn group_add(
        &mut self,
        number: u32,
        mac: MacAddr,
        ip: IpAddr,
    ) -> Result<Effect, Refusal> {
        self.check_fdb_room(1)?;
        self.check_vni_room(number, 1)?;
        self.check_list_room(number, mac)?;
        if self.groups.len() >= self.limits.groups {
            return Err(Refusal::full(format!(
                "all {} lists for multicast MACs are in use; leave {mac} to the flood list",
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
    pub(crate) fn group_remove(
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
    pub(crate) fn on_list(&self, number: u32, mac: MacAddr, ip: IpAddr) -> Result<u32, Refusal> {
        let vni = self.segments[number].vni();
        self.peer_index
            .get(&ip)
            .copied()
            .filter(|peer| self.remotes(number, mac).contains(peer))
            .ok_or_else(|| refuse::not_on_list(mac, vni, ip))
    }
}
