//! Events of what happens, for those who watch.

use vtep_common::abi::{addr::MacAddr, id::SegmentId};

use crate::{
    control::{
        effect::Effect,
        record::{location::Location, queue::SECOND, run::Scope},
        state::State,
    },
    model::{EventDetails, EventKind},
};

/// Notifies those who watch, if there are any.
pub(crate) fn notify(state: &State, out: &mut Effect, what: impl FnOnce(&State) -> EventDetails) {
    if state.run.watched {
        out.events.push(what(state));
    }
}

/// Notifies of a MAC where it is now, and where it was before.
pub(crate) fn mac(
    state: &State,
    out: &mut Effect,
    event: EventKind,
    (number, mac): (SegmentId, MacAddr),
    (new, old): (Option<Location>, Option<Location>),
) {
    notify(state, out, |state| {
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

/// Notifies that something was not learned for want of room, once a second for each limit.
pub(crate) fn limit(
    state: &mut State,
    out: &mut Effect,
    scope: Scope,
    what: impl FnOnce(&State) -> EventDetails,
) {
    let now = state.run.now;
    if !state.run.watched {
        return;
    }
    let last = state.run.reported.get(&scope);
    if last.is_some_and(|last| now.saturating_sub(*last) < SECOND) {
        return;
    }
    state.run.reported.insert(scope, now);
    notify(state, out, what);
}
