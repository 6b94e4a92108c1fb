//! Events of what happens, for those who watch.

use std::net::IpAddr;

use vtep_common::abi::{addr::MacAddr, id::SegmentId};

use crate::{
    control::{
        effect::Effect,
        record::{entry::Entry, queue::SECOND, run::Scope},
        state::State,
    },
    model::{EventDetails, EventKind},
};

impl State {
    /// Notifies those who watch, if there are any.
    pub(crate) fn notify(&self, out: &mut Effect, what: impl FnOnce(&Self) -> EventDetails) {
        if self.run.watched {
            out.events.push(what(self));
        }
    }

    /// Notifies of a MAC where it is now, and where it was before.
    pub(crate) fn notify_mac(
        &self,
        out: &mut Effect,
        event: EventKind,
        (number, mac): (SegmentId, MacAddr),
        (new, old): (Option<Entry>, Option<Entry>),
    ) {
        self.notify(out, |state| {
            let (dst, dev) = state.names_of(new);
            let (old_dst, old_dev) = state.names_of(old);
            EventDetails {
                vni: Some(state.segments.vni(number)),
                mac: Some(mac),
                dst,
                dev,
                old_dst,
                old_dev,
                ..EventDetails::new(event)
            }
        });
    }

    /// The VTEP or the interface that an entry points to.
    fn names_of(&self, entry: Option<Entry>) -> (Option<IpAddr>, Option<String>) {
        let dst = entry.and_then(Entry::peer).map(|peer| self.peers.ip(peer));
        let dev = entry
            .and_then(Entry::port)
            .and_then(|slot| self.port_name(slot))
            .map(|(dev, _)| dev.to_owned());
        (dst, dev)
    }

    /// Notifies that something was not learned for want of room, once a second for each limit.
    pub(crate) fn notify_limit(
        &mut self,
        out: &mut Effect,
        scope: Scope,
        what: impl FnOnce(&Self) -> EventDetails,
    ) {
        let now = self.run.now;
        if !self.run.watched {
            return;
        }
        let last = self.run.reported.get(&scope);
        if last.is_some_and(|last| now.saturating_sub(*last) < SECOND) {
            return;
        }
        self.run.reported.insert(scope, now);
        self.notify(out, what);
    }
}
