//! Ports: interfaces, or single VLANs of them, that belong to a VNI.

use std::{collections::BTreeSet, net::IpAddr};

use vtep_common::abi::{
    addr::MacAddr,
    fdb::FdbTarget,
    id::{Ifindex, PortSlot, SegmentId},
    port::{Port, PortKey, PortName},
};

use super::{
    address, entry, find, flood, limit, link,
    rate::{self, Rates},
    refuse,
};
use crate::{
    control::{
        effect::{Attachment, Effect, Write},
        learn::{age, announce},
        record::{
            entry::Entry,
            facts::{LinkFacts, Links, ReservedFor},
            ports::{Device, take_facts},
            settings,
        },
        state::State,
    },
    model::{
        FrameRate, Op, OverLimit, PortChange, PortGuard, PortHook, PortPart, PortRow, PortSpec,
        Refusal, VlanId,
    },
};

/// A port as a row, with the name and the hook of its device.
pub(crate) fn row(state: &State, slot: PortSlot, dev: String, hook: PortHook) -> PortRow {
    let port = &state.ports[slot];
    let rates = Rates::of(&state.rates, slot);
    let delivery = if port.has(Port::XDP_TARGET) {
        "xdp"
    } else {
        "tc"
    };
    PortRow {
        dev,
        vni: state.segments.vni(port.segment),
        vlan: VlanId::new(port.vlan),
        hook,
        ifindex: Some(port.ifindex),
        delivery: Some(delivery.to_owned()),
        macs: state.fdb.static_behind(slot).collect(),
        ips: state.addresses.of(slot).iter().copied().collect(),
        max_macs: (port.max_macs != 0).then_some(port.max_macs),
        isolated: port.has(Port::ISOLATED),
        guard: guard(port),
        router: port.has(Port::ROUTER),
        over_limit: over_limit(port),
        bum_rate: (rates.bum != FrameRate::OFF).then_some(rates.bum),
    }
}

/// Which frames it takes.
fn guard(port: &Port) -> PortGuard {
    if port.has(Port::GUARD_IP) {
        PortGuard::Ip
    } else if port.has(Port::GUARD_MAC) {
        PortGuard::Mac
    } else {
        PortGuard::Off
    }
}

/// What happens to frames from MACs above its limit.
fn over_limit(port: &Port) -> OverLimit {
    if port.has(Port::OVER_LIMIT_FLOOD) {
        OverLimit::Flood
    } else {
        OverLimit::Drop
    }
}

/// Says in a port which frames it takes.
fn set_guard(port: &mut Port, guard: PortGuard) {
    port.set(Port::GUARD_MAC, guard != PortGuard::Off);
    port.set(Port::GUARD_IP, guard == PortGuard::Ip);
}

/// Refuses a guard of what a port has none of.
fn check_guard(
    port: &Port,
    macs: &BTreeSet<MacAddr>,
    ips: &BTreeSet<IpAddr>,
) -> Result<(), Refusal> {
    if port.has(Port::GUARD_IP) && (macs.is_empty() || ips.is_empty()) {
        return Err(Refusal::invalid(
            "--guard ip lets frames of the port's static MACs and IPs in, and it lacks one of them; name both with: --mac MAC --ip IP, or take all frames with: --guard off",
        ));
    }
    if port.has(Port::GUARD_MAC) && macs.is_empty() {
        return Err(Refusal::invalid(
            "--guard mac lets frames from the port's static MACs in, and it has none; name them with: --mac MAC, or take all frames with: --guard off",
        ));
    }
    Ok(())
}

/// The IPs that a port's guard lets in; none where it has no such guard.
fn guarded<'a>(port: &Port, ips: &'a BTreeSet<IpAddr>) -> &'a BTreeSet<IpAddr> {
    const NONE: &BTreeSet<IpAddr> = &BTreeSet::new();
    if port.has(Port::GUARD_IP) { ips } else { NONE }
}

/// Takes the IPs away that the guard of a port lets in, which is going.
pub(crate) fn forget_guarded(state: &State, slot: PortSlot, out: &mut Effect) {
    let ips = guarded(&state.ports[slot], state.addresses.of(slot));
    address::unguard(slot, ips, &BTreeSet::new(), out);
}

/// The VLAN as it stands in the maps.
fn vlan_number(vlan: Option<VlanId>) -> u16 {
    vlan.map_or(0, VlanId::get)
}

/// The MACs of a list, which must be unicast MACs.
fn unicast_macs(macs: &[MacAddr]) -> Result<BTreeSet<MacAddr>, Refusal> {
    macs.iter()
        .map(|&mac| refuse::unicast(mac, "--mac"))
        .collect()
}

