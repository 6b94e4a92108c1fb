//! The kernel's own `vxlan` device and bridge: the other side of interop, and the control.

use std::net::IpAddr;

use crate::encoder::Mac;
use crate::lab::ns::Ns;
use crate::lab::underlay::Family;

/// Makes VNI `vni` at a hypervisor whose underlay address is `local`, with the device's defaults.
pub fn add_vni(ns: &Ns, vni: u32, local: IpAddr, mtu: u32) {
    add_vni_with(ns, vni, local, mtu, "");
}

/// Makes VNI `vni` with more arguments for the device, such as `nolearning proxy`.
pub fn add_vni_with(ns: &Ns, vni: u32, local: IpAddr, mtu: u32, args: &str) {
    // With this a bridge drops and trims what is no good IP packet, like a router.
    for tables in ["iptables", "ip6tables"] {
        ns.run(|| {
            let key = format!("/proc/sys/net/bridge/bridge-nf-call-{tables}");
            // Not there where the module is not loaded.
            drop(std::fs::write(key, "0"));
        });
    }
    ns.ip(&format!(
        "link add vx{vni} type vxlan id {vni} local {local} dstport 4789 {args}
         link set vx{vni} mtu {mtu} addrgenmode none
         link add br{vni} type bridge stp_state 0 mcast_snooping 0
         link set br{vni} addrgenmode none
         link set vx{vni} master br{vni}
         link set vx{vni} up
         link set br{vni} up"
    ));
}

/// Adds a VTEP to the VNI's flood list.
pub fn flood_to(ns: &Ns, vni: u32, remote: IpAddr) {
    ns.bridge(&format!(
        "fdb append {} dev vx{vni} dst {remote}",
        Mac::ZERO
    ));
}

/// Makes a device an access port of the VNI.
pub fn add_port(ns: &Ns, vni: u32, dev: &str) {
    ns.ip(&format!(
        "link set {dev} addrgenmode none\nlink set {dev} master br{vni}"
    ));
}

/// What a VNI's device may carry over `underlay_mtu`.
#[must_use]
pub fn inner_mtu(family: Family, underlay_mtu: u32) -> u32 {
    underlay_mtu - family.overhead()
}
