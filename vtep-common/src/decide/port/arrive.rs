//! The first half of every decision at a port: which VNI the frame is for, and how it will look outside.

use crate::{
    abi::{id::PortSlot, segment::Segment},
    decide::{lookup::Lookup, verdict::TagEdit},
    frame::{ecn, flow, inner::Inner, packet::Meta},
    wire::{checksum::Sum, vlan},
};

/// A frame from a port as far as it has been understood, and the outer header that it gets: plain numbers.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    /// The port.
    pub(super) slot: PortSlot,
    /// The frame is a GSO packet if this is not zero.
    pub(super) gso_size: u32,
    /// Bytes of the frame as it is carried.
    pub(super) carried_len: u32,
    /// The same; of a GSO packet, of each segment.
    pub(super) segmented_len: u32,
    pub(super) vni: u32,
    pub(super) source_port: u16,
    pub(super) ttl: u8,
    pub(super) tos: u8,
    pub(super) dont_fragment: bool,
    /// IPv4 identification of the outer packet: none where it is never cut (RFC 6864 section 4), else that of the inner packet, so
    /// that packets in a row differ, or what else there is.
    pub(super) id: u16,
    pub(super) edit: Edit,
}

/// What happens to the outermost tag, as bits: see [`TagEdit`].
#[derive(Clone, Copy)]
pub(super) struct Edit(u8);

impl Edit {
    /// From its bits.
    #[inline(always)]
    pub(super) const fn new(bits: u8) -> Self {
        Self(bits)
    }

    /// The tag goes.
    pub(super) const STRIP: u8 = 1;
    /// The tag stands beside the frame and is carried in its bytes.
    pub(super) const CARRY: u8 = 1 << 1;
    /// There is a tag that stays.
    pub(super) const STAYS: u8 = 1 << 3;
    /// Behind the tag stands another one.
    pub(super) const SECOND: u8 = 1 << 4;
    /// The tag stands in the bytes of the frame, and goes.
    const STRIP_IN_BYTES: u8 = 1 << 5;
    /// No tag stays in the bytes of the frame: the kernel sees the payload for what it is.
    pub(super) const PLAIN: u8 = 1 << 6;

    /// The tag goes if it is one with a VLAN, and the VLAN's own mapping is known. Without a branch.
    #[inline(always)]
    pub(super) fn stripped_if(has_vlan: bool, lookup: &Lookup) -> Self {
        const { assert!(Self::STRIP == 1) };
        Self(u8::from(has_vlan) & lookup.has_place())
    }

    /// There is a tag that no mapping covers, or a second one behind the one that is covered, and the VNI carries none. Without a
    /// branch.
    #[inline(always)]
    pub(super) const fn covers_not(self, inner: &Inner, segment: &Segment) -> bool {
        const {
            assert!(Self::STRIP == 1 && Inner::TAGGED == 1 && Inner::SECOND_TAG == 1 << 3);
            assert!(Segment::INNER_VLAN_PASS == 1 << 2);
        };
        let tagged = inner.flags as u32;
        let second = (inner.flags >> 3) as u32;
        let passes = segment.flags >> 2;
        tagged & (!(self.0 as u32) | second) & !passes & 1 != 0
    }

    #[inline(always)]
    pub(super) const fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    #[inline(always)]
    pub(super) const fn strips(self) -> bool {
        self.has(Self::STRIP)
    }

    /// The lowest bit, moved to where `bit` is.
    #[inline(always)]
    const fn to(lowest: u8, bit: u8) -> u8 {
        (lowest & 1) << bit.trailing_zeros()
    }

    /// The bits without `STRIP` if the tag carries only a priority and tags are carried. Without a branch.
    #[inline(always)]
    pub(super) const fn unless_priority_passes(self, inner: &Inner, segment: &Segment) -> Self {
        const { assert!(Self::STRIP == 1 && Segment::INNER_VLAN_PASS == 1 << 2) };
        let only_priority = (inner.tag.vid() as u32).wrapping_sub(1) >> 31;
        let passes = segment.flags >> 2 & 1;
        let cleared = (only_priority & passes) as u8;
        Self(self.0 & !cleared)
    }

