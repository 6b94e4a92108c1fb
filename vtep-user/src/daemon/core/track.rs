//! Following the underlay: routes, neighbours, addresses and links, for peers and ports.

use std::{collections::HashSet, net::IpAddr};

use futures::FutureExt as _;
use vtep_common::addr::MacAddr;

use super::{
    super::{DaemonError, facts, start},
    Core,
};
use crate::{
    control,
    netlink::{Event, Monitor, Resolution},
};

/// What a run of events asks for.
#[derive(Default)]
struct Todo {
    /// The peers whose ways may have changed.
    peers: Affected,
    /// Our own addresses may be others.
    locals: bool,
    /// Interfaces of ports may be gone.
    ports: bool,
    /// Multicast groups may have to be joined again.
    groups: bool,
}

/// Peers by what their ways lead over: there can be thousands, and each takes some questions to the kernel.
#[derive(Default)]
struct Affected {
    /// Every peer.
    all: bool,
    /// Those behind these interfaces, and those without a way.
    links: HashSet<u32>,
    /// Those behind these next hops.
    next_hops: HashSet<(u32, IpAddr)>,
}

impl Affected {
    /// Whether a peer is among them whose next hop is this, or that has none.
    fn has(&self, next_hop: Option<&(u32, IpAddr)>) -> bool {
        self.all
            || match next_hop {
                Some(next_hop) => {
                    self.links.contains(&next_hop.0) || self.next_hops.contains(next_hop)
                }
                None => !self.links.is_empty(),
            }
    }
}

impl Core {
    /// Takes an event, and all that have arrived behind it, and does what they ask for once.
    pub(in crate::daemon) async fn follow(&mut self, event: Event, monitor: &mut Monitor) {
        self.look_for_watchers();
        let mut todo = Todo::default();
        let mut next = Some(event);
        while let Some(event) = next {
            self.note(event, &mut todo).await;
            next = match monitor.next().now_or_never() {
                Some(Ok(event)) => Some(event),
                // An error comes again when it is waited for.
                Some(Err(_)) | None => None,
            };
        }
        if let Err(error) = self.catch_up(&todo).await {
            tracing::error!(%error, "a change of the underlay was not followed");
        }
    }

    async fn note(&mut self, event: Event, todo: &mut Todo) {
        match event {
            Event::Link {
                index,
                link: Some(link),
            } => {
                self.note_mac(&link);
                if let Err(error) = self.port_changed(&link) {
                    tracing::error!(%error, ifindex = index, "a change of a port was not followed");
                }
                if let Err(error) = self.uplink_changed(&link) {
                    tracing::error!(%error, ifindex = index, "a change of an uplink was not followed");
                }
                // The kernel forgets the neighbours of a link that went down.
                self.kept.retain(|(ifindex, _)| *ifindex != index);
                let uplink = self.is_uplink(index);
                todo.peers.links.insert(index);
                // A way that led elsewhere may lead over it now.
                todo.peers.all |= uplink;
                todo.locals |= uplink;
                todo.groups |= uplink;
            }
            Event::Link { index, link: None } => {
                self.forget_mac(index);
                self.port_gone(index).await;
                if index == self.device {
                    self.device_gone().await;
                }
                todo.peers.links.insert(index);
            }
            // Every port that comes up has one of these, and no way to a VTEP changes for it.
            Event::Address {
                ifindex,
                addr: IpAddr::V6(v6),
                ..
            } if v6.is_unicast_link_local() && !self.is_uplink(ifindex) => {}
            Event::Address { .. } => {
                todo.groups = true;
                todo.locals = true;
                todo.peers.all = true;
            }
            Event::Route => todo.peers.all = true,
            Event::Neighbour { ifindex, ip, .. } => {
                todo.peers.next_hops.insert((ifindex, ip));
            }
            Event::Overrun => {
                let peers = Affected {
                    all: true,
                    ..Affected::default()
                };
                *todo = Todo {
                    peers,
                    locals: true,
                    ports: true,
                    groups: true,
                };
            }
        }
    }

