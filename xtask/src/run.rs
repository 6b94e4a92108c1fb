//! `cargo xtask run`: from a fresh clone to a running daemon.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use crate::{
    build::{self, Profile},
    setup,
    shell::{Result, need_root, starting},
};

/// Runs the verb; returns only if the daemon cannot be started.
pub(crate) fn run(args: &[OsString]) -> Result<()> {
    need_root("run ...")?;
    setup::ensure()?;
    setup::bpffs()?;
    let mut daemon = Command::new(build::vtep(Profile::Release)?);
    daemon.arg("run").args(args);
    let start = starting(&daemon);
    Err(start(daemon.exec()))
}
