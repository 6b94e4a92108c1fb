//! A VNI: its settings, and its row.
//!
//! A setting is a field of [`VniSpec`], a [`Setting`] in the list below it, a field of [`VniRow`] and a column. What it does
//! is decided where it is applied: `control/record/settings.rs`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::model::argument::{ArgumentList, Rule, Setting, setting};
use crate::model::column::{Column, Row, column};
use crate::model::{
    BadValue, Df, Flood, InnerVlan, L2cp, Mode, OverLimit, Parameters, PortRange, Reserved, Source,
    Sources, Tos, Ttl, Vni, limits,
};

/// Settings of a VNI. An absent one stays as it is; in a new VNI it takes its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VniSpec {
    /// A preset of `flood`, `learning` and `suppress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// How floods leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flood: Option<Flood>,
    /// The multicast group floods go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::Ip>)]
    pub group: Option<IpAddr>,
    /// Whether MACs are learned from packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning: Option<bool>,
    /// Whether ARP and ND are answered here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppress: Option<bool>,
    /// Seconds after which a learned entry without a frame goes; 0 for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::Count>)]
    pub ageing_s: Option<u32>,
    /// Most MACs of the VNI; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::Count>)]
    pub max_macs: Option<u32>,
    /// What happens to frames with a VLAN tag that has no mapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inner_vlan: Option<InnerVlan>,
    /// Outer TTL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Ttl>,
    /// Outer TOS byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos: Option<Tos>,
    /// Outer DF bit over IPv4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub df: Option<Df>,
    /// Outer UDP source ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub srcport: Option<PortRange>,
    /// What happens to packets with reserved header bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Reserved>,
    /// What happens to frames from MACs above the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_limit: Option<OverLimit>,
    /// Which VTEPs packets are taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<Sources>,
    /// What happens to frames to link-local group addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l2cp: Option<L2cp>,
    /// Whether SYNs offer no larger segments than the path to their VTEP carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mss_clamp: Option<bool>,
    /// The bridge whose members are ports of the VNI; `none` for no bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::DeviceName>)]
    pub bridge: Option<String>,
}

/// What is given for the name of a bridge where there is to be none.
pub const NO_BRIDGE: &str = "none";

/// Refuses what is no name that an interface can have.
pub(crate) fn check_bridge(text: &str) -> Result<(), BadValue> {
    const LONGEST: usize = 15;
    let odd = |c: char| c == '/' || c == ':' || c.is_whitespace();
    if text.is_empty() || text.len() > LONGEST || text.contains(odd) || [".", ".."].contains(&text)
    {
        return Err(BadValue::new(format!(
            "`{text}` is not the name of an interface; give a bridge such as br0, or `{NO_BRIDGE}`"
        )));
    }
    Ok(())
}

static SETTINGS: [Setting<VniSpec>; 18] = [
    setting!(
        VniSpec,
        mode,
        "--mode",
        "A preset of --flood, --learning and --suppress"
    ),
    setting!(
        VniSpec,
        flood,
        "--flood",
        "How broadcast, multicast and unknown unicast frames leave"
    ),
    setting!(
        VniSpec,
        group,
        "--group",
        "The multicast group that floods go to; needed with --flood multicast"
    )
    .value_name("IP"),
    setting!(
        VniSpec,
        learning,
        "--learning",
        "Learn from incoming frames where each MAC is"
    ),
    setting!(
        VniSpec,
        suppress,
        "--suppress",
        "Answer ARP and ND for known hosts at the port"
    ),
    setting!(
        VniSpec,
        ageing_s,
        "--ageing",
        "Delete a learned MAC after this time without a frame from it; 0 for never"
    )
    .value_name("SECONDS")
    .negative()
    .read_by(
        limits::check_ageing,
        |to, text| limits::ageing(text).map(|it| to.ageing_s = Some(it)),
        |from| from.ageing_s.iter().map(u32::to_string).collect(),
    ),
    setting!(
        VniSpec,
        max_macs,
        "--max-macs",
        "Most FDB entries of the VNI"
    )
    .value_name("N|none")
    .negative()
    .read_by(
        limits::check_max_macs,
        |to, text| limits::max_macs(text).map(|it| to.max_macs = Some(it)),
        |from| limits::max_macs_text(from.max_macs),
    ),
    setting!(
        VniSpec,
        inner_vlan,
        "--inner-vlan",
        "What happens to frames with a VLAN tag that has no mapping"
    ),
    setting!(
        VniSpec,
        ttl,
        "--ttl",
        "Outer TTL, or `inherit` from the inner packet"
    ),
    setting!(
        VniSpec,
        tos,
        "--tos",
        "Outer TOS byte, or `inherit` from the inner packet; ECN always follows RFC 6040"
    ),
    setting!(
        VniSpec,
        df,
        "--df",
        "Outer \"don't fragment\" bit over IPv4"
    ),
    setting!(VniSpec, srcport, "--srcport", "Outer UDP source ports"),
    setting!(
        VniSpec,
        reserved,
        "--reserved",
        "What happens to packets with reserved header bits"
    ),
    setting!(
        VniSpec,
        over_limit,
        "--over-limit",
        "What happens to frames from new MACs when --max-macs is reached"
    ),
    setting!(
        VniSpec,
        sources,
        "--sources",
        "Which VTEPs packets are taken from: those that an entry of the VNI names, or any; any by default where floods go to a group, else listed"
    ),
    setting!(
        VniSpec,
        l2cp,
        "--l2cp",
        "What happens to frames to the link-local groups 01:80:c2:00:00:00 to :0f: pause, STP, LACP, LLDP"
    ),
    setting!(
        VniSpec,
        mss_clamp,
        "--mss-clamp",
        "Lower the segment size that TCP SYNs to and from VTEPs offer to what the path carries"
    ),
    setting!(
        VniSpec,
        bridge,
        "--bridge",
        "Have the members of this Linux bridge as ports, and the bridge's own address as a host of the VNI"
    )
    .value_name("BRIDGE|none")
    .read_by(
        check_bridge,
        |to, text| check_bridge(text).map(|()| to.bridge = Some(text.to_owned())),
        |from| from.bridge.iter().cloned().collect(),
    ),
];

