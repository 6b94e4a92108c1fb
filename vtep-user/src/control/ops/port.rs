//! Ports: interfaces, or single VLANs of them, that belong to a VNI.

use std::{collections::BTreeSet, net::IpAddr};

use vtep_common::{
    addr::MacAddr,
    maps::{self, PortKey},
};

use crate::control::{
    Attach, Effect, LinkFacts, Links, Reserved, State, Write,
    ops::{
        entry::{Entry, Kind},
        refuse,
    },
    record::settings,
    state::Port,
};
use crate::model::{Op, PortChange, PortHook, PortPart, PortRow, PortSpec, Refusal, VlanId, Vni};

impl Port {
    /// Most MACs behind it, 0 for no limit. It stands in the last word of the record, which only the daemon reads.
    pub(crate) const fn max_macs(&self) -> u32 {
        self.pod.max_macs
    }

    /// It as a row, with the device's name and hook.
    pub(crate) fn row(&self, vni: Vni, dev: String, hook: PortHook) -> PortRow {
        let max_macs = self.max_macs();
        let delivery = if self.pod.has(maps::Port::XDP_TARGET) {
            "xdp"
        } else {
            "tc"
        };
        PortRow {
            dev,
            vni,
            vlan: VlanId::new(self.pod.vlan),
            hook,
            ifindex: Some(self.pod.ifindex),
            delivery: Some(delivery.to_owned()),
            macs: self.macs.iter().copied().collect(),
            ips: self.ips.iter().copied().collect(),
            max_macs: (max_macs != 0).then_some(max_macs),
        }
    }

    /// The MACs behind it, learned ones included.
    pub(crate) fn entries(&self) -> usize {
        self.macs.len() + self.learned as usize
    }

    /// Takes on what is known about the interface.
    pub(crate) fn take_facts(&mut self, facts: &LinkFacts) {
        let pod = &mut self.pod;
        pod.mtu = facts.mtu;
        pod.flags = maps::Port::IN_USE;
        if facts.xdp_target {
            pod.flags |= maps::Port::XDP_TARGET;
        }
        if facts.peer_target {
            pod.flags |= maps::Port::PEER_TARGET;
        }
    }

    /// Its key in `PORT_INDEX`.
    pub(crate) fn key(&self) -> PortKey {
        PortKey::new(self.pod.ifindex, self.pod.vlan)
    }
}

/// The VLAN as it stands in the maps.
fn vlan_number(vlan: Option<VlanId>) -> u16 {
    vlan.map_or(0, VlanId::get)
}

/// The MACs of a list, which must be stations.
fn stations(macs: &[MacAddr]) -> Result<BTreeSet<MacAddr>, Refusal> {
    macs.iter()
        .map(|&mac| refuse::station(mac, "--mac"))
        .collect()
}

impl State {
    pub(crate) fn port_add(
        &mut self,
        spec: &PortSpec,
        links: &dyn Links,
    ) -> Result<Effect, Refusal> {
        let PortSpec {
            dev,
            vni,
            vlan,
            hook,
            macs,
            ips,
            max_macs,
        } = spec;
        let facts = links.link(dev).ok_or_else(|| {
            Refusal::not_found(format!(
                "interface {dev} does not exist; create it with: ip tuntap add dev {dev} mode tap"
            ))
        })?;
        let number = self.segment_of(*vni)?;
        self.check_not_reserved(&facts)?;
        let (ifindex, name) = (facts.ifindex, facts.name.clone());
        let device = self.devices.get(&ifindex);
        if let Some(&slot) = device.and_then(|device| device.slots.get(&vlan_number(*vlan))) {
            return Err(Refusal::conflict(format!(
                "port {} is already in vni {}; take it away first with: vtep port del {dev}{}",
                refuse::port_name(dev, *vlan),
                self.segments[self.ports[slot].pod.segment].vni(),
                refuse::vlan_option(*vlan)
            )));
        }
        if let (Some(device), Some(hook)) = (device, *hook)
            && device.hook != hook
        {
            return Err(Refusal::conflict(format!(
                "port {dev} is taken at hook {}, which all its VLANs share; leave --hook out, or change it first with: vtep port set {dev} --hook {hook}",
                device.hook
            )));
        }
        if self.ports.len() >= self.limits.ports {
            return Err(Refusal::full(format!(
                "there is room for {} ports and no more; take one away with: vtep port del DEV",
                self.limits.ports
            )));
        }
        self.check_lists_room(number)?;
        let max_macs = max_macs.unwrap_or(0);
        let macs = stations(macs)?;
        self.check_macs(number, &macs, None, max_macs, (dev, *vlan))?;
        let ips = ips.iter().copied().collect();
        self.check_ips(number, &ips, None)?;

        let new_device = device.is_none();
        let hook = match device {
            Some(device) => device.hook,
            None => hook.unwrap_or(PortHook::Auto),
        };
        let mut out = Effect {
            writes: self.link_changed(&facts),
            ..Effect::default()
        };
        if new_device {
            out.attach.push(Attach {
                ifindex,
                name: name.clone(),
                hook,
            });
            out.undo = Some(Op::PortDel {
                dev: name,
                part: PortPart::default(),
            });
        }
        let mut port = Port {
            pod: maps::Port {
                ifindex,
                segment: number,
                vlan: vlan_number(*vlan),
                hook: settings::hook_code(hook),
                max_macs,
                ..maps::Port::default()
            },
            macs: BTreeSet::new(),
            learned: 0,
            ips: BTreeSet::new(),
        };
        port.take_facts(&facts);
        let (pod, key) = (port.pod, port.key());
        let slot = self.map(port, &facts, hook);
        out.write(Write::ClearPortCounters(slot));
        out.write(Write::Port(slot, pod));
        self.enter(slot, macs, ips, &mut out);
        out.write(Write::PortIndex(key, Some(slot)));
        Ok(out)
    }

