//! Ports that wait for their interfaces: each has its slot, its entries and its settings, at a number that no interface has.

use std::collections::BTreeSet;

use vtep_common::abi::{
    id::{Ifindex, PortSlot},
    port::{Port, PortKey},
};

use super::{entry, flood};
use crate::{
    control::{
        effect::{Attachment, Effect, Undo, Write},
        learn::{age, announce, notify},
        record::{facts::LinkFacts, ports::Device},
        state::State,
    },
    model::{EventDetails, EventKind},
};

/// Brings the ports that wait for an interface to it.
pub(crate) fn come(state: &mut State, facts: &LinkFacts) -> Effect {
    let mut out = Effect::default();
    let Some((from, device)) = state.ports.awaited(&facts.name) else {
        return out;
    };
    let hook = device.hook;
    let slots: Vec<PortSlot> = device.ports().map(|(_, slot)| slot).collect();
    rebind(state, from, facts, &mut out);
    let now = state.run.now;
    for slot in slots {
        state.run.added.insert(slot, now);
        let macs: Vec<_> = state.fdb.static_behind(slot).collect();
        for mac in macs {
            announce::announce(state, slot, mac, &mut out);
        }
        notify_of(state, slot, EventKind::PortUp, &mut out);
    }
    out.attach.push(Attachment {
        ifindex: facts.ifindex,
        name: facts.name.clone(),
        hook,
    });
    out.undo = Some(Undo::Gone(facts.ifindex));
    out
}

/// Has the ports of an interface that is gone wait until one of its name comes.
pub(crate) fn go(state: &mut State, ifindex: Ifindex, out: &mut Effect) {
    let Some(device) = state.ports.device(ifindex) else {
        return;
    };
    let name = device.name.clone();
    let slots: Vec<PortSlot> = device.ports().map(|(_, slot)| slot).collect();
    let absent = LinkFacts::absent(state.ports.absent_number(), &name);
    rebind(state, ifindex, &absent, out);
    for slot in slots {
        forget_learned(state, slot, out);
        notify_of(state, slot, EventKind::PortDown, out);
    }
    out.detach.push(ifindex);
}

/// Moves the ports of an interface that is gone to where they wait, or back.
fn rebind(state: &mut State, from: Ifindex, to: &LinkFacts, out: &mut Effect) {
    let moved = state.ports.rebind(from, to);
    let device = state.ports.device(to.ifindex);
    let trunk = device.map(Device::trunk).filter(|vlans| !vlans.is_empty());
    if let Some(vlans) = trunk {
        out.write(Write::Trunk(to.ifindex, Some(Box::new(vlans))));
    }
    let segments: BTreeSet<_> = moved.iter().map(|(_, _, port)| port.segment).collect();
    let mut lists = Effect::default();
    for number in segments {
        flood::write_all(state, number, &mut lists);
    }
    let ports = moved.into_iter();
    let ports = ports.flat_map(|(slot, old, port)| rebound(slot, old, port));
    // No list leads to a port that waits.
    if to.ifindex.is_absent() {
        out.writes.extend(lists.writes.into_iter().chain(ports));
    } else {
        out.writes.extend(ports.chain(lists.writes));
    }
    if trunk.is_some() {
        out.write(Write::Trunk(from, None));
    }
}

/// The writes that move a port from one key to another, one of which is that of an interface that is not there. In this order one of
/// them leads to the port, whenever the daemon is killed.
pub(crate) fn rebound(slot: PortSlot, old: PortKey, port: Port) -> [Write; 3] {
    let new = PortKey::new(port.ifindex, port.vlan);
    [
        Write::PortIndex(new, Some(slot)),
        Write::Port(slot, port),
        Write::PortIndex(old, None),
    ]
}

/// Forgets what was learned at a port.
pub(crate) fn forget_learned(state: &mut State, slot: PortSlot, out: &mut Effect) {
    let number = state.ports[slot].segment;
    let learned = state.fdb.learned_behind(number, slot);
    for mac in learned {
        entry::remove(state, number, mac, out);
    }
    age::thaw_port(state, slot, out);
    state.run.announced.remove(&slot);
}

/// Says what became of a port.
pub(crate) fn notify_of(state: &mut State, slot: PortSlot, kind: EventKind, out: &mut Effect) {
    let vni = state.segments.vni(state.ports[slot].segment);
    let dev = state.ports.device_name(slot).to_owned();
    notify::notify(state, out, |_| EventDetails {
        vni: Some(vni),
        dev: Some(dev),
        ..EventDetails::new(kind)
    });
}
