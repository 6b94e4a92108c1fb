//! The decision on a frame that arrives at a port: from a VM, a container or a host behind the hypervisor.

use crate::{
    addr::{Vni, VtepAddr},
    ecn, flow,
    inner::Inner,
    maps::{FdbKey, FdbValue, Peer, Port, PortKey, Segment},
    packet::{Meta, PacketRead},
    reason::Reason,
    tables::{Tables, place},
    template::{self, Fields},
    verdict::{Act, Decision, Deliver, Encap, Flood, NONE, Record, TagEdit, ViaKernel, Who},
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
    /// The tag stands in the bytes of the frame.
    const IN_BYTES: u8 = 1 << 2;
    /// There is a tag that stays.
    const STAYS: u8 = 1 << 3;
    /// Behind the tag stands another one.
    const SECOND: u8 = 1 << 4;

    #[inline(always)]
    const fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    #[inline(always)]
    const fn strips(self) -> bool {
        self.has(Self::STRIP)
    }

    /// The bits, with what the frame adds to them.
    #[inline(always)]
    const fn with_frame(self, inner: &Inner, second_tag: bool) -> u8 {
        let mut bits = self.0;
        if inner.has(Inner::TAG_IN_BYTES) {
            bits |= Self::IN_BYTES;
        }
        if inner.has(Inner::TAGGED) && !self.strips() {
            bits |= Self::STAYS;
            if !inner.has(Inner::TAG_IN_BYTES) {
                bits |= Self::CARRY;
            }
        }
        if second_tag {
            bits |= Self::SECOND;
        }
        bits
    }

    /// Bytes of a frame of `len` bytes as it is carried.
    #[inline(always)]
    const fn carried(self, len: u32) -> u32 {
        if self.has(Self::CARRY) {
            len.wrapping_add(vlan::LEN as u32)
        } else if self.strips() && self.has(Self::IN_BYTES) {
            len.wrapping_sub(vlan::LEN as u32)
        } else {
            len
        }
    }

    #[inline(always)]
    const fn verdict(self) -> TagEdit {
        if self.has(Self::CARRY) {
            TagEdit::Carry
        } else if !self.strips() {
            TagEdit::Leave
        } else if self.has(Self::IN_BYTES) {
            TagEdit::StripInBytes
        } else {
            TagEdit::StripBeside
        }
    }
}

