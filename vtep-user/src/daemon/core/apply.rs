//! Making changes: what the state machine asks for is done here, and what happens to interfaces is handed to it.

use vtep_common::abi::id::Ifindex;

use super::{
    super::{
        error::{DaemonError, internal},
        facts,
    },
    Core,
};
use crate::{
    control::{Attachment, Effect, LinkFacts, Write},
    datapath::DatapathError,
    model::{EventDetails, Op, PortHook, Refusal},
    netlink::{Link, OWNER},
};

impl Core {
    /// Makes one change, wholly or not at all.
    pub(super) async fn change(&mut self, op: &Op) -> Result<(), Refusal> {
        let link = match op {
            Op::PortAdd(spec) => self.port_facts(&spec.dev).await?,
            _ => None,
        };
        let effect = self.state.apply(op, &link)?;
        self.carry_out(effect, link.as_ref()).await
    }

    /// Makes changes in their order, up to the first that is refused, each with the line that a refusal names.
    ///
    /// What changes that ask for nothing but writes have to write goes to the maps together: a call for each entry would take
    /// longer than all the rest.
    pub(super) async fn change_some(&mut self, ops: &[(u64, Op)]) -> Result<(), Refusal> {
        let mut deferred = DeferredWrites::default();
        for (line, op) in ops {
            let at_line = |refusal: Refusal| refusal.at_line(*line);
            if matches!(op, Op::PortAdd(_)) {
                self.write_deferred(&mut deferred)?;
                self.change(op).await.map_err(at_line)?;
                continue;
            }
            match self.state.apply(op, &None::<LinkFacts>) {
                Ok(effect) if effect.only_writes() => deferred.push(*line, effect),
                Ok(effect) => {
                    let written = self.write_deferred(&mut deferred);
                    // The state has it: it is done whatever became of what came before.
                    let done = self.carry_out(effect, None).await.map_err(at_line);
                    written.and(done)?;
                }
                Err(refusal) => {
                    self.write_deferred(&mut deferred)?;
                    return Err(at_line(refusal));
                }
            }
        }
        self.write_deferred(&mut deferred)
    }

    /// Makes the deferred writes. If one fails the others are made all the same, since the state has them all; the refusal names
    /// the first line with a write that failed.
    fn write_deferred(&mut self, deferred: &mut DeferredWrites) -> Result<(), Refusal> {
        let DeferredWrites {
            writes,
            lines,
            events,
        } = std::mem::take(deferred);
        let mut done = Ok(());
        if self.datapath.write(&writes).is_err() {
            let mut from = 0;
            for (line, to) in lines {
                let written = self.datapath.write(&writes[from..to]);
                done = done.and(written.map_err(|error| internal(error).at_line(line)));
                from = to;
            }
        }
        self.events.publish(events);
        done
    }

    /// Looks an interface up that is to be a port.
    async fn port_facts(&mut self, dev: &str) -> Result<Option<LinkFacts>, Refusal> {
        match self.netlink.find_link(dev).await.map_err(internal)? {
            Some(link) if !link.ethernet => Err(Refusal::invalid(format!(
                "interface {dev} carries no Ethernet frames; name one that does, or make a tap with: ip tuntap add dev NAME mode tap"
            ))),
            Some(link)
                if link
                    .alias
                    .as_deref()
                    .is_some_and(|alias| alias.starts_with(OWNER)) =>
            {
                Err(Refusal::invalid(format!(
                    "interface {dev} is the slow-path device of another vtep instance and cannot be a port; name the interface of a VM"
                )))
            }
            Some(link) => {
                self.own_macs.note(&link);
                let facts = facts::of_port(&self.netlink, &link).map_err(internal)?;
                tracing::info!("port {dev}: {}", delivery(&facts));
                Ok(Some(facts))
            }
            None => Ok(None),
        }
    }

    /// Does what the state machine asks for.
    ///
    /// Attaching by TC makes the kernel wait for every processor (`synchronize_rcu`), and has no reason to fail: what is for a new
    /// port gets there meanwhile. XDP may be taken by somebody else: there attaching comes first.
    pub(super) async fn carry_out(
        &mut self,
        effect: Effect,
        links: Option<&LinkFacts>,
    ) -> Result<(), Refusal> {
        let attach = effect.attach.clone();
        let undo = effect.undo.clone();
        if attach.iter().all(|wanted| wanted.hook != PortHook::Xdp) {
            self.perform(effect).await?;
            let Err(error) = self.attach(&attach) else {
                return Ok(());
            };
            self.roll_back(undo, None, links).await?;
            return Err(internal(error));
        }
        let Err(error) = self.attach(&attach) else {
            return self.perform(effect).await;
        };
        self.roll_back(undo, Some(effect), links).await?;
        Err(internal(error))
    }

