//! The multicast groups that VNIs flood to: being a member on every uplink, and sending to them by one.

use std::{collections::BTreeSet, fmt::Display, io, net::IpAddr};

use super::{error::DaemonError, uplinks::Uplinks};
use crate::netlink::{self, GroupRoute, Link, Memberships, Netlink};

/// Groups of which a log line names each.
const NAMED: usize = 8;

/// The groups, and what has been done for them.
pub(super) struct Groups {
    netlink: Netlink,
    /// The UDP port of VXLAN, which marks our routes.
    udp_port: u16,
    wanted: BTreeSet<IpAddr>,
    memberships: Memberships,
    /// How packets to groups of each family leave.
    v4: Option<GroupRoute>,
    v6: Option<GroupRoute>,
    /// Something was refused: it is tried again.
    unfinished: bool,
    /// It is being tried again: that it was refused has been said.
    retrying: bool,
}

impl Groups {
    pub(super) fn new(netlink: Netlink, udp_port: u16) -> Self {
        Self {
            netlink,
            udp_port,
            wanted: BTreeSet::new(),
            memberships: Memberships::default(),
            v4: None,
            v6: None,
            unfinished: false,
            retrying: false,
        }
    }

    /// How packets to `group` leave.
    pub(super) const fn route(&self, group: IpAddr) -> Option<GroupRoute> {
        if group.is_ipv4() { self.v4 } else { self.v6 }
    }

    /// True if there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Takes over the groups that the last daemon was a member of.
    pub(super) async fn adopt(
        &mut self,
        groups: impl Iterator<Item = IpAddr>,
        uplinks: &Uplinks,
        locals: &[IpAddr],
    ) {
        self.wanted = groups.collect();
        self.sync(uplinks, locals).await;
        log(&self.wanted, uplinks);
    }

    /// Becomes a member of groups.
    pub(super) async fn join(&mut self, groups: &[IpAddr], uplinks: &Uplinks) {
        for &group in groups {
            self.wanted.insert(group);
            self.join_one(group, uplinks);
            self.set_route(group).await;
        }
        log(&groups.iter().copied().collect(), uplinks);
    }

    /// Is a member of groups no longer.
    pub(super) async fn leave(&mut self, groups: &[IpAddr], uplinks: &Uplinks) {
        for &group in groups {
            self.wanted.remove(&group);
            for uplink in uplinks.iter() {
                if let Err(error) = self.memberships.leave(group, uplink.index) {
                    tracing::warn!(%error, %group, "could not leave a multicast group");
                }
            }
            let deleted = self.netlink.delete_group_route(group, self.udp_port).await;
            if let Err(error) = deleted {
                tracing::warn!(%error, %group, "could not delete the route to a multicast group");
            }
        }
    }

    /// Brings memberships and routes in line with the uplinks and our addresses as they are now: both go with a link that is
    /// made again, and routes with a link that is down for a moment.
    pub(super) async fn sync(&mut self, uplinks: &Uplinks, locals: &[IpAddr]) {
        self.unfinished = false;
        if let Err(error) = self.try_sync(uplinks, locals).await {
            self.refused("could not update the multicast groups", &error);
        }
    }

    /// Tries again what was refused. An uplink without IPv6 refuses each time.
    pub(super) async fn retry(&mut self, uplinks: &Uplinks, locals: &[IpAddr]) {
        if self.unfinished {
            self.retrying = true;
            self.sync(uplinks, locals).await;
            self.retrying = false;
        }
    }

    /// Something was refused. The log has it once.
    fn refused(&mut self, what: &str, error: &dyn Display) {
        self.unfinished = true;
        if self.retrying {
            tracing::debug!(%error, "{what}");
        } else {
            tracing::warn!(%error, "{what}");
        }
    }

    async fn try_sync(&mut self, uplinks: &Uplinks, locals: &[IpAddr]) -> Result<(), DaemonError> {
        self.choose_routes(uplinks, locals).await?;
        let wanted = self.wanted.clone();
        let stale: Vec<_> = self
            .memberships
            .iter()
            .filter(|(group, ifindex)| !wanted.contains(group) || !uplinks.has(*ifindex))
            .collect();
        for (group, ifindex) in stale {
            if let Err(error) = self.memberships.leave(group, ifindex) {
                tracing::warn!(%error, %group, "could not leave a multicast group");
            }
        }
        for &group in &wanted {
            self.join_one(group, uplinks);
        }
        let owner = self.udp_port;
        let there = self.netlink.group_routes(owner).await?;
        for &group in there.keys().filter(|group| !wanted.contains(*group)) {
            self.netlink.delete_group_route(group, owner).await?;
        }
        for &group in &wanted {
            if there.get(&group).copied() != self.route(group) {
                self.set_route(group).await;
            }
        }
        Ok(())
    }

    /// Removes what was left in the kernel for groups.
    pub(super) async fn remove(&mut self) -> Result<(), DaemonError> {
        *self = Self::new(self.netlink.clone(), self.udp_port);
        Ok(self.netlink.delete_group_routes(self.udp_port).await?)
    }

    /// Joins a group on every uplink.
    fn join_one(&mut self, group: IpAddr, uplinks: &Uplinks) {
        for Link { index, name, .. } in uplinks.iter() {
            if let Err(error) = self.memberships.join(group, *index) {
                let what = format!("could not join the multicast group {group} on {name}");
                self.refused(&what, &error);
            }
        }
    }

    /// Has the slow-path device send to a group by the uplink.
    async fn set_route(&mut self, group: IpAddr) {
        let owner = self.udp_port;
        let done = match self.route(group) {
            Some(route) => self.netlink.set_group_route(group, route, owner).await,
            None => Err(netlink::Error::Request {
                operation: "find an uplink to",
                object: group.to_string(),
                source: io::Error::from_raw_os_error(libc::ENETDOWN),
            }),
        };
        if let Err(error) = done {
            self.refused(
                &format!("could not set the route to the multicast group {group}"),
                &error,
            );
        }
    }

    /// Finds how packets to groups leave: by the uplink that has our address, else by the first that is up.
    async fn choose_routes(
        &mut self,
        uplinks: &Uplinks,
        locals: &[IpAddr],
    ) -> Result<(), DaemonError> {
        let addresses = self.netlink.addresses().await?;
        let up = || uplinks.iter().filter(|uplink| uplink.up);
        let route = |v4: bool| {
            let mut locals = locals.iter().copied();
            let local = locals.find(|local| local.is_ipv4() == v4)?;
            let with_it = up().find(|uplink| {
                addresses
                    .iter()
                    .any(|address| address.ip == local && address.ifindex == uplink.index)
            });
            let oif = with_it.or_else(|| up().next())?.index;
            let source = match local {
                IpAddr::V4(v4) => Some(v4),
                IpAddr::V6(_) => None,
            };
            Some(GroupRoute { oif, source })
        };
        (self.v4, self.v6) = (route(true), route(false));
        Ok(())
    }
}

/// Says of which groups we are a member.
fn log(groups: &BTreeSet<IpAddr>, uplinks: &Uplinks) {
    if groups.is_empty() {
        return;
    }
    let on = uplinks.names();
    if groups.len() > NAMED {
        tracing::info!("joining {} multicast groups on {on}", groups.len());
    } else {
        let names: Vec<String> = groups.iter().map(ToString::to_string).collect();
        let names = names.join(", ");
        tracing::info!("joining multicast group {names} on {on}");
    }
}
