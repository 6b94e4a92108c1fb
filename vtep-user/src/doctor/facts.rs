//! What checks go by.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::model::{DropsRow, FdbRow, PeerRow, PortRow, StatsRow, Status, Vni, VniRow};
use crate::netlink::{Card, Conflict, Link, RouteKind, TableRoute};

/// Everything that was read.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The instance that is looked at.
    pub instance: String,
    /// The version of this program.
    pub version: &'static str,
    /// The UDP port of VXLAN.
    pub udp_port: u16,
    /// What its daemon says; `None` where there is none.
    pub daemon: Option<DaemonFacts>,
    /// What the kernel says.
    pub host: HostFacts,
}

/// What the daemon says.
#[derive(Clone, Debug)]
pub struct DaemonFacts {
    /// Itself.
    pub status: Status,
    /// The VNIs.
    pub vnis: Vec<VniRow>,
    /// The ports.
    pub ports: Vec<PortRow>,
    /// The VTEPs.
    pub peers: Vec<PeerRow>,
    /// The FDB, as far as checks ask.
    pub fdb: FdbFacts,
    /// All counters.
    pub stats: Vec<StatsRow>,
    /// What was dropped until we looked.
    pub drops: Vec<DropsRow>,
    /// What was dropped until we looked again.
    pub later: Vec<DropsRow>,
}

/// What checks ask of the FDB, which may have a million entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FdbFacts {
    /// The VTEPs that MACs are behind.
    pub behind: BTreeMap<Vni, BTreeSet<IpAddr>>,
    /// The MACs that are frozen.
    pub frozen: Vec<FdbRow>,
}

/// What the kernel says, in the daemon's network namespace.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// Why it was not asked; then nothing of the rest is known.
    pub unseen: Option<Unseen>,
    /// The interfaces.
    pub links: Vec<Link>,
    /// The network cards among the uplinks, or why they cannot be read.
    pub cards: BTreeMap<String, Result<Card, String>>,
    /// How strict each uplink is with the way back to a sender (`rp_filter`): 1 is strict.
    pub rp_filter: BTreeMap<String, u8>,
    /// The host's rules.
    pub firewall: Firewall,
    /// Who else has the UDP port.
    pub conflict: Option<Conflict>,
    /// The ways to the VTEPs that the daemon has found none to.
    pub ways: BTreeMap<IpAddr, Way>,
}

/// Why the daemon's network namespace was not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// The system's words.
    pub why: String,
    /// It takes more rights.
    pub denied: bool,
}

/// The way of a packet to a VTEP, or what keeps it from going there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It leaves by this interface.
    Leads {
        /// The interface.
        dev: String,
        /// The router that it is handed to, or the VTEP itself.
        next_hop: IpAddr,
        /// The next hop was asked for its MAC, and did not answer.
        failed: bool,
    },
    /// The address is this host's own.
    Own,
    /// A route drops it.
    Refused(TableRoute),
    /// A routing table has a way, and packets for the VTEP do not look there.
    OtherTable {
        /// The number of the table.
        table: u32,
        /// Where its route leads.
        prefix: IpNet,
    },
    /// The main table has a way, and a routing rule keeps packets for the VTEP from it.
    Rule,
    /// No table has one.
    Nothing,
}

/// The routing table that packets look into unless a rule says another (`RT_TABLE_MAIN`).
const MAIN: u32 = 254;

impl Way {
    /// Why there is no way, by the route of each table that a packet would take in it.
    #[must_use]
    pub fn missing(routes: &[TableRoute]) -> Self {
        let in_main = routes.iter().find(|route| route.table == MAIN);
        let is_none = |route: &&TableRoute| route.kind != RouteKind::Leads;
        let refused = in_main.filter(is_none);
        if let Some(refused) = refused.or_else(|| routes.iter().find(is_none)) {
            Self::Refused(*refused)
        } else if in_main.is_some() {
            Self::Rule
        } else {
            match routes.first() {
                Some(route) => Self::OtherTable {
                    table: route.table,
                    prefix: route.prefix,
                },
                None => Self::Nothing,
            }
        }
    }
}

/// The rules of netfilter.
#[derive(Clone, Debug, Default)]
pub struct Firewall {
    /// What `nft -j list ruleset` prints; nothing where there are none.
    pub rules: Value,
    /// What cannot be read, and why.
    pub unreadable: Vec<String>,
}

impl FdbFacts {
    /// What checks ask of these entries.
    #[must_use]
    pub fn of(rows: Vec<FdbRow>) -> Self {
        let mut facts = Self::default();
        for row in rows {
            if let Some(dst) = row.dst.filter(|_| !row.mac.is_zero()) {
                facts.behind.entry(row.vni).or_default().insert(dst);
            }
            if row.duplicate {
                facts.frozen.push(row);
            }
        }
        facts
    }
}

impl Facts {
    /// What the daemon says; nothing without one, of which no check is asked that needs it.
    pub(super) fn rows<'a, T>(&'a self, rows: impl Fn(&'a DaemonFacts) -> &'a [T]) -> &'a [T] {
        self.daemon.as_ref().map_or(&[], rows)
    }

    /// The names of the uplinks.
    pub(super) fn uplinks(&self) -> impl Iterator<Item = &str> {
        let uplinks = self.rows(|daemon| &daemon.status.uplinks);
        uplinks.iter().map(|uplink| uplink.dev.as_str())
    }

    /// The interface of that name.
    pub(super) fn link(&self, name: &str) -> Option<&Link> {
        self.host.links.iter().find(|link| link.name == name)
    }
}

#[cfg(test)]
pub(super) mod testkit;

#[cfg(test)]
mod tests {
    use super::testkit::{VNI, far, fdb_row};
    use super::*;
    use crate::model::MacAddr;

    #[test]
    fn why_there_is_no_way_follows_from_the_tables() {
        let route = |table, prefix: &str, kind| TableRoute {
            table,
            prefix: prefix.parse().unwrap(),
            kind,
            priority: 0,
        };
        let main = route(MAIN, "0.0.0.0/0", RouteKind::Leads);
        let hole = route(MAIN, "192.0.2.0/24", RouteKind::Blackhole);
        let other = route(100, "192.0.2.0/24", RouteKind::Leads);

        assert_eq!(Way::missing(&[]), Way::Nothing);
        assert_eq!(Way::missing(&[main]), Way::Rule);
        assert_eq!(Way::missing(&[other, main]), Way::Rule);
        assert_eq!(Way::missing(&[other, hole]), Way::Refused(hole));
        let elsewhere = Way::OtherTable {
            table: 100,
            prefix: other.prefix,
        };
        assert_eq!(Way::missing(&[other]), elsewhere);
    }

    #[test]
    fn vteps_are_behind_macs_and_not_behind_the_flood_list() {
        let listed = FdbRow {
            mac: MacAddr::ZERO,
            ..fdb_row(Some("198.18.0.9".parse().unwrap()), None)
        };
        let frozen = FdbRow {
            duplicate: true,
            ..fdb_row(None, Some("vm0"))
        };
        let entry = fdb_row(Some(far()), None);

        let facts = FdbFacts::of(vec![listed, frozen.clone(), entry.clone(), entry]);

        assert_eq!(
            facts.behind,
            BTreeMap::from([(VNI, BTreeSet::from([far()]))])
        );
        assert_eq!(facts.frozen, [frozen]);
    }
}
