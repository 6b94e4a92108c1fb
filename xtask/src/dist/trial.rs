//! The package, tried: it is packed as two versions, each twice, and goes through its life in a copy of this system.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::package as packed;
use crate::shell::{Result, doing, need_root, said, shown};

/// Versions of the package, of the same files.
const VERSIONS: [&str; 2] = ["0.0.1", "0.0.2"];

/// Packs the binary `vtep`, and tries the packages.
pub(super) fn run(vtep: &Path, stamp: &str, dir: &Path) -> Result<()> {
    need_root("dist --trial")?;
    let packages = VERSIONS
        .iter()
        .map(|version| alike(vtep, version, stamp, dir))
        .collect::<Result<Vec<_>>>()?;
    let script = dir.join("trial.sh");
    fs::write(&script, include_str!("trial.sh")).map_err(doing("write the trial's script"))?;
    // A copy of the mounts, the network and the processes: what it leaves there goes with it.
    let mut trial = Command::new("unshare");
    trial
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child"])
        .args(["--propagation", "private", "sh"])
        .arg(&script)
        .arg(dir)
        .args(&packages);
    shown(&mut trial)
}

/// Packs a version twice; both have the same bytes.
fn alike(vtep: &Path, version: &str, stamp: &str, dir: &Path) -> Result<PathBuf> {
    let read = |path: &Path| fs::read(path).map_err(doing(format!("read {}", path.display())));
    let package = packed(vtep, version, stamp, dir)?;
    let first = read(&package)?;
    let again = packed(vtep, version, stamp, dir)?;
    if first == read(&again)? {
        return Ok(package);
    }
    said(format!(
        "{} is packed otherwise the second time",
        package.display()
    ))
}