impl Arrival {
    /// The frame is a super-frame.
    #[inline(always)]
    const fn merged(&self) -> bool {
        self.gso_size != 0
    }
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
    let mut slot = NONE;
    let mut edit = 0;
    if tagged && inner.tag.tpid == vlan::TYPE_8021Q {
        slot = tables
            .port_slot(&PortKey::new(meta.ifindex, inner.tag.vid()))
            .unwrap_or(NONE);
        if slot != NONE {
            edit = Edit::STRIP;
        }
    }
    if slot == NONE {
        slot = tables
            .port_slot(&PortKey::new(meta.ifindex, 0))
            .unwrap_or(NONE);
    }
    let edit = Edit(frame.blur(edit));
    let unmapped = if tagged {
        Reason::VlanUnmapped
    } else {
        Reason::NotAPort
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

    let second_tag = tagged && vlan::is_tag(inner.ethertype);
    let tags_end = if inner.has(Inner::TAG_IN_BYTES) {
        ethernet::LEN + 2 * vlan::LEN
    } else {
        ethernet::LEN + vlan::LEN
    };
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

    let edit = Edit(frame.blur(edit.with_frame(inner, second_tag)));
    let frame_len = frame.frame_len() as u32;
    let uncut_len = if meta.gso_size == 0 {
        frame_len
    } else {
        inner.headers_len.wrapping_add(meta.gso_size)
    };
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
                    Some(peer) => encap(stage, inner, arrival, &who, found.target, peer, act),
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

/// One of two bytes, as the lowest bit of `second` says. Without a branch.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the byte is picked")]
fn pick(second: u32, bytes: [u8; 2]) -> u8 {
    (u16::from_le_bytes(bytes) >> (core::hint::black_box(second & 1) << 3)) as u8
}

/// Outer TTL, TOS and DF, as the VNI's settings and the inner packet say. Without a branch: the verifier would walk through
/// what follows once for each combination.
#[inline(always)]
fn outer_header(segment: &Segment, inner: &Inner) -> (u8, u8, bool) {
    const fn bit(flags: u32, flag: u32) -> u32 {
        flags >> flag.trailing_zeros()
    }
    let flags = u32::from(inner.flags);
    let ip = bit(flags, Inner::V4 as u32) | bit(flags, Inner::V6 as u32);
    let ttl = pick(
        bit(segment.flags, Segment::TTL_INHERIT) & ip,
        [segment.ttl, inner.ttl],
    );
    let tos = pick(
        bit(segment.flags, Segment::TOS_INHERIT) & ip,
        [segment.tos, inner.tos],
    );
    let dont_fragment = pick(
        bit(segment.flags, Segment::DF_INHERIT) & ip,
        [
            (bit(segment.flags, Segment::DF_SET) & 1) as u8,
            (bit(flags, Inner::DONT_FRAGMENT as u32) & 1) as u8,
        ],
    );
    // Of what is not IP, the TOS is zero, and so is its ECN field.
    (ttl, ecn::outer_tos(tos, inner.tos), dont_fragment != 0)
}

/// True if the packet that encapsulation makes is within `mtu`; of a super-frame, each packet that it is cut into.
#[inline(always)]
const fn fits(arrival: &Arrival, v6: bool, mtu: u32) -> bool {
    arrival
        .cut_len
        .wrapping_add(template::ip_overhead(v6) as u32)
        <= mtu
}

/// Adds the carried tag to the sum over the frame.
#[inline(always)]
fn carried_sum(inner: &Inner, arrival: &Arrival) -> u16 {
    let mut sum = Sum::default().word(inner.sum);
    if arrival.edit.has(Edit::STAYS) {
        sum = sum.word(inner.tag.tpid).word(inner.tag.tci);
    }
    sum.fold()
}

/// To a VTEP.
#[inline(always)]
fn encap<A: Act>(
    stage: Stage,
    inner: &Inner,
    arrival: &Arrival,
    who: &Who,
    number: u32,
    peer: &Peer,
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
    if resolved && !fits(arrival, v6, peer.mtu) {
        return act.leave(
            who,
            if stage == Stage::Xdp {
                Reason::LeftToTc
            } else {
                Reason::TooBig
            },
        );
    }
    // In place where the next hop is known, the 16-bit length field holds the length, the kernel does not move a second tag
    // away when the first goes, and the checksum can be had from the headers alone.
    let in_place = resolved
        && arrival.carried_len
            <= u32::from(u16::MAX).wrapping_sub(template::ip_overhead(v6) as u32)
        && !(arrival.edit.has(Edit::SECOND) && arrival.edit.has(Edit::STRIP | Edit::CARRY))
        && (!checksum || (inner.has(Inner::PENDING) && !arrival.merged()));
    if stage == Stage::Xdp {
        // XDP keeps nothing beside the frame: what offload is still to finish would stay unfinished.
        if !in_place || inner.has(Inner::PENDING) || checksum || !peer.has(Peer::XDP_TARGET) {
            return act.leave(who, Reason::LeftToTc);
        }
    } else if !in_place {
        return act.via_kernel(
            who,
            &ViaKernel {
                peer: number,
                remote: peer.addr,
                local: peer.local,
                vni,
                tos,
                ttl,
                dont_fragment,
                checksum,
                source_port,
                tag: arrival.edit.verdict(),
                reason: if resolved {
                    Reason::EncapsulatedByKernel
                } else {
                    Reason::EncapsulatedUnresolved
                },
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
        inner_ip: inner.is_ip() && !(arrival.edit.has(Edit::IN_BYTES) && !arrival.edit.strips()),
        fields: Fields {
            tos,
            ttl,
            dont_fragment,
            id,
            source_port,
            vni,
            inner_len: arrival.carried_len,
            inner_sum: if checksum {
                Some(carried_sum(inner, arrival))
            } else {
                None
            },
        },
        tag: arrival.edit.verdict(),
    };
    act.encap(who, &encap, peer)
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
