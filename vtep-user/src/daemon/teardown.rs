//! Removing what an instance left in the kernel.

use std::{io, path::Path};

use super::{
    bridges::Bridges, error::DaemonError, privileges, process::runtime, promiscuity, slow_path,
};
use crate::{
    api::socket,
    datapath::{self, OwnAtPorts},
    model::settings::teardown::TeardownOptions,
    netlink::{Link, LinkKind, Netlink, OWNER},
};

/// Removes everything that an instance left in the kernel, when no daemon of it runs.
///
/// # Errors
///
/// [`DatapathError::OtherNamespace`](datapath::DatapathError::OtherNamespace) where it has left that in another network namespace,
/// unless it is forced: then the pins go, and the device stays if that namespace is still there.
pub fn teardown_without_daemon(
    instance: &str,
    options: TeardownOptions,
) -> Result<(), DaemonError> {
    privileges::check()?;
    let dir = datapath::instance_dir(instance);
    if !options.force {
        datapath::check_namespace(&dir)?;
    }
    let links = runtime()?.block_on(async { Netlink::open()?.links().await })?;
    let owner = slow_path::owner(instance);
    let device = links
        .iter()
        .find(|link| link.alias.as_deref() == Some(&owner))
        .cloned();
    if device.is_none() && !dir.exists() {
        datapath::check_bpffs()?;
        return Err(DaemonError::NothingThere {
            instance: instance.to_owned(),
        });
    }
    let of_others = |link: &Link| {
        let alias = link.alias.as_deref();
        alias.is_some_and(|alias| alias.starts_with(OWNER) && alias != owner)
    };
    // The next hops may be theirs as well.
    if !links.iter().any(of_others) {
        runtime()?.block_on(async { Netlink::open()?.release_all().await })?;
    }
    // Before anything is detached: no guest is without a way meanwhile.
    let mut bridges = Bridges::of(instance, &links);
    runtime()?.block_on(async { bridges.remove_all(&Netlink::open()?).await })?;
    runtime()?.block_on(restore_ports(&OwnAtPorts::of(&dir)))?;
    let names: Vec<String> = links.into_iter().map(|link| link.name).collect();
    datapath::detach_all_without_links(&dir, &names)?;
    remove_pins(instance)?;
    remove_dead_socket(instance)?;
    match device {
        Some(device) => runtime()?.block_on(remove_device(&device)),
        None => Ok(()),
    }
}

/// Makes the interfaces of ports as they were before.
async fn restore_ports(own: &OwnAtPorts) -> Result<(), DaemonError> {
    let netlink = Netlink::open()?;
    for ifindex in own.noted_promiscuous()? {
        promiscuity::restore(&netlink, own, ifindex).await;
    }
    Ok(())
}

/// Removes the pinned state of an instance; the directory of all instances goes with the last.
pub(super) fn remove_pins(instance: &str) -> Result<(), DaemonError> {
    let dir = datapath::instance_dir(instance);
    datapath::remove_pins(&dir)?;
    remove_dir_if_empty(dir.parent());
    Ok(())
}

/// Removes the slow-path device that was left, and the routes by which it sent to multicast groups.
async fn remove_device(device: &Link) -> Result<(), DaemonError> {
    let netlink = Netlink::open()?;
    if let LinkKind::Vxlan { port, .. } = device.kind {
        netlink.delete_group_routes(port).await?;
    }
    Ok(netlink.delete_link(&device.name).await?)
}

/// Removes the socket that a daemon left when it was killed.
fn remove_dead_socket(instance: &str) -> Result<(), DaemonError> {
    match std::fs::remove_file(socket::path(instance)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(DaemonError::System {
            what: "remove the socket",
            source,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remove_dir_if_empty(dir: Option<&Path>) {
    if let Some(dir) = dir {
        match std::fs::remove_dir(dir) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    // The last: where it is not root's, it was made for the user that the daemon runs as.
                    io::ErrorKind::DirectoryNotEmpty
                        | io::ErrorKind::NotFound
                        | io::ErrorKind::PermissionDenied
                ) => {}
            Err(error) => tracing::warn!(%error, "remove {}", dir.display()),
        }
    }
}
