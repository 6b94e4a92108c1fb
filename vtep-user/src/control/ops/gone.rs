//! What happens to the interfaces of ports: they go, come, and change.

use vtep_common::abi::{
    id::{Ifindex, PortSlot},
    port::{Port, PortName},
};

use super::{absent, port, port_row};
use crate::{
    control::{
        effect::{Effect, Write},
        record::{author::Author, facts::LinkFacts},
        state::State,
    },
    model::{EventKind, Op},
};

impl State {
    /// What is to be done, and in whose name, when an interface has come that ports wait for. One of them brings them all.
    #[must_use]
    pub fn link_came(&self, dev: &str) -> Option<(Op, Author)> {
        let (_, device) = self.ports.awaited(dev)?;
        let (_, slot) = device.ports().next()?;
        let (spec, source) = port_row::spec(self, slot);
        let author = Author {
            source,
            claims: true,
        };
        Some((Op::PortAdd(Box::new(spec)), author))
    }

    /// Whether ports wait for an interface.
    #[must_use]
    pub fn awaits(&self, dev: &str) -> bool {
        self.ports.awaited(dev).is_some()
    }

    /// Has the ports of an interface that is gone wait until one of its name comes.
    pub fn link_gone(&mut self, ifindex: Ifindex) -> Effect {
        let mut out = Effect::default();
        let Some(device) = self.ports.device(ifindex) else {
            return out;
        };
        let name = device.name.clone();
        let slots: Vec<PortSlot> = device.ports().map(|(_, slot)| slot).collect();
        // A port that is there for a bridge goes with its interface.
        let (bridged, slots): (Vec<_>, Vec<_>) = slots
            .into_iter()
            .partition(|&slot| self.ports[slot].has(Port::BRIDGED));
        for slot in bridged {
            absent::notify_of(self, slot, EventKind::PortDown, &mut out);
            port::remove(self, slot, &mut out);
        }
        if slots.is_empty() {
            return out;
        }
        let named = self.ports.device_named(&name);
        // Another interface of the name may have taken its place already.
        if named.is_none_or(|(at, _)| at != ifindex) {
            for slot in slots {
                port::remove(self, slot, &mut out);
            }
            return out;
        }
        absent::go(self, ifindex, &mut out);
        out
    }

    /// Takes on what changed about an interface: its name, MTU, and how frames can be handed to it.
    pub fn link_changed(&mut self, facts: &LinkFacts) -> Vec<Write> {
        let mut out = Effect::default();
        let device = self.ports.device(facts.ifindex);
        if device.is_some_and(|device| device.name != facts.name)
            && let Some((_, awaited)) = self.ports.awaited(&facts.name)
        {
            // A port that got the name of one which waits takes its place.
            let slots: Vec<_> = awaited.ports().map(|(_, slot)| slot).collect();
            for slot in slots {
                port::remove(self, slot, &mut out);
            }
        }
        let (renamed, changed) = self.ports.link_changed(facts);
        let name = PortName::new(&facts.name);
        let names = renamed.into_iter().map(|slot| Write::PortName(slot, name));
        let ports = changed
            .into_iter()
            .map(|(slot, port)| Write::Port(slot, port));
        out.writes.into_iter().chain(names).chain(ports).collect()
    }
}
