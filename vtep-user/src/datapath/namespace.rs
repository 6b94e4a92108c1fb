//! Whose the pins are: bpffs can be seen from several network namespaces, and the same numbers mean other interfaces in each.
//!
//! A namespace is known by its cookie, which the kernel gives to no other until the machine starts again, and pins do not outlive
//! that either. (The inode number of a namespace's file is given out again.)

use std::{
    fs, io,
    os::{fd::AsRawFd as _, unix::net::UnixDatagram},
    path::Path,
};

use aya::maps::{Array, Map, MapData};
use vtep_common::abi::map::name;

use super::{error::DatapathError, link, pins};

/// The cookie of this thread's network namespace; never zero.
pub(super) fn cookie() -> Result<u64, DatapathError> {
    read_cookie().map_err(DatapathError::Namespace)
}

fn read_cookie() -> io::Result<u64> {
    let socket = UnixDatagram::unbound()?;
    let mut cookie = 0_u64;
    let mut len: libc::socklen_t = 8;
    // SAFETY: the kernel writes a cookie of eight bytes at most, for which there is room, and its length.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(cookie)
}

/// Looks whether what is pinned below `dir` belongs to this network namespace, without changing anything.
///
/// # Errors
///
/// [`DatapathError::OtherNamespace`] where it belongs to another one.
pub fn check(dir: &Path) -> Result<(), DatapathError> {
    let own = cookie()?;
    let owner = match owner(dir) {
        Some(owner) if owner != 0 => owner,
        // Pins of an earlier build. A link that is in no interface of ours shows whose they are.
        _ if is_attached_elsewhere(dir)? => 0,
        _ => own,
    };
    if owner == own {
        Ok(())
    } else {
        Err(DatapathError::OtherNamespace {
            dir: dir.to_owned(),
        })
    }
}

/// The cookie that is pinned; zero where none was written yet.
fn owner(dir: &Path) -> Option<u64> {
    let data = MapData::from_pin(dir.join(name::NAMESPACE)).ok()?;
    let namespace = Array::<_, u64>::try_from(Map::Array(data)).ok()?;
    namespace.get(&0, 0).ok()
}

/// True if the slow-path device, which every instance has, is in another network namespace.
fn is_attached_elsewhere(dir: &Path) -> Result<bool, DatapathError> {
    let links = pins::links_dir(dir);
    let Ok(entries) = fs::read_dir(&links) else {
        return Ok(false);
    };
    for entry in entries {
        let entry = entry.map_err(|source| DatapathError::file("read", &links, source))?;
        if !entry
            .file_name()
            .to_string_lossy()
            .starts_with("tc_tunnel-")
        {
            continue;
        }
        let path = entry.path();
        // A pin that is no link notes a filter, and says nothing.
        if let Ok(link::Place::Elsewhere) = link::place(&path) {
            return Ok(true);
        }
    }
    Ok(false)
}
