//! Hosts that ARP and ND are answered for.
//!
//! An address has one entry, of the first of these: what the user said, the port that has the address, the nexthop table,
//! and what was heard at a port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vtep_common::{
    addr::{MacAddr, VtepAddr},
    maps::{NeighKey, NeighValue},
    verdict::NONE,
};

use crate::control::{
    Effect, State, Write,
    learn::mac::Clock,
    ops::{peer, refuse},
    record::{queue::SECOND, run::Untold},
};
use crate::model::{NeighDel, NeighRow, NeighSpec, NeighState, Prefix, Refusal, Vni};

/// Where a host is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Neigh {
    /// Its MAC.
    pub(crate) mac: MacAddr,
    /// Who said so.
    pub(crate) origin: NeighState,
    /// Whether it is a router.
    pub(crate) router: bool,
    /// Slot of the port that has the address, or at which it was heard.
    pub(crate) port: Option<u32>,
    /// When it was last heard, in nanoseconds; 0 for before this daemon's time.
    pub(crate) heard: Untold<u64>,
    /// When a snooped entry is to be looked at, in seconds.
    pub(crate) due: Untold<u32>,
}

impl Neigh {
    /// An entry that does not age.
    pub(crate) fn fixed(mac: MacAddr, origin: NeighState) -> Self {
        Self {
            mac,
            origin,
            router: false,
            port: None,
            heard: Untold::default(),
            due: Untold::default(),
        }
    }

    /// True if it follows from nothing else in the state.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.origin, NeighState::Static | NeighState::Snooped)
    }

    /// As it stands in the map.
    pub(crate) fn pod(&self) -> NeighValue {
        NeighValue {
            mac: self.mac.get(),
            port: self.port.unwrap_or(NONE),
            flags: if self.router { NeighValue::ROUTER } else { 0 },
            origin: match self.origin {
                NeighState::Static => NeighValue::STATIC,
                NeighState::Snooped => NeighValue::SNOOPED,
                NeighState::Port => NeighValue::PORT,
                NeighState::Nexthop => NeighValue::NEXTHOP,
            },
            pad: 0,
        }
    }
}

/// Key of `ip` in segment `number`.
pub(crate) fn key(number: u32, ip: IpAddr) -> NeighKey {
    NeighKey {
        segment: number,
        host: VtepAddr::from(ip),
    }
}

/// What `ip` is, if it can be no host's address.
pub(crate) fn unfit(ip: IpAddr) -> Option<String> {
    match ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => None,
        _ => peer::unfit(ip),
    }
}

impl State {
    pub(crate) fn neigh_add(&mut self, spec: &NeighSpec) -> Result<Effect, Refusal> {
        let number = self.segment_of(spec.vni)?;
        let known = self.segments[number].neighs.get(&spec.ip);
        if let Some(known) = known.filter(|known| known.origin == NeighState::Static) {
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
        let mac = refuse::station(mac, "--lladdr")?;
        let known = self.segments[number].neighs.get(&ip);
        self.check_neigh_room(usize::from(!known.is_some_and(Neigh::is_own)))?;

        let mut out = Effect::default();
        let neigh = Neigh {
            router,
            ..Neigh::fixed(mac, NeighState::Static)
        };
        self.run.host_moves.forget((number, ip));
        self.neigh_put(number, ip, Some(neigh), &mut out);
        Ok(out)
    }

    pub(crate) fn neigh_del(&mut self, del: &NeighDel) -> Result<Effect, Refusal> {
        let NeighDel { ip, vni, lladdr } = *del;
        let number = self.segment_of(vni)?;
        let known = self.segments[number].neighs.get(&ip);
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
            Some((NeighState::Port, slot)) => {
                Err(self.is_a_ports(ip, slot.expect("an entry of a port")))
            }
            Some((NeighState::Nexthop, _)) => Err(Refusal::conflict(format!(
                "the entry for {ip} follows from the nexthop table; delete that with: vtep nexthop del {ip} --vni {vni}"
            ))),
            Some((NeighState::Static | NeighState::Snooped, _)) => {
                let mut out = Effect::default();
                self.run.host_moves.forget((number, ip));
                self.neigh_del_own(number, ip, &mut out);
                Ok(out)
            }
        }
    }

    /// The refusal to delete an entry that a port's address makes.
    pub(crate) fn is_a_ports(&self, ip: IpAddr, slot: u32) -> Refusal {
        let (dev, vlan) = self.port_name(slot).expect("in use");
        Refusal::conflict(format!(
            "{ip} is an address of port {}; give the port other addresses with: vtep port set {dev}{} --ip IP",
            refuse::port_name(dev, vlan),
            refuse::vlan_option(vlan)
        ))
    }

