//! Requests that change something are carried out a piece at a time, in turn with each other and with everything else. What the
//! kernel takes its time for is done beside the core; the request waits for it, and nobody else does.

use futures::FutureExt as _;
use vtep_common::abi::id::Ifindex;

use super::{
    super::{attacher::Looked, others::Where},
    Core,
    apply::DeferredWrites,
    works::{Applying, Attached, Change, Woken, Work},
};
use crate::{
    control::{Effect, LinkFacts},
    model::{Op, PortHook, Refusal, Source, write},
};

/// Changes that are made before others have their turn.
const CHANGES_AT_ONCE: usize = 256;

impl Core {
    /// Goes on with the request whose turn it is.
    pub(super) async fn resume(&mut self) {
        let Some(mut work) = self.works.take() else {
            return;
        };
        match work.applying.take() {
            Some(Applying::Asked(to_apply)) => {
                self.begin_to_apply(work, *to_apply).await;
                return;
            }
            doing => work.applying = doing,
        }
        if work.reply.is_closed() && !work.is_under_way() {
            tracing::info!(
                left = work.changes.len(),
                "left changes undone, because the client is gone"
            );
            return;
        }
        self.look_for_watchers();
        let mut deferred = DeferredWrites::default();
        for _ in 0..CHANGES_AT_ONCE {
            let Some(change) = work.changes.pop_front() else {
                let written = self.write_deferred(&mut deferred);
                self.finish(work, written);
                return;
            };
            let line = change.line;
            if let Op::PortAdd(spec) | Op::PortReplace(spec) = &change.op {
                let dev = spec.dev.clone();
                if let Err(refusal) = self.write_deferred(&mut deferred) {
                    self.end(work, Err(refusal));
                    return;
                }
                if self.works.looking == 0 {
                    self.works.changed.clear();
                    self.works.traffic = Where::Nowhere;
                }
                self.works.looking += 1;
                let looked = self.attacher.look(dev);
                let woken = looked.map(move |looked| Woken::Looked(change, Box::new(looked)));
                self.works.wait(work, woken);
                return;
            }
            if let Some(bridge) = change.op.bridge() {
                self.look_at_bridge(bridge).await;
            }
            let applied = self
                .state
                .apply_as(change.author, &change.op, &None::<LinkFacts>);
            if applied.is_ok() {
                self.audit(&work, &change);
            }
            match applied {
                Ok(effect) if effect.only_writes() => deferred.push(line, effect),
                Ok(effect) => {
                    // The state has it: it is done whatever became of what came before.
                    let written = self.write_deferred(&mut deferred);
                    self.begin(work, line, effect, None, written).await;
                    return;
                }
                Err(refusal) => {
                    let written = self.write_deferred(&mut deferred);
                    self.end(work, written.and(Err(at(line, refusal))));
                    return;
                }
            }
        }
        match self.write_deferred(&mut deferred) {
            Ok(()) => self.works.push(work),
            Err(refusal) => self.end(work, Err(refusal)),
        }
    }

    /// Goes on with a request that has what it waited for.
    pub(super) async fn wake(&mut self, work: Work, woken: Woken) {
        self.look_for_watchers();
        match woken {
            Woken::Looked(change, looked) => self.looked(work, change, *looked).await,
            Woken::Attached(attached, result) => self.attached(work, *attached, result).await,
            Woken::LetGo(_, Ok(())) => self.works.push(work),
            Woken::LetGo(line, Err(refusal)) => self.end(work, Err(at(line, refusal))),
            Woken::AllFound => self.end(work, Ok(())),
            Woken::Planned(planned) => self.planned(work, *planned),
        }
    }

    async fn looked(&mut self, mut work: Work, change: Change, looked: Looked) {
        let line = change.line;
        self.works.looking -= 1;
        if self.works.attaching || self.works.alone && !work.is_under_way() {
            // Another change attaches meanwhile: this one has its turn afterwards, and looks again.
            work.changes.push_front(change);
            self.works.push(work);
            return;
        }
        let looked = match looked {
            Ok(looked) => looked,
            Err(refusal) => {
                self.end(work, Err(at(line, refusal)));
                return;
            }
        };
        let (interface, facts) = looked.unzip();
        match self.state.apply_as(change.author, &change.op, &facts) {
            Ok(effect) => {
                self.audit(&work, &change);
                if let Some(interface) = &interface {
                    self.own_macs.note(interface);
                }
                if let Some(facts) = &facts {
                    self.log_deliveries(facts.ifindex);
                    self.log_bypasses(facts.ifindex);
                    self.log_mtu(facts.ifindex);
                }
                let found = facts.as_ref().map(|facts| facts.name.clone());
                self.begin(work, line, effect, facts, Ok(())).await;
                match found {
                    // It joined ports that wait for an interface which is there.
                    Some(dev) => self.port_came(&dev),
                    None => self.catch_up_with_absent(),
                }
                if !self.works.ahead {
                    self.catch_up_with(interface.map(|interface| interface.index));
                }
            }
            Err(refusal) => self.end(work, Err(at(line, refusal))),
        }
    }

