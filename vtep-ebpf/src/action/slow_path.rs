//! Through the kernel device.

use aya_ebpf::bindings::__sk_buff;
use vtep_common::{
    abi::id::PeerId,
    decide::verdict::{Encap, ViaKernel},
    frame::flow,
    runtime::{Keyed as _, place},
};

use crate::{frame::tc::TcFrame, runtime::scratch::KernelTables};

/// Tells the kernel device that the frame goes to `peer`, by the verdict that was put down; zero where it cannot. A function of its own
/// as those that look things up: the verifier takes no struct as an argument of such, so it is the bare number of the peer.
///
/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn tell_device(skb: *mut __sk_buff, peer: u32) -> u64 {
    let Some(tables) = KernelTables::new() else {
        return 0;
    };
    // SAFETY: it is called with this verdict alone, or with a `Flood`, which starts with it.
    let encap: &Encap = unsafe { tables.spilled_just_now::<{ place::VERDICT }, _>() };
    let Some(peer) = tables.peer(PeerId::new(peer)) else {
        return 0;
    };
    let via = ViaKernel::new(encap, peer);
    let hash = flow::device_hash(via.source_port);
    TcFrame::from_raw(skb).set_tunnel_key(&via, hash).into()
}
