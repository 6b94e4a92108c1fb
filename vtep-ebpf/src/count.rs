//! The per-CPU counters.

use aya_ebpf::maps::PerCpuArray;
use vtep_common::{
    count::{Counters, Direction},
    maps::{Counter, Hook},
    reason::Reason,
};

use crate::maps::{PEER_COUNTERS, PORT_COUNTERS, REASON_COUNTERS, SEGMENT_COUNTERS};

/// The counters of one hook.
pub struct KernelCounters(pub Hook);

#[inline(always)]
fn add(map: &PerCpuArray<Counter>, index: u32, bytes: usize) {
    if let Some(counter) = map.get_ptr_mut(index) {
        // SAFETY: the map gave the pointer; the value belongs to this CPU, on which programs of this kind do not nest.
        let counter = unsafe { &mut *counter };
        counter.packets = counter.packets.wrapping_add(1);
        counter.bytes = counter.bytes.wrapping_add(bytes as u64);
    }
}

/// Hides a small number, below 128, from the verifier.
///
/// It follows every constant that is branched on, or that is the key of an array map, down every path on its own. Of a single
/// byte on the stack, off the 8-byte boundary and not zero, it remembers only that it is one.
#[inline(always)]
pub fn blur(bits: u8) -> u8 {
    let mut slot = 0_u64;
    let word = &raw mut slot;
    let byte = word.cast::<u8>().wrapping_add(1);
    // SAFETY: a local word, and its second byte, written and read back. All of the word is written, or else the compiler would
    // reserve the one byte, and put it anywhere.
    unsafe {
        core::ptr::write_volatile(word, 0);
        core::ptr::write_volatile(byte, bits | 0x80);
        core::ptr::read_volatile(byte) & 0x7f
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
    fn segment(&self, number: u32, direction: Direction, bytes: usize) {
        add(&SEGMENT_COUNTERS, direction.index(number), bytes);
    }

    #[inline(always)]
    fn port(&self, slot: u32, direction: Direction, bytes: usize) {
        add(&PORT_COUNTERS, direction.index(slot), bytes);
    }

    #[inline(always)]
    fn peer(&self, number: u32, direction: Direction, bytes: usize) {
        add(&PEER_COUNTERS, direction.index(number), bytes);
    }
}
