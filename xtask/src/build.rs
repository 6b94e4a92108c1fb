//! `cargo xtask build`: both sides, in release mode.

use std::path::PathBuf;

use crate::{
    setup,
    shell::{Result, cargo_command, shown, target_dir},
};

/// Runs the verb.
pub(crate) fn run() -> Result<()> {
    setup::ensure()?;
    let binary = vtep(Profile::Release)?;
    eprintln!("built {}", binary.display());
    Ok(())
}

/// How a binary is built.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// Builds the `vtep` binary, the kernel side within it, and returns where it lies.
pub(crate) fn vtep(profile: Profile) -> Result<PathBuf> {
    let (option, dir) = match profile {
        Profile::Dev => ("", "debug"),
        Profile::Release => ("--release", "release"),
    };
    shown(&mut cargo_command(&format!(
        "build {option} --package vtep-user --bin vtep"
    )))?;
    Ok(target_dir()?.join(dir).join("vtep"))
}

/// Builds the `vtep` binary in release mode for another target, and returns where it lies.
pub(crate) fn vtep_for(target: &str) -> Result<PathBuf> {
    shown(&mut cargo_command(&format!(
        "build --release --target {target} --package vtep-user --bin vtep"
    )))?;
    Ok(target_dir()?.join(target).join("release/vtep"))
}
