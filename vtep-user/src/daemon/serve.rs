//! Serving until the daemon is told to stop.

use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind},
    sync::watch,
};

use super::{
    capture,
    error::DaemonError,
    options::Options,
    privileges,
    process::{raise_file_limit, runtime, stop_signal},
    service::ServiceManager,
    start::{self, Started},
};
use crate::{
    api::{server, socket::Socket},
    ask::{Command, Handle, Reply, channel},
    model::RunOptions,
};

/// Runs the daemon until it is told to stop.
pub fn run(options: Options) -> Result<(), DaemonError> {
    privileges::check()?;
    privileges::take_no_new_ones()?;
    start::check_kernel()?;
    raise_file_limit();
    let runtime = runtime()?;
    let end = runtime.block_on(serve(options));
    // A file that cannot be read to its end, such as a pipe, keeps no daemon from ending.
    runtime.shutdown_background();
    end
}

async fn serve(mut options: Options) -> Result<(), DaemonError> {
    // The socket first: it tells a second daemon of the instance before anything is touched.
    let RunOptions {
        socket_group,
        view_group,
        ..
    } = &options.run;
    let listener = Socket::bind(options.instance(), socket_group.as_deref())?;
    let view = view_group.as_deref();
    let view = view.map(|group| Socket::bind_view(options.instance(), group));
    let view = view.transpose()?;
    let metrics = match options.run.metrics {
        Some(address) => {
            let listener = TcpListener::bind(address).await;
            Some(listener.map_err(|source| DaemonError::Metrics { address, source })?)
        }
        None => None,
    };
    let mut interrupt = stop_signal(SignalKind::interrupt())?;
    let mut terminate = stop_signal(SignalKind::terminate())?;
    let hangup = stop_signal(SignalKind::hangup())?;

    let Started {
        mut core,
        monitor,
        wanted,
    } = Box::pin(start::start(&mut options)).await?;
    privileges::drop_all_but_needed()?;

    let (handle, asks) = channel();
    let captures = capture::start(core.capture_ground()?, options.udp_port())?;
    core.end_before_teardown(captures.clone());
    let handle = handle.with_captures(captures.clone());
    let (stop, stopped) = watch::channel(false);
    let until_stopped = |mut stopped: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which is a stop too.
        drop(stopped.wait_for(|stop| *stop).await);
    };
    let api = tokio::spawn(server::serve(
        listener,
        handle.clone(),
        core.events(),
        until_stopped(stopped.clone()),
    ));
    let view = view.map(|listener| {
        tokio::spawn(server::serve_view(
            listener,
            handle.clone(),
            core.events(),
            until_stopped(stopped.clone()),
        ))
    });
    tokio::spawn(reload_on(hangup, handle.clone()));
    let metrics = metrics.map(|listener| {
        tokio::spawn(server::serve_metrics(
            listener,
            handle,
            until_stopped(stopped),
        ))
    });
    core.start_with(wanted);

    let fresh = core.is_fresh();
    let end = tokio::select! {
        ran = core.run(asks, monitor) => Stop::of(ran),
        _ = interrupt.recv() => Stop::Signal,
        _ = terminate.recv() => Stop::Signal,
    };
    ServiceManager::stopping();
    let nothing_made = matches!(end, Stop::Broken(DaemonError::Config(_))) && fresh;
    if matches!(end, Stop::Signal) && options.run.teardown || nothing_made {
        core.teardown().await?;
    }
    // The programs are back before the daemon goes, whether the capture's reader takes anything or not.
    let _paused = capture::pause(&captures).await;
    stop.send_replace(true);
    for server in std::iter::once(api).chain(view).chain(metrics) {
        if let Err(error) = server.await {
            tracing::warn!(%error, "the API server stopped");
        }
    }
    end.report(options.run.teardown)
}

/// Applies the configuration file again at each signal.
async fn reload_on(mut hangup: Signal, core: Handle) {
    while hangup.recv().await.is_some() {
        match core.ask(Command::Reload).await {
            Ok(Reply::Plan(rows)) => {
                tracing::info!(
                    "applied the configuration file again: {} changes",
                    rows.len()
                );
            }
            Ok(_) => {}
            Err(refusal) => {
                tracing::error!(%refusal, "the configuration file was not applied, and nothing has changed");
            }
        }
    }
}

/// Why the daemon ends.
enum Stop {
    /// Somebody told it to remove everything, which it has.
    Removed,
    /// A signal.
    Signal,
    /// It cannot go on.
    Broken(DaemonError),
}

impl Stop {
    fn of(ran: Result<(), DaemonError>) -> Self {
        ran.map_or_else(Self::Broken, |()| Self::Removed)
    }

    /// Says it. Only what somebody asked for is a success.
    fn report(self, teardown: bool) -> Result<(), DaemonError> {
        match self {
            Self::Broken(error) => return Err(error),
            Self::Signal if !teardown => tracing::info!("stopped; forwarding continues"),
            Self::Removed | Self::Signal => tracing::info!("removed everything from the kernel"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_cannot_go_on_fails_and_says_what_failed() {
        let failed = || {
            Err(DaemonError::Broken {
                what: "cannot follow the underlay any more",
                cause: "no memory".to_owned(),
            })
        };
        for teardown in [false, true] {
            let said = Stop::of(failed()).report(teardown).unwrap_err().to_string();
            assert!(
                said.contains("underlay") && said.contains("no memory"),
                "{said}"
            );
            assert!(said.contains("vtep run"), "{said}");

            assert!(Stop::of(Ok(())).report(teardown).is_ok());
            assert!(Stop::Signal.report(teardown).is_ok());
        }
    }
}
