//! `vtep teardown`

use super::daemon::Daemon;
use super::failure::{Failure, block_on};
use crate::api::client::ClientError;
use crate::daemon::teardown_without_daemon;
use crate::model::settings::teardown::TeardownOptions;

/// Lets the daemon remove everything; does it here if there is none.
pub(super) fn run(daemon: Daemon<'_>, options: TeardownOptions) -> Result<(), Failure> {
    let asked = block_on(async {
        match daemon.connect().await {
            Ok(mut client) => Ok(Some(client.teardown().await?)),
            Err(ClientError::NoDaemon { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })?;
    if asked.is_some() {
        return Ok(());
    }
    let removed = teardown_without_daemon(daemon.instance, options);
    removed.map_err(|error| Failure::Failed(error.into()))
}
