//! What goes on by itself: events of the kernel side, time that passes, and telling those who watch.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use vtep_common::{addr::MacAddr, maps::FdbKey};

use super::{
    announce::Packet,
    core::Core,
    frames::{self, Host},
};
use crate::{
    control::{Announce, Effect, Resolution},
    model::{EventKind, Happening},
    netlink::Link,
};

/// Events that are taken in at once: a millisecond's worth, after which others have their turn.
const EVENTS_AT_ONCE: usize = 1_024;
/// So many at once are the start of many more.
const MANY_EVENTS: usize = 32;
/// How long to wait for more where there are many. The kernel wakes us for the first event after those that we took: who takes
/// each as it comes is woken for each, which costs the processor that forwards frames more than the frame does.
pub(super) const WAIT_FOR_MORE: Duration = Duration::from_millis(1);

/// How much the kernel side had to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Little, and that was all.
    Little,
    /// Much, and more is to be expected, though that was all for now.
    Much,
    /// More waits.
    MoreWaits,
}

impl Told {
    const fn of(events: usize) -> Self {
        match events {
            EVENTS_AT_ONCE.. => Self::MoreWaits,
            MANY_EVENTS.. => Self::Much,
            _ => Self::Little,
        }
    }
}

impl Core {
    /// Has the state say what happens only where somebody watches. Just before anything can happen: who watches misses
    /// nothing from then on.
    pub(super) fn look_for_watchers(&mut self) {
        self.state.set_watched(self.events.watched());
    }

    /// Takes in what the kernel side has told, up to a bound.
    pub(super) async fn take_events(&mut self) -> Told {
        let events = self.datapath.events(EVENTS_AT_ONCE);
        let told = Told::of(events.len());
        if events.is_empty() {
            return told;
        }
        self.look_for_watchers();
        self.refresh_own_macs();
        let effect = self.state.learn(&events, &self.datapath);
        self.carry_out_or_log(effect).await;
        told
    }

    /// Lets time pass. True if there is more to do at once.
    pub(super) async fn tick(&mut self) -> bool {
        self.look_for_watchers();
        let effect = self.state.tick(&self.datapath);
        self.carry_out_or_log(effect).await;
        self.state.is_behind()
    }

    /// What is looked at once a second.
    pub(super) async fn each_second(&mut self) {
        self.tell_lost();
        self.retry_groups().await;
    }

    async fn carry_out_or_log(&mut self, effect: Effect) {
        if let Err(refusal) = self.carry_out(effect, None).await {
            tracing::error!(%refusal, "what was learned was not written");
        }
    }

    /// Says how many events found the ring buffer full.
    fn tell_lost(&mut self) {
        let lost = match self.datapath.lost_events() {
            Ok(lost) => lost,
            Err(error) => {
                tracing::error!(%error, "the counters of events cannot be read");
                return;
            }
        };
        let more = lost.saturating_sub(self.lost);
        self.lost = lost;
        if more == 0 {
            return;
        }
        tracing::warn!(count = more, "the ring buffer of events was full");
        self.events.publish(vec![Happening {
            count: Some(more),
            why: Some("the ring buffer was full; the next frames tell again".to_owned()),
            ..Happening::new(EventKind::Lost)
        }]);
    }

    /// Tells that a peer can be reached, or not any more.
    pub(super) fn tell_peer(&mut self, ip: IpAddr, now: &Resolution) {
        if ip.is_multicast() {
            return;
        }
        let why = match now {
            Resolution::Resolved { .. } => None,
            Resolution::Pending { dev, .. } => {
                Some(format!("its next hop on {dev} does not answer"))
            }
            Resolution::LinkDown { dev } => Some(format!("{dev} is down")),
            Resolution::NoRoute => Some("there is no route".to_owned()),
        };
        let up = why.is_none();
        let before = self.peers_up.get(&ip).copied();
        // Of a new peer the next hop is asked first.
        let waits = before.is_none() && matches!(now, Resolution::Pending { .. });
        if before == Some(up) || waits {
            return;
        }
        self.peers_up.insert(ip, up);
        let kind = if up {
            EventKind::PeerUp
        } else {
            EventKind::PeerDown
        };
        self.events.publish(vec![Happening {
            dst: Some(ip),
            why,
            ..Happening::new(kind)
        }]);
    }

    /// Tells the other VTEPs that a MAC is here.
    pub(super) fn announce(&mut self, announce: &Announce) {
        let Announce {
            vni,
            mac,
            hosts,
            to,
        } = announce;
        if self.announcer.is_full() {
            self.announcer.count_lost(to.len() as u64);
            return;
        }
        let Some(segment) = self.datapath.segment_number(vni.get()) else {
            return;
        };
        let hosts: Vec<Host> = hosts
            .iter()
            .map(|&ip| Host {
                ip,
                router: self.datapath.is_router(segment, ip),
            })
            .collect();
        let key = FdbKey::new(segment, *mac);
        let vni = *vni;
        for payload in frames::announcements(vni, *mac, &hosts) {
            let payload: Arc<[u8]> = payload.into();
            for &to in to {
                let oif = if to.is_multicast() {
                    self.groups.way(to).map(|way| way.oif)
                } else {
                    None
                };
                match self.state.local_for(to) {
                    Some(local) if oif.is_some() || !to.is_multicast() => {
                        self.announcer.push(Packet {
                            key,
                            from: (local, oif),
                            to,
                            payload: Arc::clone(&payload),
                        });
                    }
                    _ => self.announcer.count_lost(1),
                }
            }
        }
        self.send_announcements();
    }

    /// Sends what is to be announced now.
    pub(super) fn send_announcements(&mut self) {
        let Self {
            announcer,
            datapath,
            ..
        } = self;
        announcer.send(Instant::now(), |key| datapath.is_at_port(key));
    }

    /// Keeps in mind which MAC an interface has.
    pub(super) fn note_mac(&mut self, link: &Link) {
        let mac = MacAddr::from_bytes(link.mac);
        if self.macs.insert(link.index, mac) != Some(mac) {
            self.own_macs_stale = true;
        }
    }

    /// An interface is gone.
    pub(super) fn forget_mac(&mut self, ifindex: u32) {
        self.own_macs_stale |= self.macs.remove(&ifindex).is_some();
    }

    /// Tells the state which MACs are the hypervisor's own, if that has changed: those of the uplinks, of the interfaces with
    /// ports, and of the kernel device.
    pub(super) fn refresh_own_macs(&mut self) {
        if !std::mem::take(&mut self.own_macs_stale) {
            return;
        }
        let own = self
            .uplinks
            .iter()
            .map(|link| link.index)
            .chain(self.state.attachments().map(|port| port.ifindex))
            .chain([self.device])
            .filter_map(|ifindex| self.macs.get(&ifindex).copied())
            .filter(|mac| !mac.is_zero())
            .collect::<Vec<MacAddr>>();
        self.state.set_own_macs(own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_new_mac_is_waited_for_at_once_and_many_for_a_moment() {
        let told = [0, 1, MANY_EVENTS - 1, MANY_EVENTS, EVENTS_AT_ONCE - 1].map(Told::of);

        assert_eq!(told[..3], [Told::Little; 3]);
        assert_eq!(told[3..], [Told::Much; 2]);
        assert_eq!(Told::of(EVENTS_AT_ONCE), Told::MoreWaits);
    }
}
