//! The time.

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns};

use crate::maps::CLOCK;

/// Nanoseconds of `CLOCK_MONOTONIC`, as of the last tick.
///
/// The kernel makes one load of the call that counts ticks (`do_misc_fixups`, kernel `kernel/bpf/verifier.c`); the coarse clock is two
/// calls.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper takes nothing.
    let ticks = || unsafe { bpf_jiffies64() };
    match CLOCK.get(0).and_then(|clock| clock.at(ticks())) {
        Some(now) => now,
        // SAFETY: as above.
        None => unsafe { bpf_ktime_get_coarse_ns() },
    }
}

/// Leaves the number of ticks in the map, for whoever is to set the clock.
#[inline(always)]
pub fn read_ticks() {
    if let Some(clock) = CLOCK.get_ptr_mut(0) {
        // SAFETY: the map gave the pointer, and the helper takes nothing.
        unsafe { (*clock).ticks = bpf_jiffies64() };
    }
}
