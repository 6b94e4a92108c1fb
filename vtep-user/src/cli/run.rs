//! `vtep run`

use super::failure::Failure;
use super::log;
use crate::daemon::{self, Options};
use crate::model::{InstanceName, RunOptions};

pub(super) fn run(run: RunOptions, instance: InstanceName) -> Result<(), Failure> {
    log::start()?;
    daemon::run(Options { instance, run }).map_err(|error| Failure::Failed(error.into()))
}
