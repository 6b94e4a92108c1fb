//! The packet that rules are gone through for, and how rules are read.

use serde_json::Value;

/// A packet, as far as it is known.
#[derive(Clone, Debug)]
pub(in crate::doctor) struct Packet {
    /// The interface that it comes by.
    pub(in crate::doctor) iif: Option<String>,
    /// The interface that it leaves by.
    pub(in crate::doctor) oif: Option<String>,
    /// Whether it is of IPv6.
    pub(in crate::doctor) v6: bool,
    /// The UDP port that it is for.
    pub(in crate::doctor) udp_port: u16,
}

/// A word of a row; nothing where it has none.
pub(super) fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}
