//! Telling the other VTEPs that a MAC is here, so that they need not wait for its frames.

use std::net::IpAddr;

use vtep_common::{addr::MacAddr, maps};

use crate::control::{Announce, Effect, State, record::queue::SECOND, state::Segment};

/// Learned MACs that are announced for one port in a second, at most: a guest could make up any number.
const MAX_ANNOUNCED: u32 = 256;

impl State {
    /// Announces a MAC that was learned at the port `slot`, unless there have been many lately.
    pub(crate) fn announce_learned(&mut self, slot: u32, mac: MacAddr, out: &mut Effect) {
        let second = self.run.now / SECOND;
        let announced = self.run.announced.entry(slot).or_default();
        if announced.0 != second {
            *announced = (second, 0);
        }
        if announced.1 < MAX_ANNOUNCED {
            announced.1 += 1;
            self.announce(slot, mac, out);
        }
    }

    /// Announces a MAC that came to the port `slot`, with the hosts that are known to be at it.
    pub(crate) fn announce(&self, slot: u32, mac: MacAddr, out: &mut Effect) {
        let number = self.ports[slot].pod.segment;
        let segment = &self.segments[number];
        if segment.pod.has(maps::Segment::FLOODS) && segment.has_remotes() {
            out.announce.push(Announce {
                vni: segment.vni(),
                mac,
                hosts: self.hosts_at(number, mac),
                to: self.flood_targets(segment),
            });
        }
    }

    /// Where floods of a segment go: its multicast group, and the VTEPs on its list.
    fn flood_targets(&self, segment: &Segment) -> Vec<IpAddr> {
        let targets = segment.multicast.iter().chain(&segment.remotes);
        targets.map(|&peer| self.peers[peer].ip).collect()
    }
}
