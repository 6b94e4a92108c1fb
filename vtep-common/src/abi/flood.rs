//! A flood list: the value of `FLOOD`.

use bytemuck::{Pod, Zeroable};

use super::{
    id::{ListId, PeerId, PortSlot},
    map::MAX_FLOOD_TARGETS,
};

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

/// Key of `CONFIGURED`: a peer that the configuration file put on a flood list.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct ListedKey(u64);

impl ListedKey {
    /// The key of a peer on a list.
    #[must_use]
    pub const fn new(list: ListId, peer: PeerId) -> Self {
        Self((list.get() as u64) << 32 | peer.get() as u64)
    }

    /// The list and the peer.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
    pub const fn parts(self) -> (ListId, PeerId) {
        (
            ListId::new((self.0 >> 32) as u32),
            PeerId::new(self.0 as u32),
        )
    }
}

impl FloodList {
    /// The list of these ports and peers; `None` where there are too many.
    #[must_use]
    pub fn new(
        ports: impl IntoIterator<Item = PortSlot>,
        peers: impl IntoIterator<Item = PeerId>,
    ) -> Option<Self> {
        let mut list = Self::zeroed();
        for slot in ports {
            list.push(slot.get())?;
        }
        list.ports = list.len;
        for peer in peers {
            list.push(peer.get())?;
        }
        Some(list)
    }

    fn push(&mut self, target: u32) -> Option<()> {
        *self.targets.get_mut(self.len as usize)? = target;
        self.len = self.len.wrapping_add(1);
        Some(())
    }

    /// Its ports.
    pub fn ports(&self) -> impl Iterator<Item = PortSlot> {
        let targets = self.targets.iter().take(self.len as usize);
        targets
            .take(self.ports as usize)
            .copied()
            .map(PortSlot::new)
    }

    /// Its peers.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> {
        let used = self.targets.iter().take(self.len as usize);
        used.skip(self.ports as usize).copied().map(PeerId::new)
    }
}
