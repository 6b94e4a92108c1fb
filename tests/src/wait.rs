//! Waiting for something to become true, with a deadline.

use std::time::{Duration, Instant};

/// Long enough for anything on a busy machine; a test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks `probe` again and again until it answers, or returns `None` after `within`.
pub fn poll<T>(within: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + within;
    loop {
        // The last look is begun after the end, for a busy machine may have let this thread stand still until then.
        let last = Instant::now() > end;
        if let Some(found) = probe() {
            return Some(found);
        }
        if last {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks `probe` until it answers, and panics with `what` if it does not in time.
///
/// # Panics
///
/// After [`DEADLINE`].
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    poll(DEADLINE, probe).unwrap_or_else(|| panic!("waited {DEADLINE:?} in vain for: {what}"))
}

/// Waits until `probe` is true.
///
/// # Panics
///
/// After [`DEADLINE`].
pub fn until_true(what: &str, mut probe: impl FnMut() -> bool) {
    until(what, || probe().then_some(()));
}
