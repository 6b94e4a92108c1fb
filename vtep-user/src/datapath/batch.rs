//! Reading a hash map many entries at a time, where aya makes a call for each.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use bytemuck::{Pod, Zeroable};

/// `BPF_MAP_LOOKUP_BATCH` (kernel `include/uapi/linux/bpf.h`).
const LOOKUP_BATCH: libc::c_int = 24;
/// `BPF_MAP_LOOKUP_AND_DELETE_BATCH`.
const TAKE_BATCH: libc::c_int = 25;

/// `ENOTSUPP` (kernel `include/linux/errno.h`): the map has no such operation. Not known in user space by any name.
const ENOTSUPP: i32 = 524;

/// Values to read in one call at first; a per-CPU map has one for each CPU in an entry. A bucket of the hash table has to fit.
const READ_AT_ONCE: usize = 4_096;

/// What the batch commands take: `batch` of `union bpf_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Why a batch ended early.
#[derive(Debug)]
pub(super) enum BatchError {
    /// The kernel has no batches for this map: nothing was done.
    Unsupported,
    /// The kernel refused.
    Refused(io::Error),
}

impl From<io::Error> for BatchError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP) => Self::Unsupported,
            _ => Self::Refused(error),
        }
    }
}

/// Reads all entries.
pub(super) fn entries<K: Pod, V: Pod>(map: BorrowedFd<'_>) -> Result<Vec<(K, V)>, BatchError> {
    Ok(pairs(all(LOOKUP_BATCH, map, 1)?))
}

/// Reads all entries of a per-CPU map: their keys, and for each a value for each of so many possible CPUs. The size of a value is a multiple
/// of eight bytes.
pub(super) fn entries_per_cpu<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    cpus: usize,
) -> Result<(Vec<K>, Vec<V>), BatchError> {
    const { assert!(size_of::<V>().is_multiple_of(8)) };
    all(LOOKUP_BATCH, map, cpus)
}

/// Reads all entries and deletes them.
pub(super) fn take_entries<K: Pod, V: Pod>(map: BorrowedFd<'_>) -> Result<Vec<(K, V)>, BatchError> {
    Ok(pairs(all(TAKE_BATCH, map, 1)?))
}

fn pairs<K, V>((keys, values): (Vec<K>, Vec<V>)) -> Vec<(K, V)> {
    keys.into_iter().zip(values).collect()
}

/// All keys, and so many values of each.
fn all<K: Pod, V: Pod>(
    command: libc::c_int,
    map: BorrowedFd<'_>,
    values_of_one: usize,
) -> Result<(Vec<K>, Vec<V>), BatchError> {
    let (mut all_keys, mut all_values) = (Vec::new(), Vec::new());
    let at_once = (READ_AT_ONCE / values_of_one).max(64);
    let mut keys = vec![K::zeroed(); at_once];
    let mut values = vec![V::zeroed(); at_once * values_of_one];
    // Where the kernel goes on: the number of a bucket.
    let (mut from, mut next): (Option<u32>, u32) = (None, 0);
    loop {
        let mut attr = attr(map, keys.len());
        attr.in_batch = from
            .as_ref()
            .map_or(0, |bucket| std::ptr::from_ref(bucket) as u64);
        attr.out_batch = &raw mut next as u64;
        attr.keys = keys.as_mut_ptr() as u64;
        attr.values = values.as_mut_ptr() as u64;
        // SAFETY: the kernel writes no more keys and values than the vectors have, whose types have the sizes of the map's, and
        // one number to go on from, as hash tables have it.
        let done = unsafe { call(command, &mut attr) };
        let at_end = match done {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                // A bucket holds more than there is room for; nothing of it was read.
                let len = keys.len() * 2;
                keys.resize(len, Zeroable::zeroed());
                values.resize(len * values_of_one, Zeroable::zeroed());
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let count = attr.count as usize;
        all_keys.extend_from_slice(&keys[..count]);
        all_values.extend_from_slice(&values[..count * values_of_one]);
        if at_end {
            return Ok((all_keys, all_values));
        }
        from = Some(next);
    }
}

fn attr(map: BorrowedFd<'_>, count: usize) -> BatchAttr {
    BatchAttr {
        in_batch: 0,
        out_batch: 0,
        keys: 0,
        values: 0,
        count: u32::try_from(count).unwrap_or(u32::MAX),
        map_fd: map.as_raw_fd().cast_unsigned(),
        elem_flags: 0,
        flags: 0,
    }
}

/// # Safety
///
/// The pointers of the attr must hold for what the command reads and writes.
unsafe fn call(command: libc::c_int, attr: &mut BatchAttr) -> io::Result<()> {
    // SAFETY: the attr is as long as is said, and the caller vouches for what it points to.
    let status = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw mut *attr,
            size_of::<BatchAttr>(),
        )
    };
    if status < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
