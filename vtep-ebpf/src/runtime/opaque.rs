//! Hiding from the verifier what a number is.

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
