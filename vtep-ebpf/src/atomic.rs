//! Atomic operations on words of maps that all processors share.
//!
//! The compiler has none for BPF, though every kernel from 5.12 on has; so they are written as instructions. The second half stands in for them
//! where the lints look at this crate, on the host.

/// Writes `new` if `old` is still there. Returns what was there.
///
/// # Safety
///
/// The map gave the pointer.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn compare_exchange(at: *mut u64, old: u64, new: u64) -> u64 {
    let mut found = old;
    // SAFETY: the caller vouches for the pointer; the instruction compares with `r0`, and leaves there what it found.
    unsafe {
        core::arch::asm!(
            "r0 = cmpxchg_64({at} + 0, r0, {new})",
            at = in(reg) at,
            new = in(reg) new,
            inout("r0") found,
            options(nostack),
        );
    }
    found
}

/// Adds to a word.
///
/// # Safety
///
/// The map gave the pointer.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn add(at: *mut u64, more: u64) {
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({at} + 0) += {more}",
            at = in(reg) at,
            more = in(reg) more,
            options(nostack),
        );
    }
}

#[cfg(not(target_arch = "bpf"))]
mod host {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// # Safety
    ///
    /// As on BPF.
    pub unsafe fn compare_exchange(at: *mut u64, old: u64, new: u64) -> u64 {
        // SAFETY: the caller vouches for it.
        let word = unsafe { AtomicU64::from_ptr(at) };
        let swapped = word.compare_exchange(old, new, Relaxed, Relaxed);
        swapped.unwrap_or_else(|found| found)
    }

    /// # Safety
    ///
    /// As on BPF.
    pub unsafe fn add(at: *mut u64, more: u64) {
        // SAFETY: the caller vouches for it.
        unsafe { AtomicU64::from_ptr(at) }.fetch_add(more, Relaxed);
    }
}

#[cfg(not(target_arch = "bpf"))]
pub use host::{add, compare_exchange};
