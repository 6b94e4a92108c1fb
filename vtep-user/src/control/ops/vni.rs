//! Making, changing and deleting VNIs.

use std::net::IpAddr;

use vtep_common::abi::{addr::MacAddr, id::SegmentId, segment::Segment};

use super::refuse;
use crate::{
    control::{
        effect::{Effect, Write},
        record::{entry::key, hosts, nexthops, settings},
        state::State,
    },
    model::{Refusal, Vni, VniSpec},
};

impl State {
    /// Number of the segment of `vni`.
    pub(crate) fn segment_of(&self, vni: Vni) -> Result<SegmentId, Refusal> {
        self.segments
            .number_of(vni)
            .ok_or_else(|| refuse::no_vni(vni))
    }

    pub(crate) fn vni_add(&mut self, vni: Vni, spec: &VniSpec) -> Result<Effect, Refusal> {
        if self.segments.number_of(vni).is_some() {
            return Err(Refusal::conflict(format!(
                "vni {vni} exists already; change it with: vtep vni set {vni}"
            )));
        }
        if self.segments.len() >= self.limits.segments {
            return Err(Refusal::full(format!(
                "the VNI table is full ({} VNIs); delete one with: vtep vni del VNI",
                self.limits.segments
            )));
        }
        let pod = settings::new(vni, spec)?;
        let group = settings::group(&pod);
        self.check_group(group)?;

        let number = self.segments.insert(pod);
        let mut out = Effect::default();
        out.write(Write::ClearSegmentCounters(number));
        out.write(Write::Segment(number, Box::new(pod)));
        self.set_group(number, group, &mut out);
        out.write(Write::Vni(vni.get(), Some(number)));
        Ok(out)
    }

    /// Refuses a multicast group to which we cannot send, or for which there is no room.
    fn check_group(&self, group: Option<IpAddr>) -> Result<(), Refusal> {
        let Some(group) = group else { return Ok(()) };
        self.check_family(group)?;
        self.check_peer_room(group)
    }

    /// Floods to this multicast group from now on.
    fn set_group(&mut self, number: SegmentId, group: Option<IpAddr>, out: &mut Effect) {
        let old = self.flood.multicast(number);
        if old.map(|peer| self.peers.ip(peer)) == group {
            return;
        }
        let new = group.map(|ip| self.acquire_peer(ip, out));
        self.flood.set_multicast(number, new);
        self.write_list(number, MacAddr::ZERO, out);
        if let Some(old) = old {
            self.release_peer(old, out);
        }
    }

    pub(crate) fn vni_set(&mut self, vni: Vni, spec: &VniSpec) -> Result<Effect, Refusal> {
        let number = self.segment_of(vni)?;
        let old = self.segments[number];
        let new = settings::changed(&old, spec)?;
        let group = settings::group(&new);
        if group != settings::group(&old) {
            self.check_group(group)?;
        }
        if group.is_some() && self.flood.multicast(number).is_none() {
            self.check_list_room(number, MacAddr::ZERO)?;
        }
        let mut out = Effect::default();
        if new != old {
            self.segments.set(number, new);
            out.write(Write::Segment(number, Box::new(new)));
            if new.ageing_s != old.ageing_s {
                self.age_anew(number);
                self.age_hosts_anew(number);
            }
            if !new.has(Segment::SUPPRESS) {
                self.forget_snooped(number, &mut out);
            }
            self.set_group(number, group, &mut out);
        }
        Ok(out)
    }

    /// Deletes a VNI with its ports, FDB entries and flood list, as `ip link del` does with a `vxlan` device.
    ///
    /// Its VNI goes first, so that a daemon that is killed on the way leaves a segment without one, which the next daemon
    /// clears away.
    pub(crate) fn vni_del(&mut self, vni: Vni) -> Result<Effect, Refusal> {
        let number = self.segment_of(vni)?;
        let mut out = Effect::default();
        out.write(Write::Vni(vni.get(), None));

        let slots: Vec<_> = self.ports.flooded(number).iter().copied().collect();
        for &slot in &slots {
            self.unregister_port(slot, &mut out);
        }
        for ip in self.hosts.remove_segment(number) {
            out.write(Write::Neigh(hosts::key(number, ip), None));
        }
        self.addresses.remove_segment(number);
        let (routes, vias) = self.nexthops.remove_segment(number);
        for prefix in routes {
            let (bits, key) = nexthops::key(number, prefix);
            out.write(Write::Nexthop(bits, key, None));
        }
        let entries = self.fdb.remove_segment(number);
        let macs = entries.iter().map(|&(mac, _)| mac);
        out.writes
            .extend(macs.map(|mac| Write::Fdb(key(number, mac), None)));
        if !slots.is_empty() || self.flood.targets(number).next().is_some() {
            out.write(Write::Flood(number.into(), None));
        }
        let (lists, targets) = self.flood.remove_segment(number);
        for list in lists {
            out.write(Write::Flood(list, None));
        }
        for slot in slots {
            self.free_port(slot, &mut out);
        }
        self.run.moves.forget_all(|key| key.segment() == number);
        self.run.host_moves.forget_all(|(at, _)| *at == number);
        let unicast = entries.into_iter().filter_map(|(_, entry)| entry.peer());
        for peer in unicast.chain(vias).chain(targets) {
            self.release_peer(peer, &mut out);
        }
        self.segments.remove(number);
        out.write(Write::Segment(number, Box::default()));
        Ok(out)
    }
}
