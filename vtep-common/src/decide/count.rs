//! Whom a frame is counted for. The same rules in the kernel and on the host.

use crate::{
    abi::{
        counter::Direction,
        drops::Owners,
        id::{PeerId, PortSlot, SegmentId},
        peer::Peer,
        reason::Reason,
    },
    runtime::verdict::End,
    wire::ethernet,
};

/// Where counts go: per-CPU maps in the kernel, ordinary ones in tests. `bytes` is the length of one frame.
pub trait Counters {
    /// One frame at this hook ended with `reason`.
    fn reason(&self, reason: Reason, bytes: usize);
    /// One frame at this hook was dropped with `reason`: it is counted for each of its owners, and for nobody where there is none.
    fn dropped(&self, owners: Owners, reason: Reason, bytes: usize);
    /// One copy of a flooded frame was lost at this hook with `reason`.
    #[inline(always)]
    fn copy_dropped(&self, owners: Owners, reason: Reason, bytes: usize) {
        self.reason(reason, bytes);
        self.dropped(owners, reason, bytes);
    }
    /// One frame of a segment went through.
    fn segment(&self, segment: SegmentId, direction: Direction, bytes: usize);
    /// One frame came from (encap) or went to (decap) a port.
    fn port(&self, slot: PortSlot, direction: Direction, bytes: usize);
    /// One frame went to (encap) or came from (decap) a peer.
    fn peer(&self, peer: PeerId, direction: Direction, bytes: usize);
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
/// Segments, ports and peers count what went through, and by themselves what was dropped. The copies of a flood are counted as they are made, with
/// [`Counters::port`], [`Counters::peer`] and [`Counters::copy_dropped`], by whoever makes them.
/// `dropped` is called for a frame that is dropped: it counts the frame for its [`End::owners`], as [`Counters::dropped`] does.
#[inline(always)]
pub fn count_end<C: Counters>(end: &End, frame_len: usize, counters: &C, dropped: impl FnOnce()) {
    let End {
        account,
        reason,
        to_port,
        to_peer,
    } = *end;
    counters.reason(reason, frame_len);
    if reason.is_lost() {
        dropped();
        return;
    }
    if !reason.is_delivered() {
        return;
    }
    let bytes = account.inner_len as usize;
    let from_port = !account.from_port.is_none();
    let direction = if from_port {
        Direction::Encap
    } else {
        Direction::Decap
    };
    if !account.segment.is_none() {
        counters.segment(account.segment, direction, bytes);
    }
    if from_port {
        counters.port(account.from_port, Direction::Encap, bytes);
    }
    if !account.from_peer.is_none() {
        counters.peer(account.from_peer, Direction::Decap, bytes);
    }
    if !to_port.is_none() {
        counters.port(to_port, Direction::Decap, bytes);
    }
    if !to_peer.is_none() {
        counters.peer(to_peer, Direction::Encap, bytes);
    }
}
