//! The addresses of ports: ARP and ND are answered for them, and the nexthop table has them.

use std::{collections::BTreeSet, net::IpAddr};

use super::refuse;
use crate::{
    control::{effect::Effect, state::State},
    model::{Prefix, Refusal},
};
use vtep_common::abi::id::{PortSlot, SegmentId};

impl State {
    /// Refuses if a port, in slot `old` if there is one so far, cannot have `ips` in segment `number`.
    pub(crate) fn check_ips(
        &self,
        number: SegmentId,
        ips: &BTreeSet<IpAddr>,
        old: Option<PortSlot>,
    ) -> Result<(), Refusal> {
        for &ip in ips {
            refuse::check_host(ip)?;
            let other = self.addresses.port(number, ip);
            let other = other.filter(|&slot| Some(slot) != old);
            if let Some((dev, vlan)) = other.and_then(|slot| self.port_name(slot)) {
                return Err(Refusal::conflict(format!(
                    "{ip} is already an address of port {} in vni {}; give that port other addresses first with: vtep port set {dev}{} --ip IP",
                    refuse::port_name(dev, vlan),
                    self.segments.vni(number),
                    refuse::vlan_option(vlan)
                )));
            }
        }
        let had = old.map_or(0, |slot| self.addresses.of(slot).len());
        let more = ips.len().saturating_sub(had);
        self.check_neigh_room(more)?;
        self.check_nexthop_room(more)
    }

    /// Makes `ips` the addresses of a port.
    pub(crate) fn set_ips(&mut self, slot: PortSlot, ips: &BTreeSet<IpAddr>, out: &mut Effect) {
        let number = self.ports[slot].segment;
        let old = self.addresses.of(slot).clone();
        for &ip in old.difference(ips) {
            self.addresses.remove(number, ip);
            self.sync_address(number, ip, out);
        }
        for &ip in ips.difference(&old) {
            self.addresses.add(number, ip, slot);
            self.sync_address(number, ip, out);
        }
    }

    /// Brings what is known of a port's addresses in line with its MACs.
    pub(crate) fn sync_port(&mut self, slot: PortSlot, out: &mut Effect) {
        let addresses = self.addresses.of(slot);
        if addresses.is_empty() {
            return;
        }
        let number = self.ports[slot].segment;
        for ip in addresses.clone() {
            self.sync_address(number, ip, out);
        }
    }

    fn sync_address(&mut self, number: SegmentId, ip: IpAddr, out: &mut Effect) {
        self.sync_nexthop(number, Prefix::host(ip), out);
        self.sync_host(number, ip, out);
    }
}