impl State {
    /// Takes away the ports of an interface that is gone.
    pub fn link_gone(&mut self, ifindex: Ifindex) -> Effect {
        let mut out = Effect::default();
        let device = self.ports.device(ifindex).into_iter();
        let slots: Vec<_> = device
            .flat_map(Device::ports)
            .map(|(_, slot)| slot)
            .collect();
        for slot in slots {
            remove(self, slot, &mut out);
        }
        out
    }
}

pub(crate) fn add(
    state: &mut State,
    spec: &PortSpec,
    links: &dyn Links,
) -> Result<Effect, Refusal> {
    let PortSpec {
        dev,
        vni,
        vlan,
        hook,
        macs,
        ips,
        max_macs,
        isolated,
        guard: wanted_guard,
        router,
        over_limit: wanted_over_limit,
        bum_rate,
    } = spec;
    let facts = links.link(dev).ok_or_else(|| {
        Refusal::not_found(format!(
            "interface {dev} does not exist; create it with: ip tuntap add dev {dev} mode tap"
        ))
    })?;
    let number = find::segment(&state.segments, *vni)?;
    check_not_reserved(state, &facts)?;
    let (ifindex, name) = (facts.ifindex, facts.name.clone());
    let device = state.ports.device(ifindex);
    if let Some(slot) = device.and_then(|device| device.port(vlan_number(*vlan))) {
        return Err(Refusal::conflict(format!(
            "port {} is already in vni {}; remove it first with: vtep port del {dev}{}",
            refuse::port_name(dev, *vlan),
            state.segments.vni(state.ports[slot].segment),
            refuse::vlan_option(*vlan)
        )));
    }
    if let (Some(device), Some(hook)) = (device, *hook)
        && device.hook != hook
    {
        return Err(Refusal::conflict(format!(
            "port {dev} has hook {} for all its VLANs; leave --hook out, or change it first with: vtep port set {dev} --hook {hook}",
            device.hook
        )));
    }
    if state.ports.len() >= state.limits.ports {
        return Err(Refusal::full(format!(
            "the port table is full ({} ports); remove one with: vtep port del DEV",
            state.limits.ports
        )));
    }
    flood::check_rooms(state, number)?;
    let max_macs = max_macs.unwrap_or(0);
    let macs = unicast_macs(macs)?;
    check_macs(state, number, &macs, None, max_macs, (dev, *vlan))?;
    let ips = ips.iter().copied().collect();
    address::check(state, number, &ips, None)?;

    let new_device = device.is_none();
    let hook = match device {
        Some(device) => device.hook,
        None => hook.unwrap_or(PortHook::Auto),
    };
    let mut port = Port {
        ifindex: ifindex.get(),
        segment: number,
        vlan: vlan_number(*vlan),
        hook: settings::hook_code(hook),
        max_macs,
        ..Port::default()
    };
    let is_trunk = device.is_some_and(Device::is_trunk);
    port.set(Port::TRUNK, vlan.is_none() && is_trunk);
    port.set(Port::ISOLATED, isolated.unwrap_or(false));
    set_guard(&mut port, wanted_guard.unwrap_or(PortGuard::Off));
    port.set(Port::ROUTER, router.unwrap_or(false));
    let floods = *wanted_over_limit == Some(OverLimit::Flood);
    port.set(Port::OVER_LIMIT_FLOOD, floods);
    check_guard(&port, &macs, &ips)?;
    let rates = Rates::of_new(*bum_rate);
    take_facts(&mut port, &facts);
    let mut out = Effect {
        writes: state.link_changed(&facts),
        ..Effect::default()
    };
    if new_device {
        out.attach.push(Attachment {
            ifindex,
            name: name.clone(),
            hook,
        });
        out.undo = Some(Op::PortDel {
            dev: name,
            part: PortPart::default(),
        });
    }
    let slot = state.ports.insert(port, &facts);
    // There is none to take away.
    rate::set(&mut state.rates, slot, &mut port, rates, &mut out);
    state.ports.set(slot, port);
    let now = state.run.now;
    state.run.added.insert(slot, now);
    if vlan.is_some() {
        link::sync_trunk(&mut state.ports, ifindex, &mut out);
    }
    out.write(Write::ClearPortCounters(slot));
    out.write(Write::PortName(slot, PortName::new(&facts.name)));
    address::guard(slot, &BTreeSet::new(), guarded(&port, &ips), &mut out);
    out.write(Write::Port(slot, port));
    join_vni(state, slot, macs, &ips, &mut out);
    limit::sync_port(&mut state.ports, &state.fdb, slot, &mut out);
    let key = PortKey::new(port.ifindex, port.vlan);
    out.write(Write::PortIndex(key, Some(slot)));
    Ok(out)
}

