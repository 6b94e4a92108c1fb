//! The decision on a frame that arrives at an uplink.

use crate::{
    abi::{reason::Reason, segment::Segment},
    decide::{
        tunnel::{Arrival, Stage, decide_inner},
        verdict::{Act, Decision, Record, Who},
    },
    frame::{
        inner::Received,
        outer::{self, Outer},
        packet::{Meta, PacketRead},
    },
    runtime::{Tables, place},
};

/// Decides on a frame at an uplink, and acts: pass what is not ours, deliver what can be delivered at this `stage`, leave the
/// rest to the next, drop what is ours but bad.
#[inline(always)]
pub fn decide<P, T, A>(frame: &P, meta: &Meta, stage: Stage, tables: &T, act: &A) -> A::Outcome
where
    P: PacketRead + ?Sized,
    T: Tables,
    A: Act,
{
    let mut who = Who::nobody(0);
    // A tag on the outside belongs to a VLAN device above the uplink.
    if meta.tag.is_some() {
        return act.leave(&who, pass(stage, Reason::NotVxlan));
    }
    let merged = meta.gso_size != 0;
    let mut outer = Outer::unread();
    if let Err(reason) = outer::parse_into(frame, merged, tables, &mut outer) {
        return act.leave(&who, pass(stage, reason));
    }
    let outer = tables.put_down::<{ place::OUTER }, _>(&outer);
    let read = Received::read(frame, outer.inner_offset());
    let read = tables.put_down::<{ place::INNER }, _>(&read);
    let known = tables.of_tunnel(&outer.ends, read);
    if !known.to().is_local() {
        return act.leave(&who, pass(stage, Reason::NotOurAddress));
    }
    let from = known.from();
    if from.is_local() {
        return act.leave(&who, Reason::OwnSource);
    }
    let Some(number) = known.place() else {
        return act.leave(&who, Reason::UnknownVni);
    };
    let Some(segment) = tables.segment(number) else {
        return act.leave(&who, Reason::UnknownVni);
    };
    who.segment = number;
    who.from_peer = from.peer_or_none();
    who.inner_len = outer.end.wrapping_sub(outer.inner_offset());
    if outer.reserved && segment.has(Segment::RESERVED_STRICT) {
        return act.leave(&who, Reason::ReservedBits);
    }
    let arrival = Arrival {
        stage,
        segment: number,
        inner_offset: outer.inner_offset(),
        inner_len: who.inner_len,
        merged,
        tag: None,
        outer_tos: outer.tos,
        outer_v6: outer.v6,
        trailer: outer.end != frame.frame_len(),
        vtep: outer.ends.source,
    };
    decide_inner(frame, &arrival, read, &known, &who, segment, tables, act)
}

/// Decides on a frame at an uplink.
pub fn decide_uplink<P, T>(frame: &P, meta: &Meta, stage: Stage, tables: &T) -> Decision
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    Record::of(|act| decide(frame, meta, stage, tables, act))
}

/// At XDP, what passes goes on to TC, where it gets its final reason.
#[inline(always)]
fn pass(stage: Stage, reason: Reason) -> Reason {
    if stage == Stage::Xdp && reason.is_left() {
        Reason::LeftToTc
    } else {
        reason
    }
}
