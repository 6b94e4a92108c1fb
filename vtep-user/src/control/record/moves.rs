//! MACs and hosts that move too often (RFC 7432 section 15.1): they are frozen where they are.

use std::hash::Hash;

use vtep_common::abi::id::PortSlot;

use super::{
    hash::Map,
    queue::{self, NEVER, Queue, SECOND},
};
use crate::model::Duplicates;

/// Most things whose moves are remembered; the moves of others count for nothing.
const MAX_RECORDS: usize = 262_144;
/// Ports that a MAC is remembered to have left.
const MAX_LEFT: usize = 4;

/// The moves of one thing.
#[derive(Clone, Debug, Default)]
struct History {
    /// When the count began.
    since: u64,
    /// When it last moved.
    last: u64,
    /// Moves that count.
    count: u32,
    /// Slots of the ports that it left, and when.
    left: [Option<(PortSlot, u64)>; MAX_LEFT],
    /// The second until which it is frozen.
    frozen: Option<u32>,
    /// When it is to be looked at.
    due: u32,
}

impl History {
    /// When it was last at the port `slot`.
    fn last_at(&self, slot: PortSlot) -> Option<u64> {
        let mut left = self.left.iter().flatten();
        left.find(|(at, _)| *at == slot).map(|(_, time)| *time)
    }

    /// Remembers that it left the port `slot`; the port that it left longest ago is forgotten.
    fn leave(&mut self, slot: PortSlot, time: u64) {
        let same = self
            .left
            .iter()
            .position(|left| left.is_some_and(|(at, _)| at == slot));
        let at = same.unwrap_or(MAX_LEFT - 1);
        self.left[at] = Some((slot, time));
        self.left[..=at].rotate_right(1);
    }
}

/// A move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    /// When.
    pub(crate) time: u64,
    /// Slot of the port that it left, if it was at one.
    pub(crate) from: Option<PortSlot>,
    /// Slot of the port that it came to, if it came to one, and since when there is somebody.
    pub(crate) to: Option<(PortSlot, Option<u64>)>,
}

/// What becomes of something whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// Nothing.
    Left,
    /// It may move again.
    Thawed,
}

/// What moved lately.
#[derive(Clone, Debug)]
pub(crate) struct Moves<K> {
    records: Map<K, History>,
    queue: Queue<K>,
}

impl<K> Default for Moves<K> {
    fn default() -> Self {
        Self {
            records: Map::default(),
            queue: Queue::default(),
        }
    }
}

impl<K: Copy + Eq + Hash> Moves<K> {
    /// Takes note of a move, and says whether it is one too many: from now on `key` is frozen.
    ///
    /// A move onto a port to which somebody came since `key` was last there, or since it moved to where it was so far, does not
    /// count, and is the beginning of a new count: a VM was moved here.
    pub(crate) fn note(&mut self, key: K, moved: Move, rule: Duplicates) -> bool {
        let Move { time, from, to } = moved;
        let known = self.records.contains_key(&key);
        if rule.moves == 0 || (!known && self.records.len() >= MAX_RECORDS) {
            return false;
        }
        let window = u64::from(rule.window_s) * SECOND;
        let record = self.records.entry(key).or_insert_with(|| History {
            since: time,
            ..History::default()
        });
        let expected = to.is_some_and(|(slot, came)| {
            let last = record.last_at(slot).or(known.then_some(record.last));
            last.is_some_and(|last| came.is_some_and(|came| came >= last))
        });
        record.last = time;
        if time.saturating_sub(record.since) > window {
            (record.since, record.count) = (time, 0);
        }
        if expected {
            (record.since, record.count) = (time, 0);
        } else {
            record.count += 1;
        }
        if let Some(slot) = from {
            record.leave(slot, time);
        }
        let freeze = record.count >= rule.moves;
        if freeze {
            let until = match rule.freeze_s {
                0 => NEVER,
                seconds => queue::after(time, seconds),
            };
            self.freeze(key, until);
        } else if !known {
            self.look_at(key, queue::after(time, rule.window_s));
        }
        freeze
    }

    /// Freezes `key` until that second.
    pub(crate) fn freeze(&mut self, key: K, until: u32) {
        self.records.entry(key).or_default().frozen = Some(until);
        self.look_at(key, until);
    }

