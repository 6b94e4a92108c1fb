//! Ports: interfaces, or single VLANs of them, that belong to a VNI.

use std::{collections::BTreeSet, net::IpAddr};

use vtep_common::abi::{
    addr::MacAddr,
    fdb::FdbTarget,
    id::{Ifindex, PortSlot, SegmentId},
    port::{Port, PortKey, PortName},
};

use super::{
    absent, address, bridge, entry, find, flood,
    guard::{self, guarded},
    limit, link, port_row,
    rate::{self, Rates},
    refuse,
};
use crate::{
    control::{
        effect::{Attachment, Effect, Undo, Write},
        learn::{age, announce},
        record::{
            author::Author,
            delivery,
            entry::Entry,
            facts::{LinkFacts, Links, ReservedFor},
            ports::{self, Device, Ports, take_facts},
        },
        state::State,
    },
    model::{
        BitRate, EventKind, FrameRate, Op, OverLimit, PortChange, PortDelivery, PortGuard,
        PortHook, PortPart, PortSpec, Refusal, Source, VlanId,
    },
};

/// Changes a port, and writes it if it is another than before.
fn write(ports: &mut Ports, slot: PortSlot, port: Port, out: &mut Effect) {
    if ports.set(slot, port) {
        out.write(Write::Port(slot, port));
    }
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
        bum_rate,
        rate_in,
        rate_out,
        wait,
        ..
    } = spec;
    let number = find::segment(&state.segments, *vni)?;
    let found = links.link(dev);
    if let Some(facts) = &found
        && is_back(state, spec)
    {
        check_not_reserved(state, facts)?;
        return Ok(absent::come(state, facts));
    }
    let waits = *wait || state.run.author.source == Source::Config;
    let facts = interface(state, dev, found, waits)?;
    check_not_reserved(state, &facts)?;
    if let Some(taken) = take_over(state, facts.ifindex, spec)? {
        return Ok(taken);
    }
    let (ifindex, name) = (facts.ifindex, facts.name.clone());
    check_free(state, ifindex, spec)?;
    let device = state.ports.device(ifindex);
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
        max_macs,
        ..Port::default()
    };
    ports::set_hook(&mut port, hook);
    port_row::set_source(&mut port, state.run.author.source);
    let is_trunk = device.is_some_and(Device::is_trunk);
    port.set(Port::TRUNK, vlan.is_none() && is_trunk);
    set_policy(&mut port, spec);
    guard::set_guard(&mut port, &macs, &ips)?;
    let rates = Rates::of_new((*bum_rate, *rate_in, *rate_out));
    take_facts(&mut port, &facts);
    let mut out = Effect {
        writes: state.link_changed(&facts),
        ..Effect::default()
    };
    if new_device && !ifindex.is_absent() {
        out.attach.push(Attachment {
            ifindex,
            name: name.clone(),
            hook,
        });
        out.undo = Some(Undo::Change(Op::PortDel {
            dev: name,
            part: PortPart::default(),
        }));
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
    address::guard((slot, &BTreeSet::new(), guarded(&port, &ips)), &mut out);
    out.write(Write::Port(slot, port));
    join_vni(state, slot, macs, &ips, &mut out);
    limit::sync_port(&mut state.ports, &state.fdb, slot, &mut out);
    let key = PortKey::new(port.ifindex, port.vlan);
    out.write(Write::PortIndex(key, Some(slot)));
    if port.has(Port::BRIDGED) {
        bridge::forget_behind_gate(state, number, &mut out);
        absent::notify_of(state, slot, EventKind::PortUp, &mut out);
    }
    Ok(out)
}

/// Whether a new port is one that waits for its interface, just as it is.
fn is_back(state: &State, spec: &PortSpec) -> bool {
    let device = state.ports.awaited(&spec.dev);
    let slot = device.and_then(|(_, device)| device.port(vlan_number(spec.vlan)));
    slot.is_some_and(|slot| port_row::spec(state, slot).0 == *spec)
}

