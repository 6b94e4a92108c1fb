//! Handing over frames at their end to whoever captures them. Only in the programs that stand in for the others meanwhile (ADR 22).

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    helpers::generated as helpers,
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use vtep_common::{
    abi::{
        capture::{CaptureCount, CaptureOrder, Captured},
        counter::Hook,
        map::CAPTURED_BYTES,
        reason::Reason,
        too_big::TooBig,
    },
    runtime::{tables::Tables as _, verdict::End},
};

use crate::{
    atomic,
    frame::{tc::TcFrame, xdp::XdpFrame},
    runtime::scratch::Scratch,
    tables::KernelTables,
};

// Not pinned: each capture has its own.
#[map]
static CAPTURE_ORDER: Array<CaptureOrder> = Array::with_max_entries(1, 0);
#[map]
static CAPTURE_COUNTS: Array<u64> = Array::with_max_entries(CaptureCount::PLACES, 0);
#[map]
static CAPTURED: RingBuf = RingBuf::with_byte_size(CAPTURED_BYTES, 0);

/// The frame that a program works on, as it came to the hook: kept while whoever captures wants frames so.
#[map]
static CAPTURE_ARRIVED: PerCpuArray<Captured> = PerCpuArray::with_max_entries(1, 0);

/// A frame that can be handed over.
pub trait Capturable {
    /// Keeps the frame as it comes to the hook, if frames are wanted so. The first program of a hook says when.
    fn arrives(&self);

    /// Hands it over, if it is wanted.
    fn capture(&self, hook: Hook, end: &End);
}

impl Capturable for TcFrame {
    #[inline(always)]
    fn arrives(&self) {
        // SAFETY: the program's own context.
        unsafe { keep_skb(self.raw()) };
    }

    #[inline(always)]
    fn capture(&self, hook: Hook, end: &End) {
        let Some(scratch) = Scratch::new() else {
            return;
        };
        scratch.spill(end);
        // SAFETY: the program's own context, and the end is spilled.
        unsafe { capture_skb(self.raw(), hook.index()) };
    }
}

impl Capturable for XdpFrame {
    #[inline(always)]
    fn arrives(&self) {
        // SAFETY: the program's own context.
        unsafe { keep_xdp(self.raw()) };
    }

    #[inline(always)]
    fn capture(&self, hook: Hook, end: &End) {
        let Some(scratch) = Scratch::new() else {
            return;
        };
        scratch.spill(end);
        // SAFETY: the program's own context, and the end is spilled.
        unsafe { capture_xdp(self.raw(), hook.index()) };
    }
}

/// Keeps a frame as it comes to a hook of TC. What it returns says nothing.
///
/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn keep_skb(skb: *mut __sk_buff) -> u64 {
    let tag = TcFrame::from_raw(skb).meta().tag;
    let arrival = Arrival {
        tag: tag.map_or(0, |tag| TooBig::tag(tag.tpid, tag.tci)),
        // SAFETY: the context of a TC program is an `__sk_buff`.
        gso_size: unsafe { (*skb).gso_size },
        // SAFETY: as above.
        frame_len: unsafe { (*skb).len },
    };
    keep(&arrival, |to, len| {
        // SAFETY: the program's own context, and there is room for so many bytes.
        unsafe { helpers::bpf_skb_load_bytes(skb.cast(), 0, to.cast(), len) == 0 }
    });
    0
}

/// Keeps a frame as it comes to a hook of XDP, likewise.
///
/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn keep_xdp(ctx: *mut xdp_md) -> u64 {
    let arrival = Arrival {
        tag: 0,
        gso_size: 0,
        // SAFETY: the helper takes the program's own context.
        frame_len: unsafe { helpers::bpf_xdp_get_buff_len(ctx) } as u32,
    };
    keep(&arrival, |to, len| {
        // SAFETY: the program's own context, and there is room for so many bytes.
        unsafe { helpers::bpf_xdp_load_bytes(ctx, 0, to.cast(), len) == 0 }
    });
    0
}

/// What is known of a frame that comes to a hook besides its bytes.
struct Arrival {
    tag: u32,
    gso_size: u32,
    frame_len: u32,
}

