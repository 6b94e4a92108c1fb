//! `cargo xtask demo`: a segment across two hypervisors, to look at. It stands on the lab of the tests.

use crate::{
    build::Profile,
    setup,
    shell::{Result, need_root},
    suite,
};

/// Runs the verb.
pub(crate) fn run(keep: bool) -> Result<()> {
    need_root("demo")?;
    setup::ensure()?;
    setup::bpffs()?;
    let args = keep.then(|| "--keep".into());
    suite::run("demo", Profile::Release, args.as_slice())
}