pub(crate) fn set(state: &mut State, dev: &str, change: &PortChange) -> Result<Effect, Refusal> {
    let PortChange {
        vlan,
        vni,
        hook,
        macs,
        ips,
        max_macs,
        isolated,
        guard: wanted_guard,
        router,
        over_limit: wanted_over_limit,
        bum_rate,
    } = change;
    let (ifindex, device) = find::device(&state.ports, dev)?;
    let slot = device
        .port(vlan_number(*vlan))
        .ok_or_else(|| refuse::no_vlan(dev, *vlan, &device.vlans()))?;
    let old_hook = device.hook;
    let old = state.ports[slot];
    let old_macs: BTreeSet<MacAddr> = state.fdb.static_behind(slot).collect();
    let old_ips = state.addresses.of(slot).clone();
    let number = match vni {
        Some(vni) => find::segment(&state.segments, *vni)?,
        None => old.segment,
    };
    let moves = number != old.segment;
    if moves {
        flood::check_rooms(state, number)?;
    }
    let macs = match macs {
        Some(macs) => unicast_macs(macs)?,
        None => old_macs.clone(),
    };
    let max_macs = max_macs.unwrap_or(old.max_macs);
    check_macs(state, number, &macs, Some(slot), max_macs, (dev, *vlan))?;
    let ips = match ips {
        Some(ips) => ips.iter().copied().collect(),
        None => old_ips.clone(),
    };
    address::check(state, number, &ips, Some(slot))?;
    let mut port = Port {
        segment: number,
        max_macs,
        ..old
    };
    port.set(Port::ISOLATED, isolated.unwrap_or(old.has(Port::ISOLATED)));
    let new_guard = wanted_guard.unwrap_or_else(|| guard(&old));
    set_guard(&mut port, new_guard);
    port.set(Port::ROUTER, router.unwrap_or(old.has(Port::ROUTER)));
    let new_over_limit = wanted_over_limit.unwrap_or_else(|| over_limit(&old));
    port.set(Port::OVER_LIMIT_FLOOD, new_over_limit == OverLimit::Flood);
    check_guard(&port, &macs, &ips)?;
    let old_rates = Rates::of(&state.rates, slot);
    let rates = old_rates.with(*bum_rate);

    let mut out = Effect::default();
    if moves {
        leave_vni(state, slot, &mut out);
    } else {
        for &mac in old_macs.difference(&macs) {
            entry::remove(state, number, mac, &mut out);
        }
    }
    port.set(Port::FULL, state.ports[slot].has(Port::FULL));
    let (was_guarded, is_guarded) = (guarded(&old, &old_ips), guarded(&port, &ips));
    address::guard(slot, was_guarded, is_guarded, &mut out);
    let late = rate::set(&mut state.rates, slot, &mut port, rates, &mut out);
    if state.ports.set(slot, port) {
        out.write(Write::Port(slot, state.ports[slot]));
    }
    out.writes.extend(late);
    address::unguard(slot, was_guarded, is_guarded, &mut out);
    if moves {
        join_vni(state, slot, macs, &ips, &mut out);
    } else {
        add_hosts(state, slot, macs, &ips, &mut out);
    }
    limit::sync_port(&mut state.ports, &state.fdb, slot, &mut out);
    if let Some(hook) = *hook
        && hook != old_hook
    {
        link::set_hook(&mut state.ports, ifindex, hook, &mut out);
        out.undo = Some(Op::PortSet {
            dev: dev.to_owned(),
            change: Box::new(PortChange {
                vlan: *vlan,
                vni: Some(state.segments.vni(old.segment)),
                hook: Some(old_hook),
                macs: Some(old_macs.into_iter().collect()),
                ips: Some(old_ips.into_iter().collect()),
                max_macs: Some(old.max_macs),
                isolated: Some(old.has(Port::ISOLATED)),
                guard: Some(guard(&old)),
                router: Some(old.has(Port::ROUTER)),
                over_limit: Some(over_limit(&old)),
                bum_rate: Some(old_rates.bum),
            }),
        });
    }
    Ok(out)
}

/// Takes ports away with the FDB entries behind them; the interface is let go with the last.
pub(crate) fn del(state: &mut State, dev: &str, part: &PortPart) -> Result<Effect, Refusal> {
    let (_, device) = find::device(&state.ports, dev)?;
    let number = part
        .vni
        .map(|vni| find::segment(&state.segments, vni))
        .transpose()?;
    let slots: Vec<_> = device
        .ports()
        .filter(|&(at, slot)| {
            part.vlan.is_none_or(|vlan| at == vlan.get())
                && number.is_none_or(|number| state.ports[slot].segment == number)
        })
        .map(|(_, slot)| slot)
        .collect();
    if slots.is_empty() {
        let known = device.vlans();
        return Err(match *part {
            PortPart {
                vlan: Some(vlan), ..
            } if !known.contains(&vlan.get()) => refuse::no_vlan(dev, Some(vlan), &known),
            PortPart { vni: Some(vni), .. } => refuse::not_in_vni(dev, vni),
            PortPart { vni: None, .. } => refuse::no_port(dev),
        });
    }
    let mut out = Effect::default();
    for slot in slots {
        remove(state, slot, &mut out);
    }
    Ok(out)
}

