//! Interfaces with ports: which there are, and what happens to them.

use vtep_common::abi::{
    id::{Ifindex, PortSlot},
    port::{Port, PortName},
    vlans::Vlans,
};

use crate::{
    control::{
        effect::{Attachment, Effect, Write},
        record::{
            facts::LinkFacts,
            ports::{Device, Ports},
            run::{Run, Scope},
        },
        state::State,
    },
    model::PortHook,
};

impl State {
    /// Every interface with ports, and how its frames are taken.
    pub fn attachments(&self) -> impl Iterator<Item = Attachment> {
        self.ports.devices().map(|(ifindex, device)| Attachment {
            ifindex,
            name: device.name.clone(),
            hook: device.hook,
        })
    }

    /// The name of an interface with ports.
    #[must_use]
    pub fn device_name(&self, ifindex: Ifindex) -> Option<String> {
        self.ports.device(ifindex).map(|device| device.name.clone())
    }

    /// Whether an interface of this name has ports.
    #[must_use]
    pub fn has_device(&self, dev: &str) -> bool {
        self.ports.device_named(dev).is_some()
    }

    /// Whether an interface has ports.
    #[must_use]
    pub fn has_ports_at(&self, ifindex: Ifindex) -> bool {
        self.ports.device(ifindex).is_some()
    }

    /// The hook at which the operator wants the frames of an interface with ports.
    #[must_use]
    pub fn hook_at(&self, ifindex: Ifindex) -> Option<PortHook> {
        self.ports.device(ifindex).map(|device| device.hook)
    }

    /// Takes on what changed about an interface: its name, MTU, and how frames can be handed to it.
    pub fn link_changed(&mut self, facts: &LinkFacts) -> Vec<Write> {
        let (renamed, changed) = self.ports.link_changed(facts);
        let name = PortName::new(&facts.name);
        let names = renamed.into_iter().map(|slot| Write::PortName(slot, name));
        let ports = changed
            .into_iter()
            .map(|(slot, port)| Write::Port(slot, port));
        names.chain(ports).collect()
    }
}

/// Takes no more frames for a port, and lets its interface go if that was its last.
pub(crate) fn unregister(ports: &mut Ports, slot: PortSlot, out: &mut Effect) {
    let (key, unused) = ports.unregister(slot);
    out.write(Write::PortIndex(key, None));
    out.detach.extend(unused);
}

/// Says which VLANs of an interface have a port each, and tells its untagged port whether there are any.
pub(crate) fn sync_trunk(ports: &mut Ports, ifindex: Ifindex, out: &mut Effect) {
    let device = ports.device(ifindex);
    let vlans = device.map_or(Vlans::of([]), Device::trunk);
    let untagged = device.and_then(|device| device.port(0));
    let value = (!vlans.is_empty()).then(|| Box::new(vlans));
    out.write(Write::Trunk(ifindex, value));
    if let Some(slot) = untagged {
        let mut port = ports[slot];
        port.set(Port::TRUNK, !vlans.is_empty());
        if ports.set(slot, port) {
            out.write(Write::Port(slot, port));
        }
    }
}

/// Frees the slot of a port that nothing refers to any more.
pub(crate) fn free(ports: &mut Ports, run: &mut Run, slot: PortSlot, out: &mut Effect) {
    let Port { ifindex, vlan, .. } = ports[slot];
    ports.remove(slot);
    run.added.remove(&slot);
    run.announced.remove(&slot);
    run.reported.remove(&Scope::Port(slot));
    out.write(Write::Port(slot, Port::default()));
    out.write(Write::PortName(slot, PortName::default()));
    if vlan != 0 {
        sync_trunk(ports, Ifindex::new(ifindex), out);
    }
}

/// Takes the frames of an interface at another hook.
pub(crate) fn set_hook(ports: &mut Ports, ifindex: Ifindex, hook: PortHook, out: &mut Effect) {
    let (name, ports) = ports.set_hook(ifindex, hook);
    out.attach.push(Attachment {
        ifindex,
        name,
        hook,
    });
    for (slot, port) in ports {
        out.write(Write::Port(slot, port));
    }
}
