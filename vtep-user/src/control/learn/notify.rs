//! What happened, for those who watch.

use std::net::IpAddr;

use vtep_common::addr::MacAddr;

use crate::control::{
    Effect, State,
    ops::entry::Entry,
    record::{queue::SECOND, run::Scope},
};
use crate::model::{EventKind, Happening};

impl State {
    /// Tells what happened, if somebody watches.
    pub(crate) fn tell(&self, out: &mut Effect, what: impl FnOnce(&Self) -> Happening) {
        if self.run.watched {
            out.events.push(what(self));
        }
    }

    /// Tells of a MAC where it is now, and where it was before.
    pub(crate) fn tell_mac(
        &self,
        out: &mut Effect,
        event: EventKind,
        (number, mac): (u32, MacAddr),
        (new, old): (Option<Entry>, Option<Entry>),
    ) {
        self.tell(out, |state| {
            let (dst, dev) = state.place_name(new);
            let (old_dst, old_dev) = state.place_name(old);
            Happening {
                vni: Some(state.segments[number].vni()),
                mac: Some(mac),
                dst,
                dev,
                old_dst,
                old_dev,
                ..Happening::new(event)
            }
        });
    }

    /// The VTEP or the interface that an entry points to.
    fn place_name(&self, entry: Option<Entry>) -> (Option<IpAddr>, Option<String>) {
        let dst = entry.and_then(Entry::peer).map(|peer| self.peers[peer].ip);
        let dev = entry
            .and_then(Entry::port)
            .and_then(|slot| self.port_name(slot))
            .map(|(dev, _)| dev.to_owned());
        (dst, dev)
    }

    /// Tells that something was not learned for want of room, once a second for each limit.
    pub(crate) fn tell_limit(
        &mut self,
        out: &mut Effect,
        scope: Scope,
        what: impl FnOnce(&Self) -> Happening,
    ) {
        let now = self.run.now;
        if !self.run.watched {
            return;
        }
        let last = self.run.told.get(&scope);
        if last.is_some_and(|last| now.saturating_sub(*last) < SECOND) {
            return;
        }
        self.run.told.insert(scope, now);
        self.tell(out, what);
    }
}
