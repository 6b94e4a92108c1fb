//! What bad input gets.

use std::process::Output;

use crate::daemon::Daemon;

/// What was printed, as text.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A refusal: this exit code, a sentence on stderr that says all of `needles`, nothing on stdout.
///
/// # Panics
///
/// If it is none.
#[track_caller]
pub fn assert_refused(out: &Output, code: i32, needles: &[&str], what: &str) {
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{what}: {said}");
    for needle in needles {
        assert!(
            said.to_lowercase().contains(&needle.to_lowercase()),
            "{what}: the refusal does not say `{needle}`: {said}"
        );
    }
    assert!(!said.contains("panicked"), "{what}: {said}");
    assert!(
        out.stdout.is_empty(),
        "{what}: data on stdout: {}",
        text(&out.stdout)
    );
}

/// A command of `vtep` is refused, and every table is as it was.
///
/// What is learned meanwhile is no change of the command's: a kernel at the other end of a port says of
/// itself what IPv6 has it say, when it likes.
///
/// # Panics
///
/// If it is done, or a table has changed.
#[track_caller]
pub fn refused(daemon: &Daemon, args: &str, code: i32, needles: &[&str]) {
    let before = daemon.tables();
    assert_refused(&daemon.vtep(args), code, needles, args);
    let mut after = daemon.tables();
    for ((_, rows), (_, known)) in after.iter_mut().zip(&before) {
        rows.retain(|row| row["state"] != "learned" || known.contains(row));
    }
    assert_eq!(after, before, "{args} changed something");
}
