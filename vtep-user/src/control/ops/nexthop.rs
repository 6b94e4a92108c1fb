//! The nexthop table: where hosts and prefixes are.
//!
//! What the user says stands before the addresses of ports. In the map an entry of the user's remembers the port that has
//! the address too, so that the next daemon knows.

use std::net::IpAddr;

use vtep_common::abi::{
    addr::MacAddr,
    fdb::FdbTarget,
    id::SegmentId,
    nexthop::{NexthopKey, NexthopOrigin, NexthopValue},
    segment::Segment,
};

use super::{find, neigh, peer, refuse, source};
use crate::{
    control::{
        effect::{Effect, Write},
        record::{
            entry::Entry,
            nexthops::{Nexthop, Nexthops, PORT_SHIFT, all_of_v4, covers_v4, key, room},
            segments::Segments,
        },
        state::State,
    },
    model::{NexthopDel, NexthopSpec, Prefix, Refusal, Source},
};

/// The prefix of a key, if it is one that [`key`] makes.
pub(crate) fn prefix(bits: u32, key: &NexthopKey) -> Option<Prefix> {
    let host = IpAddr::from(key.host);
    let family = if host.is_ipv4() {
        NexthopKey::V4_BITS
    } else {
        0
    };
    let len = bits.checked_sub(NexthopKey::SEGMENT_BITS + family)?;
    let prefix = format!("{host}/{len}").parse().ok()?;
    check_prefix(prefix).is_ok().then_some(prefix)
}

/// Refuses prefixes without hosts.
fn check_prefix(prefix: Prefix) -> Result<(), Refusal> {
    if prefix.is_host() {
        return refuse::check_host(prefix.addr());
    }
    let IpAddr::V6(v6) = prefix.addr() else {
        return Ok(());
    };
    if v6.to_ipv4_mapped().is_some() && prefix.len() >= 96 {
        return Err(Refusal::invalid(format!(
            "{prefix} is an IPv4-mapped IPv6 prefix; write it as IPv4"
        )));
    }
    Ok(())
}

pub(crate) fn add(state: &mut State, spec: &NexthopSpec) -> Result<Effect, Refusal> {
    let number = find::segment(&state.segments, spec.vni)?;
    if state.nexthops.get(number, spec.ip).is_some() {
        return Err(Refusal::conflict(format!(
            "{} exists already in the nexthop table of vni {}; use: vtep nexthop replace {0} --vni {1} --via VTEP",
            spec.ip, spec.vni
        )));
    }
    replace(state, spec)
}

pub(crate) fn replace(state: &mut State, spec: &NexthopSpec) -> Result<Effect, Refusal> {
    let NexthopSpec {
        ip: prefix,
        vni,
        via,
        lladdr,
    } = *spec;
    let number = find::segment(&state.segments, vni)?;
    check_prefix(prefix)?;
    if let Some(via) = via {
        peer::check_dst(state, via, "--via")?;
        source::check_room(state, number, state.peers.number_of(via))?;
    }
    if via.is_none() && lladdr.is_none() {
        return Err(Refusal::invalid(format!(
            "name the place of {prefix}: a VTEP with --via VTEP, or a MAC in the FDB with --lladdr MAC"
        )));
    }
    let mac = lladdr
        .map(|mac| refuse::unicast(mac, "--lladdr"))
        .transpose()?;
    let old = state.nexthops.get(number, prefix);
    check_room(state, old.map_or(room(prefix), |_| 0))?;
    let holds = |mac: Option<MacAddr>| usize::from(prefix.is_host() && mac.is_some());
    let held = holds(old.and_then(|old| old.mac));
    neigh::check_room(state, holds(mac).saturating_sub(held))?;

    let mut out = Effect::default();
    let via = via.map(|ip| peer::acquire(state, ip, &mut out));
    let source = state.run.author.source;
    let nexthop = Nexthop { via, mac, source };
    put(state, number, prefix, Some(nexthop), &mut out);
    Ok(out)
}

pub(crate) fn del(state: &mut State, del: &NexthopDel) -> Result<Effect, Refusal> {
    let NexthopDel {
        ip: prefix,
        vni,
        via,
        lladdr,
    } = *del;
    let number = find::known_segment(&state.segments, vni)?;
    let Some(known) = state.nexthops.get(number, prefix) else {
        let port = state.addresses.port(number, prefix.addr());
        return Err(match port.filter(|_| prefix.is_host()) {
            Some(slot) => neigh::is_a_ports(state, prefix.addr(), slot),
            None => Refusal::not_found(format!(
                "vni {vni} has no nexthop entry for {prefix}; see what it has with: vtep nexthop show --vni {vni}"
            )),
        });
    };
    let other_via = |ip| known.via.is_none_or(|peer| state.peers.ip(peer) != ip);
    let other_mac = |mac| known.mac != Some(mac);
    if via.is_some_and(other_via) || lladdr.is_some_and(other_mac) {
        return Err(Refusal::not_found(format!(
            "the entry for {prefix} in vni {vni} leads elsewhere; delete it wherever it leads with: vtep nexthop del {prefix} --vni {vni}"
        )));
    }
    let mut out = Effect::default();
    put(state, number, prefix, None, &mut out);
    Ok(out)
}

