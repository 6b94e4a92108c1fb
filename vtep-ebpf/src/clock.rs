//! The time.

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns};
use vtep_common::abi::clock::Clock;

use crate::maps::CLOCK;

/// Nanoseconds of `CLOCK_MONOTONIC`, as of the last tick.
#[inline(always)]
pub fn now() -> u64 {
    time().0
}

/// The same, and the nanoseconds of a tick.
///
/// The kernel makes one load of the call that counts ticks (`do_misc_fixups`, kernel `kernel/bpf/verifier.c`); the coarse clock is two
/// calls.
#[inline(always)]
pub fn time() -> (u64, u64) {
    // SAFETY: the helper takes nothing.
    let ticks = || unsafe { bpf_jiffies64() };
    let by_ticks = |clock: &Clock| Some((clock.at(ticks())?, clock.tick_ns));
    match CLOCK.get(0).and_then(by_ticks) {
        Some(time) => time,
        // SAFETY: as above.
        None => (unsafe { bpf_ktime_get_coarse_ns() }, LONGEST_TICK),
    }
}

/// Nanoseconds of the longest tick that Linux has.
const LONGEST_TICK: u64 = 10_000_000;

/// Leaves the number of ticks in the map, for whoever is to set the clock.
#[inline(always)]
pub fn read_ticks() {
    if let Some(clock) = CLOCK.get_ptr_mut(0) {
        // SAFETY: the map gave the pointer, and the helper takes nothing.
        unsafe { (*clock).ticks = bpf_jiffies64() };
    }
}
