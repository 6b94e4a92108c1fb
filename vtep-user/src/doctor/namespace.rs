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

    /// Runs `body` on a thread of a user who may enter no namespace.
    fn without_rights<T: Send>(body: impl FnOnce() -> T + Send) -> T {
        const NOBODY: libc::uid_t = 65_534;
        let run = || {
            // SAFETY: plain call; as a system call it holds for this thread alone.
            let set = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
            let is_root = nix::unistd::geteuid().is_root();
            assert!(set == 0 || !is_root, "{}", io::Error::last_os_error());
            body()
        };
        std::thread::scope(|scope| scope.spawn(run).join().expect("no panic"))
    }

    #[test]
    fn the_own_namespace_takes_no_rights_to_enter() {
        let own = std::process::id();
        without_rights(|| enter(own)).unwrap();

        // There is no such process.
        let error = enter(u32::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