/// Refuses if there is no room for `more` entries, those that others stand in for counted too.
pub(crate) fn check_room(state: &State, more: usize) -> Result<(), Refusal> {
    let used = state.nexthops.room() + state.addresses.len();
    if more != 0 && used as usize + more > state.limits.nexthops as usize {
        return Err(Refusal::full(format!(
            "the nexthop table is full ({} entries); delete one with: vtep nexthop del HOST --vni VNI",
            state.limits.nexthops
        )));
    }
    Ok(())
}

/// Writes an entry of the user's, whose peer the caller acquired, or takes it away.
pub(crate) fn put(
    state: &mut State,
    number: SegmentId,
    prefix: Prefix,
    new: Option<Nexthop>,
    out: &mut Effect,
) {
    let old = state.nexthops.put(number, prefix, new);
    if let Some(peer) = new.and_then(|new| new.via) {
        source::name(state, number, peer, out);
    }
    if covers_v4(prefix) {
        sync(state, number, all_of_v4(), out);
    }
    sync(state, number, prefix, out);
    if prefix.is_host() {
        neigh::sync(state, number, prefix.addr(), out);
    }
    if let Some(peer) = old.and_then(|old| old.via) {
        source::unname(state, number, peer, out);
        peer::release(&mut state.peers, peer, out);
    }
}

/// Brings the map in line with what is known of a prefix.
pub(crate) fn sync(state: &mut State, number: SegmentId, prefix: Prefix, out: &mut Effect) {
    let wanted = wanted(state, number, prefix);
    if state.nexthops.set_route(number, prefix, wanted) {
        let (bits, key) = key(number, prefix);
        out.write(Write::Nexthop(bits, key, wanted));
    }
    sync_flag(&mut state.segments, &state.nexthops, number, out);
}

/// Says in the segment whether it has entries.
pub(crate) fn sync_flag(
    segments: &mut Segments,
    nexthops: &Nexthops,
    number: SegmentId,
    out: &mut Effect,
) {
    let mut segment = segments[number];
    let has_routes = nexthops.has_routes(number);
    if segment.has(Segment::NEXTHOPS) != has_routes {
        segment.set(Segment::NEXTHOPS, has_routes);
        segments.set(number, segment);
        out.write(Write::Segment(number, Box::new(segment)));
    }
}

/// What the map is to say of a prefix.
fn wanted(state: &State, number: SegmentId, prefix: Prefix) -> Option<NexthopValue> {
    let port = state.addresses.port(number, prefix.addr());
    let port = port.filter(|_| prefix.is_host());
    let Some(nexthop) = state.nexthops.get(number, prefix) else {
        if prefix == all_of_v4() && state.nexthops.cover_v4(number) {
            return Some(NexthopValue::default());
        }
        let slot = port?;
        let mac = state.fdb.one_mac(slot).unwrap_or(MacAddr::ZERO);
        let target = FdbTarget::Port(slot).into();
        return Some(NexthopValue::new(target, mac, NexthopOrigin::Port, 0));
    };
    let entry = nexthop.tracks().and_then(|mac| state.fdb.get(number, mac));
    let target = match nexthop.via {
        Some(peer) => Some(FdbTarget::Peer(peer)),
        None => entry.filter(|entry| !entry.is_list()).map(Entry::target),
    };
    let port = port.map_or(0, |slot| {
        u16::try_from(slot.get() + 1).expect("below the largest number of ports") << PORT_SHIFT
    });
    let tracks = match nexthop.via {
        Some(_) => 0,
        None => NexthopValue::TRACKS,
    };
    let mac = nexthop.mac.unwrap_or(MacAddr::ZERO);
    let configured = match nexthop.source {
        Source::Config => NexthopValue::CONFIGURED,
        Source::Cli | Source::Bridge => 0,
    };
    let flags = tracks | port | configured;
    Some(NexthopValue::new(
        target.into(),
        mac,
        NexthopOrigin::Static,
        flags,
    ))
}

/// Lets the entries that track a MAC lead to where the FDB has it now.
pub(crate) fn track(state: &mut State, number: SegmentId, mac: MacAddr, out: &mut Effect) {
    for prefix in state.nexthops.tracking(number, mac) {
        sync(state, number, prefix, out);
    }
}