fn check_not_reserved(state: &State, facts: &LinkFacts) -> Result<(), Refusal> {
    let name = &facts.name;
    match state.reserved.get(&facts.ifindex) {
        Some(ReservedFor::Uplink) => Err(Refusal::conflict(format!(
            "{name} is the uplink and cannot be a port; give the interface of a VM or container, or start vtep with another --iface"
        ))),
        Some(ReservedFor::SlowPath) => Err(Refusal::conflict(format!(
            "{name} is vtep's own slow-path device and cannot be a port; give the interface of a VM or container"
        ))),
        None => Ok(()),
    }
}

/// Refuses if a port, in slot `old` if there is one so far, cannot have `macs` in segment `number`.
fn check_macs(
    state: &State,
    number: SegmentId,
    macs: &BTreeSet<MacAddr>,
    old: Option<PortSlot>,
    max_macs: u32,
    (dev, vlan): (&str, Option<VlanId>),
) -> Result<(), Refusal> {
    let vni = state.segments.vni(number);
    let here = old.filter(|&old| state.ports[old].segment == number);
    let had: BTreeSet<MacAddr> = here
        .into_iter()
        .flat_map(|slot| state.fdb.static_behind(slot))
        .collect();
    let is_new = |mac: &&MacAddr| !had.contains(*mac);
    let taken = |mac: &&MacAddr| state.fdb.is_static(number, **mac);
    if let Some(mac) = macs.iter().filter(is_new).find(taken) {
        return Err(Refusal::conflict(format!(
            "{mac} exists already in vni {vni}; delete it first with: vtep fdb del {mac} --vni {vni}"
        )));
    }
    if max_macs != 0 && macs.len() > max_macs as usize {
        return Err(refuse::port_full(dev, vlan, max_macs));
    }
    // Those that were learned so far have their entries already, unless they went with a port that moves away.
    let more = macs
        .iter()
        .filter(|mac| state.fdb.get(number, **mac).is_none())
        .count();
    let (freed, freed_here) = match (old, here) {
        (_, Some(_)) => {
            let freed = had.difference(macs).count();
            (freed, freed)
        }
        (Some(old), None) => (state.fdb.count_behind(old), 0),
        (None, None) => (0, 0),
    };
    entry::check_room(&state.fdb, &state.limits, more.saturating_sub(freed))?;
    entry::check_vni_room(
        &state.fdb,
        &state.segments,
        number,
        more.saturating_sub(freed_here),
    )
}

/// Lets the floods of its VNI reach a port, and puts `macs` and `ips` behind it.
fn join_vni(
    state: &mut State,
    slot: PortSlot,
    macs: BTreeSet<MacAddr>,
    ips: &BTreeSet<IpAddr>,
    out: &mut Effect,
) {
    state.ports.flood(slot);
    flood::write_all(state, state.ports[slot].segment, out);
    add_hosts(state, slot, macs, ips, out);
}

/// Puts `macs` behind a port and makes `ips` its addresses. What is new is announced.
fn add_hosts(
    state: &mut State,
    slot: PortSlot,
    mut macs: BTreeSet<MacAddr>,
    ips: &BTreeSet<IpAddr>,
    out: &mut Effect,
) {
    let number = state.ports[slot].segment;
    if ips.is_subset(state.addresses.of(slot)) {
        for mac in state.fdb.static_behind(slot) {
            macs.remove(&mac);
        }
    }
    for &mac in &macs {
        entry::set(
            state,
            number,
            mac,
            Entry::static_to(FdbTarget::Port(slot)),
            0,
            out,
        );
    }
    address::set(state, slot, ips, out);
    for mac in macs {
        announce::announce(state, slot, mac, out);
    }
}

/// Takes a port off the lists of its VNI, with the MACs behind it.
pub(crate) fn leave_vni(state: &mut State, slot: PortSlot, out: &mut Effect) {
    address::set(state, slot, &BTreeSet::new(), out);
    let number = state.ports[slot].segment;
    let mut macs: Vec<_> = state.fdb.static_behind(slot).collect();
    macs.extend(state.fdb.learned_behind(number, slot));
    for mac in macs {
        entry::remove(state, number, mac, out);
    }
    age::thaw_port(state, slot, out);
    state.ports.unflood(slot);
    flood::write_all(state, number, out);
}

pub(crate) fn remove(state: &mut State, slot: PortSlot, out: &mut Effect) {
    link::unregister(&mut state.ports, slot, out);
    forget_guarded(state, slot, out);
    leave_vni(state, slot, out);
    link::free(&mut state.ports, &mut state.run.0, slot, out);
    rate::forget(&mut state.rates, slot, out);
}
