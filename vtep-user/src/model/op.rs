//! The changes that can be asked for: each with its command and its route.
//!
//! A new one is a variant of [`Op`], an entry of [`CHANGES`], and what it does: an arm of `State::apply`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::endpoint::{Answers, Endpoint, Input, Method};
use super::operation::{Operation, Syntax};
use super::settings::{fdb, neigh, nexthop, peer, port, vni};
use super::{
    Argument, FdbDel, FdbFilter, FdbSpec, NeighDel, NeighSpec, NexthopDel, NexthopSpec, PeerSpec,
    PortChange, PortPart, PortSpec, RefusalKind, Vni, VniDelete, VniSpec,
};

/// A change, as it travels in a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Create a VNI.
    VniAdd {
        /// The VNI.
        vni: Vni,
        /// Its settings.
        #[serde(default)]
        spec: Box<VniSpec>,
    },
    /// Create a VNI, or give the one that exists just these settings.
    VniReplace {
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
        /// How.
        #[serde(default)]
        options: VniDelete,
    },
    /// Put a port into a VNI.
    PortAdd(Box<PortSpec>),
    /// Put a port into a VNI, or give the one that exists just these settings.
    PortReplace(Box<PortSpec>),
    /// Change a port.
    PortSet {
        /// The device.
        #[schema(value_type = crate::model::DeviceName)]
        dev: String,
        /// What to change.
        change: Box<PortChange>,
    },
    /// Remove a port, or a part of it.
    PortDel {
        /// The device.
        #[schema(value_type = crate::model::DeviceName)]
        dev: String,
        /// Which part.
        #[serde(default)]
        part: PortPart,
    },
    /// Write an FDB entry, refused if the MAC has one.
    FdbAdd(FdbSpec),
    /// Add a destination to the flood list or to a multicast MAC.
    FdbAppend(FdbSpec),
    /// Write an FDB entry, and replace the one that the MAC has.
    FdbReplace(FdbSpec),
    /// Delete an FDB entry.
    FdbDel(FdbDel),
    /// Delete all FDB entries that match.
    FdbFlush(FdbFilter),
    /// Write a neigh entry, refused if the host already has a user's entry.
    NeighAdd(NeighSpec),
    /// Write a neigh entry, and replace the one that the host has.
    NeighReplace(NeighSpec),
    /// Delete a neigh entry.
    NeighDel(NeighDel),
    /// Write a nexthop entry, refused if the host or prefix has one.
    NexthopAdd(NexthopSpec),
    /// Write a nexthop entry, and replace the one that the host or prefix has.
    NexthopReplace(NexthopSpec),
    /// Delete a nexthop entry.
    NexthopDel(NexthopDel),
    /// Change a peer.
    PeerSet {
        /// The peer.
        #[schema(value_type = crate::model::Ip)]
        ip: IpAddr,
        /// What to change.
        spec: PeerSpec,
    },
}

