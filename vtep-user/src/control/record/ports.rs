//! The ports, the interfaces that they are on, and which of them belong to each VNI.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Index,
};

use vtep_common::abi::{
    flags::PortFlags,
    id::{Ifindex, PortSlot, SegmentId},
    port::{Port, PortKey},
    vlans::Vlans,
};

use super::{delivery, facts::LinkFacts, numbered::Numbered, slots::Slots};
use crate::model::PortHook;

/// An interface with ports.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Device {
    /// Its name.
    pub(crate) name: String,
    /// The hook that the user named.
    pub(crate) hook: PortHook,
    /// What was last found out about it.
    pub(crate) facts: LinkFacts,
    /// Its ports: VLAN ID, or 0 for untagged frames, to slot.
    slots: BTreeMap<u16, PortSlot>,
}

impl Device {
    /// The port that takes a VLAN, or, for 0, untagged frames.
    pub(crate) fn port(&self, vlan: u16) -> Option<PortSlot> {
        self.slots.get(&vlan).copied()
    }

    /// Its ports, by VLAN.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (u16, PortSlot)> {
        self.slots.iter().map(|(&vlan, &slot)| (vlan, slot))
    }

    /// The VLANs that have a port each, its untagged frames apart.
    pub(crate) fn trunk(&self) -> Vlans {
        Vlans::of(self.slots.keys().copied().filter(|&vlan| vlan != 0))
    }

    /// Whether there are any of those.
    pub(crate) fn is_trunk(&self) -> bool {
        self.slots.keys().any(|&vlan| vlan != 0)
    }

    /// The VLANs that it has ports for.
    pub(crate) fn vlans(&self) -> Vec<u16> {
        self.slots.keys().copied().collect()
    }
}

/// Ports, each as it stands in the map: one VLAN of an interface, or its untagged frames.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ports {
    slots: Slots<PortSlot, Port>,
    /// Interface number to interface.
    devices: BTreeMap<Ifindex, Device>,
    /// Name to interface number.
    names: HashMap<String, Ifindex>,
    /// The slots of the ports that floods of a segment reach.
    flooded: Numbered<SegmentId, BTreeSet<PortSlot>>,
    /// The slots of the ports of a segment that floods will reach, once their interfaces are there.
    waiting: Numbered<SegmentId, BTreeSet<PortSlot>>,
}

impl Ports {
    /// How many there are.
    pub(crate) fn len(&self) -> u32 {
        self.slots.len()
    }

    /// The port in a slot.
    pub(crate) fn get(&self, slot: PortSlot) -> Option<&Port> {
        self.slots.get(slot)
    }

