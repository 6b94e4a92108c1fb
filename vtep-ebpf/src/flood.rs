//! Copying a frame to the targets of a flood list.

pub mod deferred;

use core::ffi::c_void;

use aya_ebpf::{bindings::__sk_buff, helpers::generated as helpers};
use vtep_common::{
    abi::{
        counter::{Direction, Hook},
        drops::Owners,
        flood::FloodList,
        id::{PeerId, PortSlot},
        map::MAX_FLOOD_TARGETS,
        outer_template::{LEN_V4, LEN_V6},
        peer::Peer,
        policer::Policed,
        port::Port,
        reason::Reason,
    },
    decide::count::{Counters as _, copy_goes},
    frame::{
        template::Fields,
        vlan::{ShownVlan, TagEdit},
    },
    runtime::{
        tables::Tables as _,
        verdict::{Encap, Flood, FloodPorts},
    },
};

use self::deferred::Deferred;
use crate::{
    action::slow_path,
    counter::KernelCounters,
    frame::{headers::HeadersSlot, tc::TcFrame},
    police,
    runtime::scratch::{Scratch, Spilled},
    tables::KernelTables,
};

/// What the callbacks are given.
#[repr(C)]
struct Copies<'a> {
    skb: *mut __sk_buff,
    headers: HeadersSlot<'a>,
    deferred: &'a mut Deferred,
    list: &'a FloodList,
    flood: Spilled<'a, Flood>,
    device: u32,
    bytes: usize,
}

impl Copies<'_> {
    #[inline(always)]
    const fn frame(&self) -> TcFrame {
        TcFrame::from_raw(self.skb)
    }

    /// Counts a copy that was made, or not.
    #[inline(always)]
    fn count(&self, peer: PeerId, sent: bool) {
        let counters = KernelCounters(Hook::Port);
        if sent {
            counters.peer(peer, Direction::Encap, self.bytes);
        } else {
            let owners = Owners {
                segment: self.flood.segment,
                port: self.flood.from,
                peer,
            };
            counters.copy_dropped(owners, Reason::CopyLost, self.bytes);
        }
    }
}

/// What the callback for local ports alone is given.
#[repr(C)]
struct PortCopies {
    skb: *mut __sk_buff,
    /// The peer that the frame came from.
    from: PeerId,
    flood: FloodPorts,
    bytes: usize,
}

type Callback = extern "C" fn(u64, *mut c_void) -> i64;

/// Calls the callback for each index below `count`, with the context that it takes.
#[inline(always)]
fn for_each<T>(count: u32, callback: Callback, context: &mut T) {
    let context: *mut T = context;
    // SAFETY: the callback has the signature that the helper wants, and takes the context as what it is.
    unsafe {
        helpers::bpf_loop(
            count.min(MAX_FLOOD_TARGETS as u32),
            callback as *mut c_void,
            context.cast(),
            0,
        );
    }
}

/// Copies a frame from a VTEP to the local ports of a list (split horizon). The frame itself stays.
#[inline(always)]
pub fn to_ports(frame: TcFrame, from: PeerId, flood: FloodPorts, bytes: usize) {
    let Some(targets) = KernelTables.flood_list(flood.list) else {
        return;
    };
    let mut copies = PortCopies {
        skb: frame.raw(),
        from,
        flood,
        bytes,
    };
    for_each(targets.ports, copy_to_port, &mut copies);
}

/// Sends one copy to a port. Returns 0: go on.
extern "C" fn copy_to_port(index: u64, context: *mut c_void) -> i64 {
    // SAFETY: `to_ports` passes its `PortCopies`, which outlives the loop.
    let copies = unsafe { &*context.cast::<PortCopies>() };
    if let Some(list) = KernelTables.flood_list(copies.flood.list)
        && let Some(slot) = target(list, index as usize)
        && (index as usize) < list.ports as usize
        && let Some(port) = KernelTables.port(PortSlot::new(slot))
        && copies.flood.reaches(port)
    {
        let frame = TcFrame::from_raw(copies.skb);
        let to = (PortSlot::new(slot), port);
        let shows = (copies.flood.vlan, copies.flood.bytes);
        send_to_port(frame, to, copies.from, shows, (Hook::Tunnel, copies.bytes));
    }
    0
}

