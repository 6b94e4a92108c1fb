//! The archive: the same files for any distribution, with a binary that needs no library.

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::tree::Tree;
use crate::shell::{Result, doing, quiet};

/// Packs a tree of files below one directory; returns the archive.
pub(super) fn pack(tree: &Tree, version: &str, stamp: &str, dir: &Path) -> Result<PathBuf> {
    let name = format!("vtep-{version}");
    let root = dir.join(&name);
    tree.write(&root)?;
    let archive = dir.join(format!("{name}-{ARCH}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--owner=0", "--group=0"])
        .args(["--numeric-owner", "--format=gnu"])
        .arg(format!("--mtime=@{stamp}"))
        .args(["--use-compress-program", "gzip -9 --no-name"])
        .arg("--file")
        .arg(&archive)
        .arg("--directory")
        .arg(dir)
        .arg(&name);
    quiet(&mut tar)?;
    fs::remove_dir_all(&root).map_err(doing("remove what is packed"))?;
    Ok(archive)
}
