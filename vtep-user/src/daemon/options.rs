//! What a daemon is started with.

use super::configuration::ConfigSource;
use crate::model::{InstanceName, RunOption, RunOptions};

/// What a daemon is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the instance.
    pub instance: InstanceName,
    /// What `vtep run` takes.
    pub run: RunOptions,
    /// Of these, what was typed, which stands above what a configuration file says.
    pub typed: Vec<RunOption>,
    /// The configuration file.
    pub config: Option<ConfigSource>,
}

impl Options {
    /// The name of the instance.
    pub(super) fn instance(&self) -> &str {
        self.instance.as_str()
    }

    /// Whether interfaces and addresses that are not there are waited for.
    pub(super) fn waits(&self) -> bool {
        self.run.wait || self.config.is_some()
    }

    /// The UDP port that VXLAN packets are sent to.
    pub(super) fn udp_port(&self) -> u16 {
        self.run.udp_port.get()
    }
}
