//! Making, changing and deleting VNIs.

use super::{Effect, State, Write, fdb::key, refuse, settings, state::Segment};
use crate::api::{
    command::Refusal,
    model::{Vni, VniSpec},
};

impl State {
    /// Number of the segment of `vni`.
    pub(super) fn segment_of(&self, vni: Vni) -> Result<u32, Refusal> {
        self.vnis
            .get(&vni.get())
            .copied()
            .ok_or_else(|| refuse::no_vni(vni))
    }

    pub(super) fn vni_add(&mut self, vni: Vni, spec: &VniSpec) -> Result<Effect, Refusal> {
        if self.vnis.contains_key(&vni.get()) {
            return Err(Refusal::conflict(format!(
                "vni {vni} exists already; change it with: vtep vni set {vni}"
            )));
        }
        if self.segments.len() >= self.limits.segments {
            return Err(Refusal::full(format!(
                "there is room for {} VNIs and no more; delete one with: vtep vni del VNI",
                self.limits.segments
            )));
        }
        let pod = settings::new(vni, spec)?;

        let number = self.segments.insert(Segment::new(pod));
        self.vnis.insert(vni.get(), number);
        Ok(Effect {
            writes: vec![
                Write::ClearSegmentCounters(number),
                Write::Segment(number, Box::new(pod)),
                Write::Vni(vni.get(), Some(number)),
            ],
            ..Effect::default()
        })
    }

    pub(super) fn vni_set(&mut self, vni: Vni, spec: &VniSpec) -> Result<Effect, Refusal> {
        let number = self.segment_of(vni)?;
        let segment = &mut self.segments[number];
        let pod = settings::changed(&segment.pod, spec)?;
        let mut out = Effect::default();
        if pod != segment.pod {
            let ages = pod.ageing_s != segment.pod.ageing_s;
            segment.pod = pod;
            out.write(Write::Segment(number, Box::new(pod)));
            if ages {
                self.age_anew(number);
            }
        }
        Ok(out)
    }

    /// Deletes a VNI with its ports, FDB entries and flood list, as `ip link del` does with a `vxlan` device.
    ///
    /// Its VNI goes first, so that a daemon that is killed on the way leaves a segment without one, which the next daemon
    /// clears away.
    pub(super) fn vni_del(&mut self, vni: Vni) -> Result<Effect, Refusal> {
        let number = self.segment_of(vni)?;
        let mut out = Effect::default();
        self.vnis.remove(&vni.get());
        out.write(Write::Vni(vni.get(), None));

        let slots: Vec<_> = self.segments[number].ports.iter().copied().collect();
        for &slot in &slots {
            self.unmap(slot, &mut out);
        }
        let segment = self.segments.remove(number).expect("looked up above");
        let macs = segment.fdb.keys();
        out.writes
            .extend(macs.map(|&mac| Write::Fdb(key(number, mac), None)));
        if !segment.ports.is_empty() || !segment.remotes.is_empty() {
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
        let unicast = segment.fdb.values().filter_map(|entry| entry.peer());
        let lists = segment.groups.values().flat_map(|group| &group.remotes);
        for peer in unicast.chain(lists.chain(&segment.remotes).copied()) {
            self.release_peer(peer, &mut out);
        }
        out.write(Write::Segment(number, Box::default()));
        Ok(out)
    }
}
