//! The decision on a frame that arrives at an uplink.

use crate::{
    abi::{reason::Reason, segment::Segment},
    decide::{
        tunnel::{Arrival, Stage, decide_inner},
        verdict::{Account, Act, Decision, Record},
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
    let mut account = Account::nobody(0);
    // A tag on the outside belongs to a VLAN device above the uplink.
    if meta.tag.is_some() {
        return act.leave(&account, pass(stage, Reason::NotVxlan));
    }
    let gso = meta.gso_size != 0;
    let mut outer = Outer::unread();
    if let Err(reason) = outer::parse_into(frame, gso, tables, &mut outer) {
        return act.leave(&account, pass(stage, reason));
    }
    let outer = tables.spill::<{ place::OUTER }, _>(&outer);
    let read = Received::read(frame, outer.inner_offset());
    let read = tables.spill::<{ place::INNER }, _>(&read);
    let lookup = tables.of_tunnel(&outer.addresses, read);
    if !lookup.to().is_local() {
        return act.leave(&account, pass(stage, Reason::NotOurAddress));
    }
    let from = lookup.from();
    if from.is_local() {
        return act.leave(&account, Reason::OwnSource);
    }
    let Some(number) = lookup.segment() else {
        return act.leave(&account, Reason::UnknownVni);
    };
    let Some(segment) = tables.segment(number) else {
        return act.leave(&account, Reason::UnknownVni);
    };
    account.segment = number;
    account.from_peer = from.peer_or_none();
    account.inner_len = outer.end.wrapping_sub(outer.inner_offset());
    if outer.reserved && segment.has(Segment::RESERVED_STRICT) {
        return act.leave(&account, Reason::ReservedBits);
    }
    let arrival = Arrival {
        stage,
        segment: number,
        inner_offset: outer.inner_offset(),
        inner_len: account.inner_len,
        gso,
        tag: None,
        outer_tos: outer.tos,
        outer_v6: outer.v6,
        trailer: outer.end != frame.frame_len(),
        vtep: outer.addresses.source,
    };
    decide_inner(
        frame, &arrival, read, &lookup, &account, segment, tables, act,
    )
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
