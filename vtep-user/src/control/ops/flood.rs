//! Putting VTEPs on flood lists, and taking them off.

use std::net::IpAddr;

use vtep_common::abi::{
    addr::MacAddr,
    fdb::FdbTarget,
    flood::ListedKey,
    id::{PeerId, SegmentId},
};

use super::{entry, limit, peer, refuse, source};
use crate::{
    control::{
        effect::{Effect, Write},
        record::{author::is_configured, entry::Entry, flood::FloodLists, ports::Ports},
        state::State,
    },
    model::Refusal,
};

/// Refuses if the list of `mac` has no room for one more.
pub(crate) fn check_room(state: &State, number: SegmentId, mac: MacAddr) -> Result<(), Refusal> {
    let limit = state.limits.flood_targets;
    if state.ports.count_of_segment(number) + state.flood.targets_on(number, mac) >= limit {
        let vni = state.segments.vni(number);
        return Err(refuse::list_full(mac, vni, limit));
    }
    Ok(())
}

/// Refuses if one of the lists of a segment has no room for one more port.
pub(crate) fn check_rooms(state: &State, number: SegmentId) -> Result<(), Refusal> {
    check_room(state, number, MacAddr::ZERO)?;
    state
        .flood
        .macs(number)
        .into_iter()
        .try_for_each(|mac| check_room(state, number, mac))
}

/// Writes the list of `mac`.
pub(crate) fn write(
    flood: &FloodLists,
    ports: &Ports,
    number: SegmentId,
    mac: MacAddr,
    out: &mut Effect,
) {
    let list = flood.pod(number, mac, ports.flooded(number));
    out.write(Write::Flood(flood.list_of(number, mac), list));
}

/// Writes all lists of a segment, after its ports changed.
pub(crate) fn write_all(state: &State, number: SegmentId, out: &mut Effect) {
    write(&state.flood, &state.ports, number, MacAddr::ZERO, out);
    for mac in state.flood.macs(number) {
        write(&state.flood, &state.ports, number, mac, out);
    }
}

/// Puts a peer, which the caller acquired, on the list of `mac`.
pub(crate) fn push(
    state: &mut State,
    number: SegmentId,
    mac: MacAddr,
    peer: PeerId,
    out: &mut Effect,
) {
    source::name(state, number, peer, out);
    state.flood.push(number, mac, peer);
    claim(state, number, mac, peer, out);
    write(&state.flood, &state.ports, number, mac, out);
}

/// Says that a peer on a list was put there by whom the change is made for.
fn claim(state: &mut State, number: SegmentId, mac: MacAddr, peer: PeerId, out: &mut Effect) {
    let source = state.run.author.source;
    if state.flood.set_source(number, mac, peer, source) {
        let key = ListedKey::new(state.flood.list_of(number, mac), peer);
        out.write(Write::Configured(key, is_configured(source)));
    }
}

/// Makes `peer`, which the caller acquired, the only one on the list of `mac`.
pub(crate) fn set(
    state: &mut State,
    number: SegmentId,
    mac: MacAddr,
    peer: PeerId,
    out: &mut Effect,
) {
    source::name(state, number, peer, out);
    let mut configured = state.flood.configured(number, mac);
    let old = state.flood.set(number, mac, peer);
    claim(state, number, mac, peer, out);
    if old != [peer] {
        write(&state.flood, &state.ports, number, mac, out);
    }
    configured.remove(&peer);
    let list = state.flood.list_of(number, mac);
    out.unconfigure(list, configured);
    for peer in old {
        source::unname(state, number, peer, out);
        peer::release(&mut state.peers, peer, out);
    }
}

/// Takes those peers off the list of `mac` that `goes` says.
pub(crate) fn remove(
    state: &mut State,
    number: SegmentId,
    mac: MacAddr,
    goes: impl Fn(PeerId) -> bool,
    out: &mut Effect,
) {
    let configured = state.flood.configured(number, mac);
    let gone = state.flood.take(number, mac, goes);
    if gone.is_empty() {
        return;
    }
    write(&state.flood, &state.ports, number, mac, out);
    let list = state.flood.list_of(number, mac);
    let configured = configured.into_iter().filter(|peer| gone.contains(peer));
    out.unconfigure(list, configured);
    for peer in gone {
        source::unname(state, number, peer, out);
        peer::release(&mut state.peers, peer, out);
    }
}

/// Puts a VTEP on a list that exists.
pub(crate) fn append(
    state: &mut State,
    number: SegmentId,
    mac: MacAddr,
    ip: IpAddr,
) -> Result<Effect, Refusal> {
    let vni = state.segments.vni(number);
    if let Ok(peer) = on_list(state, number, mac, ip) {
        let author = state.run.author;
        if author.claims && state.flood.source(number, mac, peer) != author.source {
            let mut out = Effect::default();
            claim(state, number, mac, peer, &mut out);
            return Ok(out);
        }
        return Err(Refusal::conflict(format!(
            "{ip} exists already on the list of {mac} in vni {vni}; see the list with: vtep fdb get {mac} --vni {vni}"
        )));
    }
    check_room(state, number, mac)?;
    source::check_room(state, number, state.peers.number_of(ip))?;
    let mut out = Effect::default();
    let peer = peer::acquire(state, ip, &mut out);
    push(state, number, mac, peer, &mut out);
    Ok(out)
}

/// Makes a list for a multicast MAC that has none.
pub(crate) fn add_group(
    state: &mut State,
    number: SegmentId,
    mac: MacAddr,
    ip: IpAddr,
) -> Result<Effect, Refusal> {
    limit::check_room(&state.fdb, &state.limits, 1)?;
    limit::check_vni_room(&state.fdb, &state.segments, number, 1)?;
    check_room(state, number, mac)?;
    if state.flood.groups() >= state.limits.groups {
        return Err(Refusal::full(format!(
            "all {} lists for multicast MACs are in use; leave {mac} to the flood list",
            state.limits.groups
        )));
    }
    source::check_room(state, number, state.peers.number_of(ip))?;
    let mut out = Effect::default();
    let peer = peer::acquire(state, ip, &mut out);
    let entry = Entry::static_to(FdbTarget::List(state.flood.add(number, mac)));
    push(state, number, mac, peer, &mut out);
    entry::set(state, number, mac, entry, 0, &mut out);
    Ok(out)
}

/// Takes VTEPs off the list of a multicast MAC, and with the last of them the list.
pub(crate) fn remove_group(
    state: &mut State,
    number: SegmentId,
    mac: MacAddr,
    goes: impl Fn(PeerId) -> bool,
    out: &mut Effect,
) {
    if state
        .flood
        .remotes(number, mac)
        .iter()
        .all(|&peer| goes(peer))
    {
        entry::remove(state, number, mac, out);
    } else {
        remove(state, number, mac, goes, out);
    }
}

/// Number of the peer `ip`, if it is on the list of `mac`.
pub(crate) fn on_list(
    state: &State,
    number: SegmentId,
    mac: MacAddr,
    ip: IpAddr,
) -> Result<PeerId, Refusal> {
    let vni = state.segments.vni(number);
    state
        .peers
        .number_of(ip)
        .filter(|peer| state.flood.remotes(number, mac).contains(peer))
        .ok_or_else(|| refuse::not_on_list(mac, vni, ip))
}
