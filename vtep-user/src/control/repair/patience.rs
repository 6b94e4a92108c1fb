//! How often something is put right: who undoes it each time, perhaps a program with other ideas, is not fought for ever.

use std::{collections::HashMap, hash::Hash, time::Duration};

/// Repairs of one thing within [`WINDOW`].
const MOST: u32 = 10;
/// Within this time.
const WINDOW: Duration = Duration::from_secs(60);

/// Whether something may be put right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// It may.
    Go,
    /// Not before the minute is over. That was so before, or is new.
    Wait {
        /// Whether it is new.
        new: bool,
    },
}

/// How often each thing was put right lately. Times are since some moment that stays the same.
#[derive(Clone, Debug)]
pub struct Patience<K>(HashMap<K, Spent>);

#[derive(Clone, Copy, Debug)]
struct Spent {
    since: Duration,
    times: u32,
    /// It is left alone until the time is over.
    left_alone: bool,
}

impl<K> Default for Patience<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Patience<K> {
    /// Whether `thing` may be put right now; counts that it is.
    pub fn may(&mut self, thing: &K, now: Duration) -> May {
        self.0.retain(|_, spent| is_fresh(spent, now));
        let spent = self.0.entry(thing.clone()).or_insert(Spent {
            since: now,
            times: 0,
            left_alone: false,
        });
        if spent.times < MOST {
            spent.times += 1;
            return May::Go;
        }
        May::Wait {
            new: !std::mem::replace(&mut spent.left_alone, true),
        }
    }

    /// What is left alone now.
    pub fn left_alone(&self, now: Duration) -> impl Iterator<Item = &K> {
        let things = self.0.iter();
        things
            .filter(move |(_, spent)| spent.left_alone && is_fresh(spent, now))
            .map(|(thing, _)| thing)
    }
}

fn is_fresh(spent: &Spent, now: Duration) -> bool {
    now.saturating_sub(spent.since) < WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_thing_is_put_right_ten_times_a_minute_and_then_left_alone() {
        let mut patience = Patience::default();
        for second in 0..10 {
            assert_eq!(patience.may(&"mtu", SECOND * second), May::Go);
        }
        assert_eq!(patience.left_alone(SECOND * 9).count(), 0);

        assert_eq!(patience.may(&"mtu", SECOND * 10), May::Wait { new: true });
        assert_eq!(patience.may(&"mtu", SECOND * 59), May::Wait { new: false });
        let left: Vec<_> = patience.left_alone(SECOND * 59).collect();
        assert_eq!(left, [&"mtu"]);

        // Nothing else has to wait for it.
        assert_eq!(patience.may(&"up", SECOND * 59), May::Go);
    }

    #[test]
    fn after_a_minute_it_is_tried_again() {
        let mut patience = Patience::default();
        for _ in 0..=10 {
            patience.may(&"mtu", SECOND);
        }
        assert_eq!(patience.left_alone(SECOND * 61).count(), 0);
        for _ in 0..10 {
            assert_eq!(patience.may(&"mtu", SECOND * 61), May::Go);
        }
        // And said anew.
        assert_eq!(patience.may(&"mtu", SECOND * 62), May::Wait { new: true });
    }

    #[test]
    fn what_was_put_right_long_ago_is_forgotten() {
        let mut patience = Patience::default();
        for thing in 0..100 {
            patience.may(&thing, SECOND);
        }
        patience.may(&1000, SECOND * 100);
        assert_eq!(patience.0.len(), 1);
    }
}
