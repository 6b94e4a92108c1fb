//! Interfaces that go: their ports wait for them.

use vtep_common::abi::id::{Ifindex, PortSlot};

use super::port;
use crate::{
    control::{
        effect::Effect,
        learn::notify,
        record::{absent::AbsentPort, ports::Device},
        state::State,
    },
    model::{EventDetails, EventKind, FdbSpec},
};

impl State {
    /// Takes away the ports of an interface that is gone. They wait until one of its name comes.
    pub fn link_gone(&mut self, ifindex: Ifindex) -> Effect {
        let mut out = Effect::default();
        let device = self.ports.device(ifindex).into_iter();
        let slots: Vec<_> = device
            .flat_map(Device::ports)
            .map(|(_, slot)| slot)
            .collect();
        // Another interface of the name may have taken its place already.
        let waits = |name: &str| {
            let named = self.ports.device_named(name);
            named.is_some_and(|(at, _)| at == ifindex)
        };
        let waiting: Vec<_> = slots
            .iter()
            .filter(|slot| waits(self.ports.device_name(**slot)))
            .map(|&slot| absent(self, slot))
            .collect();
        for absent in waiting {
            notify::notify(self, &mut out, |_| EventDetails {
                vni: Some(absent.spec.vni),
                dev: Some(absent.spec.dev.clone()),
                ..EventDetails::new(EventKind::PortDown)
            });
            self.run.absent.insert(absent);
        }
        for slot in slots {
            port::remove(self, slot, &mut out);
        }
        out
    }
}

/// A port as it is once its interface is gone.
fn absent(state: &State, slot: PortSlot) -> AbsentPort {
    let (spec, source) = port::spec(state, slot);
    let vni = spec.vni;
    let others = port::others_behind(state, slot).into_iter();
    let entries = others.filter_map(|mac| {
        let entry = state.fdb.get(state.ports[slot].segment, mac)?;
        let dev = Some(spec.dev.clone());
        let dst = None;
        Some((FdbSpec { mac, vni, dst, dev }, entry.source()))
    });
    AbsentPort {
        entries: entries.collect(),
        spec,
        source,
    }
}
