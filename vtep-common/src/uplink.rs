//! The decision on a frame that arrives at an uplink.

use crate::{
    maps::Segment,
    outer,
    packet::{Meta, PacketRead},
    reason::{Class, Reason},
    tables::Tables,
    tunnel::{Arrival, Stage, decide_inner},
    verdict::{Decision, Verdict},
};

/// Decides on a frame at an uplink: pass what is not ours, deliver what can be delivered at this `stage`, leave the rest to
/// the next, drop what is ours but bad.
#[inline(always)]
pub fn decide_uplink<P, T>(frame: &P, meta: &Meta, stage: Stage, tables: &T) -> Decision
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    // A tag on the outside belongs to a VLAN device above the uplink.
    if meta.tag.is_some() {
        return Decision::leave(pass(stage, Reason::NotVxlan));
    }
    let merged = meta.gso_size != 0;
    let outer = match outer::parse(frame, merged, tables) {
        Ok(outer) => outer,
        Err(reason) => return Decision::leave(pass(stage, reason)),
    };
    if tables.is_local(&outer.source) {
        return Decision::leave(Reason::OwnSource);
    }
    let Some(number) = tables.segment_number(outer.vxlan.vni.get()) else {
        return Decision::leave(Reason::UnknownVni);
    };
    let Some(segment) = tables.segment(number) else {
        return Decision::leave(Reason::UnknownVni);
    };
    let inner_len = outer.end.wrapping_sub(outer.inner_offset);
    let verdict = if outer.vxlan.reserved && segment.has(Segment::RESERVED_STRICT) {
        Verdict::Leave(Reason::ReservedBits)
    } else {
        let arrival = Arrival {
            stage,
            segment: number,
            inner_offset: outer.inner_offset,
            inner_len,
            merged,
            tag: None,
            outer_tos: outer.tos,
            outer_v6: outer.v6,
            trailer: outer.end != frame.frame_len(),
        };
        decide_inner(frame, &arrival, segment, tables)
    };
    Decision {
        verdict,
        segment: Some(number),
        from_port: None,
        from_peer: tables.peer_number(&outer.source),
        inner_len,
    }
}

/// At XDP, what passes goes on to TC, where it gets its final reason.
#[inline(always)]
fn pass(stage: Stage, reason: Reason) -> Reason {
    match (stage, reason.class()) {
        (Stage::Xdp, Class::Passed | Class::Continued) => Reason::LeftToTc,
        _ => reason,
    }
}
