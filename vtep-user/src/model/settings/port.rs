//! A port: its settings, and its row.
//!
//! A setting is a field of [`PortSpec`] and of [`PortChange`], a setting in the list below each of them, a field of
//! [`PortRow`] and a column. What it does is decided where it is applied: `control/ops/port.rs`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::model::argument::{ArgumentList, Rule, setting};
use crate::model::column::{Column, Row, column};
use crate::model::{
    BitRate, FrameRate, MacAddr, OverLimit, Parameters, PortDelivery, PortGuard, PortHook,
    PortState, Source, VlanId, Vni, limits,
};

/// A device, or one VLAN of it, to put into a VNI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortSpec {
    /// The device.
    #[schema(value_type = crate::model::DeviceName)]
    pub dev: String,
    /// The VNI.
    pub vni: Vni,
    /// The VLAN; absent for the untagged frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
    /// The hook that takes its frames; absent for `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<PortHook>,
    /// The static MACs behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub macs: Vec<MacAddr>,
    /// The IPs behind it: ARP and ND are answered for them, and the nexthop table has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<crate::model::Ip>)]
    pub ips: Vec<IpAddr>,
    /// Most MACs that may be learned on it; 0 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::Count>)]
    pub max_macs: Option<u32>,
    /// Whether it exchanges no frames with other isolated ports of the VNI; absent for `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated: Option<bool>,
    /// Which frames it takes; absent for `off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<PortGuard>,
    /// Whether a router is behind it, whose advertisements a guard lets pass; absent for `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<bool>,
    /// What happens to frames from MACs above the limit; absent for `drop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_limit: Option<OverLimit>,
    /// Most broadcast, unknown unicast and multicast frames that it may have flooded in a second; 0 for any number, absent for 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bum_rate: Option<FrameRate>,
    /// Most bits that come from it in a second; 0, or absent, for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_in: Option<BitRate>,
    /// Most bits that go to it in a second; 0, or absent, for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_out: Option<BitRate>,
    /// Whether frames to it pass the device's queueing discipline and egress filters; absent for `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<PortDelivery>,
    /// Whether it may wait for a device that does not exist yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
}

/// What is given of a new port.
pub static NEW: ArgumentList<PortSpec> = ArgumentList {
    settings: &[
        setting!(PortSpec, dev, "DEV", "The device"),
        setting!(PortSpec, vni, "--vni", "The VNI"),
        setting!(
            PortSpec,
            vlan,
            "--vlan",
            "This VLAN of it; without it, the untagged frames"
        )
        .value_name("ID"),
        setting!(PortSpec, hook, "--hook", "The hook that takes its frames"),
        setting!(
            PortSpec,
            macs,
            "--mac",
            "A MAC behind it: makes a static FDB entry"
        ),
        setting!(
            PortSpec,
            ips,
            "--ip",
            "An IP behind it: ARP and ND are answered for it, and the nexthop table has it"
        ),
        setting!(
            PortSpec,
            max_macs,
            "--max-macs",
            "Most FDB entries behind it"
        )
        .value_name("N|none")
        .negative()
        .read_by(
            limits::check_max_macs,
            |to, text| limits::max_macs(text).map(|it| to.max_macs = Some(it)),
            |from| limits::max_macs_text(from.max_macs),
        ),
        setting!(
            PortSpec,
            isolated,
            "--isolated",
            "Exchange no frames with other isolated ports of the VNI"
        ),
        setting!(
            PortSpec,
            guard,
            "--guard",
            "Which frames it takes: all, those from its static MACs alone, or of these those from its IPs"
        ),
        setting!(
            PortSpec,
            router,
            "--router",
            "A router is behind it: --guard ip lets its advertisements pass"
        ),
        setting!(
            PortSpec,
            over_limit,
            "--over-limit",
            "What happens to frames from new MACs when --max-macs is reached"
        ),
        setting!(
            PortSpec,
            bum_rate,
            "--bum-rate",
            "Most broadcast, unknown unicast and multicast frames that it may have flooded in a second (1000)"
        )
        .negative(),
        setting!(
            PortSpec,
            rate_in,
            "--rate-in",
            "Most bits of frames that come from it in a second, as in 10mbit"
        )
        .negative(),
        setting!(
            PortSpec,
            rate_out,
            "--rate-out",
            "Most bits of frames that go to it in a second, as in 10mbit"
        )
        .negative(),
        setting!(
            PortSpec,
            delivery,
            "--delivery",
            "Whether frames to it pass the device's queueing discipline and egress filters"
        ),
        setting!(
            PortSpec,
            wait,
            "--wait",
            "Wait for the device if it does not exist yet"
        ),
    ],
    rules: &[],
};