    /// Has the state know every address of this host.
    pub(in crate::daemon) async fn refresh_own_addresses(&mut self) -> Result<(), DaemonError> {
        let own = self.netlink.all_local_addresses().await?;
        self.state.set_own_addresses(own);
        Ok(())
    }

    async fn catch_up(&mut self, todo: &Todo) -> Result<(), DaemonError> {
        if todo.ports {
            self.look_at_ports().await?;
        }
        if todo.locals {
            self.refresh_own_addresses().await?;
        }
        if todo.locals && !self.fixed_locals {
            let locals = start::choose_locals(&self.netlink, &self.uplinks).await?;
            // Without an address nothing can be sent anyway; the last ones stay until there is another.
            if !locals.is_empty() && locals != self.state.locals() {
                tracing::info!(?locals, "the local addresses have changed");
                let writes = self.state.set_locals(locals);
                self.datapath.write(&writes)?;
            }
        }
        if todo.groups && !self.groups.is_empty() {
            self.sync_groups().await;
            let groups: Vec<IpAddr> = self.state.groups().collect();
            for group in groups {
                self.resolve(group).await;
            }
        }
        self.resolve_affected(&todo.peers).await;
        Ok(())
    }

    fn is_uplink(&self, ifindex: u32) -> bool {
        self.uplinks.iter().any(|uplink| uplink.index == ifindex)
    }

    /// Looks at every port's interface again.
    async fn look_at_ports(&mut self) -> Result<(), DaemonError> {
        let links = self.netlink.links().await?;
        let gone: Vec<u32> = self
            .state
            .attachments()
            .map(|port| port.ifindex)
            .filter(|ifindex| links.iter().all(|link| link.index != *ifindex))
            .collect();
        for ifindex in gone {
            self.port_gone(ifindex).await;
        }
        if links.iter().all(|link| link.index != self.device) {
            self.device_gone().await;
        }
        self.macs.clear();
        for link in &links {
            self.note_mac(link);
            self.port_changed(link)?;
        }
        Ok(())
    }

    /// Finds the way to every peer.
    pub(in crate::daemon) async fn resolve_all(&mut self) {
        let all = Affected {
            all: true,
            ..Affected::default()
        };
        self.resolve_affected(&all).await;
    }

    async fn resolve_affected(&mut self, affected: &Affected) {
        let peers: Vec<IpAddr> = self
            .state
            .peer_ips()
            .filter(|ip| affected.has(self.next_hops.get(ip)))
            .collect();
        for ip in peers {
            self.resolve(ip).await;
        }
    }

    /// A peer is one no longer.
    pub(in crate::daemon) async fn forget(&mut self, ip: IpAddr) {
        self.peers_up.remove(&ip);
        if let Some(gone) = self.next_hops.remove(&ip) {
            self.release(gone).await;
        }
    }

    /// A peer has this next hop no longer: it need not be kept resolved, unless it is another's too.
    async fn release(&mut self, gone: (u32, IpAddr)) {
        let (ifindex, next_hop) = gone;
        if self.next_hops.values().any(|other| *other == gone) || !self.kept.remove(&gone) {
            return;
        }
        if let Err(error) = self.netlink.probe(ifindex, next_hop).await {
            tracing::warn!(%error, %next_hop, "the kernel keeps a next hop resolved");
        }
    }

    /// Finds the way to a peer and writes it. A failure is logged: the peer keeps what it had.
    pub(in crate::daemon) async fn resolve(&mut self, ip: IpAddr) {
        let before = self.next_hops.get(&ip).copied();
        let resolution = match self.way_to(ip).await {
            Ok(resolution) => resolution,
            Err(error) => {
                tracing::error!(%error, %ip, "the way to a peer is not known");
                return;
            }
        };
        if let Some(before) = before.filter(|before| self.next_hops.get(&ip) != Some(before)) {
            self.release(before).await;
        }
        self.tell_peer(ip, &resolution);
        let writes = self.state.resolved(ip, resolution);
        if let Err(error) = self.datapath.write(&writes) {
            tracing::error!(%error, %ip, "the way to a peer was not written");
        }
    }

