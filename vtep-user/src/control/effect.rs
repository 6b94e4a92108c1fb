//! What the state machine asks the daemon to do.

use std::net::IpAddr;

use vtep_common::abi::{
    addr::VtepAddr,
    config::Config,
    fdb::{FdbKey, FdbValue},
    flood::{FloodList, ListedKey},
    id::{Ifindex, ListId, PeerId, PortSlot, SegmentId},
    neigh::{NeighKey, NeighValue},
    nexthop::{NexthopKey, NexthopValue},
    peer::Peer,
    policer::{Policed, Policer},
    port::{GuardedKey, Port, PortKey, PortName},
    segment::{Segment, SourceKey},
    vlans::Vlans,
};

use crate::model::{EventDetails, Op, PortHook, Vni};

/// One map write. They are made in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the one `CONFIG`.
    Config(Config),
    /// Adds a local VTEP address, or takes it away.
    Local(VtepAddr, bool),
    /// Adds a multicast group that we are a member of to the local addresses, or takes it away.
    Group(VtepAddr, bool),
    /// Sets the segment number of a VNI; `None` deletes the key.
    Vni(u32, Option<SegmentId>),
    /// Sets a segment by number; all zero frees it.
    Segment(SegmentId, Box<Segment>),
    /// Sets the slot of an interface and VLAN; `None` deletes the key.
    PortIndex(PortKey, Option<PortSlot>),
    /// Sets a port by slot; all zero frees it.
    Port(PortSlot, Port),
    /// Says that the guard of a port lets an address in, or does not any more.
    Guarded(GuardedKey, bool),
    /// Sets the VLANs of an interface that have a port each; `None` deletes the key.
    Trunk(Ifindex, Option<Box<Vlans>>),
    /// Sets the name of a port's interface by slot; all zero frees it.
    PortName(PortSlot, PortName),
    /// Sets a rate of a port, with a full bucket; all zero takes it away.
    Policer(PortSlot, Policed, Policer),
    /// Sets an FDB entry; `None` deletes the key.
    Fdb(FdbKey, Option<FdbValue>),
    /// Sets the MAC of a host; `None` deletes the key.
    Neigh(NeighKey, Option<NeighValue>),
    /// Sets where the hosts of a prefix are; `None` deletes it. The length is that of the whole key, in bits:
    /// [`NexthopKey::SEGMENT_BITS`] and more.
    Nexthop(u32, NexthopKey, Option<NexthopValue>),
    /// Sets a flood list by number; `None` deletes the key.
    Flood(ListId, Option<Box<FloodList>>),
    /// Says that the configuration file put a peer on a flood list, or that it did not, or not any more.
    Configured(ListedKey, bool),
    /// Sets the name of a segment's bridge; `None` deletes the key.
    Bridge(SegmentId, Option<PortName>),
    /// Says that entries of a segment name a peer, or that none does any more.
    Source(SourceKey, bool),
    /// Sets a peer by number; all zero frees it.
    Peer(PeerId, Box<Peer>),
    /// Sets the number of a peer's address; `None` deletes the key.
    PeerIndex(VtepAddr, Option<PeerId>),
    /// Zeroes both counters of a segment.
    ClearSegmentCounters(SegmentId),
    /// Zeroes both counters of a port slot.
    ClearPortCounters(PortSlot),
    /// Zeroes both counters of a peer.
    ClearPeerCounters(PeerId),
}

/// An interface at which the port programs are to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its number.
    pub ifindex: Ifindex,
    /// Its name.
    pub name: String,
    /// The hook that the user named.
    pub hook: PortHook,
}

/// What is to be announced to the other VTEPs of a VNI: that a MAC is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The port that it came to.
    pub port: PortSlot,
    /// The MAC was learned; else the operator named it.
    pub learned: bool,
    /// The VNI.
    pub vni: Vni,
    /// The MAC.
    pub mac: vtep_common::abi::addr::MacAddr,
    /// The hosts that are known to be at the MAC; they are announced by gratuitous ARP or unsolicited neighbour advertisement.
    /// Where there are none, it is a RARP frame as QEMU sends it.
    pub hosts: Vec<IpAddr>,
    /// The VTEPs, or the multicast group.
    pub to: Vec<IpAddr>,
}

/// What a change asks for: join, write, leave, then resolve and forget, then announce and notify, then detach. XDP attaches before
/// all that, TC before detaching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The map writes, in their order.
    pub writes: Vec<Write>,
    /// Interfaces to take frames from; one that is attached already changes its hook.
    pub attach: Vec<Attachment>,
    /// Multicast groups to become a member of on the uplinks.
    pub join: Vec<IpAddr>,
    /// Multicast groups to leave.
    pub leave: Vec<IpAddr>,
    /// Interfaces to let go.
    pub detach: Vec<Ifindex>,
    /// New peers: their paths are to be found and tracked.
    pub resolve: Vec<IpAddr>,
    /// Peers that are gone: nobody asks for their routes any more.
    pub forget: Vec<IpAddr>,
    /// MACs that came to a local port.
    pub announce: Vec<Announce>,
    /// What happened, for those who watch.
    pub events: Vec<EventDetails>,
    /// Where `attach` is not empty: what takes this change back. If an interface cannot be attached, do it, and
    /// carry out what both effects ask for, one [`then`](Effect::then) the other, but attach nothing.
    pub undo: Option<Undo>,
}

/// What takes a change back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// Another change.
    Change(Op),
    /// The interface of ports counts as gone again.
    Gone(Ifindex),
}

impl Effect {
    /// Takes away what says that the configuration file put peers on a list.
    pub(crate) fn unconfigure(&mut self, list: ListId, peers: impl IntoIterator<Item = PeerId>) {
        let keys = peers.into_iter().map(|peer| ListedKey::new(list, peer));
        self.writes
            .extend(keys.map(|key| Write::Configured(key, false)));
    }

    pub(crate) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// True if nothing is asked for but writes and events.
    #[must_use]
    pub fn only_writes(&self) -> bool {
        let Self {
            writes: _,
            attach,
            join,
            leave,
            detach,
            resolve,
            forget,
            announce,
            events: _,
            undo,
        } = self;
        attach.is_empty()
            && join.is_empty()
            && leave.is_empty()
            && detach.is_empty()
            && resolve.is_empty()
            && forget.is_empty()
            && announce.is_empty()
            && undo.is_none()
    }

    /// This effect and the one of the next change, as one. What the first asked for and the second rolled back is left out,
    /// except for the writes, which are all made.
    #[must_use]
    pub fn then(mut self, next: Self) -> Self {
        let Self {
            writes,
            attach,
            join,
            leave,
            detach,
            resolve,
            forget,
            announce,
            events,
            undo,
        } = next;
        self.writes.extend(writes);
        merge(&mut self.join, &mut self.leave, join, leave);
        merge(&mut self.resolve, &mut self.forget, resolve, forget);
        self.attach.retain(|at| !detach.contains(&at.ifindex));
        self.attach.extend(attach);
        self.detach.extend(detach);
        self.announce.extend(announce);
        self.events.extend(events);
        self.undo = undo;
        self
    }
}

/// Takes the next changes to what there is into those so far.
fn merge(came: &mut Vec<IpAddr>, went: &mut Vec<IpAddr>, next: Vec<IpAddr>, gone: Vec<IpAddr>) {
    for ip in gone {
        came.retain(|other| *other != ip);
        went.push(ip);
    }
    for ip in next {
        went.retain(|other| *other != ip);
        came.push(ip);
    }
}