    /// The bits, with what the frame adds to them. Without a branch, as what follows.
    #[inline(always)]
    pub(super) const fn with_frame(self, inner: &Inner) -> u8 {
        const {
            assert!(Self::STRIP == 1 && Inner::TAGGED == 1);
            assert!(Inner::TAG_IN_BAND == 2 && Inner::SECOND_TAG == 8);
        };
        let in_bytes = inner.flags >> 1;
        let second = inner.flags >> 3;
        let stays = inner.flags & !self.0;
        self.0
            | Self::to(stays & !in_bytes, Self::CARRY)
            | Self::to(stays, Self::STAYS)
            | Self::to(second, Self::SECOND)
            | Self::to(in_bytes & self.0, Self::STRIP_IN_BYTES)
            | Self::to(!(in_bytes & stays), Self::PLAIN)
    }

    /// 1 if `bit` is set, else 0.
    #[inline(always)]
    pub(super) const fn count(self, bit: u8) -> u8 {
        (self.0 >> bit.trailing_zeros()) & 1
    }

    /// Bytes of a frame of `len` bytes as it is carried.
    #[inline(always)]
    pub(super) const fn carried(self, len: u32) -> u32 {
        const { assert!(vlan::LEN == 1 << 2) };
        len.wrapping_add((self.count(Self::CARRY) as u32) << 2)
            .wrapping_sub((self.count(Self::STRIP_IN_BYTES) as u32) << 2)
    }

    /// What happens to the tag.
    #[inline(always)]
    pub(super) const fn verdict(self) -> TagEdit {
        let carry = self.count(Self::CARRY);
        TagEdit::from_code(
            self.count(Self::STRIP)
                .wrapping_add(self.count(Self::STRIP_IN_BYTES))
                | (carry << 1)
                | carry,
        )
    }
}

impl Arrival {
    /// With a tag left in its bytes, the kernel does not take the frame for IP.
    #[inline(always)]
    pub(super) const fn is_ip(&self, inner: &Inner) -> bool {
        inner.is_ip() & self.edit.has(Edit::PLAIN)
    }

    /// The sum over the frame as it is carried, where [`Inner::CHECKSUM_PARTIAL`]. Without a branch.
    #[inline(always)]
    pub(super) fn sum(&self, inner: &Inner) -> u16 {
        let stays = u32::from(self.edit.count(Edit::STAYS));
        let tag = (u32::from(inner.tag.tpid) << 16) | u32::from(inner.tag.tci);
        Sum::default()
            .word(inner.sum)
            .dword(tag.wrapping_mul(stays))
            .fold()
    }

    /// The frame is a GSO packet.
    #[inline(always)]
    pub(super) const fn gso(&self) -> bool {
        self.gso_size != 0
    }
}

/// `one` if `size`, below 2^31, is not zero, else `other`. Without a branch.
#[inline(always)]
const fn select(size: u32, one: u32, other: u32) -> u32 {
    // All ones, or zero.
    let mask = 0_u32.wrapping_sub(size.wrapping_neg() >> 31);
    (one & mask) | (other & !mask)
}

/// What is known of a frame at a port once its VNI is.
pub(super) struct Arrived<'a> {
    /// Its headers.
    pub(super) inner: &'a Inner,
    /// What the tables know of it.
    pub(super) lookup: Lookup,
    /// The port.
    pub(super) slot: PortSlot,
    /// The VNI.
    pub(super) segment: &'a Segment,
    /// What becomes of its tag.
    pub(super) edit: Edit,
}

