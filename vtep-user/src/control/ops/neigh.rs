//! Hosts that ARP and ND are answered for.
//!
//! An address has one entry, of the first of these: what the user said, the port that has the address, the nexthop table,
//! and what was snooped at a port.

use std::net::IpAddr;

use vtep_common::abi::{
    addr::MacAddr,
    id::{PortSlot, SegmentId},
    neigh::NeighOrigin,
};

use super::{find, refuse};
use crate::{
    control::{
        effect::{Effect, Write},
        record::{
            hosts::{Hosts, Neigh, key},
            run::Run,
        },
        state::State,
    },
    model::{NeighDel, NeighSpec, Prefix, Refusal},
};

pub(crate) fn add(state: &mut State, spec: &NeighSpec) -> Result<Effect, Refusal> {
    let number = find::segment(&state.segments, spec.vni)?;
    let known = state.hosts.get(number, spec.ip);
    if let Some(known) = known.filter(|known| known.origin == NeighOrigin::Static) {
        return Err(Refusal::conflict(format!(
            "{} exists already in vni {} and is at {}; use: vtep neigh replace {0} --vni {1} --lladdr MAC",
            spec.ip, spec.vni, known.mac
        )));
    }
    replace(state, spec)
}

pub(crate) fn replace(state: &mut State, spec: &NeighSpec) -> Result<Effect, Refusal> {
    let NeighSpec {
        ip,
        vni,
        lladdr,
        router,
    } = *spec;
    let number = find::segment(&state.segments, vni)?;
    refuse::check_host(ip)?;
    let mac = lladdr.ok_or_else(|| {
        Refusal::invalid(format!(
            "answers for {ip} need a MAC; give it with: --lladdr MAC"
        ))
    })?;
    let mac = refuse::unicast(mac, "--lladdr")?;
    let known = state.hosts.get(number, ip);
    check_room(
        state,
        usize::from(!known.is_some_and(|known| known.is_own())),
    )?;

    let mut out = Effect::default();
    let neigh = Neigh {
        router: Some(router),
        source: state.run.author.source,
        ..Neigh::new(mac, NeighOrigin::Static)
    };
    state.run.claims.forget(number, ip);
    put(&mut state.hosts, number, ip, Some(neigh), &mut out);
    Ok(out)
}

pub(crate) fn del(state: &mut State, del: &NeighDel) -> Result<Effect, Refusal> {
    let NeighDel { ip, vni, lladdr } = *del;
    let number = find::known_segment(&state.segments, vni)?;
    let known = state.hosts.get(number, ip);
    if let (Some(known), Some(lladdr)) = (known, lladdr)
        && known.mac != lladdr
    {
        return Err(Refusal::not_found(format!(
            "{ip} in vni {vni} is at {} and not at {lladdr}; delete it wherever it is with: vtep neigh del {ip} --vni {vni}",
            known.mac
        )));
    }
    match known.map(|known| (known.origin, known.port)) {
        None => Err(Refusal::not_found(format!(
            "vni {vni} has no neigh entry for {ip}; see what it has with: vtep neigh show --vni {vni}"
        ))),
        Some((NeighOrigin::Port, slot)) => {
            Err(is_a_ports(state, ip, slot.expect("an entry of a port")))
        }
        Some((NeighOrigin::Nexthop, _)) => Err(Refusal::conflict(format!(
            "the entry for {ip} follows from the nexthop table; delete that with: vtep nexthop del {ip} --vni {vni}"
        ))),
        Some((NeighOrigin::Static | NeighOrigin::Snooped, _)) => {
            let mut out = Effect::default();
            state.run.claims.forget(number, ip);
            remove_own(state, number, ip, &mut out);
            Ok(out)
        }
    }
}

/// The refusal to delete an entry that a port's address makes.
pub(crate) fn is_a_ports(state: &State, ip: IpAddr, slot: PortSlot) -> Refusal {
    let (dev, vlan) = state.port_name(slot).expect("in use");
    Refusal::conflict(format!(
        "{ip} is an address of port {}; give the port other addresses with: vtep port set {dev}{} --ip IP",
        refuse::port_name(dev, vlan),
        refuse::vlan_option(vlan)
    ))
}

