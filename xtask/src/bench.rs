//! `cargo xtask bench`: vtep against the kernel's own vxlan device, in turn within one run.

use std::ffi::OsString;

use crate::{
    build::Profile,
    setup,
    shell::{Result, need_root, shown},
    suite,
};

/// The name of the suite, which lies in `tests/bench`.
const NAME: &str = "bench";

/// Only to see that everything works; the suite's own option.
const SMOKE: &str = "--smoke";

/// The suite's own options with which it measures nothing.
const NO_MEASURING: [&str; 3] = ["--help", "-h", "--from"];

/// Runs the suite with these options.
pub(crate) fn run(args: &[OsString]) -> Result<()> {
    // What is only to work need not be fast, and is built already where tests run.
    let profile = if has(args, &[SMOKE]) {
        Profile::Dev
    } else {
        Profile::Release
    };
    if has(args, &NO_MEASURING) {
        return shown(suite::program(NAME, profile).args(args));
    }
    need_root("bench")?;
    setup::ensure()?;
    setup::bpffs()?;
    suite::run(NAME, profile, args)
}

/// Runs every case for a moment, with its checks.
pub(crate) fn smoke() -> Result<()> {
    setup::bpffs()?;
    suite::run(NAME, Profile::Dev, &[SMOKE.into()])
}

/// Whether one of these options is given, by itself or with its value after `=`.
fn has(args: &[OsString], options: &[&str]) -> bool {
    args.iter().any(|arg| {
        let arg = arg.to_string_lossy();
        let name = arg.split('=').next().unwrap_or_default();
        options.contains(&name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_with_and_without_a_value() {
        let args = ["--only", "flood", "--from=a=b"].map(OsString::from);

        assert!(has(&args, &NO_MEASURING));
        assert!(has(&args, &["--only"]));
        assert!(!has(&args, &[SMOKE, "--fro", "a"]));
    }
}
