//! Where the program under test is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static WITHOUT_TCX: AtomicBool = AtomicBool::new(false);
static OTHER: OnceLock<PathBuf> = OnceLock::new();

/// Has every daemon that this process makes from now on be of another build, unless it is told otherwise.
///
/// # Panics
///
/// If it was called before.
pub fn use_build(binary: &Path) {
    let set = OTHER.set(binary.to_owned());
    assert!(set.is_ok(), "one other build");
}

/// The build that daemons are made of.
#[must_use]
pub fn in_use() -> &'static Path {
    OTHER.get().map_or_else(vtep, PathBuf::as_path)
}

/// Has every `vtep` that this process starts from now on do as on a kernel before 6.6, which has no tcx.
pub fn without_tcx() {
    WITHOUT_TCX.store(true, Ordering::Relaxed);
}

/// What `vtep` is to find in its environment.
#[must_use]
pub fn environment() -> Option<(&'static str, &'static str)> {
    WITHOUT_TCX
        .load(Ordering::Relaxed)
        .then_some(("VTEP_NO_TCX", "1"))
}

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
        // A test is TARGET/PROFILE/deps/name-hash, the measuring program TARGET/PROFILE/bench.
        let me = std::env::current_exe().expect("the path of this program");
        let directory = me.parent().expect("a directory around this program");
        let profile = if directory.ends_with("deps") {
            directory.parent()
        } else {
            Some(directory)
        };
        let profile = profile.expect("a target directory above this program");
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
