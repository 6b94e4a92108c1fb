//! The changes that can be asked for.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    FdbDel, FdbFilter, FdbSpec, NeighDel, NeighSpec, NexthopDel, NexthopSpec, PeerSpec, PortChange,
    PortPart, PortSpec, Vni, VniSpec,
};

/// A change, as it travels in a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Make a VNI.
    VniAdd {
        /// The VNI.
        vni: Vni,
        /// Its settings.
        #[serde(default)]
        spec: Box<VniSpec>,
    },
    /// Change a VNI.
    VniSet {
        /// The VNI.
        vni: Vni,
        /// What to change.
        spec: Box<VniSpec>,
    },
    /// Delete a VNI.
    VniDel {
        /// The VNI.
        vni: Vni,
    },
    /// Put a port into a VNI.
    PortAdd(Box<PortSpec>),
    /// Change a port.
    PortSet {
        /// The device.
        dev: String,
        /// What to change.
        change: Box<PortChange>,
    },
    /// Take a port, or a part of it, away.
    PortDel {
        /// The device.
        dev: String,
        /// Which part.
        #[serde(default)]
        part: PortPart,
    },
    /// Write an FDB entry, refused if the MAC has one.
    FdbAdd(FdbSpec),
    /// Add a destination to the flood list or to a multicast MAC.
    FdbAppend(FdbSpec),
    /// Write an FDB entry whether the MAC has one or not.
    FdbReplace(FdbSpec),
    /// Delete an FDB entry.
    FdbDel(FdbDel),
    /// Delete all FDB entries that match.
    FdbFlush(FdbFilter),
    /// Write a neigh entry, refused if the host has one of the user's.
    NeighAdd(NeighSpec),
    /// Write a neigh entry whether the host has one or not.
    NeighReplace(NeighSpec),
    /// Delete a neigh entry.
    NeighDel(NeighDel),
    /// Write a nexthop entry, refused if the host or prefix has one.
    NexthopAdd(NexthopSpec),
    /// Write a nexthop entry whether the host or prefix has one or not.
    NexthopReplace(NexthopSpec),
    /// Delete a nexthop entry.
    NexthopDel(NexthopDel),
    /// Change a peer.
    PeerSet {
        /// The peer.
        #[schema(value_type = String)]
        ip: IpAddr,
        /// What to change.
        spec: PeerSpec,
    },
}
