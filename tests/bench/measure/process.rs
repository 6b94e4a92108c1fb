//! Processes and threads: what they spent, what they hold, and where they run.

use std::fs;
use std::time::Duration;

/// A tick of `/proc` (`sysconf(_SC_CLK_TCK)` on every Linux that this runs on), in milliseconds.
const TICK_MS: u64 = 10;

/// Processor time that a process has spent so far, to a hundredth of a second.
pub(crate) fn spent(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    Duration::from_millis(ticks(&stat) * TICK_MS)
}

/// Ticks in user and kernel mode: the 14th and the 15th field of proc(5), of which the second may hold anything.
fn ticks(stat: &str) -> u64 {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = rest.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Processor time that this thread has spent so far, interrupts that came on top of it included.
pub(crate) fn of_thread() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call fills in the time that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

/// Memory that a process has now, and the most that it ever had, in MiB.
pub(crate) fn memory(pid: u32) -> [f64; 2] {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    ["VmRSS:", "VmHWM:"].map(|key| kib(&status, key) / 1024.0)
}

fn kib(status: &str, key: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

/// Keeps the first thread of a process on one processor.
///
/// # Panics
///
/// If there is no such process or processor.
pub(crate) fn pin(pid: u32, processor: usize) {
    let pid = i32::try_from(pid).expect("a process id");
    // SAFETY: all-zero is an empty set; the calls take it by its size.
    let done = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(pid, size_of_val(&set), &raw const set)
    };
    assert_eq!(done, 0, "pin {pid} to processor {processor}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_counted_whatever_a_process_is_called() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 30 0 0 20 0";
        assert_eq!(ticks(stat), 280);
        assert_eq!(ticks(""), 0);
    }

    #[test]
    fn memory_is_in_kib() {
        assert!((kib("VmHWM:\t  9 kB\nVmRSS:\t 2048 kB\n", "VmRSS:") - 2048.0).abs() < 0.1);
    }
}
