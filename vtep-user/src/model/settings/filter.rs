//! Filters that several tables share, and that of the counters.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::model::argument::{ArgumentList, Rule, setting};
use crate::model::{Parameters, Refusal, Vni};

/// Which VNI: one, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VniFilter {
    /// Of this VNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<Vni>,
}

/// Of which VNI.
pub static OF_VNI: ArgumentList<VniFilter> = ArgumentList {
    settings: &[setting!(VniFilter, vni, "--vni", "Only those of this VNI")],
    rules: &[],
};

/// The events of which VNI.
pub static EVENTS: ArgumentList<VniFilter> = ArgumentList {
    settings: &[setting!(VniFilter, vni, "--vni", "Only events of this VNI")],
    rules: &[],
};

impl Parameters for VniFilter {
    fn blank() -> Self {
        Self::default()
    }
}

/// Which counters: all of them, or those of one VNI, port or remote VTEP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatsFilter {
    /// Of this VNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<Vni>,
    /// Of this port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::DeviceName>)]
    #[param(value_type = Option<crate::model::DeviceName>)]
    pub dev: Option<String>,
    /// Of this remote VTEP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::Ip>)]
    #[param(value_type = Option<crate::model::Ip>)]
    pub peer: Option<IpAddr>,
}

/// Which counters.
pub static STATS: ArgumentList<StatsFilter> = ArgumentList {
    settings: &[
        setting!(StatsFilter, vni, "--vni", "Only those of this VNI"),
        setting!(StatsFilter, dev, "--dev", "Only those of this port"),
        setting!(
            StatsFilter,
            peer,
            "--peer",
            "Only those of this remote VTEP"
        )
        .value_name("IP"),
    ],
    rules: &[Rule::OneAtMost(&["--vni", "--dev", "--peer"])],
};

impl StatsFilter {
    /// Refuses to ask for more than one: each is counted by itself.
    pub fn check(&self) -> Result<(), Refusal> {
        let Self { vni, dev, peer } = self;
        let given = [vni.is_some(), dev.is_some(), peer.is_some()];
        if given.iter().filter(|given| **given).count() > 1 {
            return Err(Refusal::invalid(
                "a VNI, a port and a remote VTEP are each counted by themselves; ask for one of them",
            ));
        }
        Ok(())
    }
}

impl Parameters for StatsFilter {
    fn blank() -> Self {
        Self::default()
    }
}