    fn look_at(&mut self, key: K, at: u32) {
        if let Some(record) = self.records.get_mut(&key) {
            record.due = at;
            self.queue.push(at, key);
        }
        if self.queue.is_stale(self.records.len()) {
            let records = &self.records;
            self.queue
                .retain(|at, key| records.get(key).is_some_and(|record| record.due == at));
        }
    }

    /// True if `key` is not to move.
    pub(crate) fn is_frozen(&self, key: K) -> bool {
        self.records
            .get(&key)
            .is_some_and(|record| record.frozen.is_some())
    }

    /// What is frozen and was at the port `slot` lately.
    pub(crate) fn frozen_by(&self, slot: PortSlot) -> Vec<K> {
        let frozen = self
            .records
            .iter()
            .filter(|(_, record)| record.frozen.is_some() && record.last_at(slot).is_some());
        frozen.map(|(&key, _)| key).collect()
    }

    /// Forgets the moves of `key`.
    pub(crate) fn forget(&mut self, key: K) {
        if !self.records.is_empty() {
            self.records.remove(&key);
        }
    }

    /// Forgets the moves of all that `gone` says.
    pub(crate) fn forget_all(&mut self, gone: impl Fn(&K) -> bool) {
        self.records.retain(|key, _| !gone(key));
    }

    /// True if something is to be looked at.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.queue.is_due(now)
    }

    /// Looks at the next of which the time has come.
    pub(crate) fn look(&mut self, now: u64, rule: Duplicates) -> Option<(K, Looked)> {
        let (at, key) = self.queue.pop(now)?;
        let Some(record) = self.records.get(&key).filter(|record| record.due == at) else {
            return Some((key, Looked::Left));
        };
        let until = match record.frozen {
            Some(until) => until,
            None => queue::after(record.last, rule.window_s),
        };
        if !queue::is_over(until, now) {
            self.look_at(key, until);
            return Some((key, Looked::Left));
        }
        let looked = if record.frozen.is_some() {
            Looked::Thawed
        } else {
            Looked::Left
        };
        self.records.remove(&key);
        Some((key, looked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Duplicates = Duplicates {
        moves: 2,
        window_s: 10,
        freeze_s: 20,
    };

    fn away(second: u64) -> Move {
        Move {
            time: second * SECOND,
            from: Some(PortSlot::new(1)),
            to: None,
        }
    }

    #[test]
    fn moves_that_are_far_apart_do_not_add_up() {
        let mut moves = Moves::default();
        assert!(!moves.note('a', away(1), RULE));
        assert!(!moves.note('a', away(12), RULE));
        assert!(moves.note('a', away(22), RULE));
    }

    #[test]
    fn what_does_not_move_any_more_is_forgotten() {
        let mut moves = Moves::default();
        moves.note('a', away(1), RULE);
        moves.note('b', away(1), RULE);
        moves.note('b', away(1), RULE);
        while moves.look(12 * SECOND, RULE).is_some() {}
        assert!(!moves.records.contains_key(&'a') && moves.is_frozen('b'));
        while let Some((key, looked)) = moves.look(21 * SECOND, RULE) {
            assert_eq!((key, looked), ('b', Looked::Thawed));
        }
        assert!(moves.records.is_empty());
    }

    #[test]
    fn the_ports_that_were_left_last_are_remembered() {
        let mut record = History::default();
        for (time, slot) in (1..).zip([7, 9, 1, 2, 3, 1, 1, 4].map(PortSlot::new)) {
            record.leave(slot, time);
        }
        let last = [1, 2, 3, 4, 7, 9].map(|slot| record.last_at(PortSlot::new(slot)));
        assert_eq!(last, [Some(7), Some(4), Some(5), Some(8), None, None]);
    }

    #[test]
    fn a_freeze_without_end_has_none() {
        let rule = Duplicates {
            freeze_s: 0,
            ..RULE
        };
        let mut moves = Moves::default();
        moves.note('a', away(1), rule);
        assert!(moves.note('a', away(2), rule));
        while let Some((_, looked)) = moves.look(u64::MAX, rule) {
            assert_eq!(looked, Looked::Left);
        }
        assert!(moves.is_frozen('a'));
    }
}
