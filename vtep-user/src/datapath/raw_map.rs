//! A pinned map as bytes, whatever its keys and values mean: so are maps of earlier layouts read, and those of ours filled from them.

use std::{io, os::fd::OwnedFd, path::Path};

use super::bpf::{self, call, number};

/// Commands of `bpf(2)` (kernel `include/uapi/linux/bpf.h`).
const LOOKUP: libc::c_int = 1;
const UPDATE: libc::c_int = 2;
const NEXT_KEY: libc::c_int = 4;

/// `BPF_MAP_TYPE_HASH`, `BPF_MAP_TYPE_ARRAY` and `BPF_MAP_TYPE_LPM_TRIE`: each entry has one value of the size that is stated.
const PLAIN: [u32; 3] = [1, 2, 11];

/// Words of `struct bpf_map_info` up to the size of the values.
const INFO_WORDS: usize = 4;

/// What the commands for entries take.
#[repr(C)]
struct Entry {
    map_fd: u32,
    pad: u32,
    key: u64,
    /// Of the value, or of the next key.
    value: u64,
    flags: u64,
}

/// Keys and values of a map, each as many bytes as the map has it.
pub(super) type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// A pinned map.
pub(super) struct RawMap {
    fd: OwnedFd,
    key_len: usize,
    value_len: usize,
}

impl RawMap {
    /// Opens the map that is pinned at `path`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] where nothing is pinned, [`io::ErrorKind::Unsupported`] for a map that has no plain values.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let fd = bpf::open(path)?;
        let [kind, _, key_len, value_len] = bpf::info::<INFO_WORDS>(&fd)?;
        if !PLAIN.contains(&kind) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self {
            fd,
            key_len: key_len as usize,
            value_len: value_len as usize,
        })
    }

    /// Every entry; of an array, every place.
    pub(super) fn entries(&self) -> io::Result<Entries> {
        let mut found = Entries::new();
        let mut last: Option<Vec<u8>> = None;
        loop {
            let mut key = vec![0; self.key_len];
            let from = last.as_ref().map_or(0, |last| last.as_ptr() as u64);
            match self.command(NEXT_KEY, from, key.as_mut_ptr()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
                Err(error) => return Err(error),
            }
            let mut value = vec![0; self.value_len];
            self.command(LOOKUP, key.as_ptr() as u64, value.as_mut_ptr())?;
            found.push((key.clone(), value));
            last = Some(key);
        }
    }

    /// Sets an entry.
    pub(super) fn set(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if (key.len(), value.len()) != (self.key_len, self.value_len) {
            return Err(io::Error::other(format!(
                "an entry of {} and {} bytes, where the map has {} and {}",
                key.len(),
                value.len(),
                self.key_len,
                self.value_len
            )));
        }
        self.command(UPDATE, key.as_ptr() as u64, value.as_ptr().cast_mut())
    }

    /// Gives a command for entries. `key` points to a key or is zero, and `value` to room for a value or a key.
    fn command(&self, command: libc::c_int, key: u64, value: *mut u8) -> io::Result<()> {
        let mut entry = Entry {
            map_fd: number(&self.fd),
            pad: 0,
            key,
            value: value as u64,
            flags: 0,
        };
        call(command, &mut entry).map(drop)
    }
}

/// The first number of the first value of the array that is pinned at `path`.
pub(super) fn first_word(path: &Path) -> io::Result<u32> {
    let map = RawMap::open(path)?;
    let (key, mut value) = ([0; size_of::<u32>()], vec![0; map.value_len]);
    if map.key_len != key.len() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    map.command(LOOKUP, key.as_ptr() as u64, value.as_mut_ptr())?;
    let word = value.first_chunk().copied().map(u32::from_ne_bytes);
    word.ok_or_else(|| io::ErrorKind::Unsupported.into())
}
