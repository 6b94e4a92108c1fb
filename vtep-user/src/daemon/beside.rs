//! Threads beside the core's, for what would hold it: the kernel lets those wait that ask it to change something.

use std::{future::Future, thread};

use super::{error::DaemonError, privileges, process};

/// Runs what `make` makes on a thread of its own, in this thread's network namespace and with no more capabilities than are kept.
/// It ends when the process does; nobody waits for it.
pub(super) fn spawn<F>(
    name: &'static str,
    make: impl FnOnce() -> F + Send + 'static,
) -> Result<(), DaemonError>
where
    F: Future<Output = Result<(), DaemonError>>,
{
    let run = move || -> Result<(), DaemonError> {
        privileges::drop_all_but_needed()?;
        process::runtime()?.block_on(async { make().await })
    };
    let body = move || {
        if let Err(error) = run() {
            tracing::error!(%error, "the thread {name} ended");
        }
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map(drop)
        .map_err(|source| DaemonError::System {
            what: "start a thread",
            source,
        })
}
