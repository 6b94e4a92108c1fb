//! `cargo xtask upgrade`: from an earlier build of `vtep` to this one. It stands on the lab of the tests.

use std::ffi::OsString;

use crate::{
    build::Profile,
    setup,
    shell::{Result, need_root},
    suite,
};

/// Runs the verb.
pub(crate) fn run(args: &[OsString]) -> Result<()> {
    if !args.iter().any(|arg| arg == "--help" || arg == "-h") {
        need_root("upgrade")?;
        setup::bpffs()?;
    }
    setup::ensure()?;
    suite::run("upgrade", Profile::Dev, args)
}
