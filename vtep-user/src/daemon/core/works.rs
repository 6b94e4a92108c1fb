//! The requests that change something: those whose turn comes, and those that wait for what is done beside the core.

use std::collections::{HashMap, VecDeque};

use futures::{FutureExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use tokio::sync::oneshot;
use vtep_common::abi::id::Ifindex;

use super::{
    super::{attacher::Looked, configuration::Stamps, others::Where},
    planning::{Planned, ToApply},
};
use crate::{
    ask::{ClientId, Reply},
    control::{Author, Effect, LinkFacts, State, Undo},
    model::{Op, PlanRow, Refusal},
    netlink::Link,
};

/// A change.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// The number of its line in a batch.
    pub(super) line: Option<u64>,
    pub(super) op: Op,
    /// In whose name it is made.
    pub(super) author: Author,
}

/// What a configuration file makes of what is set.
pub(super) enum Applying {
    /// It is to be found out what that takes.
    Asked(Box<ToApply>),
    /// It is being done.
    Doing(Box<Doing>),
    /// It failed for this, and what was done is being undone.
    Undoing(Refusal),
}

/// A plan that is being carried out.
pub(super) struct Doing {
    pub(super) rows: Vec<PlanRow>,
    /// The state before.
    pub(super) before: State,
    /// How the file was, if it is the daemon's own.
    pub(super) stamps: Option<Stamps>,
}

/// A request that changes something.
pub(super) struct Work {
    pub(super) changes: VecDeque<Change>,
    pub(super) reply: oneshot::Sender<Result<Reply, Refusal>>,
    /// It has brought new peers, whose paths may not be known yet.
    pub(super) finds: bool,
    /// It is for a configuration file: it is done alone, and wholly or not at all.
    pub(super) applying: Option<Applying>,
    /// Who asked for it, if it is known.
    pub(super) client: Option<ClientId>,
    /// Its changes are so many that the log has one line for all.
    pub(super) quiet: bool,
}

impl Work {
    pub(super) fn new(
        changes: impl IntoIterator<Item = Change>,
        reply: oneshot::Sender<Result<Reply, Refusal>>,
    ) -> Self {
        Self {
            changes: changes.into_iter().collect(),
            reply,
            finds: false,
            applying: None,
            client: None,
            quiet: false,
        }
    }

    /// One that makes what is set what a configuration file says.
    pub(super) fn applying(
        to_apply: ToApply,
        reply: oneshot::Sender<Result<Reply, Refusal>>,
    ) -> Self {
        Self {
            applying: Some(Applying::Asked(Box::new(to_apply))),
            ..Self::new([], reply)
        }
    }

    /// Whether it has begun to apply a configuration file.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(
            self.applying,
            Some(Applying::Doing(_) | Applying::Undoing(_))
        )
    }

    /// Whether its next change may attach to an interface, or let one go.
    fn touches_interfaces(&self) -> bool {
        self.changes.front().is_some_and(|change| match change.op {
            Op::PortAdd(_)
            | Op::PortReplace(_)
            | Op::PortSet { .. }
            | Op::PortDel { .. }
            | Op::VniDel { .. } => true,
            Op::VniAdd { .. }
            | Op::VniReplace { .. }
            | Op::VniSet { .. }
            | Op::FdbAdd(_)
            | Op::FdbAppend(_)
            | Op::FdbReplace(_)
            | Op::FdbDel(_)
            | Op::FdbFlush(_)
            | Op::NeighAdd(_)
            | Op::NeighReplace(_)
            | Op::NeighDel(_)
            | Op::NexthopAdd(_)
            | Op::NexthopReplace(_)
            | Op::NexthopDel(_)
            | Op::PeerSet { .. } => false,
        })
    }

    pub(super) fn answer(self, result: Result<Reply, Refusal>) {
        // Nobody may be there any more to take it.
        drop(self.reply.send(result));
    }
}

/// What a request has waited for.
pub(super) enum Woken {
    /// An interface that is to be a port was looked up.
    Looked(Change, Box<Looked>),
    /// Interfaces were attached to, or not.
    Attached(Box<Attached>, Result<(), Refusal>),
    /// Interfaces were let go; the number of the line that asked for it.
    LetGo(Option<u64>, Result<(), Refusal>),
    /// The paths to new peers are known.
    AllFound,
    /// A plan was made for a configuration file, or there is none.
    Planned(Box<Result<Planned, Refusal>>),
}

/// What is left to do of a change that attaches to an interface.
pub(super) struct Attached {
    pub(super) line: Option<u64>,
    pub(super) undo: Option<Undo>,
    pub(super) facts: Option<LinkFacts>,
    /// What is only done once it is attached.
    pub(super) then: Option<Box<Effect>>,
    pub(super) let_go: Vec<Ifindex>,
}

/// All requests that change something.
#[derive(Default)]
pub(super) struct Works {
    /// Those whose turn comes.
    ready: VecDeque<Work>,
    /// Those that wait.
    pub(super) waiting: FuturesUnordered<LocalBoxFuture<'static, (Work, Woken)>>,
    /// One of them attaches to an interface: no other change touches interfaces.
    pub(super) attaching: bool,
    /// The state is ahead of the maps: nothing else is written.
    pub(super) ahead: bool,
    /// Interfaces that are being looked up to be ports.
    pub(super) looking: usize,
    /// A configuration file is being applied: nobody else changes anything.
    pub(super) alone: bool,
    /// How interfaces have changed meanwhile.
    pub(super) changed: HashMap<Ifindex, Link>,
    /// Where others have set something meanwhile.
    pub(super) traffic: Where,
}

impl Works {
    pub(super) fn push(&mut self, work: Work) {
        self.ready.push_back(work);
    }

    /// Whether there is something to go on with.
    pub(super) fn can_go_on(&self) -> bool {
        !self.ahead && self.next().is_some()
    }

    /// The work whose turn it is. One that applies a file lets nobody pass, and waits until those before it are done.
    fn next(&self) -> Option<usize> {
        let asks = |work: &Work| matches!(work.applying, Some(Applying::Asked(_)));
        let before = self.ready.iter().position(asks);
        let until = before.map_or(self.ready.len(), |at| at + 1);
        let mut ready = self.ready.iter().take(until);
        if self.alone {
            return self.ready.iter().position(Work::is_under_way);
        }
        ready.position(|work| self.may_go_on(work))
    }

    fn may_go_on(&self, work: &Work) -> bool {
        match work.applying {
            Some(Applying::Asked(_)) => self.waiting.is_empty() && !self.attaching,
            _ => !(self.attaching && work.touches_interfaces()),
        }
    }

    /// Whether nobody is about to change what the bridges of VNIs have to do with.
    pub(super) fn leaves_interfaces_alone(&self) -> bool {
        !self.ahead && !self.alone && !self.attaching
    }

    pub(super) fn take(&mut self) -> Option<Work> {
        let at = self.next()?;
        self.ready.remove(at)
    }

    /// Takes note of a change to an interface that may be about to be a port.
    pub(super) fn note(&mut self, link: &Link) {
        if self.looking > 0 {
            self.changed.insert(link.index, link.clone());
        }
    }

    /// Takes note that others have set something at an interface that may be about to be a port, or at any.
    pub(super) fn note_traffic(&mut self, ifindex: Option<Ifindex>) {
        if self.looking > 0 {
            self.traffic.add(ifindex);
        }
    }

    pub(super) fn wait(&mut self, work: Work, woken: impl Future<Output = Woken> + 'static) {
        let waits = async move { (work, woken.await) };
        self.waiting.push(waits.boxed_local());
    }
}
