//! What the rules of netfilter make of a VXLAN packet, as far as `nft -j list ruleset` tells.
//!
//! Rules are gone through as the kernel does, for a packet of which only some things are known. What a rule asks of the others is not: then it
//! may hold or not.

mod matching;
mod packet;

use serde_json::Value;

use matching::{Answer, holds};
pub(super) use packet::Packet;
use packet::text;

/// What rules make of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It passes.
    Passes,
    /// It is dropped, in this chain.
    Dropped(Place),
    /// It may be dropped, in this chain.
    Perhaps(Place),
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) family: String,
    pub(super) table: String,
    pub(super) chain: String,
}

/// What a walk through a chain led to.
enum Walk {
    Accepted,
    Dropped,
    /// The end of the chain, or a `return`.
    Through,
}

/// The hooks that a packet passes that comes, and one that leaves.
const IN: [&str; 3] = ["ingress", "prerouting", "input"];
const OUT: [&str; 3] = ["output", "postrouting", "egress"];

/// How deep chains may call each other (`NFT_JUMP_STACK_SIZE`).
const DEPTH: usize = 16;

/// What a ruleset makes of a packet: the first chain that drops it, or else the first that may.
pub(super) fn fate(ruleset: &Value, packet: &Packet) -> Fate {
    let rules = Ruleset::of(ruleset);
    let hooks = if packet.iif.is_some() { IN } else { OUT };
    let mut fate = Fate::Passes;
    for chain in rules.base_chains() {
        let place = Place {
            family: text(chain, "family").to_owned(),
            table: text(chain, "table").to_owned(),
            chain: text(chain, "name").to_owned(),
        };
        let family = matches!(
            (place.family.as_str(), packet.v6),
            ("inet" | "netdev", _) | ("ip", false) | ("ip6", true)
        );
        if !family || !hooks.contains(&text(chain, "hook")) {
            continue;
        }
        let device = chain.get("dev").and_then(Value::as_str);
        let of_uplink = packet.iif.as_deref().or(packet.oif.as_deref());
        let is_netdev = place.family == "netdev";
        if is_netdev && device.is_some() && device != of_uplink {
            continue;
        }
        // Some versions do not say whose chain it is.
        let mut sure = !is_netdev || device.is_some();
        let dropped = match rules.walk(&place, packet, &mut sure, 0) {
            Walk::Dropped => true,
            Walk::Accepted => false,
            Walk::Through => text(chain, "policy") == "drop",
        };
        match (dropped, sure) {
            (true, true) => return Fate::Dropped(place),
            (_, false) if fate == Fate::Passes => fate = Fate::Perhaps(place),
            _ => {}
        }
    }
    fate
}

/// The parts of a ruleset.
struct Ruleset<'a> {
    rows: &'a [Value],
}

impl<'a> Ruleset<'a> {
    fn of(ruleset: &'a Value) -> Self {
        let rows = ruleset.get("nftables").and_then(Value::as_array);
        Self {
            rows: rows.map_or(&[], Vec::as_slice),
        }
    }

    fn all(&self, kind: &'static str) -> impl Iterator<Item = &'a Value> {
        self.rows.iter().filter_map(move |row| row.get(kind))
    }

    /// The chains at hooks.
    fn base_chains(&self) -> impl Iterator<Item = &'a Value> {
        self.all("chain")
            .filter(|chain| chain.get("hook").is_some())
    }

