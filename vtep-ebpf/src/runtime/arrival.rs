//! What is known of a frame once its VNI is found, each in one global function.

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use vtep_common::{
    abi::reason::Reason,
    decide::{port::ingress, tunnel, uplink},
    frame::{inner::Inner, packet::PacketRead as _},
    runtime::{
        Runtime, Slot,
        arrival::{Arrival, Carried, Ingress},
    },
};

use crate::{
    action::{MISFIT, tc::Tc, xdp::Xdp},
    frame::{tc::TcFrame, xdp::XdpFrame},
    runtime::scratch::{Scratch, Spilled},
};

/// The headers of a frame from a port, and what else is known of it.
type FoundIngress<'a> = (Spilled<'a, Inner>, Spilled<'a, Ingress>);
/// The same, and how the frame is carried.
type FoundCarried<'a> = (FoundIngress<'a>, Spilled<'a, Carried>);

/// A frame from a port, at TC.
#[inline(always)]
pub fn tc_ingress(scratch: &Scratch, frame: TcFrame) -> Result<FoundIngress<'_>, Reason> {
    // SAFETY: the program's own context; where the function has found an `Ingress`, it has spilled it and an `Inner`.
    unsafe {
        match find_tc_ingress(frame.raw()) {
            FOUND => Ok((scratch.spilled(), scratch.spilled())),
            word => Err(reason(word)),
        }
    }
}

/// The same, and how it is carried.
#[inline(always)]
pub fn tc_carried(scratch: &Scratch, frame: TcFrame) -> Result<FoundCarried<'_>, Reason> {
    // SAFETY: as in `tc_ingress`, and a `Carried`.
    unsafe {
        match find_tc_carried(frame.raw()) {
            FOUND => Ok(((scratch.spilled(), scratch.spilled()), scratch.spilled())),
            word => Err(reason(word)),
        }
    }
}

/// The same, at XDP.
#[inline(always)]
pub fn xdp_carried(scratch: &Scratch, frame: XdpFrame) -> Result<FoundCarried<'_>, Reason> {
    // SAFETY: as in `tc_carried`.
    unsafe {
        match find_xdp_carried(frame.raw()) {
            FOUND => Ok(((scratch.spilled(), scratch.spilled()), scratch.spilled())),
            word => Err(reason(word)),
        }
    }
}

/// A packet at an uplink, at TC.
#[inline(always)]
pub fn tc_arrival(scratch: &Scratch, frame: TcFrame) -> Result<Spilled<'_, Arrival>, Reason> {
    // SAFETY: the program's own context; where the function has found an `Arrival`, it has spilled it.
    unsafe {
        match find_tc_arrival(frame.raw()) {
            FOUND => Ok(scratch.spilled()),
            word => Err(reason(word)),
        }
    }
}

/// A packet at an uplink, at XDP.
#[inline(always)]
pub fn xdp_arrival(scratch: &Scratch, frame: XdpFrame) -> Result<Spilled<'_, Arrival>, Reason> {
    // SAFETY: as in `tc_arrival`.
    unsafe {
        match find_xdp_arrival(frame.raw()) {
            FOUND => Ok(scratch.spilled()),
            word => Err(reason(word)),
        }
    }
}

/// A frame that the slow-path device has decapsulated.
#[inline(always)]
pub fn decapsulated(scratch: &Scratch, frame: TcFrame) -> Result<Spilled<'_, Arrival>, Reason> {
    // SAFETY: as in `tc_arrival`.
    unsafe {
        match find_decapsulated(frame.raw()) {
            FOUND => Ok(scratch.spilled()),
            word => Err(reason(word)),
        }
    }
}

/// Returned where something was found, and spilled.
const FOUND: u64 = 0;

/// A reason why nothing was found, as a word which is not [`FOUND`].
#[inline(always)]
const fn word(reason: Reason) -> u64 {
    reason.code() as u64 + 1
}

/// The reason of a word.
///
/// # Safety
///
/// [`word`] has made it.
#[inline(always)]
const unsafe fn reason(word: u64) -> Reason {
    // SAFETY: the caller vouches for it that this is the code of a reason.
    unsafe { core::mem::transmute::<u32, Reason>(word as u32 - 1) }
}

/// Spills what was found.
#[inline(always)]
fn spill<T: Slot>(scratch: &Scratch, found: &Result<T, Reason>) -> u64 {
    match found {
        Ok(found) => {
            scratch.spill(found);
            FOUND
        }
        Err(reason) => word(*reason),
    }
}

/// As [`spill`], with how the frame is carried.
#[inline(always)]
fn spill_carried(scratch: &Scratch, found: &Result<(Ingress, Carried), Reason>) -> u64 {
    match found {
        Ok((ingress, carried)) => {
            scratch.spill(ingress);
            scratch.spill(carried);
            FOUND
        }
        Err(reason) => word(*reason),
    }
}

/// Finds the VNI of a frame from a port, with its headers spilled.
#[inline(always)]
fn ingress<R: Runtime>(rt: &R) -> Result<Ingress, Reason> {
    let inner = ingress::read(rt)?;
    let inner = rt.spill(&inner);
    Ok(ingress::find(rt, &inner)?.0)
}

/// The same, and how it is carried.
#[inline(always)]
fn carried<R: Runtime>(rt: &R) -> Result<(Ingress, Carried), Reason> {
    let inner = ingress::read(rt)?;
    let inner = rt.spill(&inner);
    let (ingress, segment) = ingress::find(rt, &inner)?;
    let carried = Carried::new(rt.frame().frame_len(), rt.meta(), &inner, &ingress, segment);
    Ok((ingress, carried))
}

/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn find_tc_ingress(skb: *mut __sk_buff) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return word(MISFIT);
    };
    let rt = Tc::new(TcFrame::from_raw(skb), scratch);
    spill(rt.scratch(), &ingress(&rt))
}

/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn find_tc_carried(skb: *mut __sk_buff) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return word(MISFIT);
    };
    let rt = Tc::new(TcFrame::from_raw(skb), scratch);
    spill_carried(rt.scratch(), &carried(&rt))
}

/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn find_xdp_carried(context: *mut xdp_md) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return word(MISFIT);
    };
    let rt = Xdp::new(XdpFrame::from_raw(context), scratch);
    spill_carried(rt.scratch(), &carried(&rt))
}

/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn find_tc_arrival(skb: *mut __sk_buff) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return word(MISFIT);
    };
    let rt = Tc::new(TcFrame::from_raw(skb), scratch);
    spill(rt.scratch(), &uplink::find(&rt))
}

/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn find_xdp_arrival(context: *mut xdp_md) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return word(MISFIT);
    };
    let rt = Xdp::new(XdpFrame::from_raw(context), scratch);
    spill(rt.scratch(), &uplink::find(&rt))
}

/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn find_decapsulated(skb: *mut __sk_buff) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return word(MISFIT);
    };
    let frame = TcFrame::from_raw(skb);
    let rt = Tc::new(frame, scratch);
    let Some(key) = frame.tunnel_key() else {
        // Not of the slow-path device.
        return word(MISFIT);
    };
    spill(rt.scratch(), &tunnel::find(&rt, &key))
}