/// Copies a frame from a port to every target of its list but that port. What is left of the frame is of no use.
///
/// First come the ports, and the VTEPs that the slow-path device serves. Then the frame is encapsulated in place, once, by
/// `encap_in_place`; for each deferred copy the outer headers are written anew. They are of one family, that of the first: the
/// slow-path device serves the other one.
#[inline(always)]
pub fn to_all(
    frame: TcFrame,
    scratch: &Scratch,
    flood: Spilled<'_, Flood>,
    bytes: usize,
    encap_in_place: impl FnOnce(&Encap, (bool, TagEdit)) -> Result<(), bool>,
) {
    let Some(list) = KernelTables.flood_list(flood.list) else {
        return;
    };
    // SAFETY: a frame is flooded once.
    let Some(deferred) = (unsafe { Deferred::take() }) else {
        return;
    };
    deferred.count = 0;
    deferred.to_sum = 0;
    deferred.state = Deferred::ENCAPSULATED;
    deferred.summed = u32::from(flood.encap.fields.inner_sum.is_some() || frame.is_complete());
    let mut copies = Copies {
        skb: frame.raw(),
        headers: scratch.headers(),
        deferred,
        list,
        flood,
        device: KernelTables.config().device,
        bytes,
    };
    for_each(list.len, copy_to_one, &mut copies);
    let count = copies.deferred.count;
    if count == 0 {
        return;
    }
    copies.deferred.state = encapsulate(&copies, encap_in_place);
    if copies.deferred.state == Deferred::ENCAPSULATED && copies.deferred.to_sum != 0 {
        copies.deferred.sum = 0;
        let chunks = copies.flood.encap.fields.inner_len.div_ceil(CHUNK);
        for_each(chunks, add_chunk, &mut copies);
    }
    for_each(count, copy_to_deferred, &mut copies);
}

/// Encapsulates the frame in place. Returns what became of it.
#[inline(always)]
fn encapsulate(
    copies: &Copies<'_>,
    encap_in_place: impl FnOnce(&Encap, (bool, TagEdit)) -> Result<(), bool>,
) -> u32 {
    // An in-band tag may have become an skb tag: see `send_to_port`.
    let outer = (copies.deferred.v6 != 0, copies.frame().carries());
    match encap_in_place(&copies.flood.encap, outer) {
        Ok(()) => Deferred::ENCAPSULATED,
        // The frame is as it was.
        Err(true) => Deferred::BY_SLOW_PATH,
        Err(false) => Deferred::LOST,
    }
}

