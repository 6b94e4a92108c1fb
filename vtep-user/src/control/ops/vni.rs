//! Making, changing and deleting VNIs.

use std::net::IpAddr;

use vtep_common::{addr::MacAddr, maps};

use crate::control::{
    Effect, State, Write,
    ops::{entry::key, neigh, nexthop, refuse},
    record::settings,
    state::Segment,
};
use crate::model::{NeighState, Refusal, Vni, VniSpec};

impl State {
    /// Number of the segment of `vni`.
    pub(crate) fn segment_of(&self, vni: Vni) -> Result<u32, Refusal> {
        self.vnis
            .get(&vni.get())
            .copied()
            .ok_or_else(|| refuse::no_vni(vni))
    }

    pub(crate) fn vni_add(&mut self, vni: Vni, spec: &VniSpec) -> Result<Effect, Refusal> {
        if self.vnis.contains_key(&vni.get()) {
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

        let number = self.segments.insert(Segment::new(pod));
        self.vnis.insert(vni.get(), number);
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
    fn set_group(&mut self, number: u32, group: Option<IpAddr>, out: &mut Effect) {
        let old = self.segments[number].multicast;
        if old.map(|peer| self.peers[peer].ip) == group {
            return;
        }
        let new = group.map(|ip| self.acquire_peer(ip, out));
        self.segments[number].multicast = new;
        self.write_list(number, MacAddr::ZERO, out);
        if let Some(old) = old {
            self.release_peer(old, out);
        }
    }

    pub(crate) fn vni_set(&mut self, vni: Vni, spec: &VniSpec) -> Result<Effect, Refusal> {
        let number = self.segment_of(vni)?;
        let segment = &self.segments[number];
        let pod = settings::changed(&segment.pod, spec)?;
        let group = settings::group(&pod);
        if group != settings::group(&segment.pod) {
            self.check_group(group)?;
        }
        if group.is_some() && segment.multicast.is_none() {
            self.check_list_room(number, MacAddr::ZERO)?;
        }
        let mut out = Effect::default();
        let segment = &mut self.segments[number];
        if pod != segment.pod {
            let ages = pod.ageing_s != segment.pod.ageing_s;
            let hears = pod.has(maps::Segment::SUPPRESS);
            segment.pod = pod;
            out.write(Write::Segment(number, Box::new(pod)));
            if ages {
                self.age_anew(number);
                self.age_hosts_anew(number);
            }
            if !hears {
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
        self.vnis.remove(&vni.get());
        out.write(Write::Vni(vni.get(), None));

        let slots: Vec<_> = self.segments[number].ports.iter().copied().collect();
        for &slot in &slots {
            self.unmap(slot, &mut out);
        }
        let segment = self.segments.remove(number).expect("looked up above");
        for &ip in segment.neighs.keys() {
            out.write(Write::Neigh(neigh::key(number, ip), None));
        }
        for &prefix in segment.routes.keys() {
            let (bits, key) = nexthop::key(number, prefix);
            out.write(Write::Nexthop(bits, key, None));
        }
        self.uncount_hosts(&segment);
        let macs = segment.fdb.keys();
        out.writes
            .extend(macs.map(|&mac| Write::Fdb(key(number, mac), None)));
        if !segment.ports.is_empty() || segment.has_remotes() {
            out.write(Write::Flood(number, None));
        }
        for group in segment.groups.values() {
            out.write(Write::Flood(group.list(), None));
            self.groups.remove(group.number);
        }
        for slot in slots {
            self.drop_port(slot, &mut out);
        }
        self.fdb_len -= u32::try_from(segment.fdb.len()).expect("counted by fdb_len");
        self.run.moves.forget_all(|key| key.segment() == number);
        self.run.host_moves.forget_all(|(at, _)| *at == number);
        let unicast = segment.fdb.values().filter_map(|entry| entry.peer());
        let lists = segment.groups.values().flat_map(|group| &group.remotes);
        let vias = segment.nexthops.values().filter_map(|nexthop| nexthop.via);
        let unicast = unicast.chain(vias).chain(segment.multicast);
        for peer in unicast.chain(lists.chain(&segment.remotes).copied()) {
            self.release_peer(peer, &mut out);
        }
        out.write(Write::Segment(number, Box::default()));
        Ok(out)
    }

    /// Counts the hosts of a segment that goes no longer.
    fn uncount_hosts(&mut self, segment: &Segment) {
        let count = |number: usize| u32::try_from(number).expect("counted before");
        let heard = segment.neighs.values();
        let heard = heard.filter(|neigh| neigh.origin == NeighState::Snooped);
        self.snooped_len -= count(heard.count());
        let own = segment.neighs.values().filter(|neigh| neigh.is_own());
        let macs = segment.nexthops.iter();
        let macs = macs.filter(|(prefix, nexthop)| prefix.is_host() && nexthop.mac.is_some());
        self.neigh_used -= count(own.count() + segment.claims.len() + macs.count());
        let nexthops = segment.nexthops.keys().map(|&prefix| nexthop::room(prefix));
        self.nexthop_used -= count(nexthops.sum::<usize>() + segment.claims.len());
    }
}
