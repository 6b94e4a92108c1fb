//! The per-CPU counters.

use aya_ebpf::maps::PerCpuArray;
use vtep_common::{
    abi::{
        counter::{Counter, Direction, Hook},
        id::{PeerId, PortSlot, SegmentId},
        reason::Reason,
    },
    decide::count::Counters,
};

use crate::maps::{PEER_COUNTERS, PORT_COUNTERS, REASON_COUNTERS, SEGMENT_COUNTERS};

/// The counters of one hook.
pub struct KernelCounters(pub Hook);

#[inline(always)]
pub fn add(map: &PerCpuArray<Counter>, index: u32, bytes: usize) {
    if let Some(counter) = map.get_ptr_mut(index) {
        // SAFETY: the map gave the pointer; the value belongs to this CPU, on which programs of this kind do not nest.
        let counter = unsafe { &mut *counter };
        counter.packets = counter.packets.wrapping_add(1);
        counter.bytes = counter.bytes.wrapping_add(bytes as u64);
    }
}

impl Counters for KernelCounters {
    #[inline(always)]
    fn reason(&self, reason: Reason, bytes: usize) {
        add(
            &REASON_COUNTERS,
            self.0.index() * Reason::SLOTS + reason.code(),
            bytes,
        );
    }

    #[inline(always)]
    fn segment(&self, segment: SegmentId, direction: Direction, bytes: usize) {
        add(&SEGMENT_COUNTERS, direction.index(segment.get()), bytes);
    }

    #[inline(always)]
    fn port(&self, slot: PortSlot, direction: Direction, bytes: usize) {
        add(&PORT_COUNTERS, direction.index(slot.get()), bytes);
    }

    #[inline(always)]
    fn peer(&self, peer: PeerId, direction: Direction, bytes: usize) {
        add(&PEER_COUNTERS, direction.index(peer.get()), bytes);
    }
}