/// The settings of a new VNI.
pub static NEW: ArgumentList<VniSpec> = ArgumentList {
    settings: &SETTINGS,
    rules: &[],
};

/// The settings of a VNI to change.
pub static CHANGE: ArgumentList<VniSpec> = ArgumentList {
    settings: &SETTINGS,
    rules: &[Rule::Something {
        besides: &[],
        sentence: "nothing to set; give at least one option",
    }],
};

impl Parameters for VniSpec {
    fn blank() -> Self {
        Self::default()
    }
}

/// How a VNI is deleted.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams,
)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VniDelete {
    /// With its ports, remote VTEPs and static entries.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// How to delete a VNI.
pub static DELETE: ArgumentList<VniDelete> = ArgumentList {
    settings: &[setting!(
        VniDelete,
        force,
        "--force",
        "With its ports, remote VTEPs and static entries"
    )],
    rules: &[],
};

impl Parameters for VniDelete {
    fn blank() -> Self {
        Self::default()
    }
}

/// A VNI as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VniRow {
    /// The VNI.
    pub vni: Vni,
    /// The mode that was set last; its parts below may have changed since.
    pub mode: Mode,
    /// How floods leave.
    pub flood: Flood,
    /// The multicast group, if floods go to one.
    #[schema(value_type = Option<crate::model::Ip>)]
    pub group: Option<IpAddr>,
    /// Whether MACs are learned from packets.
    pub learning: bool,
    /// Whether ARP and ND are answered here.
    pub suppress: bool,
    /// Seconds after which a learned entry without a frame goes; 0 for never.
    pub ageing_s: u32,
    /// Most MACs of the VNI; `null` for no limit.
    pub max_macs: Option<u32>,
    /// What happens to frames with a VLAN tag that has no mapping.
    pub inner_vlan: InnerVlan,
    /// Devices that belong to the VNI.
    pub ports: Vec<String>,
    /// VTEPs on the flood list.
    #[schema(value_type = Vec<crate::model::Ip>)]
    pub remotes: Vec<IpAddr>,
    /// Outer TTL.
    pub ttl: Ttl,
    /// Outer TOS byte.
    pub tos: Tos,
    /// Outer DF bit over IPv4.
    pub df: Df,
    /// Outer UDP source ports.
    pub srcport: PortRange,
    /// What happens to packets with reserved header bits.
    pub reserved: Reserved,
    /// What happens to frames from MACs above the limit.
    pub over_limit: OverLimit,
    /// Which VTEPs packets are taken from.
    pub sources: Sources,
    /// What happens to frames to link-local group addresses.
    pub l2cp: L2cp,
    /// Who made it.
    pub source: Source,
    /// The bridge whose members are ports of it, if it has one.
    pub bridge: Option<String>,
    /// Whether SYNs offer no larger segments than the path to their VTEP carries.
    pub mss_clamp: bool,
}

impl Row for VniRow {
    const COLUMNS: &'static [Column<Self>] = &[
        column!(vni, text),
        column!(mode, text),
        column!(flood, text),
        column!(ports, list),
        column!(remotes, list),
        column!(learning, on_off),
        column!(suppress, on_off),
        column!(ageing_s, text),
        column!(max_macs, optional),
        column!(group, optional),
    ];
    const DETAILS: &'static [Column<Self>] = &[
        column!(inner_vlan, text),
        column!(ttl, text),
        column!(tos, text),
        column!(df, text),
        column!(srcport, text),
        column!(reserved, text),
        column!(over_limit, text),
        column!(sources, text),
        column!(l2cp, text),
        column!(mss_clamp, on_off),
        column!(bridge, optional),
        column!(source, text),
    ];
}
