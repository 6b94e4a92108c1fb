//! Whom a frame is counted for. The same rules in the kernel and on the host.

use crate::{
    reason::{Class, Reason},
    verdict::{Decision, Verdict},
};

/// The two directions of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Direction {
    /// From a port towards the overlay; to a peer.
    Encap = 0,
    /// From the overlay to a port; from a peer.
    Decap = 1,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Encap, Self::Decap];

    /// Index of the counter of object `number`.
    #[must_use]
    #[inline(always)]
    pub const fn index(self, number: u32) -> u32 {
        number.wrapping_mul(2).wrapping_add(self as u32)
    }
}

/// Where counts go: per-CPU maps in the kernel, ordinary ones in tests. `bytes` is the length of one frame.
pub trait Counters {
    /// One frame at this hook ended with `reason`.
    fn reason(&self, reason: Reason, bytes: usize);
    /// One frame of a segment went through.
    fn segment(&self, number: u32, direction: Direction, bytes: usize);
    /// One frame came from (encap) or went to (decap) a port.
    fn port(&self, slot: u32, direction: Direction, bytes: usize);
    /// One frame went to (encap) or came from (decap) a peer.
    fn peer(&self, number: u32, direction: Direction, bytes: usize);
}

/// Counts one frame of `frame_len` bytes that ended with `reason`: that of its verdict, or of what failed.
///
/// Segments, ports and peers count what went through. The copies of a flood are counted as they are made, with
/// [`Counters::port`] and [`Counters::peer`], by whoever makes them.
#[inline(always)]
pub fn count<C: Counters>(decision: &Decision, reason: Reason, frame_len: usize, counters: &C) {
    counters.reason(reason, frame_len);
    if reason.class() != Class::Delivered {
        return;
    }
    let bytes = decision.inner_len;
    let direction = if decision.from_port.is_some() {
        Direction::Encap
    } else {
        Direction::Decap
    };
    if let Some(number) = decision.segment {
        counters.segment(number, direction, bytes);
    }
    if let Some(slot) = decision.from_port {
        counters.port(slot, Direction::Encap, bytes);
    }
    if let Some(number) = decision.from_peer {
        counters.peer(number, Direction::Decap, bytes);
    }
    match &decision.verdict {
        Verdict::Encap(encap) => counters.peer(encap.peer, Direction::Encap, bytes),
        Verdict::ViaKernel(via) => counters.peer(via.peer, Direction::Encap, bytes),
        Verdict::Deliver(deliver) => counters.port(deliver.slot, Direction::Decap, bytes),
        Verdict::Flood(_) | Verdict::Leave(_) => {}
    }
}