impl Parameters for PortSpec {
    fn blank() -> Self {
        Self {
            dev: String::new(),
            vni: Vni::ZERO,
            vlan: None,
            hook: None,
            macs: Vec::new(),
            ips: Vec::new(),
            max_macs: None,
            isolated: None,
            guard: None,
            router: None,
            over_limit: None,
            bum_rate: None,
            rate_in: None,
            rate_out: None,
            delivery: None,
            wait: false,
        }
    }
}

/// Changes of a port. Absent fields stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PortChange {
    /// Which VLAN of the device; absent for the untagged frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
    /// The VNI to move it to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<Vni>,
    /// The hook that takes its frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<PortHook>,
    /// The static MACs behind it; they replace its previous ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs: Option<Vec<MacAddr>>,
    /// The IPs behind it; they replace its previous ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<crate::model::Ip>>)]
    pub ips: Option<Vec<IpAddr>>,
    /// Most MACs that may be learned on it; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::model::Count>)]
    pub max_macs: Option<u32>,
    /// Whether it exchanges no frames with other isolated ports of the VNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolated: Option<bool>,
    /// Which frames it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<PortGuard>,
    /// Whether a router is behind it, whose advertisements a guard lets pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<bool>,
    /// What happens to frames from MACs above the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_limit: Option<OverLimit>,
    /// Most broadcast, unknown unicast and multicast frames that it may have flooded in a second; 0 for any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bum_rate: Option<FrameRate>,
    /// Most bits that come from it in a second; 0 for any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_in: Option<BitRate>,
    /// Most bits that go to it in a second; 0 for any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_out: Option<BitRate>,
    /// Whether frames to it pass the device's queueing discipline and egress filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<PortDelivery>,
}

/// What is given of a port to change.
pub static CHANGE: ArgumentList<PortChange> = ArgumentList {
    settings: &[
        setting!(PortChange, vni, "--vni", "The VNI to move it to"),
        setting!(
            PortChange,
            vlan,
            "--vlan",
            "Which VLAN of it; without it, the untagged frames"
        )
        .value_name("ID"),
        setting!(PortChange, hook, "--hook", "The hook that takes its frames"),
        setting!(
            PortChange,
            macs,
            "--mac",
            "A MAC behind it; replaces its previous static entries"
        ),
        setting!(
            PortChange,
            ips,
            "--ip",
            "An IP behind it; replaces its previous IPs"
        ),
        setting!(
            PortChange,
            max_macs,
            "--max-macs",
            "Most FDB entries behind it"
        )
        .value_name("N|none")
        .negative()
        .read_by(
            limits::check_max_macs,
            |to, text| limits::max_macs(text).map(|it| to.max_macs = Some(it)),
            |from| limits::max_macs_text(from.max_macs),
        ),
        setting!(
            PortChange,
            isolated,
            "--isolated",
            "Exchange no frames with other isolated ports of the VNI"
        ),
        setting!(
            PortChange,
            guard,
            "--guard",
            "Which frames it takes: all, those from its static MACs alone, or of these those from its IPs"
        ),
        setting!(
            PortChange,
            router,
            "--router",
            "A router is behind it: --guard ip lets its advertisements pass"
        ),
        setting!(
            PortChange,
            over_limit,
            "--over-limit",
            "What happens to frames from new MACs when --max-macs is reached"
        ),
        setting!(
            PortChange,
            bum_rate,
            "--bum-rate",
            "Most broadcast, unknown unicast and multicast frames that it may have flooded in a second"
        )
        .negative(),
        setting!(
            PortChange,
            rate_in,
            "--rate-in",
            "Most bits of frames that come from it in a second, as in 10mbit"
        )
        .negative(),
        setting!(
            PortChange,
            rate_out,
            "--rate-out",
            "Most bits of frames that go to it in a second, as in 10mbit"
        )
        .negative(),
        setting!(
            PortChange,
            delivery,
            "--delivery",
            "Whether frames to it pass the device's queueing discipline and egress filters"
        ),
    ],
    rules: &[Rule::Something {
        besides: &["--vlan"],
        sentence: "nothing to set; give at least one option besides --vlan",
    }],
};

