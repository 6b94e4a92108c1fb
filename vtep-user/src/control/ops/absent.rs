//! Ports that wait for their interfaces.

use std::{collections::BTreeSet, net::IpAddr};

use vtep_common::abi::{
    addr::MacAddr,
    id::{Ifindex, PortSlot},
};

use super::{find, port, refuse};
use crate::{
    control::{
        effect::Effect,
        learn::notify,
        record::{absent::AbsentPort, author::Author, ports::Device},
        state::State,
    },
    model::{
        EventDetails, EventKind, FdbSpec, FrameRate, Op, OverLimit, PortChange, PortGuard,
        PortHook, PortPart, PortRow, PortSpec, PortState, Refusal,
    },
};

/// A port that waits for its interface, as a row.
pub(crate) fn row(absent: &AbsentPort) -> PortRow {
    let PortSpec {
        dev,
        vni,
        vlan,
        hook,
        macs,
        ips,
        max_macs,
        isolated,
        guard,
        router,
        over_limit,
        bum_rate,
        wait: _,
    } = absent.spec.clone();
    PortRow {
        dev,
        vni,
        vlan,
        hook: hook.unwrap_or(PortHook::Auto),
        ifindex: None,
        delivery: None,
        macs,
        ips,
        max_macs: max_macs.filter(|most| *most != 0),
        isolated: isolated.unwrap_or(false),
        guard: guard.unwrap_or(PortGuard::Off),
        router: router.unwrap_or(false),
        over_limit: over_limit.unwrap_or(OverLimit::Drop),
        bum_rate: Some(bum_rate.unwrap_or(FrameRate::BUM_DEFAULT))
            .filter(|rate| *rate != FrameRate::OFF),
        source: absent.source,
        state: PortState::Absent,
    }
}

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

    /// What is to be done, in whose name each, when an interface has come that ports wait for.
    #[must_use]
    pub fn link_came(&self, dev: &str) -> Vec<(Op, Author)> {
        let named = |source| Author {
            source,
            claims: true,
        };
        let mut changes = Vec::new();
        for AbsentPort {
            spec,
            source,
            entries,
        } in self.run.absent.of(dev)
        {
            changes.push((Op::PortAdd(Box::new(spec.clone())), named(*source)));
            let entries = entries.iter();
            changes.extend(
                entries.map(|(spec, source)| (Op::FdbReplace(spec.clone()), named(*source))),
            );
        }
        changes
    }

    /// Whether ports wait for an interface.
    #[must_use]
    pub fn awaits(&self, dev: &str) -> bool {
        self.run.absent.of(dev).next().is_some()
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

/// Makes a port that waits for its interface.
pub(crate) fn add(state: &mut State, spec: &PortSpec) -> Result<Effect, Refusal> {
    find::segment(&state.segments, spec.vni)?;
    if let Some(known) = state.run.absent.get(&spec.dev, spec.vlan) {
        return Err(Refusal::conflict(format!(
            "port {} is already in vni {}, and waits for its interface; remove it first with: vtep port del {}{}",
            refuse::port_name(&spec.dev, spec.vlan),
            known.spec.vni,
            spec.dev,
            refuse::vlan_option(spec.vlan)
        )));
    }
    let source = state.run.author.source;
    let spec = PortSpec {
        wait: false,
        ..normal(spec)
    };
    let entries = Vec::new();
    state.run.absent.insert(AbsentPort {
        spec,
        source,
        entries,
    });
    Ok(Effect::default())
}

/// The same, what is the default left out.
fn normal(spec: &PortSpec) -> PortSpec {
    let PortSpec {
        dev,
        vni,
        vlan,
        hook,
        macs,
        ips,
        max_macs,
        isolated,
        guard,
        router,
        over_limit,
        bum_rate,
        wait,
    } = spec.clone();
    let macs: BTreeSet<MacAddr> = macs.into_iter().collect();
    let ips: BTreeSet<IpAddr> = ips.into_iter().collect();
    PortSpec {
        dev,
        vni,
        vlan,
        hook: hook.filter(|hook| *hook != PortHook::Auto),
        macs: macs.into_iter().collect(),
        ips: ips.into_iter().collect(),
        max_macs: max_macs.filter(|most| *most != 0),
        isolated: isolated.filter(|isolated| *isolated),
        guard: guard.filter(|guard| *guard != PortGuard::Off),
        router: router.filter(|router| *router),
        over_limit: over_limit.filter(|over| *over != OverLimit::Drop),
        bum_rate: bum_rate.filter(|rate| *rate != FrameRate::BUM_DEFAULT),
        wait,
    }
}

/// Changes a port that waits for its interface.
pub(crate) fn set(state: &mut State, dev: &str, change: &PortChange) -> Result<Effect, Refusal> {
    let PortChange {
        vlan,
        vni,
        hook,
        macs,
        ips,
        max_macs,
        isolated,
        guard,
        router,
        over_limit,
        bum_rate,
    } = change.clone();
    if let Some(vni) = vni {
        find::segment(&state.segments, vni)?;
    }
    let author = state.run.author;
    let Some(port) = state.run.absent.get_mut(dev, vlan) else {
        return Err(refuse::no_port(dev));
    };
    let old = &port.spec;
    let new = PortSpec {
        dev: dev.to_owned(),
        vni: vni.unwrap_or(old.vni),
        vlan,
        hook: hook.or(old.hook),
        macs: macs.unwrap_or_else(|| old.macs.clone()),
        ips: ips.unwrap_or_else(|| old.ips.clone()),
        max_macs: max_macs.or(old.max_macs),
        isolated: isolated.or(old.isolated),
        guard: guard.or(old.guard),
        router: router.or(old.router),
        over_limit: over_limit.or(old.over_limit),
        bum_rate: bum_rate.or(old.bum_rate),
        wait: false,
    };
    port.spec = normal(&new);
    port.source = author.source_of(port.source);
    Ok(Effect::default())
}

/// Forgets parts of a port that waits; how many there were.
pub(crate) fn forget(state: &mut State, dev: &str, part: &PortPart) -> usize {
    state.run.absent.forget(|port| {
        let PortSpec {
            dev: of, vni, vlan, ..
        } = &port.spec;
        of == dev
            && (part.vlan.is_none() || part.vlan == *vlan)
            && (!part.untagged || vlan.is_none())
            && part.vni.is_none_or(|wanted| wanted == *vni)
    })
}

/// A port waits no longer, because it has been made.
pub(crate) fn has_come(state: &mut State, spec: &PortSpec, out: &mut Effect) {
    if state.run.absent.remove(&spec.dev, spec.vlan).is_some() {
        notify::notify(state, out, |_| EventDetails {
            vni: Some(spec.vni),
            dev: Some(spec.dev.clone()),
            ..EventDetails::new(EventKind::PortUp)
        });
    }
}
