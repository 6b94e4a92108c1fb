//! What time it is to the programs.

use bytemuck::{Pod, Zeroable};

/// What time it is to the programs: 24 bytes, of each daemon's programs their own, and not pinned. All zero: unknown.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Clock {
    /// Nanoseconds of a tick.
    pub tick_ns: u64,
    /// When tick 0 was, nanoseconds of `CLOCK_MONOTONIC`, modulo 2^64: it may have been before it started.
    pub base: u64,
    /// Where `read_ticks` leaves the number of ticks.
    pub ticks: u64,
}

impl Clock {
    /// The time of the last tick, nanoseconds of `CLOCK_MONOTONIC`; `None` where it is not known.
    #[must_use]
    #[inline(always)]
    pub const fn at(&self, ticks: u64) -> Option<u64> {
        if self.tick_ns == 0 {
            return None;
        }
        Some(ticks.wrapping_mul(self.tick_ns).wrapping_add(self.base))
    }
}

const _: () = assert!(size_of::<Clock>() == 24);
