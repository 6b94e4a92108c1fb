//! The daemon's own options: its uplinks, its addresses, its UDP port.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;

use vtep_common::abi::id::Ifindex;
use vtep_common::wire::vxlan;

use super::error::ImportError;
use super::facts::Facts;
use super::rows::Rows;
use crate::model::{RunOptions, write};
use crate::netlink::{LinkKind, Vxlan};

/// The UDP port that is imported.
pub(super) fn port(devices: &[&Vxlan], asked: Option<u16>) -> Result<u16, ImportError> {
    let mut counts = BTreeMap::<u16, usize>::new();
    for device in devices {
        *counts.entry(device.port).or_default() += 1;
    }
    // Of ports with as many devices, that of VXLAN, or else the lowest.
    let rank = |(port, count): &(u16, usize)| (*count, *port == vxlan::PORT, u16::MAX - *port);
    let first = counts.iter().map(|(port, count)| (*port, *count));
    let (first, _) = first.max_by_key(rank).ok_or(ImportError::NoDevice)?;
    match asked {
        None => Ok(first),
        Some(asked) if counts.contains_key(&asked) => Ok(asked),
        Some(asked) => {
            let there: Vec<_> = counts.keys().map(u16::to_string).collect();
            let there = there.join(", ");
            Err(ImportError::NoneOnPort {
                asked,
                there,
                first,
            })
        }
    }
}

/// The line `run`.
pub(super) fn run_line(
    facts: &Facts,
    devices: &[&Vxlan],
    uplinks: &[Ifindex],
    port: u16,
    rows: &mut Rows,
) {
    let locals = locals(devices);
    let ifaces = uplinks.iter().map(|index| facts.name(*index)).collect();
    let options = RunOptions {
        ifaces,
        locals: locals.clone(),
        udp_port: NonZeroU16::new(port).unwrap_or(RunOptions::default().udp_port),
        ..RunOptions::default()
    };
    if options.ifaces.is_empty() {
        let typed = RunOptions {
            ifaces: vec!["DEV".to_owned()],
            ..options
        };
        rows.left_out(
            "it cannot be told by which interface packets to other VTEPs leave: name it in this line, as the first of the file",
            [write::run(&typed)],
        );
    } else {
        rows.line(write::run(&options));
    }
    for v4 in [true, false] {
        let mut family = locals.iter().filter(|ip| ip.is_ipv4() == v4);
        if let (Some(first), Some(_)) = (family.next(), family.next()) {
            rows.left_out(
                format!("devices send from several addresses; vtep takes packets to each of them, and sends from {first}"),
                [],
            );
        }
    }
}

/// The addresses that devices send from, each once.
fn locals(devices: &[&Vxlan]) -> Vec<IpAddr> {
    let mut locals = Vec::new();
    for local in devices.iter().filter_map(|device| device.local) {
        if !locals.contains(&local) {
            locals.push(local);
        }
    }
    locals
}

/// The interfaces that packets leave by: those that devices name, and those that routes to VTEPs name; else those that have the addresses.
pub(super) fn uplinks(facts: &Facts, devices: &[&Vxlan]) -> Vec<Ifindex> {
    let mut found = Vec::new();
    let mut add = |index: Ifindex| {
        let fits = facts.link(index).is_some_and(|link| link.ethernet);
        if fits && !found.contains(&index) && !facts.is_vxlan(index) {
            found.push(index);
        }
    };
    for device in devices {
        device.dev.into_iter().for_each(&mut add);
        let of_device = facts.fdb.iter();
        let of_device = of_device.filter(|entry| entry.ifindex == device.index);
        let vteps = of_device.filter_map(|entry| entry.dst).chain(device.remote);
        for vtep in vteps {
            // A device says by which interface all that it sends leaves.
            if device.dev.is_none()
                && let Some(&way) = facts.ways.get(&vtep)
            {
                add(way);
            }
        }
    }
    if found.is_empty() {
        let locals = locals(devices);
        let holders = facts.addresses.iter();
        let holders = holders.filter(|address| locals.contains(&address.ip));
        found = holders.map(|address| address.ifindex).collect();
        found.retain(|index| {
            let link = facts.link(*index);
            link.is_some_and(|link| link.ethernet && !matches!(link.kind, LinkKind::Vxlan { .. }))
        });
        found.dedup();
    }
    found
}