/// The interface that a new port is on, or one that is waited for.
fn interface(
    state: &State,
    dev: &str,
    found: Option<LinkFacts>,
    waits: bool,
) -> Result<LinkFacts, Refusal> {
    // The ports that it has are brought to it first.
    if let Some((ifindex, _)) = state.ports.awaited(dev) {
        return Ok(LinkFacts::absent(ifindex, dev));
    }
    match found {
        Some(facts) => Ok(facts),
        None if waits && state.ports.device_named(dev).is_none() => {
            Ok(LinkFacts::absent(state.ports.absent_number(), dev))
        }
        None => Err(Refusal::not_found(format!(
            "interface {dev} does not exist; create it with: ip tuntap add dev {dev} mode tap, or have the port wait for it with: --wait"
        ))),
    }
}

/// What a new port may send, and to whom, as the user wants it.
fn set_policy(port: &mut Port, spec: &PortSpec) {
    port.set(Port::ISOLATED, spec.isolated.unwrap_or(false));
    guard::change_guard(port, spec.guard, spec.router);
    let floods = spec.over_limit == Some(OverLimit::Flood);
    port.set(Port::OVER_LIMIT_FLOOD, floods);
    delivery::want(port, spec.delivery.unwrap_or(PortDelivery::Auto));
}

