//! The file system that every guest starts with: Debian packages, unpacked.

use std::{
    fs,
    io::BufWriter,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{apt::Apt, cpio::Archive, package};
use crate::shell::{Result, doing};

/// What the tests call, and what starts them.
const PACKAGES: [&str; 11] = [
    "base-files",
    "bash",
    "busybox",
    "iproute2",
    "iputils-ping",
    "kmod",
    "libc6",
    "mount",
    "nftables",
    "util-linux",
    "wireguard-tools",
];

/// What a guest with a service manager has besides, and what installs packages there.
const MANAGED: [&str; 6] = [
    "coreutils",
    "dash",
    "dpkg",
    "libc-bin",
    "passwd",
    "systemd-sysv",
];

/// What no guest reads.
const UNREAD: [&str; 5] = [
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/lintian",
    "usr/lib/x86_64-linux-gnu/gconv",
];

/// Directories that are links into `usr`.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// Returns the archive, made again when apt's lists are new.
pub(super) fn archive(apt: &Apt, cache: &Path) -> Result<PathBuf> {
    packed(apt, cache, "root", &PACKAGES)
}

/// The same with a service manager.
pub(super) fn managed(apt: &Apt, cache: &Path) -> Result<PathBuf> {
    packed(apt, cache, "managed", &[&PACKAGES[..], &MANAGED].concat())
}

fn packed(apt: &Apt, cache: &Path, name: &str, packages: &[&str]) -> Result<PathBuf> {
    let archive = cache.join(format!("{name}.cpio"));
    let made = fs::metadata(&archive).and_then(|about| about.modified());
    if made.is_ok_and(|made| apt.updated().is_some_and(|updated| updated < made)) {
        return Ok(archive);
    }
    let files = apt.closure(packages)?;
    let tree = cache.join(name);
    if tree.exists() {
        fs::remove_dir_all(&tree).map_err(doing("clear what was unpacked before"))?;
    }
    for dir in MERGED {
        let to = format!("usr/{dir}");
        fs::create_dir_all(tree.join(&to)).map_err(doing("make the root's directories"))?;
        symlink(&to, tree.join(dir)).map_err(doing("link into usr"))?;
    }
    for file in &files {
        package::unpack(file, &tree, &[])?;
    }
    for dir in UNREAD
        .map(|dir| tree.join(dir))
        .iter()
        .filter(|dir| dir.exists())
    {
        fs::remove_dir_all(dir).map_err(doing("remove what no guest reads"))?;
    }
    // Under another name until it is whole.
    let unfinished = archive.with_extension("part");
    let pack = || {
        let mut packed = Archive::new(BufWriter::new(fs::File::create(&unfinished)?));
        packed.tree(&tree)?;
        packed.end()?;
        fs::rename(&unfinished, &archive)
    };
    pack().map_err(doing("pack the root file system"))?;
    fs::remove_dir_all(&tree).map_err(doing("remove what is packed"))?;
    for file in files {
        fs::remove_file(file).map_err(doing("remove what is unpacked"))?;
    }
    Ok(archive)
}