#[inline(always)]
fn keep(arrival: &Arrival, load: impl FnOnce(*mut u8, u32) -> bool) {
    let (Some(order), Some(to)) = (CAPTURE_ORDER.get(0), CAPTURE_ARRIVED.get_ptr_mut(0)) else {
        return;
    };
    if order.as_they_came == 0 {
        return;
    }
    let Some(len) = taken_of(arrival.frame_len) else {
        return;
    };
    // SAFETY: the map gave the pointer, and no other program of this processor works on it meanwhile.
    unsafe {
        (&raw mut (*to).tag).write(arrival.tag);
        (&raw mut (*to).gso_size).write(arrival.gso_size);
        (&raw mut (*to).frame_len).write(arrival.frame_len);
        (&raw mut (*to).as_it_came).write(1);
        let is_loaded = load((&raw mut (*to).bytes).cast(), len);
        (&raw mut (*to).len).write(if is_loaded { len } else { 0 });
    }
}

/// How many bytes of a frame of `frame_len` are taken: one at least, as the verifier has it. `None` for no frame at all.
#[inline(always)]
fn taken_of(frame_len: u32) -> Option<u32> {
    // The compiler must not know that this is one less, or else it compares in a way that the verifier does not follow.
    let last = core::hint::black_box(u64::from(frame_len).wrapping_sub(1));
    let last = last.min(Captured::MOST as u64 - 1);
    let last = core::hint::black_box(last);
    (last < Captured::MOST as u64).then_some(last as u32 + 1)
}

/// Hands over a frame at TC, if it is wanted. What it returns says nothing.
///
/// # Safety
///
/// The context is that of the program, and an `End` was spilled.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn capture_skb(skb: *mut __sk_buff, hook: u32) -> u64 {
    let frame = TcFrame::from_raw(skb);
    let meta = frame.meta();
    let facts = Facts {
        hook,
        ifindex: meta.ifindex,
        tag: meta.tag.map_or(0, |tag| TooBig::tag(tag.tpid, tag.tci)),
        // SAFETY: the context of a TC program is an `__sk_buff`.
        frame_len: unsafe { (*skb).len },
    };
    hand_over(&facts, |to, len| {
        // SAFETY: the program's own context, and there is room for so many bytes.
        unsafe { helpers::bpf_skb_load_bytes(skb.cast(), 0, to.cast(), len) == 0 }
    });
    0
}

/// Hands over a frame at XDP, likewise.
///
/// # Safety
///
/// The context is that of the program, and an `End` was spilled.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn capture_xdp(ctx: *mut xdp_md, hook: u32) -> u64 {
    let facts = Facts {
        hook,
        // SAFETY: the context of an XDP program is an `xdp_md`.
        ifindex: unsafe { (*ctx).ingress_ifindex },
        tag: 0,
        // SAFETY: the helper takes the program's own context.
        frame_len: unsafe { helpers::bpf_xdp_get_buff_len(ctx) } as u32,
    };
    hand_over(&facts, |to, len| {
        // SAFETY: the program's own context, and there is room for so many bytes.
        unsafe { helpers::bpf_xdp_load_bytes(ctx, 0, to.cast(), len) == 0 }
    });
    0
}

/// What is known of a frame besides its end.
struct Facts {
    hook: u32,
    ifindex: u32,
    tag: u32,
    frame_len: u32,
}

