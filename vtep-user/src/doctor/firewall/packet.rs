//! The packet that rules are gone through for, and how rules are read.

use std::net::IpAddr;

use serde_json::Value;

/// A packet, as far as it is known.
#[derive(Clone, Debug)]
pub(in crate::doctor) struct Packet {
    /// The interface that it comes by.
    pub(in crate::doctor) iif: Option<String>,
    /// The interface that it leaves by.
    pub(in crate::doctor) oif: Option<String>,
    /// The address of the VTEP that it comes from, or goes to.
    pub(in crate::doctor) far: IpAddr,
    /// The address of this host.
    pub(in crate::doctor) own: IpAddr,
    /// The UDP port that it is for.
    pub(in crate::doctor) udp_port: u16,
}

impl Packet {
    /// Whether it is of IPv6.
    pub(super) fn is_v6(&self) -> bool {
        self.far.is_ipv6()
    }

    /// Where it comes from, and where it goes.
    pub(super) fn addresses(&self) -> [IpAddr; 2] {
        if self.iif.is_some() {
            [self.far, self.own]
        } else {
            [self.own, self.far]
        }
    }
}

/// A word of a row; nothing where it has none.
pub(super) fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}
