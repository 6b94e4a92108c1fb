//! The daemon: wires the API, the control side and the data path together.

use crate::cli::run::RunOptions;

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// It is not part of this build.
    #[error("this build of vtep has no data path yet")]
    Missing,
}

/// Runs the daemon until it is told to stop.
pub fn run(_options: RunOptions) -> Result<(), DaemonError> {
    Err(DaemonError::Missing)
}

/// Removes everything that an instance left in the kernel, when no daemon of it runs.
pub fn teardown_without_daemon(_instance: &str) -> Result<(), DaemonError> {
    Err(DaemonError::Missing)
}