#[inline(always)]
fn hand_over(facts: &Facts, load: impl FnOnce(*mut u8, u32) -> bool) {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    // SAFETY: whoever calls has spilled it.
    let end = unsafe { scratch.spilled::<End>() };
    // SAFETY: it takes nothing.
    let time = unsafe { helpers::bpf_ktime_get_ns() };
    let Some(order) = CAPTURE_ORDER.get(0) else {
        return;
    };
    let reason = end.reason.code();
    if time >= order.until
        || (order.reasons >> (reason & 63)) & 1 == 0
        || !is_of_vni(order, &end)
        || !is_of_interface(order, &end, facts.ifindex)
        || !is_of_peer(order, &end)
    {
        return;
    }
    let Some(taken) = CAPTURE_COUNTS.get_ptr_mut(CaptureCount::Taken as u32) else {
        return;
    };
    // SAFETY: the map gave the pointer. Other processors may take one more at the same time, which is no harm.
    if unsafe { taken.read_volatile() } >= order.allowed {
        count(CaptureCount::OverRate);
        return;
    }
    if order.as_they_came != 0 {
        let Some(kept) = CAPTURE_ARRIVED.get_ptr_mut(0) else {
            return;
        };
        // SAFETY: the map gave the pointer, and no other program of this processor works on it meanwhile.
        let kept = unsafe {
            note(kept, time, facts, &end);
            &*kept
        };
        if CAPTURED.output::<Captured>(kept, 0).is_ok() {
            // SAFETY: the map gave the pointer.
            unsafe { atomic::add(taken, 1) };
        } else {
            count(CaptureCount::NoRoom);
        }
        return;
    }
    let Some(len) = taken_of(facts.frame_len) else {
        return;
    };
    let Some(mut room) = CAPTURED.reserve::<Captured>(0) else {
        count(CaptureCount::NoRoom);
        return;
    };
    let to = room.as_mut_ptr();
    // SAFETY: there is room for a record. Each field is written by itself, or else all of it would be made elsewhere first.
    let bytes = unsafe {
        note(to, time, facts, &end);
        (&raw mut (*to).frame_len).write(facts.frame_len);
        (&raw mut (*to).tag).write(facts.tag);
        (&raw mut (*to).gso_size).write(0);
        (&raw mut (*to).as_it_came).write(0);
        (&raw mut (*to).len).write(len);
        (&raw mut (*to).bytes).cast()
    };
    if load(bytes, len) {
        room.submit(0);
        // SAFETY: the map gave the pointer.
        unsafe { atomic::add(taken, 1) };
    } else {
        room.discard(0);
        count(CaptureCount::NoRoom);
    }
}

/// Notes how a frame has ended.
///
/// # Safety
///
/// There is a record, or room for one.
#[inline(always)]
unsafe fn note(to: *mut Captured, time: u64, facts: &Facts, end: &End) {
    // SAFETY: the caller has room for a record. Each field is written by itself, or else all of it would be made elsewhere first.
    unsafe {
        (&raw mut (*to).time).write(time);
        (&raw mut (*to).hook).write(facts.hook);
        (&raw mut (*to).reason).write(end.reason.code());
        (&raw mut (*to).segment).write(end.account.segment);
        (&raw mut (*to).from_port).write(end.account.from_port);
        (&raw mut (*to).from_peer).write(end.account.from_peer);
        (&raw mut (*to).to_port).write(end.to_port);
        (&raw mut (*to).to_peer).write(end.to_peer);
        (&raw mut (*to).ifindex).write(facts.ifindex);
        (&raw mut (*to).inner_len).write(end.account.inner_len);
    }
}

/// Whether a frame is of the VNI that is wanted, as far as that is known.
#[inline(always)]
fn is_of_vni(order: &CaptureOrder, end: &End) -> bool {
    let segment = KernelTables.segment(end.account.segment);
    order.vni == CaptureOrder::ANY_VNI || segment.is_none_or(|segment| segment.vni == order.vni)
}

/// Whether a frame came by the interface that is wanted, goes to a port of it, or may be flooded to it.
#[inline(always)]
fn is_of_interface(order: &CaptureOrder, end: &End, ifindex: u32) -> bool {
    if order.ifindex == 0 || order.ifindex == ifindex {
        return true;
    }
    let is_flood = matches!(end.reason, Reason::Flooded | Reason::FloodedLocally);
    let to = KernelTables.port(end.to_port);
    is_flood || to.is_some_and(|port| port.ifindex == order.ifindex)
}

/// Whether a frame came from the peer that is wanted, or goes to it, as far as that is known.
#[inline(always)]
fn is_of_peer(order: &CaptureOrder, end: &End) -> bool {
    let id = if end.to_peer.is_none() {
        end.account.from_peer
    } else {
        end.to_peer
    };
    let [a, b, c, d] = order.peer.words_be();
    if a | b | c | d == 0 {
        return true;
    }
    KernelTables.peer(id).is_none_or(|peer| {
        let [e, f, g, h] = peer.addr.words_be();
        (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) == 0
    })
}

#[inline(always)]
fn count(what: CaptureCount) {
    if let Some(at) = CAPTURE_COUNTS.get_ptr_mut(what as u32) {
        // SAFETY: the map gave the pointer.
        unsafe { atomic::add(at, 1) };
    }
}