    pub(crate) fn port_set(&mut self, dev: &str, change: &PortChange) -> Result<Effect, Refusal> {
        let PortChange {
            vlan,
            vni,
            hook,
            macs,
            ips,
            max_macs,
        } = change;
        let (ifindex, device) = self.device(dev)?;
        let &slot = device.slots.get(&vlan_number(*vlan)).ok_or_else(|| {
            let known: Vec<_> = device.slots.keys().copied().collect();
            refuse::no_vlan(dev, *vlan, &known)
        })?;
        let old_hook = device.hook;
        let old = self.ports[slot].clone();
        let number = match vni {
            Some(vni) => self.segment_of(*vni)?,
            None => old.pod.segment,
        };
        let moves = number != old.pod.segment;
        if moves {
            self.check_lists_room(number)?;
        }
        let macs = match macs {
            Some(macs) => stations(macs)?,
            None => old.macs.clone(),
        };
        let max_macs = max_macs.unwrap_or(old.max_macs());
        self.check_macs(number, &macs, Some(&old), max_macs, (dev, *vlan))?;
        let ips = match ips {
            Some(ips) => ips.iter().copied().collect(),
            None => old.ips.clone(),
        };
        self.check_ips(number, &ips, Some(slot))?;

        let mut out = Effect::default();
        if moves {
            self.leave(slot, &mut out);
        } else {
            for &mac in old.macs.difference(&macs) {
                self.remove_entry(number, mac, &mut out);
            }
        }
        let pod = &mut self.ports[slot].pod;
        pod.segment = number;
        pod.max_macs = max_macs;
        if *pod != old.pod {
            out.write(Write::Port(slot, *pod));
        }
        if moves {
            self.enter(slot, macs, ips, &mut out);
        } else {
            self.add_hosts(slot, macs, ips, &mut out);
        }
        if let Some(hook) = *hook
            && hook != old_hook
        {
            self.set_hook(ifindex, hook, &mut out);
            out.undo = Some(Op::PortSet {
                dev: dev.to_owned(),
                change: Box::new(PortChange {
                    vlan: *vlan,
                    vni: Some(self.segments[old.pod.segment].vni()),
                    hook: Some(old_hook),
                    macs: Some(old.macs.iter().copied().collect()),
                    ips: Some(old.ips.iter().copied().collect()),
                    max_macs: Some(old.max_macs()),
                }),
            });
        }
        Ok(out)
    }

    /// Takes ports away with the FDB entries behind them; the interface is let go with the last.
    pub(crate) fn port_del(&mut self, dev: &str, part: &PortPart) -> Result<Effect, Refusal> {
        let (_, device) = self.device(dev)?;
        let number = part.vni.map(|vni| self.segment_of(vni)).transpose()?;
        let slots: Vec<_> = device
            .slots
            .iter()
            .filter(|&(&at, &slot)| {
                part.vlan.is_none_or(|vlan| at == vlan.get())
                    && number.is_none_or(|number| self.ports[slot].pod.segment == number)
            })
            .map(|(_, &slot)| slot)
            .collect();
        if slots.is_empty() {
            let known: Vec<_> = device.slots.keys().copied().collect();
            return Err(match *part {
                PortPart {
                    vlan: Some(vlan), ..
                } if !known.contains(&vlan.get()) => refuse::no_vlan(dev, Some(vlan), &known),
                PortPart { vni: Some(vni), .. } => refuse::not_in_vni(dev, vni),
                PortPart { vni: None, .. } => refuse::no_port(dev),
            });
        }
        let mut out = Effect::default();
        for slot in slots {
            self.remove_port(slot, &mut out);
        }
        Ok(out)
    }

