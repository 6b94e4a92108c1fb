//! The uplinks: whether they can be used, and what the kernel does to packets there.

use crate::doctor::{facts::Facts, finding::Finding};
use crate::model::{PeerRow, UplinkState};

/// The value of `rp_filter` with which the kernel drops what comes by another interface than its answer would leave by.
const STRICT: u8 = 1;

/// Whether every uplink is up, and there is an address to send from.
pub(in crate::doctor) fn work(facts: &Facts) -> Vec<Finding> {
    let uplinks = facts.rows(|daemon| &daemon.status.uplinks);
    let mut found: Vec<_> = uplinks
        .iter()
        .filter_map(|uplink| {
            let dev = &uplink.dev;
            let finding = match uplink.state {
                UplinkState::Absent => Finding::fail("the interface does not exist", "ip link"),
                UplinkState::Down => {
                    Finding::fail("the interface is down", format!("ip link set {dev} up"))
                }
                UplinkState::Up if facts.link(dev).is_some_and(|link| !link.carrier) => Finding::fail(
                    "the interface has no carrier: a cable, or what is at its other end, is missing",
                    format!("ethtool {dev}"),
                ),
                UplinkState::Up => return None,
            };
            Some(finding.about(dev))
        })
        .collect();
    let has_address = facts
        .daemon
        .as_ref()
        .is_none_or(|daemon| !daemon.status.locals.is_empty());
    if !has_address {
        let dev = facts.uplinks().next();
        let show = dev.map_or_else(
            || "ip address".to_owned(),
            |dev| format!("ip address show dev {dev}"),
        );
        let finding = Finding::fail(
            "there is no address to send from; give the interface the one that other VTEPs send to",
            show,
        );
        found.push(match dev {
            Some(dev) => finding.about(dev),
            None => finding,
        });
    }
    found
}

/// Whether the kernel drops packets of a VTEP, because the way back to it leads over another interface than they come by.
pub(in crate::doctor) fn rp_filter(facts: &Facts) -> Vec<Finding> {
    let is_strict = |dev: &&str| facts.host.rp_filter.get(*dev) == Some(&STRICT);
    let found = facts.uplinks().filter(is_strict).filter_map(|dev| {
        let peers = facts.rows(|daemon| &daemon.peers).iter();
        // It is of IPv4 alone.
        let mut peers = peers.filter(|peer| peer.ip.is_ipv4());
        // What leads over another uplink comes by that one.
        let is_uplink = |by: &str| facts.uplinks().any(|uplink| uplink == by);
        let leads_elsewhere = |peer: &PeerRow| peer.dev.clone().filter(|by| !is_uplink(by));
        let (vtep, by) = peers.find_map(|peer| Some((peer.ip, leads_elsewhere(peer)?)))?;
        Some(
            Finding::warn(
                format!(
                    "rp_filter is strict: the kernel drops packets from VTEP {vtep} that come by this interface, because the way to it leads over {by}. What XDP and TC finish passes by it"
                ),
                format!("sysctl -w net/ipv4/conf/{dev}/rp_filter=2"),
            )
            .about(dev),
        )
    });
    found.collect()
}

/// Whether an uplink takes frames that are not for this host, because somebody said so.
pub(in crate::doctor) fn promiscuous(facts: &Facts) -> Vec<Finding> {
    let is_port = |dev: &str| {
        let ports = facts.rows(|daemon| &daemon.ports);
        ports.iter().any(|port| port.dev == dev)
    };
    let set = facts
        .uplinks()
        .filter(|dev| !is_port(dev) && facts.link(dev).is_some_and(|link| link.promiscuous));
    set.map(|dev| {
        Finding::warn(
            "the interface is promiscuous, and every frame of the wire is looked at",
            format!("ip link set {dev} promisc off"),
        )
        .about(dev)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::testkit::{at_host, healthy, with};

    #[test]
    fn an_uplink_that_cannot_be_used_fails() {
        assert_eq!(work(&healthy()), []);
        for (state, mend) in [
            (UplinkState::Down, "ip link set eth0 up"),
            (UplinkState::Absent, "ip link"),
        ] {
            let found = work(&with(|daemon| daemon.status.uplinks[0].state = state));
            assert_eq!(found[0].told(), ("FAIL", "eth0", mend));
        }
        let unplugged = work(&at_host(|host| host.links[0].carrier = false));
        assert_eq!(unplugged[0].told(), ("FAIL", "eth0", "ethtool eth0"));
    }

    #[test]
    fn a_host_without_an_address_fails() {
        let found = work(&with(|daemon| daemon.status.locals.clear()));
        assert_eq!(
            found[0].told(),
            ("FAIL", "eth0", "ip address show dev eth0")
        );
    }

    #[test]
    fn a_strict_rp_filter_is_named_where_a_vtep_is_reached_by_another_interface() {
        let of = |value, dev: &str, ip: &str| {
            let mut facts = at_host(|host| {
                host.rp_filter.insert("eth0".into(), value);
            });
            let peer = &mut facts.daemon.as_mut().unwrap().peers[0];
            (peer.ip, peer.dev) = (ip.parse().unwrap(), Some(dev.into()));
            rp_filter(&facts)
        };
        let v4 = "192.0.2.2";
        assert_eq!([of(0, "eth1", v4), of(2, "eth1", v4)], [vec![], vec![]]);
        assert_eq!(
            [of(1, "eth0", v4), of(1, "eth1", "2001:db8::2")],
            [vec![], vec![]]
        );
        let mend = "sysctl -w net/ipv4/conf/eth0/rp_filter=2";
        assert_eq!(of(1, "eth1", v4)[0].told(), ("WARN", "eth0", mend));
    }

    #[test]
    fn a_vtep_that_another_uplink_leads_to_comes_by_that_one() {
        let mut facts = at_host(|host| {
            host.rp_filter = ["eth0", "eth1"].map(|dev| (dev.to_owned(), 1)).into();
        });
        let daemon = facts.daemon.as_mut().unwrap();
        let mut second = daemon.status.uplinks[0].clone();
        second.dev = "eth1".into();
        daemon.status.uplinks.push(second);
        let mut other = daemon.peers[0].clone();
        (other.ip, other.dev) = ("198.51.100.2".parse().unwrap(), Some("eth1".into()));
        daemon.peers.push(other);
        assert_eq!(rp_filter(&facts), []);

        facts.daemon.as_mut().unwrap().peers[1].dev = Some("eth2".into());
        let about: Vec<_> = rp_filter(&facts)
            .iter()
            .map(|found| found.told().1.to_owned())
            .collect();
        assert_eq!(about, ["eth0", "eth1"]);
    }

    #[test]
    fn an_uplink_is_promiscuous_by_hand_alone() {
        assert_eq!(promiscuous(&healthy()), []);
        let found = promiscuous(&at_host(|host| host.links[0].promiscuous = true));
        assert_eq!(
            found[0].told(),
            ("WARN", "eth0", "ip link set eth0 promisc off")
        );
        // vtep itself sets ports so.
        let port = promiscuous(&at_host(|host| host.links[1].promiscuous = true));
        assert_eq!(port, []);
    }
}
