//! What time it is to the programs.
//!
//! They count the kernel's ticks, since reading a clock is two calls and counting is one load. Ticks follow `CLOCK_MONOTONIC`
//! (`tick_do_update_jiffies64`, kernel `kernel/time/tick-sched.c`), so that it is enough to say once, when they are loaded, how long
//! a tick is and at what time the first one was.

use std::mem;

use aya::{
    Ebpf,
    maps::{Array, MapData, MapError},
    programs::{ProgramError, TestRun as _, TestRunOptions, Xdp},
};
use vtep_common::abi::{clock::Clock, map::name};

use super::error::DatapathError;

/// The program that leaves the number of ticks in the map.
const PROGRAM: &str = "read_ticks";
/// How often a tick may come between two looks at the clock.
const TRIES: u32 = 100;
/// Bytes of the shortest frame of an XDP test run.
const FRAME_LEN: usize = 14;

/// Sets the clock of programs that run only later. Where the ticks cannot be found, it stays unset, and the programs ask the kernel for
/// the time.
pub(super) fn set(ebpf: &mut Ebpf) -> Result<(), DatapathError> {
    program(ebpf)?.load().map_err(failed)?;
    let Some(tick_ns) = tick() else {
        return Ok(());
    };
    for _ in 0..TRIES {
        let time = coarse_ns();
        let ticks = read_ticks(ebpf)?;
        if coarse_ns() == time {
            let set = Clock {
                tick_ns,
                base: time.wrapping_sub(ticks.wrapping_mul(tick_ns)),
                ticks,
            };
            return clock(ebpf)?.set(0, set, 0).map_err(not_written);
        }
    }
    Ok(())
}

/// The number of ticks.
fn read_ticks(ebpf: &mut Ebpf) -> Result<u64, DatapathError> {
    let options = TestRunOptions {
        data_in: Some(&[0; FRAME_LEN]),
        ..TestRunOptions::default()
    };
    program(ebpf)?.test_run(options).map_err(failed)?;
    Ok(clock(ebpf)?.get(&0, 0).map_err(not_written)?.ticks)
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, DatapathError> {
    let program = ebpf
        .program_mut(PROGRAM)
        .ok_or(DatapathError::Missing(PROGRAM))?;
    program.try_into().map_err(failed)
}

fn clock(ebpf: &mut Ebpf) -> Result<Array<&mut MapData, Clock>, DatapathError> {
    let map = ebpf
        .map_mut(name::CLOCK)
        .ok_or(DatapathError::Missing(name::CLOCK))?;
    Array::try_from(map).map_err(not_written)
}

fn failed(source: ProgramError) -> DatapathError {
    DatapathError::program("run", PROGRAM, source)
}

fn not_written(source: MapError) -> DatapathError {
    DatapathError::map("write", name::CLOCK, source)
}

/// Nanoseconds of a tick: that is how coarse the coarse clock is.
fn tick() -> Option<u64> {
    // SAFETY: plain numbers.
    let mut tick: libc::timespec = unsafe { mem::zeroed() };
    // SAFETY: the call fills in the time that it is given.
    unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut tick) };
    let tick = nanoseconds(tick);
    // From 1,000 ticks a second to 24.
    (1_000_000..=41_666_667).contains(&tick).then_some(tick)
}

/// The time that programs count from, and how long it stands still: nanoseconds of `CLOCK_MONOTONIC`.
pub(super) fn now() -> (u64, u64) {
    (coarse_ns(), tick().unwrap_or(0))
}

/// When the last tick was, nanoseconds of `CLOCK_MONOTONIC`.
fn coarse_ns() -> u64 {
    // SAFETY: plain numbers.
    let mut now: libc::timespec = unsafe { mem::zeroed() };
    // SAFETY: the call fills in the time that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    nanoseconds(now)
}

/// A time in nanoseconds; zero for a negative one.
pub(super) fn nanoseconds(time: libc::timespec) -> u64 {
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}
