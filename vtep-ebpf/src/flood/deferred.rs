//! Deferred copies of a flooded frame: those that are sent once it is encapsulated.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use vtep_common::{
    abi::{id::PeerId, map::MAX_FLOOD_TARGETS, peer::Peer},
    runtime::verdict::Flood,
    wire::checksum::Sum,
};

#[map]
static WAITING: PerCpuArray<Deferred> = PerCpuArray::with_max_entries(1, 0);

/// The VTEPs whose copies are deferred, and what is kept for them meanwhile.
///
/// In a map, since of its values the verifier remembers nothing: a count on the stack would be another one in each round of a loop,
/// and it would never come to an end.
#[repr(C)]
pub struct Deferred {
    /// How many there are.
    pub count: u32,
    /// Their peers.
    pub peers: [PeerId; MAX_FLOOD_TARGETS],
    /// Not zero: they are reached over IPv6.
    pub v6: u32,
    /// Not zero: the sum over the frame is known, or can be had from its bytes.
    pub summed: u32,
    /// Not zero: the sum is to be had from the bytes.
    pub to_sum: u32,
    /// What became of the frame.
    pub state: u32,
    /// The sum, as `bpf_csum_diff` keeps it.
    pub sum: u32,
    /// Where the bytes are read to that are summed.
    pub words: [u32; SUMMED_WORDS],
}

/// Words that are summed at once.
pub const SUMMED_WORDS: usize = 128;

impl Deferred {
    /// The list of this CPU, for the one flood of a program's run. `None` never happens, but the verifier asks for it.
    ///
    /// # Safety
    ///
    /// It is called once in a run: nothing else refers to the list.
    #[inline(always)]
    pub unsafe fn take() -> Option<&'static mut Self> {
        let at = WAITING.get_ptr_mut(0)?;
        // SAFETY: the map gave the pointer; the value belongs to this CPU, on which programs do not nest, and the caller vouches for
        // it that this is the one reference. Plain numbers are valid in any state.
        Some(unsafe { &mut *at })
    }

    /// The frame is encapsulated.
    pub const ENCAPSULATED: u32 = 0;
    /// The frame could not be encapsulated, and is as it was.
    pub const BY_SLOW_PATH: u32 = 1;
    /// The frame is of no use.
    pub const LOST: u32 = 2;

    /// Defers the copy for a peer, if it can be.
    #[inline(always)]
    pub fn defer(&mut self, id: PeerId, peer: &Peer, flood: &Flood) -> bool {
        let at = self.count;
        if at == 0 {
            self.v6 = peer.flags.of(Peer::IPV6).bits();
        }
        if !self.can_defer(peer, flood) {
            return false;
        }
        let Some(entry) = self.peers.get_mut(at as usize) else {
            return false;
        };
        *entry = id;
        self.count = at.wrapping_add(1);
        if flood.encap.fields.inner_sum.is_none() {
            self.to_sum |= peer.flags.of(Peer::CHECKSUM).bits();
        }
        true
    }

    /// True if the frame can be sent to this peer once it is encapsulated.
    #[inline(always)]
    pub const fn can_defer(&self, peer: &Peer, flood: &Flood) -> bool {
        flood.is_in_place(peer, self.summed != 0) && peer.flags.of(Peer::IPV6).bits() == self.v6
    }

    /// The sum, as the templates take it.
    #[inline(always)]
    pub fn folded(&self) -> u16 {
        u16::from_be(Sum::default().dword(self.sum).fold())
    }
}
