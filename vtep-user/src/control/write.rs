//! What the state machine asks the daemon to do.

use std::net::IpAddr;

use vtep_common::{
    addr::VtepAddr,
    maps::{Config, FdbKey, FdbValue, FloodList, Peer, Port, PortKey, Segment},
};

use crate::api::{command::Op, model::PortHook};

/// One map write. They are made in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the one `CONFIG`.
    Config(Config),
    /// Adds a local VTEP address, or takes it away.
    Local(VtepAddr, bool),
    /// Sets the segment number of a VNI; `None` deletes the key.
    Vni(u32, Option<u32>),
    /// Sets a segment by number; all zero frees it.
    Segment(u32, Box<Segment>),
    /// Sets the slot of an interface and VLAN; `None` deletes the key.
    PortIndex(PortKey, Option<u32>),
    /// Sets a port by slot; all zero frees it.
    Port(u32, Port),
    /// Sets an FDB entry; `None` deletes the key.
    Fdb(FdbKey, Option<FdbValue>),
    /// Sets a flood list by number; `None` deletes the key.
    Flood(u32, Option<Box<FloodList>>),
    /// Sets a peer by number; all zero frees it.
    Peer(u32, Box<Peer>),
    /// Sets the number of a peer's address; `None` deletes the key.
    PeerIndex(VtepAddr, Option<u32>),
    /// Zeroes both counters of a segment.
    ClearSegmentCounters(u32),
    /// Zeroes both counters of a port slot.
    ClearPortCounters(u32),
    /// Zeroes both counters of a peer.
    ClearPeerCounters(u32),
}

/// An interface at which the port programs are to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// Its number.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// The hook that the user named.
    pub hook: PortHook,
}

/// What a change asks for: attach, then write, then detach, then resolve and forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The map writes, in their order.
    pub writes: Vec<Write>,
    /// Interfaces to take frames from; one that is attached already changes its hook.
    pub attach: Vec<Attach>,
    /// Interfaces to let go.
    pub detach: Vec<u32>,
    /// New peers: their routes are to be found and followed.
    pub resolve: Vec<IpAddr>,
    /// Peers that are gone: nobody asks for their routes any more.
    pub forget: Vec<IpAddr>,
    /// Where `attach` is not empty: the change that takes this one back. If an interface cannot be attached, apply it and
    /// carry out neither effect's writes.
    pub undo: Option<Op>,
}

impl Effect {
    pub(super) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }
}
