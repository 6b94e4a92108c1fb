//! The addresses of ports: ARP and ND are answered for them, and the nexthop table has them.

use std::{collections::BTreeSet, net::IpAddr};

use vtep_common::addr::MacAddr;

use crate::control::{Effect, State, ops::refuse, state::Port};
use crate::model::{Prefix, Refusal};

impl Port {
    /// Its MAC, if it has just one.
    pub(crate) fn one_mac(&self) -> Option<MacAddr> {
        let mut macs = self.macs.iter();
        macs.next().copied().filter(|_| macs.next().is_none())
    }
}

impl State {
    /// Refuses if a port, in slot `old` if there is one so far, cannot have `ips` in segment `number`.
    pub(crate) fn check_ips(
        &self,
        number: u32,
        ips: &BTreeSet<IpAddr>,
        old: Option<u32>,
    ) -> Result<(), Refusal> {
        let segment = &self.segments[number];
        for &ip in ips {
            refuse::check_host(ip)?;
            let other = segment.claims.get(&ip).filter(|&&slot| Some(slot) != old);
            if let Some((dev, vlan)) = other.and_then(|&slot| self.port_name(slot)) {
                return Err(Refusal::conflict(format!(
                    "{ip} is already an address of port {} in vni {}; give that port other addresses first with: vtep port set {dev}{} --ip IP",
                    refuse::port_name(dev, vlan),
                    segment.vni(),
                    refuse::vlan_option(vlan)
                )));
            }
        }
        let had = old.map_or(0, |slot| self.ports[slot].ips.len());
        let more = ips.len().saturating_sub(had);
        self.check_neigh_room(more)?;
        self.check_nexthop_room(more)
    }

    /// Makes `ips` the addresses of a port.
    pub(crate) fn set_ips(&mut self, slot: u32, ips: BTreeSet<IpAddr>, out: &mut Effect) {
        let number = self.ports[slot].pod.segment;
        let old = std::mem::take(&mut self.ports[slot].ips);
        for &ip in old.difference(&ips) {
            self.segments[number].claims.remove(&ip);
            self.neigh_used -= 1;
            self.nexthop_used -= 1;
            self.settle_host(number, ip, out);
        }
        for &ip in ips.difference(&old) {
            self.segments[number].claims.insert(ip, slot);
            self.neigh_used += 1;
            self.nexthop_used += 1;
            self.settle_host(number, ip, out);
        }
        self.ports[slot].ips = ips;
    }

    /// Brings what is known of a port's addresses in line with its MACs.
    pub(crate) fn settle_port(&mut self, slot: u32, out: &mut Effect) {
        let port = &self.ports[slot];
        if port.ips.is_empty() {
            return;
        }
        let number = port.pod.segment;
        for ip in port.ips.clone() {
            self.settle_host(number, ip, out);
        }
    }

    fn settle_host(&mut self, number: u32, ip: IpAddr, out: &mut Effect) {
        self.settle_nexthop(number, Prefix::host(ip), out);
        self.settle_neigh(number, ip, out);
    }
}
