//! The columns of each table.

use std::fmt::Display;

use super::output::printable;
use crate::model::{DropsRow, NeighRow, NexthopRow, PeerRow, PortRow, StatsRow, VniRow};

/// A row that can stand in a table.
pub(super) trait Row {
    const HEADING: &'static [&'static str];

    fn cells(&self) -> Vec<String>;
}

impl Row for VniRow {
    const HEADING: &'static [&'static str] = &[
        "vni",
        "mode",
        "flood",
        "group",
        "learning",
        "suppress",
        "ageing_s",
        "max_macs",
        "inner_vlan",
        "ports",
        "remotes",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.vni.to_string(),
            self.mode.to_string(),
            self.flood.to_string(),
            optional(self.group.as_ref()),
            on_off(self.learning),
            on_off(self.suppress),
            self.ageing_s.to_string(),
            optional(self.max_macs.as_ref()),
            self.inner_vlan.to_string(),
            list(&self.ports),
            list(&self.remotes),
        ]
    }
}

impl Row for PortRow {
    const HEADING: &'static [&'static str] = &[
        "dev", "vni", "vlan", "hook", "ifindex", "delivery", "macs", "ips", "max_macs",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            printable(&self.dev),
            self.vni.to_string(),
            optional(self.vlan.as_ref()),
            self.hook.to_string(),
            optional(self.ifindex.as_ref()),
            optional(self.delivery.as_ref()),
            list(&self.macs),
            list(&self.ips),
            optional(self.max_macs.as_ref()),
        ]
    }
}

impl Row for NeighRow {
    const HEADING: &'static [&'static str] =
        &["vni", "ip", "lladdr", "state", "dev", "router", "age_s"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.vni.to_string(),
            self.ip.to_string(),
            self.lladdr.to_string(),
            self.state.to_string(),
            optional(self.dev.as_ref()),
            yes_no(self.router),
            optional(self.age_s.as_ref()),
        ]
    }
}

impl Row for NexthopRow {
    const HEADING: &'static [&'static str] =
        &["vni", "ip", "via", "lladdr", "dev", "state", "usable"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.vni.to_string(),
            self.ip.to_string(),
            optional(self.via.as_ref()),
            optional(self.lladdr.as_ref()),
            optional(self.dev.as_ref()),
            self.state.to_string(),
            yes_no(self.usable),
        ]
    }
}

impl Row for PeerRow {
    const HEADING: &'static [&'static str] = &["ip", "dev", "mac", "state", "mtu", "csum6", "via"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.ip.to_string(),
            optional(self.dev.as_ref()),
            optional(self.mac.as_ref()),
            self.state.to_string(),
            optional(self.mtu.as_ref()),
            optional(self.csum6.map(on_off).as_ref()),
            optional(self.via.as_ref()),
        ]
    }
}

impl Row for StatsRow {
    const HEADING: &'static [&'static str] =
        &["hook", "reason", "vni", "dev", "peer", "packets", "bytes"];

    fn cells(&self) -> Vec<String> {
        vec![
            optional(self.hook.as_ref()),
            optional(self.reason.as_ref()),
            optional(self.vni.as_ref()),
            optional(self.dev.as_ref()),
            optional(self.peer.as_ref()),
            self.packets.to_string(),
            self.bytes.to_string(),
        ]
    }
}

impl Row for DropsRow {
    const HEADING: &'static [&'static str] = &["hook", "reason", "packets", "bytes", "meaning"];

    fn cells(&self) -> Vec<String> {
        vec![
            printable(&self.hook),
            printable(&self.reason),
            self.packets.to_string(),
            self.bytes.to_string(),
            printable(&self.meaning),
        ]
    }
}

fn on_off(on: bool) -> String {
    if on { "on".into() } else { "off".into() }
}

fn yes_no(yes: bool) -> String {
    if yes { "yes".into() } else { "no".into() }
}

fn optional(value: Option<&impl Display>) -> String {
    value.map_or_else(|| "-".into(), printable)
}

fn list(values: &[impl Display]) -> String {
    if values.is_empty() {
        return "-".into();
    }
    values.iter().map(printable).collect::<Vec<_>>().join(",")
}
