//! The decision on a frame that arrives at a port: from a VM, a container or a host behind the hypervisor.

use crate::{
    addr::{Vni, VtepAddr},
    ecn, flow,
    inner::Inner,
    maps::{FdbKey, FdbValue, Peer, Port, PortKey, Segment},
    packet::{Meta, PacketRead},
    reason::Reason,
    tables::{Tables, place},
    template::Fields,
    verdict::{Act, Decision, Deliver, Encap, Flood, Record, TagEdit, ViaKernel, Who},
    wire::{checksum::Sum, ethernet, vlan},
};

/// Where the frame is looked at, which says what can be done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// XDP: single copies of plain frames; the rest is left to TC.
    Xdp,
    /// TC: everything.
    Tc,
}

/// A frame from a port as far as it has been understood, and the outer header that it gets: plain numbers.
#[derive(Clone, Copy)]
struct Arrival {
    /// Slot of the port.
    slot: u32,
    /// The frame is a super-frame if this is not zero.
    gso_size: u32,
    /// Bytes of the frame as it is carried.
    carried_len: u32,
    /// The same; of a super-frame, of each frame that it is cut into.
    cut_len: u32,
    vni: u32,
    source_port: u16,
    ttl: u8,
    tos: u8,
    dont_fragment: bool,
    edit: Edit,
}

/// What happens to the outermost tag, as bits: see [`TagEdit`].
#[derive(Clone, Copy)]
struct Edit(u8);

impl Edit {
    /// The tag goes.
    const STRIP: u8 = 1;
    /// The tag stands beside the frame and is carried in its bytes.
    const CARRY: u8 = 1 << 1;
    /// There is a tag that stays.
    const STAYS: u8 = 1 << 3;
    /// Behind the tag stands another one.
    const SECOND: u8 = 1 << 4;
    /// The tag stands in the bytes of the frame, and goes.
    const STRIP_IN_BYTES: u8 = 1 << 5;
    /// No tag stays in the bytes of the frame: the kernel sees the payload for what it is.
    const PLAIN: u8 = 1 << 6;

    #[inline(always)]
    const fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    #[inline(always)]
    const fn strips(self) -> bool {
        self.has(Self::STRIP)
    }

    /// The lowest bit, moved to where `bit` is.
    #[inline(always)]
    const fn to(lowest: u8, bit: u8) -> u8 {
        (lowest & 1) << bit.trailing_zeros()
    }

    /// The bits without `STRIP` if the tag carries only a priority and tags are carried. Without a branch.
    #[inline(always)]
    const fn unless_priority_passes(self, inner: &Inner, segment: &Segment) -> Self {
        const { assert!(Self::STRIP == 1 && Segment::INNER_VLAN_PASS == 1 << 2) };
        let only_priority = (inner.tag.vid() as u32).wrapping_sub(1) >> 31;
        let passes = segment.flags >> 2 & 1;
        let cleared = (only_priority & passes) as u8;
        Self(self.0 & !cleared)
    }

