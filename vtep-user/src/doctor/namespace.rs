//! The network namespace of the daemon: what is said of a host holds in one of them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};

/// The network namespace of this thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// Has this thread enter the network namespace of a process, unless it is there.
pub(super) fn enter(pid: u32) -> io::Result<()> {
    let theirs = PathBuf::from(format!("/proc/{pid}/ns/net"));
    if is_same(&theirs, Path::new(OWN))? {
        return Ok(());
    }
    Ok(setns(File::open(theirs)?, CloneFlags::CLONE_NEWNET)?)
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let [one, other] = [fs::metadata(one)?, fs::metadata(other)?];
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_takes_no_rights_to_enter() {
        enter(std::process::id()).unwrap();

        // There is no such process.
        let error = enter(u32::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
