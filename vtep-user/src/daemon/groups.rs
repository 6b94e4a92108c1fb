//! The multicast groups that VNIs flood to: being a member on every uplink, and sending to them by one.

use std::{collections::BTreeSet, fmt::Display, io, net::IpAddr};

use super::{DaemonError, core::Core};
use crate::netlink::{self, GroupRoute, Link, Memberships};

/// Groups of which a log line names each.
const NAMED: usize = 8;

/// The groups, and what has been done for them.
#[derive(Debug, Default)]
pub(super) struct Groups {
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
    /// How packets to `group` leave.
    pub(super) const fn way(&self, group: IpAddr) -> Option<GroupRoute> {
        if group.is_ipv4() { self.v4 } else { self.v6 }
    }

    /// True if there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }
}

impl Core {
    /// Takes over the groups that the last daemon was a member of.
    pub(super) async fn adopt_groups(&mut self) {
        self.groups.wanted = self.state.groups().collect();
        self.sync_groups().await;
        self.log_groups(&self.groups.wanted);
    }

    /// Becomes a member of groups.
    pub(super) async fn join_groups(&mut self, groups: &[IpAddr]) {
        for &group in groups {
            self.groups.wanted.insert(group);
            self.join(group);
            self.route_to(group).await;
        }
        self.log_groups(&groups.iter().copied().collect());
    }

    /// Is a member of groups no longer.
    pub(super) async fn leave_groups(&mut self, groups: &[IpAddr]) {
        for &group in groups {
            self.groups.wanted.remove(&group);
            for uplink in 0..self.uplinks.len() {
                let ifindex = self.uplinks[uplink].index;
                if let Err(error) = self.groups.memberships.leave(group, ifindex) {
                    tracing::warn!(%error, %group, "leaving a group failed");
                }
            }
            let deleted = self
                .netlink
                .delete_group_route(group, self.udp_port())
                .await;
            if let Err(error) = deleted {
                tracing::warn!(%error, %group, "the route to a group stays");
            }
        }
    }

    /// Brings memberships and routes in line with the uplinks and our addresses as they are now: both go with a link that is
    /// made again, and routes with a link that is down for a moment.
    pub(super) async fn sync_groups(&mut self) {
        self.groups.unfinished = false;
        if let Err(error) = self.try_sync_groups().await {
            self.refused("the multicast groups are not as they should be", &error);
        }
    }

    /// Tries again what was refused. Of an uplink without IPv6, say, that will be so each time.
    pub(super) async fn retry_groups(&mut self) {
        if self.groups.unfinished {
            self.groups.retrying = true;
            self.sync_groups().await;
            self.groups.retrying = false;
        }
    }

    /// Something was refused. The log has it once.
    fn refused(&mut self, what: &str, error: &dyn Display) {
        self.groups.unfinished = true;
        if self.groups.retrying {
            tracing::debug!(%error, "{what}");
        } else {
            tracing::warn!(%error, "{what}");
        }
    }

    async fn try_sync_groups(&mut self) -> Result<(), DaemonError> {
        self.find_ways().await?;
        let wanted = self.groups.wanted.clone();
        let stale: Vec<_> = self
            .groups
            .memberships
            .iter()
            .filter(|(group, ifindex)| {
                !wanted.contains(group) || self.uplinks.iter().all(|link| link.index != *ifindex)
            })
            .collect();
        for (group, ifindex) in stale {
            if let Err(error) = self.groups.memberships.leave(group, ifindex) {
                tracing::warn!(%error, %group, "leaving a group failed");
            }
        }
        for &group in &wanted {
            self.join(group);
        }
        let owner = self.udp_port();
        let there = self.netlink.group_routes(owner).await?;
        for &group in there.keys().filter(|group| !wanted.contains(*group)) {
            self.netlink.delete_group_route(group, owner).await?;
        }
        for &group in &wanted {
            if there.get(&group).copied() != self.groups.way(group) {
                self.route_to(group).await;
            }
        }
        Ok(())
    }

    /// Removes what was left in the kernel for groups.
    pub(super) async fn remove_groups(&mut self) -> Result<(), DaemonError> {
        self.groups = Groups::default();
        Ok(self.netlink.delete_group_routes(self.udp_port()).await?)
    }

    /// Joins a group on every uplink.
    fn join(&mut self, group: IpAddr) {
        for uplink in 0..self.uplinks.len() {
            let Link { index, name, .. } = &self.uplinks[uplink];
            if let Err(error) = self.groups.memberships.join(group, *index) {
                let what = format!("joining the group {group} on {name} failed");
                self.refused(&what, &error);
            }
        }
    }

    /// Has the kernel device send to a group by the uplink.
    async fn route_to(&mut self, group: IpAddr) {
        let owner = self.udp_port();
        let done = match self.groups.way(group) {
            Some(way) => self.netlink.set_group_route(group, way, owner).await,
            None => Err(netlink::Error::Request {
                operation: "find an uplink to",
                object: group.to_string(),
                source: io::Error::from_raw_os_error(libc::ENETDOWN),
            }),
        };
        if let Err(error) = done {
            self.refused(&format!("the group {group} cannot be sent to"), &error);
        }
    }

    /// Finds how packets to groups leave: by the uplink that has our address, else by the first that is up.
    async fn find_ways(&mut self) -> Result<(), DaemonError> {
        let addresses = self.netlink.addresses().await?;
        let up = || self.uplinks.iter().filter(|uplink| uplink.up);
        let way = |v4: bool| {
            let locals = self.state.locals().iter();
            let local = locals.copied().find(|local| local.is_ipv4() == v4)?;
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
        (self.groups.v4, self.groups.v6) = (way(true), way(false));
        Ok(())
    }

    fn log_groups(&self, groups: &BTreeSet<IpAddr>) {
        if groups.is_empty() {
            return;
        }
        let on: Vec<&str> = self.uplinks.iter().map(|link| link.name.as_str()).collect();
        let on = on.join(", ");
        if groups.len() > NAMED {
            tracing::info!("a member of {} multicast groups on {on}", groups.len());
        } else {
            let names: Vec<String> = groups.iter().map(ToString::to_string).collect();
            let names = names.join(", ");
            tracing::info!("a member of multicast group {names} on {on}");
        }
    }
}
