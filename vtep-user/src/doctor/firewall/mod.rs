//! What the rules of netfilter make of a VXLAN packet, as far as `nft -j list ruleset` tells.
//!
//! Rules are gone through as the kernel does, for a packet of which only some things are known. What a rule asks of the others is not: then both
//! are followed, that it holds and that it does not. Matches and targets of iptables, `nft` has no words for: what hangs on them cannot be read.

mod matching;
mod packet;

use std::collections::HashMap;

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
    /// It is dropped in this chain, if what is not known of it is so.
    Perhaps(Place),
    /// Whether it is dropped in this chain, cannot be read.
    Unread(Place),
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) family: String,
    pub(super) table: String,
    pub(super) chain: String,
}

impl Place {
    /// The chain that a row of a ruleset names by this key, in the row's table.
    fn of(row: &Value, chain: &str) -> Self {
        Self {
            family: text(row, "family").to_owned(),
            table: text(row, "table").to_owned(),
            chain: text(row, chain).to_owned(),
        }
    }
}

/// The ends that a walk can come to.
#[expect(
    clippy::struct_excessive_bools,
    reason = "a set: a walk may come to any of these ends"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ends {
    accepted: bool,
    dropped: bool,
    /// One of these hangs on what cannot be read.
    illegible: bool,
    /// The end of the rule, or of the chain: what stands behind counts.
    on: bool,
    /// The end of the chain, also where rules stand behind.
    returned: bool,
}

impl Ends {
    const ON: Self = Self {
        on: true,
        ..Self::NONE
    };
    const NONE: Self = Self {
        accepted: false,
        dropped: false,
        illegible: false,
        on: false,
        returned: false,
    };

    fn and(self, other: Self) -> Self {
        Self {
            accepted: self.accepted || other.accepted,
            dropped: self.dropped || other.dropped,
            illegible: self.illegible || other.illegible,
            on: self.on || other.on,
            returned: self.returned || other.returned,
        }
    }

    /// The same where it cannot be read whether it comes to that: then it may go on as well.
    fn illegible(self) -> Self {
        Self {
            illegible: self.illegible || self.accepted || self.dropped || self.returned,
            on: true,
            ..self
        }
    }
}

/// The hooks that a packet passes that comes, and one that leaves.
const IN: [&str; 3] = ["ingress", "prerouting", "input"];
const OUT: [&str; 3] = ["output", "postrouting", "egress"];

/// How deep chains may call each other (`NFT_JUMP_STACK_SIZE`).
const DEPTH: usize = 16;

/// Targets of iptables that keep a packet from where it goes; all others let the next rule see it, or change what is not looked at here.
const TARGETS: [&str; 4] = ["DROP", "REJECT", "TARPIT", "STEAL"];

/// What a ruleset makes of a packet: the first chain that drops it, or else the first that may, or else the first of which that cannot be read.
pub(super) fn fate(rules: &Ruleset<'_>, packet: &Packet) -> Fate {
    let hooks = if packet.iif.is_some() { IN } else { OUT };
    let mut fate = Fate::Passes;
    for chain in &rules.base_chains {
        let place = Place::of(chain, "name");
        let family = matches!(
            (place.family.as_str(), packet.is_v6()),
            ("inet" | "netdev", _) | ("ip", false) | ("ip6", true)
        );
        // Chains for address translation see the first packet of a flow, and drop none by design.
        if !family || !hooks.contains(&text(chain, "hook")) || text(chain, "type") == "nat" {
            continue;
        }
        let device = chain.get("dev").and_then(Value::as_str);
        let of_uplink = packet.iif.as_deref().or(packet.oif.as_deref());
        let is_netdev = place.family == "netdev";
        if is_netdev && device.is_some() && device != of_uplink {
            continue;
        }
        let mut ends = rules.walk(&place, packet, 0);
        if ends.on || ends.returned {
            let drops = text(chain, "policy") == "drop";
            ends.dropped |= drops;
            ends.accepted |= !drops;
        }
        // Some versions do not say whose chain it is.
        ends.accepted |= is_netdev && device.is_none();
        fate = match (ends.dropped, ends.accepted, fate) {
            (true, false, _) => return Fate::Dropped(place),
            (true, true, Fate::Passes | Fate::Unread(_)) if !ends.illegible => Fate::Perhaps(place),
            (true, true, Fate::Passes) => Fate::Unread(place),
            (_, _, fate) => fate,
        };
    }
    fate
}

