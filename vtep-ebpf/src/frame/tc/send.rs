//! Where an skb goes.

use aya_ebpf::{helpers::generated as helpers, programs::TcContext};
use vtep_common::abi::tail_call::TailCall;

use super::TcFrame;
use crate::maps::PARTS;

impl TcFrame {
    /// Tail call: another program goes on. Returns only where that is not there.
    #[inline(always)]
    pub fn tail_call(self, part: TailCall) {
        let context = TcContext::new(self.skb);
        // SAFETY: the programs in the map are of this kind, which the kernel checks when they are put there.
        unsafe { PARTS.tail_call(&context, part as u32) };
    }

    /// Sends the frame by `ifindex`; returns the TC action.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the helper returns a TC action"
    )]
    pub fn redirect(self, ifindex: u32) -> i32 {
        // SAFETY: the helper takes plain numbers.
        unsafe { helpers::bpf_redirect(ifindex, 0) as i32 }
    }

    /// Hands the frame to the other end of `ifindex` in its network namespace, as one for that end's MAC; returns the TC action.
    ///
    /// The kernel marks it so since 6.13 (`skb_do_redirect`, with `skb_scrub_packet`). Before, a frame that the port got for another
    /// MAC than its own would go on as nobody's, and be dropped there.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the helper returns a TC action"
    )]
    pub fn redirect_peer(self, ifindex: u32) -> i32 {
        if !self.is_for_host() {
            self.set_for_host();
        }
        // SAFETY: the helper takes plain numbers.
        unsafe { helpers::bpf_redirect_peer(ifindex, 0) as i32 }
    }

    /// Sends a copy of the frame by `ifindex`.
    #[inline(always)]
    pub fn clone_redirect(self, ifindex: u32) -> bool {
        // SAFETY: the helper takes the program's own context.
        unsafe { helpers::bpf_clone_redirect(self.skb, ifindex, 0) == 0 }
    }
}