    /// The elements of a named set.
    fn set(&self, place: &Place, name: &str) -> Option<&'a Value> {
        let mut sets = self.all("set").chain(self.all("map"));
        let set = sets.find(|set| {
            text(set, "family") == place.family
                && text(set, "table") == place.table
                && text(set, "name") == name
        });
        set?.get("elem")
    }

    /// Goes through a chain; `sure` becomes false where something counts that is not known.
    fn walk(&self, place: &Place, packet: &Packet, sure: &mut bool, depth: usize) -> Walk {
        if depth > DEPTH {
            *sure = false;
            return Walk::Through;
        }
        let rules = self.all("rule").filter(|rule| {
            text(rule, "family") == place.family
                && text(rule, "table") == place.table
                && text(rule, "chain") == place.chain
        });
        for rule in rules {
            let parts = rule.get("expr").and_then(Value::as_array);
            match self.rule(parts.map_or(&[], Vec::as_slice), place, packet, sure, depth) {
                Step::On => {}
                Step::Return => return Walk::Through,
                Step::End(walk) => return walk,
            }
        }
        Walk::Through
    }

    fn rule(
        &self,
        parts: &[Value],
        place: &Place,
        packet: &Packet,
        sure: &mut bool,
        depth: usize,
    ) -> Step {
        // Whether all that the rule asks for is known to hold.
        let mut known = true;
        let set = |name: &str| self.set(place, name);
        for part in parts {
            let Some((word, value)) = part.as_object().and_then(|part| part.iter().next()) else {
                continue;
            };
            let verdict = match word.as_str() {
                "match" => match holds(value, packet, &set) {
                    Answer::Yes => continue,
                    Answer::No => return Step::On,
                    Answer::Unknown => {
                        known = false;
                        continue;
                    }
                },
                // These hold at times.
                "limit" | "quota" | "connlimit" | "ct count" => {
                    known = false;
                    continue;
                }
                // A match, or a verdict, of iptables that `nft` has no words for.
                "xt" => {
                    *sure = false;
                    return Step::On;
                }
                "vmap" => match matching::chosen(value, packet, &set) {
                    (Answer::Yes, Some(verdict)) => verdict,
                    (Answer::Unknown, _) => {
                        *sure = false;
                        continue;
                    }
                    _ => return Step::On,
                },
                _ => part,
            };
            match self.verdict(verdict, place, packet, sure, depth) {
                Step::On => {}
                // What may hold or not changes nothing that is known, but may.
                _ if !known => {
                    *sure = false;
                    return Step::On;
                }
                step => return step,
            }
        }
        Step::On
    }

    fn verdict(
        &self,
        verdict: &Value,
        place: &Place,
        packet: &Packet,
        sure: &mut bool,
        depth: usize,
    ) -> Step {
        let Some((word, value)) = verdict
            .as_object()
            .and_then(|verdict| verdict.iter().next())
        else {
            return Step::On;
        };
        match word.as_str() {
            "accept" | "queue" => Step::End(Walk::Accepted),
            "drop" | "reject" => Step::End(Walk::Dropped),
            "return" => Step::Return,
            "jump" | "goto" => {
                let there = Place {
                    chain: text(value, "target").to_owned(),
                    ..place.clone()
                };
                match self.walk(&there, packet, sure, depth + 1) {
                    Walk::Through if word == "jump" => Step::On,
                    Walk::Through => Step::Return,
                    ended => Step::End(ended),
                }
            }
            // Counters, logs and marks decide nothing.
            _ => Step::On,
        }
    }
}

/// What a rule leads to.
enum Step {
    /// The next rule.
    On,
    /// The end of the chain.
    Return,
    End(Walk),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The fate of a packet that comes by `eth0`, with these rules in a chain `input`.
    fn fate_of(policy: &str, rules: &[Value]) -> Fate {
        let mut rows = vec![
            json!({"set": {"family": "inet", "table": "t", "name": "tunnels", "elem": [4789, 8472]}}),
            json!({"chain": {"family": "inet", "table": "t", "name": "input", "hook": "input", "policy": policy}}),
            json!({"chain": {"family": "inet", "table": "t", "name": "other"}}),
            json!({"rule": {"family": "inet", "table": "t", "chain": "other", "expr": [port(4789), {"drop": null}]}}),
        ];
        rows.extend(rules.iter().map(
            |rule| json!({"rule": {"family": "inet", "table": "t", "chain": "input", "expr": rule}}),
        ));
        fate(&json!({ "nftables": rows }), &packet())
    }

    fn packet() -> Packet {
        Packet {
            iif: Some("eth0".into()),
            oif: None,
            v6: false,
            udp_port: 4789,
        }
    }

    fn port(right: impl Into<Value>) -> Value {
        matches(
            "==",
            &json!({"payload": {"protocol": "udp", "field": "dport"}}),
            right,
        )
    }

    fn matches(op: &str, left: &Value, right: impl Into<Value>) -> Value {
        json!({"match": {"op": op, "left": left, "right": right.into()}})
    }

    fn here() -> Place {
        Place {
            family: "inet".into(),
            table: "t".into(),
            chain: "input".into(),
        }
    }

    #[test]
    fn the_policy_counts_where_no_rule_does() {
        assert_eq!(fate_of("accept", &[]), Fate::Passes);
        assert_eq!(fate_of("drop", &[]), Fate::Dropped(here()));
        let accepted = json!([port(4789), {"accept": null}]);
        assert_eq!(fate_of("drop", &[accepted]), Fate::Passes);
    }

    #[test]
    fn rules_on_the_port_hold_in_all_their_forms() {
        for right in [
            json!(4789),
            json!({"set": [53, 4789]}),
            json!({"set": [{"range": [4780, 4790]}]}),
            json!({"range": [4789, 4789]}),
            json!("@tunnels"),
        ] {
            let rule = json!([port(right.clone()), {"counter": {}}, {"drop": null}]);
            assert_eq!(fate_of("accept", &[rule]), Fate::Dropped(here()), "{right}");
        }
        for right in [json!(53), json!({"set": [53]}), json!({"range": [1, 9]})] {
            let rule = json!([port(right.clone()), {"drop": null}]);
            assert_eq!(fate_of("accept", &[rule]), Fate::Passes, "{right}");
        }
    }

