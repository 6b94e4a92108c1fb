//! What checks go by.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;

use crate::model::{DropsRow, FdbRow, PeerRow, PortRow, StatsRow, Status, Vni, VniRow};
use crate::netlink::{Card, Conflict, Link};

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

/// What the kernel says.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// Why it was not asked in the daemon's network namespace.
    pub elsewhere: Option<String>,
    /// The interfaces.
    pub links: Vec<Link>,
    /// The network cards among the uplinks.
    pub cards: BTreeMap<String, Card>,
    /// How strict each uplink is with the way back to a sender (`rp_filter`): 1 is strict.
    pub rp_filter: BTreeMap<String, u8>,
    /// The host's rules.
    pub firewall: Firewall,
    /// Who else has the UDP port.
    pub conflict: Option<Conflict>,
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
