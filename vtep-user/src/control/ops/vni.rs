//! Making, changing and deleting VNIs.

use std::net::IpAddr;

use vtep_common::abi::{
    addr::MacAddr, id::SegmentId, neigh::NeighOrigin, port::PortName, segment::Segment,
};

use super::{bridge, entry, find, flood, guard, limit, link, neigh, peer, rate, source};
use crate::{
    control::{
        effect::{Effect, Write},
        learn::age,
        record::{author, entry::key, hosts, nexthops, settings},
        state::State,
    },
    model::{Refusal, Vni, VniDelete, VniSpec},
};

pub(crate) fn add(state: &mut State, vni: Vni, spec: &VniSpec) -> Result<Effect, Refusal> {
    if state.segments.number_of(vni).is_some() {
        return Err(Refusal::conflict(format!(
            "vni {vni} exists already; change it with: vtep vni set {vni}"
        )));
    }
    if state.segments.len() >= state.limits.segments {
        return Err(Refusal::full(format!(
            "the VNI table is full ({} VNIs); delete one with: vtep vni del VNI",
            state.limits.segments
        )));
    }
    let mut pod = settings::new(vni, spec)?;
    let source = state.run.author.source;
    pod.set(Segment::CONFIGURED, author::is_configured(source));
    let group = settings::group(&pod);
    check_group(state, group)?;
    let bridge = bridge::asked(spec, None)?;
    bridge::check(state, None, bridge)?;

    let number = state.segments.insert(pod);
    let mut out = Effect::default();
    out.write(Write::ClearSegmentCounters(number));
    out.write(Write::Segment(number, Box::new(pod)));
    set_group(state, number, group, &mut out);
    bridge::set(state, number, bridge, &mut out);
    out.write(Write::Vni(vni.get(), Some(number)));
    Ok(out)
}

/// Refuses a multicast group to which we cannot send, or for which there is no room.
fn check_group(state: &State, group: Option<IpAddr>) -> Result<(), Refusal> {
    let Some(group) = group else { return Ok(()) };
    peer::check_family(&state.locals, group)?;
    peer::check_room(&state.peers, &state.limits, group)
}

/// Floods to this multicast group from now on.
fn set_group(state: &mut State, number: SegmentId, group: Option<IpAddr>, out: &mut Effect) {
    let old = state.flood.multicast(number);
    if old.map(|peer| state.peers.ip(peer)) == group {
        return;
    }
    let new = group.map(|ip| peer::acquire(state, ip, out));
    state.flood.set_multicast(number, new);
    flood::write(&state.flood, &state.ports, number, MacAddr::ZERO, out);
    if let Some(old) = old {
        peer::release(&mut state.peers, old, out);
    }
}

/// Makes a VNI, or gives the one that there is the settings of a new one.
pub(crate) fn replace(state: &mut State, vni: Vni, spec: &VniSpec) -> Result<Effect, Refusal> {
    let Some(number) = state.segments.number_of(vni) else {
        return add(state, vni, spec);
    };
    let mut new = settings::new(vni, spec)?;
    let old = &state.segments[number];
    for kept in [Segment::NEXTHOPS, Segment::FULL] {
        new.set(kept, old.has(kept));
    }
    let source = state.run.author.source;
    new.set(Segment::CONFIGURED, author::is_configured(source));
    let bridge = bridge::asked(spec, None)?;
    change(state, number, new, bridge)
}

pub(crate) fn set(state: &mut State, vni: Vni, spec: &VniSpec) -> Result<Effect, Refusal> {
    let number = find::segment(&state.segments, vni)?;
    let old = state.segments[number];
    let mut new = settings::changed(&old, spec)?;
    let source = state.run.author.source_of(settings::source(&old));
    new.set(Segment::CONFIGURED, author::is_configured(source));
    let bridge = bridge::asked(spec, state.bridges.of(number))?;
    change(state, number, new, bridge)
}

fn change(
    state: &mut State,
    number: SegmentId,
    new: Segment,
    bridge: Option<PortName>,
) -> Result<Effect, Refusal> {
    let old = state.segments[number];
    bridge::check(state, Some(number), bridge)?;
    let group = settings::group(&new);
    if group != settings::group(&old) {
        check_group(state, group)?;
    }
    if group.is_some() && state.flood.multicast(number).is_none() {
        flood::check_room(state, number, MacAddr::ZERO)?;
    }
    if new.has(Segment::LISTED) && !old.has(Segment::LISTED) {
        source::check_rooms(state, number)?;
    }
    let mut out = Effect::default();
    if new != old {
        source::before(state, number, &new, &mut out);
        state.segments.set(number, new);
        out.write(Write::Segment(number, Box::new(new)));
        if new.ageing_s != old.ageing_s {
            age::age_anew(state, number);
            neigh::age_anew(&mut state.hosts, &mut state.run.0, number);
        }
        if !new.has(Segment::SUPPRESS) {
            neigh::forget_snooped(state, number, &mut out);
        }
        set_group(state, number, group, &mut out);
        limit::sync_segment(&mut state.segments, &state.fdb, number, &mut out);
        source::after(state, number, &old, &mut out);
    }
    bridge::set(state, number, bridge, &mut out);
    Ok(out)
}