/// The parts of a ruleset.
pub(super) struct Ruleset<'a> {
    /// The chains at hooks.
    base_chains: Vec<&'a Value>,
    /// The rules of each chain.
    rules: HashMap<Place, Vec<&'a [Value]>>,
    /// The elements of named sets and maps, by table and name.
    sets: HashMap<Place, &'a Value>,
}

impl<'a> Ruleset<'a> {
    pub(super) fn of(ruleset: &'a Value) -> Self {
        let rows = ruleset.get("nftables").and_then(Value::as_array);
        let rows = rows.map_or(&[][..], Vec::as_slice);
        let all = |kind: &'static str| rows.iter().filter_map(move |row| row.get(kind));
        let mut rules: HashMap<_, Vec<_>> = HashMap::new();
        for rule in all("rule") {
            let parts = rule.get("expr").and_then(Value::as_array);
            let of_chain = rules.entry(Place::of(rule, "chain")).or_default();
            of_chain.push(parts.map_or(&[][..], Vec::as_slice));
        }
        let sets = all("set").chain(all("map"));
        let sets = sets.filter_map(|set| Some((Place::of(set, "name"), set.get("elem")?)));
        Self {
            base_chains: all("chain")
                .filter(|chain| chain.get("hook").is_some())
                .collect(),
            rules,
            sets: sets.collect(),
        }
    }

    /// The elements of a named set of the table that a chain is in.
    fn set(&self, place: &Place, name: &str) -> Option<&'a Value> {
        let set = Place {
            chain: name.to_owned(),
            ..place.clone()
        };
        self.sets.get(&set).copied()
    }

    /// Goes through a chain.
    fn walk(&self, place: &Place, packet: &Packet, depth: usize) -> Ends {
        if depth > DEPTH {
            return Ends::ON;
        }
        let mut ends = Ends::NONE;
        for parts in self.rules.get(place).into_iter().flatten() {
            let of_rule = self.rule(parts, place, packet, depth);
            ends = ends.and(Ends {
                on: false,
                ..of_rule
            });
            if !of_rule.on {
                return ends;
            }
        }
        ends.and(Ends::ON)
    }

    /// The ends of one rule; `on` is the next rule.
    fn rule(&self, parts: &[Value], place: &Place, packet: &Packet, depth: usize) -> Ends {
        // Whether all that the rule asks for is known to hold, and can be read.
        let (mut sure, mut legible) = (true, true);
        let mut ends = Ends::NONE;
        let set = |name: &str| self.set(place, name);
        for (at, part) in parts.iter().enumerate() {
            let Some((word, value)) = part.as_object().and_then(|part| part.iter().next()) else {
                continue;
            };
            let mut of_part = match word.as_str() {
                "match" => match holds(value, packet, &set) {
                    Answer::Yes => continue,
                    Answer::No => return ends.and(Ends::ON),
                    Answer::Unknown => {
                        sure = false;
                        continue;
                    }
                },
                // These hold at times.
                "limit" | "quota" | "connlimit" | "ct count" => {
                    sure = false;
                    continue;
                }
                "xt" => {
                    let Some(ends) = target(value, at + 1 == parts.len()) else {
                        legible = false;
                        continue;
                    };
                    ends
                }
                "vmap" => match matching::chosen(value, packet, &set) {
                    (Answer::Yes, Some(verdict)) => self.verdict(verdict, place, packet, depth),
                    (Answer::No | Answer::Yes, _) => return ends.and(Ends::ON),
                    (Answer::Unknown, _) => {
                        let verdicts = matching::verdicts(value, &set);
                        verdicts.fold(Ends::ON, |ends, verdict| {
                            ends.and(self.verdict(verdict, place, packet, depth))
                        })
                    }
                },
                _ => self.verdict(part, place, packet, depth),
            };
            if !legible {
                of_part = of_part.illegible();
            }
            of_part.on |= !sure;
            ends = ends.and(Ends {
                on: false,
                ..of_part
            });
            if !of_part.on {
                return ends;
            }
        }
        ends.and(Ends::ON)
    }

    fn verdict(&self, verdict: &Value, place: &Place, packet: &Packet, depth: usize) -> Ends {
        let Some((word, value)) = verdict
            .as_object()
            .and_then(|verdict| verdict.iter().next())
        else {
            return Ends::ON;
        };
        match word.as_str() {
            "accept" | "queue" => Ends {
                accepted: true,
                ..Ends::NONE
            },
            "drop" | "reject" => Ends {
                dropped: true,
                ..Ends::NONE
            },
            "return" => Ends {
                returned: true,
                ..Ends::NONE
            },
            "jump" | "goto" => {
                let there = Place {
                    chain: text(value, "target").to_owned(),
                    ..place.clone()
                };
                let ends = self.walk(&there, packet, depth + 1);
                let back = ends.on || ends.returned;
                let is_jump = word == "jump";
                Ends {
                    on: back && is_jump,
                    returned: back && !is_jump,
                    ..ends
                }
            }
            // Counters, logs and marks decide nothing.
            _ => Ends::ON,
        }
    }
}

