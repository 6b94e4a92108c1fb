//! The paths to VTEPs: whether they lead there, carry a guest's packets, and something comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::doctor::{
    facts::{Facts, Tables, Way},
    finding::Finding,
};
use crate::model::{PeerRow, PeerState, StatsRow};

/// Packets to a VTEP from which on it is odd that none ever came back: a guest asks three times.
const FEW: u64 = 3;

/// How long nothing comes from a VTEP that was heard before it is odd, in seconds: its guests may have nothing to say for a while.
const LONG_S: u64 = 30;

/// Whether every VTEP can be sent to.
pub(in crate::doctor) fn routes(facts: &Facts) -> Vec<Finding> {
    let peers = facts.rows(|daemon| &daemon.peers);
    let found = peers.iter().filter_map(|peer| {
        let found = match peer.state {
            PeerState::Unreachable => unreachable(facts, peer),
            PeerState::Resolving => resolving(facts, peer)?,
            PeerState::Resolved | PeerState::Silent => return None,
        };
        Some(found.about(&peer.ip))
    });
    found.collect()
}

/// Why there is no path to a VTEP.
fn unreachable(facts: &Facts, peer: &PeerRow) -> Finding {
    let ip = peer.ip;
    let family = if ip.is_ipv6() { " -6" } else { "" };
    match facts.host.ways.get(&ip) {
        Some(Way::Own) => Finding::fail(
            "the address of this VTEP is one of this host's own",
            format!("ip address show to {ip}"),
        ),
        Some(Way::Refused(route)) => {
            let kind = route.kind.name();
            let (prefix, table) = (route.prefix, route.table);
            Finding::fail(
                format!("a route keeps packets from this VTEP: {kind} {prefix} in table {table}"),
                format!("ip route del {kind} {prefix} table {table}"),
            )
        }
        Some(Way::RefusedElsewhere(route)) => {
            let kind = route.kind.name();
            let (prefix, table) = (route.prefix, route.table);
            Finding::fail(
                format!(
                    "there is no route to this VTEP but one that keeps packets from it, if a rule has them look there: {kind} {prefix} in table {table}"
                ),
                format!("ip{family} rule show"),
            )
        }
        Some(Way::OtherTable { table, prefix }) => Finding::fail(
            format!(
                "table {table} has a route to this VTEP, {prefix}, but no rule has its packets look there"
            ),
            format!("ip{family} rule add to {ip} lookup {table}"),
        ),
        Some(Way::Rule { table }) => Finding::fail(
            format!(
                "{} has a route to this VTEP, but a routing rule keeps its packets from it",
                name_of(*table)
            ),
            format!("ip{family} rule show"),
        ),
        Some(Way::Nothing { table }) => Finding::fail(
            format!("{} has no route to this VTEP", name_of(*table)),
            new_route(facts, ip, *table),
        ),
        Some(Way::Leads { dev, .. }) => leads_nowhere(facts, dev),
        None => match &peer.dev {
            Some(dev) => leads_nowhere(facts, dev),
            None => Finding::fail(
                "there is no route to this VTEP",
                format!("ip route get {ip}"),
            ),
        },
    }
}

/// An interface by which packets do not leave.
fn leads_nowhere(facts: &Facts, dev: &str) -> Finding {
    match facts.link(dev) {
        Some(link) if !link.up => Finding::fail(
            format!("the route to this VTEP leads over {dev}, which is down"),
            format!("ip link set {dev} up"),
        ),
        _ => Finding::fail(
            format!("the route to this VTEP leads over {dev}, by which packets do not leave"),
            format!("ip -d link show dev {dev}"),
        ),
    }
}

/// How a sentence calls a routing table.
fn name_of(table: u32) -> String {
    match table {
        Tables::MAIN => "the main table".to_owned(),
        table => format!("table {table}"),
    }
}

