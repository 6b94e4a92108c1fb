//! Ctrl-C: what was made is taken away again.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From here on Ctrl-C, and being told to end, end nothing by themselves: [`stop_if_interrupted`] does.
pub fn hold() -> Result<(), String> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))
        .map_err(|error| format!("cannot catch Ctrl-C: {error}"))
}

/// Panics once Ctrl-C was pressed, so that namespaces and daemons go with the values that stand for them.
///
/// # Panics
///
/// See above.
pub fn stop_if_interrupted() {
    assert!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
}
