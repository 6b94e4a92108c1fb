//! A flood list: the value of `FLOOD`.

use bytemuck::{Pod, Zeroable};

use super::map::MAX_FLOOD_TARGETS;

/// Where a frame is copied to: 2048 bytes. The first `ports` targets are slots of `PORTS`, the others peer numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct FloodList {
    /// Targets in all.
    pub len: u32,
    /// Of them, local ports.
    pub ports: u32,
    /// The targets.
    pub targets: [u32; MAX_FLOOD_TARGETS],
}

const _: () = assert!(size_of::<FloodList>() == 2048);

impl FloodList {
    /// The slots of its ports.
    pub fn ports(&self) -> impl Iterator<Item = &u32> {
        self.targets.iter().take(self.ports as usize)
    }

    /// The numbers of its peers.
    pub fn peers(&self) -> impl Iterator<Item = &u32> {
        let used = self.targets.iter().take(self.len as usize);
        used.skip(self.ports as usize)
    }
}
