//! ARP and ND at a port: heard, where the VNI learns, and answered.

use crate::decide::port::arrive::{Arrived, arrive};
use crate::{
    abi::{
        addr::MacAddr,
        event::Event,
        neigh::{NeighKey, NeighValue},
        reason::Reason,
        segment::Segment,
    },
    decide::{
        learn::{self, Source},
        verdict::{Act, Decision, Record},
    },
    frame::{
        neigh::{Answer, Message},
        packet::{Meta, PacketRead},
    },
    runtime::Tables,
    wire::ethernet,
};

/// Decides on a frame that the first part took for ARP or ND.
pub fn decide_neigh<P, T>(frame: &P, meta: &Meta, tables: &T) -> Decision
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    Record::of(|act| decide(frame, meta, tables, act))
}

/// Decides on a frame that the first part took for ARP or ND, and acts: answer, drop, or go on to [`crate::decide::port::unknown`].
#[inline(always)]
pub fn decide<P, T, A>(frame: &P, meta: &Meta, tables: &T, act: &A) -> A::Outcome
where
    P: PacketRead + ?Sized,
    T: Tables,
    A: Act,
{
    arrive!(frame, meta, tables, act => account, arrived);
    let Arrived {
        inner,
        lookup,
        segment,
        ..
    } = arrived;
    let l3 = ethernet::LEN.wrapping_add(inner.in_band_tag_len());
    let Some(message) = &frame.message(l3, inner.ethertype, inner.source) else {
        return act.to_unknown(&account);
    };
    let source = Source::of(&account, segment, inner.source, lookup.seen(), act);
    if source == Source::ELSEWHERE {
        return act.leave(&account, Reason::StaticElsewhere);
    }
    if message.has(Message::CLAIM) && segment.has(Segment::LEARNING) {
        let flags = event_flags(message);
        learn::snoop(&account, inner.source, message.host, None, flags, act);
    }
    // A unicast request is a poll: only the host itself can answer that it is there.
    if !message.has(Message::REQUEST) || !inner.destination.is_group() {
        return act.to_unknown(&account);
    }
    let key = NeighKey {
        segment: account.segment,
        host: message.target,
    };
    match tables.neigh(&key) {
        // Never with the asker's own MAC: it would take its address for another's.
        Some(found) if found.mac != inner.source.get() => act.answer(
            &account,
            &Answer {
                ifindex: meta.ifindex,
                l3,
                v6: inner.ethertype == ethernet::TYPE_IPV6,
                router: found.flags & NeighValue::ROUTER != 0,
                mac: found.mac(),
                asker_mac: inner.source,
                asker: message.host,
                target: message.target,
            },
        ),
        None if !segment.has(Segment::FLOODS) => {
            learn::miss(&account, MacAddr::ZERO, Some(message.target), act);
            act.leave(&account, Reason::UnknownNeigh)
        }
        Some(_) | None => act.to_unknown(&account),
    }
}

/// What an event says of a message.
#[inline(always)]
pub(crate) fn event_flags(message: &Message) -> u32 {
    let flag = |bit, flag| if message.has(bit) { flag } else { 0 };
    flag(Message::UNSOLICITED, Event::UNSOLICITED) | flag(Message::ROUTER, Event::ROUTER)
}