    /// Takes on what changed about a new port's interface since it was looked at.
    fn catch_up_with(&mut self, ifindex: Option<Ifindex>) {
        let Some(ifindex) = ifindex else { return };
        let changed = self.works.changed.remove(&ifindex);
        let followed = changed.map_or(Ok(()), |changed| self.port_changed(&changed));
        if let Err(error) = followed {
            tracing::error!(%error, "could not follow a change of a port");
        }
        let at = self.works.traffic.only(ifindex);
        self.look_at_others(&at);
    }

    /// Brings ports back whose interfaces came while they were looked for.
    fn catch_up_with_absent(&mut self) {
        let names: Vec<String> = self
            .works
            .changed
            .values()
            .map(|link| link.name.clone())
            .collect();
        for name in names {
            self.port_came(&name);
        }
    }

    /// Does what the state machine asks for, of a change that the state has.
    ///
    /// Attaching by TC has no reason to fail: what is for a new port gets there meanwhile. XDP may be taken by somebody else: there
    /// attaching comes first, and until it is done nothing is written, because the maps lack what the state has.
    async fn begin(
        &mut self,
        mut work: Work,
        line: Option<u64>,
        effect: Effect,
        facts: Option<LinkFacts>,
        written: Result<(), Refusal>,
    ) {
        let attach = effect.attach.clone();
        let undo = effect.undo.clone();
        let first = attach.iter().any(|wanted| wanted.hook == PortHook::Xdp);
        let (then, let_go) = if first {
            (Some(Box::new(effect)), Vec::new())
        } else {
            match self.perform(effect).await {
                Ok(let_go) => (None, let_go),
                Err(refusal) => {
                    self.end(work, written.and(Err(at(line, refusal))));
                    return;
                }
            }
        };
        work.finds |= std::mem::take(&mut self.finding);
        if let Err(refusal) = written {
            self.let_go_later(let_go);
            self.end(work, Err(refusal));
            return;
        }
        if attach.is_empty() {
            self.let_go_for(work, line, let_go);
            return;
        }
        self.works.attaching = true;
        self.works.ahead = first;
        let attached = Box::new(Attached {
            line,
            undo,
            facts,
            then,
            let_go,
        });
        let result = self.attacher.attach(attach);
        let woken = result.map(|result| Woken::Attached(attached, result));
        self.works.wait(work, woken);
    }

    async fn attached(&mut self, mut work: Work, attached: Attached, result: Result<(), Refusal>) {
        let Attached {
            line,
            undo,
            facts,
            then,
            mut let_go,
        } = attached;
        self.works.attaching = false;
        self.works.ahead = false;
        let result = match result {
            Ok(()) => match then {
                Some(effect) => {
                    let done = self.perform(*effect).await;
                    self.catch_up_with(facts.map(|facts| facts.ifindex));
                    done.map(|more| let_go.extend(more))
                }
                None => Ok(()),
            },
            Err(refusal) => self
                .roll_back(undo, then.map(|effect| *effect), facts.as_ref())
                .await
                .and(Err(refusal)),
        };
        work.finds |= std::mem::take(&mut self.finding);
        match result {
            Ok(()) => self.let_go_for(work, line, let_go),
            Err(refusal) => {
                self.let_go_later(let_go);
                self.end(work, Err(at(line, refusal)));
            }
        }
    }

    /// Lets interfaces go, and goes on with a request once that is done.
    fn let_go_for(&mut self, work: Work, line: Option<u64>, let_go: Vec<Ifindex>) {
        if let_go.is_empty() {
            self.works.push(work);
        } else {
            let result = self.attacher.let_go(let_go);
            let woken = result.map(move |result| Woken::LetGo(line, result));
            self.works.wait(work, woken);
        }
    }

    /// Ends a request, once the paths to its new peers are known.
    fn finish(&mut self, work: Work, result: Result<(), Refusal>) {
        if result.is_ok() && work.finds {
            let woken = self.resolver.all_found().map(|()| Woken::AllFound);
            self.works.wait(work, woken);
        } else {
            self.end(work, result);
        }
    }

    /// Says in the log what was changed, and for whom.
    pub(super) fn audit(&mut self, work: &Work, change: &Change) {
        self.changes += 1;
        let Change { line, op, author } = change;
        if author.source != Source::Bridge {
            self.bridges.look_again();
        }
        let undoing = matches!(work.applying, Some(Applying::Undoing(_)));
        let source = if undoing {
            "rollback"
        } else {
            author.source.as_str()
        };
        let uid = work.client.map(|client| client.uid);
        let pid = work.client.and_then(|client| client.pid);
        // Of a batch there may be millions; it has a line of its own.
        if line.is_none() && !work.quiet {
            tracing::info!(source, uid, pid, "done: {}", write::command(op));
        } else {
            tracing::debug!(source, uid, pid, line, "done: {}", write::command(op));
        }
    }
}

/// A refusal that names its line, where there are lines.
fn at(line: Option<u64>, refusal: Refusal) -> Refusal {
    match line {
        Some(line) => refusal.at_line(line),
        None => refusal,
    }
}
