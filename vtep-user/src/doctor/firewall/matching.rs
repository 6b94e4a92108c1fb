//! Whether what a rule asks for holds of a packet.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::packet::{Packet, text};

/// `IPPROTO_UDP`.
const UDP: u64 = 17;

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    /// It depends on what is not known.
    Unknown,
}

impl From<bool> for Answer {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// What is known of one thing that rules ask for.
enum Known<'a> {
    Number(u64),
    Word(&'a str),
    /// A number that also has a name.
    Both(u64, &'static str),
    Address(IpAddr),
    /// Nothing that this packet has.
    Absent,
    Unknown,
}

/// Finds the elements of a named set.
pub(super) type Sets<'a> = dyn Fn(&str) -> Option<&'a Value> + 'a;

/// Whether a `match` holds.
pub(super) fn holds<'a>(part: &'a Value, packet: &Packet, sets: &Sets<'a>) -> Answer {
    let (Some(left), Some(right)) = (part.get("left"), part.get("right")) else {
        return Answer::Unknown;
    };
    let known = known(left, packet);
    match text(part, "op") {
        "==" | "in" | "" => is(&known, right, sets),
        "!=" => match is(&known, right, sets) {
            // Of a packet without it, nothing holds.
            _ if matches!(known, Known::Absent) => Answer::No,
            Answer::Yes => Answer::No,
            Answer::No => Answer::Yes,
            Answer::Unknown => Answer::Unknown,
        },
        _ => Answer::Unknown,
    }
}

/// The verdict that a `vmap` has for a packet.
pub(super) fn chosen<'a>(
    part: &'a Value,
    packet: &Packet,
    sets: &Sets<'a>,
) -> (Answer, Option<&'a Value>) {
    let Some((key, data)) = part.get("key").zip(part.get("data")) else {
        return (Answer::Unknown, None);
    };
    let known = known(key, packet);
    let mut answer = Answer::No;
    for pair in elements(data, sets) {
        let Some([left, verdict]) = pair.as_array().map(Vec::as_slice) else {
            return (Answer::Unknown, None);
        };
        match is(&known, left, sets) {
            Answer::Yes => return (Answer::Yes, Some(verdict)),
            Answer::No => {}
            Answer::Unknown => answer = Answer::Unknown,
        }
    }
    (answer, None)
}

/// All verdicts that a `vmap` has.
pub(super) fn verdicts<'a>(part: &'a Value, sets: &Sets<'a>) -> impl Iterator<Item = &'a Value> {
    let pairs = part
        .get("data")
        .map_or(&[][..], |data| elements(data, sets));
    pairs.iter().filter_map(|pair| pair.get(1))
}

/// What is known of what stands on the left of a match.
fn known<'a>(left: &Value, packet: &'a Packet) -> Known<'a> {
    let family = if packet.is_v6() {
        (10, "ipv6")
    } else {
        (2, "ipv4")
    };
    if let Some(meta) = left.get("meta") {
        return match text(meta, "key") {
            "iif" | "iifname" => named(packet.iif.as_deref()),
            "oif" | "oifname" => named(packet.oif.as_deref()),
            "l4proto" => Known::Both(UDP, "udp"),
            "nfproto" => Known::Both(family.0, family.1),
            "protocol" => Known::Word(if packet.is_v6() { "ip6" } else { "ip" }),
            _ => Known::Unknown,
        };
    }
    if let Some(payload) = left.get("payload") {
        return match (text(payload, "protocol"), text(payload, "field")) {
            ("udp" | "th", "dport") => Known::Number(packet.udp_port.into()),
            ("ip", "protocol") if !packet.is_v6() => Known::Both(UDP, "udp"),
            ("ip6", "nexthdr") if packet.is_v6() => Known::Both(UDP, "udp"),
            ("ip", _) if packet.is_v6() => Known::Absent,
            ("ip6", _) if !packet.is_v6() => Known::Absent,
            ("ip" | "ip6", "saddr") => known_address(packet.addresses()[0]),
            ("ip" | "ip6", "daddr") => known_address(packet.addresses()[1]),
            ("udp" | "th" | "ip" | "ip6" | "ether", _) => Known::Unknown,
            _ => Known::Absent,
        };
    }
    match left.get("ct") {
        // Each flow of a guest has a source port of its own, and its answers come from another: none is established.
        Some(ct) if text(ct, "key") == "state" => Known::Word("new"),
        _ => Known::Unknown,
    }
}

