//! Ageing: what was not seen for too long goes. The work of one tick is bounded.

use vtep_common::maps::FdbKey;

use crate::control::{
    Clock, Effect, State, Write,
    ops::entry::{Origin, key},
    record::{
        moves::Looked,
        queue::{self, NEVER, SECOND},
    },
};
use crate::model::{EntryState, EventKind};

/// What one tick looks at, at most. Each may cost a look into the map.
const BUDGET: u32 = 4_096;

impl State {
    /// Lets time pass: ages entries and thaws frozen ones, a bounded number in each call. To be called about every second, and
    /// again at once while [`State::is_behind`].
    pub fn tick(&mut self, clock: &dyn Clock) -> Effect {
        self.run.now = clock.now().max(self.run.now);
        let mut out = Effect::default();
        for _ in 0..BUDGET {
            if !self.look_at_one(clock, &mut out) {
                break;
            }
        }
        self.settle(&mut out);
        out
    }

    /// True if the last [`State::tick`] left work for another.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        let run = &self.run;
        let now = run.now;
        run.ageing.is_due(now)
            || run.hosts.is_due(now)
            || run.moves.is_due(now)
            || run.host_moves.is_due(now)
    }

    /// Looks at one thing of which the time has come.
    fn look_at_one(&mut self, clock: &dyn Clock, out: &mut Effect) -> bool {
        let (now, rule) = (self.run.now, self.limits.duplicates);
        if let Some((key, looked)) = self.run.moves.look(now, rule) {
            if looked == Looked::Thawed {
                let seen = clock.last_seen(key).unwrap_or(now);
                self.thaw(key, seen, out);
            }
            return true;
        }
        if let Some((key, looked)) = self.run.host_moves.look(now, rule) {
            if looked == Looked::Thawed {
                self.thaw_host(key, out);
            }
            return true;
        }
        if let Some((at, key)) = self.run.hosts.pop(now) {
            self.age_host(at, key, out);
            return true;
        }
        if let Some((at, key)) = self.run.ageing.pop(now) {
            self.age(at, key, clock, out);
            return true;
        }
        false
    }

    /// Looks at an entry whose time has come, unless that is out of date.
    fn age(&mut self, at: u32, key: FdbKey, clock: &dyn Clock, out: &mut Effect) {
        let (number, mac) = (key.segment(), key.mac());
        let Some(segment) = self.segments.get_mut(number) else {
            return;
        };
        let Some(entry) = segment.fdb.get_mut(&mac) else {
            return;
        };
        if !entry.is_learned() || entry.due.0 != at {
            return;
        }
        let due = match segment.pod.ageing_s {
            0 => Some(NEVER),
            ageing_s => clock
                .last_seen(key)
                .map(|seen| queue::after(seen, ageing_s))
                .filter(|&due| !queue::is_over(due, self.run.now)),
        };
        let old = *entry;
        if let Some(due) = due {
            entry.due.0 = due;
            self.run.ageing.push(due, key);
            return;
        }
        self.run.counters.aged += 1;
        self.tell_mac(out, EventKind::Aged, (number, mac), (None, Some(old)));
        self.remove_entry(number, mac, out);
    }

    /// Says when an entry that was just learned is to be looked at.
    pub(crate) fn queue_entry(&mut self, key: FdbKey, due: u32) {
        let segment = &mut self.segments[key.segment()];
        let Some(entry) = segment.fdb.get_mut(&key.mac()) else {
            return;
        };
        entry.due.0 = due;
        self.queue_key(key, due);
    }

    /// Puts an entry that says by itself when it is to be looked at into the queue for then.
    pub(crate) fn queue_key(&mut self, key: FdbKey, due: u32) {
        let live = self.fdb_len as usize;
        let (queue, segments) = (&mut self.run.0.ageing, &self.segments);
        queue.push(due, key);
        if queue.is_stale(live) {
            queue.retain(|at, key| {
                let segment = segments.get(key.segment());
                let entry = segment.and_then(|segment| segment.fdb.get(&key.mac()));
                entry.is_some_and(|entry| entry.is_learned() && entry.due.0 == at)
            });
        }
    }

    /// When an entry of a segment that was seen then is to be looked at.
    pub(crate) fn due(&self, number: u32, seen: u64) -> u32 {
        match self.segments[number].pod.ageing_s {
            0 => NEVER,
            ageing_s => queue::after(seen, ageing_s),
        }
    }

    /// Looks at all learned entries of a segment anew, after its ageing time changed.
    pub(crate) fn age_anew(&mut self, number: u32) {
        let segment = &mut self.segments[number];
        let due = match segment.pod.ageing_s {
            0 => NEVER,
            _ => 0,
        };
        for (&mac, entry) in &mut segment.fdb {
            if entry.is_learned() {
                entry.due.0 = due;
                self.run.0.ageing.push(due, key(number, mac));
            }
        }
    }

    /// Lets the MACs move again that were frozen because of a port that goes.
    pub(crate) fn thaw_port(&mut self, slot: u32, out: &mut Effect) {
        for key in self.run.moves.frozen_by(slot) {
            self.run.moves.forget(key);
            // Nobody says here when it was last seen; it may stay a little longer for that.
            self.thaw(key, self.run.now, out);
        }
    }

    /// Lets a MAC, of which a frame was last seen at that time, move again.
    fn thaw(&mut self, key: FdbKey, seen: u64, out: &mut Effect) {
        let (number, mac) = (key.segment(), key.mac());
        let Some(segment) = self.segments.get_mut(number) else {
            return;
        };
        let Some(entry) = segment.fdb.get_mut(&mac) else {
            return;
        };
        if entry.origin != Origin::Frozen {
            return;
        }
        entry.origin = Origin::Learned;
        let entry = *entry;
        out.write(Write::Fdb(key, Some(entry.pod(seen))));
        self.tell_mac(out, EventKind::Thawed, (number, mac), (Some(entry), None));
    }

    /// Seconds since a learned entry was last seen.
    pub(crate) fn age_s(key: FdbKey, state: EntryState, clock: &dyn Clock) -> Option<u64> {
        match state {
            EntryState::Static => None,
            EntryState::Learned => clock
                .last_seen(key)
                .map(|seen| clock.now().saturating_sub(seen) / SECOND),
        }
    }
}
