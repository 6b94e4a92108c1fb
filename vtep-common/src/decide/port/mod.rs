//! The decision on a frame that arrives at a port: from a VM, a container or a host behind the hypervisor.
//!
//! It is made in parts, each a program of its own, since the verifier walks through every way that a program can take. The
//! first ([`decide`]) sends known unicast. ARP and ND go on to [`neigh`]; floods, and hosts that are found by IP, to [`unknown`].
//! What that finds for one destination is sent by [`Stage::Resolved`], and what goes to many by [`flood`].

mod arrive;
pub mod flood;
pub mod neigh;
pub mod unknown;

use crate::decide::port::arrive::{Arrival, Arrived, Edit, arrive};
use crate::{
    abi::{
        addr::{MacAddr, Vni},
        fdb::FdbTarget,
        id::{PeerId, PortSlot},
        peer::Peer,
        port::Port,
        reason::Reason,
        segment::Segment,
    },
    decide::{
        learn::{self, Source},
        verdict::{Account, Act, Decision, Deliver, Encap, Record, Resolved},
    },
    frame::{
        inner::Inner,
        neigh::may_be,
        packet::{Meta, PacketRead},
        template::Fields,
    },
    runtime::{Tables, place},
    wire::{ethernet, vlan},
};

/// Where the frame is looked at, which says what can be done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// XDP: single copies of plain frames; the rest is left to TC.
    Xdp,
    /// TC: known unicast; the rest goes on to [`unknown`].
    Tc,
    /// TC again: frames of which [`unknown`] has found that they go to one place, and which.
    Resolved,
}

/// Decides on a frame at a port: at XDP, or in the first part at TC.
pub fn decide_port<P, T>(frame: &P, meta: &Meta, stage: Stage, tables: &T) -> Decision
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    Record::of(|act| decide(frame, meta, stage, &Resolved::IN_FDB, tables, act))
}

/// Decides on a frame of which [`unknown`] has found where it goes.
pub fn decide_resolved<P, T>(frame: &P, meta: &Meta, found: &Resolved, tables: &T) -> Decision
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    Record::of(|act| decide(frame, meta, Stage::Resolved, found, tables, act))
}

/// Decides on a frame at a port, and acts: encapsulate, deliver, drop, or go on. `given` is where the frame goes,
/// at [`Stage::Resolved`].
#[inline(always)]
pub fn decide<P, T, A>(
    frame: &P,
    meta: &Meta,
    stage: Stage,
    given: &Resolved,
    tables: &T,
    act: &A,
) -> A::Outcome
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
    // ARP and ND, which are answered or heard.
    if stage != Stage::Resolved
        && segment.has(Segment::SUPPRESS)
        && may_be(inner.ethertype, inner.ttl)
    {
        return match stage {
            Stage::Xdp => act.leave(&account, Reason::LeftToTc),
            Stage::Tc | Stage::Resolved => act.to_neigh(&account),
        };
    }
    let source = Source::of(&account, segment, inner.source, lookup.seen(), act);
    if source == Source::ELSEWHERE {
        return act.leave(&account, Reason::StaticElsewhere);
    }
    let target = if given.target.is_none() {
        lookup.destination()
    } else {
        given.target
    };
    if !target.is_unicast() {
        return go_on(stage, &account, act);
    }
    if source == Source::NEW {
        learn::learn(&account, inner.source, None, false, act);
    }
    let arrival = Arrival::new(frame.frame_len(), meta, &arrived);
    let arrival = tables.spill::<{ place::ARRIVAL }, _>(&arrival);
    match target.get() {
        Some(FdbTarget::Peer(id)) => match tables.peer(id) {
            Some(peer) => encap(stage, inner, arrival, &account, id, peer, tables, act),
            None => act.leave(&account, Reason::TableGap),
        },
        // An entry that is being replaced can lead to what is in another VNI.
        Some(FdbTarget::Port(slot)) => {
            match tables
                .port(slot)
                .filter(|port| port.segment == account.segment)
            {
                Some(port) => deliver(stage, arrival, &account, slot, port, meta.ifindex, act),
                None => act.leave(&account, Reason::TableGap),
            }
        }
        Some(FdbTarget::List(_)) | None => go_on(stage, &account, act),
    }
}