impl Parameters for PortChange {
    fn blank() -> Self {
        Self::default()
    }
}

/// Which part of a port to remove. With neither field, the device goes with all its VLANs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PortPart {
    /// Only this VLAN of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
    /// Only its VLANs that belong to this VNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<Vni>,
    /// Only its untagged frames. Nobody can ask for it.
    #[serde(skip)]
    #[schema(ignore)]
    #[param(ignore)]
    pub untagged: bool,
}

/// Which part of a port.
pub static PART: ArgumentList<PortPart> = ArgumentList {
    settings: &[
        setting!(PortPart, vlan, "--vlan", "Only this VLAN of it").value_name("ID"),
        setting!(
            PortPart,
            vni,
            "--vni",
            "Only its VLANs that belong to this VNI"
        ),
    ],
    rules: &[],
};

impl Parameters for PortPart {
    fn blank() -> Self {
        Self::default()
    }
}

/// A port, or one VLAN of a port, that belongs to a VNI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortRow {
    /// The device.
    pub dev: String,
    /// The VNI it belongs to.
    pub vni: Vni,
    /// The VLAN, or `null` for the untagged frames.
    pub vlan: Option<VlanId>,
    /// The hook that takes its frames.
    pub hook: PortHook,
    /// The device's index; `null` while the device does not exist.
    pub ifindex: Option<u32>,
    /// How frames are delivered to the device: `xdp`, where XDP may redirect to it, `tc`, or `qdisc`, by its queueing discipline and egress
    /// filters; `null` while the device does not exist.
    pub delivery: Option<String>,
    /// The static MACs behind it.
    pub macs: Vec<MacAddr>,
    /// The IPs behind it: ARP and ND are answered for them, and the nexthop table has them.
    #[schema(value_type = Vec<crate::model::Ip>)]
    pub ips: Vec<IpAddr>,
    /// Most MACs that may be learned on it; `null` for no limit.
    pub max_macs: Option<u32>,
    /// Whether it exchanges no frames with other isolated ports of the VNI.
    pub isolated: bool,
    /// Which frames it takes.
    pub guard: PortGuard,
    /// What happens to frames from MACs above the limit.
    pub over_limit: OverLimit,
    /// Most broadcast, unknown unicast and multicast frames that it may have flooded in a second; `null` for any number.
    pub bum_rate: Option<FrameRate>,
    /// Most bits that come from it in a second; `null` for any number.
    pub rate_in: Option<BitRate>,
    /// Most bits that go to it in a second; `null` for any number.
    pub rate_out: Option<BitRate>,
    /// Who made it.
    pub source: Source,
    /// Whether the device is there.
    pub state: PortState,
    /// Whether a router is behind it, whose advertisements a guard lets pass.
    pub router: bool,
    /// Whether frames to it are to pass the device's queueing discipline and egress filters.
    pub delivery_wanted: PortDelivery,
    /// What others have set at the device and frames pass by, a sentence each.
    pub bypasses: Vec<String>,
    /// The MTU of the device; `null` while it does not exist.
    pub mtu: Option<u32>,
    /// The largest MTU of a guest whose packets reach every VTEP of the VNI; `null` where the device's is no larger, or no path is known.
    pub mtu_advice: Option<u32>,
}

impl Row for PortRow {
    const COLUMNS: &'static [Column<Self>] = &[
        column!(dev, text),
        column!(vni, text),
        column!(vlan, optional),
        column!(state, text),
        column!(hook, text),
        column!(delivery, optional),
        column!(macs, list),
        column!(ips, list),
        column!(source, text),
    ];
    const DETAILS: &'static [Column<Self>] = &[
        column!(ifindex, optional),
        column!(max_macs, optional),
        column!(isolated, on_off),
        column!(guard, text),
        column!(over_limit, text),
        column!(bum_rate, optional),
        column!(rate_in, optional),
        column!(rate_out, optional),
        column!(router, on_off),
        column!(delivery_wanted, text),
        column!(bypasses, list),
        column!(mtu, optional),
        column!(mtu_advice, optional),
    ];
}
