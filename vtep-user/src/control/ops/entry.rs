//! Writing an FDB entry, and what follows from it.

use vtep_common::abi::{
    addr::MacAddr,
    fdb::FdbTarget,
    id::{PortSlot, SegmentId},
};

use super::{address, limit, neigh, nexthop, peer, refuse, source};
use crate::{
    control::{
        effect::{Effect, Write},
        record::{
            entry::{Entry, key},
            fdb::Fdb,
            location::Location,
            peers::Peers,
            ports::Ports,
        },
        state::State,
    },
    model::Refusal,
};

/// Writes the entry of a unicast MAC.
pub(crate) fn set_unicast(
    state: &mut State,
    number: SegmentId,
    mac: MacAddr,
    location: Location,
) -> Result<Effect, Refusal> {
    let known = state.fdb.get(number, mac).is_some();
    limit::check_room(&state.fdb, &state.limits, usize::from(!known))?;
    limit::check_vni_room(&state.fdb, &state.segments, number, usize::from(!known))?;
    let mut out = Effect::default();
    let entry = match location {
        Location::Port(slot) => {
            check_port_room(state, slot, mac)?;
            Entry::static_to(FdbTarget::Port(slot))
        }
        Location::Vtep(ip) => {
            source::check_room(state, number, state.peers.number_of(ip))?;
            Entry::static_to(FdbTarget::Peer(peer::acquire(state, ip, &mut out)))
        }
    };
    let entry = entry.set_by(state.run.author.source);
    set(state, number, mac, entry, 0, &mut out);
    Ok(out)
}

fn check_port_room(state: &State, slot: PortSlot, mac: MacAddr) -> Result<(), Refusal> {
    if has_port_room(&state.ports, &state.fdb, slot, mac) {
        return Ok(());
    }
    let (dev, vlan) = state.port_name(slot).expect("in use");
    Err(refuse::port_full(dev, vlan, state.ports[slot].max_macs))
}

/// True if a port may have `mac` behind it, or has it already.
pub(crate) fn has_port_room(ports: &Ports, fdb: &Fdb, slot: PortSlot, mac: MacAddr) -> bool {
    let port = &ports[slot];
    let limit = port.max_macs;
    let is_here = || {
        let entry = fdb.get(port.segment, mac);
        entry.and_then(Entry::port) == Some(slot)
    };
    limit == 0 || fdb.count_behind(slot) < limit as usize || is_here()
}

/// Puts an entry, whose peer the caller referred to, in place of the one that the MAC has, which is returned and still refers to its peer.
pub(crate) fn insert(
    state: &mut State,
    number: SegmentId,
    mac: MacAddr,
    entry: Entry,
) -> Option<Entry> {
    if let Some(peer) = entry.peer().filter(|_| entry.ages()) {
        state.peers.learn(peer);
    }
    state.fdb.insert(number, mac, entry)
}

/// Gives up the reference of an entry that is gone to its peer.
pub(crate) fn release_peer(peers: &mut Peers, gone: Entry, out: &mut Effect) {
    if let Some(peer) = gone.peer() {
        peer::release_from(peers, peer, gone.ages(), out);
    }
}

/// Writes an entry, whose peer the caller acquired, in place of the one that the MAC has. `seen` is when a frame from the
/// MAC was last seen, of an entry that ages.
pub(crate) fn set(
    state: &mut State,
    number: SegmentId,
    mac: MacAddr,
    entry: Entry,
    seen: u64,
    out: &mut Effect,
) {
    let old = insert(state, number, mac, entry);
    if old != Some(entry) {
        out.write(Write::Fdb(key(number, mac), Some(entry.pod(seen))));
    }
    if !entry.ages() {
        state.run.moves.forget(key(number, mac));
    }
    neigh::move_snooped(state, number, mac, entry.port(), out);
    nexthop::track(state, number, mac, out);
    let slots = [Some(entry), old].map(|entry| entry.filter(|entry| entry.is_static()));
    for slot in slots.into_iter().flatten().filter_map(Entry::port) {
        address::sync_port(state, slot, out);
    }
    counted(state, number, Some(entry), old, out);
    if let Some(old) = old {
        release_peer(&mut state.peers, old, out);
    }
}

/// Deletes the entry of a MAC.
pub(crate) fn remove(state: &mut State, number: SegmentId, mac: MacAddr, out: &mut Effect) {
    let Some(old) = state.fdb.remove(number, mac) else {
        return;
    };
    out.write(Write::Fdb(key(number, mac), None));
    state.run.moves.forget(key(number, mac));
    neigh::forget_snooped_at(state, number, mac, out);
    nexthop::track(state, number, mac, out);
    if let Some(slot) = old.port().filter(|_| old.is_static()) {
        address::sync_port(state, slot, out);
    }
    counted(state, number, None, Some(old), out);
    release_peer(&mut state.peers, old, out);
    let configured = state.flood.configured(number, mac);
    if let Some((list, remotes)) = state.flood.remove(number, mac) {
        out.write(Write::Flood(list, None));
        out.unconfigure(list, configured);
        for peer in remotes {
            source::unname(state, number, peer, out);
            peer::release(&mut state.peers, peer, out);
        }
    }
}

/// Deletes what was learned from VTEPs that packets are no longer taken from.
pub(crate) fn forget_unlisted(state: &mut State, out: &mut Effect) {
    for (number, peer) in state.sources.take_unlisted() {
        let entries = state.fdb.entries(number);
        let behind = entries.filter(|(_, entry)| entry.ages() && entry.peer() == Some(peer));
        let macs: Vec<MacAddr> = behind.map(|(mac, _)| mac).collect();
        for mac in macs {
            remove(state, number, mac, out);
        }
    }
}

/// What counts entries, by VNI, port and VTEP, takes note of one that has come in place of another.
fn counted(
    state: &mut State,
    number: SegmentId,
    new: Option<Entry>,
    old: Option<Entry>,
    out: &mut Effect,
) {
    let (new_port, old_port) = (new.and_then(Entry::port), old.and_then(Entry::port));
    for slot in [new_port, old_port].into_iter().flatten() {
        limit::sync_port(&mut state.ports, &state.fdb, slot, out);
    }
    limit::sync_segment(&mut state.segments, &state.fdb, number, out);
    source::entry_changed(state, number, new, old, out);
}
