//! `vtep teardown`

use super::failure::{Failure, block_on};
use crate::api::client::{Client, ClientError};
use crate::daemon;

/// Lets the daemon remove everything; does it here if there is none.
pub(super) fn run(instance: &str) -> Result<(), Failure> {
    let asked = block_on(async {
        match Client::connect(instance).await {
            Ok(mut client) => Ok(Some(client.teardown().await?)),
            Err(ClientError::NoDaemon { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })?;
    match asked {
        Some(()) => Ok(()),
        None => {
            daemon::teardown_without_daemon(instance).map_err(|error| Failure::Failed(error.into()))
        }
    }
}
