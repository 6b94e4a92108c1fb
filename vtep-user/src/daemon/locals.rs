//! The addresses that are sent from.

use std::net::IpAddr;

use super::{error::DaemonError, options::Options};
use crate::{
    control,
    netlink::{Link, Netlink},
};

/// The addresses to send from: those named, else one of each family from the uplinks. Where they are waited for, those named may be
/// missing, and there may be none.
pub(super) async fn find(
    netlink: &Netlink,
    options: &Options,
    uplinks: &[Link],
) -> Result<Vec<IpAddr>, DaemonError> {
    let dev = || {
        uplinks
            .first()
            .map(|link| link.name.clone())
            .unwrap_or_default()
    };
    for &ip in &options.run.locals {
        if let Some(what) = control::unfit(ip) {
            return Err(DaemonError::UnfitLocal { ip, what });
        }
    }
    if !options.run.locals.is_empty() {
        if options.waits() {
            return Ok(options.run.locals.clone());
        }
        let ours = netlink.all_local_addresses().await?;
        return match options.run.locals.iter().find(|ip| !ours.contains(ip)) {
            Some(&ip) => Err(DaemonError::NotLocal { ip, dev: dev() }),
            None => Ok(options.run.locals.clone()),
        };
    }
    let chosen = choose(netlink, uplinks).await?;
    if chosen.is_empty() && !options.waits() {
        Err(DaemonError::NoAddress { dev: dev() })
    } else {
        Ok(chosen)
    }
}

/// The best address of each family that the uplinks have.
pub(super) async fn choose(
    netlink: &Netlink,
    uplinks: impl IntoIterator<Item = &Link>,
) -> Result<Vec<IpAddr>, DaemonError> {
    let mut found = Vec::new();
    for link in uplinks {
        found.extend(netlink.local_addresses(link.index).await?);
    }
    let global = |ip: &&IpAddr| match ip {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback(),
    };
    let first = |v4: bool| {
        found
            .iter()
            .filter(global)
            .find(|ip| ip.is_ipv4() == v4)
            .copied()
    };
    Ok(first(true).into_iter().chain(first(false)).collect())
}
