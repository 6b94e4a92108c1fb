//! Why a command does not end well, and running what may fail.

use std::error::Error;

use crate::api::client::ClientError;
use crate::model::BadValue;

/// Why a command ends with an exit code other than 0.
#[derive(Debug)]
pub(super) enum Failure {
    /// Wrong usage, as clap puts it: exit 2 (or 0, if help was asked for).
    Usage(clap::Error),
    /// There is no daemon to talk to: exit 3.
    NoDaemon(ClientError),
    /// A dry run found something to do: exit 3.
    ToDo,
    /// Refused or failed: exit 1.
    Failed(Box<dyn Error + Send + Sync>),
    /// What is printed says what is wrong: exit 1.
    Said,
    /// Nobody reads the output any more, as in `vtep fdb show | head`.
    Unread,
}

impl Failure {
    /// What was typed can be read but makes no sense.
    pub(super) fn refused(sentence: impl Into<String>) -> Self {
        Self::Failed(BadValue::new(sentence).into())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::Unread
        } else {
            Self::Failed(error.into())
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NoDaemon { .. } => Self::NoDaemon(error),
            error => Self::Failed(error.into()),
        }
    }
}

/// Does work that waits for others.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
