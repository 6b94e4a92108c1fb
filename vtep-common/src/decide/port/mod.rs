//! The decision on a frame that arrives at a port: from a VM, a container or a host behind the hypervisor.
//!
//! It is made in stages, each a program of its own, since the verifier walks through every way that a program can take. The
//! first ([`decide`]) sends known unicast. ARP and ND are tail-called to [`neigh`]; floods, and hosts that are found by IP, to
//! [`unknown`]. What that finds for one destination is sent by [`PortStage::Resolved`], and what goes to many by [`flood`]. What is
//! too big for its VTEP goes to [`too_big`]; SYNs that may offer too much come back from [`clamp`].

pub mod carried;
pub mod clamp;
pub mod flood;
pub mod guard;
pub mod ingress;
pub mod neigh;
pub mod too_big;
pub mod unknown;

use crate::{
    abi::{
        addr::{MacAddr, Vni},
        fdb::FdbTarget,
        flags::{PortFlags, SegmentFlags},
        id::{PeerId, PortSlot},
        peer::Peer,
        policer::Policed,
        port::Port,
        reason::Reason,
        segment::Segment,
    },
    decide::{hop, learn, police},
    frame::{
        inner::Inner, neigh::may_be, packet::PacketRead as _, template::Fields, vlan::VlanEdit,
    },
    runtime::{
        Runtime,
        arrival::Carried,
        lookup::Source,
        tables::Tables as _,
        verdict::{Account, Deliver, Encap, Resolved},
    },
    wire::{ethernet, vlan},
};

/// Where the frame is looked at, which says what can be done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortStage {
    /// XDP: single copies of plain frames; the rest is left to TC.
    Xdp,
    /// TC: known unicast; the rest goes on to [`unknown`].
    Tc,
    /// TC again: frames of which [`unknown`] has found that they go to one place, and which.
    Resolved,
}

/// Decides on a frame at a port, and acts: encapsulate, deliver, drop, or go on. `given` is where the frame goes,
/// at [`PortStage::Resolved`].
#[inline(always)]
pub fn decide<R: Runtime>(rt: &R, stage: PortStage, given: &Resolved) -> R::Outcome {
    let ((found, ingress), carried) = match rt.carried() {
        Ok(found) => found,
        Err(refused) => {
            return rt.leave(&refused.account(rt.frame().frame_len()), refused.reason);
        }
    };
    let account = &ingress.account(rt.frame().frame_len());
    let settings = ingress.settings;
    let inner = &*found;
    // Later stages are of the same frame, and what has been found to be the port's own comes back resolved.
    if stage != PortStage::Resolved && ingress.port.has(Port::RATE_IN | Port::GUARD_IP) {
        // XDP takes what it finishes.
        let policed = (account.from_port, Policed::In);
        let bytes = || rt.policed_carried(&found, &carried);
        if stage == PortStage::Tc && !police::lets(rt, ingress.port, policed, bytes) {
            return rt.leave(account, Reason::Rate);
        }
        if ingress.port.has(Port::GUARD_IP) {
            return match stage {
                PortStage::Xdp => rt.leave(account, Reason::LeftToTc),
                PortStage::Tc | PortStage::Resolved => rt.to_guard(account),
            };
        }
    }
    // ARP and ND, which are answered or snooped.
    if stage != PortStage::Resolved
        && settings.has(Segment::SUPPRESS)
        && may_be(inner.ethertype, inner.ttl)
    {
        return match stage {
            PortStage::Xdp => rt.leave(account, Reason::LeftToTc),
            PortStage::Tc | PortStage::Resolved => rt.to_neigh(account),
        };
    }
    let source = learn::source(rt, account, settings, inner.source, ingress.seen);
    let target = if given.target.is_none() {
        ingress.destination
    } else {
        given.target
    };
    if !target.is_unicast() {
        return next_stage(rt, stage, account);
    }
    // A SYN that comes back clamped has been learned from.
    if source == Source::NEW && !given.clamped {
        learn::learn(rt, account, inner.source, None, false);
        if ingress.seen.is_over_limit() {
            return rt.leave(account, Reason::MacLimit);
        }
    }
    match target.get() {
        Some(FdbTarget::Peer(id)) => match rt.tables().peer(id) {
            Some(peer) => encap(
                rt,
                (stage, ingress.port),
                inner,
                &carried,
                account,
                (id, peer),
                (is_to_clamp(settings, inner, given), given.cut),
            ),
            None => rt.leave(account, Reason::TableGap),
        },
        // An entry that is being replaced can lead to what is in another VNI.
        Some(FdbTarget::Port(slot)) => match rt
            .tables()
            .port(slot)
            .filter(|port| port.segment == account.segment)
        {
            Some(port) => deliver(
                rt,
                stage,
                (&found, &carried),
                account,
                ingress.port.kept_from(),
                (slot, port),
            ),
            None => rt.leave(account, Reason::TableGap),
        },
        Some(FdbTarget::List(_)) | None => next_stage(rt, stage, account),
    }
}

/// What becomes of a frame that cannot be dealt with here.
#[inline(always)]
fn next_stage<R: Runtime>(rt: &R, stage: PortStage, account: &Account) -> R::Outcome {
    match stage {
        PortStage::Xdp => rt.leave(account, Reason::LeftToTc),
        PortStage::Tc => rt.to_unknown(account),
        PortStage::Resolved => rt.leave(account, Reason::TableGap),
    }
}