    /// Rolls a change back, and what was to be done for it.
    ///
    /// What it took the place of, such as a learned entry, does not come back with it: so where nothing was done yet, the maps go
    /// the whole way there and back, as the state does.
    async fn roll_back(
        &mut self,
        undo: Option<Op>,
        undone: Option<Effect>,
        links: Option<&LinkFacts>,
    ) -> Result<(), Refusal> {
        let Some(undo) = undo else { return Ok(()) };
        match self.state.apply(&undo, &links.cloned()) {
            Ok(back) => {
                let mut both = undone.unwrap_or_default().then(back);
                both.announce.clear();
                self.perform(both).await
            }
            Err(refusal) => {
                tracing::error!(%refusal, "could not remove a port whose attachment failed");
                Ok(())
            }
        }
    }

    /// Takes frames from interfaces; stops at the first from which it cannot.
    fn attach(&mut self, attach: &[Attachment]) -> Result<(), DatapathError> {
        for wanted in attach {
            let xdp = wanted.hook == PortHook::Xdp;
            self.datapath
                .attach_port(&wanted.name, wanted.ifindex, xdp)?;
        }
        Ok(())
    }

    /// Does everything that the state machine asks for but attaching.
    async fn perform(&mut self, effect: Effect) -> Result<(), Refusal> {
        let Effect {
            writes,
            attach,
            detach,
            resolve,
            forget,
            undo: _,
            join,
            leave,
            announce,
            events,
        } = effect;
        if !attach.is_empty() || !detach.is_empty() {
            self.own_macs.invalidate();
        }
        if !join.is_empty() {
            self.groups.join(&join, &self.uplinks).await;
        }
        self.datapath.write(&writes).map_err(internal)?;
        if !leave.is_empty() {
            self.groups.leave(&leave, &self.uplinks).await;
        }
        for ifindex in detach {
            self.datapath.detach_port(ifindex).map_err(internal)?;
        }
        self.finding |= !resolve.is_empty();
        for ip in resolve {
            self.resolve(ip);
        }
        for ip in forget {
            self.resolver.forget(ip);
        }
        for announce in &announce {
            self.announce(announce);
        }
        self.events.publish(events);
        Ok(())
    }

    /// Takes away what hung on an interface that is gone.
    pub(super) async fn port_gone(&mut self, ifindex: Ifindex) {
        let effect = self.state.link_gone(ifindex);
        if effect.writes.is_empty() && effect.detach.is_empty() {
            return;
        }
        tracing::warn!(%ifindex, "removed a port whose interface is gone");
        if let Err(refusal) = self.carry_out(effect, None).await {
            tracing::error!(%refusal, "could not remove the port of an interface that is gone");
        }
    }

    /// Takes on what changed about an interface.
    pub(super) fn port_changed(&mut self, link: &Link) -> Result<(), DaemonError> {
        let facts = facts::of_port(&self.netlink, link)?;
        let writes = self.state.link_changed(&facts);
        if !writes.is_empty() {
            tracing::info!("port {}: {}", facts.name, delivery(&facts));
        }
        Ok(self.datapath.write(&writes)?)
    }

    /// Takes on what changed about an uplink.
    pub(super) fn uplink_changed(&mut self, link: &Link) -> Result<(), DaemonError> {
        let Self {
            uplinks,
            options,
            netlink,
            datapath,
            ..
        } = self;
        if uplinks.changed(link, options, netlink, datapath)? {
            self.reserve();
            self.own_macs.invalidate();
        }
        Ok(())
    }
}

/// What several changes have to write.
#[derive(Default)]
struct DeferredWrites {
    writes: Vec<Write>,
    /// Each line, and where its writes end.
    lines: Vec<(u64, usize)>,
    events: Vec<EventDetails>,
}

impl DeferredWrites {
    fn push(&mut self, line: u64, effect: Effect) {
        self.writes.extend(effect.writes);
        self.lines.push((line, self.writes.len()));
        self.events.extend(effect.events);
    }
}

/// How frames reach a port, for the log.
fn delivery(facts: &LinkFacts) -> &'static str {
    match (facts.xdp_target, facts.peer_target) {
        (true, true) => "XDP may redirect to it, and TC delivers straight to its peer",
        (true, false) => "XDP may redirect to it",
        (false, true) => {
            "XDP leaves it to TC, because its peer would lose the frames; TC delivers straight to that peer"
        }
        (false, false) => "XDP leaves it to TC, because the driver would lose the frames",
    }
}
