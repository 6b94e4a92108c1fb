//! Handing frames that are too big for their VTEP to the daemon, which answers their senders.

use aya_ebpf::helpers::generated as helpers;
use vtep_common::{
    abi::too_big::TooBig,
    frame::packet::{Meta, PacketRead as _},
    runtime::verdict::{Account, TooBigAnswer},
};

use crate::{frame::tc::TcFrame, maps::TOO_BIG};

/// Hands a frame over, as far as it is quoted. False where there is no room: nobody reads, or not fast enough.
#[inline(always)]
pub fn hand_over(frame: TcFrame, meta: &Meta, account: &Account, answer: &TooBigAnswer) -> bool {
    // The compiler must not know that this is one less, or else it compares in a way that the verifier does not follow.
    let last = core::hint::black_box((frame.frame_len() as u64).wrapping_sub(1));
    let last = last.min(TooBig::MOST as u64 - 1);
    let last = core::hint::black_box(last);
    if last >= TooBig::MOST as u64 {
        return false;
    }
    let len = last as u32 + 1;
    let Some(mut room) = TOO_BIG.reserve::<TooBig>(0) else {
        return false;
    };
    let tag = meta.tag.map_or(0, |tag| TooBig::tag(tag.tpid, tag.tci));
    let to = room.as_mut_ptr();
    // SAFETY: there is room for a record. Each field is written by itself, or else all of it would be made elsewhere first.
    let loaded = unsafe {
        (&raw mut (*to).port).write(account.from_port);
        (&raw mut (*to).ifindex).write(meta.ifindex);
        (&raw mut (*to).mtu).write(answer.mtu);
        (&raw mut (*to).tag).write(tag);
        (&raw mut (*to).l3).write(answer.l3 as u32);
        (&raw mut (*to).len).write(len);
        helpers::bpf_skb_load_bytes(frame.raw().cast(), 0, (&raw mut (*to).bytes).cast(), len)
    };
    if loaded == 0 {
        room.submit(0);
        true
    } else {
        room.discard(0);
        false
    }
}
