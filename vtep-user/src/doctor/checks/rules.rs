//! The host's firewall.

use crate::doctor::facts::{Facts, Firewall};
use crate::doctor::finding::Finding;
use crate::doctor::firewall::{Fate, Packet, Place, fate};

/// What passes by the rules, and what meets them.
const PASSED_BY: &str = "Packets that XDP or TC finishes pass by the rule; those that the kernel finishes (docs/datapath/slow-path.md) do not";

/// Rules that drop VXLAN packets.
pub(in crate::doctor) fn drop_vxlan(facts: &Facts) -> Vec<Finding> {
    let Firewall { rules, unreadable } = &facts.host.firewall;
    let unread = unreadable.iter().map(|why| {
        Finding::warn(format!("the host's rules cannot be read: {why}"))
            .mend("nft list ruleset; iptables -S; ip6tables -S")
    });
    let mut found: Vec<_> = unread.collect();
    let mut seen = Vec::new();
    for packet in packets(facts) {
        let (place, finding) = match fate(rules, &packet) {
            Fate::Passes => continue,
            Fate::Dropped(place) => {
                let Place {
                    family,
                    table,
                    chain,
                } = &place;
                let way = if packet.iif.is_some() { "from" } else { "to" };
                let text = format!(
                    "chain {chain} of table {family} {table} drops UDP port {} {way} VTEPs. {PASSED_BY}",
                    packet.udp_port
                );
                (place, Finding::fail(text))
            }
            Fate::Perhaps(place) => {
                let Place {
                    family,
                    table,
                    chain,
                } = &place;
                let text = format!(
                    "chain {chain} of table {family} {table} may drop UDP port {}: it asks for what is not known here. {PASSED_BY}",
                    packet.udp_port
                );
                (place, Finding::warn(text))
            }
        };
        if seen.contains(&place) {
            continue;
        }
        let Place {
            family,
            table,
            chain,
        } = &place;
        let mend = format!(
            "nft insert rule {family} {table} {chain} udp dport {} accept",
            packet.udp_port
        );
        let about = packet.iif.as_ref().or(packet.oif.as_ref());
        let about = about.map_or("UDP", String::as_str);
        found.push(finding.about(about).mend(mend));
        seen.push(place);
    }
    found
}

/// The packets of this host: from VTEPs and to them, at each uplink, of each family that it sends from.
fn packets(facts: &Facts) -> Vec<Packet> {
    let mut uplinks: Vec<_> = facts.uplinks().map(str::to_owned).collect();
    if uplinks.is_empty() {
        // Which it is, nobody says; any but the loopback may be.
        uplinks.extend(facts.host.links.iter().map(|link| link.name.clone()));
        uplinks.retain(|name| name != "lo");
        uplinks.truncate(1);
    }
    let locals = facts.rows(|daemon| &daemon.status.locals);
    let mut packets = Vec::new();
    for dev in uplinks {
        for v6 in [false, true] {
            if !locals.is_empty() && !locals.iter().any(|ip| ip.is_ipv6() == v6) {
                continue;
            }
            for comes in [true, false] {
                packets.push(Packet {
                    iif: comes.then(|| dev.clone()),
                    oif: (!comes).then(|| dev.clone()),
                    v6,
                    udp_port: facts.udp_port,
                });
            }
        }
    }
    packets
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::facts::testkit::{at_host, healthy};

    fn with(rules: Value) -> Facts {
        at_host(|host| host.firewall.rules = rules)
    }

    fn chain(hook: &str, policy: &str) -> Value {
        json!({"nftables": [{"chain": {
            "family": "inet", "table": "filter", "name": hook, "hook": hook, "policy": policy,
        }}]})
    }

    #[test]
    fn a_chain_that_drops_the_port_fails_and_is_to_let_it_in() {
        assert_eq!(drop_vxlan(&healthy()), []);
        assert_eq!(drop_vxlan(&with(chain("input", "accept"))), []);
        for hook in ["input", "output"] {
            let found = drop_vxlan(&with(chain(hook, "drop")));
            let mend = format!("nft insert rule inet filter {hook} udp dport 4789 accept");
            assert_eq!(found[0].told(), ("FAIL", "eth0", mend.as_str()));
            assert_eq!(found.len(), 1);
        }
    }

    #[test]
    fn without_a_daemon_any_uplink_counts() {
        let mut facts = with(chain("input", "drop"));
        facts.daemon = None;
        assert_eq!(drop_vxlan(&facts).len(), 1);
    }

    #[test]
    fn rules_that_cannot_be_read_are_named() {
        let found = drop_vxlan(&at_host(|host| {
            host.firewall.unreadable.push("not permitted".into());
        }));
        assert_eq!(found[0].told().0, "WARN");
    }
}
