//! Skipping a test aloud, so that a green run tells what it did not look at.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Ends the test as skipped, for a stated reason. Counted by `cargo xtask test`; a failure under
/// `VTEP_REQUIRE_ALL=1`.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::skip::record(&format!($($reason)*));
        return;
    }};
}

/// Ends the test as skipped unless it runs as root.
#[macro_export]
macro_rules! need_root {
    () => {
        if !$crate::skip::is_root() {
            $crate::skip!("needs root");
        }
    };
}

/// Writes down a skip; [`skip!`](crate::skip!) is how tests call this.
///
/// # Panics
///
/// If every test is required, or the log cannot be written.
pub fn record(reason: &str) {
    let thread = std::thread::current();
    let line = format!("SKIP: {}: {reason}", thread.name().unwrap_or("unnamed"));
    eprintln!("{line}");
    if let Some(path) = std::env::var_os("VTEP_SKIP_LOG") {
        let mut log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap_or_else(|e| panic!("open the skip log {}: {e}", path.display()));
        writeln!(log, "{line}").expect("write the skip log");
    }
    assert!(
        std::env::var("VTEP_REQUIRE_ALL").as_deref() != Ok("1"),
        "{line}"
    );
}

/// Whether this process may make namespaces.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: takes nothing, only returns a number.
    unsafe { libc::geteuid() == 0 }
}
