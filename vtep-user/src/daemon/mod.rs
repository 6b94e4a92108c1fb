//! The daemon: wires the API, the control side, the data path and netlink together.
//!
//! One task owns everything (`core::Core`): it takes the API's commands and netlink's events one at a time, asks the state
//! machine what is to be done, and does it. There is no other writer.

mod announce;
mod changes;
mod core;
mod device;
mod error;
mod facts;
mod frames;
mod groups;
mod learning;
mod privileges;
mod start;
mod underlay;

use std::{io, path::Path};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

pub use self::error::DaemonError;
use self::start::Started;
use crate::{
    api::{
        server,
        socket::{self, Socket},
    },
    ask::channel,
    cli::run::RunOptions,
    datapath,
    netlink::{self, Link, LinkKind, Netlink},
};

/// Who owns the kernel device of an instance, as its alias says.
fn owner(instance: &str) -> String {
    format!("{}{instance}", netlink::OWNER)
}

/// Name of the kernel device that holds a UDP port.
fn device_name(udp_port: u16) -> String {
    format!("vtep{udp_port}")
}

fn runtime() -> Result<tokio::runtime::Runtime, DaemonError> {
    // One thread: capabilities belong to a thread, and there is one writer anyway.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| DaemonError::System {
            what: "start the runtime",
            source,
        })
}

/// Lets the process open as many files as it may: every twenty multicast groups take a socket, and the API has readers.
fn raise_file_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call fills in the limit that it is given.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the call reads the limit that it is given.
    if !known || unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        let error = io::Error::last_os_error();
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Runs the daemon until it is told to stop.
pub fn run(options: RunOptions) -> Result<(), DaemonError> {
    privileges::check()?;
    start::check_kernel()?;
    raise_file_limit();
    runtime()?.block_on(serve(options))
}

async fn serve(options: RunOptions) -> Result<(), DaemonError> {
    if options.config.is_some() {
        return Err(DaemonError::NoConfig);
    }
    // The socket first: it tells a second daemon of the instance before anything is touched.
    let listener = Socket::bind(&options.instance)?;
    let metrics = match options.metrics {
        Some(address) => {
            let listener = TcpListener::bind(address).await;
            Some(listener.map_err(|source| DaemonError::Metrics { address, source })?)
        }
        None => None,
    };
    let mut interrupt = stop_signal(SignalKind::interrupt())?;
    let mut terminate = stop_signal(SignalKind::terminate())?;

    let Started { mut core, monitor } = start::start(&options).await?;
    privileges::drop_all_but_needed()?;

    let (handle, asks) = channel();
    let (stop, stopped) = watch::channel(false);
    let until_stopped = |mut stopped: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which is a stop too.
        drop(stopped.wait_for(|stop| *stop).await);
    };
    let api = tokio::spawn(server::serve(
        listener,
        handle.clone(),
        core.events.clone(),
        until_stopped(stopped.clone()),
    ));
    let metrics = metrics.map(|listener| {
        tokio::spawn(server::serve_metrics(
            listener,
            handle,
            until_stopped(stopped),
        ))
    });
    tracing::info!(instance = options.instance, "ready");

    let end = tokio::select! {
        ran = core.run(asks, monitor) => End::of(ran),
        _ = interrupt.recv() => End::Signal,
        _ = terminate.recv() => End::Signal,
    };
    if matches!(end, End::Signal) && options.teardown {
        core.teardown().await?;
    }
    stop.send_replace(true);
    for server in std::iter::once(api).chain(metrics) {
        if let Ok(Err(error)) = server.await {
            tracing::warn!(%error, "a server ended badly");
        }
    }
    end.tell(options.teardown)
}

/// Why the daemon ends.
enum End {
    /// Somebody told it to remove everything, which it has.
    Removed,
    /// A signal.
    Signal,
    /// It cannot go on.
    Broken(DaemonError),
}

impl End {
    fn of(ran: Result<(), DaemonError>) -> Self {
        ran.map_or_else(Self::Broken, |()| Self::Removed)
    }

    /// Says it. Only what somebody asked for is a success.
    fn tell(self, teardown: bool) -> Result<(), DaemonError> {
        match self {
            Self::Broken(error) => return Err(error),
            Self::Signal if !teardown => tracing::info!("stopped; forwarding goes on"),
            Self::Removed | Self::Signal => tracing::info!("everything is removed"),
        }
        Ok(())
    }
}

fn stop_signal(kind: SignalKind) -> Result<tokio::signal::unix::Signal, DaemonError> {
    signal(kind).map_err(|source| DaemonError::System {
        what: "watch for signals",
        source,
    })
}

/// Removes everything that an instance left in the kernel, when no daemon of it runs.
pub fn teardown_without_daemon(instance: &str) -> Result<(), DaemonError> {
    privileges::check()?;
    let dir = datapath::instance_dir(instance);
    let links = runtime()?.block_on(async { Netlink::open()?.links().await })?;
    let owner = owner(instance);
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
    let names: Vec<String> = links.into_iter().map(|link| link.name).collect();
    datapath::detach_all_without_links(&dir, &names)?;
    datapath::remove_pins(&dir)?;
    remove_dir_if_empty(dir.parent());
    remove_dead_socket(instance)?;
    match device {
        Some(device) => runtime()?.block_on(remove_device(&device)),
        None => Ok(()),
    }
}

/// Removes the kernel device that was left, and the routes by which it sent to multicast groups.
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

/// The directory of all instances goes with the last.
fn remove_dir_if_empty(dir: Option<&Path>) {
    if let Some(dir) = dir {
        match std::fs::remove_dir(dir) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound
                ) => {}
            Err(error) => tracing::warn!(%error, "remove {}", dir.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_cannot_go_on_fails_and_says_what_failed() {
        let failed = || {
            Err(DaemonError::Broken {
                what: "the underlay is not followed any more",
                cause: "no memory".to_owned(),
            })
        };
        for teardown in [false, true] {
            let said = End::of(failed()).tell(teardown).unwrap_err().to_string();
            assert!(
                said.contains("underlay") && said.contains("no memory"),
                "{said}"
            );
            assert!(said.contains("vtep run"), "{said}");

            assert!(End::of(Ok(())).tell(teardown).is_ok());
            assert!(End::Signal.tell(teardown).is_ok());
        }
    }
}
