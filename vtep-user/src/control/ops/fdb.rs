//! FDB entries: where each MAC of a VNI is.

use std::net::IpAddr;

use vtep_common::abi::{
    addr::MacAddr,
    fdb::FdbTarget,
    id::{PortSlot, SegmentId},
};

use super::refuse;
use crate::{
    control::{
        effect::Effect,
        record::{entry::Entry, location::Location},
        state::State,
    },
    model::{EventDetails, EventKind, FdbDel, FdbFilter, FdbSpec, Refusal},
};

/// What a MAC stands for in the FDB.
enum MacKind {
    Unicast,
    /// Multicast, with VTEPs of its own.
    Group,
    /// All zero: the flood list.
    Flood,
}

impl MacKind {
    fn of(mac: MacAddr) -> Self {
        if mac.is_zero() {
            Self::Flood
        } else if mac.is_group() {
            Self::Group
        } else {
            Self::Unicast
        }
    }
}

impl State {
    pub(crate) fn fdb_add(&mut self, spec: &FdbSpec) -> Result<Effect, Refusal> {
        let (number, mac, location) = self.checked(spec)?;
        match (MacKind::of(mac), location) {
            (MacKind::Flood, Location::Vtep(ip)) => self.list_append(number, mac, ip),
            (kind, location) => match (self.fdb.get(number, mac), kind, location) {
                (Some(entry), ..) if entry.is_static() => Err(Refusal::conflict(
                    self.exists_already(entry, mac, location, spec),
                )),
                (_, MacKind::Group, Location::Vtep(ip)) => self.group_add(number, mac, ip),
                _ => self.unicast_set(number, mac, location),
            },
        }
    }

    pub(crate) fn fdb_append(&mut self, spec: &FdbSpec) -> Result<Effect, Refusal> {
        let (number, mac, location) = self.checked(spec)?;
        match (MacKind::of(mac), location) {
            (MacKind::Group, Location::Vtep(ip)) if !self.flood.has(number, mac) => {
                self.group_add(number, mac, ip)
            }
            (MacKind::Flood | MacKind::Group, Location::Vtep(ip)) => {
                self.list_append(number, mac, ip)
            }
            _ => Err(Refusal::invalid(format!(
                "append is for 00:00:00:00:00:00 and multicast MACs, which have several VTEPs; for {} use: vtep fdb add",
                spec.mac
            ))),
        }
    }

    pub(crate) fn fdb_replace(&mut self, spec: &FdbSpec) -> Result<Effect, Refusal> {
        let (number, mac, location) = self.checked(spec)?;
        match (MacKind::of(mac), location) {
            (MacKind::Group, Location::Vtep(ip)) if !self.flood.has(number, mac) => {
                self.group_add(number, mac, ip)
            }
            (MacKind::Flood | MacKind::Group, Location::Vtep(ip)) => {
                if self.flood.remotes(number, mac).is_empty() {
                    self.check_list_room(number, mac)?;
                }
                let mut out = Effect::default();
                let peer = self.acquire_peer(ip, &mut out);
                self.list_set(number, mac, peer, &mut out);
                Ok(out)
            }
            (_, location) => self.unicast_set(number, mac, location),
        }
    }

    pub(crate) fn fdb_del(&mut self, del: &FdbDel) -> Result<Effect, Refusal> {
        let number = self.segment_of(del.vni)?;
        let mac = del.mac;
        let mut out = Effect::default();
        if mac.is_zero() {
            let (Some(dst), None) = (del.dst, &del.dev) else {
                return Err(Refusal::invalid(format!(
                    "the flood list has one entry for each VTEP; name the one to delete: vtep fdb del {} --vni {} --dst VTEP",
                    del.mac, del.vni
                )));
            };
            let peer = self.on_list(number, mac, dst)?;
            self.list_remove(number, mac, |other| other == peer, &mut out);
            return Ok(out);
        }
        let entry = self
            .fdb
            .get(number, mac)
            .ok_or_else(|| refuse::no_entry(del.mac, del.vni))?;
        if entry.is_list()
            && let (Some(dst), None) = (del.dst, &del.dev)
        {
            let peer = self.on_list(number, mac, dst)?;
            self.group_remove(number, mac, |other| other == peer, &mut out);
            return Ok(out);
        }
        if !self.points_to(entry, del.dst, del.dev.as_deref()) {
            return Err(Refusal::not_found(format!(
                "{} in vni {} points to {} and not there; delete it wherever it points with: vtep fdb del {0} --vni {1}",
                del.mac,
                del.vni,
                self.whereabouts(entry)
            )));
        }
        self.remove_entry(number, mac, &mut out);
        Ok(out)
    }

