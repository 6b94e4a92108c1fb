//! MACs that move too often (RFC 7432 section 15.1): they are frozen where they were longest.

use std::hash::Hash;

use vtep_common::abi::id::PortSlot;

use super::{
    hash::Map,
    location::Location,
    queue::{self, NEVER, Queue, SECOND},
};
use crate::model::Duplicates;

/// Most things whose moves are remembered. Where there are more, one makes room that is not frozen.
const MAX_RECORDS: usize = 262_144;
/// So many are looked at to find one that is not frozen.
const TRIES: usize = 64;
/// Stays that are remembered of one thing. Where there are more, the shortest is forgotten.
const MAX_STAYS: usize = 64;
/// A move after a longer stay than this is a failover or a migration, of which only the first counts, in nanoseconds. Of two
/// machines that have one MAC, the one that sends takes it back sooner.
const SETTLED: u64 = 10 * SECOND;

/// Where something was, and from when to when.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stay {
    place: Location,
    from: u64,
    to: u64,
}

impl Stay {
    /// How long it was of the time from `start` on.
    const fn since(&self, start: u64) -> u64 {
        let from = if self.from > start { self.from } else { start };
        self.to.saturating_sub(from)
    }
}

/// That something is frozen.
#[derive(Clone, Copy, Debug)]
struct Frozen {
    /// The second until which it is.
    until: u32,
    /// Where else it was seen, if this daemon froze it.
    other: Option<Location>,
}

/// The moves of one thing.
#[derive(Clone, Debug, Default)]
struct History {
    /// When the count began.
    since: u64,
    /// Moves that count.
    count: u32,
    /// Where it was within the window, up to its last move.
    stays: Vec<Stay>,
    frozen: Option<Frozen>,
    /// When it is to be looked at.
    due: u32,
}

impl History {
    /// When it last moved.
    fn last(&self) -> Option<u64> {
        self.stays.last().map(|stay| stay.to)
    }

    /// When it last left a place, if that is known.
    fn left(&self, place: Location) -> Option<u64> {
        let mut stays = self.stays.iter().rev();
        stays.find(|stay| stay.place == place).map(|stay| stay.to)
    }

    /// True if it was at a place, or was seen there and frozen elsewhere.
    fn knows(&self, place: Location) -> bool {
        let seen = self.frozen.and_then(|frozen| frozen.other);
        self.left(place).is_some() || seen == Some(place)
    }

    /// Remembers a stay, and forgets those before `start`.
    fn stayed(&mut self, stay: Stay, start: u64) {
        self.stays.retain(|stay| stay.to > start);
        if self.stays.len() >= MAX_STAYS {
            let lengths = self.stays.iter().map(|stay| stay.since(start));
            let shortest = lengths.enumerate().min_by_key(|(_, length)| *length);
            if let Some((at, _)) = shortest {
                self.stays.remove(at);
            }
        }
        self.stays.push(stay);
    }
}

/// A move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    /// When.
    pub(crate) time: u64,
    /// The place that it left.
    pub(crate) from: Location,
    /// Since when it was there, for all that the entry says.
    pub(crate) came: u64,
    /// The place that it came to.
    pub(crate) to: Location,
    /// When the port that it came to was added, if it came to one.
    pub(crate) added: Option<u64>,
}

impl Move {
    /// True if a local port is one of the places: other moves are followed always.
    const fn is_ours(&self) -> bool {
        matches!(self.from, Location::Port(_)) || matches!(self.to, Location::Port(_))
    }
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
    /// Takes note of a move, and says whether it is one too many: then `key` is to be [frozen](Self::freeze).
    ///
    /// What does not count: a move between VTEPs; one after a long stay, except for the first; one onto a port that was added since `key` was last there,
    /// or since it moved to where it was so far: a VM was moved here, and a new count begins.
    pub(crate) fn note(&mut self, key: K, moved: Move, rule: Duplicates) -> bool {
        let Move {
            time,
            from,
            came,
            to,
            added,
        } = moved;
        let known = self.records.contains_key(&key);
        let follows = known || moved.is_ours() && self.make_room(MAX_RECORDS);
        if rule.moves == 0 || !follows {
            return false;
        }
        let window = u64::from(rule.window_s) * SECOND;
        let record = self.records.entry(key).or_insert_with(|| History {
            since: time,
            ..History::default()
        });
        let last = record.left(to).or(record.last());
        let expected = last.is_some_and(|last| added.is_some_and(|added| added >= last));
        let came = record.last().unwrap_or(came).min(time);
        let stay = Stay {
            place: from,
            from: came,
            to: time,
        };
        record.stayed(stay, time.saturating_sub(window));
        if time.saturating_sub(record.since) > window || expected {
            (record.since, record.count) = (time, 0);
        }
        if moved.is_ours() && !expected && (record.count == 0 || time - came <= SETTLED) {
            record.count += 1;
        }
        let freeze = record.count >= rule.moves;
        if !known && !freeze {
            self.look_at(key, queue::after(time, rule.window_s));
        }
        freeze
    }

