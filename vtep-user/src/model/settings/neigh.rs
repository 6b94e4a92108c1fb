//! A host that ARP and ND are answered for: how it is given, deleted and shown.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::model::argument::{ArgumentList, setting};
use crate::model::column::{Column, Row, column};
use crate::model::{MacAddr, NeighState, Parameters, Source, Vni};

/// No host yet.
const NO_HOST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// A host to answer ARP and ND for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NeighSpec {
    /// The host.
    #[schema(value_type = crate::model::Ip)]
    pub ip: IpAddr,
    /// The VNI.
    pub vni: Vni,
    /// Its MAC; refused if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lladdr: Option<MacAddr>,
    /// Whether ND answers have the router flag.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub router: bool,
}

/// A host to answer for.
pub static ENTRY: ArgumentList<NeighSpec> = ArgumentList {
    settings: &[
        setting!(NeighSpec, ip, "IP", "The host"),
        setting!(NeighSpec, vni, "--vni", "The VNI"),
        setting!(
            NeighSpec,
            lladdr,
            "--lladdr",
            "The MAC that the answer names"
        )
        .value_name("MAC")
        .required(),
        setting!(
            NeighSpec,
            router,
            "--router",
            "Set the router flag in ND answers"
        ),
    ],
    rules: &[],
};

impl Parameters for NeighSpec {
    fn blank() -> Self {
        Self {
            ip: NO_HOST,
            vni: Vni::ZERO,
            lladdr: None,
            router: false,
        }
    }
}

/// A host to stop answering for: whatever its MAC, or only if it has that one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NeighDel {
    /// The host.
    #[schema(value_type = crate::model::Ip)]
    #[param(value_type = crate::model::Ip)]
    pub ip: IpAddr,
    /// The VNI.
    pub vni: Vni,
    /// Only if it has this MAC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lladdr: Option<MacAddr>,
}

/// A host not to answer for any more.
pub static DELETE: ArgumentList<NeighDel> = ArgumentList {
    settings: &[
        setting!(NeighDel, ip, "IP", "The host"),
        setting!(NeighDel, vni, "--vni", "The VNI"),
        setting!(NeighDel, lladdr, "--lladdr", "Only if it has this MAC").value_name("MAC"),
    ],
    rules: &[],
};

impl Parameters for NeighDel {
    fn blank() -> Self {
        Self {
            ip: NO_HOST,
            vni: Vni::ZERO,
            lladdr: None,
        }
    }
}

/// A host that ARP and ND are answered for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NeighRow {
    /// The VNI.
    pub vni: Vni,
    /// The host.
    #[schema(value_type = crate::model::Ip)]
    pub ip: IpAddr,
    /// Its MAC.
    pub lladdr: MacAddr,
    /// Who made it.
    pub state: NeighState,
    /// The local port that it was snooped or set at, or `null`.
    pub dev: Option<String>,
    /// Whether ND answers have the router flag.
    pub router: bool,
    /// Seconds since its last ARP or ND; `null` where it does not age.
    pub age_s: Option<u64>,
    /// Who set it; `null` for what was snooped, or follows from something else.
    pub source: Option<Source>,
}

impl Row for NeighRow {
    const COLUMNS: &'static [Column<Self>] = &[
        column!(vni, text),
        column!(ip, text),
        column!(lladdr, text),
        column!(state, text),
        column!(dev, optional),
        column!(router, yes_no),
        column!(age_s, optional),
        column!(source, optional),
    ];
}