    /// All ports, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PortSlot, &Port)> {
        self.slots.iter()
    }

    /// The interfaces with ports, by number.
    pub(crate) fn devices(&self) -> impl Iterator<Item = (Ifindex, &Device)> {
        self.devices
            .iter()
            .map(|(&ifindex, device)| (ifindex, device))
    }

    /// An interface with ports, by number.
    pub(crate) fn device(&self, ifindex: Ifindex) -> Option<&Device> {
        self.devices.get(&ifindex)
    }

    /// An interface with ports, by name.
    pub(crate) fn device_named(&self, name: &str) -> Option<(Ifindex, &Device)> {
        let ifindex = *self.names.get(name)?;
        Some((ifindex, &self.devices[&ifindex]))
    }

    /// The interface of that name, if ports wait for it.
    pub(crate) fn awaited(&self, name: &str) -> Option<(Ifindex, &Device)> {
        let named = self.device_named(name);
        named.filter(|(ifindex, _)| ifindex.is_absent())
    }

    /// A number for an interface that is waited for.
    pub(crate) fn absent_number(&self) -> Ifindex {
        let last = self.devices.keys().next_back().copied();
        let next = last.filter(|last| last.is_absent());
        next.map_or(Ifindex::absent(0), |last| {
            Ifindex::absent(last.get().wrapping_add(1))
        })
    }

    /// All ports of a segment, those that wait for their interfaces too.
    pub(crate) fn of_segment(&self, number: SegmentId) -> impl Iterator<Item = PortSlot> {
        let waiting = self.waiting.get(number).into_iter().flatten();
        self.flooded(number).iter().chain(waiting).copied()
    }

    /// How many that are.
    pub(crate) fn count_of_segment(&self, number: SegmentId) -> usize {
        let waiting = self.waiting.get(number).map_or(0, BTreeSet::len);
        self.flooded(number).len() + waiting
    }

    /// The name of the interface that a port is on.
    pub(crate) fn device_name(&self, slot: PortSlot) -> &str {
        let ifindex = Ifindex::new(self.slots[slot].ifindex);
        &self.devices[&ifindex].name
    }

    /// Puts a port into a free slot, which is returned.
    pub(crate) fn insert(&mut self, port: Port, facts: &LinkFacts) -> PortSlot {
        let slot = self.slots.insert(port);
        self.register(slot, facts);
        slot
    }

    /// Takes a port over that has its slot.
    pub(crate) fn adopt(&mut self, slot: PortSlot, port: Port, facts: &LinkFacts) {
        self.slots.put(slot, port);
        self.register(slot, facts);
        self.flood(slot);
    }

    /// Takes a slot into the table of interfaces. The first port of an interface says at which hook its frames are taken.
    fn register(&mut self, slot: PortSlot, facts: &LinkFacts) {
        let Port { vlan, flags, .. } = self.slots[slot];
        self.names.insert(facts.name.clone(), facts.ifindex);
        let device = self.devices.entry(facts.ifindex);
        let device = device.or_insert_with(|| Device {
            name: facts.name.clone(),
            hook: hook(flags),
            facts: facts.clone(),
            slots: BTreeMap::new(),
        });
        device.slots.insert(vlan, slot);
    }

    /// Takes a port off its interface. Returns its key in `PORT_INDEX`, and the number of the interface if that was its last port.
    pub(crate) fn unregister(&mut self, slot: PortSlot) -> (PortKey, Option<Ifindex>) {
        let port = &self.slots[slot];
        let key = PortKey::new(port.ifindex, port.vlan);
        let ifindex = Ifindex::new(key.ifindex);
        let Some(device) = self.devices.get_mut(&ifindex) else {
            return (key, None);
        };
        device.slots.remove(&key.vlan);
        if !device.slots.is_empty() {
            return (key, None);
        }
        if self.names.get(&device.name) == Some(&ifindex) {
            self.names.remove(&device.name);
        }
        self.devices.remove(&ifindex);
        (key, Some(ifindex))
    }

    /// Frees a slot.
    pub(crate) fn remove(&mut self, slot: PortSlot) {
        self.unflood(slot);
        self.slots.remove(slot);
    }

    /// The slots of the ports that floods of a segment reach.
    pub(crate) fn flooded(&self, number: SegmentId) -> &BTreeSet<PortSlot> {
        const NONE: &BTreeSet<PortSlot> = &BTreeSet::new();
        self.flooded.get(number).unwrap_or(NONE)
    }

    /// Lets floods of its segment reach a port, once its interface is there.
    pub(crate) fn flood(&mut self, slot: PortSlot) {
        let port = &self.slots[slot];
        let slots = if port.has(Port::ABSENT) {
            &mut self.waiting
        } else {
            &mut self.flooded
        };
        slots.at(port.segment).insert(slot);
    }

    /// Lets floods of its segment reach a port no longer.
    pub(crate) fn unflood(&mut self, slot: PortSlot) {
        if let Some(port) = self.slots.get(slot) {
            self.flooded.at(port.segment).remove(&slot);
            self.waiting.at(port.segment).remove(&slot);
        }
    }

    /// Changes the settings of a port, which no flood reaches if it changes its segment; true if it is another than before.
    pub(crate) fn set(&mut self, slot: PortSlot, port: Port) -> bool {
        let old = std::mem::replace(&mut self.slots[slot], port);
        port != old
    }

    /// Has the ports of an interface on another one, which has none so far. Returns them as they are then, each with its old key in
    /// `PORT_INDEX`.
    pub(crate) fn rebind(
        &mut self,
        from: Ifindex,
        to: &LinkFacts,
    ) -> Vec<(PortSlot, PortKey, Port)> {
        let Some(mut device) = self.devices.remove(&from) else {
            return Vec::new();
        };
        if self.names.get(&device.name) == Some(&from) {
            self.names.remove(&device.name);
        }
        device.name.clone_from(&to.name);
        device.facts = to.clone();
        self.names.insert(to.name.clone(), to.ifindex);
        let mut moved = Vec::new();
        for &slot in device.slots.values() {
            self.unflood(slot);
            let port = &mut self.slots[slot];
            let key = PortKey::new(port.ifindex, port.vlan);
            port.ifindex = to.ifindex.get();
            take_facts(port, to);
            moved.push((slot, key, *port));
            self.flood(slot);
        }
        self.devices.insert(to.ifindex, device);
        moved
    }

    /// Takes on what is known of an interface. Returns its ports if it has another name, and those that are others for it.
    pub(crate) fn link_changed(
        &mut self,
        facts: &LinkFacts,
    ) -> (Vec<PortSlot>, Vec<(PortSlot, Port)>) {
        let Some(device) = self.devices.get_mut(&facts.ifindex) else {
            return Default::default();
        };
        let mut renamed = Vec::new();
        if device.name != facts.name {
            let old = std::mem::replace(&mut device.name, facts.name.clone());
            if self.names.get(&old) == Some(&facts.ifindex) {
                self.names.remove(&old);
            }
            self.names.insert(facts.name.clone(), facts.ifindex);
            renamed.extend(device.slots.values());
        }
        (renamed, self.take_facts(facts))
    }

    /// Brings the ports of an interface in line with what is known of it. Returns those that are others for it.
    pub(crate) fn take_facts(&mut self, facts: &LinkFacts) -> Vec<(PortSlot, Port)> {
        let Some(device) = self.devices.get_mut(&facts.ifindex) else {
            return Vec::new();
        };
        device.facts = facts.clone();
        let mut changed = Vec::new();
        for &slot in device.slots.values() {
            let port = &mut self.slots[slot];
            let old = *port;
            set_hook(port, device.hook);
            port.set(Port::TRUNK, port.vlan == 0 && device.is_trunk());
            take_facts(port, facts);
            if *port != old {
                changed.push((slot, *port));
            }
        }
        changed
    }

    /// Takes the frames of an interface at another hook. Returns its name, and its ports as they are then.
    pub(crate) fn set_hook(
        &mut self,
        ifindex: Ifindex,
        hook: PortHook,
    ) -> (String, Vec<(PortSlot, Port)>) {
        let device = self.devices.get_mut(&ifindex).expect("looked up before");
        device.hook = hook;
        let ports = device.slots.values().map(|&slot| {
            let port = &mut self.slots[slot];
            set_hook(port, hook);
            (slot, *port)
        });
        (device.name.clone(), ports.collect())
    }
}

impl Index<PortSlot> for Ports {
    type Output = Port;

    fn index(&self, slot: PortSlot) -> &Port {
        &self.slots[slot]
    }
}

/// Takes on the hook that was asked for.
pub(crate) fn set_hook(port: &mut Port, hook: PortHook) {
    port.set(Port::HOOK_TC, hook == PortHook::Tc);
    port.set(Port::HOOK_XDP, hook == PortHook::Xdp);
}

/// The hook that was asked for, from the map.
pub(crate) fn hook(flags: PortFlags) -> PortHook {
    match (flags.has(Port::HOOK_TC), flags.has(Port::HOOK_XDP)) {
        (true, false) => PortHook::Tc,
        (false, true) => PortHook::Xdp,
        _ => PortHook::Auto,
    }
}

/// Takes on what is known about the interface of a port.
pub(crate) fn take_facts(port: &mut Port, facts: &LinkFacts) {
    port.set(Port::ABSENT, facts.ifindex.is_absent());
    port.mtu = facts.mtu;
    port.set(Port::IN_USE, true);
    delivery::choose(port, facts);
}