/// Refuses if there is such a port already, if its interface has another hook, or if there is no room.
fn check_free(state: &State, ifindex: Ifindex, spec: &PortSpec) -> Result<(), Refusal> {
    let PortSpec {
        dev, vlan, hook, ..
    } = spec;
    let device = state.ports.device(ifindex);
    if let Some(slot) = device.and_then(|device| device.port(vlan_number(*vlan))) {
        let waits = if state.ports[slot].has(Port::ABSENT) {
            ", and waits for its interface"
        } else {
            ""
        };
        return Err(Refusal::conflict(format!(
            "port {} is already in vni {}{waits}; remove it first with: vtep port del {dev}{}",
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
        return Err(refuse::ports_full(state.limits.ports));
    }
    Ok(())
}

/// Makes a port, or gives the one that there is the settings of a new one.
pub(crate) fn replace(
    state: &mut State,
    spec: &PortSpec,
    links: &dyn Links,
) -> Result<Effect, Refusal> {
    let dev = &spec.dev;
    let known = state.ports.device_named(dev);
    let known = known.and_then(|(_, device)| device.port(vlan_number(spec.vlan)));
    if known.is_none() {
        return add(state, spec, links);
    }
    make_as_new(state, spec)
}

/// Makes a new port of one that is there for a bridge, if there is one: whoever asks for it has it from then on.
fn take_over(
    state: &mut State,
    ifindex: Ifindex,
    spec: &PortSpec,
) -> Result<Option<Effect>, Refusal> {
    let device = state.ports.device(ifindex);
    let slot = device.and_then(|device| device.port(vlan_number(spec.vlan)));
    let bridged = slot.is_some_and(|slot| state.ports[slot].has(Port::BRIDGED));
    if !bridged || state.run.author.source == Source::Bridge {
        return Ok(None);
    }
    make_as_new(state, spec).map(Some)
}

/// Gives a port that there is the settings of a new one.
fn make_as_new(state: &mut State, spec: &PortSpec) -> Result<Effect, Refusal> {
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
        rate_in,
        rate_out,
        delivery,
        wait: _,
    } = spec;
    let change = PortChange {
        vlan: *vlan,
        vni: Some(*vni),
        hook: Some(hook.unwrap_or(PortHook::Auto)),
        macs: Some(macs.clone()),
        ips: Some(ips.clone()),
        max_macs: Some(max_macs.unwrap_or(0)),
        isolated: Some(isolated.unwrap_or(false)),
        guard: Some(guard.unwrap_or(PortGuard::Off)),
        router: Some(router.unwrap_or(false)),
        over_limit: Some(over_limit.unwrap_or(OverLimit::Drop)),
        bum_rate: Some(bum_rate.unwrap_or(FrameRate::BUM_DEFAULT)),
        rate_in: Some(rate_in.unwrap_or(BitRate::OFF)),
        rate_out: Some(rate_out.unwrap_or(BitRate::OFF)),
        delivery: Some(delivery.unwrap_or(PortDelivery::Auto)),
    };
    state.run.author.claims = true;
    change_port(state, dev, &change, Others::Go)
}

/// What becomes of the MACs that others put behind a port, where it gets new ones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    Stay,
    Go,
}

pub(crate) fn set(state: &mut State, dev: &str, change: &PortChange) -> Result<Effect, Refusal> {
    // Whoever claims the port leaves alone what others have put behind it.
    let others = if state.run.author.claims {
        Others::Stay
    } else {
        Others::Go
    };
    change_port(state, dev, change, others)
}

fn change_port(
    state: &mut State,
    dev: &str,
    change: &PortChange,
    others: Others,
) -> Result<Effect, Refusal> {
    let PortChange {
        vlan,
        vni,
        hook,
        macs,
        ips,
        max_macs,
        isolated: _,
        guard: _,
        router: _,
        over_limit: _,
        bum_rate,
        rate_in,
        rate_out,
        delivery: _,
    } = change;
    let (ifindex, device) = find::device(&state.ports, dev)?;
    bridge::check_no_gate(state, ifindex, dev)?;
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
    let given = macs.as_ref().map(|macs| unicast_macs(macs)).transpose()?;
    let mut macs = given.as_ref().unwrap_or(&old_macs).clone();
    if given.is_some() && others == Others::Stay && !moves {
        macs.extend(port_row::others_behind(state, slot));
    }
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
    port_row::set_source(&mut port, port_row::source_by(state.run.author, &old));
    change_policy(&mut port, change, (&macs, &ips))?;
    delivery::choose(&mut port, &device.facts);
    let old_rates = Rates::of(&state.rates, slot);
    let rates = old_rates.with((*bum_rate, *rate_in, *rate_out));

    let mut out = Effect::default();
    if moves {
        leave_vni(state, slot, &mut out);
    } else {
        claim_macs(state, slot, given.as_ref(), &old_macs, &mut out);
        for &mac in old_macs.difference(&macs) {
            entry::remove(state, number, mac, &mut out);
        }
    }
    port.set(Port::FULL, state.ports[slot].has(Port::FULL));
    let change = (slot, guarded(&old, &old_ips), guarded(&port, &ips));
    address::guard(change, &mut out);
    let late = rate::set(&mut state.rates, slot, &mut port, rates, &mut out);
    write(&mut state.ports, slot, port, &mut out);
    out.writes.extend(late);
    address::unguard(change, &mut out);
    if moves {
        join_vni(state, slot, macs, &ips, &mut out);
    } else {
        add_hosts(state, slot, macs, &ips, &mut out);
    }
    limit::sync_port(&mut state.ports, &state.fdb, slot, &mut out);
    if let Some(hook) = *hook
        && hook != old_hook
        && link::set_hook(&mut state.ports, ifindex, hook, &mut out)
    {
        out.undo = Some(Undo::Change(Op::PortSet {
            dev: dev.to_owned(),
            change: Box::new(PortChange {
                vlan: *vlan,
                vni: Some(state.segments.vni(old.segment)),
                hook: Some(old_hook),
                macs: Some(old_macs.into_iter().collect()),
                ips: Some(old_ips.into_iter().collect()),
                ..settings_of(&old, &old_rates)
            }),
        }));
    }
    Ok(out)
}

/// The settings of a port that stand in its record, and its rates, as a change would set them.
fn settings_of(port: &Port, rates: &Rates) -> PortChange {
    PortChange {
        max_macs: Some(port.max_macs),
        isolated: Some(port.has(Port::ISOLATED)),
        guard: Some(port_row::guard(port)),
        router: Some(port.has(Port::ROUTER)),
        over_limit: Some(port_row::over_limit(port)),
        bum_rate: Some(rates.bum),
        rate_in: Some(rates.from),
        rate_out: Some(rates.to),
        delivery: Some(delivery::wanted(port)),
        ..PortChange::default()
    }
}

/// What a port may send, and to whom, with what the user changes of it.
fn change_policy(
    port: &mut Port,
    change: &PortChange,
    (macs, ips): (&BTreeSet<MacAddr>, &BTreeSet<IpAddr>),
) -> Result<(), Refusal> {
    if let Some(isolated) = change.isolated {
        port.set(Port::ISOLATED, isolated);
    }
    guard::change_guard(port, change.guard, change.router);
    if let Some(over_limit) = change.over_limit {
        port.set(Port::OVER_LIMIT_FLOOD, over_limit == OverLimit::Flood);
    }
    if let Some(delivery) = change.delivery {
        delivery::want(port, delivery);
    }
    guard::set_guard(port, macs, ips)
}

/// Makes MACs behind a port those of whoever claims it: those that are given, or all that are its own.
fn claim_macs(
    state: &mut State,
    slot: PortSlot,
    given: Option<&BTreeSet<MacAddr>>,
    old: &BTreeSet<MacAddr>,
    out: &mut Effect,
) {
    let Author { source, claims } = state.run.author;
    if !claims {
        return;
    }
    let number = state.ports[slot].segment;
    let claimed: Vec<MacAddr> = if let Some(given) = given {
        given.intersection(old).copied().collect()
    } else {
        let own = |mac: &&MacAddr| port_row::has_as_its_own(state, slot, **mac);
        old.iter().filter(own).copied().collect()
    };
    for mac in claimed {
        let entry = Entry::static_to(FdbTarget::Port(slot)).set_by(source);
        if state.fdb.get(number, mac) != Some(entry) {
            entry::set(state, number, mac, entry, 0, out);
        }
    }
}

/// Takes ports away with the FDB entries behind them; the interface is let go with the last.
pub(crate) fn del(state: &mut State, dev: &str, part: &PortPart) -> Result<Effect, Refusal> {
    let (ifindex, device) = find::known_device(&state.ports, dev)?;
    bridge::check_no_gate(state, ifindex, dev)?;
    let number = part
        .vni
        .map(|vni| find::known_segment(&state.segments, vni))
        .transpose()?;
    let slots: Vec<_> = device
        .ports()
        .filter(|&(at, _)| at == 0 || !part.untagged)
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
            PortPart { vni: Some(vni), .. } => refuse::port_elsewhere(dev, vni),
            PortPart { vni: None, .. } => refuse::no_such_port(dev),
        });
    }
    bridge::check_no_member(state, dev, &slots)?;
    let mut out = Effect::default();
    for slot in slots {
        if state.ports[slot].has(Port::BRIDGED) {
            absent::notify_of(state, slot, EventKind::PortDown, &mut out);
        }
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
        Some(ReservedFor::Gate) if state.run.author.source == Source::Bridge => Ok(()),
        Some(ReservedFor::Gate) => Err(refuse::gate(name)),
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
    limit::check_room(&state.fdb, &state.limits, more.saturating_sub(freed))?;
    limit::check_vni_room(
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
    if !state.ports[slot].has(Port::ABSENT) {
        flood::write_all(state, state.ports[slot].segment, out);
    }
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
        // What is there already stays whose it was.
        let known = state.fdb.get(number, mac);
        let known = known.filter(|known| known.is_static() && known.port() == Some(slot));
        let source = known.map_or(state.run.author.source, Entry::source);
        let entry = Entry::static_to(FdbTarget::Port(slot)).set_by(source);
        entry::set(state, number, mac, entry, 0, out);
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
    if !state.ports[slot].has(Port::ABSENT) {
        flood::write_all(state, number, out);
    }
}

pub(crate) fn remove(state: &mut State, slot: PortSlot, out: &mut Effect) {
    link::unregister(&mut state.ports, slot, out);
    guard::forget_guarded(state, slot, out);
    leave_vni(state, slot, out);
    link::free_all(&mut state.ports, &mut state.run.0, &[slot], out);
    rate::forget(&mut state.rates, slot, out);
}
