//! Hosts that ARP and ND are answered for.
//!
//! An address has one entry, of the first of these: what the user said, the port that has the address, the nexthop table,
//! and what was snooped at a port.

use std::net::IpAddr;

use vtep_common::abi::{
    id::{PortSlot, SegmentId},
    neigh::NeighOrigin,
};

use super::refuse;
use crate::{
    control::{
        effect::{Effect, Write},
        record::hosts::{Neigh, key},
        state::State,
    },
    model::{NeighDel, NeighSpec, Prefix, Refusal},
};

impl State {
    pub(crate) fn neigh_add(&mut self, spec: &NeighSpec) -> Result<Effect, Refusal> {
        let number = self.segment_of(spec.vni)?;
        let known = self.hosts.get(number, spec.ip);
        if let Some(known) = known.filter(|known| known.origin == NeighOrigin::Static) {
            return Err(Refusal::conflict(format!(
                "{} exists already in vni {} and is at {}; use: vtep neigh replace {0} --vni {1} --lladdr MAC",
                spec.ip, spec.vni, known.mac
            )));
        }
        self.neigh_replace(spec)
    }

    pub(crate) fn neigh_replace(&mut self, spec: &NeighSpec) -> Result<Effect, Refusal> {
        let NeighSpec {
            ip,
            vni,
            lladdr,
            router,
        } = *spec;
        let number = self.segment_of(vni)?;
        refuse::check_host(ip)?;
        let mac = lladdr.ok_or_else(|| {
            Refusal::invalid(format!(
                "answers for {ip} need a MAC; give it with: --lladdr MAC"
            ))
        })?;
        let mac = refuse::unicast(mac, "--lladdr")?;
        let known = self.hosts.get(number, ip);
        self.check_neigh_room(usize::from(!known.is_some_and(|known| known.is_own())))?;

        let mut out = Effect::default();
        let neigh = Neigh {
            router,
            ..Neigh::new(mac, NeighOrigin::Static)
        };
        self.run.host_moves.forget((number, ip));
        self.put_host(number, ip, Some(neigh), &mut out);
        Ok(out)
    }

    pub(crate) fn neigh_del(&mut self, del: &NeighDel) -> Result<Effect, Refusal> {
        let NeighDel { ip, vni, lladdr } = *del;
        let number = self.segment_of(vni)?;
        let known = self.hosts.get(number, ip);
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
                Err(self.is_a_ports(ip, slot.expect("an entry of a port")))
            }
            Some((NeighOrigin::Nexthop, _)) => Err(Refusal::conflict(format!(
                "the entry for {ip} follows from the nexthop table; delete that with: vtep nexthop del {ip} --vni {vni}"
            ))),
            Some((NeighOrigin::Static | NeighOrigin::Snooped, _)) => {
                let mut out = Effect::default();
                self.run.host_moves.forget((number, ip));
                self.remove_own_host(number, ip, &mut out);
                Ok(out)
            }
        }
    }

    /// The refusal to delete an entry that a port's address makes.
    pub(crate) fn is_a_ports(&self, ip: IpAddr, slot: PortSlot) -> Refusal {
        let (dev, vlan) = self.port_name(slot).expect("in use");
        Refusal::conflict(format!(
            "{ip} is an address of port {}; give the port other addresses with: vtep port set {dev}{} --ip IP",
            refuse::port_name(dev, vlan),
            refuse::vlan_option(vlan)
        ))
    }

    /// Hosts that ARP and ND are answered for, or would be if no other entry stood in for theirs.
    pub(crate) fn hosts_used(&self) -> u32 {
        self.hosts.own() + self.addresses.len() + self.nexthops.hosts()
    }

    /// Refuses if there is no room for `more` entries. Those that others stand in for are counted too: they may come back.
    pub(crate) fn check_neigh_room(&self, more: usize) -> Result<(), Refusal> {
        if more != 0 && self.hosts_used() as usize + more > self.limits.neighs as usize {
            return Err(Refusal::full(format!(
                "the neigh table is full ({} hosts); delete one with: vtep neigh del IP --vni VNI",
                self.limits.neighs
            )));
        }
        Ok(())
    }

    /// Takes away what the user said or what was snooped; what follows from the rest takes its place.
    pub(crate) fn remove_own_host(&mut self, number: SegmentId, ip: IpAddr, out: &mut Effect) {
        let derived = self.derived_host(number, ip);
        self.put_host(number, ip, derived, out);
    }

    /// Brings the entry of an address in line with the ports and the nexthop table.
    pub(crate) fn sync_host(&mut self, number: SegmentId, ip: IpAddr, out: &mut Effect) {
        let known = self.hosts.get(number, ip);
        let derived = self.derived_host(number, ip);
        match known.map(|known| known.origin) {
            Some(NeighOrigin::Static) => {}
            Some(NeighOrigin::Snooped) if derived.is_none() => {}
            _ => self.put_host(number, ip, derived, out),
        }
    }

    /// What follows for an address from the ports and the nexthop table.
    fn derived_host(&self, number: SegmentId, ip: IpAddr) -> Option<Neigh> {
        if let Some(slot) = self.addresses.port(number, ip)
            && let Some(mac) = self.fdb.one_mac(slot)
        {
            return Some(Neigh {
                port: Some(slot),
                ..Neigh::new(mac, NeighOrigin::Port)
            });
        }
        let nexthop = self.nexthops.get(number, Prefix::host(ip))?;
        Some(Neigh::new(nexthop.mac?, NeighOrigin::Nexthop))
    }

    /// Writes the entry of an address, or takes it away.
    pub(crate) fn put_host(
        &mut self,
        number: SegmentId,
        ip: IpAddr,
        new: Option<Neigh>,
        out: &mut Effect,
    ) {
        let old = self.hosts.put(number, ip, new);
        let pod = |neigh: Option<Neigh>| neigh.map(|neigh| neigh.pod());
        if pod(old) != pod(new) {
            out.write(Write::Neigh(key(number, ip), pod(new)));
        }
    }
}
