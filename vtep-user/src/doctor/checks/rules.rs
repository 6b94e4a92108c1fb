//! The host's firewall.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::doctor::facts::{Facts, Firewall};
use crate::doctor::finding::Finding;
use crate::doctor::firewall::{Fate, Packet, Place, Ruleset, fate};

/// What passes by the rules, and what meets them.
const PASSED_BY: &str = "Packets that XDP or TC finishes pass by the rule; those that the kernel finishes (docs/datapath/slow-path.md) do not";

/// VTEPs whose packets rules are gone through for.
const VTEPS: usize = 64;

/// Rules that drop VXLAN packets.
pub(in crate::doctor) fn drop_vxlan(facts: &Facts) -> Vec<Finding> {
    let Firewall { rules, unreadable } = &facts.host.firewall;
    let unread = unreadable.iter().map(|why| {
        Finding::warn(
            format!("the host's rules cannot be read: {why}"),
            "nft list ruleset; iptables -S; ip6tables -S",
        )
    });
    let mut found: Vec<_> = unread.collect();
    let mut seen = Vec::new();
    let ruleset = Ruleset::of(rules);
    for packet in packets(facts) {
        let (place, finding) = match fate(&ruleset, &packet) {
            Fate::Passes => continue,
            Fate::Dropped(place) => {
                let text = format!("{} drops {}. {PASSED_BY}", name(&place), what(&packet));
                let finding = Finding::fail(text, let_in(&place, &packet));
                (place, finding)
            }
            Fate::Perhaps(place) => {
                let text = format!(
                    "{} drops {}, if what its rules ask for is so, which is not known here. {PASSED_BY}",
                    name(&place),
                    what(&packet)
                );
                let finding = Finding::warn(text, let_in(&place, &packet));
                (place, finding)
            }
            Fate::Unread(place) => {
                let text = format!(
                    "{} has matches or targets of iptables that cannot be read, and what becomes of {} hangs on them",
                    name(&place),
                    what(&packet)
                );
                let finding = Finding::warn(text, list(&place));
                (place, finding)
            }
        };
        if seen.contains(&place) {
            continue;
        }
        let about = packet.iif.as_ref().or(packet.oif.as_ref());
        let about = about.map_or("UDP", String::as_str);
        found.push(finding.about(about));
        seen.push(place);
    }
    found
}

fn name(place: &Place) -> String {
    let Place {
        family,
        table,
        chain,
    } = place;
    format!("chain {chain} of table {family} {table}")
}

fn what(packet: &Packet) -> String {
    let way = if packet.iif.is_some() { "from" } else { "to" };
    let port = packet.udp_port;
    if packet.far.is_unspecified() {
        format!("UDP port {port} {way} VTEPs")
    } else {
        format!("UDP port {port} {way} VTEP {}", packet.far)
    }
}

/// The command that lets the packets in.
fn let_in(place: &Place, packet: &Packet) -> String {
    let Place {
        family,
        table,
        chain,
    } = place;
    let port = packet.udp_port;
    format!("nft insert rule {family} {table} {chain} udp dport {port} accept")
}

/// The command that shows a chain in the words of iptables.
fn list(place: &Place) -> String {
    let Place {
        family,
        table,
        chain,
    } = place;
    match family.as_str() {
        "ip" => format!("iptables -t {table} -S {chain}"),
        "ip6" => format!("ip6tables -t {table} -S {chain}"),
        _ => format!("nft list chain {family} {table} {chain}"),
    }
}

/// The packets of this host: from VTEPs and to them, at each uplink, of each family that it sends from. Of VTEPs that nobody knows yet, the address is
/// not known.
fn packets(facts: &Facts) -> Vec<Packet> {
    let mut uplinks: Vec<_> = facts.uplinks().map(str::to_owned).collect();
    if uplinks.is_empty() {
        // Which it is, nobody says; any but the loopback may be.
        uplinks.extend(facts.host.links.iter().map(|link| link.name.clone()));
        uplinks.retain(|name| name != "lo");
        uplinks.truncate(1);
    }
    let mut packets = Vec::new();
    for dev in uplinks {
        for (own, far) in ends(facts) {
            for comes in [true, false] {
                packets.push(Packet {
                    iif: comes.then(|| dev.clone()),
                    oif: (!comes).then(|| dev.clone()),
                    far,
                    own,
                    udp_port: facts.udp_port,
                });
            }
        }
    }
    packets
}

/// The address of this host, and that of a VTEP, for each of them; unspecified where they are not known.
fn ends(facts: &Facts) -> Vec<(IpAddr, IpAddr)> {
    let unknown = [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ];
    let locals = facts.rows(|daemon| &daemon.status.locals);
    let peers = facts.rows(|daemon| &daemon.peers);
    let mut ends = Vec::new();
    for none in unknown {
        let mut own = locals.iter().filter(|ip| ip.is_ipv6() == none.is_ipv6());
        let own = own.next().copied();
        if own.is_none() && !locals.is_empty() {
            continue;
        }
        let own = own.unwrap_or(none);
        let far = peers.iter().map(|peer| peer.ip);
        let far = far.filter(|ip| ip.is_ipv6() == none.is_ipv6() && !ip.is_multicast());
        let before = ends.len();
        ends.extend(far.take(VTEPS).map(|far| (own, far)));
        if ends.len() == before {
            ends.push((own, none));
        }
    }
    ends
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
        let mend = "nft list ruleset; iptables -S; ip6tables -S";
        assert_eq!(found[0].told(), ("WARN", "-", mend));
    }

    #[test]
    fn what_hangs_on_iptables_own_matches_is_to_be_looked_at_in_its_words() {
        let rule = json!({"nftables": [
            {"chain": {"family": "ip", "table": "filter", "name": "input", "hook": "input", "policy": "accept"}},
            {"rule": {"family": "ip", "table": "filter", "chain": "input", "expr": [{"xt": null}, {"drop": null}]}},
        ]});
        let found = drop_vxlan(&with(rule));
        assert_eq!(
            found[0].told(),
            ("WARN", "eth0", "iptables -t filter -S input")
        );
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_host_that_lets_in_its_vteps_alone_is_well() {
        let rules = |from: &str| {
            let expr = json!([
                {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": from}},
                {"accept": null},
            ]);
            json!({"nftables": [
                {"chain": {"family": "inet", "table": "t", "name": "input", "hook": "input", "policy": "drop"}},
                {"rule": {"family": "inet", "table": "t", "chain": "input", "expr": expr}},
            ]})
        };
        assert_eq!(drop_vxlan(&with(rules("192.0.2.2"))), []);
        let mend = "nft insert rule inet t input udp dport 4789 accept";
        assert_eq!(
            drop_vxlan(&with(rules("192.0.2.3")))[0].told(),
            ("FAIL", "eth0", mend)
        );
    }
}
