//! Tracking the underlay: routes, neighbours, addresses and links, for peers and ports.

use std::{io, net::IpAddr, pin::pin};

use futures::FutureExt as _;
use vtep_common::{abi::id::Ifindex, frame::path_report::PathReport};

use super::{
    super::{
        attacher::LookAt,
        error::DaemonError,
        locals,
        others::Where,
        resolver::{Affected, Found, Terms},
    },
    Core, no_paths,
};
use crate::netlink::{NetlinkEvent, NetlinkMonitor, PathReports, Sent};

/// Paths that are written before others have their turn.
const FOUND_AT_ONCE: usize = 32;

/// What a run of events asks for.
#[derive(Default)]
struct Todo {
    /// The peers whose paths may have changed.
    peers: Affected,
    /// Our own addresses may be others.
    locals: bool,
    /// Interfaces of ports may be gone.
    ports: bool,
    /// Multicast groups may have to be joined again.
    groups: bool,
    /// Others may have set something at interfaces of ports.
    others: Where,
    /// The slow-path device may not be as it should be.
    slow_path: Option<SlowPathChange>,
}

/// What may have changed about the slow-path device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SlowPathChange {
    Itself,
    /// That, or its IP addresses.
    Addresses,
}

impl Core {
    /// Takes an event, and all that have arrived behind it, and does what they ask for once.
    pub(super) async fn track(&mut self, event: NetlinkEvent, monitor: &mut NetlinkMonitor) {
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
        if let Err(error) = self.catch_up(todo).await {
            tracing::error!(%error, "could not follow a change of the underlay");
        }
    }

    async fn note(&mut self, event: NetlinkEvent, todo: &mut Todo) {
        match event {
            NetlinkEvent::Link {
                index,
                link: Some(link),
            } => {
                self.own_macs.note(&link);
                self.bridges.note(&link);
                self.port_came(&link.name);
                if let Err(error) = self.port_changed(&link) {
                    tracing::error!(%error, ifindex = %index, "could not follow a change of a port");
                }
                // The bridge over an uplink may have another MAC.
                let followed = self.uplink_changed(&link);
                let refreshed = self.refresh_uplink_macs().map_err(DaemonError::from);
                if let Err(error) = followed.and(refreshed) {
                    tracing::error!(%error, ifindex = %index, "could not follow a change of an uplink");
                }
                if index == self.slow_path.ifindex() {
                    todo.slow_path = todo.slow_path.max(Some(SlowPathChange::Itself));
                }
                if !link.promiscuous {
                    self.tend_port(index, LookAt::Everything);
                }
                self.resolver.link_changed(index);
                let uplink = self.uplinks.has(index);
                todo.peers.links.insert(index);
                // A path that led elsewhere may lead over it now.
                todo.peers.all |= uplink;
                todo.locals |= uplink;
                todo.groups |= uplink;
            }
            NetlinkEvent::Link { index, link: None } => {
                self.own_macs.forget(index);
                self.bridges.forget(index);
                self.port_gone(index).await;
                if let Err(error) = self.uplink_gone(index) {
                    tracing::error!(%error, ifindex = %index, "could not follow an uplink that is gone");
                }
                if index == self.slow_path.ifindex() {
                    self.slow_path_gone().await;
                }
                todo.peers.links.insert(index);
            }
            NetlinkEvent::BridgePort { index, state } => self.bridges.note_port(index, state),
            // Every port that comes up has one of these, and no path to a VTEP changes for it.
            NetlinkEvent::Address {
                ifindex,
                addr: IpAddr::V6(v6),
                ..
            } if v6.is_unicast_link_local()
                && !self.uplinks.has(ifindex)
                && ifindex != self.slow_path.ifindex() => {}
            NetlinkEvent::Address { ifindex, .. } => {
                if ifindex == self.slow_path.ifindex() {
                    todo.slow_path = Some(SlowPathChange::Addresses);
                }
                todo.groups = true;
                todo.locals = true;
                todo.peers.all = true;
            }
            NetlinkEvent::Route(Some(prefix)) => {
                todo.peers.routes.insert(prefix);
            }
            NetlinkEvent::Route(None) => todo.peers.all = true,
            NetlinkEvent::Neighbour { ifindex, ip, .. } => {
                todo.peers.next_hops.insert((ifindex, ip));
            }
            NetlinkEvent::Traffic(ifindex) => {
                self.works.note_traffic(ifindex);
                todo.others.add(ifindex);
                if let Some(ifindex) = ifindex {
                    self.note_traffic(ifindex, todo);
                }
            }
            NetlinkEvent::Overrun => {
                self.works.note_traffic(None);
                *todo = Todo {
                    peers: Affected::all(),
                    locals: true,
                    ports: true,
                    groups: true,
                    others: Where::Everywhere,
                    slow_path: Some(SlowPathChange::Addresses),
                };
            }
        }
    }

    /// Takes note that somebody has changed queueing disciplines or filters of an interface, and perhaps ours.
    fn note_traffic(&mut self, ifindex: Ifindex, todo: &mut Todo) {
        if ifindex == self.slow_path.ifindex() {
            todo.slow_path = todo.slow_path.max(Some(SlowPathChange::Itself));
        }
        if self.datapath.filter_handle().is_some() {
            if self.uplinks.has(ifindex) {
                self.tend_uplinks();
            }
            self.tend_port(ifindex, LookAt::Programs);
        }
    }

    /// Has the state know every address of this host.
    pub(super) async fn refresh_own_addresses(&mut self) -> Result<(), DaemonError> {
        let own = self.netlink.all_local_addresses().await?;
        self.state.set_own_addresses(own);
        Ok(())
    }

