//! `vtep teardown`

use super::failure::{Failure, block_on};
use crate::api::client::{Client, ClientError};
use crate::daemon;
use crate::model::settings::teardown::TeardownOptions;

/// Lets the daemon remove everything; does it here if there is none.
pub(super) fn run(instance: &str, options: TeardownOptions) -> Result<(), Failure> {
    let asked = block_on(async {
        match Client::connect(instance).await {
            Ok(mut client) => Ok(Some(client.teardown().await?)),
            Err(ClientError::NoDaemon { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })?;
    if asked.is_some() {
        return Ok(());
    }
    let removed = daemon::teardown_without_daemon(instance, options);
    removed.map_err(|error| Failure::Failed(error.into()))
}
