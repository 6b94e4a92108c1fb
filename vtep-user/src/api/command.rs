//! What the API asks of the daemon's core, and what the core answers.
//!
//! The core owns the state and serves [`Ask`]s one at a time from the receiving end of [`channel`]; everything else
//! holds a [`Handle`].

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use super::model::{
    DropsRow, FdbDel, FdbFilter, FdbRow, FdbSpec, Mac, NeighDel, NeighRow, NeighSpec, NexthopDel,
    NexthopRow, NexthopSpec, PeerRow, PeerSpec, PortChange, PortPart, PortRow, PortSpec,
    StatsFilter, StatsRow, Status, Vni, VniRow, VniSpec,
};

/// Something to read or to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The daemon itself. Answered by [`Reply::Status`].
    Status,
    /// One VNI, refused if it does not exist, or all. Answered by [`Reply::Vnis`].
    VniShow(Option<Vni>),
    /// The rows of one port, refused if it does not exist, or all. Answered by [`Reply::Ports`].
    PortShow(Option<String>),
    /// The FDB entries that match. Answered by [`Reply::Fdb`].
    FdbShow(FdbFilter),
    /// The entries of one MAC, refused if there are none. Answered by [`Reply::Fdb`].
    FdbGet {
        /// The MAC.
        mac: Mac,
        /// The VNI.
        vni: Vni,
    },
    /// The hosts that ARP and ND are answered for, of one VNI or all. Answered by [`Reply::Neighs`].
    NeighShow(Option<Vni>),
    /// The nexthop table of one VNI, or of all. Answered by [`Reply::Nexthops`].
    NexthopShow(Option<Vni>),
    /// One peer, refused if it does not exist, or all. Answered by [`Reply::Peers`].
    PeerShow(Option<IpAddr>),
    /// The counters that match. Answered by [`Reply::Stats`].
    Stats(StatsFilter),
    /// The counters of dropped frames. Answered by [`Reply::Drops`].
    Drops,
    /// All metrics in Prometheus text form. Answered by [`Reply::Text`].
    Metrics,
    /// One change. Answered by [`Reply::Done`].
    Do(Op),
    /// Changes in their order, each with the number of the line it came from, up to the first that is refused.
    /// Answered by [`Reply::Done`]; a refusal names its line with [`Refusal::at_line`], and what came before it stays.
    /// A long batch comes as several of these.
    Batch(Vec<(u64, Op)>),
    /// Remove everything from the kernel and end. Answered by [`Reply::Done`] once it is removed.
    Teardown,
}

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

/// An answer that is not a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is done.
    Done,
    /// VNIs.
    Vnis(Vec<VniRow>),
    /// Ports.
    Ports(Vec<PortRow>),
    /// FDB entries.
    Fdb(Vec<FdbRow>),
    /// Hosts that ARP and ND are answered for.
    Neighs(Vec<NeighRow>),
    /// Entries of the nexthop table.
    Nexthops(Vec<NexthopRow>),
    /// Peers.
    Peers(Vec<PeerRow>),
    /// Counters.
    Stats(Vec<StatsRow>),
    /// Counters of dropped frames.
    Drops(Vec<DropsRow>),
    /// The daemon.
    Status(Box<Status>),
    /// Text.
    Text(String),
}

/// Which sort of refusal; decides the HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What is named does not exist: 404.
    NotFound,
    /// What is there is in the way: 409.
    Conflict,
    /// The request makes no sense: 400.
    Invalid,
    /// There is no room: 507.
    Full,
    /// This daemon or kernel cannot do it: 501.
    Unsupported,
    /// The daemon failed: 500.
    Internal,
}

/// Why something was not done: a sentence that says what was wrong and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", Line(*.line))]
pub struct Refusal {
    /// Which sort.
    pub kind: Kind,
    /// The sentence, lower case, without a full stop.
    pub message: String,
    /// The line of the batch that was refused.
    pub line: Option<u64>,
}

struct Line(Option<u64>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, "line {line}: "))
    }
}

impl Refusal {
    /// A refusal of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            line: None,
        }
    }

    /// What is named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// What is there is in the way.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    /// The request makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// There is no room.
    pub fn full(message: impl Into<String>) -> Self {
        Self::new(Kind::Full, message)
    }

    /// This daemon or kernel cannot do it.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, message)
    }

    /// The daemon failed.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// The same, for this line of a batch.
    #[must_use]
    pub fn at_line(self, line: u64) -> Self {
        Self {
            line: Some(line),
            ..self
        }
    }
}

/// A command and the way back for its answer.
#[derive(Debug)]
pub struct Ask {
    /// What is asked.
    pub command: Command,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Reply, Refusal>>,
}

impl Ask {
    /// Sends the answer; nobody may be there any more to take it, which is no failure.
    pub fn answer(self, answer: Result<Reply, Refusal>) {
        drop(self.reply.send(answer));
    }
}

/// A way to ask the core.
#[derive(Clone, Debug)]
pub struct Handle {
    asks: mpsc::Sender<Ask>,
}

/// Makes the way between the API and the core: the core keeps the receiver.
#[must_use]
pub fn channel() -> (Handle, mpsc::Receiver<Ask>) {
    let (asks, receiver) = mpsc::channel(16);
    (Handle { asks }, receiver)
}

impl Handle {
    /// Asks and waits for the answer.
    pub async fn ask(&self, command: Command) -> Result<Reply, Refusal> {
        let (reply, answer) = oneshot::channel();
        let gone = || Refusal::internal("the daemon is shutting down");
        self.asks
            .send(Ask { command, reply })
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
