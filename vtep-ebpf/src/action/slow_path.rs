//! The slow path: through the kernel's own VXLAN device.

use aya_ebpf::bindings::__sk_buff;
use vtep_common::{
    abi::id::PeerId,
    frame::flow,
    runtime::{
        tables::Tables as _,
        verdict::{Encap, Flood, ViaKernel},
    },
};

use crate::{
    frame::tc::TcFrame,
    runtime::scratch::{Scratch, Spilled},
    tables::KernelTables,
};

/// Tells the slow-path device that the frame goes to this peer, with these outer headers. False where it cannot.
#[inline(always)]
pub fn set_encap_key(frame: TcFrame, _encap: Spilled<'_, Encap>, peer: PeerId) -> bool {
    // SAFETY: the frame's own context, and the verdict is spilled.
    unsafe { encap_key(frame.raw(), peer.get()) != 0 }
}

/// Tells the slow-path device that a copy of a flooded frame goes to this peer. False where it cannot.
#[inline(always)]
pub fn set_copy_key(frame: TcFrame, _flood: Spilled<'_, Flood>, peer: PeerId) -> bool {
    // SAFETY: the frame's own context, and the flood is spilled.
    unsafe { copy_key(frame.raw(), peer.get()) != 0 }
}

/// Sets the tunnel key of the frame for a peer, by the encapsulation that was spilled; zero where it cannot.
///
/// # Safety
///
/// The context is that of the program, and an `Encap` was spilled.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn encap_key(skb: *mut __sk_buff, peer: u32) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return 0;
    };
    // SAFETY: the caller vouches for it.
    let encap = unsafe { scratch.spilled::<Encap>() };
    set_key(TcFrame::from_raw(skb), &encap, PeerId::new(peer)).into()
}

/// As [`encap_key`], by the flood that was spilled.
///
/// # Safety
///
/// The context is that of the program, and a `Flood` was spilled.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn copy_key(skb: *mut __sk_buff, peer: u32) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return 0;
    };
    // SAFETY: the caller vouches for it.
    let flood = unsafe { scratch.spilled::<Flood>() };
    set_key(TcFrame::from_raw(skb), &flood.encap, PeerId::new(peer)).into()
}

#[inline(always)]
fn set_key(frame: TcFrame, encap: &Encap, peer: PeerId) -> bool {
    let Some(peer) = KernelTables.peer(peer) else {
        return false;
    };
    let via = ViaKernel::new(encap, peer);
    frame.set_tunnel_key(&via, flow::device_hash(via.source_port))
}
