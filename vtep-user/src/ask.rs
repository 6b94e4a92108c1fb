//! What the API asks of the daemon's core, and what the core answers; and the same for captures, which a thread beside the core makes.
//!
//! The core owns the state and serves [`Ask`]s one at a time from the receiving end of [`channel`]; everything else
//! holds a [`Handle`].

use tokio::sync::{mpsc, oneshot};
use vtep_common::sim::trace::Arrived;

use crate::model::request::Request;
use crate::model::{
    ApplyOptions, CaptureEnd, CaptureFilter, CaptureRow, ConfigLine, DropsRow, DumpRow, FdbRow,
    NeighRow, NexthopRow, Op, PeerRow, PlanRow, PortRow, Query, Refusal, RunLine, StatsRow, Status,
    TraceRow, Vni, VniRow,
};

/// Something to read or to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Something to read. Answered by the [`Reply`] that has its rows.
    Show(Query),
    /// One change. Answered by [`Reply::Done`].
    Do(Op),
    /// Changes in their order, each with the number of the line it came from, up to the first that is refused.
    /// Answered by [`Reply::Done`]; a refusal names its line with [`Refusal::at_line`], and what came before it stays.
    /// A long batch comes as several of these.
    Batch(Vec<(u64, Op)>),
    /// Say which changes of a batch would be refused, and make none. Answered by [`Reply::Rehearsed`].
    Rehearse(Vec<(u64, Op)>),
    /// Make what is set what a configuration file says, or only say what that takes. Answered by [`Reply::Plan`].
    Apply(Box<FileToApply>),
    /// Apply the daemon's own configuration file again. Answered by [`Reply::Plan`].
    Reload,
    /// Say what the programs decide on a frame that came to a hook. Answered by [`Reply::Trace`].
    TraceArrived(Box<Arrived>),
    /// Remove everything from the kernel and end. Answered by [`Reply::Done`] once it is removed.
    Teardown,
}

impl From<Request> for Command {
    fn from(request: Request) -> Self {
        match request {
            Request::Change(op) => Self::Do(op),
            Request::Show(query) => Self::Show(query),
        }
    }
}

/// A configuration file that is to be applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileToApply {
    /// Its line `run`.
    pub run: Option<RunLine>,
    /// What it asks for.
    pub lines: Vec<ConfigLine>,
    /// How.
    pub options: ApplyOptions,
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
    /// What is done, or would be.
    Plan(Vec<PlanRow>),
    /// What would be refused, each with its line.
    Rehearsed(Vec<Refusal>),
    /// What would become of a frame.
    Trace(Vec<TraceRow>),
    /// What was set.
    Dump(Vec<DumpRow>),
    /// Text.
    Text(String),
}

/// The process at the other end of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId {
    /// Its user.
    pub uid: u32,
    /// The process.
    pub pid: Option<i32>,
}

/// A command and the way back for its answer.
#[derive(Debug)]
pub struct Ask {
    /// What is asked.
    pub command: Command,
    /// Who asks, if it is known.
    pub client: Option<ClientId>,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Reply, Refusal>>,
}

impl Ask {
    /// Whether whoever asked still waits for the answer; if not, it is not to be carried out.
    pub async fn is_awaited(&self) -> bool {
        // The API's tasks have the same thread, and notice that a client is gone when it is their turn: first the sockets are
        // looked at, then the tasks that wait for them run, and this one behind them.
        tokio::task::yield_now().await;
        drop(tokio::spawn(std::future::ready(())).await);
        !self.reply.is_closed()
    }

    /// Sends the answer; nobody may be there any more to take it, which is no failure.
    pub fn answer(self, answer: Result<Reply, Refusal>) {
        drop(self.reply.send(answer));
    }
}

/// As of when captured frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// As they are at their end.
    AtTheEnd,
    /// As they came to the hook.
    AtArrival,
}

