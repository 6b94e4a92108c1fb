//! `cargo xtask demo`: a segment across three hypervisors, to look at. It stands on the lab of the tests.

use crate::{
    build::Profile,
    setup,
    shell::{Result, need_root, repository},
    suite,
};

/// Where what it shows is written down.
const PAGE: &str = "docs/demo.md";

/// Runs the verb.
pub(crate) fn run(keep: bool, record: bool) -> Result<()> {
    need_root("demo")?;
    setup::ensure()?;
    setup::bpffs()?;
    let mut args = Vec::new();
    if keep {
        args.push("--keep".into());
    }
    if record {
        args.extend(["--record".into(), repository().join(PAGE).into()]);
    }
    suite::run("demo", Profile::Release, &args)
}