    /// Deletes what matches: without `dst` and `dev` everything, static entries and those of `port add --mac` included;
    /// with `dst` that VTEP's places on the flood lists too; with `learned` nothing that the user made.
    pub(crate) fn fdb_flush(&mut self, filter: &FdbFilter) -> Result<Effect, Refusal> {
        let Some(vni) = filter.vni else {
            return Err(Refusal::invalid(
                "flush empties the FDB of one VNI; name it with: --vni VNI",
            ));
        };
        let number = self.segment_of(vni)?;
        if let Some(dev) = &filter.dev {
            self.ports_in(dev, number)?;
        }
        let mut out = Effect::default();
        let before = self.fdb.len();
        let (dst, dev) = (filter.dst, filter.dev.as_deref());
        let macs: Vec<_> = self
            .fdb
            .entries(number)
            .filter(|(_, entry)| entry.ages() || !filter.learned)
            .filter(|(_, entry)| !entry.is_list() && self.points_to(*entry, dst, dev))
            .map(|(mac, _)| mac)
            .collect();
        for mac in macs {
            self.remove_entry(number, mac, &mut out);
        }
        let mut gone = u64::from(before - self.fdb.len());
        if dev.is_none() && !filter.learned {
            let peer = dst.map(|ip| self.peers.number_of(ip));
            let goes = |other| peer.is_none_or(|peer| peer == Some(other));
            for mac in self.flood.macs(number).into_iter().chain([MacAddr::ZERO]) {
                let on_list = self.flood.remotes(number, mac).iter();
                gone += on_list.filter(|&&peer| goes(peer)).map(|_| 1).sum::<u64>();
                if mac.is_zero() {
                    self.list_remove(number, mac, goes, &mut out);
                } else {
                    self.group_remove(number, mac, goes, &mut out);
                }
            }
        }
        if gone != 0 {
            self.notify(&mut out, |_| EventDetails {
                vni: Some(vni),
                dst,
                dev: filter.dev.clone(),
                count: Some(gone),
                ..EventDetails::new(EventKind::Flushed)
            });
        }
        Ok(out)
    }

    /// What all three ways of writing an entry ask first.
    fn checked(&self, spec: &FdbSpec) -> Result<(SegmentId, MacAddr, Location), Refusal> {
        let FdbSpec { mac, vni, dst, dev } = spec;
        let (mac, vni) = (*mac, *vni);
        let number = self.segment_of(vni)?;
        if mac == MacAddr::BROADCAST {
            return Err(Refusal::invalid(format!(
                "broadcast goes to the flood list; add to it with: vtep fdb append 00:00:00:00:00:00 --vni {vni} --dst VTEP"
            )));
        }
        let location = match (dst, dev) {
            (Some(ip), None) => {
                self.check_dst(*ip, "--dst")?;
                Location::Vtep(*ip)
            }
            (None, Some(dev)) if matches!(MacKind::of(mac), MacKind::Unicast) => {
                Location::Port(self.port_in(dev, number)?)
            }
            (None, Some(_)) => {
                return Err(Refusal::invalid(format!(
                    "{mac} goes to every port of vni {vni} anyway; name a VTEP with: --dst VTEP"
                )));
            }
            (Some(_), Some(_)) => {
                return Err(Refusal::invalid(
                    "an FDB entry points to one place; give --dst or --dev, not both",
                ));
            }
            (None, None) => {
                return Err(Refusal::invalid(
                    "name the place of the MAC: a VTEP with --dst IP, or a port with --dev PORT",
                ));
            }
        };
        Ok((number, mac, location))
    }

    /// Slots of the ports of `dev` in a segment.
    fn ports_in(&self, dev: &str, number: SegmentId) -> Result<Vec<(u16, PortSlot)>, Refusal> {
        let slots: Vec<_> = self
            .device(dev)?
            .1
            .ports()
            .filter(|&(_, slot)| self.ports[slot].segment == number)
            .collect();
        if slots.is_empty() {
            return Err(refuse::not_in_vni(dev, self.segments.vni(number)));
        }
        Ok(slots)
    }

    /// The one port of `dev` in a segment that an entry can mean: that of its untagged frames, or its only one.
    fn port_in(&self, dev: &str, number: SegmentId) -> Result<PortSlot, Refusal> {
        match self.ports_in(dev, number)?.as_slice() {
            [(0, slot), ..] | [(_, slot)] => Ok(*slot),
            _ => Err(Refusal::invalid(format!(
                "{dev} is in vni {} with several VLANs; choose one with: vtep port set {dev} --vlan ID --mac MAC",
                self.segments.vni(number)
            ))),
        }
    }

    /// True if an entry points to everything that is given.
    pub(crate) fn points_to(&self, entry: Entry, dst: Option<IpAddr>, dev: Option<&str>) -> bool {
        let to_dst = |ip| entry.peer().is_some_and(|peer| self.peers.ip(peer) == ip);
        let to_dev = |dev| {
            entry
                .port()
                .is_some_and(|slot| self.ports.device_name(slot) == dev)
        };
        dst.is_none_or(to_dst) && dev.is_none_or(to_dev)
    }

    /// Where an entry points, for a sentence.
    fn whereabouts(&self, entry: Entry) -> String {
        match entry.target() {
            FdbTarget::Peer(peer) => self.peers.ip(peer).to_string(),
            FdbTarget::Port(slot) => self.ports.device_name(slot).to_owned(),
            FdbTarget::List(_) => "a list of VTEPs".to_owned(),
        }
    }

    fn exists_already(
        &self,
        entry: Entry,
        mac: MacAddr,
        location: Location,
        spec: &FdbSpec,
    ) -> String {
        let vni = spec.vni;
        let (verb, location) = match (entry.target(), location) {
            (FdbTarget::List(_), Location::Vtep(ip)) => ("append", format!("--dst {ip}")),
            (_, Location::Vtep(ip)) => ("replace", format!("--dst {ip}")),
            (_, Location::Port(_)) => (
                "replace",
                format!("--dev {}", spec.dev.as_deref().unwrap_or("PORT")),
            ),
        };
        format!(
            "{mac} exists already in vni {vni} and points to {}; use: vtep fdb {verb} {mac} --vni {vni} {location}",
            self.whereabouts(entry)
        )
    }
}