/// What a capture takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A frame at its end.
    Frame(Box<CaptureRow>),
    /// A frame as it came to its hook, and a row of how it ended, without its bytes.
    Arrived {
        /// What the hook decides on, with the bytes that were captured.
        arrived: Box<Arrived>,
        /// Bytes that it came with.
        came_with: u32,
        /// How it ended.
        row: Box<CaptureRow>,
    },
    /// There are no more.
    End(CaptureEnd),
}

/// What is asked of whoever captures.
#[derive(Debug)]
pub enum CaptureAsk {
    /// Capture frames from now on, until whoever asked drops the receiver.
    Begin {
        /// Which frames.
        filter: CaptureFilter,
        /// The VNIs that the interface of the filter has ports in.
        vnis: Vec<Vni>,
        /// As they are at their end, or as they came to the hook.
        moment: Moment,
        /// Who asks, if it is known.
        client: Option<ClientId>,
        /// Where the frames come; the last is [`Taken::End`].
        reply: oneshot::Sender<Result<mpsc::Receiver<Taken>, Refusal>>,
    },
    /// End the capture that runs. Answered when everything is as it was before, and its lines are on their way.
    End {
        /// Who asks, if it is known.
        client: Option<ClientId>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// End the capture that runs, if one does, and begin none: what captures run over goes, or may go.
    Pause {
        /// Told when everything is as it was before.
        reply: oneshot::Sender<()>,
        /// Captures may begin again when its other end is dropped.
        until: oneshot::Receiver<()>,
    },
}

/// A way to ask the core, and whoever captures.
#[derive(Clone, Debug)]
pub struct Handle {
    asks: mpsc::Sender<Ask>,
    captures: Option<mpsc::Sender<CaptureAsk>>,
}

/// Makes the way between the API and the core: the core keeps the receiver.
#[must_use]
pub fn channel() -> (Handle, mpsc::Receiver<Ask>) {
    let (asks, receiver) = mpsc::channel(16);
    let handle = Handle {
        asks,
        captures: None,
    };
    (handle, receiver)
}

impl Handle {
    /// The same, where captures are asked for of whoever has the other end.
    #[must_use]
    pub fn with_captures(self, captures: mpsc::Sender<CaptureAsk>) -> Self {
        Self {
            captures: Some(captures),
            ..self
        }
    }

    /// Begins a capture.
    pub async fn capture(
        &self,
        (filter, vnis): (CaptureFilter, Vec<Vni>),
        moment: Moment,
        client: Option<ClientId>,
    ) -> Result<mpsc::Receiver<Taken>, Refusal> {
        self.ask_captures(|reply| CaptureAsk::Begin {
            filter,
            vnis,
            moment,
            client,
            reply,
        })
        .await
    }

    /// Ends the capture that runs, whoever began it, for a client.
    pub async fn end_capture(&self, client: Option<ClientId>) -> Result<(), Refusal> {
        self.ask_captures(|reply| CaptureAsk::End { client, reply })
            .await
    }

    async fn ask_captures<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> CaptureAsk,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        let captures = self.captures.as_ref().ok_or_else(no_captures)?;
        let asked = captures.send(ask(reply)).await;
        asked.map_err(|_| no_captures())?;
        answer.await.map_err(|_| no_captures())?
    }

    /// Asks and waits for the answer. If this is dropped before the core takes it up, it is not carried out.
    pub async fn ask(&self, command: Command) -> Result<Reply, Refusal> {
        self.ask_for(None, command).await
    }

    /// The same, for a client.
    pub async fn ask_for(
        &self,
        client: Option<ClientId>,
        command: Command,
    ) -> Result<Reply, Refusal> {
        let (reply, answer) = oneshot::channel();
        let gone = || Refusal::internal("the daemon is shutting down");
        self.asks
            .send(Ask {
                command,
                client,
                reply,
            })
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Whoever captures is a thread that lives as long as the daemon.
fn no_captures() -> Refusal {
    Refusal::internal(
        "this daemon captures no more, because its thread for that has ended, and the log says why; start the daemon again with: vtep run",
    )
}
