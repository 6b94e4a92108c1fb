//! The state as rows, in a fixed order.

use std::net::IpAddr;

use vtep_common::{addr::MacAddr, maps};

use super::{
    State,
    state::{Segment, distinct},
};
use crate::control::{
    learn::mac::Clock,
    ops::{
        entry::{Entry, Kind, Origin, key},
        refuse,
    },
    record::settings,
};
use crate::model::{
    EntryState, FdbFilter, FdbRow, PeerRow, PeerState, PortRow, Refusal, Vni, VniRow,
};

impl State {
    /// One VNI, or all by number.
    pub fn vni_rows(&self, vni: Option<Vni>) -> Result<Vec<VniRow>, Refusal> {
        let row = |number: u32| self.vni_row(&self.segments[number]);
        Ok(match vni {
            Some(vni) => vec![row(self.segment_of(vni)?)],
            None => self.vnis.values().copied().map(row).collect(),
        })
    }

    fn vni_row(&self, segment: &Segment) -> VniRow {
        let name = |slot: &u32| self.devices[&self.ports[*slot].pod.ifindex].name.clone();
        let mut ports: Vec<_> = segment.ports.iter().map(name).collect();
        ports.sort_unstable();
        let mut remotes = self.ips(&segment.remotes);
        remotes.sort_unstable();
        settings::row(&segment.pod, segment.vni(), distinct(ports), remotes)
    }

    /// The ports of one interface, or all, by name and VLAN.
    pub fn port_rows(&self, dev: Option<&str>) -> Result<Vec<PortRow>, Refusal> {
        let mut devices: Vec<_> = match dev {
            Some(dev) => vec![self.device(dev)?],
            None => self
                .devices
                .iter()
                .map(|(at, device)| (*at, device))
                .collect(),
        };
        devices.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        let mut rows = Vec::new();
        for (_, device) in devices {
            for &slot in device.slots.values() {
                let port = &self.ports[slot];
                let vni = self.segments[port.pod.segment].vni();
                rows.push(port.row(vni, device.name.clone(), device.hook));
            }
        }
        Ok(rows)
    }

    /// The FDB entries that match, by VNI, MAC and VTEP; a flood list is a row with the zero MAC for each VTEP.
    pub fn fdb_rows(&self, filter: &FdbFilter, clock: &dyn Clock) -> Result<Vec<FdbRow>, Refusal> {
        let FdbFilter {
            vni,
            dst,
            dev,
            learned,
        } = filter;
        let numbers = self.numbers(*vni)?;
        if let Some(dev) = dev {
            self.device(dev)?;
        }
        let mut rows = Vec::new();
        for number in numbers {
            let segment = &self.segments[number];
            let start = rows.len();
            for (&mac, &entry) in &segment.fdb {
                if entry.kind != Kind::List
                    && (entry.is_learned() || !learned)
                    && self.points_to(entry, *dst, dev.as_deref())
                {
                    rows.push(self.entry_row(number, mac, entry, clock));
                }
            }
            if dev.is_none() && !learned {
                let lists = segment
                    .groups
                    .iter()
                    .map(|(&mac, group)| (mac, &group.remotes))
                    .chain([(MacAddr::ZERO, &segment.remotes)]);
                for (mac, remotes) in lists {
                    let mut ips = self.ips(remotes);
                    ips.retain(|&ip| dst.is_none_or(|dst| dst == ip));
                    rows.extend(ips.into_iter().map(|ip| list_row(segment, mac, ip)));
                }
            }
            rows[start..].sort_unstable_by_key(|row| (row.mac, row.dst));
        }
        Ok(rows)
    }

    /// The entries of one MAC; of the zero MAC the VTEPs on the flood list.
    pub fn fdb_get(
        &self,
        mac: MacAddr,
        vni: Vni,
        clock: &dyn Clock,
    ) -> Result<Vec<FdbRow>, Refusal> {
        let number = self.segment_of(vni)?;
        let segment = &self.segments[number];
        let rows = match segment.fdb.get(&mac) {
            Some(&entry) if entry.kind != Kind::List => {
                vec![self.entry_row(number, mac, entry, clock)]
            }
            _ => {
                let mut ips = self.ips(self.remotes(number, mac));
                ips.sort_unstable();
                ips.into_iter()
                    .map(|ip| list_row(segment, mac, ip))
                    .collect()
            }
        };
        if rows.is_empty() {
            return Err(refuse::no_entry(mac, vni));
        }
        Ok(rows)
    }

    fn entry_row(&self, number: u32, mac: MacAddr, entry: Entry, clock: &dyn Clock) -> FdbRow {
        let device = |slot| &self.devices[&self.ports[slot].pod.ifindex];
        FdbRow {
            vni: self.segments[number].vni(),
            mac,
            dst: entry.peer().map(|peer| self.peers[peer].ip),
            dev: entry.port().map(|slot| device(slot).name.clone()),
            state: entry.state(),
            age_s: Self::age_s(key(number, mac), entry.state(), clock),
            duplicate: entry.origin == Origin::Frozen,
        }
    }

    /// One peer, or all by address.
    pub fn peer_rows(&self, ip: Option<IpAddr>) -> Result<Vec<PeerRow>, Refusal> {
        if let Some(ip) = ip.filter(|&ip| self.vtep(ip).is_none()) {
            return Err(refuse::no_peer(ip));
        }
        let mut rows: Vec<_> = self
            .peers
            .iter()
            .map(|(_, peer)| peer)
            .filter(|peer| !peer.is_group() && ip.is_none_or(|ip| ip == peer.ip))
            .map(|peer| {
                let resolved = peer.state == PeerState::Resolved;
                let csum6 = !peer.pod.has(maps::Peer::CSUM6_OFF);
                PeerRow {
                    ip: peer.ip,
                    dev: peer.dev.clone(),
                    mac: resolved.then(|| peer.macs().0),
                    state: peer.state,
                    mtu: resolved.then_some(peer.pod.mtu),
                    csum6: peer.ip.is_ipv6().then_some(csum6),
                    via: peer.via,
                }
            })
            .collect();
        rows.sort_unstable_by_key(|row| row.ip);
        Ok(rows)
    }

    /// Numbers of the segments of one VNI, or of all, by VNI.
    pub(crate) fn numbers(&self, vni: Option<Vni>) -> Result<Vec<u32>, Refusal> {
        Ok(match vni {
            Some(vni) => vec![self.segment_of(vni)?],
            None => self.vnis.values().copied().collect(),
        })
    }

    /// The addresses of peers.
    fn ips(&self, numbers: &[u32]) -> Vec<IpAddr> {
        numbers
            .iter()
            .map(|&number| self.peers[number].ip)
            .collect()
    }
}

/// One VTEP of a list.
fn list_row(segment: &Segment, mac: MacAddr, ip: IpAddr) -> FdbRow {
    FdbRow {
        vni: segment.vni(),
        mac,
        dst: Some(ip),
        dev: None,
        state: EntryState::Static,
        age_s: None,
        duplicate: false,
    }
}
