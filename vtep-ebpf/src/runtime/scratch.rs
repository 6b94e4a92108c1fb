//! The scratch memory of a program: a slot for each type that is spilled.

use core::ops::Deref;

use aya_ebpf::{macros::map, maps::PerCpuArray};
use bytemuck::Pod;

use vtep_common::runtime::{Slot, SlotName};

use crate::frame::headers::HeadersSlot;

#[map]
static SCRATCH: PerCpuArray<ScratchMemory> = PerCpuArray::with_max_entries(1, 0);

/// Words of a slot.
const SLOT_WORDS: usize = 16;

/// The slots: one entry of a map.
#[repr(C)]
pub struct ScratchMemory([[u64; SLOT_WORDS]; SlotName::COUNT]);

/// The scratch memory of this CPU. It is this run's alone: programs do not nest, and one that is tail-called starts anew.
pub struct Scratch(*mut ScratchMemory);

/// A value that stands in its slot, where global functions read it.
#[derive(Clone, Copy)]
pub struct Spilled<'a, T>(&'a T);

impl<'a, T> Spilled<'a, T> {
    /// The value, for as long as the scratch memory is there.
    #[inline(always)]
    pub const fn get(self) -> &'a T {
        self.0
    }
}

impl<T> Deref for Spilled<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        self.0
    }
}

impl Scratch {
    /// `None` never happens, but the verifier asks for it.
    #[inline(always)]
    pub fn new() -> Option<Self> {
        SCRATCH.get_ptr_mut(0).map(Self)
    }

    /// Writes a value to its slot.
    #[inline(always)]
    pub fn spill<T: Slot>(&self, value: &T) -> Spilled<'_, T> {
        let slot: *mut T = self.slot();
        // SAFETY: the slot is this type's alone, and large enough. What was spilled of it before is not read any more: a decision
        // spills a type once.
        unsafe { slot.write(*value) };
        // The compiler must not know either what was written.
        let slot = core::hint::black_box(slot);
        // SAFETY: it was written just now.
        Spilled(unsafe { &*slot })
    }

    /// Writes words to their slot that would else be copied byte by byte.
    #[inline(always)]
    pub fn spill_words<T: Copy, const N: usize>(&self, words: [T; N]) -> Spilled<'_, [T; N]>
    where
        [T; N]: Slot,
    {
        let slot: *mut [T; N] = self.slot();
        for (index, word) in words.into_iter().enumerate() {
            // SAFETY: as in `spill`, and the index is one of the words'.
            unsafe { slot.cast::<T>().add(index).write_volatile(word) };
        }
        let slot = core::hint::black_box(slot);
        // SAFETY: all of it was written just now.
        Spilled(unsafe { &*slot })
    }

    /// What stands in a slot, in a global function.
    ///
    /// # Safety
    ///
    /// A value of this type was spilled in this run.
    #[inline(always)]
    pub unsafe fn spilled<T: Slot>(&self) -> Spilled<'_, T> {
        let slot: *const T = self.slot();
        // SAFETY: the slot is this type's alone, and the caller vouches for it that there is a value.
        Spilled(unsafe { &*slot })
    }

    /// What was last spilled of a type that is nothing but plain words: zeros, or perhaps another run's.
    #[inline(always)]
    pub fn last<T: Slot + Pod>(&self) -> &T {
        let slot: *const T = self.slot();
        // SAFETY: the slot is this type's alone, large enough, and any bytes are a `T`.
        unsafe { &*slot }
    }

    /// The slot of the headers that encapsulation writes, with what was last there.
    #[inline(always)]
    pub const fn headers(&self) -> HeadersSlot<'_> {
        // SAFETY: the slot is this type's alone, and plain numbers are valid in any state.
        unsafe { HeadersSlot::new(self.slot()) }
    }

    #[inline(always)]
    const fn slot<T: Slot>(&self) -> *mut T {
        const {
            assert!(size_of::<T>() <= SLOT_WORDS * 8 && align_of::<T>() <= 8);
        };
        // SAFETY: the map gave the pointer, and the slot is one of those that there are.
        unsafe {
            (&raw mut (*self.0).0)
                .cast::<[u64; SLOT_WORDS]>()
                .add(T::NAME as usize)
                .cast()
        }
    }
}
