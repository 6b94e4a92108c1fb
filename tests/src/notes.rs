//! What a test found out besides passing, for the results of a run.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Notes something; `cargo xtask test vm` has it in its results.
///
/// # Panics
///
/// If it cannot be written where it is wanted.
pub fn note(found: &str) {
    println!("{found}");
    if let Some(path) = std::env::var_os("VTEP_NOTES") {
        let mut notes = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap_or_else(|e| panic!("open the notes {}: {e}", path.display()));
        writeln!(notes, "{found}").expect("write a note");
    }
}
