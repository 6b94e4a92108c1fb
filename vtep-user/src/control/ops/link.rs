//! Interfaces with ports: which there are, and what happens to them.

use vtep_common::abi::{
    id::{Ifindex, PortSlot},
    port::Port,
};

use super::refuse;
use crate::{
    control::{
        effect::{Attachment, Effect, Write},
        record::{facts::LinkFacts, ports::Device, run::Scope},
        state::State,
    },
    model::{PortHook, Refusal},
};

impl State {
    /// An interface with ports, by name.
    pub(crate) fn device(&self, dev: &str) -> Result<(Ifindex, &Device), Refusal> {
        self.ports
            .device_named(dev)
            .ok_or_else(|| refuse::no_port(dev))
    }

    /// Every interface with ports, and how its frames are taken.
    pub fn attachments(&self) -> impl Iterator<Item = Attachment> {
        self.ports.devices().map(|(ifindex, device)| Attachment {
            ifindex,
            name: device.name.clone(),
            hook: device.hook,
        })
    }

    /// Takes away the ports of an interface that is gone.
    pub fn link_gone(&mut self, ifindex: Ifindex) -> Effect {
        let mut out = Effect::default();
        let device = self.ports.device(ifindex).into_iter();
        let slots: Vec<_> = device
            .flat_map(Device::ports)
            .map(|(_, slot)| slot)
            .collect();
        for slot in slots {
            self.remove_port(slot, &mut out);
        }
        out
    }

    /// Takes on what changed about an interface: its name, MTU, and how frames can be handed to it.
    pub fn link_changed(&mut self, facts: &LinkFacts) -> Vec<Write> {
        let (changed, came_up) = self.ports.link_changed(facts);
        let now = self.run.now;
        self.run
            .fresh
            .extend(came_up.into_iter().map(|slot| (slot, now)));
        let writes = changed
            .into_iter()
            .map(|(slot, port)| Write::Port(slot, port));
        writes.collect()
    }

    /// Takes no more frames for a port, and lets its interface go if that was its last.
    pub(crate) fn unregister_port(&mut self, slot: PortSlot, out: &mut Effect) {
        let (key, unused) = self.ports.unregister(slot);
        out.write(Write::PortIndex(key, None));
        out.detach.extend(unused);
    }

    pub(crate) fn remove_port(&mut self, slot: PortSlot, out: &mut Effect) {
        self.unregister_port(slot, out);
        self.leave_vni(slot, out);
        self.free_port(slot, out);
    }

    /// Frees the slot of a port that nothing refers to any more.
    pub(crate) fn free_port(&mut self, slot: PortSlot, out: &mut Effect) {
        self.ports.remove(slot);
        self.run.fresh.remove(&slot);
        self.run.announced.remove(&slot);
        self.run.reported.remove(&Scope::Port(slot));
        out.write(Write::Port(slot, Port::default()));
    }

    /// Takes the frames of an interface at another hook.
    pub(crate) fn set_hook(&mut self, ifindex: Ifindex, hook: PortHook, out: &mut Effect) {
        let (name, ports) = self.ports.set_hook(ifindex, hook);
        out.attach.push(Attachment {
            ifindex,
            name,
            hook,
        });
        for (slot, port) in ports {
            out.write(Write::Port(slot, port));
        }
    }
}
