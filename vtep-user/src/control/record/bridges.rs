//! The bridges of VNIs, and what the kernel has of them.

use std::collections::{BTreeMap, HashMap};

use vtep_common::abi::{
    addr::MacAddr,
    id::{Ifindex, SegmentId},
    port::PortName,
};

use crate::model::Vni;

/// The bridge of each VNI that has one. No bridge is in two.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bridges {
    names: BTreeMap<SegmentId, PortName>,
}

impl Bridges {
    /// The name of a segment's bridge.
    pub(crate) fn of(&self, number: SegmentId) -> Option<PortName> {
        self.names.get(&number).copied()
    }

    /// The segment that has a bridge.
    pub(crate) fn segment_of(&self, name: PortName) -> Option<SegmentId> {
        let mut names = self.names.iter();
        names.find_map(|(number, other)| (*other == name).then_some(*number))
    }

    /// All, by segment.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SegmentId, &str)> {
        let names = self.names.iter();
        names.map(|(number, name)| (*number, name.as_str()))
    }

    /// Sets the bridge of a segment; true if it had another.
    pub(crate) fn set(&mut self, number: SegmentId, name: Option<PortName>) -> bool {
        let old = match name {
            Some(name) => self.names.insert(number, name),
            None => self.names.remove(&number),
        };
        old != name
    }
}

/// Why an interface cannot be the bridge of a VNI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is no bridge.
    NoBridge,
    /// It tells VLANs apart.
    VlanAware,
    /// It runs a spanning tree, which sets the states of its members itself.
    SpanningTree,
    /// It is an uplink.
    Uplink,
    /// It has an uplink as a member.
    HasUplink(String),
    /// It is in a VNI of another instance.
    OtherInstance(String),
}

impl Unfit {
    /// The sentence that says so, and what to do.
    #[must_use]
    pub fn sentence(&self, bridge: &str) -> String {
        match self {
            Self::NoBridge => format!(
                "{bridge} is no bridge; name one, or have the interface as a port with: vtep port add {bridge} --vni VNI"
            ),
            Self::VlanAware => format!(
                "bridge {bridge} tells VLANs apart, and a VNI has none; switch that off with: ip link set {bridge} type bridge vlan_filtering 0"
            ),
            Self::SpanningTree => format!(
                "bridge {bridge} runs a spanning tree, which opens and closes its members itself; switch that off with: ip link set {bridge} type bridge stp_state 0"
            ),
            Self::Uplink => format!(
                "bridge {bridge} is the uplink, and the underlay is no part of a VNI; give the guests a bridge of their own"
            ),
            Self::HasUplink(uplink) => format!(
                "bridge {bridge} has the uplink {uplink} as a member, and the underlay is no part of a VNI; give the guests a bridge of their own"
            ),
            Self::OtherInstance(instance) => format!(
                "bridge {bridge} is in a VNI of instance {instance}, and a bridge is in one; see which with: vtep vni show --instance {instance}"
            ),
        }
    }
}

/// A bridge, or what has the name of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeFacts {
    /// Its number.
    pub ifindex: Ifindex,
    /// Its MAC, which is the host's.
    pub mac: MacAddr,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Why it cannot be the bridge of a VNI.
    pub unfit: Option<Unfit>,
    /// Its members, without gates.
    pub members: Vec<MemberFacts>,
}

/// A member of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFacts {
    /// Its number.
    pub ifindex: Ifindex,
    /// Its name.
    pub name: String,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Whether it can send.
    pub carrier: bool,
    /// Whether the bridge neither takes frames from it nor sends it any.
    pub closed: bool,
}

/// A gate: the veth pair by which a bridge and a VNI of this instance meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateFacts {
    /// The VNI.
    pub vni: Vni,
    /// The end that is a member of the bridge, and its name.
    pub inner: (Ifindex, String),
    /// The end that is a port of the VNI, and its name.
    pub outer: (Ifindex, String),
    /// The MTU of both ends, in bytes; the smaller one where they differ.
    pub mtu: u32,
    /// The bridge that has the first.
    pub bridge: Option<Ifindex>,
    /// Whether both ends are up.
    pub up: bool,
}

/// What the kernel has of bridges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeView {
    /// The bridges, and what else has a name that is asked for, by name.
    pub bridges: HashMap<String, BridgeFacts>,
    /// The gates of this instance.
    pub gates: Vec<GateFacts>,
}
