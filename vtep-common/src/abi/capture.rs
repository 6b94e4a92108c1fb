//! What `vtep capture` takes: which frames the daemon wants, the frames as the programs hand them over, and how many were left out.
//!
//! Only the programs that stand in for the others during a capture know of it.

use bytemuck::{Pod, Zeroable};

use super::{
    addr::VtepAddr,
    id::{PeerId, PortSlot, SegmentId},
    reason::{Class, Reason},
};

/// A frame that has met its end, as it is then, or as it was when it came to the hook: 2,048 bytes, numbers in host byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Captured {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// The number of the hook.
    pub hook: u32,
    /// The code of the reason.
    pub reason: u32,
    /// The segment, or none.
    pub segment: SegmentId,
    /// The port that it came from, or none.
    pub from_port: PortSlot,
    /// The peer that it came from, or none.
    pub from_peer: PeerId,
    /// The one port that it went to, or none.
    pub to_port: PortSlot,
    /// The one peer that it went to, or none.
    pub to_peer: PeerId,
    /// The interface that it came in by.
    pub ifindex: u32,
    /// Bytes of the inner frame, as they are counted.
    pub inner_len: u32,
    /// Bytes of the frame: at its end, of what was encapsulated, with the outer headers.
    pub frame_len: u32,
    /// The skb VLAN tag, as [`TooBig::tag`](super::too_big::TooBig::tag) makes it; zero for none.
    pub tag: u32,
    /// Bytes of payload in each segment of a GSO or GRO packet as it came; zero for an ordinary frame, and at its end.
    pub gso_size: u32,
    /// Not zero if `bytes`, `frame_len`, `tag` and `gso_size` are of the frame as it came to the hook.
    pub as_it_came: u32,
    /// How many of `bytes` are the frame's. The rest says nothing.
    pub len: u32,
    /// The frame, as far as it is handed over.
    pub bytes: [u8; Captured::MOST],
}

impl Captured {
    /// Bytes of a frame that are handed over, at most.
    pub const MOST: usize = 1984;

    /// The frame, as far as it was handed over.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        let len = usize::try_from(self.len).unwrap_or(usize::MAX);
        self.bytes.get(..len).unwrap_or(&self.bytes)
    }
}

const _: () = assert!(size_of::<Captured>() == 2048);

/// Which frames are wanted, and how many. What the programs cannot tell of a frame speaks for it: whoever reads it knows more.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct CaptureOrder {
    /// Until when, in nanoseconds of `CLOCK_MONOTONIC`: a daemon that dies asks for nothing any more.
    pub until: u64,
    /// A bit for each reason that is wanted, at its code.
    pub reasons: u64,
    /// How many may be taken since the capture began.
    pub allowed: u64,
    /// The peer that frames come from or go to; [`VtepAddr::UNSPECIFIED`] for any.
    pub peer: VtepAddr,
    /// The VNI; [`CaptureOrder::ANY_VNI`] for any.
    pub vni: u32,
    /// The interface that frames come by, or whose port they go to; zero for any. Floods may reach it.
    pub ifindex: u32,
    /// Not zero if frames are wanted as they came to the hook, and not as they are at their end.
    pub as_they_came: u32,
    /// Zero.
    pub pad: u32,
}

impl CaptureOrder {
    /// No VNI is as large.
    pub const ANY_VNI: u32 = u32::MAX;

    /// Nothing is wanted.
    pub const NOTHING: Self = Self {
        until: 0,
        reasons: 0,
        allowed: 0,
        peer: VtepAddr::UNSPECIFIED,
        vni: Self::ANY_VNI,
        ifindex: 0,
        as_they_came: 0,
        pad: 0,
    };

    /// The reasons of frames that are ours and are at their end.
    #[must_use]
    pub fn every_end() -> u64 {
        bits(|class| !matches!(class, Class::Passed | Class::Continued))
    }

    /// The reasons of frames that do not go through.
    #[must_use]
    pub fn every_drop() -> u64 {
        bits(|class| matches!(class, Class::Dropped | Class::Aborted))
    }

    /// One reason.
    #[must_use]
    pub const fn only(reason: Reason) -> u64 {
        1 << reason.code()
    }
}

fn bits(wanted: impl Fn(Class) -> bool) -> u64 {
    let wanted = Reason::ALL.iter().filter(|reason| wanted(reason.class()));
    wanted.fold(0, |bits, reason| bits | CaptureOrder::only(*reason))
}

const _: () = assert!(size_of::<CaptureOrder>() == 56);
// `reasons` has a bit for each.
const _: () = assert!(Reason::SLOTS <= u64::BITS);

/// What the programs count during a capture. The numbers index `CAPTURE_COUNTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CaptureCount {
    /// Frames that were taken.
    Taken = 0,
    /// Frames that were left out, because too many had been taken.
    OverRate = 1,
    /// Frames that were left out, because the ring buffer had no room.
    NoRoom = 2,
}

impl CaptureCount {
    /// How many there are.
    pub const PLACES: u32 = 3;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drop_is_an_end_and_what_goes_on_is_none() {
        let (ends, drops) = (CaptureOrder::every_end(), CaptureOrder::every_drop());

        assert_eq!(drops & !ends, 0);
        for (reason, end, drop) in [
            (Reason::Decapsulated, true, false),
            (Reason::UnknownVni, true, true),
            (Reason::Redirect, true, true),
            (Reason::LeftToTc, false, false),
            (Reason::NotVxlan, false, false),
        ] {
            let bit = CaptureOrder::only(reason);
            assert_eq!(
                (ends & bit != 0, drops & bit != 0),
                (end, drop),
                "{reason:?}"
            );
        }
    }
}
