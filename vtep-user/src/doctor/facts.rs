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
    /// A route of the uplink's table drops it.
    Refused(TableRoute),
    /// The uplink's table has no way. A route of another table drops it, if a rule has it look there.
    RefusedElsewhere(TableRoute),
    /// A routing table has a way, and packets for the VTEP do not look there.
    OtherTable {
        /// The number of the table.
        table: u32,
        /// Where its route leads.
        prefix: IpNet,
    },
    /// The uplink's table has a way, and a routing rule keeps packets for the VTEP from it.
    Rule {
        /// The number of the table.
        table: u32,
    },
    /// No table has one.
    Nothing {
        /// The number of the uplink's table.
        table: u32,
    },
}

/// The tables that packets to VTEPs may look into.
#[derive(Clone, Debug)]
pub struct Tables {
    /// That of the uplink: its VRF's, or else the main one.
    pub ours: u32,
    /// Those of VRFs, which only packets of theirs look into.
    pub of_vrfs: Vec<u32>,
}

impl Tables {
    /// The routing table that packets look into unless a rule says another (`RT_TABLE_MAIN`).
    pub const MAIN: u32 = 254;

    fn may_be_looked_into(&self, table: u32) -> bool {
        // A way in another table would lead out of the VRF.
        let others = self.ours == Self::MAIN && !self.of_vrfs.contains(&table);
        table == self.ours || others
    }
}

impl Way {
    /// Why there is no way, by the route of each table that a packet would take in it.
    #[must_use]
    pub fn missing(routes: &[TableRoute], tables: &Tables) -> Self {
        let table = tables.ours;
        let mut in_ours = routes.iter().filter(|route| route.table == table);
        match in_ours.next() {
            Some(route) if route.kind == RouteKind::Leads => return Self::Rule { table },
            Some(route) => return Self::Refused(*route),
            None => {}
        }
        let others = routes
            .iter()
            .filter(|route| tables.may_be_looked_into(route.table));
        // Of a way and a refusal the way is told, whatever their order.
        match others.min_by_key(|route| route.kind != RouteKind::Leads) {
            Some(route) if route.kind == RouteKind::Leads => Self::OtherTable {
                table: route.table,
                prefix: route.prefix,
            },
            Some(route) => Self::RefusedElsewhere(*route),
            None => Self::Nothing { table },
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
        let table = Tables::MAIN;
        let main = route(table, "0.0.0.0/0", RouteKind::Leads);
        let hole = route(table, "192.0.2.0/24", RouteKind::Blackhole);
        let other = route(100, "192.0.2.0/24", RouteKind::Leads);
        let forbidden = route(101, "192.0.2.2/32", RouteKind::Prohibit);
        // What keeps packets of VRFs that have no route from the main table.
        let guard = route(10, "0.0.0.0/0", RouteKind::Unreachable);
        let in_vrf = route(10, "192.0.2.0/24", RouteKind::Leads);
        let elsewhere = Way::OtherTable {
            table: 100,
            prefix: other.prefix,
        };
        for (routes, way) in [
            (&[][..], Way::Nothing { table }),
            (&[main], Way::Rule { table }),
            (&[other, main], Way::Rule { table }),
            (&[other, hole], Way::Refused(hole)),
            (&[forbidden, guard, hole], Way::Refused(hole)),
            (&[other], elsewhere.clone()),
            (&[forbidden, other], elsewhere.clone()),
            (&[forbidden, main], Way::Rule { table }),
            (&[forbidden], Way::RefusedElsewhere(forbidden)),
            (&[guard], Way::Nothing { table }),
            (&[in_vrf], Way::Nothing { table }),
            (&[in_vrf, guard, other], elsewhere),
        ] {
            let tables = Tables {
                ours: table,
                of_vrfs: vec![10, 11],
            };
            assert_eq!(Way::missing(routes, &tables), way, "{routes:?}");
        }
        // An uplink in a VRF.
        let table = 10;
        for (routes, way) in [
            (&[main, other, forbidden][..], Way::Nothing { table }),
            (&[main, guard], Way::Refused(guard)),
            (&[hole, in_vrf], Way::Rule { table }),
        ] {
            let tables = Tables {
                ours: table,
                of_vrfs: vec![10, 11],
            };
            assert_eq!(Way::missing(routes, &tables), way, "{routes:?}");
        }
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
