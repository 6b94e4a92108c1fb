//! What is not known unicast at a port: what is to be flooded, and hosts that are found by IP.

use crate::decide::port::arrive::{Arrived, Edit, arrive};
use crate::{
    abi::{
        addr::MacAddr,
        fdb::FdbTarget,
        id::{ListId, SegmentId},
        reason::Reason,
        segment::Segment,
    },
    decide::{
        learn::{self, Source},
        verdict::{Act, Decision, Record, Resolved},
    },
    frame::{
        inner::Inner,
        neigh,
        packet::{Meta, PacketRead},
    },
    runtime::Tables,
    wire::ethernet,
};

/// Decides on a frame that the first part left.
pub fn decide_unknown<P, T>(frame: &P, meta: &Meta, tables: &T) -> Decision
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    Record::of(|act| decide(frame, meta, tables, act))
}

/// Decides on a frame that the first part left, and acts: drop, or go on with where it goes.
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
        edit,
        ..
    } = arrived;
    let number = account.segment;
    let source = Source::of(&account, segment, inner.source, lookup.seen(), act);
    if source == Source::ELSEWHERE {
        return act.leave(&account, Reason::StaticElsewhere);
    }
    let group = inner.destination.is_group();
    let l3 = ethernet::LEN.wrapping_add(inner.in_band_tag_len());
    let mut list = ListId::from(number);
    let found = lookup.destination();
    if let Some(own) = found.list() {
        list = own;
    } else if !found.is_none() {
        // It came here by way of the ARP and ND part.
        return act.to_resolved(&account, &Resolved::IN_FDB);
    } else if !group
        && segment.has(Segment::NEXTHOPS)
        && !edit.has(Edit::SECOND)
        && let Some(found) = by_ip(frame, l3, inner, number, tables)
    {
        return act.to_resolved(&account, &found);
    }
    if source == Source::NEW {
        learn::learn(&account, inner.source, None, group, act);
    }
    if !segment.has(Segment::FLOODS) {
        if group {
            return act.leave(&account, Reason::FloodOff);
        }
        let host = neigh::destination(frame, l3, inner.ethertype);
        learn::miss(&account, inner.destination, host, act);
        return act.leave(&account, Reason::NoFdbEntry);
    }
    // The port that the frame came from is on the list too.
    match tables.flood_list(list) {
        Some(targets) if targets.len > 1 => {}
        Some(_) | None => return act.leave(&account, Reason::NowhereToFlood),
    }
    act.to_resolved(
        &account,
        &Resolved {
            target: FdbTarget::List(list).into(),
            mac: MacAddr::ZERO,
        },
    )
}

/// Where the nexthop table has the host that the packet is for.
#[inline(always)]
fn by_ip<P, T>(
    frame: &P,
    l3: usize,
    inner: &Inner,
    number: SegmentId,
    tables: &T,
) -> Option<Resolved>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let host = neigh::destination(frame, l3, inner.ethertype)?;
    let next = tables.nexthop(number, &host)?;
    let target = next.target();
    target.is_unicast().then(|| Resolved {
        target,
        mac: next.mac(),
    })
}
