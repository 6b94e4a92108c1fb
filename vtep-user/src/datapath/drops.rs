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
    counter_row::CounterRow,
    error::DatapathError,
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

/// The rows.
pub(super) struct Drops {
    map: PerCpuHashMap<MapData, DropKey, Counter>,
    /// The map once more, for what aya does not do.
    fd: OwnedFd,
    /// Owners that are gone, and may have left rows.
    gone: HashSet<(OwnerKind, u32)>,
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
            gone: HashSet::new(),
        })
    }

    /// The rows that are not zero, in order.
    pub(super) fn rows(&self) -> Result<Vec<CounterRow<DroppedFor>>, DatapathError> {
        let entries = self.entries()?.into_iter();
        let rows = entries.filter_map(|(key, counter)| {
            let Counter { packets, bytes } = counter;
            let key = DroppedFor::of(key).filter(|_| packets != 0)?;
            Some(CounterRow {
                key,
                packets,
                bytes,
            })
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_unstable_by_key(|row| row.key);
        Ok(rows)
    }

    /// Notes that an owner is gone.
    pub(super) fn owner_gone(&mut self, kind: OwnerKind, number: u32) {
        self.gone.insert((kind, number));
    }

    /// Takes away what the last owner with this number has left, if there was one.
    pub(super) fn owner_new(&mut self, kind: OwnerKind, number: u32) -> Result<(), DatapathError> {
        if self.gone.contains(&(kind, number)) {
            self.forget_gone()?;
        }
        Ok(())
    }

    /// Takes away the rows of owners that are gone.
    pub(super) fn forget_gone(&mut self) -> Result<(), DatapathError> {
        if self.gone.is_empty() {
            return Ok(());
        }
        let gone = std::mem::take(&mut self.gone);
        self.keep(|kind, number| !gone.contains(&(kind, number)))
    }

    /// Takes away the rows of all other owners. Those of nobody stay.
    pub(super) fn keep(
        &mut self,
        is_kept: impl Fn(OwnerKind, u32) -> bool,
    ) -> Result<(), DatapathError> {
        for (key, _) in self.entries()? {
            let of = DroppedFor::of(key);
            // A later build may have reasons that this one does not know.
            let stays =
                of.is_none_or(|of| of.number == DropKey::NOBODY || is_kept(of.kind, of.number));
            if !stays {
                self.map
                    .remove(&key)
                    .map_err(|source| DatapathError::map("clear", name::DROPS, source))?;
            }
        }
        Ok(())
    }

    /// Every row, with its sum over all CPUs.
    fn entries(&self) -> Result<Vec<(DropKey, Counter)>, DatapathError> {
        let failed = |source| DatapathError::map("read", name::DROPS, source);
        let cpus = nr_cpus().map_err(|(_, error)| failed(MapError::IoError(error)))?;
        match batch::entries_per_cpu(self.fd.as_fd(), cpus) {
            Ok((keys, values)) => {
                let sums = values.chunks_exact(cpus).map(sum);
                Ok(keys.into_iter().zip(sums).collect())
            }
            Err(BatchError::Unsupported) => self
                .map
                .iter()
                .map(|entry| entry.map(|(key, values)| (key, sum(&values))))
                .collect::<Result<_, _>>()
                .map_err(failed),
            Err(BatchError::Refused(source)) => Err(failed(MapError::IoError(source))),
        }
    }
}

/// The sum over all CPUs.
fn sum(values: &[Counter]) -> Counter {
    Counter {
        packets: values.iter().map(|value| value.packets).sum(),
        bytes: values.iter().map(|value| value.bytes).sum(),
    }
}