/// A route to a VTEP in a table: by the router that leads to another one, or else as if it were on the link.
fn new_route(facts: &Facts, ip: IpAddr, table: u32) -> String {
    let mut peers = facts.rows(|daemon| &daemon.peers).iter();
    let router = peers.find_map(|peer| {
        let near = peer.ip.is_ipv4() == ip.is_ipv4();
        peer.via.zip(peer.dev.as_ref()).filter(|_| near)
    });
    let table = match table {
        Tables::MAIN => String::new(),
        table => format!(" table {table}"),
    };
    match (router, facts.uplinks().next()) {
        (Some((via, dev)), _) => format!("ip route add {ip} via {via} dev {dev}{table}"),
        (None, Some(dev)) => format!("ip route add {ip} dev {dev}{table}"),
        (None, None) => format!("ip route get {ip}"),
    }
}

/// What is known of a next hop whose MAC the kernel looks for; nothing where none is needed.
fn resolving(facts: &Facts, peer: &PeerRow) -> Option<Finding> {
    let way = facts.host.ways.get(&peer.ip);
    let (dev, next_hop, failed) = match way {
        Some(Way::Leads {
            dev,
            next_hop,
            failed,
        }) => (dev, *next_hop, *failed),
        // What has changed since the daemon looked, it will find itself.
        Some(_) => return None,
        None => (peer.dev.as_ref()?, peer.via.unwrap_or(peer.ip), false),
    };
    if facts.link(dev).is_some_and(|link| !link.ethernet) {
        return None;
    }
    let mend = format!("ip neighbour show to {next_hop} dev {dev}");
    Some(if failed {
        Finding::fail(
            format!(
                "no neighbour {next_hop} answers at {dev}, which packets to this VTEP are handed to"
            ),
            mend,
        )
    } else {
        Finding::warn(
            format!("the next hop {next_hop} at {dev} has not answered yet"),
            mend,
        )
    })
}

/// Whether every VTEP is heard that frames for known MACs are sent to. One that only gets floods need not answer them.
pub(in crate::doctor) fn silence(facts: &Facts) -> Vec<Finding> {
    let Some(daemon) = &facts.daemon else {
        return Vec::new();
    };
    let counted = counted(&daemon.stats);
    let has_macs: BTreeSet<_> = daemon.fdb.behind.values().flatten().collect();
    let peers = daemon
        .peers
        .iter()
        .filter(|peer| has_macs.contains(&peer.ip));
    let found = peers.filter_map(|peer| {
        let PeerRow { ip, state, .. } = peer;
        let (sent, heard) = counted.get(ip).copied().unwrap_or_default();
        let finding = match (state, peer.last_heard_s) {
            (PeerState::Silent, Some(age)) if age >= LONG_S => format!(
                "packets are sent to this VTEP again and again, and none has come from it for {age} s"
            ),
            (PeerState::Silent, None) if heard > 0 => {
                "packets are sent to this VTEP again and again, and none has come from it since the daemon started".to_owned()
            }
            (PeerState::Silent | PeerState::Resolved, _) if heard == 0 && sent >= FEW => {
                format!("{sent} packets were sent to this VTEP, and none ever came from it")
            }
            (
                PeerState::Silent
                | PeerState::Resolved
                | PeerState::Resolving
                | PeerState::Unreachable,
                _,
            ) => return None,
        };
        Some(
            Finding::warn(
                format!(
                    "{finding}: it may be off, not know this VTEP, or a firewall between may drop UDP port {}; broadcasts alone nobody there need answer",
                    facts.udp_port
                ),
                format!("ping {ip}"),
            )
            .about(ip),
        )
    });
    found.collect()
}

/// Packets to each VTEP, and from it.
fn counted(stats: &[StatsRow]) -> BTreeMap<IpAddr, (u64, u64)> {
    let mut counted: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for row in stats {
        let Some(peer) = row.peer else { continue };
        let (sent, heard) = counted.entry(peer).or_default();
        match row.reason.as_deref() {
            Some("tx") => *sent += row.packets,
            Some("rx") => *heard += row.packets,
            _ => {}
        }
    }
    counted
}

