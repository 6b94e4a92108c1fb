//! Whether the machine was itself meanwhile: work that always takes the same, and the time that the host took away.

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Steps of the fixed work; some 10 ms.
const STEPS: u64 = 10_000_000;

/// How long the fixed work takes now.
pub(crate) fn spin() -> Duration {
    let start = Instant::now();
    let mut state = black_box(0x9e37_79b9_u64);
    for _ in 0..STEPS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state);
    start.elapsed()
}

/// Processor time of all processors so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stolen {
    steal: u64,
    total: u64,
}

impl Stolen {
    /// As of now.
    pub(crate) fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            // Guests' time, which follows, is in the users' already.
            .take(8)
            .filter_map(|field| field.parse().ok())
            .collect();
        Self {
            steal: ticks.get(7).copied().unwrap_or(0),
            total: ticks.iter().sum(),
        }
    }

    /// The part of the time since `before` that the host kept to itself, from 0 to 1.
    pub(crate) fn share_since(self, before: Self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "ticks of a run are few")]
        let [steal, total] = [
            self.steal.saturating_sub(before.steal) as f64,
            self.total.saturating_sub(before.total) as f64,
        ];
        if total > 0.0 { steal / total } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_a_share_of_all_time() {
        let before = Stolen::parse("cpu 10 0 10 70 0 0 0 10 5 5\ncpu0 1\n");
        let after = Stolen::parse("cpu 20 0 20 140 0 0 0 20 9 9\n");

        assert_eq!((before.steal, before.total), (10, 100));
        assert!((after.share_since(before) - 0.1).abs() < 1e-9);
        assert!(before.share_since(before).abs() < 1e-9);
    }
}