    #[test]
    fn what_else_is_known_of_the_packet_counts() {
        let drop = json!({"drop": null});
        let meta = |key: &str| json!({"meta": {"key": key}});
        let dropped = [
            matches("==", &meta("iifname"), "eth0"),
            matches("==", &meta("iifname"), "eth*"),
            matches("!=", &meta("iif"), "lo"),
            matches("==", &meta("l4proto"), "udp"),
            matches("==", &meta("l4proto"), 17),
            matches("==", &meta("nfproto"), "ipv4"),
            matches("in", &json!({"ct": {"key": "state"}}), "new"),
            matches(
                "==",
                &json!({"payload": {"protocol": "ip", "field": "protocol"}}),
                "udp",
            ),
            matches(
                "==",
                &json!({"payload": {"protocol": "th", "field": "dport"}}),
                4789,
            ),
        ];
        for part in dropped {
            let fate = fate_of("accept", &[json!([part, drop])]);
            assert_eq!(fate, Fate::Dropped(here()), "{part}");
        }
        let passed = [
            matches("==", &meta("iifname"), "lo"),
            matches("==", &meta("l4proto"), "tcp"),
            matches(
                "in",
                &json!({"ct": {"key": "state"}}),
                json!(["established", "related"]),
            ),
            matches(
                "==",
                &json!({"payload": {"protocol": "tcp", "field": "dport"}}),
                4789,
            ),
        ];
        for part in passed {
            assert_eq!(
                fate_of("accept", &[json!([part, drop])]),
                Fate::Passes,
                "{part}"
            );
        }
    }

    #[test]
    fn what_is_not_known_may_hold() {
        let from = matches(
            "==",
            &json!({"payload": {"protocol": "ip", "field": "saddr"}}),
            "198.18.0.9",
        );
        let drop = json!({"drop": null});
        let accept = json!({"accept": null});
        for (policy, rules) in [
            ("accept", vec![json!([from, drop])]),
            ("drop", vec![json!([from, accept])]),
            ("accept", vec![json!([{"limit": {"rate": 5}}, drop])]),
            ("accept", vec![json!([{"xt": null}, drop])]),
        ] {
            assert_eq!(fate_of(policy, &rules), Fate::Perhaps(here()), "{rules:?}");
        }
        // Whatever it is, the packet is dropped here, or there.
        let both = [json!([from, drop]), json!([port(4789), accept])];
        assert_eq!(fate_of("drop", &both), Fate::Perhaps(here()));
    }

    #[test]
    fn chains_that_are_called_count() {
        let to = |word: &str| json!([{word: {"target": "other"}}]);
        for word in ["jump", "goto"] {
            assert_eq!(fate_of("accept", &[to(word)]), Fate::Dropped(here()));
        }
        let map = |port: u16| {
            let data =
                json!({"set": [[port, {"jump": {"target": "other"}}], [53, {"accept": null}]]});
            json!([{"vmap": {"key": {"payload": {"protocol": "udp", "field": "dport"}}, "data": data}}])
        };
        assert_eq!(fate_of("accept", &[map(4789)]), Fate::Dropped(here()));
        assert_eq!(fate_of("accept", &[map(4790)]), Fate::Passes);
        let back = [
            json!([{"return": null}]),
            json!([port(4789), {"drop": null}]),
        ];
        assert_eq!(fate_of("accept", &back), Fate::Passes);
    }

    #[test]
    fn hooks_and_families_of_other_packets_do_not_count() {
        let of = |family: &str, hook: &str, dev: Option<&str>| {
            let chain = json!({"chain": {
                "family": family, "table": "t", "name": "c", "hook": hook, "policy": "drop", "dev": dev,
            }});
            fate(&json!({ "nftables": [chain] }), &packet())
        };
        for (family, hook) in [
            ("ip6", "input"),
            ("ip", "output"),
            ("ip", "forward"),
            ("bridge", "input"),
        ] {
            assert_eq!(of(family, hook, None), Fate::Passes, "{family} {hook}");
        }
        for (family, hook, dev) in [
            ("ip", "prerouting", None),
            ("inet", "input", None),
            ("netdev", "ingress", Some("eth0")),
        ] {
            assert!(
                matches!(of(family, hook, dev), Fate::Dropped(_)),
                "{family} {hook}"
            );
        }
        assert_eq!(of("netdev", "ingress", Some("eth1")), Fate::Passes);
        assert!(matches!(of("netdev", "ingress", None), Fate::Perhaps(_)));
    }
}
