//! Processors: which one a thread runs on, and what the kernel did on them.

use std::fs;

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
pub(crate) fn ticks() -> u64 {
    parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
}

fn parse(text: &str) -> u64 {
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq (proc(5))
    [2, 5, 6].iter().filter_map(|&at| fields.get(at)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_time_is_system_and_interrupts() {
        assert_eq!(parse("cpu 1 2 30 4 5 600 7000 8\ncpu0 9 9 9\n"), 7630);
    }
}