    async fn way_to(&mut self, ip: IpAddr) -> Result<control::Resolution, DaemonError> {
        // With a source the kernel would look no IPv4 route to a group up, but take the interface that has the source.
        let local = self.state.local_for(ip).filter(|_| !ip.is_multicast());
        let found = self.netlink.resolve_peer(ip, local).await?;
        let next_hop = match &found {
            Resolution::Pending { oif, via } => Some((*oif, *via)),
            // Where the way is known, the next hop follows from the route, below.
            Resolution::LinkDown { oif }
            | Resolution::NotEthernet { oif }
            | Resolution::Resolved { oif, .. } => Some((*oif, ip)),
            Resolution::NoRoute | Resolution::LocalAddress => None,
        };
        self.next_hops.remove(&ip);
        self.next_hops.extend(next_hop.map(|hop| (ip, hop)));
        Ok(match found {
            Resolution::Resolved {
                oif,
                src_mac,
                dst_mac,
                mtu,
                ..
            } => {
                let route = self.netlink.resolve(ip, local).await?;
                let next_hop = route.as_ref().map_or(ip, |route| route.next_hop(ip));
                self.next_hops.insert(ip, (oif, next_hop));
                if !next_hop.is_multicast() {
                    self.keep(oif, next_hop).await;
                }
                let Some(link) = self.netlink.link(oif).await? else {
                    return Ok(control::Resolution::NoRoute);
                };
                control::Resolution::Resolved {
                    oif,
                    xdp_target: facts::is_xdp_target(&self.netlink, &link)?,
                    dev: link.name,
                    src_mac: MacAddr::from_bytes(src_mac),
                    dst_mac: MacAddr::from_bytes(dst_mac),
                    mtu,
                    via: (next_hop != ip).then_some(next_hop),
                }
            }
            Resolution::Pending { oif, via } => {
                self.keep(oif, via).await;
                control::Resolution::Pending {
                    dev: self.name_of(oif).await?,
                    via: (via != ip).then_some(via),
                }
            }
            Resolution::LinkDown { oif } => control::Resolution::LinkDown {
                dev: self.name_of(oif).await?,
            },
            // The kernel device can still send there.
            Resolution::NotEthernet { oif } => control::Resolution::Pending {
                dev: self.name_of(oif).await?,
                via: None,
            },
            Resolution::NoRoute | Resolution::LocalAddress => control::Resolution::NoRoute,
        })
    }

    async fn name_of(&self, ifindex: u32) -> Result<String, DaemonError> {
        Ok(self
            .netlink
            .link(ifindex)
            .await?
            .map_or_else(|| format!("if{ifindex}"), |link| link.name))
    }

    /// Has the kernel keep a next hop resolved: our traffic does not tell it that the neighbour is in use.
    async fn keep(&mut self, ifindex: u32, next_hop: IpAddr) {
        if !self.kept.insert((ifindex, next_hop)) {
            return;
        }
        if let Err(error) = self.netlink.keep_resolved(ifindex, next_hop).await {
            tracing::warn!(%error, %next_hop, "the kernel does not keep a next hop resolved");
            self.kept.remove(&(ifindex, next_hop));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_concerns_the_peers_behind_it_and_those_without_a_way() {
        let [one, two]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let of_link = Affected {
            links: HashSet::from([4]),
            ..Affected::default()
        };
        let of_next_hop = Affected {
            next_hops: HashSet::from([(4, one)]),
            ..Affected::default()
        };
        let of_all = Affected {
            all: true,
            ..Affected::default()
        };

        for (peer, by_link, by_next_hop) in [
            (Some((4, one)), true, true),
            (Some((4, two)), true, false),
            (Some((5, one)), false, false),
            (None, true, false),
        ] {
            let peer = peer.as_ref();
            assert_eq!(of_link.has(peer), by_link, "{peer:?}");
            assert_eq!(of_next_hop.has(peer), by_next_hop, "{peer:?}");
            assert!(of_all.has(peer));
            assert!(!Affected::default().has(peer));
        }
    }
}
