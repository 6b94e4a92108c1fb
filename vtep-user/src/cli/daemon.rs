//! The daemon that a command talks to.

use std::time::Duration;

use crate::api::client::{Client, ClientError};

/// The daemon that commands are for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Daemon<'a> {
    pub(super) instance: &'a str,
    /// How long it may be silent; for ever without.
    pub(super) patience: Option<Duration>,
}

impl Daemon<'_> {
    pub(super) async fn connect(&self) -> Result<Client, ClientError> {
        let client = Client::connect(self.instance).await?;
        Ok(client.patient_for(self.patience))
    }
}
