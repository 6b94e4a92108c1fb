//! Interfaces with ports: which there are, and what happens to them.

use std::collections::BTreeMap;

use vtep_common::maps;

use crate::control::{
    Attach, Effect, LinkFacts, State, Write,
    ops::refuse,
    record::{run::Scope, settings},
    state::{Device, Port},
};
use crate::model::{PortHook, Refusal};

impl State {
    /// An interface with ports, by name.
    pub(crate) fn device(&self, dev: &str) -> Result<(u32, &Device), Refusal> {
        let ifindex = self.names.get(dev).ok_or_else(|| refuse::no_port(dev))?;
        Ok((*ifindex, &self.devices[ifindex]))
    }

    /// Every interface with ports, and how its frames are taken.
    pub fn attachments(&self) -> impl Iterator<Item = Attach> {
        self.devices.iter().map(|(&ifindex, device)| Attach {
            ifindex,
            name: device.name.clone(),
            hook: device.hook,
        })
    }

    /// Takes away the ports of an interface that is gone.
    pub fn link_gone(&mut self, ifindex: u32) -> Effect {
        let mut out = Effect::default();
        if let Some(device) = self.devices.get(&ifindex) {
            for slot in device.slots.values().copied().collect::<Vec<_>>() {
                self.remove_port(slot, &mut out);
            }
        }
        out
    }

    /// Takes on what changed about an interface: its name, MTU, and how frames can be handed to it.
    pub fn link_changed(&mut self, facts: &LinkFacts) -> Vec<Write> {
        let Some(device) = self.devices.get_mut(&facts.ifindex) else {
            return Vec::new();
        };
        if device.name != facts.name {
            let old = std::mem::replace(&mut device.name, facts.name.clone());
            if self.names.get(&old) == Some(&facts.ifindex) {
                self.names.remove(&old);
            }
            self.names.insert(facts.name.clone(), facts.ifindex);
        }
        let came_up = facts.running && !device.running;
        device.running = facts.running;
        let mut writes = Vec::new();
        for &slot in device.slots.values() {
            if came_up {
                self.run.0.fresh.insert(slot, self.run.0.now);
            }
            let port = &mut self.ports[slot];
            let old = port.pod;
            port.take_facts(facts);
            if port.pod != old {
                writes.push(Write::Port(slot, port.pod));
            }
        }
        writes
    }

    /// Takes a port into the tables of ports and interfaces.
    pub(crate) fn map(&mut self, port: Port, facts: &LinkFacts, hook: PortHook) -> u32 {
        let vlan = port.pod.vlan;
        let slot = self.ports.insert(port);
        self.register(facts, vlan, slot, hook);
        let now = self.run.now;
        self.run.fresh.insert(slot, now);
        slot
    }

    /// Takes slot `slot` into the table of interfaces.
    pub(crate) fn register(&mut self, facts: &LinkFacts, vlan: u16, slot: u32, hook: PortHook) {
        self.names.insert(facts.name.clone(), facts.ifindex);
        self.devices
            .entry(facts.ifindex)
            .or_insert_with(|| Device {
                name: facts.name.clone(),
                hook,
                slots: BTreeMap::new(),
                running: facts.running,
            })
            .slots
            .insert(vlan, slot);
    }

    /// Takes no more frames for a port, and lets its interface go if that was its last.
    pub(crate) fn unmap(&mut self, slot: u32, out: &mut Effect) {
        let key = self.ports[slot].key();
        out.write(Write::PortIndex(key, None));
        let Some(device) = self.devices.get_mut(&key.ifindex) else {
            return;
        };
        device.slots.remove(&key.vlan);
        if device.slots.is_empty() {
            if self.names.get(&device.name) == Some(&key.ifindex) {
                self.names.remove(&device.name);
            }
            self.devices.remove(&key.ifindex);
            out.detach.push(key.ifindex);
        }
    }

    pub(crate) fn remove_port(&mut self, slot: u32, out: &mut Effect) {
        self.unmap(slot, out);
        self.leave(slot, out);
        self.drop_port(slot, out);
    }

    /// Frees the slot of a port that nothing refers to any more.
    pub(crate) fn drop_port(&mut self, slot: u32, out: &mut Effect) {
        self.ports.remove(slot);
        self.run.fresh.remove(&slot);
        self.run.announced.remove(&slot);
        self.run.told.remove(&Scope::Port(slot));
        out.write(Write::Port(slot, maps::Port::default()));
    }

    /// Takes the frames of an interface at another hook.
    pub(crate) fn set_hook(&mut self, ifindex: u32, hook: PortHook, out: &mut Effect) {
        let device = self.devices.get_mut(&ifindex).expect("looked up before");
        device.hook = hook;
        out.attach.push(Attach {
            ifindex,
            name: device.name.clone(),
            hook,
        });
        for &slot in device.slots.values() {
            let pod = &mut self.ports[slot].pod;
            pod.hook = settings::hook_code(hook);
            out.write(Write::Port(slot, *pod));
        }
    }
}
