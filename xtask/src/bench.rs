//! `cargo xtask bench`: vtep against the kernel's own vxlan device, in turn within one run.

use std::{ffi::OsString, process::Command};

use crate::{
    build::{self, Profile},
    setup,
    shell::{Result, cargo_command, need_root, shown},
    test::BINARY,
};

/// Only to see that everything works; the suite's own option.
const SMOKE: &str = "--smoke";

/// Runs the suite, which lies in `tests/bench`, with these options.
pub(crate) fn run(args: &[OsString]) -> Result<()> {
    let asks_for_help = args.iter().any(|arg| arg == "--help" || arg == "-h");
    if !asks_for_help {
        need_root("bench")?;
        setup::ensure()?;
        setup::bpffs()?;
    }
    // What is only to work need not be fast, and is built already where tests run.
    let profile = if args.iter().any(|arg| arg == SMOKE) {
        Profile::Dev
    } else {
        Profile::Release
    };
    shown(suite(profile)?.args(args))
}

/// Runs every case for a moment, with its checks.
pub(crate) fn smoke() -> Result<()> {
    setup::bpffs()?;
    shown(suite(Profile::Dev)?.arg(SMOKE))
}

fn suite(profile: Profile) -> Result<Command> {
    let vtep = build::vtep(profile)?;
    let mut suite = cargo_command("run --package vtep-tests --bin bench");
    suite.env(BINARY, vtep);
    if matches!(profile, Profile::Release) {
        suite.arg("--release");
    }
    suite.arg("--");
    Ok(suite)
}