    async fn catch_up(&mut self, todo: Todo) -> Result<(), DaemonError> {
        if todo.ports {
            self.look_at_ports().await?;
        }
        self.look_at_others(&todo.others);
        if let Some(change) = todo.slow_path {
            let with_addresses = change == SlowPathChange::Addresses;
            self.tend_slow_path(with_addresses).await;
        }
        if todo.locals {
            self.refresh_own_addresses().await?;
        }
        if todo.locals && self.options.run.locals.is_empty() {
            let locals = locals::choose(&self.netlink, self.uplinks.iter()).await?;
            // Without an address nothing can be sent anyway; the last ones stay until there is another.
            if !locals.is_empty() && locals != self.state.locals() {
                tracing::info!(?locals, "the local addresses have changed");
                let writes = self.state.set_locals(locals);
                self.datapath.write(&writes)?;
                self.resolve_all();
            }
        }
        if self.find_vrf() {
            self.tend_slow_path(false).await;
            self.resolve_all();
        }
        if todo.groups && !self.groups.is_empty() {
            self.groups.sync(&self.uplinks, self.state.locals()).await;
            let groups: Vec<IpAddr> = self.state.groups().collect();
            for group in groups {
                self.resolve(group);
            }
        }
        self.resolver.changed(todo.peers);
        Ok(())
    }

    /// Looks at every port's interface again.
    async fn look_at_ports(&mut self) -> Result<(), DaemonError> {
        let links = self.netlink.links().await?;
        let gone: Vec<Ifindex> = self
            .state
            .attachments()
            .map(|port| port.ifindex)
            .filter(|ifindex| links.iter().all(|link| link.index != *ifindex))
            .collect();
        for ifindex in gone {
            self.port_gone(ifindex).await;
        }
        let uplinks: Vec<Ifindex> = self.uplinks.iter().map(|link| link.index).collect();
        for ifindex in uplinks {
            if links.iter().all(|link| link.index != ifindex) {
                self.uplink_gone(ifindex)?;
            }
        }
        if links
            .iter()
            .all(|link| link.index != self.slow_path.ifindex())
        {
            self.slow_path_gone().await;
        }
        self.own_macs.clear();
        self.bridges.reset(&links);
        for link in &links {
            self.own_macs.note(link);
            self.port_came(&link.name);
            self.port_changed(link)?;
            self.uplink_changed(link)?;
        }
        self.refresh_uplink_macs()?;
        Ok(())
    }

    /// Looks for the routing domain of the uplinks: that of the first. True if it has changed.
    pub(super) fn find_vrf(&mut self) -> bool {
        let first = self.uplinks.iter().next().map(|link| link.index);
        let vrf = first.and_then(|uplink| self.bridges.vrf_over(uplink));
        std::mem::replace(&mut self.vrf, vrf) != vrf
    }

    /// Takes in what the underlay says of a path. If it cannot be heard any more, the rest goes on.
    pub(super) fn hear_of_path(&mut self, heard: io::Result<(PathReport, Ifindex)>) {
        let (report, came_by) = match heard {
            Ok(heard) => heard,
            Err(error) => {
                tracing::error!(%error, "cannot hear any more what the underlay says of path MTUs; restart vtep to hear it again");
                self.path_reports = PathReports::deaf();
                return;
            }
        };
        let (writes, smaller) = self.state.path_report(&report, came_by, &self.datapath);
        if let Err(error) = self.datapath.write(&writes) {
            tracing::error!(%error, "could not write the MTU of a path");
        }
        if let Some((ip, mtu)) = smaller {
            tracing::info!(
                "the underlay says that the path to {ip} carries packets of {mtu} bytes; that holds for ten minutes"
            );
        }
    }

    /// Has the path to every peer found.
    pub(super) fn resolve_all(&self) {
        for ip in self.state.peer_ips() {
            self.resolve(ip);
        }
    }

    /// Has the path to a peer found.
    pub(super) fn resolve(&self, ip: IpAddr) {
        let terms = Terms {
            sent: Sent {
                from: self.state.local_for(ip),
                udp_port: Some(self.options.udp_port()),
                vrf: self.vrf,
            },
            named: self.state.is_named(ip),
        };
        self.resolver.find(ip, terms);
    }

    /// Waits until the path to every new peer has been found.
    pub(super) async fn wait_for_paths(&mut self) -> Result<(), DaemonError> {
        let mut all_found = pin!(self.resolver.all_found());
        loop {
            tokio::select! {
                () = &mut all_found => return Ok(()),
                found = self.resolver.next() => self.take_found(found.ok_or_else(no_paths)?),
            }
        }
    }

    /// Writes what has been found, up to a bound. A failure is logged: the peer keeps what it had.
    pub(super) fn take_found(&mut self, found: Found) {
        let mut next = Some(found);
        let mut taken = 0;
        while let Some(found) = next {
            match found {
                Found::Path {
                    ip,
                    resolution,
                    events,
                } => {
                    self.events.publish(events);
                    let writes = self.state.resolved(ip, resolution);
                    if let Err(error) = self.datapath.write(&writes) {
                        tracing::error!(%error, %ip, "could not write the route to a peer");
                    }
                }
                // Nobody may wait for it any more.
                Found::Mark(mark) => {
                    mark.send(()).ok();
                }
            }
            taken += 1;
            next = (taken < FOUND_AT_ONCE)
                .then(|| self.resolver.try_next())
                .flatten();
        }
    }
}
