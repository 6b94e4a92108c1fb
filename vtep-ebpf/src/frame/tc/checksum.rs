//! What the kernel knows of an skb's checksums, and sums over its bytes.

use aya_ebpf::{
    bindings::{BPF_CSUM_LEVEL_DEC, BPF_CSUM_LEVEL_INC, BPF_CSUM_LEVEL_QUERY},
    helpers::generated as helpers,
};

use super::TcFrame;
use crate::flood::deferred::SUMMED_WORDS;

impl TcFrame {
    /// Every checksum in the frame is as it will be sent: none is left to offload. False where that cannot be told.
    ///
    /// The kernel tells programs only of frames whose checksums it need not verify. It can be told to take one more checksum for
    /// verified, which it does unless one is left to offload or the whole frame was summed on receipt.
    #[inline(always)]
    pub fn is_complete(self) -> bool {
        let level =
            // SAFETY: the helper takes the program's own context.
            |what: u32| unsafe { helpers::bpf_csum_level(self.skb, u64::from(what)) >= 0 };
        if level(BPF_CSUM_LEVEL_QUERY) {
            return true;
        }
        level(BPF_CSUM_LEVEL_INC);
        level(BPF_CSUM_LEVEL_QUERY) && level(BPF_CSUM_LEVEL_DEC)
    }

    /// Adds the `len` bytes at `offset` to a sum. `words` is where they are read to.
    #[inline(always)]
    pub fn sum(
        self,
        offset: u32,
        len: u32,
        words: &mut [u32; SUMMED_WORDS],
        sum: u32,
    ) -> Option<u32> {
        // The compiler must not know that this is one less, or else it compares in a way that the verifier does not follow.
        let last = core::hint::black_box(u64::from(len).wrapping_sub(1));
        if last >= size_of_val(words) as u64 {
            return None;
        }
        let len = (last + 1) as u32;
        let count = (last / 4 + 1) as u32;
        // The last word may not be filled.
        *words.get_mut(count as usize - 1)? = 0;
        let words = words.as_mut_ptr();
        // SAFETY: `words` has room for `len` bytes, and for whole words of them.
        unsafe {
            if helpers::bpf_skb_load_bytes(self.skb.cast(), offset, words.cast(), len) != 0 {
                return None;
            }
            let nothing = core::ptr::null_mut();
            let sum = helpers::bpf_csum_diff(nothing, 0, words, count * 4, sum);
            // As 32 bits, or folded to 16 by newer kernels.
            u32::try_from(sum).ok()
        }
    }
}
