//! Where things are pinned.

use std::{
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use aya::maps::MapData;
use vtep_common::abi::{
    addr::VtepAddr,
    config::Config,
    counter::Counter,
    drops::DropKey,
    event::Guard,
    flood::{FloodList, ListedKey},
    hash_table::{Bucket, Geometry},
    id::{Ifindex, SegmentId},
    map::{LAYOUT_VERSION, name},
    neigh::{NeighKey, NeighValue},
    nexthop::{NexthopKey, NexthopValue},
    peer::Peer,
    policer::Policer,
    port::{GuardedKey, Port, PortName},
    segment::{Segment, SourceKey},
    vlans::Vlans,
};

use super::{error::DatapathError, link, migration, raw_map};

/// Where bpffs is mounted.
pub const BPFFS: &str = "/sys/fs/bpf";
/// `f_type` of bpffs (kernel `include/uapi/linux/magic.h`, `BPF_FS_MAGIC`).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// The directory of an instance.
#[must_use]
pub fn instance_dir(instance: &str) -> PathBuf {
    Path::new(BPFFS).join("vtep").join(instance)
}

/// Checks that bpffs is mounted and visible.
pub fn check_bpffs() -> Result<(), DatapathError> {
    if is_bpffs(Path::new(BPFFS)) {
        return Ok(());
    }
    let of_the_machine = fs::read_to_string("/proc/1/mountinfo").unwrap_or_default();
    let here = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounted = |info: &str| {
        info.lines()
            .any(|line| line.contains(" /sys/fs/bpf ") && line.contains(" - bpf "))
    };
    if mounted(&of_the_machine) || mounted(&here) {
        Err(DatapathError::HiddenBpffs)
    } else {
        Err(DatapathError::NoBpffs)
    }
}

fn is_bpffs(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: all zero is a valid `statfs`.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in a zero byte and the result has room for what the call writes.
    let status = unsafe { libc::statfs(path.as_ptr(), &raw mut found) };
    // Signed in one C library, unsigned in another.
    status == 0 && u64::try_from(found.f_type).is_ok_and(|kind| kind == BPF_FS_MAGIC)
}

pub(super) fn links_dir(dir: &Path) -> PathBuf {
    dir.join("links")
}

pub(super) fn programs_dir(dir: &Path) -> PathBuf {
    dir.join("programs")
}

/// Where it is noted which interfaces vtep has made promiscuous. There is no such directory before the first.
pub(super) fn promiscuous_dir(dir: &Path) -> PathBuf {
    dir.join("promiscuous")
}

/// Where a capture finds maps that are not pinned else, while it loads its programs. There is no such directory at any other time.
pub(super) fn capture_dir(dir: &Path) -> PathBuf {
    dir.join("capture")
}

pub(super) fn make_dirs(dir: &Path) -> Result<(), DatapathError> {
    for dir in [dir.to_owned(), links_dir(dir), programs_dir(dir)] {
        fs::create_dir_all(&dir)
            .map_err(|source| DatapathError::file("make the directory", &dir, source))?;
    }
    Ok(())
}

/// Detaches every link of an instance, and removes everything that it has pinned.
pub(super) fn remove_pins(dir: &Path) -> Result<(), DatapathError> {
    detach_links(&links_dir(dir))?;
    // The links first: no program runs without its maps.
    for dir in [
        links_dir(dir),
        promiscuous_dir(dir),
        capture_dir(dir),
        programs_dir(dir),
        dir.to_owned(),
    ] {
        if !dir.exists() {
            continue;
        }
        for entry in entries(&dir)? {
            let path = entry
                .map_err(|source| DatapathError::file("read", &dir, source))?
                .path();
            fs::remove_file(&path).map_err(|source| DatapathError::file("remove", path, source))?;
        }
        fs::remove_dir(&dir).map_err(|source| DatapathError::file("remove", dir, source))?;
    }
    Ok(())
}

/// Detaches what is pinned below `links/`. A link that only loses its pin goes on for a while: the kernel frees it in a work
/// queue, after a grace period, and on a busy machine frames still meet its program by then.
fn detach_links(links: &Path) -> Result<(), DatapathError> {
    for entry in entries(links)? {
        let path = entry
            .map_err(|source| DatapathError::file("read", links, source))?
            .path();
        // It fails where the interface is gone, or where a pin notes a filter and is no link.
        if let Err(error) = link::detach(&path) {
            tracing::debug!(path = %path.display(), %error, "not detached");
        }
    }
    Ok(())
}

/// Sizes of key and value of each map in our layout.
fn sizes(map: &str) -> (usize, usize) {
    const INDEX: usize = size_of::<u32>();
    match map {
        name::CONFIG => (INDEX, size_of::<Config>()),
        name::SHAPES => (INDEX, size_of::<Geometry>()),
        name::ADDRESSES | name::VNIS | name::PORT_INDEX | name::FDB => (INDEX, size_of::<Bucket>()),
        name::LOCALS | name::PEER_INDEX => (size_of::<VtepAddr>(), INDEX),
        name::SEGMENTS => (INDEX, size_of::<Segment>()),
        name::PORTS => (INDEX, size_of::<Port>()),
        name::POLICERS => (INDEX, size_of::<Policer>()),
        name::TRUNKS => (size_of::<Ifindex>(), size_of::<Vlans>()),
        name::PORT_NAMES => (INDEX, size_of::<PortName>()),
        name::NAMESPACE => (INDEX, size_of::<u64>()),
        name::FLOOD => (INDEX, size_of::<FloodList>()),
        name::PEERS => (INDEX, size_of::<Peer>()),
        name::NEIGHS => (size_of::<NeighKey>(), size_of::<NeighValue>()),
        // A key of a trie starts with the length of its prefix.
        name::NEXTHOPS => (
            size_of::<u32>() + size_of::<NexthopKey>(),
            size_of::<NexthopValue>(),
        ),
        name::SOURCES => (size_of::<SourceKey>(), size_of::<u32>()),
        name::GUARDED => (size_of::<GuardedKey>(), size_of::<u32>()),
        name::CONFIGURED => (size_of::<ListedKey>(), size_of::<u32>()),
        name::BRIDGES => (size_of::<SegmentId>(), size_of::<PortName>()),
        // A ring buffer has neither keys nor values.
        name::EVENTS => (0, 0),
        name::GUARDS => (size_of::<u64>(), size_of::<Guard>()),
        name::PARTS => (INDEX, size_of::<u32>()),
        name::HANDOVER => (INDEX, size_of::<NexthopValue>()),
        name::DROPS => (size_of::<DropKey>(), size_of::<Counter>()),
        _ => (INDEX, size_of::<Counter>()),
    }
}

/// What is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pinned {
    /// No map.
    Nothing,
    /// What a daemon had made that was killed in its first start, before it attached anything. No frame goes by it.
    Unfinished,
    /// Maps of an earlier layout, which can be migrated.
    Earlier(u32),
    /// Maps of this layout.
    State,
}

