//! The refusals that several changes share.

use std::net::IpAddr;

use vtep_common::abi::addr::MacAddr;

use crate::control::record::address;
use crate::model::{Refusal, VlanId, Vni};

/// Refuses what can be no host's address.
pub(crate) fn check_host(ip: IpAddr) -> Result<(), Refusal> {
    match address::unfit_host(ip) {
        Some(what) => Err(Refusal::invalid(format!(
            "{ip} is {what}; give the address of a host"
        ))),
        None => Ok(()),
    }
}

/// The MAC, which must be a unicast MAC, of the option that names it.
pub(crate) fn unicast(mac: MacAddr, option: &str) -> Result<MacAddr, Refusal> {
    if mac.is_zero() || mac.is_group() {
        return Err(Refusal::invalid(format!(
            "{mac} is not a unicast MAC address; give one that is neither zero nor multicast with: {option}"
        )));
    }
    Ok(mac)
}

/// To what would put something into it.
pub(crate) fn no_vni(vni: Vni) -> Refusal {
    Refusal::not_found(format!(
        "vni {vni} does not exist; create it with: vtep vni add {vni}"
    ))
}

/// To what shows or removes.
pub(crate) fn no_such_vni(vni: Vni) -> Refusal {
    Refusal::not_found(format!(
        "vni {vni} does not exist; see which do with: vtep vni show"
    ))
}

/// To what would have it as a port.
pub(crate) fn no_port(dev: &str) -> Refusal {
    Refusal::not_found(format!(
        "{dev} is not a port; make it one with: vtep port add {dev} --vni VNI"
    ))
}

/// To what shows or removes.
pub(crate) fn no_such_port(dev: &str) -> Refusal {
    Refusal::not_found(format!(
        "{dev} is not a port; see which are with: vtep port show"
    ))
}

pub(crate) fn not_in_vni(dev: &str, vni: Vni) -> Refusal {
    Refusal::not_found(format!(
        "port {dev} is not in vni {vni}; put it there with: vtep port add {dev} --vni {vni}"
    ))
}

pub(crate) fn no_vlan(dev: &str, vlan: Option<VlanId>, known: &[u16]) -> Refusal {
    let known = known
        .iter()
        .map(|&vlan| match vlan {
            0 => "untagged".to_owned(),
            vlan => format!("--vlan {vlan}"),
        })
        .collect::<Vec<_>>()
        .join(", ");
    let missing = match vlan {
        Some(vlan) => format!("port {dev} has no vlan {vlan}"),
        None => format!("port {dev} takes no untagged frames"),
    };
    Refusal::not_found(format!(
        "{missing}; it has: {known}; add one with: vtep port add {dev} --vni VNI{}",
        vlan_option(vlan)
    ))
}

/// To what would remove a port from a VNI.
pub(crate) fn port_elsewhere(dev: &str, vni: Vni) -> Refusal {
    Refusal::not_found(format!(
        "port {dev} is not in vni {vni}; see where it is with: vtep port show {dev}"
    ))
}

/// To what would change the gate to a bridge.
pub(crate) fn gate(dev: &str) -> Refusal {
    Refusal::conflict(format!(
        "{dev} is vtep's own gate to a bridge; it goes with the bridge: vtep vni set VNI --bridge none"
    ))
}

/// ` --vlan ID`, or nothing.
pub(crate) fn vlan_option(vlan: Option<VlanId>) -> String {
    vlan.map_or_else(String::new, |vlan| format!(" --vlan {vlan}"))
}

/// `tap0`, or `tap0 vlan 10`.
pub(crate) fn port_name(dev: &str, vlan: Option<VlanId>) -> String {
    vlan.map_or_else(|| dev.to_owned(), |vlan| format!("{dev} vlan {vlan}"))
}

pub(crate) fn no_entry(mac: MacAddr, vni: Vni) -> Refusal {
    Refusal::not_found(format!(
        "vni {vni} has no FDB entry for {mac}; see what it has with: vtep fdb show --vni {vni}"
    ))
}

pub(crate) fn not_on_list(mac: MacAddr, vni: Vni, dst: IpAddr) -> Refusal {
    Refusal::not_found(format!(
        "{dst} is not on the list of {mac} in vni {vni}; see the list with: vtep fdb get {mac} --vni {vni}"
    ))
}

pub(crate) fn no_peer(ip: IpAddr) -> Refusal {
    Refusal::not_found(format!(
        "peer {ip} does not exist; a peer exists while an FDB entry points to it, so add one first with: vtep fdb append 00:00:00:00:00:00 --vni VNI --dst {ip}"
    ))
}

/// To what shows.
pub(crate) fn no_such_peer(ip: IpAddr) -> Refusal {
    Refusal::not_found(format!(
        "peer {ip} does not exist; see which do with: vtep peer show"
    ))
}

pub(crate) fn fdb_full(limit: u32) -> Refusal {
    Refusal::full(format!(
        "the FDB is full ({limit} entries); remove some with: vtep fdb flush --vni VNI, or enlarge it, which interrupts forwarding: vtep teardown, then vtep run --fdb-max NUMBER"
    ))
}

pub(crate) fn ports_full(limit: u32) -> Refusal {
    Refusal::full(format!(
        "the port table is full ({limit} ports, those that wait included); remove one with: vtep port del DEV"
    ))
}

pub(crate) fn vni_full(vni: Vni, limit: u32) -> Refusal {
    Refusal::full(format!(
        "vni {vni} is at its limit of {limit} MACs; raise the limit with: vtep vni set {vni} --max-macs N"
    ))
}

pub(crate) fn port_full(dev: &str, vlan: Option<VlanId>, limit: u32) -> Refusal {
    Refusal::full(format!(
        "port {} is at its limit of {limit} MACs; raise the limit with: vtep port set {dev}{} --max-macs N",
        port_name(dev, vlan),
        vlan_option(vlan)
    ))
}

pub(crate) fn list_full(mac: MacAddr, vni: Vni, limit: usize) -> Refusal {
    Refusal::full(format!(
        "the flood list of {mac} in vni {vni} is full ({limit} targets, ports and VTEPs together); remove one with: vtep fdb del {mac} --vni {vni} --dst VTEP"
    ))
}
