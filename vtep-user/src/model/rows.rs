//! One row type for each table that can be shown, one request type for each thing that can be changed. The order of a
//! row's fields is the order of its JSON keys.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Df, EntryState, EventKind, Flood, InnerVlan, MacAddr, Mode, NeighState, PeerState, PortHook,
    PortRange, Prefix, Reserved, Tos, Ttl, VlanId, Vni,
};

// Rows

/// A VNI as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VniRow {
    /// The VNI.
    pub vni: Vni,
    /// The mode it was given; the parts below may since have been set on their own.
    pub mode: Mode,
    /// How floods leave.
    pub flood: Flood,
    /// The multicast group, if floods go to one.
    #[schema(value_type = Option<String>)]
    pub group: Option<IpAddr>,
    /// Whether MACs are learned from packets.
    pub learning: bool,
    /// Whether ARP and ND are answered here.
    pub suppress: bool,
    /// Seconds after which a learned entry that was not seen goes; 0 for never.
    pub ageing_s: u32,
    /// Most MACs the VNI may learn; `null` for no limit.
    pub max_macs: Option<u32>,
    /// What happens to tagged frames that no VLAN mapping covers.
    pub inner_vlan: InnerVlan,
    /// Devices that belong to the VNI.
    pub ports: Vec<String>,
    /// VTEPs on the flood list.
    #[schema(value_type = Vec<String>)]
    pub remotes: Vec<IpAddr>,
    /// Outer TTL.
    pub ttl: Ttl,
    /// Outer TOS byte.
    pub tos: Tos,
    /// Outer DF bit over IPv4.
    pub df: Df,
    /// Outer UDP source ports.
    pub srcport: PortRange,
    /// What non-zero reserved header bits do on receipt.
    pub reserved: Reserved,
}

/// A port, or one VLAN of a port, that belongs to a VNI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortRow {
    /// The device.
    pub dev: String,
    /// The VNI it belongs to.
    pub vni: Vni,
    /// The VLAN that does, or `null` for the untagged frames.
    pub vlan: Option<VlanId>,
    /// The hook that takes its frames.
    pub hook: PortHook,
    /// The device's index; `null` while the device does not exist.
    pub ifindex: Option<u32>,
    /// How frames are handed to the device.
    pub delivery: Option<String>,
    /// The MACs that the FDB has behind it.
    pub macs: Vec<MacAddr>,
    /// The IPs behind it: ARP and ND are answered for them, and the nexthop table has them.
    #[schema(value_type = Vec<String>)]
    pub ips: Vec<IpAddr>,
    /// Most MACs that may be learned on it; `null` for no limit.
    pub max_macs: Option<u32>,
}

/// An FDB entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FdbRow {
    /// The VNI.
    pub vni: Vni,
    /// The MAC; all zero for an entry of the flood list.
    pub mac: MacAddr,
    /// The VTEP it is behind, or `null`.
    #[schema(value_type = Option<String>)]
    pub dst: Option<IpAddr>,
    /// The local port it is behind, or `null`.
    pub dev: Option<String>,
    /// Who put it there.
    pub state: EntryState,
    /// Seconds since the address was last seen; `null` for a static entry.
    pub age_s: Option<u64>,
    /// The MAC moved too often and stays where it is for now (RFC 7432 section 15.1).
    pub duplicate: bool,
}

/// A remote VTEP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerRow {
    /// Its underlay IP.
    #[schema(value_type = String)]
    pub ip: IpAddr,
    /// The uplink towards it.
    pub dev: Option<String>,
    /// The MAC of its next hop.
    pub mac: Option<MacAddr>,
    /// Whether packets can be sent to it.
    pub state: PeerState,
    /// The MTU of the route to it.
    pub mtu: Option<u32>,
    /// Whether it is sent outer UDP checksums over IPv6; `null` over IPv4.
    pub csum6: Option<bool>,
    /// The gateway towards it; `null` if it is on the link.
    #[schema(value_type = Option<String>)]
    pub via: Option<IpAddr>,
}

/// A host that ARP and ND are answered for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NeighRow {
    /// The VNI.
    pub vni: Vni,
    /// The host.
    #[schema(value_type = String)]
    pub ip: IpAddr,
    /// Its MAC.
    pub lladdr: MacAddr,
    /// Who put it there.
    pub state: NeighState,
    /// The local port it was heard at or given to, or `null`.
    pub dev: Option<String>,
    /// Whether ND answers call it a router.
    pub router: bool,
    /// Seconds since it was last heard; `null` where it does not age.
    pub age_s: Option<u64>,
}

