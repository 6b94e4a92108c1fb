//! Interfaces with ports: which there are, and what happens to them.

use std::collections::BTreeSet;

use vtep_common::abi::{
    id::{Ifindex, PortSlot},
    port::{Port, PortName},
    vlans::Vlans,
};

use crate::{
    control::{
        effect::{Attachment, Effect, Write},
        record::{
            delivery,
            facts::LinkFacts,
            others::Others,
            ports::{Device, Ports},
            run::{Run, Scope},
        },
        state::State,
    },
    model::PortHook,
};

impl State {
    /// Every interface with ports, and how its frames are taken. Those that are waited for are none.
    pub fn attachments(&self) -> impl Iterator<Item = Attachment> {
        let devices = self.ports.devices();
        let devices = devices.filter(|(ifindex, _)| !ifindex.is_absent());
        devices.map(|(ifindex, device)| Attachment {
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

    /// Whether an interface has ports.
    #[must_use]
    pub fn has_ports_at(&self, ifindex: Ifindex) -> bool {
        self.ports.device(ifindex).is_some()
    }

    /// What others have set at an interface with ports, as far as it is known.
    #[must_use]
    pub fn others_at(&self, ifindex: Ifindex) -> Others {
        let device = self.ports.device(ifindex);
        device.map_or_else(Others::default, |device| device.facts.others.clone())
    }

    /// Takes on what others have set at an interface with ports.
    pub fn others_changed(&mut self, ifindex: Ifindex, others: Others) -> Vec<Write> {
        let Some(device) = self.ports.device(ifindex) else {
            return Vec::new();
        };
        let facts = LinkFacts {
            others,
            ..device.facts.clone()
        };
        let changed = self.ports.take_facts(&facts).into_iter();
        changed
            .map(|(slot, port)| Write::Port(slot, port))
            .collect()
    }

    /// How frames reach the ports of an interface, a clause each.
    #[must_use]
    pub fn deliveries(&self, ifindex: Ifindex) -> BTreeSet<&'static str> {
        let device = self.ports.device(ifindex).into_iter();
        device
            .flat_map(|device| device.ports().map(move |(_, slot)| (device, slot)))
            .map(|(device, slot)| delivery::clause(&self.ports[slot], &device.facts))
            .collect()
    }

    /// What others have set at an interface and frames to and from its ports pass by, a sentence each.
    #[must_use]
    pub fn bypasses(&self, ifindex: Ifindex) -> BTreeSet<String> {
        let device = self.ports.device(ifindex).into_iter();
        device
            .flat_map(|device| device.ports().map(move |(_, slot)| (device, slot)))
            .flat_map(|(device, slot)| {
                delivery::bypasses(&self.ports[slot], &device.facts, device.hook)
            })
            .collect()
    }

    /// The hook at which the operator wants the frames of an interface with ports.
    #[must_use]
    pub fn hook_at(&self, ifindex: Ifindex) -> Option<PortHook> {
        self.ports.device(ifindex).map(|device| device.hook)
    }
}

/// Takes no more frames for a port, and lets its interface go if that was its last.
pub(crate) fn unregister(ports: &mut Ports, slot: PortSlot, out: &mut Effect) {
    let (key, unused) = ports.unregister(slot);
    out.write(Write::PortIndex(key, None));
    out.detach
        .extend(unused.filter(|ifindex| !ifindex.is_absent()));
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

/// Frees the slots of ports that nothing refers to any more, and says so where they had VLANs of an interface.
pub(crate) fn free_all(ports: &mut Ports, run: &mut Run, slots: &[PortSlot], out: &mut Effect) {
    let tagged = slots.iter().map(|&slot| ports[slot]);
    let trunks: BTreeSet<u32> = tagged
        .filter(|port| port.vlan != 0)
        .map(|port| port.ifindex)
        .collect();
    for &slot in slots {
        free(ports, run, slot, out);
    }
    for ifindex in trunks {
        sync_trunk(ports, Ifindex::new(ifindex), out);
    }
}

/// Frees the slot of a port.
fn free(ports: &mut Ports, run: &mut Run, slot: PortSlot, out: &mut Effect) {
    ports.remove(slot);
    run.added.remove(&slot);
    run.announced.remove(&slot);
    run.reported.remove(&Scope::Port(slot));
    out.write(Write::Port(slot, Port::default()));
    out.write(Write::PortName(slot, PortName::default()));
}

/// Takes the frames of an interface at another hook. True if it is there.
pub(crate) fn set_hook(
    ports: &mut Ports,
    ifindex: Ifindex,
    hook: PortHook,
    out: &mut Effect,
) -> bool {
    let (name, ports) = ports.set_hook(ifindex, hook);
    if !ifindex.is_absent() {
        out.attach.push(Attachment {
            ifindex,
            name,
            hook,
        });
    }
    for (slot, port) in ports {
        out.write(Write::Port(slot, port));
    }
    !ifindex.is_absent()
}
