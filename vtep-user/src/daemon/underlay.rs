//! Following the underlay: routes, neighbours, addresses and links, for peers and ports.

use std::net::IpAddr;

use futures::FutureExt as _;
use vtep_common::addr::MacAddr;

use super::{DaemonError, core::Core, facts, start};
use crate::{
    control,
    netlink::{Event, Monitor, Resolution},
};

/// What a run of events asks for.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a thing to be done or not, whatever the others are"
)]
struct Todo {
    peers: bool,
    locals: bool,
    ports: bool,
    groups: bool,
}

impl Core {
    /// Takes an event, and all that have arrived behind it, and does what they ask for once.
    pub(super) async fn follow(&mut self, event: Event, monitor: &mut Monitor) {
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
                todo.peers = true;
                todo.locals = true;
                todo.groups |= self.uplinks.iter().any(|uplink| uplink.index == index);
            }
            Event::Link { index, link: None } => {
                self.forget_mac(index);
                self.port_gone(index).await;
                todo.peers = true;
            }
            Event::Address { .. } => {
                todo.groups = true;
                todo.locals = true;
                todo.peers = true;
            }
            Event::Route => todo.peers = true,
            Event::Neighbour { ifindex, ip, .. } => {
                todo.peers |= self.kept.contains(&(ifindex, ip))
                    || self.state.peer_ips().any(|peer| peer == ip);
            }
            Event::Overrun => {
                *todo = Todo {
                    peers: true,
                    locals: true,
                    ports: true,
                    groups: true,
                }
            }
        }
    }

    async fn catch_up(&mut self, todo: &Todo) -> Result<(), DaemonError> {
        if todo.ports {
            self.look_at_ports().await?;
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
        }
        if todo.peers {
            self.resolve_all().await;
        }
        Ok(())
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
        self.macs.clear();
        for link in &links {
            self.note_mac(link);
            self.port_changed(link)?;
        }
        Ok(())
    }

    /// Finds the way to every peer.
    pub(super) async fn resolve_all(&mut self) {
        let peers: Vec<IpAddr> = self.state.peer_ips().collect();
        for ip in peers {
            self.resolve(ip).await;
        }
    }

    /// Finds the way to a peer and writes it. A failure is logged: the peer keeps what it had.
    pub(super) async fn resolve(&mut self, ip: IpAddr) {
        let resolution = match self.way_to(ip).await {
            Ok(resolution) => resolution,
            Err(error) => {
                tracing::error!(%error, %ip, "the way to a peer is not known");
                return;
            }
        };
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
