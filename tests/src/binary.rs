//! Where the program under test is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `vtep` binary: what `VTEP_BIN` names, or else built now beside the tests.
///
/// # Panics
///
/// If it does not build.
pub fn vtep() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("VTEP_BIN") {
            return PathBuf::from(path);
        }
        // This test is TARGET/PROFILE/deps/name-hash.
        let me = std::env::current_exe().expect("the path of this test");
        let profile = me
            .ancestors()
            .nth(2)
            .expect("a target directory above this test");
        let target = profile
            .parent()
            .expect("a target directory above the profile");
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args([
            "build",
            "--quiet",
            "-p",
            "vtep-user",
            "--bin",
            "vtep",
            "--target-dir",
        ]);
        build
            .arg(target)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        if profile.ends_with("release") {
            build.arg("--release");
        }
        let status = build.status().expect("run cargo");
        assert!(status.success(), "build vtep: {status}");
        profile.join("vtep")
    })
}