impl Op {
    /// The words of the command that asks for it.
    #[must_use]
    pub const fn words(&self) -> &'static [&'static str; 2] {
        match self {
            Self::VniAdd { .. } => &["vni", "add"],
            Self::VniReplace { .. } => &["vni", "replace"],
            Self::VniSet { .. } => &["vni", "set"],
            Self::VniDel { .. } => &["vni", "del"],
            Self::PortAdd(_) => &["port", "add"],
            Self::PortReplace(_) => &["port", "replace"],
            Self::PortSet { .. } => &["port", "set"],
            Self::PortDel { .. } => &["port", "del"],
            Self::FdbAdd(_) => &["fdb", "add"],
            Self::FdbAppend(_) => &["fdb", "append"],
            Self::FdbReplace(_) => &["fdb", "replace"],
            Self::FdbDel(_) => &["fdb", "del"],
            Self::FdbFlush(_) => &["fdb", "flush"],
            Self::NeighAdd(_) => &["neigh", "add"],
            Self::NeighReplace(_) => &["neigh", "replace"],
            Self::NeighDel(_) => &["neigh", "del"],
            Self::NexthopAdd(_) => &["nexthop", "add"],
            Self::NexthopReplace(_) => &["nexthop", "replace"],
            Self::NexthopDel(_) => &["nexthop", "del"],
            Self::PeerSet { .. } => &["peer", "set"],
        }
    }

    /// The interface that it makes a port of.
    #[must_use]
    pub fn new_port(&self) -> Option<&str> {
        match self {
            Self::PortAdd(spec) | Self::PortReplace(spec) => Some(&spec.dev),
            _ => None,
        }
    }

    /// The bridge that it gives to a VNI.
    #[must_use]
    pub fn bridge(&self) -> Option<&str> {
        match self {
            Self::VniAdd { spec, .. }
            | Self::VniReplace { spec, .. }
            | Self::VniSet { spec, .. } => spec.bridge.as_deref(),
            _ => None,
        }
    }

    /// Whether it says how something is to be, and so can stand in a configuration file.
    #[must_use]
    pub const fn configures(&self) -> bool {
        match self {
            Self::VniAdd { .. }
            | Self::VniReplace { .. }
            | Self::VniSet { .. }
            | Self::PortAdd(_)
            | Self::PortReplace(_)
            | Self::PortSet { .. }
            | Self::FdbAdd(_)
            | Self::FdbAppend(_)
            | Self::FdbReplace(_)
            | Self::NeighAdd(_)
            | Self::NeighReplace(_)
            | Self::NexthopAdd(_)
            | Self::NexthopReplace(_)
            | Self::PeerSet { .. } => true,
            Self::VniDel { .. }
            | Self::PortDel { .. }
            | Self::FdbDel(_)
            | Self::FdbFlush(_)
            | Self::NeighDel(_)
            | Self::NexthopDel(_) => false,
        }
    }
}

/// Where a VNI is named first.
const VNI: Argument = Argument::key::<Vni>("VNI", "The VNI, 0 to 16777215");
/// Where a device is named first.
const DEV: Argument = Argument::key::<String>("DEV", "The device");

/// Where a remote VTEP is named first.
const PEER: Argument = Argument::key::<IpAddr>("IP", "The remote VTEP");