/// An entry of the nexthop table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NexthopRow {
    /// The VNI.
    pub vni: Vni,
    /// The host, or the prefix.
    #[schema(value_type = String)]
    pub ip: Prefix,
    /// The VTEP to send to; `null` where the host is where the FDB has `lladdr`, or local.
    #[schema(value_type = Option<String>)]
    pub via: Option<IpAddr>,
    /// The inner destination MAC that frames get; `null` where they keep theirs.
    pub lladdr: Option<MacAddr>,
    /// The local port that it leads to, or `null`.
    pub dev: Option<String>,
    /// Who put it there: `static`, or `port` for the addresses of a port.
    pub state: NeighState,
    /// Whether it leads anywhere now.
    pub usable: bool,
}

/// An event: when, and what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventRow {
    /// When, in RFC 3339 with microseconds, UTC.
    pub time: String,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// Something that happened. What does not apply is `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Happening {
    /// What.
    pub event: EventKind,
    /// The VNI.
    pub vni: Option<Vni>,
    /// The MAC.
    pub mac: Option<MacAddr>,
    /// The host.
    #[schema(value_type = Option<String>)]
    pub ip: Option<IpAddr>,
    /// The VTEP it is behind now; of a peer event, the peer.
    #[schema(value_type = Option<String>)]
    pub dst: Option<IpAddr>,
    /// The local port it is behind now.
    pub dev: Option<String>,
    /// The VTEP it was behind before.
    #[schema(value_type = Option<String>)]
    pub old_dst: Option<IpAddr>,
    /// The local port it was behind before.
    pub old_dev: Option<String>,
    /// How many, where one row stands for several.
    pub count: Option<u64>,
    /// Why, in a word or a sentence.
    pub why: Option<String>,
}

impl Happening {
    /// An event of this kind of which nothing else is said yet.
    #[must_use]
    pub const fn new(event: EventKind) -> Self {
        Self {
            event,
            vni: None,
            mac: None,
            ip: None,
            dst: None,
            dev: None,
            old_dst: None,
            old_dev: None,
            count: None,
            why: None,
        }
    }
}

/// A counter. What it is not split by is `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatsRow {
    /// The hook that counted.
    pub hook: Option<String>,
    /// What became of the frames.
    pub reason: Option<String>,
    /// The VNI.
    pub vni: Option<Vni>,
    /// The port.
    pub dev: Option<String>,
    /// The remote VTEP.
    #[schema(value_type = Option<String>)]
    pub peer: Option<IpAddr>,
    /// Frames.
    pub packets: u64,
    /// Bytes of these frames.
    pub bytes: u64,
}

/// A counter of frames that were dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DropsRow {
    /// The hook that dropped them.
    pub hook: String,
    /// Why.
    pub reason: String,
    /// Frames.
    pub packets: u64,
    /// Bytes of these frames.
    pub bytes: u64,
    /// The reason as a sentence.
    pub meaning: String,
}

/// The daemon itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The name of the instance.
    pub instance: String,
    /// The version of the daemon.
    pub version: String,
    /// Its process ID.
    pub pid: u32,
    /// The UDP port that VXLAN packets are sent to.
    pub udp_port: u16,
    /// The kernel device that holds the UDP port.
    pub device: Option<String>,
    /// The addresses it sends from.
    #[schema(value_type = Vec<String>)]
    pub locals: Vec<IpAddr>,
    /// The interfaces towards the underlay.
    pub uplinks: Vec<UplinkStatus>,
    /// Number of VNIs.
    pub vnis: u64,
    /// Number of ports.
    pub ports: u64,
    /// Number of peers.
    pub peers: u64,
    /// Number of FDB entries.
    pub fdb: u64,
    /// Number of FDB entries there is room for.
    pub fdb_max: u64,
}

/// An interface towards the underlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UplinkStatus {
    /// The interface.
    pub dev: String,
    /// What takes its packets first: `xdp native`, `xdp generic` or `tc`.
    pub hook: String,
    /// Why it is not `xdp native`.
    pub why: Option<String>,
}

// Requests

/// What to set on a VNI. What is absent is left as it is or, for a new VNI, takes its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VniSpec {
    /// One of the four usual sets of `flood`, `learning` and `suppress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// How floods leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flood: Option<Flood>,
    /// The multicast group floods go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub group: Option<IpAddr>,
    /// Whether MACs are learned from packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning: Option<bool>,
    /// Whether ARP and ND are answered here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppress: Option<bool>,
    /// Seconds after which a learned entry that was not seen goes; 0 for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ageing_s: Option<u32>,
    /// Most MACs the VNI may learn; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_macs: Option<u32>,
    /// What happens to tagged frames that no VLAN mapping covers.
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
    /// What non-zero reserved header bits do on receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Reserved>,
}