    /// Makes room for one more record, of `most`. False if too many are frozen.
    fn make_room(&mut self, most: usize) -> bool {
        if self.records.len() < most {
            return true;
        }
        let mut some = self.records.iter().take(TRIES);
        let moving = some.find(|(_, record)| record.frozen.is_none());
        let gone = moving.map(|(&key, _)| key);
        gone.is_some_and(|key| self.records.remove(&key).is_some())
    }

    /// The places where `key` was within the window, and the one that it came to at `time`; those where it was longest first.
    pub(crate) fn places(
        &self,
        key: K,
        to: Location,
        time: u64,
        rule: Duplicates,
    ) -> Vec<Location> {
        let start = time.saturating_sub(u64::from(rule.window_s) * SECOND);
        let mut places: Vec<(Location, u64)> = Vec::new();
        for stay in self
            .records
            .get(&key)
            .iter()
            .flat_map(|record| &record.stays)
        {
            match places.iter_mut().find(|(place, _)| *place == stay.place) {
                Some((_, length)) => *length += stay.since(start),
                None => places.push((stay.place, stay.since(start))),
            }
        }
        if places.iter().all(|(place, _)| *place != to) {
            places.push((to, 0));
        }
        places.sort_by_key(|(_, length)| std::cmp::Reverse(*length));
        places.into_iter().map(|(place, _)| place).collect()
    }

