//! Taking what the programs report out of the ring buffers: events, and frames that are too big for their VTEPs.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::maps::{MapData, RingBuf};
use bytemuck::AnyBitPattern;
use tokio::io::{Interest, unix::AsyncFd};
use vtep_common::abi::{event::Event, map::name, too_big::TooBig};

use super::{Datapath, error::DatapathError};

impl Datapath {
    /// Takes events that wait, the oldest first and `most` of them at most.
    pub fn events(&mut self, most: usize) -> Vec<Event> {
        records(&mut self.maps.events, most)
    }

    /// Takes frames that are too big for their VTEPs and wait, likewise.
    pub fn too_big(&mut self, most: usize) -> Vec<TooBig> {
        records(&mut self.maps.too_big, most)
    }

    /// Something to wait at until events wait. Must be called within a tokio runtime.
    pub fn events_ready(&self) -> Result<AsyncFd<OwnedFd>, DatapathError> {
        ready(&self.maps.events, &self.dir.join(name::EVENTS))
    }

    /// Something to wait at until frames that are too big wait, likewise.
    pub fn too_big_ready(&self) -> Result<AsyncFd<OwnedFd>, DatapathError> {
        ready(&self.maps.too_big, &self.dir.join(name::TOO_BIG))
    }
}

/// Something to wait at until records wait in a ring buffer, which errors name so.
pub(super) fn ready(
    ring: &RingBuf<MapData>,
    name: &Path,
) -> Result<AsyncFd<OwnedFd>, DatapathError> {
    let failed = |source| DatapathError::file("watch", name, source);
    let fd = ring.as_fd().try_clone_to_owned().map_err(failed)?;
    // SAFETY: the descriptor is our own, and stays open for as long as its owner is there, which moves into the result.
    let ready = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    ready.map_err(|error| failed(error.into()))
}

/// Takes records out of a ring buffer, the oldest first and `most` of them at most.
pub(super) fn records<T: AnyBitPattern>(ring: &mut RingBuf<MapData>, most: usize) -> Vec<T> {
    let mut records = Vec::new();
    while records.len() < most {
        let Some(item) = ring.next() else {
            break;
        };
        // Whoever made the buffer made records of this size: the layout has a version.
        if let Ok(record) = bytemuck::try_pod_read_unaligned(&item) {
            records.push(record);
        }
    }
    records
}
