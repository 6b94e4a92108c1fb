//! How a frame from a port is carried: its bytes, and the outer header that it gets.

use crate::{
    abi::{flags::SegmentFlags, peer::Peer, segment::Segment},
    frame::{ecn, flow, inner::Inner, packet::Meta},
    runtime::arrival::{Carried, Ingress},
    wire::{checksum::Sum, ethernet},
};

impl Carried {
    /// How the frame will look outside.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "frames and headers are shorter than 2^32 bytes"
    )]
    #[must_use]
    pub fn new(
        frame_len: usize,
        meta: &Meta,
        inner: &Inner,
        ingress: &Ingress,
        segment: &Segment,
    ) -> Self {
        let Ingress { slot, edit, .. } = ingress;
        let frame_len = frame_len as u32;
        let segment_len = inner.headers_len.wrapping_add(meta.gso_size);
        let plain_len = select(meta.gso_size, segment_len, frame_len);
        let (ttl, tos, dont_fragment) = outer_header(segment, inner);
        let source_port = flow::port(inner.hash, segment.source_port_min, segment.source_port_max);
        let id = if dont_fragment {
            0
        } else if inner.has(Inner::V4) {
            inner.id
        } else {
            source_port
        };
        Self {
            slot: *slot,
            gso_size: meta.gso_size,
            len: edit.carried_len(frame_len),
            segmented_len: edit.carried_len(plain_len),
            vni: segment.vni,
            source_port,
            ttl,
            tos,
            dont_fragment,
            id,
            edit: *edit,
        }
    }

    /// The same for a GSO packet whose segments repeat `len` bytes of headers.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a length of headers")]
    pub(super) const fn with_headers(&self, len: usize) -> Self {
        let segment_len = self.gso_size.wrapping_add(len as u32);
        Self {
            segmented_len: self.edit.carried_len(segment_len),
            ..*self
        }
    }

    /// With a tag left in its bytes, the kernel does not take the frame for IP.
    #[inline(always)]
    pub(super) const fn is_ip(&self, inner: &Inner) -> bool {
        inner.is_ip() & self.edit.is_plain()
    }

    /// The sum over the frame as it is carried, where [`Inner::CHECKSUM_PARTIAL`].
    #[inline(always)]
    pub(super) fn sum(&self, inner: &Inner) -> u16 {
        Sum::default()
            .word(inner.sum)
            .dword(self.edit.words_of_carried(inner))
            .fold()
    }

    /// The frame is a GSO packet.
    #[inline(always)]
    pub(super) const fn is_gso(&self) -> bool {
        self.gso_size != 0
    }

    /// The frame, or each that it is segmented into, does not fit into the MTU towards this peer, which is known where the peer is
    /// resolved.
    #[inline(always)]
    pub(super) fn is_too_big_for(&self, peer: &Peer) -> bool {
        let room = u64::from(peer.mtu)
            .wrapping_sub(self.segmented_len.wrapping_add(overhead(peer)).into());
        // The uppermost bit says that there is less than none. One branch for both.
        let resolved = u64::from(peer.flags.bits() >> Peer::RESOLVED.bits().trailing_zeros());
        room >> 63 & resolved & 1 != 0
    }

    /// Largest IP packet that fits into the MTU towards this peer, of a frame whose own begins at `l3`. `None` where that is none that a link
    /// may have.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an offset within the headers"
    )]
    pub(super) const fn mtu_towards(&self, peer: &Peer, l3: usize) -> Option<u32> {
        /// Smallest MTU of a link (RFC 791 section 3.2).
        const LEAST: u32 = 68;
        let before = overhead(peer).wrapping_add(self.edit.carried_len(l3 as u32));
        match peer.mtu.checked_sub(before) {
            Some(mtu) if mtu >= LEAST => Some(mtu),
            Some(_) | None => None,
        }
    }

    /// The 16-bit length field of the outer header holds the length.
    #[inline(always)]
    pub(super) fn fits_length_field(&self, peer: &Peer) -> bool {
        self.len <= u32::from(u16::MAX).wrapping_sub(overhead(peer))
    }
}

/// Bytes that encapsulation adds within the outer IP packet, where the peer is resolved.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the length of a header")]
pub(crate) const fn overhead(peer: &Peer) -> u32 {
    peer.template_len.wrapping_sub(ethernet::LEN as u32)
}

/// `one` if `size`, below 2^31, is not zero, else `other`. Without a branch.
#[inline(always)]
const fn select(size: u32, one: u32, other: u32) -> u32 {
    // All ones, or zero.
    let mask = 0_u32.wrapping_sub(size.wrapping_neg() >> 31);
    (one & mask) | (other & !mask)
}

/// Outer TTL, TOS and DF, as the VNI's settings and the inner packet say.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "both come from bytes")]
fn outer_header(segment: &Segment, inner: &Inner) -> (u8, u8, bool) {
    if !inner.is_ip() {
        return (
            segment.ttl,
            segment.tos & !ecn::MASK,
            segment.has(Segment::DF_SET),
        );
    }
    let inherits = |flag: SegmentFlags, own: u8, set: u8| {
        select(
            segment.flags.of(flag).bits(),
            u32::from(own),
            u32::from(set),
        ) as u8
    };
    let ttl = inherits(Segment::TTL_INHERIT, inner.ttl, segment.ttl);
    let tos = inherits(Segment::TOS_INHERIT, inner.tos, segment.tos);
    let dont_fragment = if segment.has(Segment::DF_INHERIT) {
        inner.has(Inner::DONT_FRAGMENT)
    } else {
        segment.has(Segment::DF_SET)
    };
    (ttl, ecn::outer_tos(tos, inner.tos), dont_fragment)
}
