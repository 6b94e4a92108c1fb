//! An entry of the nexthop table: how it is given, deleted and shown.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::model::argument::{ArgumentList, Rule, setting};
use crate::model::column::{Column, Row, column};
use crate::model::{MacAddr, NeighState, Parameters, Prefix, Source, Vni};

/// No host yet.
const NO_HOST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// An entry of the nexthop table to write. At least one of `via` and `lladdr` is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NexthopSpec {
    /// The host, or the prefix.
    pub ip: Prefix,
    /// The VNI.
    pub vni: Vni,
    /// The VTEP to send to; absent where the FDB entry of `lladdr` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::Ip>)]
    pub via: Option<IpAddr>,
    /// The inner destination MAC that frames get; without it they keep theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lladdr: Option<MacAddr>,
}

/// An entry to write.
pub static ENTRY: ArgumentList<NexthopSpec> = ArgumentList {
    settings: &[
        setting!(NexthopSpec, ip, "IP", "The host, or the prefix").value_name("HOST_IP"),
        setting!(NexthopSpec, vni, "--vni", "The VNI"),
        setting!(
            NexthopSpec,
            via,
            "--via",
            "Behind this VTEP; without it, where the FDB has --lladdr"
        )
        .value_name("VTEP_IP"),
        setting!(
            NexthopSpec,
            lladdr,
            "--lladdr",
            "The destination MAC that its frames get; without it, they keep theirs"
        )
        .value_name("MAC"),
    ],
    rules: &[Rule::Any(&["--via", "--lladdr"])],
};

impl Parameters for NexthopSpec {
    fn blank() -> Self {
        Self {
            ip: Prefix::host(NO_HOST),
            vni: Vni::ZERO,
            via: None,
            lladdr: None,
        }
    }
}

/// An entry of the nexthop table to delete: wherever it points, or only if it points there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NexthopDel {
    /// The host, or the prefix.
    pub ip: Prefix,
    /// The VNI.
    pub vni: Vni,
    /// Only if it points to this VTEP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::Ip>)]
    #[param(value_type = Option<crate::model::Ip>)]
    pub via: Option<IpAddr>,
    /// Only if it has this MAC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lladdr: Option<MacAddr>,
}

/// An entry to delete.
pub static DELETE: ArgumentList<NexthopDel> = ArgumentList {
    settings: &[
        setting!(NexthopDel, ip, "IP", "The host, or the prefix").value_name("HOST_IP"),
        setting!(NexthopDel, vni, "--vni", "The VNI"),
        setting!(NexthopDel, via, "--via", "Only if it points to this VTEP").value_name("VTEP_IP"),
        setting!(
            NexthopDel,
            lladdr,
            "--lladdr",
            "Only if frames get this destination MAC"
        )
        .value_name("MAC"),
    ],
    rules: &[],
};

impl Parameters for NexthopDel {
    fn blank() -> Self {
        Self {
            ip: Prefix::host(NO_HOST),
            vni: Vni::ZERO,
            via: None,
            lladdr: None,
        }
    }
}

/// An entry of the nexthop table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NexthopRow {
    /// The VNI.
    pub vni: Vni,
    /// The host, or the prefix.
    pub ip: Prefix,
    /// The VTEP to send to; `null` for a local host, or where the FDB entry of `lladdr` says it.
    #[schema(value_type = Option<crate::model::Ip>)]
    pub via: Option<IpAddr>,
    /// The inner destination MAC that frames get; `null` where they keep theirs.
    pub lladdr: Option<MacAddr>,
    /// The local port that it points to, or `null`.
    pub dev: Option<String>,
    /// Who made it: `static`, or `port` for the addresses of a port.
    pub state: NeighState,
    /// Whether it points to a port or VTEP now.
    pub usable: bool,
    /// Who set it; `null` for the addresses of a port.
    pub source: Option<Source>,
}

impl Row for NexthopRow {
    const COLUMNS: &'static [Column<Self>] = &[
        column!(vni, text),
        column!(ip, text),
        column!(via, optional),
        column!(lladdr, optional),
        column!(dev, optional),
        column!(state, text),
        column!(usable, yes_no),
        column!(source, optional),
    ];
}
