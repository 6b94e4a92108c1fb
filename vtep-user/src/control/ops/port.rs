//! Ports: interfaces, or single VLANs of them, that belong to a VNI.

use std::{collections::BTreeSet, net::IpAddr};

use vtep_common::abi::{
    addr::MacAddr,
    fdb::FdbTarget,
    id::{PortSlot, SegmentId},
    port::{Port, PortKey},
};

use super::refuse;
use crate::{
    control::{
        effect::{Attachment, Effect, Write},
        record::{
            entry::Entry,
            facts::{LinkFacts, Links, ReservedFor},
            ports::take_facts,
            settings,
        },
        state::State,
    },
    model::{Op, PortChange, PortHook, PortPart, PortRow, PortSpec, Refusal, VlanId},
};

/// The VLAN as it stands in the maps.
fn vlan_number(vlan: Option<VlanId>) -> u16 {
    vlan.map_or(0, VlanId::get)
}

/// The MACs of a list, which must be unicast MACs.
fn unicast_macs(macs: &[MacAddr]) -> Result<BTreeSet<MacAddr>, Refusal> {
    macs.iter()
        .map(|&mac| refuse::unicast(mac, "--mac"))
        .collect()
}

impl State {
    /// A port as a row, with the name and the hook of its device.
    pub(crate) fn port_row(&self, slot: PortSlot, dev: String, hook: PortHook) -> PortRow {
        let port = &self.ports[slot];
        let delivery = if port.has(Port::XDP_TARGET) {
            "xdp"
        } else {
            "tc"
        };
        PortRow {
            dev,
            vni: self.segments.vni(port.segment),
            vlan: VlanId::new(port.vlan),
            hook,
            ifindex: Some(port.ifindex),
            delivery: Some(delivery.to_owned()),
            macs: self.fdb.static_behind(slot).collect(),
            ips: self.addresses.of(slot).iter().copied().collect(),
            max_macs: (port.max_macs != 0).then_some(port.max_macs),
        }
    }

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
        let device = self.ports.device(ifindex);
        if let Some(slot) = device.and_then(|device| device.port(vlan_number(*vlan))) {
            return Err(Refusal::conflict(format!(
                "port {} is already in vni {}; remove it first with: vtep port del {dev}{}",
                refuse::port_name(dev, *vlan),
                self.segments.vni(self.ports[slot].segment),
                refuse::vlan_option(*vlan)
            )));
        }
        if let (Some(device), Some(hook)) = (device, *hook)
            && device.hook != hook
        {
            return Err(Refusal::conflict(format!(
                "port {dev} has hook {} for all its VLANs; leave --hook out, or change it first with: vtep port set {dev} --hook {hook}",
                device.hook
            )));
        }
        if self.ports.len() >= self.limits.ports {
            return Err(Refusal::full(format!(
                "the port table is full ({} ports); remove one with: vtep port del DEV",
                self.limits.ports
            )));
        }
        self.check_lists_room(number)?;
        let max_macs = max_macs.unwrap_or(0);
        let macs = unicast_macs(macs)?;
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
            out.attach.push(Attachment {
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
            ifindex: ifindex.get(),
            segment: number,
            vlan: vlan_number(*vlan),
            hook: settings::hook_code(hook),
            max_macs,
            ..Port::default()
        };
        take_facts(&mut port, &facts);
        let slot = self.ports.insert(port, &facts);
        let now = self.run.now;
        self.run.fresh.insert(slot, now);
        out.write(Write::ClearPortCounters(slot));
        out.write(Write::Port(slot, port));
        self.join_vni(slot, macs, &ips, &mut out);
        let key = PortKey::new(port.ifindex, port.vlan);
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
        let slot = device
            .port(vlan_number(*vlan))
            .ok_or_else(|| refuse::no_vlan(dev, *vlan, &device.vlans()))?;
        let old_hook = device.hook;
        let old = self.ports[slot];
        let old_macs: BTreeSet<MacAddr> = self.fdb.static_behind(slot).collect();
        let old_ips = self.addresses.of(slot).clone();
        let number = match vni {
            Some(vni) => self.segment_of(*vni)?,
            None => old.segment,
        };
        let moves = number != old.segment;
        if moves {
            self.check_lists_room(number)?;
        }
        let macs = match macs {
            Some(macs) => unicast_macs(macs)?,
            None => old_macs.clone(),
        };
        let max_macs = max_macs.unwrap_or(old.max_macs);
        self.check_macs(number, &macs, Some(slot), max_macs, (dev, *vlan))?;
        let ips = match ips {
            Some(ips) => ips.iter().copied().collect(),
            None => old_ips.clone(),
        };
        self.check_ips(number, &ips, Some(slot))?;

        let mut out = Effect::default();
        if moves {
            self.leave_vni(slot, &mut out);
        } else {
            for &mac in old_macs.difference(&macs) {
                self.remove_entry(number, mac, &mut out);
            }
        }
        if self.ports.set(slot, number, max_macs) {
            out.write(Write::Port(slot, self.ports[slot]));
        }
        if moves {
            self.join_vni(slot, macs, &ips, &mut out);
        } else {
            self.add_hosts(slot, macs, &ips, &mut out);
        }
        if let Some(hook) = *hook
            && hook != old_hook
        {
            self.set_hook(ifindex, hook, &mut out);
            out.undo = Some(Op::PortSet {
                dev: dev.to_owned(),
                change: Box::new(PortChange {
                    vlan: *vlan,
                    vni: Some(self.segments.vni(old.segment)),
                    hook: Some(old_hook),
                    macs: Some(old_macs.into_iter().collect()),
                    ips: Some(old_ips.into_iter().collect()),
                    max_macs: Some(old.max_macs),
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
            .ports()
            .filter(|&(at, slot)| {
                part.vlan.is_none_or(|vlan| at == vlan.get())
                    && number.is_none_or(|number| self.ports[slot].segment == number)
            })
            .map(|(_, slot)| slot)
            .collect();
        if slots.is_empty() {
            let known = device.vlans();
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
            Some(ReservedFor::Uplink) => Err(Refusal::conflict(format!(
                "{name} is the uplink and cannot be a port; give the interface of a VM or container, or start vtep with another --iface"
            ))),
            Some(ReservedFor::SlowPath) => Err(Refusal::conflict(format!(
                "{name} is vtep's own slow-path device and cannot be a port; give the interface of a VM or container"
            ))),
            None => Ok(()),
        }
    }

    /// Refuses if a port, in slot `old` if there is one so far, cannot have `macs` in segment `number`.
    fn check_macs(
        &self,
        number: SegmentId,
        macs: &BTreeSet<MacAddr>,
        old: Option<PortSlot>,
        max_macs: u32,
        (dev, vlan): (&str, Option<VlanId>),
    ) -> Result<(), Refusal> {
        let vni = self.segments.vni(number);
        let here = old.filter(|&old| self.ports[old].segment == number);
        let had: BTreeSet<MacAddr> = here
            .into_iter()
            .flat_map(|slot| self.fdb.static_behind(slot))
            .collect();
        let is_new = |mac: &&MacAddr| !had.contains(*mac);
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
            .filter(|mac| self.fdb.get(number, **mac).is_none())
            .count();
        let (freed, freed_here) = match (old, here) {
            (_, Some(_)) => {
                let freed = had.difference(macs).count();
                (freed, freed)
            }
            (Some(old), None) => (self.fdb.count_behind(old), 0),
            (None, None) => (0, 0),
        };
        self.check_fdb_room(more.saturating_sub(freed))?;
        self.check_vni_room(number, more.saturating_sub(freed_here))
    }

    /// Lets the floods of its VNI reach a port, and puts `macs` and `ips` behind it.
    fn join_vni(
        &mut self,
        slot: PortSlot,
        macs: BTreeSet<MacAddr>,
        ips: &BTreeSet<IpAddr>,
        out: &mut Effect,
    ) {
        self.ports.flood(slot);
        self.write_lists(self.ports[slot].segment, out);
        self.add_hosts(slot, macs, ips, out);
    }

    /// Puts `macs` behind a port and makes `ips` its addresses. What is new is announced.
    fn add_hosts(
        &mut self,
        slot: PortSlot,
        mut macs: BTreeSet<MacAddr>,
        ips: &BTreeSet<IpAddr>,
        out: &mut Effect,
    ) {
        let number = self.ports[slot].segment;
        if ips.is_subset(self.addresses.of(slot)) {
            for mac in self.fdb.static_behind(slot) {
                macs.remove(&mac);
            }
        }
        for &mac in &macs {
            self.set_entry(number, mac, Entry::static_to(FdbTarget::Port(slot)), 0, out);
        }
        self.set_ips(slot, ips, out);
        for mac in macs {
            self.announce(slot, mac, out);
        }
    }

    /// Takes a port off the lists of its VNI, with the MACs behind it.
    pub(crate) fn leave_vni(&mut self, slot: PortSlot, out: &mut Effect) {
        self.set_ips(slot, &BTreeSet::new(), out);
        let number = self.ports[slot].segment;
        let mut macs: Vec<_> = self.fdb.static_behind(slot).collect();
        macs.extend(self.fdb.learned_behind(number, slot));
        for mac in macs {
            self.remove_entry(number, mac, out);
        }
        self.thaw_port(slot, out);
        self.ports.unflood(slot);
        self.write_lists(number, out);
    }
}