    /// Refuses if there is no room for `more` entries. Those that others stand in for are counted too: they may come back.
    pub(crate) fn check_neigh_room(&self, more: usize) -> Result<(), Refusal> {
        if more != 0 && self.neigh_used as usize + more > self.limits.neighs as usize {
            return Err(Refusal::full(format!(
                "the neigh table is full ({} hosts); delete one with: vtep neigh del IP --vni VNI",
                self.limits.neighs
            )));
        }
        Ok(())
    }

    /// Takes away what the user said or what was heard; what follows from the rest takes its place.
    pub(crate) fn neigh_del_own(&mut self, number: u32, ip: IpAddr, out: &mut Effect) {
        let derived = self.derived_neigh(number, ip);
        self.neigh_put(number, ip, derived, out);
    }

    /// Brings the entry of an address in line with the ports and the nexthop table.
    pub(crate) fn settle_neigh(&mut self, number: u32, ip: IpAddr, out: &mut Effect) {
        let known = self.segments[number].neighs.get(&ip);
        let derived = self.derived_neigh(number, ip);
        match known.map(|known| known.origin) {
            Some(NeighState::Static) => {}
            Some(NeighState::Snooped) if derived.is_none() => {}
            _ => self.neigh_put(number, ip, derived, out),
        }
    }

    /// What follows for an address from the ports and the nexthop table.
    fn derived_neigh(&self, number: u32, ip: IpAddr) -> Option<Neigh> {
        let segment = &self.segments[number];
        let slot = segment.claims.get(&ip).copied();
        if let Some(slot) = slot
            && let Some(mac) = self.ports[slot].one_mac()
        {
            return Some(Neigh {
                port: Some(slot),
                ..Neigh::fixed(mac, NeighState::Port)
            });
        }
        let nexthop = segment.nexthops.get(&Prefix::host(ip))?;
        Some(Neigh::fixed(nexthop.mac?, NeighState::Nexthop))
    }

    /// Writes the entry of an address, or takes it away.
    pub(crate) fn neigh_put(
        &mut self,
        number: u32,
        ip: IpAddr,
        new: Option<Neigh>,
        out: &mut Effect,
    ) {
        let segment = &mut self.segments[number];
        let old = match new {
            Some(new) => segment.neighs.insert(ip, new),
            None => segment.neighs.remove(&ip),
        };
        if let Some(old) = old {
            segment.hosts.remove(&(old.mac, ip));
        }
        if let Some(new) = new {
            segment.hosts.insert((new.mac, ip));
        }
        let own = |neigh: Option<Neigh>| u32::from(neigh.is_some_and(|neigh| neigh.is_own()));
        self.neigh_used = self.neigh_used + own(new) - own(old);
        let heard = |neigh: Option<Neigh>| {
            u32::from(neigh.is_some_and(|neigh| neigh.origin == NeighState::Snooped))
        };
        self.snooped_len = self.snooped_len + heard(new) - heard(old);
        let pod = |neigh: Option<Neigh>| neigh.map(|neigh| neigh.pod());
        if pod(old) != pod(new) {
            out.write(Write::Neigh(key(number, ip), pod(new)));
        }
    }

    /// The hosts that are known to be at a MAC.
    pub(crate) fn hosts_at(&self, number: u32, mac: MacAddr) -> Vec<IpAddr> {
        const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        const LAST: IpAddr = IpAddr::V6(Ipv6Addr::new(!0, !0, !0, !0, !0, !0, !0, !0));
        let hosts = self.segments[number]
            .hosts
            .range((mac, FIRST)..=(mac, LAST));
        hosts.map(|&(_, ip)| ip).collect()
    }

    /// The hosts of one VNI, or all, by VNI and address.
    pub fn neigh_rows(
        &self,
        vni: Option<Vni>,
        clock: &dyn Clock,
    ) -> Result<Vec<NeighRow>, Refusal> {
        let now = clock.now();
        let mut rows = Vec::new();
        for number in self.numbers(vni)? {
            let segment = &self.segments[number];
            let start = rows.len();
            for (&ip, neigh) in &segment.neighs {
                let snooped = neigh.origin == NeighState::Snooped;
                let heard = match neigh.heard.0 {
                    0 => now,
                    heard => heard,
                };
                rows.push(NeighRow {
                    vni: segment.vni(),
                    ip,
                    lladdr: neigh.mac,
                    state: neigh.origin,
                    dev: neigh
                        .port
                        .and_then(|slot| self.port_name(slot))
                        .map(|(dev, _)| dev.to_owned()),
                    router: neigh.router,
                    age_s: snooped.then(|| now.saturating_sub(heard) / SECOND),
                });
            }
            rows[start..].sort_unstable_by_key(|row| row.ip);
        }
        Ok(rows)
    }
}
