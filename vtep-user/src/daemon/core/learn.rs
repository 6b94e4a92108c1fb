//! What goes on by itself: events of the kernel side, and time that passes.

use vtep_common::abi::id::Ifindex;

use super::{
    super::ring::{Backlog, EVENTS_AT_ONCE},
    Core,
};
use crate::{control::Effect, datapath::DatapathError};

impl Core {
    /// Has the state report what happens only where somebody watches. Just before anything can happen: who watches misses
    /// nothing from then on.
    pub(super) fn look_for_watchers(&mut self) {
        self.state.set_watched(self.events.watched());
    }

    /// Reads what the kernel side has reported, up to a bound.
    pub(super) async fn read_events(&mut self) -> Backlog {
        let events = self.datapath.events(EVENTS_AT_ONCE);
        let backlog = Backlog::of(events.len());
        if events.is_empty() {
            return backlog;
        }
        self.look_for_watchers();
        self.refresh_own_macs();
        let effect = self.state.learn(&events, &self.datapath);
        self.carry_out_or_log(effect).await;
        backlog
    }

    /// Answers guests whose frames are too big, up to a bound. True if none is left.
    pub(super) fn answer_too_big(&mut self) -> bool {
        /// Guests that are answered before others have their turn.
        const AT_ONCE: usize = 64;
        let too_big = self.datapath.too_big(AT_ONCE);
        for frame in &too_big {
            // Its interface's number may be another's by now.
            let ifindex = Ifindex::new(frame.ifindex);
            if self.state.has_ports_at(ifindex) {
                self.answerer.answer(frame);
            }
        }
        too_big.len() < AT_ONCE
    }

    /// Lets time pass. True if there is more to do at once.
    pub(super) async fn tick(&mut self) -> bool {
        self.look_for_watchers();
        let effect = self.state.tick(&self.datapath);
        self.carry_out_or_log(effect).await;
        self.state.is_behind()
    }

    /// What is looked at once a second.
    pub(super) async fn each_second(&mut self) {
        self.bridges.rest();
        self.hear_some_peers();
        if let Err(error) = self.datapath.forget_drops() {
            tracing::debug!(%error, "could not forget what was dropped for what is gone");
        }
        let lost = self.lost.report(&self.datapath);
        self.events.publish(lost.into_iter().collect());
        self.tend_own().await;
        self.groups.retry(&self.uplinks, self.state.locals()).await;
    }

    async fn carry_out_or_log(&mut self, effect: Effect) {
        if let Err(refusal) = self.carry_out(effect).await {
            tracing::error!(%refusal, "could not write a learned entry");
        }
    }

    /// Has the data path know to which MACs the host takes packets at its uplinks: the uplink's own, and that of the bridge or bond that has it.
    pub(super) fn refresh_uplink_macs(&mut self) -> Result<(), DatapathError> {
        let macs = self.uplinks.iter().flat_map(|link| {
            let takers = [Some(link.index), link.master].into_iter().flatten();
            takers.filter_map(|taker| Some((link.index, self.own_macs.of(taker)?)))
        });
        self.datapath.set_uplink_macs(macs)
    }

    /// Has the state know which MACs are the hypervisor's own, if that has changed: those of the uplinks, of the interfaces with
    /// ports, and of the slow-path device.
    pub(super) fn refresh_own_macs(&mut self) {
        let ours = self
            .uplinks
            .iter()
            .map(|link| link.index)
            .chain(self.state.attachments().map(|port| port.ifindex))
            .chain([self.slow_path.ifindex()]);
        if let Some(macs) = self.own_macs.take_changed(ours) {
            self.state.set_own_macs(macs);
        }
    }
}
