//! Whom a frame is counted for. The same rules in the kernel and on the host.

use crate::{
    abi::{counter::Direction, id::NONE, peer::Peer, reason::Reason},
    decide::verdict::{Decision, Verdict, Who},
    wire::ethernet,
};

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

/// What became of one frame.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Whom it is counted for.
    pub who: Who,
    /// Its reason: that of its verdict, or of what failed.
    pub reason: Reason,
    /// Slot of the one port that it went to, or [`NONE`].
    pub to_port: u32,
    /// Number of the one peer that it went to, or [`NONE`].
    pub to_peer: u32,
}

/// True if a copy of a flooded frame can go to this peer: see [`Reason::CopyLost`].
#[must_use]
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a constant")]
pub fn copy_goes(peer: &Peer, carried_len: u32) -> bool {
    // The Ethernet header of the template is none of the IP packet's.
    let packet_len = carried_len
        .wrapping_add(peer.template_len)
        .wrapping_sub(ethernet::LEN as u32);
    let fits = peer.mtu == 0 || packet_len <= peer.mtu;
    fits && !peer.has(Peer::UNREACHABLE)
}

/// Counts one frame of `frame_len` bytes.
///
/// Segments, ports and peers count what went through. The copies of a flood are counted as they are made, with
/// [`Counters::port`] and [`Counters::peer`], by whoever makes them.
#[inline(always)]
pub fn count_end<C: Counters>(end: &End, frame_len: usize, counters: &C) {
    let End {
        who,
        reason,
        to_port,
        to_peer,
    } = *end;
    counters.reason(reason, frame_len);
    if !reason.is_delivered() {
        return;
    }
    let bytes = who.inner_len;
    let from_port = who.from_port != NONE;
    let direction = if from_port {
        Direction::Encap
    } else {
        Direction::Decap
    };
    if who.segment != NONE {
        counters.segment(who.segment, direction, bytes);
    }
    if from_port {
        counters.port(who.from_port, Direction::Encap, bytes);
    }
    if who.from_peer != NONE {
        counters.peer(who.from_peer, Direction::Decap, bytes);
    }
    if to_port != NONE {
        counters.port(to_port, Direction::Decap, bytes);
    }
    if to_peer != NONE {
        counters.peer(to_peer, Direction::Encap, bytes);
    }
}

/// Counts one frame of `frame_len` bytes for which this was decided and which ended with `reason`.
pub fn count<C: Counters>(decision: &Decision, reason: Reason, frame_len: usize, counters: &C) {
    let Decision {
        verdict,
        segment,
        from_port,
        from_peer,
        inner_len,
        notes: _,
        destination: _,
    } = *decision;
    let (to_port, to_peer) = match verdict {
        Verdict::Encap(encap) => (NONE, encap.peer),
        Verdict::ViaKernel(via) => (NONE, via.peer),
        Verdict::Deliver(deliver) => (deliver.slot, NONE),
        Verdict::Answer(_) => (from_port, NONE),
        Verdict::Flood(_)
        | Verdict::FloodPorts(_)
        | Verdict::Neigh
        | Verdict::Rest
        | Verdict::Found(_)
        | Verdict::Leave(_) => (NONE, NONE),
    };
    let who = Who {
        segment,
        from_port,
        from_peer,
        inner_len,
    };
    count_end(
        &End {
            who,
            reason,
            to_port,
            to_peer,
        },
        frame_len,
        counters,
    );
}