/// What a target of iptables leads to; `None` if it is a match, which cannot be read. Old versions of `nft` do not say which of them it is: what
/// stands last is a target.
fn target(value: &Value, is_last: bool) -> Option<Ends> {
    match (text(value, "type"), text(value, "name")) {
        ("match", _) => None,
        ("target", name) if TARGETS.contains(&name) => Some(Ends {
            dropped: true,
            ..Ends::NONE
        }),
        ("target", _) => Some(Ends::ON),
        _ if is_last => Some(Ends {
            dropped: true,
            illegible: true,
            ..Ends::ON
        }),
        _ => None,
    }
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
        fate(&Ruleset::of(&json!({ "nftables": rows })), &packet())
    }

    fn packet() -> Packet {
        Packet {
            iif: Some("eth0".into()),
            oif: None,
            far: "192.0.2.2".parse().unwrap(),
            own: "192.0.2.1".parse().unwrap(),
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
        let mark = matches("==", &json!({"meta": {"key": "mark"}}), 7);
        let drop = json!({"drop": null});
        let accept = json!({"accept": null});
        for (policy, rules) in [
            ("accept", vec![json!([mark, drop])]),
            ("drop", vec![json!([mark, accept])]),
            ("accept", vec![json!([{"limit": {"rate": 5}}, drop])]),
        ] {
            assert_eq!(fate_of(policy, &rules), Fate::Perhaps(here()), "{rules:?}");
        }
        // Whatever it is, the packet passes, or is dropped.
        for (policy, rules, fate) in [
            ("accept", vec![json!([mark, accept])], Fate::Passes),
            (
                "drop",
                vec![json!([mark, accept]), json!([port(4789), accept])],
                Fate::Passes,
            ),
            ("drop", vec![json!([mark, drop])], Fate::Dropped(here())),
            (
                "accept",
                vec![json!([mark, drop]), json!([drop])],
                Fate::Dropped(here()),
            ),
            (
                "accept",
                vec![json!([mark, {"return": null}]), json!([drop])],
                Fate::Perhaps(here()),
            ),
        ] {
            assert_eq!(fate_of(policy, &rules), fate, "{rules:?}");
        }
    }

    #[test]
    fn addresses_of_vteps_are_known() {
        let from = |right: Value| {
            matches(
                "==",
                &json!({"payload": {"protocol": "ip", "field": "saddr"}}),
                right,
            )
        };
        let accept = json!({"accept": null});
        let net = |addr: &str, len: u8| json!({"prefix": {"addr": addr, "len": len}});
        for right in [
            json!("192.0.2.2"),
            net("192.0.2.0", 24),
            json!({"set": ["198.18.0.1", net("192.0.2.0", 30)]}),
            json!({"range": ["192.0.2.1", "192.0.2.9"]}),
        ] {
            let rule = json!([from(right.clone()), accept]);
            assert_eq!(fate_of("drop", &[rule]), Fate::Passes, "{right}");
        }
        for right in [
            json!("192.0.2.3"),
            net("198.18.0.0", 15),
            json!({"range": ["192.0.2.3", "192.0.2.9"]}),
        ] {
            let rule = json!([from(right.clone()), accept]);
            assert_eq!(fate_of("drop", &[rule]), Fate::Dropped(here()), "{right}");
        }
        let to = matches(
            "==",
            &json!({"payload": {"protocol": "ip", "field": "daddr"}}),
            "192.0.2.1",
        );
        assert_eq!(fate_of("drop", &[json!([to, accept])]), Fate::Passes);
    }

    #[test]
    fn what_has_no_words_cannot_be_read_and_where_it_does_not_matter_nothing_is_said() {
        let [drop, accept] = ["drop", "accept"].map(|word| json!({word: null}));
        let old = json!({"xt": null});
        let is = |kind: &str, name: &str| json!({"xt": {"type": kind, "name": name}});
        let unread = Fate::Unread(here());
        for (policy, rule, fate) in [
            ("accept", json!([old, accept]), Fate::Passes),
            ("accept", json!([old, drop]), unread.clone()),
            ("drop", json!([old, accept]), unread.clone()),
            (
                "accept",
                json!([old, {"jump": {"target": "other"}}]),
                unread.clone(),
            ),
            (
                "accept",
                json!([is("match", "addrtype"), drop]),
                unread.clone(),
            ),
            // A target that is not named, and some that are.
            ("accept", json!([{"counter": null}, old]), unread.clone()),
            ("accept", json!([is("target", "LOG")]), Fate::Passes),
            (
                "accept",
                json!([is("target", "TARPIT")]),
                Fate::Dropped(here()),
            ),
            // A match without a target decides nothing.
            ("accept", json!([old, {"counter": null}]), Fate::Passes),
            // What does not hold anyway need not be read.
            ("accept", json!([port(53), old, drop]), Fate::Passes),
        ] {
            assert_eq!(
                fate_of(policy, std::slice::from_ref(&rule)),
                fate,
                "{policy} {rule}"
            );
        }
    }

    #[test]
    fn a_map_of_verdicts_that_asks_for_what_is_not_known_may_lead_to_each() {
        let map = |verdict: &str| {
            let data = json!({"set": [[7, {verdict: null}], [8, {"accept": null}]]});
            json!([{"vmap": {"key": {"meta": {"key": "mark"}}, "data": data}}])
        };
        assert_eq!(fate_of("accept", &[map("drop")]), Fate::Perhaps(here()));
        assert_eq!(fate_of("accept", &[map("accept")]), Fate::Passes);
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
        let of_type = |kind: &str, family: &str, hook: &str, dev: Option<&str>| {
            let chain = json!({"chain": {
                "family": family, "table": "t", "name": "c", "hook": hook, "policy": "drop", "dev": dev, "type": kind,
            }});
            fate(&Ruleset::of(&json!({ "nftables": [chain] })), &packet())
        };
        let of = |family: &str, hook: &str, dev: Option<&str>| of_type("filter", family, hook, dev);
        assert_eq!(of_type("nat", "ip", "input", None), Fate::Passes);
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
