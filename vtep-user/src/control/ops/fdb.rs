//! FDB entries: where each MAC of a VNI is.

use std::net::IpAddr;

use vtep_common::abi::{
    addr::MacAddr,
    fdb::FdbTarget,
    id::{PortSlot, SegmentId},
};

use super::{bridge, entry, find, flood, peer, refuse, source};
use crate::{
    control::{
        effect::Effect,
        learn::notify,
        record::{entry::Entry, location::Location, peers::Peers, ports::Ports},
        state::State,
    },
    model::{EventDetails, EventKind, FdbDel, FdbFilter, FdbSpec, Refusal},
};

/// What a MAC stands for in the FDB.
enum MacKind {
    Unicast,
    /// Multicast, with VTEPs of its own.
    Group,
    /// All zero: the flood list.
    Flood,
}

impl MacKind {
    fn of(mac: MacAddr) -> Self {
        if mac.is_zero() {
            Self::Flood
        } else if mac.is_group() {
            Self::Group
        } else {
            Self::Unicast
        }
    }
}

pub(crate) fn add(state: &mut State, spec: &FdbSpec) -> Result<Effect, Refusal> {
    let (number, mac, location) = checked(state, spec)?;
    match (MacKind::of(mac), location) {
        (MacKind::Flood, Location::Vtep(ip)) => flood::append(state, number, mac, ip),
        (kind, location) => match (state.fdb.get(number, mac), kind, location) {
            (Some(entry), ..) if entry.is_static() => Err(Refusal::conflict(exists_already(
                state, entry, mac, location, spec,
            ))),
            (_, MacKind::Group, Location::Vtep(ip)) => flood::add_group(state, number, mac, ip),
            _ => entry::set_unicast(state, number, mac, location),
        },
    }
}

pub(crate) fn append(state: &mut State, spec: &FdbSpec) -> Result<Effect, Refusal> {
    let (number, mac, location) = checked(state, spec)?;
    match (MacKind::of(mac), location) {
        (MacKind::Group, Location::Vtep(ip)) if !state.flood.has(number, mac) => {
            flood::add_group(state, number, mac, ip)
        }
        (MacKind::Flood | MacKind::Group, Location::Vtep(ip)) => {
            flood::append(state, number, mac, ip)
        }
        _ => Err(Refusal::invalid(format!(
            "append is for 00:00:00:00:00:00 and multicast MACs, which have several VTEPs; for {} use: vtep fdb add",
            spec.mac
        ))),
    }
}

pub(crate) fn replace(state: &mut State, spec: &FdbSpec) -> Result<Effect, Refusal> {
    let (number, mac, location) = checked(state, spec)?;
    match (MacKind::of(mac), location) {
        (MacKind::Group, Location::Vtep(ip)) if !state.flood.has(number, mac) => {
            flood::add_group(state, number, mac, ip)
        }
        (MacKind::Flood | MacKind::Group, Location::Vtep(ip)) => {
            if state.flood.remotes(number, mac).is_empty() {
                flood::check_room(state, number, mac)?;
            }
            source::check_room(state, number, state.peers.number_of(ip))?;
            let mut out = Effect::default();
            let peer = peer::acquire(state, ip, &mut out);
            flood::set(state, number, mac, peer, &mut out);
            Ok(out)
        }
        (_, location) => entry::set_unicast(state, number, mac, location),
    }
}

pub(crate) fn del(state: &mut State, del: &FdbDel) -> Result<Effect, Refusal> {
    let number = find::known_segment(&state.segments, del.vni)?;
    let mac = del.mac;
    let mut out = Effect::default();
    if mac.is_zero() {
        let (Some(dst), None) = (del.dst, &del.dev) else {
            return Err(Refusal::invalid(format!(
                "the flood list has one entry for each VTEP; name the one to delete: vtep fdb del {} --vni {} --dst VTEP",
                del.mac, del.vni
            )));
        };
        let peer = flood::on_list(state, number, mac, dst)?;
        flood::remove(state, number, mac, |other| other == peer, &mut out);
        return Ok(out);
    }
    let entry = state
        .fdb
        .get(number, mac)
        .ok_or_else(|| refuse::no_entry(del.mac, del.vni))?;
    if entry.is_list()
        && let (Some(dst), None) = (del.dst, &del.dev)
    {
        let peer = flood::on_list(state, number, mac, dst)?;
        flood::remove_group(state, number, mac, |other| other == peer, &mut out);
        return Ok(out);
    }
    if !points_to(
        &state.ports,
        &state.peers,
        entry,
        del.dst,
        del.dev.as_deref(),
    ) {
        return Err(Refusal::not_found(format!(
            "{} in vni {} points to {} and not there; delete it wherever it points with: vtep fdb del {0} --vni {1}",
            del.mac,
            del.vni,
            whereabouts(&state.ports, &state.peers, entry)
        )));
    }
    entry::remove(state, number, mac, &mut out);
    Ok(out)
}

