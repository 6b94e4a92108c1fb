//! What one run of a program puts down for itself.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use bytemuck::Pod;
use vtep_common::{abi::outer_template::TEMPLATE_WORDS, runtime::place};

use crate::frame::tc::Headers;

/// Words of a place for [`Tables::spill`].
const PLACE_WORDS: usize = 16;

/// What one run of a program puts down for itself.
#[repr(C)]
pub struct Scratch([[u64; PLACE_WORDS]; place::COUNT]);

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// The BPF maps as the decisions see them.
#[derive(Clone, Copy)]
pub struct KernelTables {
    scratch: *mut Scratch,
    /// The program is short enough for the verifier to follow what is decided late.
    pub short: bool,
}

impl KernelTables {
    /// `None` never happens, but the verifier asks for it.
    #[inline(always)]
    pub fn new() -> Option<Self> {
        let scratch = SCRATCH.get_ptr_mut(0)?;
        Some(Self {
            scratch,
            short: false,
        })
    }

    /// For a program that is short enough for the verifier to follow what is decided late: that is not put down, which saves
    /// moving it there and back.
    #[inline(always)]
    pub fn for_short_program() -> Option<Self> {
        Self::new().map(|tables| Self {
            short: true,
            ..tables
        })
    }

    /// A place in the scratch memory.
    #[inline(always)]
    pub const fn place<const PLACE: usize, T>(&self) -> *mut T {
        const {
            assert!(PLACE < place::COUNT);
            assert!(size_of::<T>() <= PLACE_WORDS * 8 && align_of::<T>() <= 8);
        };
        // SAFETY: the map gave the pointer, and the place is one of those that there are.
        unsafe {
            (&raw mut (*self.scratch).0)
                .cast::<[u64; PLACE_WORDS]>()
                .add(PLACE)
                .cast()
        }
    }

    /// As [`Tables::spill`], for what is changed later.
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "the memory is the map's, and nothing else is put there"
    )]
    pub fn spill_mut<const PLACE: usize, T: Copy>(&self, value: &T) -> &mut T {
        let at: *mut T = self.place::<PLACE, T>();
        // SAFETY: the place is large enough and belongs to this CPU, on which programs do not nest.
        unsafe { at.write(*value) };
        // The compiler must not know either what was written.
        let at = core::hint::black_box(at);
        // SAFETY: as above, and it was written just now.
        unsafe { &mut *at }
    }

    /// As [`Tables::spill`], for words that would else be copied byte by byte.
    #[inline(always)]
    pub fn spill_words<const PLACE: usize, T: Copy, const N: usize>(
        &self,
        words: [T; N],
    ) -> &[T; N] {
        let at: *mut [T; N] = self.place::<PLACE, _>();
        for (index, word) in words.into_iter().enumerate() {
            // SAFETY: as in `spill`.
            unsafe { at.cast::<T>().add(index).write_volatile(word) };
        }
        let at = core::hint::black_box(at);
        // SAFETY: as in `spill`.
        unsafe { &*at }
    }

    /// What was put down before at a place: nothing but plain words, so that whatever is there is valid.
    #[inline(always)]
    pub fn spilled_before<const PLACE: usize, T: Pod>(&self) -> &T {
        let at: *const T = self.place::<PLACE, T>();
        // SAFETY: the place is large enough and belongs to this CPU, on which programs do not nest; any bytes are a `T`.
        unsafe { &*at }
    }

    /// What was put down just now at a place, by whoever calls this function.
    ///
    /// # Safety
    ///
    /// It was a `T`.
    #[inline(always)]
    pub unsafe fn spilled_just_now<const PLACE: usize, T>(&self) -> &T {
        let at: *const T = self.place::<PLACE, T>();
        // SAFETY: the place is large enough and belongs to this CPU, on which programs do not nest; the caller vouches for the
        // rest.
        unsafe { &*at }
    }

    /// Where headers are made: with the outer ones from a template, and behind them what was last there.
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "the memory is the map's, and only the code that makes headers takes it"
    )]
    pub fn headers(&self, template: &[u64; TEMPLATE_WORDS]) -> &mut Headers {
        let headers: *mut Headers = self.last_headers();
        // SAFETY: it is the one reference, and not into the template's map.
        unsafe {
            core::ptr::copy_nonoverlapping(template, &raw mut (*headers).outer, 1);
            &mut *headers
        }
    }

    /// Where headers are made, with what was last there.
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "the memory is the map's, and only the code that makes headers takes it"
    )]
    pub fn last_headers(&self) -> &mut Headers {
        let at: *mut Headers = self.place::<{ place::HEADERS }, _>();
        // SAFETY: the place is large enough and belongs to this CPU, on which programs do not nest. Plain numbers are valid in
        // any state.
        unsafe { &mut *at }
    }
}
