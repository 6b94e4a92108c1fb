//! A queue by time: what is to be looked at when.
//!
//! Nothing is taken out of the middle: whoever keeps something in the queue remembers for when, and what comes out at
//! another time than that is out of date.

use std::collections::BTreeMap;

/// Nanoseconds of a second.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// A time that never comes.
pub(crate) const NEVER: u32 = u32::MAX;
/// So much of a queue may be out of date before it is gone through.
const SLACK: usize = 65_536;

/// Keys by the second in which they are due.
#[derive(Clone, Debug)]
pub(crate) struct Queue<K> {
    due: BTreeMap<u32, Vec<K>>,
    len: usize,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            due: BTreeMap::new(),
            len: 0,
        }
    }
}

impl<K> Queue<K> {
    /// Puts a key in, unless its time never comes.
    pub(crate) fn push(&mut self, at: u32, key: K) {
        if at != NEVER {
            self.due.entry(at).or_default().push(key);
            self.len += 1;
        }
    }

    /// Takes out one of the keys that are due first, and when that was, if that is not after `now`.
    pub(crate) fn pop(&mut self, now: u64) -> Option<(u32, K)> {
        let mut first = self
            .due
            .first_entry()
            .filter(|first| is_over(*first.key(), now))?;
        let at = *first.key();
        let key = first.get_mut().pop();
        if first.get().is_empty() {
            first.remove();
        }
        self.len -= 1;
        Some((at, key.expect("no empty list is kept")))
    }

    /// True if something is due.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.due.keys().next().is_some_and(|&at| is_over(at, now))
    }

    /// True if most of it must be out of date, `live` keys being kept in it.
    pub(crate) const fn is_stale(&self, live: usize) -> bool {
        self.len > 2 * live + SLACK
    }

    /// Keeps what is still wanted.
    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(u32, &K) -> bool) {
        self.len = 0;
        self.due.retain(|&at, keys| {
            keys.retain(|key| wanted(at, key));
            self.len += keys.len();
            !keys.is_empty()
        });
    }
}

/// The first second that begins `seconds` after `time` or later.
pub(crate) fn after(time: u64, seconds: u32) -> u32 {
    let at = time.saturating_add(u64::from(seconds) * SECOND);
    u32::try_from(at.div_ceil(SECOND)).unwrap_or(NEVER)
}

/// True if the second `at` has begun.
pub(crate) fn is_over(at: u32, now: u64) -> bool {
    u64::from(at) <= now / SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_first_comes_out_first_and_nothing_before_its_time() {
        let mut queue = Queue::default();
        queue.push(7, 'b');
        queue.push(5, 'a');
        queue.push(NEVER, 'x');
        assert_eq!(queue.pop(5 * SECOND - 1), None);
        assert!(queue.is_due(5 * SECOND));
        assert_eq!(queue.pop(9 * SECOND), Some((5, 'a')));
        assert_eq!(queue.pop(9 * SECOND), Some((7, 'b')));
        assert_eq!(queue.pop(u64::MAX), None);
    }

    #[test]
    fn a_time_between_seconds_is_over_with_the_next() {
        assert_eq!(after(3 * SECOND, 2), 5);
        assert_eq!(after(3 * SECOND + 1, 2), 6);
        assert_eq!(after(u64::MAX, 2), NEVER);
    }

    #[test]
    fn a_queue_that_is_mostly_out_of_date_says_so_until_it_is_gone_through() {
        let mut queue = Queue::default();
        for key in 0..=SLACK {
            queue.push(1, key);
        }
        assert!(queue.is_stale(0) && !queue.is_stale(1));
        queue.retain(|_, key| *key == 3);
        assert_eq!((queue.pop(SECOND), queue.pop(SECOND)), (Some((1, 3)), None));
    }
}