    /// Freezes `key`, which was also seen at `other`, at that time.
    pub(crate) fn freeze(&mut self, key: K, other: Option<Location>, time: u64, rule: Duplicates) {
        let until = match rule.freeze_s {
            0 => NEVER,
            seconds => queue::after(time, seconds),
        };
        self.records.entry(key).or_default().frozen = Some(Frozen { until, other });
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

    /// Where else something that is frozen was seen.
    pub(crate) fn seen_also_at(&self, key: K) -> Option<Location> {
        self.records.get(&key)?.frozen?.other
    }

    /// Forgets the port `slot`, which goes, and all about what is frozen and was there lately. Returns that.
    pub(crate) fn forget_port(&mut self, slot: PortSlot) -> Vec<K> {
        let port = Location::Port(slot);
        let mut thawed = Vec::new();
        self.records.retain(|key, record| {
            let thaws = record.frozen.is_some() && record.knows(port);
            record.stays.retain(|stay| stay.place != port);
            if thaws {
                thawed.push(*key);
            }
            !thaws
        });
        thawed
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
            Some(frozen) => frozen.until,
            None => queue::after(record.last().unwrap_or(record.since), rule.window_s),
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

    const HERE: Location = Location::Port(PortSlot::new(1));
    const THERE: Location = Location::Port(PortSlot::new(2));
    const FAR: Location = Location::Vtep(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn moved(from: Location, to: Location, second: u64) -> Move {
        Move {
            time: second * SECOND,
            from,
            came: 0,
            to,
            added: None,
        }
    }

    fn away(second: u64) -> Move {
        moved(HERE, FAR, second)
    }

    fn frozen(moves: &Moves<char>, key: char) -> bool {
        let record = moves.records.get(&key);
        record.is_some_and(|record| record.frozen.is_some())
    }

    /// Notes a move, and freezes where it is one too many.
    fn note(moves: &mut Moves<char>, key: char, step: Move, rule: Duplicates) -> bool {
        let freeze = moves.note(key, step, rule);
        if freeze {
            moves.freeze(key, Some(step.to), step.time, rule);
        }
        freeze
    }

    #[test]
    fn moves_that_are_far_apart_do_not_add_up() {
        let mut moves = Moves::default();
        assert!(!note(&mut moves, 'a', away(1), RULE));
        assert!(!note(&mut moves, 'a', away(12), RULE));
        assert!(note(&mut moves, 'a', away(22), RULE));
    }

    #[test]
    fn what_does_not_move_any_more_is_forgotten() {
        let mut moves = Moves::default();
        note(&mut moves, 'a', away(1), RULE);
        note(&mut moves, 'b', away(1), RULE);
        note(&mut moves, 'b', away(1), RULE);
        while moves.look(12 * SECOND, RULE).is_some() {}
        assert!(!moves.records.contains_key(&'a') && frozen(&moves, 'b'));
        while let Some((key, looked)) = moves.look(21 * SECOND, RULE) {
            assert_eq!((key, looked), ('b', Looked::Thawed));
        }
        assert!(moves.records.is_empty());
    }

    #[test]
    fn the_places_of_the_window_are_known_by_how_long_it_was_there() {
        let mut moves = Moves::default();
        moves.note('a', moved(HERE, FAR, 95), RULE);
        moves.note('a', moved(FAR, THERE, 98), RULE);
        moves.note('a', moved(THERE, HERE, 100), RULE);
        let places = |second| moves.places('a', THERE, second * SECOND, RULE);
        assert_eq!(places(100), [HERE, FAR, THERE]);
        // Of the first stay, two seconds are left.
        assert_eq!(places(103), [FAR, HERE, THERE]);
    }

    #[test]
    fn many_short_stays_do_not_make_a_long_one_forgotten() {
        let mut moves = Moves::default();
        let rule = Duplicates {
            moves: 1_000,
            ..RULE
        };
        moves.note('a', moved(HERE, FAR, 5), rule);
        for number in 0..200 {
            let (from, to) = if number % 2 == 0 {
                (FAR, THERE)
            } else {
                (THERE, FAR)
            };
            let time = 5 * SECOND + number;
            moves.note(
                'a',
                Move {
                    time,
                    ..moved(from, to, 0)
                },
                rule,
            );
        }
        assert_eq!(moves.records[&'a'].stays.len(), MAX_STAYS);
        assert_eq!(moves.places('a', FAR, 6 * SECOND, rule)[0], HERE);
    }

    #[test]
    fn only_the_first_move_after_a_long_stay_counts() {
        let mut moves = Moves::default();
        let rule = Duplicates {
            window_s: 1_000,
            ..RULE
        };
        for second in [11, 22, 33, 44] {
            assert!(!moves.note('a', away(second), rule), "{second}");
        }
        assert!(moves.note('a', away(54), rule));
    }

    #[test]
    fn a_full_table_of_moves_forgets_one_that_is_not_frozen() {
        let mut moves = Moves::default();
        for key in ['a', 'b', 'c'] {
            note(&mut moves, key, away(1), RULE);
        }
        note(&mut moves, 'b', away(2), RULE);
        assert!(moves.make_room(4) && moves.records.len() == 3);
        assert!(moves.make_room(3) && moves.make_room(2));
        assert!(!moves.make_room(1), "what is left is frozen");
        assert!(frozen(&moves, 'b') && moves.records.len() == 1);
    }

    #[test]
    fn a_port_that_goes_is_no_place_any_more_and_thaws_what_it_froze() {
        let mut moves = Moves::default();
        for second in [1, 2] {
            note(&mut moves, 'a', away(second), RULE);
            note(&mut moves, 'b', moved(FAR, HERE, second), RULE);
            note(&mut moves, 'c', moved(FAR, THERE, second), RULE);
        }
        moves.note('d', away(2), RULE);
        let mut thawed = moves.forget_port(PortSlot::new(1));
        thawed.sort_unstable();
        assert_eq!(thawed, ['a', 'b']);
        assert!(frozen(&moves, 'c') && moves.records[&'d'].stays.is_empty());
    }

    #[test]
    fn a_freeze_without_end_has_none() {
        let rule = Duplicates {
            freeze_s: 0,
            ..RULE
        };
        let mut moves = Moves::default();
        note(&mut moves, 'a', away(1), rule);
        assert!(note(&mut moves, 'a', away(2), rule));
        while let Some((_, looked)) = moves.look(u64::MAX, rule) {
            assert_eq!(looked, Looked::Left);
        }
        assert!(frozen(&moves, 'a'));
    }
}