    /// The bits, with what the frame adds to them. Without a branch, as what follows.
    #[inline(always)]
    const fn with_frame(self, inner: &Inner) -> u8 {
        const {
            assert!(Self::STRIP == 1 && Inner::TAGGED == 1);
            assert!(Inner::TAG_IN_BYTES == 2 && Inner::SECOND_TAG == 8);
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
    const fn count(self, bit: u8) -> u8 {
        (self.0 >> bit.trailing_zeros()) & 1
    }

    /// Bytes of a frame of `len` bytes as it is carried.
    #[inline(always)]
    const fn carried(self, len: u32) -> u32 {
        const { assert!(vlan::LEN == 1 << 2) };
        len.wrapping_add((self.count(Self::CARRY) as u32) << 2)
            .wrapping_sub((self.count(Self::STRIP_IN_BYTES) as u32) << 2)
    }

    /// What happens to the tag.
    #[inline(always)]
    const fn verdict(self) -> TagEdit {
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
    /// The frame is a super-frame.
    #[inline(always)]
    const fn merged(&self) -> bool {
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

/// Decides on a frame at a port.
pub fn decide_port<P, T>(frame: &P, meta: &Meta, stage: Stage, tables: &T) -> Decision
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    decide(frame, meta, stage, tables, &Record)
}

/// Decides on a frame at a port, and acts: encapsulate, deliver, flood or drop.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "frames and headers are shorter than 2^32 bytes"
)]
pub fn decide<P, T, A>(frame: &P, meta: &Meta, stage: Stage, tables: &T, act: &A) -> A::Outcome
where
    P: PacketRead + ?Sized,
    T: Tables,
    A: Act,
{
    let mut who = Who::nobody(frame.frame_len());
    let Some(inner) = Inner::read(frame, 0, meta.tag) else {
        return act.leave(&who, Reason::Truncated);
    };
    let inner = tables.put_down::<{ place::INNER }, _>(&inner);

    // Which mapping covers the frame: the VLAN's own, else the port's untagged one where its VNI carries tags.
    let tagged = inner.has(Inner::TAGGED);
    let by_vlan = if tagged && inner.tag.tpid == vlan::TYPE_8021Q {
        tables.port_slot(&PortKey::new(meta.ifindex, inner.tag.vid()))
    } else {
        None
    };
    let edit = Edit(frame.blur(if by_vlan.is_some() { Edit::STRIP } else { 0 }));
    let slot = by_vlan.or_else(|| tables.port_slot(&PortKey::new(meta.ifindex, 0)));
    let unmapped = if tagged {
        Reason::VlanUnmapped
    } else {
        Reason::NotAPort
    };
    let Some(slot) = slot else {
        return act.leave(&who, unmapped);
    };
    let Some(port) = tables.port(slot) else {
        return act.leave(&who, unmapped);
    };
    let number = port.segment;
    let Some(segment) = tables.segment(number) else {
        return act.leave(&who, unmapped);
    };
    who.from_port = slot;
    who.segment = number;

    let second_tag = inner.has(Inner::SECOND_TAG);
    let tags_end = (ethernet::LEN + vlan::LEN).wrapping_add(inner.tag_in_bytes_len());
    if second_tag && frame.frame_len() < tags_end {
        return act.leave(&who, Reason::Truncated);
    }
    // A tag that no mapping covers, or a second one behind the one that is covered.
    if tagged && (!edit.strips() || second_tag) && !segment.has(Segment::INNER_VLAN_PASS) {
        return act.leave(&who, Reason::VlanUnmapped);
    }
    if inner.source.is_group() || inner.source.is_zero() {
        return act.leave(&who, Reason::InvalidSourceMac);
    }

    // A tag that carries only a priority belongs to the untagged port: it goes, but for where tags are carried.
    let edit = edit.unless_priority_passes(inner, segment);
    let edit = Edit(frame.blur(edit.with_frame(inner)));
    let frame_len = frame.frame_len() as u32;
    let segment_len = inner.headers_len.wrapping_add(meta.gso_size);
    let uncut_len = select(meta.gso_size, segment_len, frame_len);
    let (ttl, tos, dont_fragment) = outer_header(segment, inner);
    let arrival = Arrival {
        slot,
        gso_size: meta.gso_size,
        carried_len: edit.carried(frame_len),
        cut_len: edit.carried(uncut_len),
        vni: segment.vni,
        source_port: flow::port(inner.hash, segment.source_port_min, segment.source_port_max),
        ttl,
        tos,
        dont_fragment,
        edit,
    };
    let arrival = tables.put_down::<{ place::ARRIVAL }, _>(&arrival);
    let group = inner.destination.is_group();
    let mut list = number;
    if let Some(found) = tables.fdb(&FdbKey::new(number, inner.destination)) {
        match found.kind {
            FdbValue::PEER => {
                return match tables.peer(found.target) {
                    Some(peer) => {
                        encap(stage, inner, arrival, &who, found.target, peer, tables, act)
                    }
                    None => act.leave(&who, Reason::TableGap),
                };
            }
            FdbValue::PORT => {
                return match tables.port(found.target) {
                    Some(port) => {
                        deliver(stage, arrival, &who, found.target, port, meta.ifindex, act)
                    }
                    None => act.leave(&who, Reason::TableGap),
                };
            }
            _ => list = found.target,
        }
    }
    if !segment.has(Segment::FLOODS) {
        return act.leave(
            &who,
            if group {
                Reason::FloodOff
            } else {
                Reason::NoFdbEntry
            },
        );
    }
    flood(stage, arrival, &who, list, tables, act)
}

/// To a local port of the VNI.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "frames and headers are shorter than 2^32 bytes"
)]
fn deliver<A: Act>(
    stage: Stage,
    arrival: &Arrival,
    who: &Who,
    slot: u32,
    port: &Port,
    from_ifindex: u32,
    act: &A,
) -> A::Outcome {
    if slot == arrival.slot {
        return act.leave(who, Reason::SamePort);
    }
    if !arrival.merged()
        && arrival.carried_len > port.mtu.wrapping_add((ethernet::LEN + vlan::LEN) as u32)
    {
        return act.leave(who, Reason::TooBig);
    }
    // Redirected back to the interface it came from (another VLAN of a trunk), and to whatever XDP cannot reach, TC does it.
    if stage == Stage::Xdp {
        return act.leave(who, Reason::LeftToTc);
    }
    act.deliver(
        who,
        &Deliver {
            slot,
            ifindex: port.ifindex,
            vlan: port.vlan,
            to_other_end: port.has(Port::PEER_TARGET) && port.ifindex != from_ifindex,
            strip: 0,
            tag: arrival.edit.verdict(),
        },
    )
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

/// Adds the carried tag to the sum over the frame. Without a branch.
#[inline(always)]
fn carried_sum(inner: &Inner, arrival: &Arrival) -> u16 {
    let stays = u32::from(arrival.edit.count(Edit::STAYS));
    let tag = (u32::from(inner.tag.tpid) << 16) | u32::from(inner.tag.tci);
    Sum::default()
        .word(inner.sum)
        .dword(tag.wrapping_mul(stays))
        .fold()
}

/// To a VTEP.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "frames and headers are shorter than 2^32 bytes"
)]
#[expect(
    clippy::too_many_arguments,
    reason = "everything that a decision stands on"
)]
fn encap<T: Tables, A: Act>(
    stage: Stage,
    inner: &Inner,
    arrival: &Arrival,
    who: &Who,
    number: u32,
    peer: &Peer,
    tables: &T,
    act: &A,
) -> A::Outcome {
    let Arrival {
        vni,
        source_port,
        ttl,
        tos,
        dont_fragment,
        ..
    } = *arrival;
    let v6 = peer.has(Peer::IPV6);
    let checksum = peer.has(Peer::CHECKSUM);
    let resolved = peer.has(Peer::RESOLVED);
    if peer.has(Peer::UNREACHABLE) {
        return act.leave(who, Reason::NoRoute);
    }
    // Bytes that encapsulation adds within the outer IP packet, where the peer is resolved.
    let overhead = peer.template_len.wrapping_sub(ethernet::LEN as u32);
    if resolved && arrival.cut_len.wrapping_add(overhead) > peer.mtu {
        return act.leave(
            who,
            if stage == Stage::Xdp {
                Reason::LeftToTc
            } else {
                Reason::TooBig
            },
        );
    }
    let id = if dont_fragment {
        0
    } else if inner.has(Inner::V4) {
        inner.id
    } else {
        source_port
    };
    let Some(vni) = Vni::new(vni) else {
        return act.leave(who, Reason::TableGap);
    };
    let encap = Encap {
        peer: number,
        ifindex: peer.ifindex,
        v6,
        // With a tag left in its bytes, the kernel does not take the frame for IP.
        inner_ip: inner.is_ip() & arrival.edit.has(Edit::PLAIN),
        fields: Fields {
            tos,
            ttl,
            dont_fragment,
            id,
            source_port,
            vni,
            inner_len: arrival.carried_len,
            inner_sum: checksum.then_some(carried_sum(inner, arrival)),
        },
        tag: arrival.edit.verdict(),
    };
    let encap = tables.put_down::<{ place::VERDICT }, _>(&encap);
    // In place where the next hop is known, the 16-bit length field holds the length, the kernel does not move a second tag
    // away when the first goes, and the checksum can be had from the headers alone.
    let in_place = resolved
        && arrival.carried_len <= u32::from(u16::MAX).wrapping_sub(overhead)
        && !(arrival.edit.has(Edit::SECOND) && arrival.edit.has(Edit::STRIP | Edit::CARRY))
        && (!checksum || (inner.has(Inner::PENDING) && !arrival.merged()));
    if stage == Stage::Xdp {
        // XDP keeps nothing beside the frame: what offload is still to finish would stay unfinished.
        if !in_place || inner.has(Inner::PENDING) || checksum || !peer.has(Peer::XDP_TARGET) {
            return act.leave(who, Reason::LeftToTc);
        }
    }
    act.encap(who, encap, peer, in_place)
}

/// To many.
#[inline(always)]
fn flood<T: Tables, A: Act>(
    stage: Stage,
    arrival: &Arrival,
    who: &Who,
    list: u32,
    tables: &T,
    act: &A,
) -> A::Outcome {
    if stage == Stage::Xdp {
        return act.leave(who, Reason::LeftToTc);
    }
    // The port that the frame came from is on the list too.
    match tables.flood_list(list) {
        Some(targets) if targets.len > 1 => {}
        Some(_) | None => return act.leave(who, Reason::NowhereToFlood),
    }
    act.flood(
        who,
        &Flood {
            list,
            from: arrival.slot,
            carried_len: arrival.cut_len,
            outer: ViaKernel {
                peer: 0,
                remote: VtepAddr::from_v4_be(0),
                local: VtepAddr::from_v4_be(0),
                vni: arrival.vni,
                tos: arrival.tos,
                ttl: arrival.ttl,
                dont_fragment: arrival.dont_fragment,
                checksum: false,
                source_port: arrival.source_port,
                tag: arrival.edit.verdict(),
                reason: Reason::Flooded,
            },
        },
    )
}