/// Whether the paths carry what a guest may send.
pub(in crate::doctor) fn mtu(facts: &Facts) -> Vec<Finding> {
    let ports = facts.rows(|daemon| &daemon.ports).iter();
    let found = ports.filter_map(|port| {
        let (fits, mtu) = (port.mtu_advice?, port.mtu?);
        let dev = &port.dev;
        Some(
            Finding::fail(
                format!(
                    "the MTU is {mtu}, and packets of more than {fits} bytes do not reach every VTEP of vni {}; set that in the guest too, or raise the MTU of the underlay by {}",
                    port.vni,
                    mtu.saturating_sub(fits)
                ),
                format!("ip link set {dev} mtu {fits}"),
            )
            .about(dev),
        )
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::testkit::{far, healthy, with};
    use crate::netlink::{RouteKind, TableRoute};

    /// What is said of the VTEP in a state, with a way that the kernel knows, if one is given.
    fn of(state: PeerState, dev: Option<&str>, way: Option<Way>) -> Vec<Finding> {
        let mut facts = with(|daemon| {
            daemon.peers[0].state = state;
            daemon.peers[0].dev = dev.map(str::to_owned);
        });
        facts.host.ways.extend(way.map(|way| (far(), way)));
        routes(&facts)
    }

    #[test]
    fn a_vtep_without_a_path_fails_with_the_cause_and_what_is_to_be_done() {
        assert_eq!(routes(&healthy()), []);
        let route = |table, kind| TableRoute {
            table,
            prefix: "192.0.2.0/24".parse().unwrap(),
            kind,
            priority: 0,
        };
        let refused = |kind| Way::Refused(route(254, kind));
        let in_vrf = Way::Refused(route(10, RouteKind::Unreachable));
        let forbidden = Way::RefusedElsewhere(route(101, RouteKind::Prohibit));
        let elsewhere = Way::OtherTable {
            table: 100,
            prefix: "192.0.2.0/24".parse().unwrap(),
        };
        for (way, mend) in [
            (Way::Own, "ip address show to 192.0.2.2"),
            (
                refused(RouteKind::Blackhole),
                "ip route del blackhole 192.0.2.0/24 table 254",
            ),
            (
                refused(RouteKind::Prohibit),
                "ip route del prohibit 192.0.2.0/24 table 254",
            ),
            (
                refused(RouteKind::Unreachable),
                "ip route del unreachable 192.0.2.0/24 table 254",
            ),
            (in_vrf, "ip route del unreachable 192.0.2.0/24 table 10"),
            (forbidden, "ip rule show"),
            (elsewhere, "ip rule add to 192.0.2.2 lookup 100"),
            (Way::Rule { table: 254 }, "ip rule show"),
            (
                Way::Nothing { table: 254 },
                "ip route add 192.0.2.2 dev eth0",
            ),
            (
                Way::Nothing { table: 10 },
                "ip route add 192.0.2.2 dev eth0 table 10",
            ),
        ] {
            let found = of(PeerState::Unreachable, None, Some(way.clone()));
            assert_eq!(found[0].told(), ("FAIL", "192.0.2.2", mend), "{way:?}");
        }
        // Where the host cannot be looked at.
        let found = of(PeerState::Unreachable, None, None);
        assert_eq!(
            found[0].told(),
            ("FAIL", "192.0.2.2", "ip route get 192.0.2.2")
        );
    }

    #[test]
    fn a_new_route_leads_by_the_router_of_others() {
        let mut facts = with(|daemon| {
            let other = PeerRow {
                ip: "198.51.100.7".parse().unwrap(),
                via: Some("192.0.2.254".parse().unwrap()),
                ..daemon.peers[0].clone()
            };
            daemon.peers[0].state = PeerState::Unreachable;
            daemon.peers.push(other);
        });
        let mend = "ip route add 192.0.2.2 via 192.0.2.254 dev eth0";
        for (table, mend) in [(254, mend.to_owned()), (10, format!("{mend} table 10"))] {
            facts.host.ways.insert(far(), Way::Nothing { table });

            let found = routes(&facts);

            assert_eq!(found[0].told(), ("FAIL", "192.0.2.2", mend.as_str()));
            assert_eq!(found.len(), 1);
        }
    }

    #[test]
    fn a_path_over_an_interface_that_is_down_has_it_switched_on() {
        let mut facts = with(|daemon| daemon.peers[0].state = PeerState::Unreachable);
        facts.host.links[0].up = false;
        assert_eq!(
            routes(&facts)[0].told(),
            ("FAIL", "192.0.2.2", "ip link set eth0 up")
        );
        facts.host.links[0].up = true;
        assert_eq!(
            routes(&facts)[0].told(),
            ("FAIL", "192.0.2.2", "ip -d link show dev eth0")
        );
    }

    #[test]
    fn a_next_hop_that_does_not_answer_fails_and_one_that_is_asked_is_waited_for() {
        let leads = |failed| Way::Leads {
            dev: "eth0".into(),
            next_hop: far(),
            failed,
        };
        let mend = "ip neighbour show to 192.0.2.2 dev eth0";
        for (way, word) in [
            (Some(leads(true)), "FAIL"),
            (Some(leads(false)), "WARN"),
            (None, "WARN"),
        ] {
            let found = of(PeerState::Resolving, Some("eth0"), way);
            assert_eq!(found[0].told(), (word, "192.0.2.2", mend));
        }
        // An interface without Ethernet asks for no MAC.
        let mut facts = with(|daemon| daemon.peers[0].state = PeerState::Resolving);
        facts.host.links[0].ethernet = false;
        assert_eq!(routes(&facts), []);
    }

    #[test]
    fn a_vtep_with_macs_behind_it_that_is_sent_to_and_not_heard_is_silent() {
        let of = |state, sent, heard, last_heard_s| {
            silence(&with(|daemon| {
                daemon.peers[0].state = state;
                daemon.peers[0].last_heard_s = last_heard_s;
                daemon.stats[0].packets = sent;
                daemon.stats[1].packets = heard;
            }))
        };
        let quiet = [
            of(PeerState::Resolved, 0, 0, None),
            of(PeerState::Resolved, 5, 1, Some(900)),
            // One broadcast, or two, that nobody need answer.
            of(PeerState::Silent, FEW - 1, 0, None),
            of(PeerState::Unreachable, 5, 0, None),
            // It has spoken a moment ago.
            of(PeerState::Silent, 9, 7, Some(LONG_S - 1)),
        ];
        assert_eq!(quiet, [const { vec![] }; 5]);

        for (found, known) in [
            (of(PeerState::Resolved, FEW, 0, None), "3 packets were sent"),
            (of(PeerState::Silent, FEW, 0, None), "none ever came"),
            (of(PeerState::Silent, 9, 7, Some(LONG_S)), "for 30 s"),
            (of(PeerState::Silent, 9, 7, None), "since the daemon"),
        ] {
            assert_eq!(found[0].told(), ("WARN", "192.0.2.2", "ping 192.0.2.2"));
            let text = found[0].clone().row("silence").finding;
            assert!(text.contains(known), "{text}");
        }
    }

    #[test]
    fn a_vtep_that_only_gets_floods_need_not_be_heard() {
        let found = silence(&with(|daemon| {
            daemon.peers[0].state = PeerState::Silent;
            daemon.fdb.behind.clear();
        }));
        assert_eq!(found, []);
    }

    #[test]
    fn a_guest_with_a_larger_mtu_than_the_path_fails() {
        assert_eq!(mtu(&healthy()), []);
        let found = mtu(&with(|daemon| {
            daemon.ports[0].mtu = Some(1500);
            daemon.ports[0].mtu_advice = Some(1450);
        }));
        assert_eq!(found[0].told(), ("FAIL", "vm0", "ip link set vm0 mtu 1450"));
    }
}
