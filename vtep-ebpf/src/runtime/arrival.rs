//! What global functions return that find out what is known of a frame, and what they spill.

use vtep_common::{
    abi::{
        id::{PeerId, PortSlot, SegmentId},
        map::MAX_SEGMENTS,
        reason::Reason,
    },
    decide::port::ingress,
    frame::{inner::Inner, packet::PacketRead as _},
    runtime::{
        Runtime, Slot,
        arrival::{Carried, Ingress},
        verdict::Refused,
    },
};

use crate::runtime::scratch::{Scratch, Spilled};

/// The headers of a frame from a port, and what else is known of it.
pub type FoundIngress<'a> = (Spilled<'a, Inner>, Spilled<'a, Ingress>);
/// The same, and how the frame is carried.
pub type FoundCarried<'a> = (FoundIngress<'a>, Spilled<'a, Carried>);

/// Returned where something was found, and spilled.
pub const FOUND: u64 = 0;

/// Bits of a word that hold the reason, and those of the segment above them; the rest holds the port or the peer.
const REASON_BITS: u32 = 8;
const SEGMENT_BITS: u32 = 24;
const _: () = assert!(MAX_SEGMENTS < 1 << SEGMENT_BITS && Reason::SLOTS < 1 << REASON_BITS);

/// Why nothing was found, and for whom, as a word which is not [`FOUND`].
#[inline(always)]
pub const fn word(reason: Reason, segment: SegmentId, number: u32) -> u64 {
    // `NONE` loses bits that are all set, and gets them back.
    let segment = (segment.get() as u64) << (u32::BITS - SEGMENT_BITS) & 0xffff_ffff;
    (number as u64) << u32::BITS | segment | (reason.code() as u64 + 1)
}

/// Nothing was found, and nobody knows whose the frame is.
#[inline(always)]
pub const fn word_of_nobody(reason: Reason) -> u64 {
    word(reason, SegmentId::NONE, u32::MAX)
}

/// What a word says of a frame from a port.
///
/// # Safety
///
/// [`word`] has made it.
#[inline(always)]
pub unsafe fn refused_port(word: u64) -> Refused {
    // SAFETY: the caller vouches for it.
    let (reason, segment) = unsafe { parts(word) };
    Refused::from_port(reason, PortSlot::new((word >> u32::BITS) as u32), segment)
}

/// What a word says of a frame from a peer.
///
/// # Safety
///
/// [`word`] has made it.
#[inline(always)]
pub unsafe fn refused_peer(word: u64) -> Refused {
    // SAFETY: the caller vouches for it.
    let (reason, segment) = unsafe { parts(word) };
    Refused::from_peer(reason, PeerId::new((word >> u32::BITS) as u32), segment)
}

/// The reason and the segment of a word.
///
/// # Safety
///
/// [`word`] has made it.
#[inline(always)]
unsafe fn parts(word: u64) -> (Reason, SegmentId) {
    let code = (word as u32 & ((1 << REASON_BITS) - 1)) - 1;
    // SAFETY: the caller vouches for it that this is the code of a reason.
    let reason = unsafe { core::mem::transmute::<u32, Reason>(code) };
    // With the sign, so that all bits set stay so.
    let segment = (word as u32).cast_signed() >> REASON_BITS;
    (reason, SegmentId::new(segment.cast_unsigned()))
}

/// Spills what was found.
#[inline(always)]
pub fn spill<T: Slot>(scratch: &Scratch, found: &Result<T, Refused>) -> u64 {
    match found {
        Ok(found) => {
            scratch.spill(found);
            FOUND
        }
        Err(refused) => word_of(refused),
    }
}

/// The word of what was refused.
#[inline(always)]
const fn word_of(refused: &Refused) -> u64 {
    // One of the two is nobody: all bits set.
    let number = refused.port.get() & refused.peer.get();
    word(refused.reason, refused.segment, number)
}

/// As [`spill`], with how the frame is carried.
#[inline(always)]
pub fn spill_carried(scratch: &Scratch, found: &Result<(Ingress, Carried), Refused>) -> u64 {
    match found {
        Ok((ingress, carried)) => {
            scratch.spill(ingress);
            scratch.spill(carried);
            FOUND
        }
        Err(refused) => word_of(refused),
    }
}

/// Finds the VNI of a frame from a port, with its headers spilled.
#[inline(always)]
pub fn ingress<R: Runtime>(rt: &R) -> Result<Ingress, Refused> {
    let inner = ingress::read(rt)?;
    let inner = rt.spill(&inner);
    Ok(ingress::find(rt, &inner)?.0)
}

/// The same, and how it is carried.
#[inline(always)]
pub fn carried<R: Runtime>(rt: &R) -> Result<(Ingress, Carried), Refused> {
    let inner = ingress::read(rt)?;
    let inner = rt.spill(&inner);
    let (ingress, segment) = ingress::find(rt, &inner)?;
    let carried = Carried::new(rt.frame().frame_len(), rt.meta(), &inner, &ingress, segment);
    Ok((ingress, carried))
}
