//! Ageing: what was not seen for too long goes. The work of one tick is bounded.

use vtep_common::abi::{
    fdb::FdbKey,
    id::{PortSlot, SegmentId},
};

use super::notify;
use crate::{
    control::{
        effect::{Effect, Write},
        ops::entry,
        record::{
            entry::key,
            fdb::Fdb,
            queue::{self, NEVER},
            run::Run,
            segments::Segments,
            stamps::Stamps,
        },
        state::State,
    },
    model::EventKind,
};

/// Looks at an entry whose time has come, unless that is out of date.
pub(crate) fn age(state: &mut State, at: u32, key: FdbKey, clock: &dyn Stamps, out: &mut Effect) {
    let (number, mac) = (key.segment(), key.mac());
    let Some(entry) = state.fdb.get(number, mac) else {
        return;
    };
    if !entry.ages() || entry.due.0 != at {
        return;
    }
    let due = match state.segments[number].ageing_s {
        0 => Some(NEVER),
        ageing_s => clock
            .last_seen(key)
            .map(|seen| queue::after(seen, ageing_s))
            .filter(|&due| !queue::is_over(due, state.run.now)),
    };
    if let Some(due) = due {
        state.fdb.set_due(number, mac, due);
        state.run.ageing.push(due, key);
        return;
    }
    state.run.counters.aged += 1;
    notify::mac(
        state,
        out,
        EventKind::Aged,
        (number, mac),
        (None, state.location_of(entry)),
    );
    entry::remove(state, number, mac, out);
}

/// Puts an entry that says by itself when it is to be looked at into the queue for then.
pub(crate) fn queue_key(run: &mut Run, fdb: &Fdb, key: FdbKey, due: u32) {
    let live = fdb.len() as usize;
    let queue = &mut run.ageing;
    queue.push(due, key);
    if queue.is_stale(live) {
        queue.retain(|at, key| {
            let entry = fdb.get(key.segment(), key.mac());
            entry.is_some_and(|entry| entry.ages() && entry.due.0 == at)
        });
    }
}

/// When an entry of a segment that was seen then is to be looked at.
pub(crate) fn due(segments: &Segments, number: SegmentId, seen: u64) -> u32 {
    match segments[number].ageing_s {
        0 => NEVER,
        ageing_s => queue::after(seen, ageing_s),
    }
}

/// Looks at all learned entries of a segment anew, after its ageing time changed.
pub(crate) fn age_anew(state: &mut State, number: SegmentId) {
    let due = match state.segments[number].ageing_s {
        0 => NEVER,
        _ => 0,
    };
    for mac in state.fdb.set_due_all(number, due) {
        state.run.ageing.push(due, key(number, mac));
    }
}

/// Lets the MACs move again that were frozen because of a port that goes.
pub(crate) fn thaw_port(state: &mut State, slot: PortSlot, out: &mut Effect) {
    for key in state.run.moves.forget_port(slot) {
        // Nobody says here when it was last seen; it may stay a little longer for that.
        thaw(state, key, state.run.now, out);
    }
}

/// Lets a MAC, of which a frame was last seen at that time, move again.
pub(crate) fn thaw(state: &mut State, key: FdbKey, seen: u64, out: &mut Effect) {
    let (number, mac) = (key.segment(), key.mac());
    let Some(entry) = state.fdb.thaw(number, mac) else {
        return;
    };
    out.write(Write::Fdb(key, Some(entry.pod(seen))));
    notify::mac(
        state,
        out,
        EventKind::Thawed,
        (number, mac),
        (state.location_of(entry), None),
    );
}