/// The changes, each with its command and its route.
pub(super) static CHANGES: &[Operation<Op>] = &[
    Operation {
        id: "vni_add",
        command: Some(Syntax {
            words: &["vni", "add"],
            help: "Create a VNI",
            key: Some(VNI),
            takes: &vni::NEW,
        }),
        endpoint: Endpoint {
            method: Method::Post,
            path: "/v1/vnis/{vni}",
            summary: "Creates a VNI.",
            input: Input::body::<VniSpec>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| {
            Ok(Op::VniAdd {
                vni: given.key()?,
                spec: Box::new(given.body(&vni::NEW)?),
            })
        },
        send: |request, to| match request {
            Op::VniAdd { vni, spec } => to.key(vni).with(&**spec),
            _ => None,
        },
    },
    Operation {
        id: "vni_replace",
        command: Some(Syntax {
            words: &["vni", "replace"],
            help: "Create a VNI, or give the one that exists just these settings",
            key: Some(VNI),
            takes: &vni::NEW,
        }),
        endpoint: Endpoint {
            method: Method::Put,
            path: "/v1/vnis/{vni}",
            summary: "Creates a VNI, or gives the one that exists just these settings.",
            input: Input::body::<VniSpec>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| {
            Ok(Op::VniReplace {
                vni: given.key()?,
                spec: Box::new(given.body(&vni::NEW)?),
            })
        },
        send: |request, to| match request {
            Op::VniReplace { vni, spec } => to.key(vni).with(&**spec),
            _ => None,
        },
    },
    Operation {
        id: "vni_set",
        command: Some(Syntax {
            words: &["vni", "set"],
            help: "Change a VNI; options that are not given stay",
            key: Some(VNI),
            takes: &vni::CHANGE,
        }),
        endpoint: Endpoint {
            method: Method::Patch,
            path: "/v1/vnis/{vni}",
            summary: "Changes the given settings of a VNI.",
            input: Input::body::<VniSpec>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| {
            Ok(Op::VniSet {
                vni: given.key()?,
                spec: Box::new(given.body(&vni::CHANGE)?),
            })
        },
        send: |request, to| match request {
            Op::VniSet { vni, spec } => to.key(vni).with(&**spec),
            _ => None,
        },
    },
    Operation {
        id: "vni_del",
        command: Some(Syntax {
            words: &["vni", "del"],
            help: "Delete a VNI; refused if it has ports, remote VTEPs or static entries",
            key: Some(VNI),
            takes: &vni::DELETE,
        }),
        endpoint: Endpoint {
            method: Method::Delete,
            path: "/v1/vnis/{vni}",
            summary: "Deletes a VNI; refused if it has ports, remote VTEPs or static entries, unless it is forced.",
            input: Input::query::<VniDelete>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| {
            Ok(Op::VniDel {
                vni: given.key()?,
                options: given.query(&vni::DELETE)?,
            })
        },
        send: |request, to| match request {
            Op::VniDel { vni, options } => to.key(vni).with(options),
            _ => None,
        },
    },
    Operation {
        id: "port_add",
        command: Some(Syntax {
            words: &["port", "add"],
            help: "Put a device, or one VLAN of it, into a VNI",
            key: None,
            takes: &port::NEW,
        }),
        endpoint: Endpoint {
            method: Method::Post,
            path: "/v1/ports",
            summary: "Puts a device, or one VLAN of it, into a VNI.",
            input: Input::body::<PortSpec>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| Ok(Op::PortAdd(Box::new(given.body(&port::NEW)?))),
        send: |request, to| match request {
            Op::PortAdd(spec) => to.with(&**spec),
            _ => None,
        },
    },
    Operation {
        id: "port_replace",
        command: Some(Syntax {
            words: &["port", "replace"],
            help: "Put a device, or one VLAN of it, into a VNI, or give the port that exists just these settings",
            key: None,
            takes: &port::NEW,
        }),
        endpoint: Endpoint {
            method: Method::Put,
            path: "/v1/ports",
            summary: "Puts a device, or one VLAN of it, into a VNI, or gives the port that exists just these settings.",
            input: Input::body::<PortSpec>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| Ok(Op::PortReplace(Box::new(given.body(&port::NEW)?))),
        send: |request, to| match request {
            Op::PortReplace(spec) => to.with(&**spec),
            _ => None,
        },
    },
    Operation {
        id: "port_set",
        command: Some(Syntax {
            words: &["port", "set"],
            help: "Change a port; options that are not given stay",
            key: Some(DEV),
            takes: &port::CHANGE,
        }),
        endpoint: Endpoint {
            method: Method::Patch,
            path: "/v1/ports/{dev}",
            summary: "Changes the given settings of a port.",
            input: Input::body::<PortChange>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| {
            Ok(Op::PortSet {
                dev: given.key()?,
                change: Box::new(given.body(&port::CHANGE)?),
            })
        },
        send: |request, to| match request {
            Op::PortSet { dev, change } => to.key(dev).with(&**change),
            _ => None,
        },
    },
    Operation {
        id: "port_del",
        command: Some(Syntax {
            words: &["port", "del"],
            help: "Remove a device with all its VLANs",
            key: Some(DEV),
            takes: &port::PART,
        }),
        endpoint: Endpoint {
            method: Method::Delete,
            path: "/v1/ports/{dev}",
            summary: "Removes a port, or a part of it.",
            input: Input::query::<PortPart>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| {
            Ok(Op::PortDel {
                dev: given.key()?,
                part: given.query(&port::PART)?,
            })
        },
        send: |request, to| match request {
            Op::PortDel { dev, part } => to.key(dev).with(part),
            _ => None,
        },
    },
    Operation {
        id: "fdb_add",
        command: Some(Syntax {
            words: &["fdb", "add"],
            help: "Add an entry; refused if the MAC has one, except 00:00:00:00:00:00: its list takes another VTEP",
            key: None,
            takes: &fdb::ENTRY,
        }),
        endpoint: Endpoint {
            method: Method::Post,
            path: "/v1/fdb",
            summary: "Writes an FDB entry; refused if the MAC has one.",
            input: Input::body::<FdbSpec>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| Ok(Op::FdbAdd(given.body(&fdb::ENTRY)?)),
        send: |request, to| match request {
            Op::FdbAdd(it) => to.with(it),
            _ => None,
        },
    },
    Operation {
        id: "fdb_append",
        command: Some(Syntax {
            words: &["fdb", "append"],
            help: "Add a destination to the flood list (the all-zero MAC) or to a multicast MAC",
            key: None,
            takes: &fdb::ENTRY,
        }),
        endpoint: Endpoint {
            method: Method::Post,
            path: "/v1/fdb/append",
            summary: "Adds a destination to the flood list or to a multicast MAC.",
            input: Input::body::<FdbSpec>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| Ok(Op::FdbAppend(given.body(&fdb::ENTRY)?)),
        send: |request, to| match request {
            Op::FdbAppend(it) => to.with(it),
            _ => None,
        },
    },
    Operation {
        id: "fdb_replace",
        command: Some(Syntax {
            words: &["fdb", "replace"],
            help: "Add an entry, or replace the one that the MAC has",
            key: None,
            takes: &fdb::ENTRY,
        }),
        endpoint: Endpoint {
            method: Method::Put,
            path: "/v1/fdb",
            summary: "Writes an FDB entry, and replaces the one that the MAC has.",
            input: Input::body::<FdbSpec>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| Ok(Op::FdbReplace(given.body(&fdb::ENTRY)?)),
        send: |request, to| match request {
            Op::FdbReplace(it) => to.with(it),
            _ => None,
        },
    },
    Operation {
        id: "fdb_del",
        command: Some(Syntax {
            words: &["fdb", "del"],
            help: "Delete an entry wherever it points; for the all-zero MAC, give --dst",
            key: None,
            takes: &fdb::DELETE,
        }),
        endpoint: Endpoint {
            method: Method::Delete,
            path: "/v1/fdb",
            summary: "Deletes an FDB entry.",
            input: Input::query::<FdbDel>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| Ok(Op::FdbDel(given.query(&fdb::DELETE)?)),
        send: |request, to| match request {
            Op::FdbDel(it) => to.with(it),
            _ => None,
        },
    },
    Operation {
        id: "fdb_flush",
        command: Some(Syntax {
            words: &["fdb", "flush"],
            help: "Delete all learned entries of a VNI that match",
            key: None,
            takes: &fdb::FLUSH,
        }),
        endpoint: Endpoint {
            method: Method::Post,
            path: "/v1/fdb/flush",
            summary: "Deletes all learned FDB entries that match, and static ones where that is said.",
            input: Input::body::<FdbFilter>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| Ok(Op::FdbFlush(given.body(&fdb::FLUSH)?)),
        send: |request, to| match request {
            Op::FdbFlush(it) => to.with(it),
            _ => None,
        },
    },
    Operation {
        id: "neigh_add",
        command: Some(Syntax {
            words: &["neigh", "add"],
            help: "Answer ARP and ND for a host; refused if it has an entry",
            key: None,
            takes: &neigh::ENTRY,
        }),
        endpoint: Endpoint {
            method: Method::Post,
            path: "/v1/neighs",
            summary: "Writes a neigh entry; refused if the host already has a user's entry.",
            input: Input::body::<NeighSpec>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| Ok(Op::NeighAdd(given.body(&neigh::ENTRY)?)),
        send: |request, to| match request {
            Op::NeighAdd(it) => to.with(it),
            _ => None,
        },
    },
    Operation {
        id: "neigh_replace",
        command: Some(Syntax {
            words: &["neigh", "replace"],
            help: "Answer ARP and ND for a host, and replace the entry that it has",
            key: None,
            takes: &neigh::ENTRY,
        }),
        endpoint: Endpoint {
            method: Method::Put,
            path: "/v1/neighs",
            summary: "Writes a neigh entry, and replaces the one that the host has.",
            input: Input::body::<NeighSpec>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| Ok(Op::NeighReplace(given.body(&neigh::ENTRY)?)),
        send: |request, to| match request {
            Op::NeighReplace(it) => to.with(it),
            _ => None,
        },
    },
    Operation {
        id: "neigh_del",
        command: Some(Syntax {
            words: &["neigh", "del"],
            help: "Stop answering for a host",
            key: None,
            takes: &neigh::DELETE,
        }),
        endpoint: Endpoint {
            method: Method::Delete,
            path: "/v1/neighs",
            summary: "Deletes a neigh entry.",
            input: Input::query::<NeighDel>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| Ok(Op::NeighDel(given.query(&neigh::DELETE)?)),
        send: |request, to| match request {
            Op::NeighDel(it) => to.with(it),
            _ => None,
        },
    },
    Operation {
        id: "nexthop_add",
        command: Some(Syntax {
            words: &["nexthop", "add"],
            help: "Add the place of a host, or of a prefix of hosts; refused if it has an entry",
            key: None,
            takes: &nexthop::ENTRY,
        }),
        endpoint: Endpoint {
            method: Method::Post,
            path: "/v1/nexthops",
            summary: "Writes a nexthop entry; refused if the host or prefix has one.",
            input: Input::body::<NexthopSpec>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| Ok(Op::NexthopAdd(given.body(&nexthop::ENTRY)?)),
        send: |request, to| match request {
            Op::NexthopAdd(it) => to.with(it),
            _ => None,
        },
    },
    Operation {
        id: "nexthop_replace",
        command: Some(Syntax {
            words: &["nexthop", "replace"],
            help: "Add the place of a host, or of a prefix of hosts, or replace the entry that it has",
            key: None,
            takes: &nexthop::ENTRY,
        }),
        endpoint: Endpoint {
            method: Method::Put,
            path: "/v1/nexthops",
            summary: "Writes a nexthop entry, and replaces the one that the host or prefix has.",
            input: Input::body::<NexthopSpec>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| Ok(Op::NexthopReplace(given.body(&nexthop::ENTRY)?)),
        send: |request, to| match request {
            Op::NexthopReplace(it) => to.with(it),
            _ => None,
        },
    },
    Operation {
        id: "nexthop_del",
        command: Some(Syntax {
            words: &["nexthop", "del"],
            help: "Delete an entry",
            key: None,
            takes: &nexthop::DELETE,
        }),
        endpoint: Endpoint {
            method: Method::Delete,
            path: "/v1/nexthops",
            summary: "Deletes a nexthop entry.",
            input: Input::query::<NexthopDel>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| Ok(Op::NexthopDel(given.query(&nexthop::DELETE)?)),
        send: |request, to| match request {
            Op::NexthopDel(it) => to.with(it),
            _ => None,
        },
    },
    Operation {
        id: "peer_set",
        command: Some(Syntax {
            words: &["peer", "set"],
            help: "Change how packets to a remote VTEP are sent",
            key: Some(PEER),
            takes: &peer::CHANGE,
        }),
        endpoint: Endpoint {
            method: Method::Patch,
            path: "/v1/peers/{ip}",
            summary: "Changes the given settings of a peer.",
            input: Input::body::<PeerSpec>(),
            answers: Answers::Done,
            refusals: RefusalKind::OF_CHANGES,
        },
        read: |given| {
            Ok(Op::PeerSet {
                ip: given.key()?,
                spec: given.body(&peer::CHANGE)?,
            })
        },
        send: |request, to| match request {
            Op::PeerSet { ip, spec } => to.key(ip).with(spec),
            _ => None,
        },
    },
];
