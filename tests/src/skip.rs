//! Skipping a test aloud, so that a green run tells what it did not look at.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

/// Ends the test as skipped, for a stated reason. Counted by `cargo xtask test`; a failure under
/// `VTEP_REQUIRE_ALL=1`.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::skip::record(&format!($($reason)*));
        return;
    }};
}

/// What every lab is made with.
pub const OF_LABS: [&str; 5] = ["ip", "bridge", "tc", "mount", "nsenter"];

/// Ends the test as skipped unless it runs as root, on a machine with the programs that every lab is made with.
#[macro_export]
macro_rules! need_root {
    () => {
        if !$crate::skip::is_root() {
            $crate::skip!("needs root");
        }
        $crate::need_programs!($crate::skip::OF_LABS);
    };
}

/// Ends the test as skipped unless these programs are installed: `need_programs!(["nft"])`.
#[macro_export]
macro_rules! need_programs {
    ($programs:expr) => {
        if let Some(lacking) = $crate::skip::lacking(&$programs) {
            $crate::skip!("needs {lacking}, which is not installed");
        }
    };
}

/// The first of these programs that is neither in `PATH` nor where administrators' programs lie.
#[must_use]
pub fn lacking<'a>(programs: &[&'a str]) -> Option<&'a str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    lacking_in(&path, programs)
}

fn lacking_in<'a>(path: &OsStr, programs: &[&'a str]) -> Option<&'a str> {
    let is_there = |program: &str| {
        std::env::split_paths(path)
            .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
            .any(|dir| dir.join(program).is_file())
    };
    programs.iter().copied().find(|program| !is_there(program))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_program_that_is_not_there_is_named() {
        let path = OsStr::new("/bin:/usr/bin");
        assert_eq!(lacking_in(path, &["sh", "cat"]), None);
        assert_eq!(
            lacking_in(path, &["sh", "no-such-program", "nor-this"]),
            Some("no-such-program")
        );
        assert_eq!(lacking_in(OsStr::new("/nowhere"), &["cat"]), Some("cat"));
    }
}
