//! What a daemon is started with.

use crate::model::{InstanceName, RunOptions};

/// What a daemon is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The name of the instance.
    pub instance: InstanceName,
    /// What `vtep run` takes.
    pub run: RunOptions,
}

impl Options {
    /// The name of the instance.
    pub(super) fn instance(&self) -> &str {
        self.instance.as_str()
    }

    /// The UDP port that VXLAN packets are sent to.
    pub(super) fn udp_port(&self) -> u16 {
        self.run.udp_port.get()
    }
}
