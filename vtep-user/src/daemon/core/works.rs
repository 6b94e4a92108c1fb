//! The requests that change something: those whose turn comes, and those that wait for what is done beside the core.

use std::collections::{HashMap, VecDeque};

use futures::{FutureExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use tokio::sync::oneshot;
use vtep_common::abi::id::Ifindex;

use super::super::attacher::Looked;
use crate::{
    ask::Reply,
    control::{Effect, LinkFacts},
    model::{Op, Refusal},
    netlink::Link,
};

/// A change, and the number of its line in a batch.
pub(super) type Change = (Option<u64>, Op);

/// A request that changes something.
pub(super) struct Work {
    pub(super) changes: VecDeque<Change>,
    pub(super) reply: oneshot::Sender<Result<Reply, Refusal>>,
    /// It has brought new peers, whose paths may not be known yet.
    pub(super) finds: bool,
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
        }
    }

    /// Whether its next change may attach to an interface, or let one go.
    fn touches_interfaces(&self) -> bool {
        self.changes.front().is_some_and(|(_, op)| match op {
            Op::PortAdd(_) | Op::PortSet { .. } | Op::PortDel { .. } | Op::VniDel { .. } => true,
            Op::VniAdd { .. }
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

    pub(super) fn end(self, result: Result<(), Refusal>) {
        // Nobody may be there any more to take it.
        drop(self.reply.send(result.map(|()| Reply::Done)));
    }
}

/// What a request has waited for.
pub(super) enum Woken {
    /// An interface that is to be a port was looked up.
    Looked(Change, Looked),
    /// Interfaces were attached to, or not.
    Attached(Box<Attached>, Result<(), Refusal>),
    /// Interfaces were let go; the number of the line that asked for it.
    LetGo(Option<u64>, Result<(), Refusal>),
    /// The paths to new peers are known.
    Settled,
}

/// What is left to do of a change that attaches to an interface.
pub(super) struct Attached {
    pub(super) line: Option<u64>,
    pub(super) undo: Option<Op>,
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
    /// How interfaces have changed meanwhile.
    pub(super) changed: HashMap<Ifindex, Link>,
}

impl Works {
    pub(super) fn push(&mut self, work: Work) {
        self.ready.push_back(work);
    }

    /// Whether there is something to go on with.
    pub(super) fn can_go_on(&self) -> bool {
        !self.ahead && self.ready.iter().any(|work| self.may_go_on(work))
    }

    fn may_go_on(&self, work: &Work) -> bool {
        !(self.attaching && work.touches_interfaces())
    }

    pub(super) fn take(&mut self) -> Option<Work> {
        let at = self.ready.iter().position(|work| self.may_go_on(work))?;
        self.ready.remove(at)
    }

    /// Takes note of a change to an interface that may be about to be a port.
    pub(super) fn note(&mut self, link: &Link) {
        if self.looking > 0 {
            self.changed.insert(link.index, link.clone());
        }
    }

    pub(super) fn wait(&mut self, work: Work, woken: impl Future<Output = Woken> + 'static) {
        let waits = async move { (work, woken.await) };
        self.waiting.push(waits.boxed_local());
    }
}
