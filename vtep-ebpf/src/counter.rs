//! The per-CPU counters.

use aya_ebpf::{bindings::BPF_NOEXIST, maps::PerCpuArray};
use vtep_common::{
    abi::{
        counter::{Counter, Direction, Hook},
        drops::{DropKey, OwnerKind, Owners},
        id::{PeerId, PortSlot, SegmentId},
        reason::Reason,
    },
    decide::count::Counters,
    runtime::verdict::End,
};

use crate::{
    maps::{DROPS, PEER_COUNTERS, PORT_COUNTERS, REASON_COUNTERS, SEGMENT_COUNTERS},
    runtime::scratch::{Scratch, Spilled},
};

/// The counters of one hook.
pub struct KernelCounters(pub Hook);

#[inline(always)]
pub fn add(map: &PerCpuArray<Counter>, index: u32, bytes: usize) {
    if let Some(counter) = map.get_ptr_mut(index) {
        // SAFETY: the map gave the pointer.
        unsafe { add_to(counter, bytes as u64) };
    }
}

/// Adds a frame of so many bytes to a counter.
///
/// # Safety
///
/// A per-CPU map gave the pointer.
#[inline(always)]
unsafe fn add_to(counter: *mut Counter, bytes: u64) {
    // SAFETY: the caller vouches for the pointer; the value belongs to this CPU, on which programs of this kind do not nest.
    let counter = unsafe { &mut *counter };
    counter.packets = counter.packets.wrapping_add(1);
    counter.bytes = counter.bytes.wrapping_add(bytes);
}

/// Counts a frame that was dropped, for each of its owners. What it returns says nothing.
///
/// A function of its own, which only frames that are dropped come to.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn count_dropped(what: u32, segment: u32, port: u32, peer: u32, bytes: u64) -> u64 {
    let of = |kind: OwnerKind| what | (kind as u32) << 16;
    count_for_owner(of(OwnerKind::Segment), segment, bytes);
    count_for_owner(of(OwnerKind::Port), port, bytes);
    count_for_owner(of(OwnerKind::Peer), peer, bytes)
}

/// Counts a frame of so many bytes for the owners of the end that was spilled. What it returns says nothing.
///
/// # Safety
///
/// An `End` was spilled.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn count_spilled_dropped(hook: u32, bytes: u64) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return 0;
    };
    // SAFETY: the caller vouches for it.
    let end = unsafe { scratch.spilled::<End>() };
    let owners = end.owners();
    let what = hook << 8 | end.reason.code();
    count_dropped(
        what,
        owners.segment.get(),
        owners.port.get(),
        owners.peer.get(),
        bytes,
    )
}

/// The end of a frame that was dropped, which can be counted for its owners.
pub trait Dropped {
    /// Counts it, at `hook`, with so many bytes.
    fn count_dropped(&self, hook: Hook, bytes: usize);
}

/// At TC, where the verifier is spared what a function can read from the slot.
impl Dropped for Spilled<'_, End> {
    #[inline(always)]
    fn count_dropped(&self, hook: Hook, bytes: usize) {
        // SAFETY: this is it.
        unsafe { count_spilled_dropped(hook.index(), bytes as u64) };
    }
}

/// At XDP.
impl Dropped for &End {
    #[inline(always)]
    fn count_dropped(&self, hook: Hook, bytes: usize) {
        KernelCounters(hook).dropped(self.owners(), self.reason, bytes);
    }
}

/// Counts a frame that was dropped in the row of an owner, which is made if it is the first; where there is no room, in that of nobody.
/// What it returns says nothing.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn count_for_owner(what: u32, number: u32, bytes: u64) -> u64 {
    let key = DropKey { number, what };
    let mut counter = DROPS.get_ptr_mut(key);
    if counter.is_none() && number != DropKey::NOBODY {
        counter = match DROPS.insert(key, Counter::default(), u64::from(BPF_NOEXIST)) {
            // Another CPU may have made it at the same time.
            Ok(()) | Err(_) => DROPS.get_ptr_mut(key),
        };
        if counter.is_none() {
            let number = DropKey::NOBODY;
            counter = DROPS.get_ptr_mut(DropKey { number, what });
        }
    }
    if let Some(counter) = counter {
        // SAFETY: the map gave the pointer.
        unsafe { add_to(counter, bytes) };
    }
    0
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
    fn dropped(&self, owners: Owners, reason: Reason, bytes: usize) {
        let what = DropKey::what(OwnerKind::Segment, self.0, reason);
        let Owners {
            segment,
            port,
            peer,
        } = owners;
        count_dropped(what, segment.get(), port.get(), peer.get(), bytes as u64);
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
