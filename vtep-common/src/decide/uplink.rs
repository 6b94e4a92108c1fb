//! The decision on a frame that arrives at an uplink.

use crate::{
    abi::{id::SegmentId, reason::Reason, segment::Segment},
    decide::{
        admit,
        tunnel::{DecapStage, decide_inner, is_listed},
    },
    frame::{
        inner::Received,
        outer::{self, Outer},
        packet::{PacketRead as _, Window as _},
    },
    runtime::{
        Runtime,
        arrival::{Arrival, Encapsulation},
        lookup::Lookup,
        tables::Tables as _,
        verdict::Refused,
    },
    wire::ethernet,
};

/// Decides on a frame at an uplink, and acts: pass what is not ours, deliver what can be delivered at this `stage`, leave the
/// rest to the next, drop what is ours but bad.
#[inline(always)]
pub fn decide<R: Runtime>(rt: &R, stage: DecapStage) -> R::Outcome {
    let arrival = match rt.arrival() {
        Ok(arrival) => arrival,
        Err(refused) => {
            // At XDP, what passes goes on to TC, where it gets its final reason.
            let reason = refused.reason;
            let left_to_tc = stage == DecapStage::Xdp && reason.is_left();
            let reason = if left_to_tc { Reason::LeftToTc } else { reason };
            return rt.leave(&refused.account(0), reason);
        }
    };
    if arrival.outer.reserved && arrival.settings.has(Segment::RESERVED_STRICT) {
        return rt.leave(&arrival.account(), Reason::ReservedBits);
    }
    decide_inner(rt, stage, &arrival)
}

/// True if the host would take the packet. What a switch has flooded is for another one's MAC, though it may be for our address.
#[inline(always)]
fn is_for_host<R: Runtime>(rt: &R) -> bool {
    let window = rt.frame().window::<{ ethernet::LEN }>(0);
    window.is_some_and(|window| rt.takes(window.mac(ethernet::DESTINATION_OFFSET)))
}

/// Finds the VNI of a packet, and what the tables know of it.
///
/// # Errors
///
/// What is not for us, or is but cannot be taken.
#[inline(always)]
pub fn find<R: Runtime>(rt: &R) -> Result<Arrival, Refused> {
    let (frame, meta, tables) = (rt.frame(), rt.meta(), rt.tables());
    // A tag on the outside belongs to a VLAN device above the uplink.
    if meta.tag.is_some() {
        return Err(Reason::NotVxlan.into());
    }
    let gso = meta.gso_size != 0;
    let mut outer = Outer::unread();
    if let Err(reason) = outer::parse_into(frame, gso, tables, &mut outer) {
        let reason = *rt.opaque(&reason);
        // What is wrong with a packet for somebody else is not our business.
        let reason = outer::for_us(reason, &outer.addresses, tables);
        if reason != Reason::NotVxlan && !is_for_host(rt) {
            return Err(Reason::NotOurAddress.into());
        }
        return Err(reason.into());
    }
    let outer = rt.opaque(&outer);
    let read = Received::read(frame, outer.inner_offset());
    let read = rt.opaque(&read);
    let lookup = Lookup::of_tunnel(&outer.addresses, &read, tables);
    let lookup = rt.opaque(&lookup);
    if !lookup.to().is_local() || !is_for_host(rt) {
        return Err(Reason::NotOurAddress.into());
    }
    let from = lookup.from();
    if from.is_local() {
        return Err(Reason::OwnSource.into());
    }
    if from.peer().is_none() && outer.addresses.source.is_no_source() {
        return Err(Reason::BadSource.into());
    }
    let peer = from.peer_or_none();
    let nowhere = |reason| Refused::from_peer(reason, peer, SegmentId::NONE);
    let Some(number) = lookup.segment() else {
        return Err(nowhere(Reason::UnknownVni));
    };
    let Some(segment) = tables.segment(number) else {
        return Err(nowhere(Reason::UnknownVni));
    };
    // A key that is being replaced can lead to what another key stands for (ADR 10).
    if segment.vni != outer.addresses.vni {
        return Err(nowhere(Reason::TableGap));
    }
    let refused = |reason| Refused::from_peer(reason, peer, number);
    let settings = segment.flags;
    let seen = lookup.seen().limited(false, settings.has(Segment::FULL));
    if settings.has(Segment::LISTED) && !seen.is_here() && !is_listed(rt, number, from) {
        return Err(refused(Reason::UnlistedSource));
    }
    let len = outer.end.wrapping_sub(outer.inner_offset());
    admit::from_vtep(&read, len, settings, seen).map_err(refused)?;
    Ok(Arrival {
        read: *read,
        vtep: outer.addresses.source,
        segment: number,
        settings,
        peer,
        seen,
        destination: lookup.destination(),
        len,
        outer: Encapsulation {
            len: outer.inner_offset(),
            tos: outer.tos,
            v6: outer.v6,
            reserved: outer.reserved,
            trailer: outer.end != frame.frame_len(),
        },
    })
}
