//! An entry of the FDB: how it is given, found, deleted and shown.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::model::argument::{ArgumentList, Rule, setting};
use crate::model::column::{Column, Row, column};
use crate::model::{EntryState, MacAddr, Parameters, Source, Vni};

/// An FDB entry to write. Exactly one of `dst` and `dev` is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FdbSpec {
    /// The MAC; all zero for the flood list.
    pub mac: MacAddr,
    /// The VNI.
    pub vni: Vni,
    /// The VTEP it is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::Ip>)]
    pub dst: Option<IpAddr>,
    /// The local port it is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::DeviceName>)]
    pub dev: Option<String>,
}

/// An entry to write.
pub static ENTRY: ArgumentList<FdbSpec> = ArgumentList {
    settings: &[
        setting!(
            FdbSpec,
            mac,
            "MAC",
            "The MAC; 00:00:00:00:00:00 names the flood list"
        ),
        setting!(FdbSpec, vni, "--vni", "The VNI"),
        setting!(FdbSpec, dst, "--dst", "Behind this VTEP").value_name("VTEP_IP"),
        setting!(FdbSpec, dev, "--dev", "Behind this local port").value_name("PORT"),
    ],
    rules: &[Rule::One(&["--dst", "--dev"])],
};

impl Parameters for FdbSpec {
    fn blank() -> Self {
        Self {
            mac: MacAddr::ZERO,
            vni: Vni::ZERO,
            dst: None,
            dev: None,
        }
    }
}

/// An FDB entry to delete: wherever it points, or only if it points there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FdbDel {
    /// The MAC; all zero for an entry of the flood list, which needs `dst`.
    pub mac: MacAddr,
    /// The VNI.
    pub vni: Vni,
    /// Only if it points to this VTEP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::Ip>)]
    #[param(value_type = Option<crate::model::Ip>)]
    pub dst: Option<IpAddr>,
    /// Only if it points to this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::DeviceName>)]
    #[param(value_type = Option<crate::model::DeviceName>)]
    pub dev: Option<String>,
}

/// An entry to delete.
pub static DELETE: ArgumentList<FdbDel> = ArgumentList {
    settings: &[
        setting!(FdbDel, mac, "MAC", "The MAC"),
        setting!(FdbDel, vni, "--vni", "The VNI"),
        setting!(FdbDel, dst, "--dst", "Only if it points to this VTEP").value_name("VTEP_IP"),
        setting!(FdbDel, dev, "--dev", "Only if it points to this port").value_name("PORT"),
    ],
    rules: &[Rule::NotBoth("--dst", "--dev")],
};

impl Parameters for FdbDel {
    fn blank() -> Self {
        Self {
            mac: MacAddr::ZERO,
            vni: Vni::ZERO,
            dst: None,
            dev: None,
        }
    }
}

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbAt {
    /// The VNI.
    pub vni: Vni,
    /// The MAC.
    pub mac: MacAddr,
}

/// The entry to look at.
pub static AT: ArgumentList<FdbAt> = ArgumentList {
    settings: &[
        setting!(FdbAt, mac, "MAC", "The MAC"),
        setting!(FdbAt, vni, "--vni", "The VNI"),
    ],
    rules: &[],
};

impl Parameters for FdbAt {
    fn blank() -> Self {
        Self {
            vni: Vni::ZERO,
            mac: MacAddr::ZERO,
        }
    }
}

/// Which FDB entries: those that match every given field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FdbFilter {
    /// Of this VNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<Vni>,
    /// Behind this VTEP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::Ip>)]
    #[param(value_type = Option<crate::model::Ip>)]
    pub dst: Option<IpAddr>,
    /// Behind this port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::DeviceName>)]
    #[param(value_type = Option<crate::model::DeviceName>)]
    pub dev: Option<String>,
    /// Only learned ones.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub learned: bool,
    /// Where entries are deleted, static ones too.
    #[serde(rename = "static", skip_serializing_if = "std::ops::Not::not")]
    pub with_static: bool,
}

/// Which entries to show.
pub static FILTER: ArgumentList<FdbFilter> = ArgumentList {
    settings: &[
        setting!(FdbFilter, vni, "--vni", "Only those of this VNI"),
        setting!(FdbFilter, dst, "--dst", "Only those behind this VTEP").value_name("IP"),
        setting!(FdbFilter, dev, "--dev", "Only those behind this port").value_name("PORT"),
    ],
    rules: &[],
};

/// Which entries to delete.
pub static FLUSH: ArgumentList<FdbFilter> = ArgumentList {
    settings: &[
        setting!(FdbFilter, vni, "--vni", "The VNI").required(),
        setting!(FdbFilter, dst, "--dst", "Only those behind this VTEP").value_name("IP"),
        setting!(FdbFilter, dev, "--dev", "Only those behind this port").value_name("PORT"),
        setting!(
            FdbFilter,
            learned,
            "--learned",
            "Only learned ones, as without it"
        ),
        setting!(
            FdbFilter,
            with_static,
            "--static",
            "Static ones too: those of the user, of ports, and the VTEPs on lists"
        ),
    ],
    rules: &[Rule::NotBoth("--learned", "--static")],
};

impl Parameters for FdbFilter {
    fn blank() -> Self {
        Self::default()
    }
}

/// An FDB entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FdbRow {
    /// The VNI.
    pub vni: Vni,
    /// The MAC; all zero for an entry of the flood list.
    pub mac: MacAddr,
    /// The VTEP it is behind, or `null`.
    #[schema(value_type = Option<crate::model::Ip>)]
    pub dst: Option<IpAddr>,
    /// The local port it is behind, or `null`.
    pub dev: Option<String>,
    /// Who made it.
    pub state: EntryState,
    /// Seconds since the address was last seen; `null` for a static entry.
    pub age_s: Option<u64>,
    /// The MAC moved too often and is frozen in its place (RFC 7432 section 15.1).
    pub duplicate: bool,
    /// Who set it; `null` for what was learned.
    pub source: Option<Source>,
    /// The VTEP that a frozen MAC was seen behind too; left out of other rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::Ip>)]
    pub other_dst: Option<IpAddr>,
    /// The local port that a frozen MAC was seen behind too; left out of other rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_dev: Option<String>,
}

impl Row for FdbRow {
    const COLUMNS: &'static [Column<Self>] = &[
        column!(vni, text),
        column!(mac, text),
        column!(dst, optional),
        column!(dev, optional),
        column!(state, text),
        column!(age_s, optional),
        column!(duplicate, yes_no),
        column!(source, optional),
        column!(other_dst, optional),
        column!(other_dev, optional),
    ];
}
