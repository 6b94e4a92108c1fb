//! What an instance has pinned, read when no daemon of it runs.

use std::{collections::HashMap, net::IpAddr, num::NonZeroU16};

use vtep_common::abi::map::DEFAULT_FDB_ENTRIES;

use super::{error::DaemonError, facts, privileges, process::runtime};
use crate::{
    control::{Adopted, Limits, Others, State},
    datapath::{self, Datapath},
    model::{DumpFilter, DumpRow, RunOptions, write},
    netlink::{Link, Netlink},
};

/// What was set, as the commands that make it, with a line `run` that starts a daemon for it.
///
/// # Errors
///
/// If nothing is pinned, or it cannot be read here.
pub fn dump_pinned(instance: &str, filter: DumpFilter) -> Result<Vec<DumpRow>, DaemonError> {
    privileges::check()?;
    datapath::check_bpffs()?;
    let dir = datapath::instance_dir(instance);
    let nothing = || DaemonError::NothingPinned {
        instance: instance.to_owned(),
    };
    if !dir.exists() {
        return Err(nothing());
    }
    let datapath = Datapath::open(&dir, DEFAULT_FDB_ENTRIES)?;
    if !datapath.adopted() {
        datapath::remove_pins(&dir)?;
        return Err(nothing());
    }
    let links = runtime()?.block_on(async {
        let netlink = Netlink::open()?;
        let links = netlink.links().await?;
        // What others have set changes nothing that is dumped.
        let of = |link: &Link| {
            let facts = facts::of_port(&netlink, link, Others::default())?;
            Ok((link.index, facts))
        };
        links
            .iter()
            .map(of)
            .collect::<Result<HashMap<_, _>, DaemonError>>()
    })?;
    let dump = datapath.dump()?;
    let locals: Vec<IpAddr> = dump.locals.iter().map(|&addr| addr.into()).collect();
    let config = datapath.config()?;
    let uplinks = datapath.attached("tc_uplink")?.into_iter();
    let mut ifaces: Vec<String> = uplinks
        .filter_map(|ifindex| Some(links.get(&ifindex)?.name.clone()))
        .collect();
    ifaces.sort();
    let mut run = RunOptions {
        ifaces,
        locals: locals.clone(),
        fdb_max: Some(datapath.fdb_max()).filter(|most| *most != DEFAULT_FDB_ENTRIES),
        ..RunOptions::default()
    };
    if let Some(udp_port) = NonZeroU16::new(config.udp_port) {
        run.udp_port = udp_port;
    }
    let limits = Limits {
        fdb: datapath.fdb_max(),
        ..Limits::default()
    };
    let Adopted { state, notes, .. } = State::adopt(&dump, locals, config.udp_port, limits, &links);
    for note in notes {
        tracing::warn!("{note}");
    }
    let first = DumpRow {
        command: write::run(&run),
        source: None,
        vni: None,
    };
    let rows = state.dump(filter.vni, filter.source);
    Ok(std::iter::once(first).chain(rows).collect())
}