/// What becomes of a frame that cannot be dealt with here.
#[inline(always)]
fn go_on<A: Act>(stage: Stage, account: &Account, act: &A) -> A::Outcome {
    match stage {
        Stage::Xdp => act.leave(account, Reason::LeftToTc),
        Stage::Tc => act.to_unknown(account),
        Stage::Resolved => act.leave(account, Reason::TableGap),
    }
}

/// To a local port of the VNI.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "frames and headers are shorter than 2^32 bytes"
)]
fn deliver<A: Act>(
    stage: Stage,
    arrival: &Arrival,
    account: &Account,
    slot: PortSlot,
    port: &Port,
    from_ifindex: u32,
    act: &A,
) -> A::Outcome {
    if slot == arrival.slot {
        return act.leave(account, Reason::SamePort);
    }
    if !arrival.gso()
        && arrival.carried_len > port.mtu.wrapping_add((ethernet::LEN + vlan::LEN) as u32)
    {
        return act.leave(account, Reason::TooBig);
    }
    // Redirected back to the interface it came from (another VLAN of a trunk), and to whatever XDP cannot reach, TC does it.
    if stage == Stage::Xdp {
        return act.leave(account, Reason::LeftToTc);
    }
    act.deliver(
        account,
        &Deliver {
            slot,
            ifindex: port.ifindex,
            vlan: port.vlan,
            to_other_end: port.has(Port::PEER_TARGET) && port.ifindex != from_ifindex,
            strip: 0,
            mac: MacAddr::ZERO,
            tag: arrival.edit.verdict(),
        },
    )
}

/// To a VTEP.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "frames and headers are shorter than 2^32 bytes"
)]
#[expect(
    clippy::too_many_arguments,
    reason = "everything that a decision stands on"
)]
fn encap<T: Tables, A: Act>(
    stage: Stage,
    inner: &Inner,
    arrival: &Arrival,
    account: &Account,
    id: PeerId,
    peer: &Peer,
    tables: &T,
    act: &A,
) -> A::Outcome {
    let Arrival {
        vni,
        source_port,
        ttl,
        tos,
        dont_fragment,
        ..
    } = *arrival;
    let v6 = peer.has(Peer::IPV6);
    let checksum = peer.has(Peer::CHECKSUM);
    let resolved = peer.has(Peer::RESOLVED);
    if peer.has(Peer::UNREACHABLE) {
        return act.leave(account, Reason::NoRoute);
    }
    // Bytes that encapsulation adds within the outer IP packet, where the peer is resolved.
    let overhead = peer.template_len.wrapping_sub(ethernet::LEN as u32);
    let left =
        u64::from(peer.mtu).wrapping_sub(arrival.segmented_len.wrapping_add(overhead).into());
    // The uppermost bit says that nothing is left. Without a branch between the two.
    if left >> 63 & u64::from(peer.flags >> Peer::RESOLVED.trailing_zeros()) & 1 != 0 {
        return act.leave(
            account,
            if stage == Stage::Xdp {
                Reason::LeftToTc
            } else {
                Reason::TooBig
            },
        );
    }
    let Some(vni) = Vni::new(vni) else {
        return act.leave(account, Reason::TableGap);
    };
    let encap = Encap {
        peer: id,
        ifindex: peer.ifindex,
        v6,
        inner_ip: arrival.is_ip(inner),
        fields: Fields {
            tos,
            ttl,
            dont_fragment,
            id: arrival.id,
            source_port,
            vni,
            inner_len: arrival.carried_len,
            inner_sum: checksum.then_some(arrival.sum(inner)),
        },
        tag: arrival.edit.verdict(),
    };
    let encap = tables.spill::<{ place::VERDICT }, _>(&encap);
    // In place where the next hop is known, the 16-bit length field holds the length, the kernel does not move a second tag
    // away when the first goes, and the checksum can be had from the headers alone.
    let in_place = resolved
        && arrival.carried_len <= u32::from(u16::MAX).wrapping_sub(overhead)
        && !(arrival.edit.has(Edit::SECOND) && arrival.edit.has(Edit::STRIP | Edit::CARRY))
        && (!checksum || (inner.has(Inner::CHECKSUM_PARTIAL) && !arrival.gso()));
    if stage == Stage::Xdp {
        // XDP keeps nothing beside the frame: what offload is still to finish would stay unfinished.
        if !in_place
            || inner.has(Inner::CHECKSUM_PARTIAL)
            || checksum
            || !peer.has(Peer::XDP_TARGET)
        {
            return act.leave(account, Reason::LeftToTc);
        }
    }
    act.encap(account, encap, peer, in_place)
}