/// Hosts that ARP and ND are answered for, or would be if no other entry stood in for theirs.
pub(crate) fn hosts_used(state: &State) -> u32 {
    state.hosts.own() + state.addresses.len() + state.nexthops.hosts()
}

/// Refuses if there is no room for `more` entries. Those that others stand in for are counted too: they may come back.
pub(crate) fn check_room(state: &State, more: usize) -> Result<(), Refusal> {
    if more != 0 && hosts_used(state) as usize + more > state.limits.neighs as usize {
        return Err(Refusal::full(format!(
            "the neigh table is full ({} hosts); delete one with: vtep neigh del IP --vni VNI",
            state.limits.neighs
        )));
    }
    Ok(())
}

/// Takes away what the user said or what was snooped; what follows from the rest takes its place.
pub(crate) fn remove_own(state: &mut State, number: SegmentId, ip: IpAddr, out: &mut Effect) {
    let derived = derived(state, number, ip);
    put(&mut state.hosts, number, ip, derived, out);
}

/// Brings the entry of an address in line with the ports and the nexthop table.
pub(crate) fn sync(state: &mut State, number: SegmentId, ip: IpAddr, out: &mut Effect) {
    let known = state.hosts.get(number, ip);
    let derived = derived(state, number, ip);
    match known.map(|known| known.origin) {
        Some(NeighOrigin::Static) => {}
        Some(NeighOrigin::Snooped) if derived.is_none() => {}
        _ => put(&mut state.hosts, number, ip, derived, out),
    }
}

/// What follows for an address from the ports and the nexthop table.
fn derived(state: &State, number: SegmentId, ip: IpAddr) -> Option<Neigh> {
    if let Some(slot) = state.addresses.port(number, ip)
        && let Some(mac) = state.fdb.one_mac(slot)
    {
        return Some(Neigh {
            port: Some(slot),
            ..Neigh::new(mac, NeighOrigin::Port)
        });
    }
    let nexthop = state.nexthops.get(number, Prefix::host(ip))?;
    Some(Neigh::new(nexthop.mac?, NeighOrigin::Nexthop))
}

/// Writes the entry of an address, or takes it away.
pub(crate) fn put(
    hosts: &mut Hosts,
    number: SegmentId,
    ip: IpAddr,
    new: Option<Neigh>,
    out: &mut Effect,
) {
    let old = hosts.put(number, ip, new);
    let pod = |neigh: Option<Neigh>| neigh.map(|neigh| neigh.pod());
    if pod(old) != pod(new) {
        out.write(Write::Neigh(key(number, ip), pod(new)));
    }
}

/// Looks at all snooped hosts of a segment anew, after its ageing time changed, or when nobody knows when they were snooped.
pub(crate) fn age_anew(hosts: &mut Hosts, run: &mut Run, number: SegmentId) {
    for host in hosts.set_all_due(number) {
        run.hosts.push(0, (number, host));
    }
}

/// Forgets the hosts that were snooped at a MAC.
pub(crate) fn forget_snooped_at(
    state: &mut State,
    number: SegmentId,
    mac: MacAddr,
    out: &mut Effect,
) {
    for host in state.hosts.snooped_at(number, mac) {
        remove_own(state, number, host, out);
    }
}

/// Forgets all hosts of a segment that were snooped.
pub(crate) fn forget_snooped(state: &mut State, number: SegmentId, out: &mut Effect) {
    state.run.claims.forget_segment(number);
    for host in state.hosts.snooped_in(number) {
        remove_own(state, number, host, out);
    }
}

/// Lets the hosts at a MAC be where that is now: at a port, or behind a VTEP.
pub(crate) fn move_snooped(
    state: &mut State,
    number: SegmentId,
    mac: MacAddr,
    port: Option<PortSlot>,
    out: &mut Effect,
) {
    for host in state.hosts.snooped_at(number, mac) {
        if let Some(neigh) = state.hosts.get(number, host) {
            put(
                &mut state.hosts,
                number,
                host,
                Some(Neigh { port, ..neigh }),
                out,
            );
        }
    }
}
