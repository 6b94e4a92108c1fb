//! Making changes: what the state machine asks for is done here, and what happens to interfaces is handed to it.

use futures::FutureExt as _;
use tokio::sync::oneshot;
use vtep_common::abi::id::Ifindex;

use super::{
    super::{
        error::{DaemonError, internal},
        facts,
        uplinks::{self, UplinkChange},
    },
    Core,
    works::{Change, Work},
};
use crate::{
    ask::Reply,
    control::{Attachment, Effect, LinkFacts, Undo, Write},
    model::{EventDetails, PortHook, Refusal},
    netlink::Link,
};

impl Core {
    /// Makes the deferred writes. If one fails the others are made all the same, since the state has them all; the refusal names
    /// the first line with a write that failed.
    pub(super) fn write_deferred(&mut self, deferred: &mut DeferredWrites) -> Result<(), Refusal> {
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
                done = done.and(written.map_err(|error| {
                    let refusal = internal(error);
                    match line {
                        Some(line) => refusal.at_line(line),
                        None => refusal,
                    }
                }));
                from = to;
            }
        }
        self.events.publish(events);
        done
    }

    /// Does what the state machine asks for when nobody asked: it attaches to nothing.
    pub(super) async fn carry_out(&mut self, effect: Effect) -> Result<(), Refusal> {
        let let_go = self.perform(effect).await?;
        self.let_go_later(let_go);
        Ok(())
    }

    /// Lets interfaces go. Nobody waits for it.
    pub(super) fn let_go_later(&self, let_go: Vec<Ifindex>) {
        if let_go.is_empty() {
            return;
        }
        let done = self.attacher.let_go(let_go);
        tokio::spawn(async move {
            if let Err(refusal) = done.await {
                tracing::error!(%refusal, "could not detach from a port");
            }
        });
    }

    /// Rolls a change back, and what was to be done for it.
    ///
    /// What it took the place of, such as a learned entry, does not come back with it: so where nothing was done yet, the maps go
    /// the whole way there and back, as the state does.
    pub(super) async fn roll_back(
        &mut self,
        undo: Option<Undo>,
        undone: Option<Effect>,
        links: Option<&LinkFacts>,
    ) -> Result<(), Refusal> {
        let Some(undo) = undo else { return Ok(()) };
        match self.state.roll_back(&undo, &links.cloned()) {
            Ok(back) => {
                let mut both = undone.unwrap_or_default().then(back);
                both.announce.clear();
                self.carry_out(both).await
            }
            Err(refusal) => {
                tracing::error!(%refusal, "could not remove a port whose attachment failed");
                Ok(())
            }
        }
    }

    /// Does everything that the state machine asks for, except for attaching and letting go; returns what is to be let go.
    pub(super) async fn perform(&mut self, effect: Effect) -> Result<Vec<Ifindex>, Refusal> {
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
        self.finding |= !resolve.is_empty() || !forget.is_empty();
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
        Ok(detach)
    }

    /// Takes away what hung on an interface that is gone.
    pub(super) async fn port_gone(&mut self, ifindex: Ifindex) {
        self.blind.forget(ifindex);
        let name = self.state.device_name(ifindex).unwrap_or_default();
        self.changes += 1;
        let effect = self.state.link_gone(ifindex);
        if effect.writes.is_empty() && effect.detach.is_empty() {
            return;
        }
        if self.state.awaits(&name) {
            tracing::warn!("the interface of port {name} is gone; the port waits for it");
        } else {
            tracing::info!("the interface of port {name} is gone, and the port with it");
        }
        if let Err(refusal) = self.carry_out(effect).await {
            tracing::error!(%refusal, "could not remove the port of an interface that is gone");
        }
    }

    /// Brings the ports back that waited for an interface.
    pub(super) fn port_came(&mut self, dev: &str) {
        let Some(came) = self.state.link_came(dev) else {
            return;
        };
        if !self.coming.insert(dev.to_owned()) {
            return;
        }
        let changes = [came].into_iter();
        let changes = changes.map(|(op, author)| Change {
            line: None,
            op,
            author,
        });
        let (reply, answer) = oneshot::channel();
        self.works.push(Work::new(changes, reply));
        let dev = dev.to_owned();
        self.came.push(
            async move {
                let came = answer.await;
                (dev, came)
            }
            .boxed_local(),
        );
    }

    /// Takes note of ports that are back.
    pub(super) fn has_come(&mut self, dev: &str, result: Result<Reply, Refusal>) {
        self.coming.remove(dev);
        match result {
            Ok(_) => tracing::info!("the interface of port {dev} is there, and so is the port"),
            Err(refusal) => {
                tracing::error!(%refusal, "the interface of port {dev} is there, and the port cannot be made");
            }
        }
    }

    /// Takes on what changed about an interface.
    pub(super) fn port_changed(&mut self, link: &Link) -> Result<(), DaemonError> {
        self.works.note(link);
        if !self.state.has_ports_at(link.index) {
            return Ok(());
        }
        // It is no other for others.
        let others = self.state.others_at(link.index);
        let facts = facts::of_port(&self.netlink, link, others)?;
        let writes = self.state.link_changed(&facts);
        if !writes.is_empty() {
            self.log_deliveries(link.index);
        }
        self.datapath.write(&writes)?;
        self.look_for_tags(link)
    }

    /// Takes XDP from a port while it does not see VLAN tags, and gives it back.
    fn look_for_tags(&mut self, link: &Link) -> Result<(), DaemonError> {
        if self.state.hook_at(link.index) != Some(PortHook::Xdp) {
            self.blind.forget(link.index);
            return Ok(());
        }
        if !self.blind.look(&self.netlink, link)? {
            return Ok(());
        }
        let hook = if self.blind.has(link.index) {
            PortHook::Tc
        } else {
            tracing::info!("port {}: xdp again", link.name);
            PortHook::Xdp
        };
        let done = self.attacher.attach(vec![Attachment {
            ifindex: link.index,
            name: link.name.clone(),
            hook,
        }]);
        tokio::spawn(async move {
            if let Err(refusal) = done.await {
                tracing::error!(%refusal, "could not change the hook of a port");
            }
        });
        Ok(())
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
        let change = uplinks.changed(link, options, netlink, datapath)?;
        self.uplink_is(change)
    }

    /// Takes on that an interface is gone, if it was an uplink.
    pub(super) fn uplink_gone(&mut self, ifindex: Ifindex) -> Result<(), DaemonError> {
        let change = self.uplinks.gone(ifindex, &mut self.datapath)?;
        self.uplink_is(change)
    }

    fn uplink_is(&mut self, change: UplinkChange) -> Result<(), DaemonError> {
        let UplinkChange { attached, event } = change;
        self.look_for_watchers();
        self.events.publish(event.into_iter().collect());
        if attached {
            self.reserve();
            self.own_macs.invalidate();
            let flags = uplinks::flags(&self.options, self.uplinks.iter());
            if self.datapath.config()?.flags != flags {
                let (device, port) = (self.slow_path.ifindex(), self.options.udp_port());
                self.datapath.configure(device, port, flags)?;
            }
        }
        Ok(())
    }
}

/// What several changes have to write.
#[derive(Default)]
pub(super) struct DeferredWrites {
    writes: Vec<Write>,
    /// Each line, and where its writes end.
    lines: Vec<(Option<u64>, usize)>,
    events: Vec<EventDetails>,
}

impl DeferredWrites {
    pub(super) fn push(&mut self, line: Option<u64>, effect: Effect) {
        self.writes.extend(effect.writes);
        self.lines.push((line, self.writes.len()));
        self.events.extend(effect.events);
    }
}
