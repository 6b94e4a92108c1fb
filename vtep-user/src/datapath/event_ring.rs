//! Taking the events of the programs out of the ring buffer.

use std::os::fd::{AsFd as _, OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};
use vtep_common::abi::{event::Event, map::name};

use super::{Datapath, error::DatapathError};

impl Datapath {
    /// Takes events that wait, the oldest first and `most` of them at most.
    pub fn events(&mut self, most: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < most {
            let Some(item) = self.maps.events.next() else {
                break;
            };
            // Whoever made the buffer made events of this size: the layout has a version.
            if let Ok(event) = bytemuck::try_pod_read_unaligned(&item) {
                events.push(event);
            }
        }
        events
    }

    /// Something to wait at until events wait. Must be called within a tokio runtime.
    pub fn events_ready(&self) -> Result<AsyncFd<OwnedFd>, DatapathError> {
        let failed = |source| DatapathError::file("watch", self.dir.join(name::EVENTS), source);
        let fd = self
            .maps
            .events
            .as_fd()
            .try_clone_to_owned()
            .map_err(failed)?;
        // SAFETY: the descriptor is our own, and stays open for as long as its owner is there, which moves into the result.
        let ready = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        ready.map_err(|error| failed(error.into()))
    }
}
