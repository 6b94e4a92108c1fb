//! Copying a frame to the targets of a flood list.

use core::ffi::c_void;

use aya_ebpf::{bindings::__sk_buff, helpers::generated as helpers};
use vtep_common::{
    count::{Counters as _, Direction, copy_goes},
    flow,
    maps::{Hook, MAX_FLOOD_TARGETS, Peer},
    reason::Reason,
    tables::{Keyed as _, Tables as _, place},
    verdict::{Flood, NONE},
};

use crate::{count::KernelCounters, frame::tc::TcFrame, maps::KernelTables};

/// What the callback is given for each target.
#[repr(C)]
struct Copies {
    skb: *mut __sk_buff,
    tables: KernelTables,
    flood: *const Flood,
    device: u32,
    device_hash: u32,
    bytes: usize,
}

/// Copies the frame to every target but the port that it came from. The frame itself stays.
#[inline(always)]
pub fn copy_to_all(frame: TcFrame, tables: KernelTables, flood: &Flood, bytes: usize) {
    let Some(list) = tables.flood_list(flood.list) else {
        return;
    };
    // A frame from a VTEP goes to local ports alone (split horizon).
    let targets = if flood.from == NONE {
        list.ports
    } else {
        list.len
    };
    // In the scratch memory, since the stack is short. Sending a copy runs no program of ours.
    let flood = tables.put_down::<{ place::VERDICT }, _>(flood);
    let mut copies = Copies {
        skb: frame.raw(),
        tables,
        flood: &raw const *flood,
        device: tables.config().device,
        device_hash: flow::device_hash(flood.outer.source_port),
        bytes,
    };
    let context: *mut Copies = &raw mut copies;
    // SAFETY: the callback has the signature that the helper wants, and takes the context as what it is.
    unsafe {
        helpers::bpf_loop(
            targets.min(MAX_FLOOD_TARGETS as u32),
            copy_to_one as *mut c_void,
            context.cast(),
            0,
        );
    }
}

/// Sends one copy. Returns 0: go on.
extern "C" fn copy_to_one(index: u64, context: *mut c_void) -> i64 {
    // SAFETY: `copy_to_all` passes its `Copies`, which outlives the loop.
    let copies = unsafe { &*context.cast::<Copies>() };
    send_copy(copies, index);
    0
}

#[inline(always)]
fn send_copy(copies: &Copies, index: u64) -> Option<()> {
    let frame = TcFrame::from_raw(copies.skb);
    // SAFETY: `copy_to_all` has put it down, and nothing else is put there before it ends.
    let flood = unsafe { &*copies.flood };
    let list = copies.tables.flood_list(flood.list)?;
    let index = index as usize;
    if index >= MAX_FLOOD_TARGETS {
        return None;
    }
    // SAFETY: compared with the length of the array above. The verifier follows this, but not the slice's own check, which LLVM
    // does on a copy of the index.
    let target = unsafe { *list.targets.as_ptr().add(index) };
    // The counters of targets are not those of a hook.
    let counters = KernelCounters(if flood.from == NONE {
        Hook::Tunnel
    } else {
        Hook::Port
    });
    if index < list.ports as usize {
        if flood.from == target {
            return None;
        }
        let port = copies.tables.port(target)?;
        if port.vlan != 0 && !frame.push_tag(port.vlan) {
            return None;
        }
        if frame.clone_redirect(port.ifindex) {
            counters.port(target, Direction::Decap, copies.bytes);
        } else {
            counters.reason(Reason::CopyLost, copies.bytes);
        }
        if port.vlan != 0 {
            frame.pop_tag();
        }
    } else {
        let peer = copies.tables.peer(target)?;
        if !copy_goes(peer, flood.carried_len) {
            counters.reason(Reason::CopyLost, copies.bytes);
            return None;
        }
        let mut via = flood.outer;
        via.remote = peer.addr;
        via.local = peer.local;
        via.checksum = peer.has(Peer::CHECKSUM);
        if frame.set_tunnel_key(&via, copies.device_hash) && frame.clone_redirect(copies.device) {
            counters.peer(target, Direction::Encap, copies.bytes);
        } else {
            counters.reason(Reason::CopyLost, copies.bytes);
        }
    }
    Some(())
}
