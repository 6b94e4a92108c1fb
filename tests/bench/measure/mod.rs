//! How things are measured: in turn, round by round, on a machine that is watched meanwhile.

pub(crate) mod bridge;
mod canary;
mod cpu;
pub(crate) mod process;
mod rounds;
mod spread;

pub(crate) use self::cpu::{Kernel, pin, ticks};
pub(crate) use self::rounds::{Contender, compare, compare_each};
pub(crate) use self::spread::Spread;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    rounds: Option<u32>,
    seconds: u64,
    /// Only to see that everything works.
    pub(crate) smoke: bool,
    /// The `vtep` of another build, to be measured beside this one's.
    pub(crate) baseline: Option<PathBuf>,
}

impl Scale {
    pub(crate) const fn new(rounds: Option<u32>, seconds: u64, smoke: bool) -> Self {
        Self {
            rounds,
            seconds,
            smoke,
            baseline: None,
        }
    }

    /// The same with another build beside.
    pub(crate) fn beside(mut self, baseline: Option<&Path>) -> Self {
        self.baseline = baseline.map(Path::to_owned);
        self
    }

    /// How many rounds a comparison takes that by itself wants `usual`.
    pub(crate) fn rounds(&self, usual: u32) -> u32 {
        if self.smoke {
            1
        } else {
            self.rounds.unwrap_or(usual)
        }
    }

    /// How long a measurement of a fixed time takes.
    pub(crate) const fn time(&self) -> Duration {
        if self.smoke {
            Duration::from_millis(200)
        } else {
            Duration::from_secs(self.seconds)
        }
    }

    /// `full`, or `small` where it is only to see that everything works.
    pub(crate) fn pick<T>(&self, full: T, small: T) -> T {
        if self.smoke { small } else { full }
    }
}
