//! Ageing: what was not seen for too long goes. The work of one tick is bounded.

use vtep_common::abi::{
    fdb::FdbKey,
    id::{PortSlot, SegmentId},
};

use crate::{
    control::{
        effect::{Effect, Write},
        record::{
            entry::key,
            moves::Looked,
            queue::{self, NEVER},
            stamps::Stamps,
        },
        state::State,
    },
    model::EventKind,
};

/// What one tick looks at, at most. Each may cost a look into the map.
const BUDGET: u32 = 4_096;

impl State {
    /// Lets time pass: ages entries and thaws frozen ones, a bounded number in each call. To be called about every second, and
    /// again at once while [`State::is_behind`].
    pub fn tick(&mut self, clock: &dyn Stamps) -> Effect {
        self.run.now = clock.now().max(self.run.now);
        let mut out = Effect::default();
        for _ in 0..BUDGET {
            if !self.look_at_one(clock, &mut out) {
                break;
            }
        }
        self.finish(&mut out);
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
    fn look_at_one(&mut self, clock: &dyn Stamps, out: &mut Effect) -> bool {
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
    fn age(&mut self, at: u32, key: FdbKey, clock: &dyn Stamps, out: &mut Effect) {
        let (number, mac) = (key.segment(), key.mac());
        let Some(entry) = self.fdb.get(number, mac) else {
            return;
        };
        if !entry.ages() || entry.due.0 != at {
            return;
        }
        let due = match self.segments[number].ageing_s {
            0 => Some(NEVER),
            ageing_s => clock
                .last_seen(key)
                .map(|seen| queue::after(seen, ageing_s))
                .filter(|&due| !queue::is_over(due, self.run.now)),
        };
        if let Some(due) = due {
            self.fdb.set_due(number, mac, due);
            self.run.ageing.push(due, key);
            return;
        }
        self.run.counters.aged += 1;
        self.notify_mac(out, EventKind::Aged, (number, mac), (None, Some(entry)));
        self.remove_entry(number, mac, out);
    }

    /// Puts an entry that says by itself when it is to be looked at into the queue for then.
    pub(crate) fn queue_key(&mut self, key: FdbKey, due: u32) {
        let live = self.fdb.len() as usize;
        let (queue, fdb) = (&mut self.run.0.ageing, &self.fdb);
        queue.push(due, key);
        if queue.is_stale(live) {
            queue.retain(|at, key| {
                let entry = fdb.get(key.segment(), key.mac());
                entry.is_some_and(|entry| entry.ages() && entry.due.0 == at)
            });
        }
    }

    /// When an entry of a segment that was seen then is to be looked at.
    pub(crate) fn due(&self, number: SegmentId, seen: u64) -> u32 {
        match self.segments[number].ageing_s {
            0 => NEVER,
            ageing_s => queue::after(seen, ageing_s),
        }
    }

    /// Looks at all learned entries of a segment anew, after its ageing time changed.
    pub(crate) fn age_anew(&mut self, number: SegmentId) {
        let due = match self.segments[number].ageing_s {
            0 => NEVER,
            _ => 0,
        };
        for mac in self.fdb.set_due_all(number, due) {
            self.run.ageing.push(due, key(number, mac));
        }
    }

    /// Lets the MACs move again that were frozen because of a port that goes.
    pub(crate) fn thaw_port(&mut self, slot: PortSlot, out: &mut Effect) {
        for key in self.run.moves.frozen_by(slot) {
            self.run.moves.forget(key);
            // Nobody says here when it was last seen; it may stay a little longer for that.
            self.thaw(key, self.run.now, out);
        }
    }

    /// Lets a MAC, of which a frame was last seen at that time, move again.
    fn thaw(&mut self, key: FdbKey, seen: u64, out: &mut Effect) {
        let (number, mac) = (key.segment(), key.mac());
        let Some(entry) = self.fdb.thaw(number, mac) else {
            return;
        };
        out.write(Write::Fdb(key, Some(entry.pod(seen))));
        self.notify_mac(out, EventKind::Thawed, (number, mac), (Some(entry), None));
    }
}
