//! What global functions return that find out what is known of a frame, and what they spill.

use vtep_common::{
    abi::reason::Reason,
    decide::port::ingress,
    frame::{inner::Inner, packet::PacketRead as _},
    runtime::{
        Runtime, Slot,
        arrival::{Carried, Ingress},
    },
};

use crate::runtime::scratch::{Scratch, Spilled};

/// The headers of a frame from a port, and what else is known of it.
pub type FoundIngress<'a> = (Spilled<'a, Inner>, Spilled<'a, Ingress>);
/// The same, and how the frame is carried.
pub type FoundCarried<'a> = (FoundIngress<'a>, Spilled<'a, Carried>);

/// Returned where something was found, and spilled.
pub const FOUND: u64 = 0;

/// A reason why nothing was found, as a word which is not [`FOUND`].
#[inline(always)]
pub const fn word(reason: Reason) -> u64 {
    reason.code() as u64 + 1
}

/// The reason of a word.
///
/// # Safety
///
/// [`word`] has made it.
#[inline(always)]
pub const unsafe fn reason(word: u64) -> Reason {
    // SAFETY: the caller vouches for it that this is the code of a reason.
    unsafe { core::mem::transmute::<u32, Reason>(word as u32 - 1) }
}

/// Spills what was found.
#[inline(always)]
pub fn spill<T: Slot>(scratch: &Scratch, found: &Result<T, Reason>) -> u64 {
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
pub fn spill_carried(scratch: &Scratch, found: &Result<(Ingress, Carried), Reason>) -> u64 {
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
pub fn ingress<R: Runtime>(rt: &R) -> Result<Ingress, Reason> {
    let inner = ingress::read(rt)?;
    let inner = rt.spill(&inner);
    Ok(ingress::find(rt, &inner)?.0)
}

/// The same, and how it is carried.
#[inline(always)]
pub fn carried<R: Runtime>(rt: &R) -> Result<(Ingress, Carried), Reason> {
    let inner = ingress::read(rt)?;
    let inner = rt.spill(&inner);
    let (ingress, segment) = ingress::find(rt, &inner)?;
    let carried = Carried::new(rt.frame().frame_len(), rt.meta(), &inner, &ingress, segment);
    Ok((ingress, carried))
}
