//! Reading a map many entries at a time, where aya makes a call for each.

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
    collected(LOOKUP_BATCH, map)
}

/// Goes through all entries of a per-CPU map, of which it holds a batch at a time: `each` gets a key, and its values for so many possible CPUs. The
/// size of a value is a multiple of eight bytes.
pub(super) fn each_per_cpu<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    cpus: usize,
    mut each: impl FnMut(K, &[V]),
) -> Result<(), BatchError> {
    const { assert!(size_of::<V>().is_multiple_of(8)) };
    walk(kernel(LOOKUP_BATCH, map), cpus, |keys: &[K], values| {
        for (key, values) in keys.iter().zip(values.chunks_exact(cpus)) {
            each(*key, values);
        }
    })
}

/// Reads all entries and deletes them.
pub(super) fn take_entries<K: Pod, V: Pod>(map: BorrowedFd<'_>) -> Result<Vec<(K, V)>, BatchError> {
    collected(TAKE_BATCH, map)
}

fn collected<K: Pod, V: Pod>(
    command: libc::c_int,
    map: BorrowedFd<'_>,
) -> Result<Vec<(K, V)>, BatchError> {
    let mut all = Vec::new();
    walk(kernel(command, map), 1, |keys: &[K], values: &[V]| {
        all.extend(keys.iter().copied().zip(values.iter().copied()));
    })?;
    Ok(all)
}

/// Where a batch goes, and where it begins.
struct Room<'a, K, V> {
    /// The bucket of the hash table to begin with, or the key of the array before it; the first one if there is none.
    from: Option<u32>,
    keys: &'a mut [K],
    values: &'a mut [V],
}

/// What a batch was.
struct Batch {
    /// Keys that were read.
    count: usize,
    /// What the next one begins with; `None` at the end.
    next: Option<u32>,
}

/// Goes through all entries with so many values each. `read` reads a batch; `each` gets what was read.
fn walk<K: Pod, V: Pod>(
    mut read: impl FnMut(Room<'_, K, V>) -> io::Result<Batch>,
    values_of_one: usize,
    mut each: impl FnMut(&[K], &[V]),
) -> Result<(), BatchError> {
    let at_once = (READ_AT_ONCE / values_of_one).max(64);
    let mut keys = vec![K::zeroed(); at_once];
    let mut values = vec![V::zeroed(); at_once * values_of_one];
    let mut from = None;
    loop {
        let room = Room {
            from,
            keys: &mut keys,
            values: &mut values,
        };
        match read(room) {
            Ok(Batch { count, next }) => {
                each(&keys[..count], &values[..count * values_of_one]);
                if next.is_none() {
                    return Ok(());
                }
                from = next;
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                // A bucket holds more than there is room for; nothing of it was read.
                let len = keys.len() * 2;
                keys.resize(len, Zeroable::zeroed());
                values.resize(len * values_of_one, Zeroable::zeroed());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads batches of a map from the kernel.
fn kernel<K: Pod, V: Pod>(
    command: libc::c_int,
    map: BorrowedFd<'_>,
) -> impl FnMut(Room<'_, K, V>) -> io::Result<Batch> {
    move |room| {
        let Room { from, keys, values } = room;
        let mut next = 0_u32;
        let mut attr = attr(map, keys.len());
        attr.in_batch = from
            .as_ref()
            .map_or(0, |bucket| std::ptr::from_ref(bucket) as u64);
        attr.out_batch = &raw mut next as u64;
        attr.keys = keys.as_mut_ptr() as u64;
        attr.values = values.as_mut_ptr() as u64;
        // SAFETY: the kernel writes no more keys and values than there is room for, whose types have the sizes of the map's, and
        // one number to go on from, as hash tables and arrays have it.
        let done = unsafe { call(command, &mut attr) };
        let next = match done {
            Ok(()) => Some(next),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => None,
            Err(error) => return Err(error),
        };
        Ok(Batch {
            count: attr.count as usize,
            next,
        })
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A map with a bucket of each of these sizes, whose keys count from 0; each value is a key and the CPU's number.
    fn map(
        buckets: &[usize],
        cpus: usize,
    ) -> impl FnMut(Room<'_, u64, [u64; 2]>) -> io::Result<Batch> {
        move |room| {
            let first = room.from.unwrap_or(0) as usize;
            let mut key: usize = buckets[..first].iter().sum();
            let (mut count, mut bucket) = (0, first);
            while bucket < buckets.len() && count + buckets[bucket] <= room.keys.len() {
                for _ in 0..buckets[bucket] {
                    room.keys[count] = key as u64;
                    for cpu in 0..cpus {
                        room.values[count * cpus + cpu] = [key as u64, cpu as u64];
                    }
                    (key, count) = (key + 1, count + 1);
                }
                bucket += 1;
            }
            if bucket == first {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            let next = (bucket < buckets.len()).then(|| u32::try_from(bucket).unwrap());
            Ok(Batch { count, next })
        }
    }

    #[test]
    fn each_batch_is_handed_on_before_the_next_one_is_read() {
        const CPUS: usize = 128;
        let buckets = [30; 100];
        let steps = RefCell::new(Vec::new());
        let mut of_map = map(&buckets, CPUS);
        let read = |room: Room<'_, u64, [u64; 2]>| {
            let room_for = (room.keys.len(), room.values.len());
            steps.borrow_mut().push(("read", room_for.0));
            assert_eq!(room_for, (64, 64 * CPUS));
            of_map(room)
        };
        let mut wanted = 0..;

        walk(read, CPUS, |keys, values| {
            steps.borrow_mut().push(("each", keys.len()));
            for (key, values) in keys.iter().zip(values.chunks_exact(CPUS)) {
                assert_eq!(Some(*key), wanted.next());
                assert_eq!((values[0], values[127]), ([*key, 0], [*key, 127]));
            }
        })
        .unwrap();

        assert_eq!(wanted.next(), Some(3_000));
        let steps = steps.into_inner();
        let pairs: Vec<_> = steps.chunks(2).collect();
        assert_eq!(pairs.len(), 50);
        assert!(
            pairs
                .iter()
                .all(|pair| *pair == [("read", 64), ("each", 60)]),
            "{pairs:?}"
        );
    }

    #[test]
    fn a_bucket_that_is_larger_than_the_room_is_read_all_the_same() {
        let buckets = [1, 10_000, 2];
        let mut keys = Vec::new();

        walk(map(&buckets, 1), 1, |read, _| keys.extend_from_slice(read)).unwrap();

        assert_eq!(keys, (0..10_003).collect::<Vec<u64>>());
    }

    #[test]
    fn a_map_without_batches_is_told_from_a_refusal() {
        let of = |errno: i32| {
            let read = |_: Room<'_, u64, u64>| Err(io::Error::from_raw_os_error(errno));
            walk(read, 1, |_, _| {})
        };
        assert!(matches!(of(libc::EINVAL), Err(BatchError::Unsupported)));
        assert!(matches!(of(ENOTSUPP), Err(BatchError::Unsupported)));
        assert!(matches!(of(libc::EPERM), Err(BatchError::Refused(_))));
    }
}
