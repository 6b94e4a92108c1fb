//! Floods at a port: what the copies to VTEPs look like.

use crate::decide::port::arrive::{Arrival, Edit, arrive};
use crate::{
    abi::{
        addr::Vni,
        id::{ListId, PeerId},
        reason::Reason,
    },
    decide::verdict::{Act, Decision, Encap, Flood, Record},
    frame::{
        inner::Inner,
        packet::{Meta, PacketRead},
        template::{Fields, LONGEST},
    },
    runtime::{Tables, place},
};

/// Decides on a frame that goes to the targets of a list, as [`crate::decide::port::unknown`] has found.
pub fn decide_flood<P, T>(frame: &P, meta: &Meta, list: ListId, tables: &T) -> Decision
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    Record::of(|act| decide(frame, meta, list, tables, act))
}

/// Decides on a frame that goes to the targets of a list, and acts: flood, or drop.
#[inline(always)]
pub fn decide<P, T, A>(frame: &P, meta: &Meta, list: ListId, tables: &T, act: &A) -> A::Outcome
where
    P: PacketRead + ?Sized,
    T: Tables,
    A: Act,
{
    arrive!(frame, meta, tables, act => account, arrived);
    let arrival = Arrival::new(frame.frame_len(), meta, &arrived);
    let arrival = tables.spill::<{ place::ARRIVAL }, _>(&arrival);
    let inner = arrived.inner;
    let Some(vni) = Vni::new(arrival.vni) else {
        return act.leave(&account, Reason::TableGap);
    };
    let sum = arrival.sum(inner);
    let single = !arrival.gso();
    let one_tag = !arrival.edit.has(Edit::SECOND);
    let fits = arrival.carried_len <= LONGEST;
    act.flood(
        &account,
        &Flood {
            list,
            from: arrival.slot,
            carried_len: arrival.segmented_len,
            // Each GSO packet differs in what the kernel has to be told of it, and of two tags the kernel moves the second.
            in_place: single & one_tag & fits,
            encap: Encap {
                peer: PeerId::NONE,
                ifindex: u32::MAX,
                v6: false,
                inner_ip: arrival.is_ip(inner),
                fields: Fields {
                    tos: arrival.tos,
                    ttl: arrival.ttl,
                    dont_fragment: arrival.dont_fragment,
                    id: arrival.id,
                    source_port: arrival.source_port,
                    vni,
                    inner_len: arrival.carried_len,
                    inner_sum: inner.has(Inner::CHECKSUM_PARTIAL).then_some(sum),
                },
                tag: arrival.edit.verdict(),
            },
        },
    )
}
