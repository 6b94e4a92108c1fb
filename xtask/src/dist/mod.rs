//! `cargo xtask dist`: what people install, as a Debian package and as an archive that needs no library.
//!
//! | to change | look in |
//! |---|---|
//! | which files there are, and where they go | `tree.rs` |
//! | the Debian package | `deb.rs`, and what its scripts do: `dist/debian/` |
//! | the archive | `archive.rs` |
//! | how the package is tried | `trial.rs`, `trial.sh` |

mod archive;
mod deb;
mod tree;
mod trial;

use std::{
    fs,
    path::{Path, PathBuf},
};

use self::tree::Tree;
use crate::{
    build::{self, Profile},
    setup,
    shell::{Result, command, doing, quiet, repository, shown, target_dir},
};

/// The version of everything here.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What packing needs of this machine, and the Debian package of each.
const PROGRAMS: [(&str, &str); 5] = [
    ("dpkg-deb", "dpkg"),
    ("gzip", "gzip"),
    ("objdump", "binutils"),
    ("strip", "binutils"),
    ("tar", "tar"),
];

/// Runs the verb.
pub(crate) fn run() -> Result<()> {
    setup::ensure()?;
    setup::programs("programs that pack", &PROGRAMS)?;
    let dir = cleared("dist")?;
    let stamp = stamp()?;
    let vtep = build::vtep(Profile::Release)?;
    let package = package(&vtep, VERSION, &stamp, &dir)?;
    println!("packed {}", package.display());

    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let print = format!("rustc --print target-libdir --target {target}");
    if !Path::new(quiet(&mut command(&print))?.trim()).is_dir() {
        shown(&mut command(&format!("rustup target add {target}")))?;
    }
    let tree = Tree::new(&build::vtep_for(&target)?, &vtep)?;
    let archive = archive::pack(&tree, VERSION, &stamp, &dir)?;
    println!("packed {}", archive.display());
    Ok(())
}

/// Packs the development build as two versions, each twice, and installs, upgrades and removes it in a copy of this system.
pub(crate) fn trial() -> Result<()> {
    setup::programs("programs that pack", &PROGRAMS)?;
    let dir = cleared("dist-trial")?;
    let vtep = build::vtep(Profile::Dev)?;
    let tried = trial::run(&vtep, &stamp()?, &dir);
    drop(fs::remove_dir_all(&dir));
    tried
}

/// Makes the Debian package of a binary.
pub(crate) fn package(vtep: &Path, version: &str, stamp: &str, dir: &Path) -> Result<PathBuf> {
    let mut tree = Tree::new(vtep, vtep)?;
    tree.add_debian_documents()?;
    deb::pack(&tree, version, stamp, dir)
}

/// An empty directory where cargo builds.
fn cleared(name: &str) -> Result<PathBuf> {
    let dir = target_dir()?.join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(doing(format!("clear {}", dir.display())))?;
    }
    fs::create_dir_all(&dir).map_err(doing(format!("make {}", dir.display())))?;
    Ok(dir)
}

/// The time that everything in a package has, in seconds since 1970: `SOURCE_DATE_EPOCH`, or that of the commit.
pub(crate) fn stamp() -> Result<String> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(given);
    }
    let mut git = command("git log -1 --format=%ct");
    git.current_dir(repository());
    Ok(quiet(&mut git)?.trim().to_owned())
}
