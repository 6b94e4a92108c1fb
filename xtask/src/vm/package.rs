//! Debian package files, unpacked without being installed.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::shell::{Result, said, starting};

/// Unpacks a package below `tree`, or what tar's arguments select of it.
pub(super) fn unpack(file: &Path, tree: &Path, select: &[String]) -> Result<()> {
    let mut read = Command::new("dpkg-deb");
    read.arg("--fsys-tarfile").arg(file).stdout(Stdio::piped());
    let start = starting(&read);
    let mut reading = read.spawn().map_err(&start)?;
    let mut tar = Command::new("tar");
    // Packages have files in /bin, which is a link.
    tar.args(["--extract", "--keep-directory-symlink", "--directory"])
        .arg(tree)
        .args(select);
    if let Some(pipe) = reading.stdout.take() {
        tar.stdin(pipe);
    }
    // It fails where a pattern selects nothing, as some do in every package; whoever needs a file looks for it afterwards.
    tar.stderr(Stdio::null());
    tar.status().map_err(starting(&tar))?;
    let status = reading.wait().map_err(start)?;
    if status.success() {
        Ok(())
    } else {
        said(format!("{} is no Debian package", file.display()))
    }
}
