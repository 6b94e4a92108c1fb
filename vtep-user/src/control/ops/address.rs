//! The addresses of ports: ARP and ND are answered for them, and the nexthop table has them.

use std::{collections::BTreeSet, net::IpAddr};

use super::{neigh, nexthop, refuse};
use crate::{
    control::{
        effect::{Effect, Write},
        state::State,
    },
    model::{Prefix, Refusal},
};
use vtep_common::abi::{
    id::{PortSlot, SegmentId},
    port::GuardedKey,
};

/// Refuses if a port, in slot `old` if there is one so far, cannot have `ips` in segment `number`.
pub(crate) fn check(
    state: &State,
    number: SegmentId,
    ips: &BTreeSet<IpAddr>,
    old: Option<PortSlot>,
) -> Result<(), Refusal> {
    for &ip in ips {
        refuse::check_host(ip)?;
        let other = state.addresses.port(number, ip);
        let other = other.filter(|&slot| Some(slot) != old);
        if let Some((dev, vlan)) = other.and_then(|slot| state.port_name(slot)) {
            return Err(Refusal::conflict(format!(
                "{ip} is already an address of port {} in vni {}; give that port other addresses first with: vtep port set {dev}{} --ip IP",
                refuse::port_name(dev, vlan),
                state.segments.vni(number),
                refuse::vlan_option(vlan)
            )));
        }
    }
    let had = old.map_or(0, |slot| state.addresses.of(slot).len());
    let more = ips.len().saturating_sub(had);
    neigh::check_room(state, more)?;
    nexthop::check_room(state, more)
}

/// Makes `ips` the addresses of a port.
pub(crate) fn set(state: &mut State, slot: PortSlot, ips: &BTreeSet<IpAddr>, out: &mut Effect) {
    let number = state.ports[slot].segment;
    let old = state.addresses.of(slot).clone();
    for &ip in old.difference(ips) {
        state.addresses.remove(number, ip);
        sync(state, number, ip, out);
    }
    for &ip in ips.difference(&old) {
        state.addresses.add(number, ip, slot);
        sync(state, number, ip, out);
    }
}

/// A port, and the addresses that its guard has let in and is to let in.
type Addresses<'a> = (PortSlot, &'a BTreeSet<IpAddr>, &'a BTreeSet<IpAddr>);

/// Lets more addresses in at the guard of a port, before it asks for them.
pub(crate) fn guard((slot, old, new): Addresses<'_>, out: &mut Effect) {
    for &ip in new.difference(old) {
        out.write(Write::Guarded(key(slot, ip), true));
    }
}

/// Lets addresses in no more, once the guard of a port is as it is to be.
pub(crate) fn unguard((slot, old, new): Addresses<'_>, out: &mut Effect) {
    for &ip in old.difference(new) {
        out.write(Write::Guarded(key(slot, ip), false));
    }
}

/// The key of an address that the guard of a port lets in.
pub(crate) fn key(port: PortSlot, ip: IpAddr) -> GuardedKey {
    GuardedKey {
        port,
        host: ip.into(),
    }
}

/// Brings what is known of a port's addresses in line with its MACs.
pub(crate) fn sync_port(state: &mut State, slot: PortSlot, out: &mut Effect) {
    let addresses = state.addresses.of(slot);
    if addresses.is_empty() {
        return;
    }
    let number = state.ports[slot].segment;
    for ip in addresses.clone() {
        sync(state, number, ip, out);
    }
}

fn sync(state: &mut State, number: SegmentId, ip: IpAddr, out: &mut Effect) {
    nexthop::sync(state, number, Prefix::host(ip), out);
    neigh::sync(state, number, ip, out);
}