/// Deletes what was learned and matches. With `static` also what was set, that of `port add --mac` and the places on flood lists
/// included.
pub(crate) fn flush(state: &mut State, filter: &FdbFilter) -> Result<Effect, Refusal> {
    let Some(vni) = filter.vni else {
        return Err(Refusal::invalid(
            "flush empties the FDB of one VNI; name it with: --vni VNI",
        ));
    };
    let number = find::known_segment(&state.segments, vni)?;
    if let Some(dev) = &filter.dev {
        find::known_device(&state.ports, dev)?;
        ports_in(state, dev, number)?;
    }
    let mut out = Effect::default();
    let before = state.fdb.len();
    let (dst, dev) = (filter.dst, filter.dev.as_deref());
    let macs: Vec<_> = state
        .fdb
        .entries(number)
        .filter(|(_, entry)| entry.ages() || filter.with_static)
        .filter(|(_, entry)| {
            !entry.is_list() && points_to(&state.ports, &state.peers, *entry, dst, dev)
        })
        .map(|(mac, _)| mac)
        .collect();
    for mac in macs {
        entry::remove(state, number, mac, &mut out);
    }
    let mut gone = u64::from(before - state.fdb.len());
    if dev.is_none() && filter.with_static {
        let peer = dst.map(|ip| state.peers.number_of(ip));
        let goes = |other| peer.is_none_or(|peer| peer == Some(other));
        for mac in state.flood.macs(number).into_iter().chain([MacAddr::ZERO]) {
            let on_list = state.flood.remotes(number, mac).iter();
            gone += on_list.filter(|&&peer| goes(peer)).map(|_| 1).sum::<u64>();
            if mac.is_zero() {
                flood::remove(state, number, mac, goes, &mut out);
            } else {
                flood::remove_group(state, number, mac, goes, &mut out);
            }
        }
    }
    if gone != 0 {
        notify::notify(state, &mut out, |_| EventDetails {
            vni: Some(vni),
            dst,
            dev: filter.dev.clone(),
            count: Some(gone),
            ..EventDetails::new(EventKind::Flushed)
        });
    }
    Ok(out)
}

/// What all three ways of writing an entry ask first.
fn checked(state: &State, spec: &FdbSpec) -> Result<(SegmentId, MacAddr, Location), Refusal> {
    let FdbSpec { mac, vni, dst, dev } = spec;
    let (mac, vni) = (*mac, *vni);
    let number = find::segment(&state.segments, vni)?;
    if mac == MacAddr::BROADCAST {
        return Err(Refusal::invalid(format!(
            "broadcast goes to the flood list; add to it with: vtep fdb append 00:00:00:00:00:00 --vni {vni} --dst VTEP"
        )));
    }
    let location = match (dst, dev) {
        (Some(ip), None) => {
            peer::check_dst(state, *ip, "--dst")?;
            Location::Vtep(*ip)
        }
        (None, Some(dev)) if matches!(MacKind::of(mac), MacKind::Unicast) => {
            let slot = port_in(state, dev, number)?;
            bridge::check_nameable(state, dev, slot)?;
            Location::Port(slot)
        }
        (None, Some(_)) => {
            return Err(Refusal::invalid(format!(
                "{mac} goes to every port of vni {vni} anyway; name a VTEP with: --dst VTEP"
            )));
        }
        (Some(_), Some(_)) => {
            return Err(Refusal::invalid(
                "an FDB entry points to one place; give --dst or --dev, not both",
            ));
        }
        (None, None) => {
            return Err(Refusal::invalid(
                "name the place of the MAC: a VTEP with --dst IP, or a port with --dev PORT",
            ));
        }
    };
    Ok((number, mac, location))
}

/// Slots of the ports of `dev` in a segment.
fn ports_in(state: &State, dev: &str, number: SegmentId) -> Result<Vec<(u16, PortSlot)>, Refusal> {
    let slots: Vec<_> = find::device(&state.ports, dev)?
        .1
        .ports()
        .filter(|&(_, slot)| state.ports[slot].segment == number)
        .collect();
    if slots.is_empty() {
        return Err(refuse::not_in_vni(dev, state.segments.vni(number)));
    }
    Ok(slots)
}

/// The one port of `dev` in a segment that an entry can mean: that of its untagged frames, or its only one.
fn port_in(state: &State, dev: &str, number: SegmentId) -> Result<PortSlot, Refusal> {
    match ports_in(state, dev, number)?.as_slice() {
        [(0, slot), ..] | [(_, slot)] => Ok(*slot),
        _ => Err(Refusal::invalid(format!(
            "{dev} is in vni {} with several VLANs; choose one with: vtep port set {dev} --vlan ID --mac MAC",
            state.segments.vni(number)
        ))),
    }
}

/// True if an entry points to everything that is given.
pub(crate) fn points_to(
    ports: &Ports,
    peers: &Peers,
    entry: Entry,
    dst: Option<IpAddr>,
    dev: Option<&str>,
) -> bool {
    let to_dst = |ip| entry.peer().is_some_and(|peer| peers.ip(peer) == ip);
    let to_dev = |dev| {
        entry
            .port()
            .is_some_and(|slot| ports.device_name(slot) == dev)
    };
    dst.is_none_or(to_dst) && dev.is_none_or(to_dev)
}

/// Where an entry points, for a sentence.
fn whereabouts(ports: &Ports, peers: &Peers, entry: Entry) -> String {
    match entry.target() {
        FdbTarget::Peer(peer) => peers.ip(peer).to_string(),
        FdbTarget::Port(slot) => ports.device_name(slot).to_owned(),
        FdbTarget::List(_) => "a list of VTEPs".to_owned(),
    }
}

fn exists_already(
    state: &State,
    entry: Entry,
    mac: MacAddr,
    location: Location,
    spec: &FdbSpec,
) -> String {
    let vni = spec.vni;
    let (verb, location) = match (entry.target(), location) {
        (FdbTarget::List(_), Location::Vtep(ip)) => ("append", format!("--dst {ip}")),
        (_, Location::Vtep(ip)) => ("replace", format!("--dst {ip}")),
        (_, Location::Port(_)) => (
            "replace",
            format!("--dev {}", spec.dev.as_deref().unwrap_or("PORT")),
        ),
    };
    format!(
        "{mac} exists already in vni {vni} and points to {}; use: vtep fdb {verb} {mac} --vni {vni} {location}",
        whereabouts(&state.ports, &state.peers, entry)
    )
}