    fn check_not_reserved(&self, facts: &LinkFacts) -> Result<(), Refusal> {
        let name = &facts.name;
        match self.reserved.get(&facts.ifindex) {
            Some(Reserved::Uplink) => Err(Refusal::conflict(format!(
                "{name} is the uplink and cannot be a port; give the interface of a VM or container, or start vtep with another --iface"
            ))),
            Some(Reserved::Tunnel) => Err(Refusal::conflict(format!(
                "{name} is vtep's own tunnel device and cannot be a port; give the interface of a VM or container"
            ))),
            None => Ok(()),
        }
    }

    /// Refuses if a port, `old` so far, cannot have `macs` in segment `number`.
    fn check_macs(
        &self,
        number: u32,
        macs: &BTreeSet<MacAddr>,
        old: Option<&Port>,
        max_macs: u32,
        (dev, vlan): (&str, Option<VlanId>),
    ) -> Result<(), Refusal> {
        let segment = &self.segments[number];
        let vni = segment.vni();
        let here = old.filter(|old| old.pod.segment == number);
        let is_new = |mac: &&MacAddr| here.is_none_or(|old| !old.macs.contains(mac));
        let taken = |mac: &&MacAddr| self.is_static(number, **mac);
        if let Some(mac) = macs.iter().filter(is_new).find(taken) {
            return Err(Refusal::conflict(format!(
                "{mac} exists already in vni {vni}; delete it first with: vtep fdb del {mac} --vni {vni}"
            )));
        }
        if max_macs != 0 && macs.len() > max_macs as usize {
            return Err(refuse::port_full(dev, vlan, max_macs));
        }
        // Those that were learned so far have their entries already, unless they went with a port that moves away.
        let more = macs
            .iter()
            .filter(|mac| !segment.fdb.contains_key(mac))
            .count();
        let (freed, freed_here) = match (old, here) {
            (_, Some(old)) => {
                let freed = old.macs.difference(macs).count();
                (freed, freed)
            }
            (Some(old), None) => (old.entries(), 0),
            (None, None) => (0, 0),
        };
        self.check_fdb_room(more.saturating_sub(freed))?;
        self.check_vni_room(number, more.saturating_sub(freed_here))
    }

    /// Puts a port on the lists of its VNI, and `macs` and `ips` behind it.
    fn enter(
        &mut self,
        slot: u32,
        macs: BTreeSet<MacAddr>,
        ips: BTreeSet<IpAddr>,
        out: &mut Effect,
    ) {
        let number = self.ports[slot].pod.segment;
        self.segments[number].ports.insert(slot);
        self.write_lists(number, out);
        self.add_hosts(slot, macs, ips, out);
    }

    /// Puts `macs` behind a port and makes `ips` its addresses. What is new is announced.
    fn add_hosts(
        &mut self,
        slot: u32,
        mut macs: BTreeSet<MacAddr>,
        ips: BTreeSet<IpAddr>,
        out: &mut Effect,
    ) {
        let port = &self.ports[slot];
        let number = port.pod.segment;
        if ips.is_subset(&port.ips) {
            macs.retain(|mac| !port.macs.contains(mac));
        }
        for &mac in &macs {
            self.set_entry(number, mac, Entry::fixed(Kind::Port, slot), 0, out);
        }
        self.set_ips(slot, ips, out);
        for mac in macs {
            self.announce(slot, mac, out);
        }
    }

    /// Takes a port off the lists of its VNI, with the MACs behind it.
    pub(crate) fn leave(&mut self, slot: u32, out: &mut Effect) {
        self.set_ips(slot, BTreeSet::new(), out);
        let number = self.ports[slot].pod.segment;
        let port = &self.ports[slot];
        let mut macs: Vec<_> = port.macs.iter().copied().collect();
        if port.learned != 0 {
            let fdb = self.segments[number].fdb.iter();
            let here = fdb.filter(|(_, entry)| entry.is_learned() && entry.port() == Some(slot));
            macs.extend(here.map(|(&mac, _)| mac));
        }
        for mac in macs {
            self.remove_entry(number, mac, out);
        }
        self.thaw_port(slot, out);
        self.segments[number].ports.remove(&slot);
        self.write_lists(number, out);
    }
}
