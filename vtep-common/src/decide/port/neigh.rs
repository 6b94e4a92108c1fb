//! ARP and ND at a port: snooped, where the VNI learns, and answered.

use crate::{
    abi::{
        addr::MacAddr,
        event::Event,
        neigh::{NeighKey, NeighValue},
        policer::Policed,
        reason::Reason,
        segment::Segment,
    },
    decide::{learn, police},
    frame::{
        neigh::{Answer, Message},
        packet::PacketRead as _,
    },
    runtime::{Runtime, tables::Tables as _},
    wire::ethernet,
};

/// Decides on a frame that the first stage took for ARP or ND, and acts: answer, drop, or go on to [`crate::decide::port::unknown`].
#[inline(always)]
pub fn decide<R: Runtime>(rt: &R) -> R::Outcome {
    let (inner, ingress) = match rt.ingress() {
        Ok(found) => found,
        Err(refused) => {
            return rt.leave(&refused.account(rt.frame().frame_len()), refused.reason);
        }
    };
    let account = &ingress.account(rt.frame().frame_len());
    let settings = ingress.settings;
    let inner = &*inner;
    let l3 = ethernet::LEN.wrapping_add(inner.in_band_tag_len());
    let Some(message) = &rt.message(l3, inner.ethertype, inner.source) else {
        return rt.to_unknown(account);
    };
    learn::source(rt, account, settings, inner.source, ingress.seen);
    if ingress.seen.is_over_limit() && settings.has(Segment::LEARNING) {
        learn::learn(rt, account, inner.source, None, false);
        return rt.leave(account, Reason::MacLimit);
    }
    if message.has(Message::CLAIM) && settings.has(Segment::LEARNING) {
        let flags = event_flags(message);
        learn::snoop(rt, account, inner.source, &message.host, None, flags);
    }
    // A unicast request is a poll: only the host itself can answer that it is there.
    if !message.has(Message::REQUEST) || !inner.destination.is_group() {
        return rt.to_unknown(account);
    }
    let key = NeighKey {
        segment: account.segment,
        host: message.target,
    };
    match rt.tables().neigh(&key) {
        // Never with the asker's own MAC: it would take its address for another's. What is not known is not said.
        Some(found)
            if found.mac != inner.source.get() && found.flags & NeighValue::ROUTER_UNKNOWN == 0 =>
        {
            // An answer is as long as its request.
            let policed = (account.from_port, Policed::Out);
            if !police::lets(rt, ingress.port, policed, || account.inner_len) {
                return rt.leave(account, Reason::Rate);
            }
            rt.answer(
                account,
                &Answer {
                    ifindex: rt.meta().ifindex,
                    l3,
                    v6: inner.ethertype == ethernet::TYPE_IPV6,
                    router: found.flags & NeighValue::ROUTER != 0,
                    mac: found.mac(),
                    asker_mac: inner.source,
                    asker: message.host,
                    target: message.target,
                },
            )
        }
        None if !settings.has(Segment::FLOODS) => {
            learn::miss(rt, account, MacAddr::ZERO, Some(message.target));
            rt.leave(account, Reason::UnknownNeigh)
        }
        Some(_) | None => rt.to_unknown(account),
    }
}

/// What an event says of a message, whose bits are the same.
#[inline(always)]
pub(crate) fn event_flags(message: &Message) -> u32 {
    const SAME: [(u8, u32); 3] = [
        (Message::UNSOLICITED, Event::UNSOLICITED),
        (Message::ROUTER, Event::ROUTER),
        (Message::ADVERTISED, Event::ADVERTISED),
    ];
    const {
        let [(a, b), (c, d), (e, f)] = SAME;
        assert!(a as u32 == b && c as u32 == d && e as u32 == f);
    }
    u32::from(message.flags) & (Event::UNSOLICITED | Event::ROUTER | Event::ADVERTISED)
}
