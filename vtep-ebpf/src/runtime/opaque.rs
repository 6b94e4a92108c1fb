//! What the verifier is to know of a number, and what not.

/// Returns a small number, below 128, as it is, and hides from the verifier which one that is.
///
/// It follows every constant that is branched on, or that is the key of an array map, down every path on its own. Of a single
/// byte on the stack, off the 8-byte boundary and not zero, it remembers only that it is one.
#[inline(always)]
pub fn opaque(bits: u8) -> u8 {
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

/// Returns a number that is below 1024 as it is, and has the verifier see that it is.
///
/// Of a number that the compiler keeps on the stack, and reads once to compare it and once more to use it, older verifiers (Linux
/// 6.1) do not know the second time what it was compared with.
#[inline(always)]
pub fn below_1024(number: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut number = number;
        // SAFETY: one instruction on one register, which changes nothing. Left to itself the compiler leaves it out for that.
        unsafe {
            core::arch::asm!(
                "{number} &= 1023",
                number = inout(reg) number,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        number
    }
    #[cfg(not(target_arch = "bpf"))]
    number
}
