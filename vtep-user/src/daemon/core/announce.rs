//! Announcing to the other VTEPs that a MAC is here.

use std::{sync::Arc, time::Instant};

use vtep_common::abi::fdb::FdbKey;

use super::{
    super::{
        announcer::{Lane, Packet},
        frames::{self, AnnouncedHost},
    },
    Core,
};
use crate::control::Announce;

impl Core {
    /// Announces to the other VTEPs that a MAC is here.
    pub(super) fn announce(&mut self, announce: &Announce) {
        let Announce {
            port,
            learned,
            vni,
            mac,
            hosts,
            to,
        } = announce;
        let lane = Lane {
            port: *port,
            learned: *learned,
        };
        if !self.announcer.has_room(lane) {
            self.announcer.count_lost(to.len() as u64);
            return;
        }
        let Some(segment) = self.datapath.segment_number(vni.get()) else {
            return;
        };
        let hosts: Vec<AnnouncedHost> = hosts
            .iter()
            .map(|&ip| AnnouncedHost {
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
                    self.groups.route(to).map(|route| route.oif)
                } else {
                    None
                };
                match self.state.local_for(to) {
                    Some(local) if oif.is_some() || !to.is_multicast() => {
                        self.announcer.push(Packet {
                            lane,
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
}