/// True for a SYN in a VNI that clamps, unless it comes back clamped. Without a branch between.
#[inline(always)]
fn is_to_clamp(settings: SegmentFlags, inner: &Inner, given: &Resolved) -> bool {
    const { assert!(Inner::SYN == 1 << 7) };
    let clamps = settings.bits() >> Segment::MSS_CLAMP.bits().trailing_zeros();
    clamps & u32::from(inner.flags >> 7) & u32::from(!given.clamped) & 1 != 0
}

/// To a local port of the VNI.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "frames and headers are shorter than 2^32 bytes"
)]
fn deliver<R: Runtime>(
    rt: &R,
    stage: PortStage,
    (inner, carried): (&R::Spilled<'_, Inner>, &R::Spilled<'_, Carried>),
    account: &Account,
    kept_from: PortFlags,
    (slot, port): (PortSlot, &Port),
) -> R::Outcome {
    if slot == carried.slot {
        return rt.leave(account, Reason::SamePort);
    }
    if !carried.is_gso() && carried.len > port.mtu.wrapping_add((ethernet::LEN + vlan::LEN) as u32)
    {
        return rt.leave(account, Reason::TooBig);
    }
    if port.has(kept_from) {
        return rt.leave(account, Reason::Isolated);
    }
    // Redirected back to the interface it came from (another VLAN of a trunk), and to whatever XDP cannot reach, TC does it.
    if stage == PortStage::Xdp {
        return rt.leave(account, Reason::LeftToTc);
    }
    if let Some(why) = hop::why_not(rt, port, || rt.shown_by_port(inner, carried)) {
        return rt.leave(account, why);
    }
    let bytes = || rt.policed_carried(inner, carried);
    if !police::lets(rt, port.flags, (slot, Policed::Out), bytes) {
        return rt.leave(account, Reason::Rate);
    }
    // Read again, rather than kept from before, so that the verifier forgets what it knows of it.
    let port = core::hint::black_box(port);
    rt.deliver(
        account,
        &Deliver {
            slot,
            ifindex: port.ifindex,
            vlan: port.vlan,
            to_other_end: port.takes_at_other_end(inner.destination)
                && port.ifindex != rt.meta().ifindex,
            strip: 0,
            mac: MacAddr::ZERO,
            tag: carried.edit.tag_edit(),
        },
    )
}

/// To a VTEP.
#[inline(always)]
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a branch would be another way for the verifier to walk"
)]
fn encap<R: Runtime>(
    rt: &R,
    (stage, from): (PortStage, PortFlags),
    inner: &Inner,
    carried: &Carried,
    account: &Account,
    (id, peer): (PeerId, &Peer),
    (clamp, cut): (bool, bool),
) -> R::Outcome {
    let Carried {
        vni,
        source_port,
        ttl,
        tos,
        dont_fragment,
        ..
    } = *carried;
    let v6 = peer.has(Peer::IPV6);
    let checksum = peer.has(Peer::CHECKSUM);
    if peer.has(Peer::UNREACHABLE) {
        return rt.lose(account, id.into(), Reason::NoRoute);
    }
    if clamp {
        return match stage {
            PortStage::Xdp => rt.leave(account, Reason::LeftToTc),
            PortStage::Tc | PortStage::Resolved => rt.to_clamp(account, id),
        };
    }
    // Without a branch between.
    if !cut & carried.is_too_big_for(peer) {
        return match stage {
            PortStage::Xdp => rt.leave(account, Reason::LeftToTc),
            PortStage::Tc | PortStage::Resolved => rt.to_too_big(account, id),
        };
    }
    let Some(vni) = Vni::new(vni) else {
        return rt.leave(account, Reason::TableGap);
    };
    let encap = Encap {
        peer: id,
        ifindex: peer.ifindex,
        v6,
        inner_ip: carried.is_ip(inner),
        fields: Fields {
            tos,
            ttl,
            dont_fragment,
            id: carried.id,
            source_port,
            vni,
            inner_len: carried.len,
            inner_sum: checksum.then_some(carried.sum(inner)),
        },
        tag: carried.edit.tag_edit(),
    };
    let encap = rt.opaque(&encap);
    // As above.
    let peer = core::hint::black_box(peer);
    let checksum = peer.has(Peer::CHECKSUM);
    let resolved = peer.has(Peer::RESOLVED) & !cut;
    // In place where the next hop is known, the length field holds the length, the kernel does not move a second tag away when the
    // first goes, and the checksum can be had from the headers alone.
    let in_place = resolved
        && carried.fits_length_field(peer)
        && !(carried.edit.has(VlanEdit::SECOND)
            && carried.edit.has(VlanEdit::STRIP | VlanEdit::CARRY))
        && (!checksum || (inner.has(Inner::CHECKSUM_PARTIAL) && !carried.is_gso()));
    if stage == PortStage::Xdp {
        // XDP has no skb: what offload is still to finish would stay unfinished.
        if !in_place
            || inner.has(Inner::CHECKSUM_PARTIAL)
            || rt.may_be_pending(inner)
            || checksum
            || !peer.has(Peer::XDP_TARGET)
        {
            return rt.leave(account, Reason::LeftToTc);
        }
        // XDP is told of no GSO packets.
        let bytes = || account.inner_len;
        if !police::lets(rt, from, (account.from_port, Policed::In), bytes) {
            return rt.leave(account, Reason::Rate);
        }
    }
    rt.encap(account, &encap, peer, in_place)
}
