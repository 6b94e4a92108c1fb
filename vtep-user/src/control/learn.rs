//! Learning from what the kernel side tells, moving, ageing, and MACs that move too often.

use vtep_common::{events::Event, maps::FdbKey};

use super::{Effect, State};

/// The clock, and the stamps that traffic renews, as they stand in the map. Times are nanoseconds of `CLOCK_MONOTONIC`.
pub trait Clock {
    /// Now.
    fn now(&self) -> u64;
    /// When a frame from a learned MAC was last seen; `None` if the map does not have the entry.
    fn last_seen(&self, key: FdbKey) -> Option<u64>;
}

/// How often something was learned, or was not, since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LearnCounters {
    /// New entries.
    pub learned: u64,
    /// Entries that moved.
    pub moved: u64,
    /// Entries that aged out.
    pub aged: u64,
    /// MACs not learned for the limit of their VNI or port.
    pub limited: u64,
    /// MACs not learned because the FDB, or the table of peers, is full.
    pub full: u64,
    /// Entries that were frozen because they moved too often.
    pub frozen: u64,
    /// Events about MACs that are never learned: our own, group addresses, or of a port or VNI that is gone.
    pub ignored: u64,
}

impl State {
    /// Takes in what the kernel side told, in its order.
    pub fn learn(&mut self, _events: &[Event], _clock: &dyn Clock) -> Effect {
        Effect::default()
    }

    /// Lets time pass: ages entries and thaws frozen ones, a bounded number in each call. To be called about every second, and
    /// again at once while [`State::is_behind`].
    pub fn tick(&mut self, _clock: &dyn Clock) -> Effect {
        Effect::default()
    }

    /// True if the last [`State::tick`] left work for another.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        false
    }

    /// What has been learned in all.
    #[must_use]
    pub fn learn_counters(&self) -> LearnCounters {
        LearnCounters::default()
    }
}