/// Refuses to delete a VNI that has something which the user set.
fn check_empty(state: &State, vni: Vni, number: SegmentId) -> Result<(), Refusal> {
    let lists = state.flood.macs(number).into_iter().chain([MacAddr::ZERO]);
    let remotes: usize = lists
        .map(|mac| state.flood.remotes(number, mac).len())
        .sum();
    // What the daemon has for a bridge of the VNI is none of the user's.
    let is_gate = |slot| bridge::is_gate(state, slot);
    let ports = state.ports.of_segment(number);
    let fdb = state.fdb.entries(number);
    let fdb = fdb.filter(|(_, entry)| entry.is_static() && !entry.is_list());
    let fdb = fdb.filter(|(_, entry)| !entry.port().is_some_and(is_gate));
    let neighs = state.hosts.entries(number);
    let neighs = neighs.filter(|(_, neigh)| neigh.origin == NeighOrigin::Static);
    let nexthops = state.nexthops.routes(number);
    let nexthops = nexthops.filter(|(prefix, _)| state.nexthops.get(number, *prefix).is_some());
    let has: Vec<String> = [
        (
            ports.filter(|&slot| !is_gate(slot)).count(),
            "port",
            "ports",
        ),
        (remotes, "remote VTEP", "remote VTEPs"),
        (
            fdb.count() + neighs.count() + nexthops.count(),
            "static entry",
            "static entries",
        ),
    ]
    .into_iter()
    .filter(|(count, ..)| *count != 0)
    .map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }))
    .collect();
    if has.is_empty() {
        return Ok(());
    }
    Err(Refusal::conflict(format!(
        "vni {vni} has {}; remove them first, or delete it with all that it has: vtep vni del {vni} --force",
        has.join(", ")
    )))
}

/// Deletes a VNI with its ports, FDB entries and flood list, as `ip link del` does with a `vxlan` device.
///
/// Its VNI goes first, so that a daemon that is killed on the way leaves a segment without one, which the next daemon
/// clears away.
pub(crate) fn del(state: &mut State, vni: Vni, options: VniDelete) -> Result<Effect, Refusal> {
    let number = find::known_segment(&state.segments, vni)?;
    if !options.force {
        check_empty(state, vni, number)?;
    }
    let mut out = Effect::default();
    out.write(Write::Vni(vni.get(), None));

    let slots: Vec<_> = state.ports.of_segment(number).collect();
    for &slot in &slots {
        link::unregister(&mut state.ports, slot, &mut out);
        guard::forget_guarded(state, slot, &mut out);
    }
    for ip in state.hosts.remove_segment(number) {
        out.write(Write::Neigh(hosts::key(number, ip), None));
    }
    state.addresses.remove_segment(number);
    let (routes, vias) = state.nexthops.remove_segment(number);
    for prefix in routes {
        let (bits, key) = nexthops::key(number, prefix);
        out.write(Write::Nexthop(bits, key, None));
    }
    let entries = state.fdb.remove_segment(number);
    let macs = entries.iter().map(|&(mac, _)| mac);
    out.writes
        .extend(macs.map(|mac| Write::Fdb(key(number, mac), None)));
    if !state.ports.flooded(number).is_empty() || state.flood.targets(number).next().is_some() {
        out.write(Write::Flood(number.into(), None));
    }
    for mac in state.flood.macs(number).into_iter().chain([MacAddr::ZERO]) {
        let list = state.flood.list_of(number, mac);
        let configured = state.flood.configured(number, mac);
        out.unconfigure(list, configured);
    }
    let (lists, targets) = state.flood.remove_segment(number);
    for list in lists {
        out.write(Write::Flood(list, None));
    }
    link::free_all(&mut state.ports, &mut state.run.0, &slots, &mut out);
    for slot in slots {
        rate::forget(&mut state.rates, slot, &mut out);
    }
    source::forget(state, number, &mut out);
    bridge::set(state, number, None, &mut out);
    state.run.moves.forget_all(|key| key.segment() == number);
    state.run.claims.forget_segment(number);
    for (_, entry) in entries {
        entry::release_peer(&mut state.peers, entry, &mut out);
    }
    for peer in vias.into_iter().chain(targets) {
        peer::release(&mut state.peers, peer, &mut out);
    }
    state.segments.remove(number);
    out.write(Write::Segment(number, Box::default()));
    Ok(out)
}