/// A device, or one VLAN of it, to put into a VNI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortSpec {
    /// The device.
    pub dev: String,
    /// The VNI.
    pub vni: Vni,
    /// The VLAN; absent for the untagged frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
    /// The hook to take its frames at; absent for `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<PortHook>,
    /// The MACs that the FDB has behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub macs: Vec<MacAddr>,
    /// The IPs behind it: ARP and ND are answered for them, and the nexthop table has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub ips: Vec<IpAddr>,
    /// Most MACs that may be learned on it; 0 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_macs: Option<u32>,
}

/// What to change on a port. What is absent is left as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PortChange {
    /// Which VLAN of the device; absent for the untagged frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
    /// The VNI to move it to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<Vni>,
    /// The hook to take its frames at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<PortHook>,
    /// The MACs that the FDB is to have behind it, in place of those so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs: Option<Vec<MacAddr>>,
    /// The IPs behind it, in place of those so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub ips: Option<Vec<IpAddr>>,
    /// Most MACs that may be learned on it; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_macs: Option<u32>,
}

/// Which part of a port to take away. With neither, the device goes with all its VLANs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PortPart {
    /// This VLAN of it only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<u16>)]
    pub vlan: Option<VlanId>,
    /// What of it belongs to this VNI only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<u32>)]
    pub vni: Option<Vni>,
}

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
    #[schema(value_type = Option<String>)]
    pub dst: Option<IpAddr>,
    /// The local port it is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
}

/// An FDB entry to delete: wherever it points, or only if it points there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FdbDel {
    /// The MAC; all zero for an entry of the flood list, which needs `dst`.
    #[param(value_type = String)]
    pub mac: MacAddr,
    /// The VNI.
    #[param(value_type = u32)]
    pub vni: Vni,
    /// Only if it points to this VTEP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    pub dst: Option<IpAddr>,
    /// Only if it points to this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
}

/// Which FDB entries: those that match everything given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FdbFilter {
    /// Of this VNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<u32>)]
    pub vni: Option<Vni>,
    /// Behind this VTEP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    pub dst: Option<IpAddr>,
    /// Behind this port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Learned ones only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub learned: bool,
}

/// Which VNI: one, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VniFilter {
    /// Of this VNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<u32>)]
    pub vni: Option<Vni>,
}

/// A host to answer ARP and ND for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NeighSpec {
    /// The host.
    #[schema(value_type = String)]
    pub ip: IpAddr,
    /// The VNI.
    pub vni: Vni,
    /// Its MAC; refused if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lladdr: Option<MacAddr>,
    /// Whether ND answers call it a router.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub router: bool,
}

/// A host not to answer for any more: whatever its MAC, or only if it has that one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NeighDel {
    /// The host.
    #[schema(value_type = String)]
    #[param(value_type = String)]
    pub ip: IpAddr,
    /// The VNI.
    #[param(value_type = u32)]
    pub vni: Vni,
    /// Only if it has this MAC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub lladdr: Option<MacAddr>,
}

/// An entry of the nexthop table to write. At least one of `via` and `lladdr` is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NexthopSpec {
    /// The host, or the prefix.
    #[schema(value_type = String)]
    pub ip: Prefix,
    /// The VNI.
    pub vni: Vni,
    /// The VTEP to send to; absent where the host is where the FDB has `lladdr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub via: Option<IpAddr>,
    /// The inner destination MAC that frames get; absent where they keep theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lladdr: Option<MacAddr>,
}

/// An entry of the nexthop table to delete: wherever it leads, or only if it leads there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NexthopDel {
    /// The host, or the prefix.
    #[schema(value_type = String)]
    #[param(value_type = String)]
    pub ip: Prefix,
    /// The VNI.
    #[param(value_type = u32)]
    pub vni: Vni,
    /// Only if it leads to this VTEP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    pub via: Option<IpAddr>,
    /// Only if it has this MAC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub lladdr: Option<MacAddr>,
}

/// What to set on a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PeerSpec {
    /// Whether to send it outer UDP checksums over IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csum6: Option<bool>,
}

/// Which counters: those that are split by everything given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatsFilter {
    /// Of this VNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<u32>)]
    pub vni: Option<Vni>,
    /// Of this port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Of this remote VTEP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    pub peer: Option<IpAddr>,
}
