//! What is not known unicast at a port: what is to be flooded, and hosts that are found by IP.

use crate::{
    abi::{
        addr::MacAddr,
        fdb::FdbTarget,
        id::{ListId, SegmentId},
        policer::Policed,
        port::Port,
        reason::Reason,
        segment::Segment,
    },
    decide::{learn, police},
    frame::{inner::Inner, neigh, packet::PacketRead as _, vlan::VlanEdit},
    runtime::{Runtime, lookup::Source, tables::Tables as _, verdict::Resolved},
    wire::ethernet,
};

/// Decides on a frame that the first stage left, and acts: drop, or go on with where it goes.
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
    let number = account.segment;
    let source = learn::source(rt, account, settings, inner.source, ingress.seen);
    let group = inner.destination.is_group();
    let l3 = ethernet::LEN.wrapping_add(inner.in_band_tag_len());
    let mut list = ListId::from(number);
    let found = ingress.destination;
    if let Some(own) = found.list() {
        list = own;
    } else if !found.is_none() {
        // It came here by way of the ARP and ND stage.
        return rt.to_resolved(account, &Resolved::IN_FDB);
    } else if !group
        && settings.has(Segment::NEXTHOPS)
        && !ingress.edit.has(VlanEdit::SECOND)
        && let Some(found) = by_ip(rt, l3, inner, number)
    {
        return rt.to_resolved(account, &found);
    }
    if source == Source::NEW {
        learn::learn(rt, account, inner.source, None, group);
        if ingress.seen.is_over_limit() {
            return rt.leave(account, Reason::MacLimit);
        }
    }
    if !settings.has(Segment::FLOODS) {
        if group {
            return rt.leave(account, Reason::FloodOff);
        }
        let host = neigh::destination(rt.frame(), l3, inner.ethertype);
        learn::miss(rt, account, inner.destination, host);
        return rt.leave(account, Reason::NoFdbEntry);
    }
    // The port that the frame came from is on the list too.
    match rt.tables().flood_list(list) {
        Some(targets) if targets.len > 1 => {}
        Some(_) | None => return rt.leave(account, Reason::NowhereToFlood),
    }
    if ingress.port.has(Port::BUM_RATE) {
        let gso_size = rt.meta().gso_size;
        let passes = match police::flooded(account.inner_len, inner.headers_len, gso_size) {
            Some(amount) => rt.take(account.from_port, Policed::Bum, amount),
            None => false,
        };
        if !passes {
            return rt.leave(account, Reason::BumRate);
        }
    }
    rt.to_resolved(
        account,
        &Resolved {
            target: FdbTarget::List(list).into(),
            mac: MacAddr::ZERO,
            clamped: false,
            cut: false,
        },
    )
}

/// Where the nexthop table has the host that the packet is for.
#[inline(always)]
fn by_ip<R: Runtime>(rt: &R, l3: usize, inner: &Inner, segment: SegmentId) -> Option<Resolved> {
    let host = neigh::destination(rt.frame(), l3, inner.ethertype)?;
    let next = rt.tables().nexthop(segment, &host)?;
    let target = next.target();
    target.is_unicast().then(|| Resolved {
        target,
        mac: next.mac(),
        clamped: false,
        cut: false,
    })
}
