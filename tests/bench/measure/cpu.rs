//! Processors: which one a thread runs on, and what the kernel did on them.

use std::fs;
use std::time::Instant;

/// Ticks of a second in `/proc/stat`.
const TICKS: f64 = 100.0;

/// Keeps the calling thread, and what it starts, on one processor.
///
/// # Panics
///
/// If there is no such processor.
pub(crate) fn pin(processor: usize) {
    // SAFETY: all-zero is an empty set; the calls take it by its size.
    let done = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
    };
    assert_eq!(done, 0, "pin to processor {processor}");
}

/// Ticks (1/100 s) that all processors have spent in the kernel so far: for system calls, and for interrupts.
///
/// The kernel charges a whole tick to what it finds running, so that a measurement of few ticks is rough. But it knows to the
/// microsecond how long processors were idle: see [`Kernel`].
pub(crate) fn ticks() -> u64 {
    Shares::now().kernel()
}

/// Time that processors have spent in the kernel since then, as what is left when they were neither idle nor elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    at: Instant,
    shares: Shares,
}

impl Kernel {
    /// As of now.
    pub(crate) fn now() -> Self {
        Self {
            at: Instant::now(),
            shares: Shares::now(),
        }
    }

    /// How long since then, and how much of it, of all processors together, was spent in the kernel; in seconds.
    pub(crate) fn since(&self) -> (f64, f64) {
        let now = Self::now();
        let passed = (now.at - self.at).as_secs_f64();
        (passed, now.shares.spent_since(&self.shares, passed))
    }
}

/// The first line of `/proc/stat`, in ticks, and for how many processors it stands.
#[derive(Clone, Copy, Debug)]
struct Shares {
    /// user nice system idle iowait irq softirq steal (proc(5))
    ticks: [u64; 8],
    processors: u32,
}

impl Shares {
    fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut fields = text
            .split_whitespace()
            .skip(1)
            .map_while(|field| field.parse().ok());
        let processors = text
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with("cpu"))
            .count();
        Self {
            ticks: std::array::from_fn(|_| fields.next().unwrap_or(0)),
            processors: u32::try_from(processors).unwrap_or(u32::MAX),
        }
    }

    fn kernel(&self) -> u64 {
        let [_, _, system, _, _, irq, softirq, _] = self.ticks;
        system + irq + softirq
    }

    /// Seconds in the kernel since `before`, which is `passed` seconds ago.
    fn spent_since(&self, before: &Self, passed: f64) -> f64 {
        let [user, nice, _, idle, iowait, _, _, steal] = self.ticks;
        let [user0, nice0, _, idle0, iowait0, _, _, steal0] = before.ticks;
        let elsewhere = user + nice + idle + iowait + steal;
        let elsewhere0 = user0 + nice0 + idle0 + iowait0 + steal0;
        #[expect(clippy::cast_precision_loss, reason = "ticks of a measurement are few")]
        let ticks = elsewhere.saturating_sub(elsewhere0) as f64;
        (passed * f64::from(self.processors) - ticks / TICKS).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_time_is_system_and_interrupts() {
        let shares = Shares::parse("cpu 1 2 30 4 5 600 7000 8\ncpu0 9 9 9\n");

        assert_eq!(shares.kernel(), 7630);
    }

    #[test]
    fn kernel_time_is_what_is_left_of_all_processors() {
        let before = Shares::parse("cpu 100 0 9 1000 0 0 0 0\ncpu0 1\ncpu1 1\nintr 5\n");
        let after = Shares::parse("cpu 140 10 9 1200 5 0 0 5\ncpu0 1\ncpu1 1\nintr 5\n");

        // Two processors for 2 s, less 2.6 s.
        assert!((after.spent_since(&before, 2.0) - 1.4).abs() < 1e-9);
    }
}
