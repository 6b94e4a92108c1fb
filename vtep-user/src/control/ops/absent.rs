//! Ports that wait for their interfaces.

use std::{collections::BTreeSet, net::IpAddr};

use vtep_common::abi::addr::MacAddr;

use super::{find, refuse};
use crate::{
    control::{
        effect::Effect,
        learn::notify,
        record::{absent::AbsentPort, author::Author},
        state::State,
    },
    model::{
        BitRate, EventDetails, EventKind, FrameRate, Op, OverLimit, PortChange, PortGuard,
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
        over_limit,
        bum_rate,
        rate_in,
        rate_out,
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
        over_limit: over_limit.unwrap_or(OverLimit::Drop),
        bum_rate: Some(bum_rate.unwrap_or(FrameRate::BUM_DEFAULT))
            .filter(|rate| *rate != FrameRate::OFF),
        rate_in: rate_in.filter(|rate| *rate != BitRate::OFF),
        rate_out: rate_out.filter(|rate| *rate != BitRate::OFF),
        source: absent.source,
        state: PortState::Absent,
    }
}

impl State {
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
    // Each takes a place once its interface comes.
    if state.ports.len() as usize + state.run.absent.len() >= state.limits.ports as usize {
        return Err(refuse::ports_full(state.limits.ports));
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
        over_limit,
        bum_rate,
        rate_in,
        rate_out,
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
        over_limit: over_limit.filter(|over| *over != OverLimit::Drop),
        bum_rate: bum_rate.filter(|rate| *rate != FrameRate::BUM_DEFAULT),
        rate_in: rate_in.filter(|rate| *rate != BitRate::OFF),
        rate_out: rate_out.filter(|rate| *rate != BitRate::OFF),
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
        over_limit,
        bum_rate,
        rate_in,
        rate_out,
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
        over_limit: over_limit.or(old.over_limit),
        bum_rate: bum_rate.or(old.bum_rate),
        rate_in: rate_in.or(old.rate_in),
        rate_out: rate_out.or(old.rate_out),
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