/// Sends one copy of the frame as it came. Returns 0: go on.
extern "C" fn copy_to_one(index: u64, context: *mut c_void) -> i64 {
    // SAFETY: `to_all` passes its `Copies`, which outlives the loop.
    let copies = unsafe { &mut *context.cast::<Copies<'_>>() };
    send_copy(copies, index as usize);
    0
}

/// Sends one copy of the frame that has been encapsulated. Returns 0: go on.
extern "C" fn copy_to_deferred(index: u64, context: *mut c_void) -> i64 {
    // SAFETY: as above.
    let copies = unsafe { &mut *context.cast::<Copies<'_>>() };
    let Some(id) = copies.deferred.peers.get(index as usize).copied() else {
        return 1;
    };
    let sent = match KernelTables.peer(id) {
        Some(peer) => send_deferred(copies, id, peer),
        None => false,
    };
    copies.count(id, sent);
    0
}

/// The target of a list at this index.
#[inline(always)]
fn target(list: &FloodList, index: usize) -> Option<u32> {
    if index >= MAX_FLOOD_TARGETS {
        return None;
    }
    // SAFETY: compared with the length of the array above. The verifier follows this, but not the slice's own check, which LLVM
    // does on a copy of the index.
    Some(unsafe { *list.targets.as_ptr().add(index) })
}

#[inline(always)]
fn send_copy(copies: &mut Copies<'_>, index: usize) -> Option<()> {
    let flood = copies.flood;
    let number = target(copies.list, index)?;
    if index < copies.list.ports as usize {
        let slot = PortSlot::new(number);
        let port = KernelTables
            .port(slot)
            .filter(|port| flood.reaches(slot, port))?;
        let to = (slot, port);
        let shows = (flood.vlan, flood.bytes);
        let counted = (Hook::Port, copies.bytes);
        send_to_port(copies.frame(), to, PeerId::NONE, shows, counted);
        return None;
    }
    let id = PeerId::new(number);
    let peer = KernelTables.peer(id)?;
    if !copy_goes(peer, flood.carried_len) {
        copies.count(id, false);
        return None;
    }
    if copies.deferred.defer(id, peer, &flood) {
        return None;
    }
    copies.count(id, send_by_slow_path(copies, id));
    Some(())
}

/// Sends a copy to a port. Its tag becomes the skb tag, and is taken away again: with that the kernel makes an in-band tag, if
/// there is one, the skb tag.
#[inline(always)]
fn send_to_port(
    frame: TcFrame,
    (slot, port): (PortSlot, &Port),
    from: PeerId,
    (vlan, policed): (ShownVlan, u32),
    (hook, bytes): (Hook, usize),
) {
    // The counters of targets are not those of a hook.
    let counters = KernelCounters(hook);
    let lost = |reason| {
        let owners = Owners {
            segment: port.segment,
            port: slot,
            peer: from,
        };
        counters.copy_dropped(owners, reason, bytes);
    };
    if port.has(Port::TRUNK) && KernelTables.is_mapped(port.ifindex, vlan) {
        return lost(Reason::VlanHop);
    }
    if port.has(Port::RATE_OUT) && !police::take(slot, Policed::Out, policed) {
        return lost(Reason::Rate);
    }
    if port.vlan != 0 && !frame.push_tag(port.vlan) {
        return lost(Reason::CopyLost);
    }
    if frame.clone_redirect(port.ifindex) {
        counters.port(slot, Direction::Decap, bytes);
    } else {
        lost(Reason::CopyLost);
    }
    if port.vlan != 0 {
        frame.pop_tag();
    }
}

#[inline(always)]
fn send_by_slow_path(copies: &Copies<'_>, peer: PeerId) -> bool {
    slow_path::set_copy_key(copies.frame(), copies.flood, peer)
        && copies.frame().clone_redirect(copies.device)
}

/// Sends the deferred copy for a VTEP.
#[inline(always)]
fn send_deferred(copies: &Copies<'_>, id: PeerId, peer: &Peer) -> bool {
    let deferred = &*copies.deferred;
    if deferred.state == Deferred::BY_SLOW_PATH {
        return send_by_slow_path(copies, id);
    }
    // What holds for the peer may have changed since.
    if deferred.state != Deferred::ENCAPSULATED
        || !deferred.can_defer(peer, &copies.flood)
        || !copy_goes(peer, copies.flood.carried_len)
    {
        return false;
    }
    let frame = copies.frame();
    let headers = copies.headers;
    let fields = &copies.flood.encap.fields;
    let len = if peer.has(Peer::IPV6) {
        let inner_sum = if peer.has(Peer::CHECKSUM) {
            Some(fields.inner_sum.unwrap_or(deferred.folded()))
        } else {
            None
        };
        headers.make_v6(
            &peer.template,
            &Fields {
                inner_sum,
                ..*fields
            },
        );
        LEN_V6
    } else {
        headers.make_v4(&peer.template, fields);
        LEN_V4
    };
    frame.store_headers(headers, len) && frame.clone_redirect(peer.ifindex)
}

/// Bytes that are summed at once: what `bpf_csum_diff` takes.
const CHUNK: u32 = 512;

/// Adds bytes of the inner frame, behind outer headers over IPv6, to the sum. Returns 0: go on.
extern "C" fn add_chunk(index: u64, context: *mut c_void) -> i64 {
    // SAFETY: `to_all` passes its `Copies`, which outlives the loop.
    let copies = unsafe { &mut *context.cast::<Copies<'_>>() };
    let at = (index as u32).wrapping_mul(CHUNK);
    let left = copies.flood.encap.fields.inner_len.wrapping_sub(at);
    let from = LEN_V6 as u32 + at;
    let frame = copies.frame();
    let deferred = &mut *copies.deferred;
    if let Some(sum) = frame.sum(from, left.min(CHUNK), &mut deferred.words, deferred.sum) {
        deferred.sum = sum;
        return 0;
    }
    deferred.state = Deferred::LOST;
    1
}