/// Looks at what is pinned, without changing anything.
pub(super) fn check_layout(dir: &Path) -> Result<Pinned, DatapathError> {
    let layout = |what: String| DatapathError::Layout {
        dir: dir.to_owned(),
        what,
    };
    let version = version(dir);
    let earlier = version.filter(|version| migration::knows(*version));
    let is_unknown = version.is_some_and(|version| {
        !matches!(version, 0 | LAYOUT_VERSION) && !migration::knows(version)
    });
    let mut pinned = Pinned::Nothing;
    for entry in entries(dir)? {
        let entry = entry.map_err(|source| DatapathError::file("read", dir, source))?;
        let file_name = entry.file_name();
        let file_name = file_name.to_string_lossy();
        if entry.path().is_dir() {
            continue;
        }
        pinned = Pinned::State;
        if is_unknown {
            // Nobody knows what maps it has.
            continue;
        }
        if !name::ALL.contains(&file_name.as_ref()) {
            return Err(layout(format!("a map {file_name}")));
        }
        let data = MapData::from_pin(entry.path())
            .map_err(|_| layout(format!("{file_name} is not a map")))?;
        let info = data
            .info()
            .map_err(|_| layout(format!("{file_name} is not a map")))?;
        let got = (info.key_size() as usize, info.value_size() as usize);
        let was = earlier.and_then(|version| migration::sizes(version, &file_name));
        let want = was.unwrap_or_else(|| sizes(&file_name));
        if got != want {
            return Err(layout(format!(
                "{file_name} has keys and values of {got:?} bytes, not {want:?}"
            )));
        }
    }
    if pinned == Pinned::Nothing {
        return Ok(pinned);
    }
    match version {
        Some(LAYOUT_VERSION) => Ok(Pinned::State),
        Some(version) if earlier.is_some() => Ok(Pinned::Earlier(version)),
        // The version is written before anything is attached, and links are pinned as they are made.
        None | Some(0) if entries(&links_dir(dir))?.next().is_none() => Ok(Pinned::Unfinished),
        Some(other) => Err(layout(format!(
            "version {other}, and this one knows {} to {LAYOUT_VERSION}",
            migration::OLDEST
        ))),
        None => Err(layout(format!("no {}", name::CONFIG))),
    }
}

/// The layout version of the pinned maps; zero where none was written yet.
fn version(dir: &Path) -> Option<u32> {
    raw_map::first_word(&dir.join(name::CONFIG)).ok()
}

/// What is in a directory; nothing where there is no directory.
pub(super) fn entries(
    dir: &Path,
) -> Result<impl Iterator<Item = io::Result<fs::DirEntry>> + use<>, DatapathError> {
    match fs::read_dir(dir) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(source) => Err(DatapathError::file("read", dir, source)),
    }
}
