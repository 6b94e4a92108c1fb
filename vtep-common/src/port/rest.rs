//! The second part of the decision at a port: ARP and ND, floods, and hosts that are found by IP.

use super::arrive::{Arrival, Arrived, Edit, arrive};
use crate::{
    addr::{MacAddr, VtepAddr},
    events::Event,
    inner::Inner,
    learn::{self, Source},
    maps::{FdbKey, FdbValue, NeighKey, NeighValue, Segment},
    neigh::{self, Answer, Message},
    packet::{Meta, PacketRead},
    reason::Reason,
    tables::{Tables, place},
    verdict::{Act, Decision, Flood, Found, Record, ViaKernel, Who},
    wire::ethernet,
};

/// Decides on a frame that the first part left.
pub fn decide_rest<P, T>(frame: &P, meta: &Meta, tables: &T) -> Decision
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    Record::of(|act| decide(frame, meta, tables, act))
}

/// Decides on a frame that the first part left, and acts: answer, flood, drop, or give it back with where it goes.
#[inline(always)]
pub fn decide<P, T, A>(frame: &P, meta: &Meta, tables: &T, act: &A) -> A::Outcome
where
    P: PacketRead + ?Sized,
    T: Tables,
    A: Act,
{
    arrive!(frame, meta, tables, act => who, arrived);
    let Arrived {
        inner,
        slot,
        segment,
        edit,
    } = arrived;
    let number = who.segment;
    let source = Source::look_up(
        &who,
        segment,
        inner.source,
        FdbValue::PORT,
        slot,
        tables,
        act,
    );
    if source == Source::ELSEWHERE {
        return act.leave(&who, Reason::StaticElsewhere);
    }
    let group = inner.destination.is_group();
    let l3 = ethernet::LEN.wrapping_add(inner.tag_in_bytes_len());
    let mut message = Message::nothing();
    if segment.has(Segment::SUPPRESS)
        && neigh::may_be(inner.ethertype, inner.ttl)
        && message.read(frame, l3, inner.ethertype, inner.source)
    {
        let message = tables.put_down::<{ place::MESSAGE }, _>(&message);
        if message.has(Message::CLAIM) {
            let flags = event_flags(message);
            learn::hear(&who, inner.source, message.host, None, flags, tables, act);
        }
        // A unicast request is a poll: only the host itself can answer that it is there.
        if message.has(Message::REQUEST) && group {
            let key = NeighKey {
                segment: number,
                host: message.target,
            };
            match tables.neigh(&key) {
                // Never with the asker's own MAC: it would take its address for another's.
                Some(found) if found.mac != inner.source.get() => {
                    return act.answer(
                        &who,
                        &Answer {
                            ifindex: meta.ifindex,
                            l3,
                            v6: inner.ethertype == ethernet::TYPE_IPV6,
                            router: found.flags & NeighValue::ROUTER != 0,
                            mac: found.mac(),
                            asker_mac: inner.source,
                            asker: message.host_if_claimed(),
                            target: message.target,
                        },
                    );
                }
                Some(_) => {}
                None if !segment.has(Segment::FLOODS) => {
                    learn::miss(&who, MacAddr::ZERO, Some(message.target), tables, act);
                    return act.leave(&who, Reason::UnknownNeigh);
                }
                None => {}
            }
        }
    }
    let mut list = number;
    match tables.fdb(&FdbKey::new(number, inner.destination)) {
        Some(found) if found.kind == FdbValue::LIST => list = found.target,
        // It came here to be heard.
        Some(_) => return act.found(&who, &Found::IN_FDB),
        None if !group && segment.has(Segment::NEXTHOPS) && !edit.has(Edit::SECOND) => {
            if let Some(found) = by_ip(frame, l3, inner, number, tables) {
                return act.found(&who, &found);
            }
        }
        None => {}
    }
    if source == Source::NEW {
        learn::learn(&who, inner.source, None, group, tables, act);
    }
    if !segment.has(Segment::FLOODS) {
        if group {
            return act.leave(&who, Reason::FloodOff);
        }
        let host = neigh::destination(frame, l3, inner.ethertype);
        learn::miss(&who, inner.destination, host, tables, act);
        return act.leave(&who, Reason::NoFdbEntry);
    }
    let arrival = Arrival::new(frame.frame_len(), meta, &arrived);
    let arrival = tables.put_down::<{ place::ARRIVAL }, _>(&arrival);
    flood(arrival, &who, list, tables, act)
}

/// What an event says of a message.
#[inline(always)]
pub(crate) fn event_flags(message: &Message) -> u32 {
    let flag = |bit, flag| if message.has(bit) { flag } else { 0 };
    flag(Message::UNASKED, Event::UNASKED) | flag(Message::ROUTER, Event::ROUTER)
}

/// Where the nexthop table has the host that the packet is for.
#[inline(always)]
fn by_ip<P, T>(frame: &P, l3: usize, inner: &Inner, number: u32, tables: &T) -> Option<Found>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let host = neigh::destination(frame, l3, inner.ethertype)?;
    let next = tables.nexthop(number, &host)?;
    if next.kind == FdbValue::PEER || next.kind == FdbValue::PORT {
        Some(Found {
            kind: next.kind,
            target: next.target,
            mac: next.mac(),
        })
    } else {
        None
    }
}

/// To many.
#[inline(always)]
fn flood<T: Tables, A: Act>(
    arrival: &Arrival,
    who: &Who,
    list: u32,
    tables: &T,
    act: &A,
) -> A::Outcome {
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
