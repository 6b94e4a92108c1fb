//! What the process needs of the system: a runtime, files, and signals.

use std::io;

use tokio::{
    runtime::{self, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};

use super::error::DaemonError;

pub(super) fn runtime() -> Result<Runtime, DaemonError> {
    // One thread: capabilities belong to a thread, and there is one writer anyway.
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| DaemonError::System {
            what: "start the runtime",
            source,
        })
}

/// Lets the process open as many files as it may: every twenty multicast groups take a socket, and the API has readers.
pub(super) fn raise_file_limit() {
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
        tracing::warn!(%error, "could not raise the limit of open files");
    }
}

/// Gives the system back what the allocator keeps of memory that is free: loading programs takes several MiB for a moment.
pub(super) fn give_back_memory() {
    // SAFETY: the call takes no pointers, and touches only what is free.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

pub(super) fn stop_signal(kind: SignalKind) -> Result<Signal, DaemonError> {
    signal(kind).map_err(|source| DaemonError::System {
        what: "watch for signals",
        source,
    })
}
