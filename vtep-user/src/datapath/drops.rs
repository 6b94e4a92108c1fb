//! What was dropped, and for whom: the rows of `DROPS`.
//!
//! A program makes the row of an owner when the first frame is dropped for it. The daemon makes those of nobody, and takes away those of owners
//! that are gone: at the latest when their number is given out again.

use std::{
    collections::HashSet,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{
    Ebpf,
    maps::{MapData, MapError, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use vtep_common::abi::{
    counter::{Counter, Hook},
    drops::{DropKey, OwnerKind},
    map::name,
    reason::Reason,
};

use super::{
    batch::{self, BatchError},
    counter_row::{CounterRow, sum},
    error::{DatapathError, gone},
    object::{fd_of, take},
};

/// `BPF_NOEXIST` (kernel `include/uapi/linux/bpf.h`).
const NO_EXIST: u64 = 1;

/// Whose frames were dropped, where, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DroppedFor {
    /// What the owner is.
    pub kind: OwnerKind,
    /// Its number; [`DropKey::NOBODY`] for frames of nobody that is known.
    pub number: u32,
    /// Where.
    pub hook: Hook,
    /// Why.
    pub reason: Reason,
}

impl DroppedFor {
    /// What a key stands for; `None` for one that another build has made.
    fn of(key: DropKey) -> Option<Self> {
        let (kind, hook, reason) = key.parts()?;
        Some(Self {
            kind,
            number: key.number,
            hook,
            reason,
        })
    }
}

/// An owner: its kind and number.
type Owner = (OwnerKind, u32);

/// The rows.
pub(super) struct Drops {
    map: PerCpuHashMap<MapData, DropKey, Counter>,
    /// The map once more, for what aya does not do.
    fd: OwnedFd,
    gone: Gone,
}

/// Owners that are gone, and may have left rows.
#[derive(Default)]
struct Gone {
    /// Since the last sweep: a frame that is under way can still make rows of theirs.
    lately: HashSet<Owner>,
    /// Before it.
    earlier: HashSet<Owner>,
}

impl Gone {
    fn note(&mut self, owner: Owner) {
        self.lately.insert(owner);
    }

    fn has(&self, owner: Owner) -> bool {
        self.lately.contains(&owner) || self.earlier.contains(&owner)
    }

    /// No rows are left of it, or they are another's.
    fn forget(&mut self, owner: Owner) {
        self.lately.remove(&owner);
        self.earlier.remove(&owner);
    }

    /// Has the rows swept of the owners that were gone before the last sweep. Where that fails, the next one has them again.
    fn sweep<E>(&mut self, sweep: impl FnOnce(&HashSet<Owner>) -> Result<(), E>) -> Result<(), E> {
        if !self.earlier.is_empty() {
            sweep(&self.earlier)?;
        }
        self.earlier = std::mem::take(&mut self.lately);
        Ok(())
    }
}

impl Drops {
    /// Takes the map out of the object, and makes the rows of nobody that are not there yet.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        let fd = fd_of(ebpf, name::DROPS)?;
        let mut map: PerCpuHashMap<_, DropKey, Counter> = take(ebpf, name::DROPS)?;
        let failed = |source| DatapathError::map("write", name::DROPS, source);
        let cpus = nr_cpus().map_err(|(_, error)| failed(MapError::IoError(error)))?;
        for key in DropKey::of_nobody() {
            let zero = PerCpuValues::try_from(vec![Counter::default(); cpus])
                .map_err(|error| failed(MapError::IoError(error)))?;
            match map.insert(key, zero, NO_EXIST) {
                Err(MapError::SyscallError(error))
                    if error.io_error.raw_os_error() == Some(libc::EEXIST) => {}
                done => done.map_err(failed)?,
            }
        }
        Ok(Self {
            map,
            fd,
            gone: Gone::default(),
        })
    }

    /// The rows that are not zero, in order.
    pub(super) fn rows(&self) -> Result<Vec<CounterRow<DroppedFor>>, DatapathError> {
        let mut rows = Vec::new();
        self.each(|key, counter| {
            let Counter { packets, bytes } = counter;
            let key = DroppedFor::of(key).filter(|_| packets != 0);
            rows.extend(key.map(|key| CounterRow {
                key,
                packets,
                bytes,
            }));
        })?;
        rows.sort_unstable_by_key(|row| row.key);
        Ok(rows)
    }

    /// Notes that an owner is gone.
    pub(super) fn owner_gone(&mut self, kind: OwnerKind, number: u32) {
        self.gone.note((kind, number));
    }

    /// Takes away what the last owner with this number has left, if there was one.
    pub(super) fn owner_new(&mut self, kind: OwnerKind, number: u32) -> Result<(), DatapathError> {
        if self.gone.has((kind, number)) {
            for key in DropKey::of(kind, number) {
                gone(self.map.remove(&key), name::DROPS)?;
            }
            self.gone.forget((kind, number));
        }
        Ok(())
    }

    /// Takes away the rows of owners that were gone when this was last called.
    pub(super) fn forget_gone(&mut self) -> Result<(), DatapathError> {
        let mut of_gone = std::mem::take(&mut self.gone);
        let swept = of_gone.sweep(|gone| self.keep(|kind, number| !gone.contains(&(kind, number))));
        self.gone = of_gone;
        swept
    }

    /// Takes away the rows of all other owners. Those of nobody stay.
    pub(super) fn keep(
        &mut self,
        is_kept: impl Fn(OwnerKind, u32) -> bool,
    ) -> Result<(), DatapathError> {
        let mut left = Vec::new();
        self.each(|key, _| {
            let of = DroppedFor::of(key);
            // A later build may have reasons that this one does not know.
            let stays =
                of.is_none_or(|of| of.number == DropKey::NOBODY || is_kept(of.kind, of.number));
            left.extend((!stays).then_some(key));
        })?;
        for key in left {
            gone(self.map.remove(&key), name::DROPS)?;
        }
        Ok(())
    }

    /// Goes through all rows, each with its sum over all CPUs.
    fn each(&self, mut each: impl FnMut(DropKey, Counter)) -> Result<(), DatapathError> {
        let failed = |source| DatapathError::map("read", name::DROPS, source);
        let cpus = nr_cpus().map_err(|(_, error)| failed(MapError::IoError(error)))?;
        let read = batch::each_per_cpu(self.fd.as_fd(), cpus, |key, values| each(key, sum(values)));
        match read {
            Ok(()) => Ok(()),
            Err(BatchError::Unsupported) => {
                for entry in &self.map {
                    let (key, values) = entry.map_err(failed)?;
                    each(key, sum(&values));
                }
                Ok(())
            }
            Err(BatchError::Refused(source)) => Err(failed(MapError::IoError(source))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Owner = (OwnerKind::Port, 1);
    const TWO: Owner = (OwnerKind::Port, 2);

    /// What a sweep takes away.
    fn swept(gone: &mut Gone) -> Vec<Owner> {
        let mut swept = Vec::new();
        gone.sweep(|owners| {
            swept.extend(owners);
            Ok::<_, ()>(())
        })
        .unwrap();
        swept
    }

    #[test]
    fn an_owner_is_swept_when_no_frame_of_its_time_is_under_way() {
        let mut gone = Gone::default();
        gone.note(ONE);
        assert_eq!(swept(&mut gone), []);
        gone.note(TWO);
        assert_eq!(swept(&mut gone), [ONE]);
        assert_eq!(swept(&mut gone), [TWO]);
        assert_eq!(swept(&mut gone), []);
    }

    #[test]
    fn a_sweep_that_fails_is_done_again() {
        let mut gone = Gone::default();
        gone.note(ONE);
        assert_eq!(swept(&mut gone), []);
        gone.note(TWO);

        assert_eq!(gone.sweep(|_| Err("no memory")), Err("no memory"));

        assert!(gone.has(ONE) && gone.has(TWO));
        assert_eq!(swept(&mut gone), [ONE]);
        assert_eq!(swept(&mut gone), [TWO]);
    }

    #[test]
    fn a_number_that_is_given_out_again_is_not_swept() {
        for sweeps in [0, 1] {
            let mut gone = Gone::default();
            gone.note(ONE);
            for _ in 0..sweeps {
                assert_eq!(swept(&mut gone), []);
            }
            assert!(gone.has(ONE));

            gone.forget(ONE);

            assert!(!gone.has(ONE));
            assert_eq!([swept(&mut gone), swept(&mut gone)], [[], []]);
        }
    }
}
