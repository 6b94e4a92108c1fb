//! Which peers a change of the underlay concerns.

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
};

use ipnet::IpNet;
use vtep_common::abi::id::Ifindex;

/// An interface and the address behind it that frames are handed to.
pub(super) type NextHop = (Ifindex, IpAddr);

/// Peers by what their paths lead over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Affected {
    /// Every peer.
    pub(in super::super) all: bool,
    /// Those to which these prefixes lead.
    pub(in super::super) routes: BTreeSet<IpNet>,
    /// Those behind these interfaces, and those without a path.
    pub(in super::super) links: HashSet<Ifindex>,
    /// Those behind these next hops.
    pub(in super::super) next_hops: HashSet<NextHop>,
}

impl Affected {
    /// Every peer.
    pub(in super::super) fn all() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    /// True if no peer is among them.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the peer `ip` is among them, whose next hop is this, or that has none.
    pub(super) fn has(&self, ip: IpAddr, next_hop: Option<&NextHop>) -> bool {
        self.all
            || self.routes.iter().any(|route| route.contains(&ip))
            || match next_hop {
                Some(next_hop) => {
                    self.links.contains(&next_hop.0) || self.next_hops.contains(next_hop)
                }
                None => !self.links.is_empty(),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "192.0.2.9";

    #[test]
    fn a_change_concerns_the_peers_behind_it_and_those_without_a_path() {
        let [one, two]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let [four, five] = [4, 5].map(Ifindex::new);
        let of_link = Affected {
            links: HashSet::from([four]),
            ..Affected::default()
        };
        let of_next_hop = Affected {
            next_hops: HashSet::from([(four, one)]),
            ..Affected::default()
        };
        let ip = PEER.parse().unwrap();

        for (next_hop, by_link, by_next_hop) in [
            (Some((four, one)), true, true),
            (Some((four, two)), true, false),
            (Some((five, one)), false, false),
            (None, true, false),
        ] {
            let next_hop = next_hop.as_ref();
            assert_eq!(of_link.has(ip, next_hop), by_link, "{next_hop:?}");
            assert_eq!(of_next_hop.has(ip, next_hop), by_next_hop, "{next_hop:?}");
            assert!(Affected::all().has(ip, next_hop));
            assert!(!Affected::default().has(ip, next_hop));
        }
    }

    #[test]
    fn a_route_concerns_the_peers_that_it_leads_to_whatever_their_path_was() {
        let ip = PEER.parse().unwrap();
        let hop = (Ifindex::new(4), "192.0.2.1".parse().unwrap());

        for (route, concerns) in [
            ("0.0.0.0/0", true),
            ("192.0.2.0/24", true),
            ("192.0.2.9/32", true),
            ("192.0.2.8/32", false),
            ("198.51.100.0/24", false),
            ("::/0", false),
        ] {
            let of_route = Affected {
                routes: BTreeSet::from([route.parse().unwrap()]),
                ..Affected::default()
            };
            assert_eq!(of_route.has(ip, Some(&hop)), concerns, "{route}");
            assert_eq!(of_route.has(ip, None), concerns, "{route}");
        }
    }
}