fn known_address(ip: IpAddr) -> Known<'static> {
    if ip.is_unspecified() {
        Known::Unknown
    } else {
        Known::Address(ip)
    }
}

fn named(dev: Option<&str>) -> Known<'_> {
    dev.map_or(Known::Absent, Known::Word)
}

/// Whether what is known is what stands on the right.
fn is<'a>(known: &Known<'_>, right: &'a Value, sets: &Sets<'a>) -> Answer {
    match right {
        Value::Number(number) => match known {
            Known::Number(own) | Known::Both(own, _) => (number.as_u64() == Some(*own)).into(),
            Known::Word(_) | Known::Absent | Known::Address(_) => Answer::No,
            Known::Unknown => Answer::Unknown,
        },
        Value::String(name) if name.starts_with('@') => any(known, right, sets),
        Value::String(word) => match known {
            Known::Word(own) | Known::Both(_, own) => is_named(own, word).into(),
            // A name that stands for an address, nobody says which.
            Known::Address(own) => {
                address(right).map_or(Answer::Unknown, |other| (*own == other).into())
            }
            Known::Absent => Answer::No,
            Known::Number(_) | Known::Unknown => Answer::Unknown,
        },
        Value::Array(_) => any(known, right, sets),
        Value::Object(object) if object.contains_key("set") => any(known, right, sets),
        Value::Object(object) => {
            let ends = object.get("range").and_then(Value::as_array);
            let ends = ends.and_then(|ends| Some((ends.first()?, ends.get(1)?)));
            let inside = match (known, ends, object.get("prefix")) {
                (Known::Absent, ..) => Some(false),
                (Known::Number(own) | Known::Both(own, _), Some((first, last)), _) => {
                    let ends = first.as_u64().zip(last.as_u64());
                    ends.map(|(first, last)| (first..=last).contains(own))
                }
                (Known::Address(own), Some((first, last)), _) => {
                    let ends = address(first).zip(address(last));
                    ends.map(|(first, last)| (first..=last).contains(own))
                }
                (Known::Address(own), None, Some(prefix)) => {
                    network(prefix).map(|network| network.contains(own))
                }
                // An element with a comment, or a time.
                _ => match object.get("elem").and_then(|elem| elem.get("val")) {
                    Some(value) => return is(known, value, sets),
                    None => None,
                },
            };
            inside.map_or(Answer::Unknown, Answer::from)
        }
        Value::Null | Value::Bool(_) => Answer::Unknown,
    }
}

fn address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

/// A `prefix`.
fn network(prefix: &Value) -> Option<IpNet> {
    let len = prefix.get("len")?.as_u64()?;
    IpNet::new(address(prefix.get("addr")?)?, u8::try_from(len).ok()?).ok()
}

/// Whether a name is the one that a rule has, which may end with an asterisk.
fn is_named(own: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => own.starts_with(beginning),
        None => own == pattern,
    }
}

fn any<'a>(known: &Known<'_>, right: &'a Value, sets: &Sets<'a>) -> Answer {
    if matches!(known, Known::Absent) {
        return Answer::No;
    }
    let mut answer = Answer::No;
    for element in elements(right, sets) {
        match is(known, element, sets) {
            Answer::Yes => return Answer::Yes,
            Answer::No => {}
            Answer::Unknown => answer = Answer::Unknown,
        }
    }
    answer
}

/// The elements of a set: a named one, or one that stands there. A named one that is empty has none.
fn elements<'a>(set: &'a Value, sets: &Sets<'a>) -> &'a [Value] {
    let list = match set {
        Value::String(name) => sets(name.trim_start_matches('@')),
        Value::Object(object) => object.get("set"),
        other => Some(other),
    };
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
