//! The guard of a port: which MACs and addresses its frames may be from.

use std::{collections::BTreeSet, net::IpAddr};

use vtep_common::abi::{addr::MacAddr, id::PortSlot, port::Port};

use super::address;
use crate::{
    control::{effect::Effect, state::State},
    model::{PortGuard, Refusal},
};

/// Says in a port which frames it takes, and whether a router is behind it, where that changes.
pub(super) fn change_guard(port: &mut Port, guard: Option<PortGuard>, router: Option<bool>) {
    if let Some(guard) = guard {
        port.set(Port::GUARD_MAC, guard != PortGuard::Off);
        port.set(Port::GUARD_IP, guard == PortGuard::Ip);
    }
    if let Some(router) = router {
        port.set(Port::ROUTER, router);
    }
}

/// Says in a port with a guard of addresses which IPv4 address it has, and refuses a guard of what a port has none of.
pub(super) fn set_guard(
    port: &mut Port,
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
    port.own_v4 = own_v4(port, ips);
    Ok(())
}

/// The IPs that a port's guard lets in; none where it has no such guard.
pub(super) fn guarded<'a>(port: &Port, ips: &'a BTreeSet<IpAddr>) -> &'a BTreeSet<IpAddr> {
    const NONE: &BTreeSet<IpAddr> = &BTreeSet::new();
    if port.has(Port::GUARD_IP) { ips } else { NONE }
}

/// The IPv4 address of which a port with a guard of addresses knows itself that it is its own.
pub(crate) fn own_v4(port: &Port, ips: &BTreeSet<IpAddr>) -> u32 {
    let mut guarded = guarded(port, ips).iter();
    let first = guarded.find_map(|ip| match ip {
        IpAddr::V4(ip) => Some(u32::from_ne_bytes(ip.octets())),
        IpAddr::V6(_) => None,
    });
    first.unwrap_or(0)
}

/// Takes the IPs away that the guard of a port lets in, which is going.
pub(crate) fn forget_guarded(state: &State, slot: PortSlot, out: &mut Effect) {
    let ips = guarded(&state.ports[slot], state.addresses.of(slot));
    address::unguard((slot, ips, &BTreeSet::new()), out);
}