/// Finds the VNI of a frame: a [`Account`] and an [`Arrived`]. Leaves the function with what `act` makes of a frame that no VNI
/// takes.
///
/// A macro rather than a function that returns: no half-filled value may travel, see [`Act`](crate::decide::verdict::Act).
macro_rules! arrive {
    ($frame:expr, $meta:expr, $tables:expr, $act:expr => $account:ident, $arrived:ident) => {
        let (frame, meta, tables, act) = ($frame, $meta, $tables, $act);
        let mut account = $crate::decide::verdict::Account::nobody(frame.frame_len());
        let mut room = None;
        let Some(inner) = frame.inner(meta.tag, tables, &mut room) else {
            return act.leave(&account, $crate::abi::reason::Reason::Truncated);
        };

        // Which mapping covers the frame: the VLAN's own, else the port's untagged one where its VNI carries tags.
        let tagged = inner.has($crate::frame::inner::Inner::TAGGED);
        let has_vlan = tagged && inner.tag.tpid == $crate::wire::vlan::TYPE_8021Q;
        let vlan = if has_vlan { inner.tag.vid() } else { 0 };
        let mut lookup = tables.of_port($crate::abi::port::PortKey::new(meta.ifindex, vlan), inner);
        let edit = $crate::decide::port::arrive::Edit::stripped_if(has_vlan, &lookup);
        if has_vlan && !edit.strips() {
            lookup = tables.of_port($crate::abi::port::PortKey::new(meta.ifindex, 0), inner);
        }
        let unmapped = if tagged {
            $crate::abi::reason::Reason::VlanUnmapped
        } else {
            $crate::abi::reason::Reason::NotAPort
        };
        let Some(slot) = lookup.slot() else {
            return act.leave(&account, unmapped);
        };
        let Some(port) = tables.port(slot) else {
            return act.leave(&account, unmapped);
        };
        let number = port.segment;
        let Some(segment) = tables.segment(number) else {
            return act.leave(&account, unmapped);
        };
        account.from_port = slot;
        account.segment = number;

        let second_tag = inner.has($crate::frame::inner::Inner::SECOND_TAG);
        let tags_end = ($crate::wire::ethernet::LEN + $crate::wire::vlan::LEN).wrapping_add(inner.in_band_tag_len());
        if second_tag && frame.frame_len() < tags_end {
            return act.leave(&account, $crate::abi::reason::Reason::Truncated);
        }
        // A tag that no mapping covers, or a second one behind the one that is covered.
        if edit.covers_not(inner, segment) {
            return act.leave(&account, $crate::abi::reason::Reason::VlanUnmapped);
        }
        if inner.source.is_group() || inner.source.is_zero() {
            return act.leave(&account, $crate::abi::reason::Reason::InvalidSourceMac);
        }

        // A tag that carries only a priority belongs to the untagged port: it goes, but for where tags are carried.
        let edit = edit.unless_priority_passes(inner, segment);
        let edit = $crate::decide::port::arrive::Edit::new(frame.opaque(edit.with_frame(inner)));
        let $account = account;
        let $arrived = $crate::decide::port::arrive::Arrived {
            inner,
            lookup,
            slot,
            segment,
            edit,
        };
    };
}
pub(super) use arrive;

impl Arrival {
    /// How the frame will look outside.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "frames and headers are shorter than 2^32 bytes"
    )]
    pub(super) fn new(frame_len: usize, meta: &Meta, arrived: &Arrived<'_>) -> Self {
        let Arrived {
            inner,
            slot,
            segment,
            edit,
            ..
        } = *arrived;
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
            slot,
            gso_size: meta.gso_size,
            carried_len: edit.carried(frame_len),
            segmented_len: edit.carried(plain_len),
            vni: segment.vni,
            source_port,
            ttl,
            tos,
            dont_fragment,
            id,
            edit,
        }
    }
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
    let inherits = |flag: u32, own: u8, set: u8| {
        select(segment.flags & flag, u32::from(own), u32::from(set)) as u8
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
