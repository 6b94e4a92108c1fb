//! The uplinks: whether they can be used, and what the kernel does to packets there.

use crate::doctor::{facts::Facts, finding::Finding};
use crate::model::UplinkState;

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
                UplinkState::Absent => Finding::fail("the interface does not exist").mend("ip link"),
                UplinkState::Down => {
                    Finding::fail("the interface is down").mend(format!("ip link set {dev} up"))
                }
                UplinkState::Up if facts.link(dev).is_some_and(|link| !link.carrier) => {
                    Finding::fail("the interface has no carrier: a cable, or what is at its other end, is missing")
                        .mend(format!("ethtool {dev}"))
                }
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
        let dev = facts.uplinks().next().unwrap_or("DEV");
        found.push(
            Finding::fail("there is no address to send from")
                .about(dev)
                .mend(format!("ip address add ADDRESS/LENGTH dev {dev}")),
        );
    }
    found
}

/// Whether the kernel drops packets by the way back to their sender.
pub(in crate::doctor) fn rp_filter(facts: &Facts) -> Vec<Finding> {
    let strict = facts
        .uplinks()
        .filter(|dev| facts.host.rp_filter.get(*dev) == Some(&STRICT));
    strict
        .map(|dev| {
            Finding::warn(
                "rp_filter is strict: the kernel drops packets from VTEPs to which another interface leads. What XDP and TC finish passes by it",
            )
            .about(dev)
            .mend(format!("sysctl -w net/ipv4/conf/{dev}/rp_filter=2"))
        })
        .collect()
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
        Finding::warn("the interface is promiscuous, and every frame of the wire is looked at")
            .about(dev)
            .mend(format!("ip link set {dev} promisc off"))
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
            ("FAIL", "eth0", "ip address add ADDRESS/LENGTH dev eth0")
        );
    }

    #[test]
    fn a_strict_rp_filter_is_named_and_a_loose_one_is_not() {
        let of = |value| {
            rp_filter(&at_host(|host| {
                host.rp_filter.insert("eth0".into(), value);
            }))
        };
        assert_eq!([of(0), of(2)], [vec![], vec![]]);
        assert_eq!(of(1)[0].told().1, "eth0");
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
