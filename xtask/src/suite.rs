//! The programs of `vtep-tests`. They are of that package, so that this one stays small and quick to build.

use std::{ffi::OsString, process::Command};

use crate::{
    build::{self, Profile},
    shell::{Result, cargo_command, shown},
};

/// Names the `vtep` binary to the tests, and to the programs beside them.
pub(crate) const BINARY: &str = "VTEP_BIN";

/// Builds `vtep` and a program, and runs that.
pub(crate) fn run(name: &str, profile: Profile, args: &[OsString]) -> Result<()> {
    let vtep = build::vtep(profile)?;
    shown(program(name, profile).args(args).env(BINARY, vtep))
}

/// The command that builds a program and runs it.
pub(crate) fn program(name: &str, profile: Profile) -> Command {
    let mut program = cargo_command(&format!("run --package vtep-tests --bin {name}"));
    if matches!(profile, Profile::Release) {
        program.arg("--release");
    }
    program.arg("--");
    program
}
