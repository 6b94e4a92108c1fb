//! Frames that are too big for their VTEP, as far as [`port::decide`](super::decide) can tell: the sender is told, as a router would tell it,
//! or they are dropped. GSO packets that are not after all go on.

use crate::{
    abi::{addr::MacAddr, fdb::FdbTarget, id::PeerId, reason::Reason},
    frame::{packet::PacketRead as _, segments, too_big::is_answered},
    runtime::{
        Runtime,
        tables::Tables as _,
        verdict::{Resolved, TooBigAnswer},
    },
    wire::ethernet,
};

/// Decides on a frame that is too big for a peer, and acts: answer, drop, or go on.
#[inline(always)]
pub fn decide<R: Runtime>(rt: &R, id: PeerId) -> R::Outcome {
    let ((found, ingress), carried) = match rt.carried() {
        Ok(found) => found,
        Err(refused) => {
            return rt.leave(&refused.account(rt.frame().frame_len()), refused.reason);
        }
    };
    let account = &ingress.account(rt.frame().frame_len());
    let Some(peer) = rt.tables().peer(id) else {
        return rt.leave(account, Reason::TableGap);
    };
    let l3 = ethernet::LEN.wrapping_add(found.in_band_tag_len());
    let Some(mtu) = carried.mtu_towards(peer, l3) else {
        return rt.lose(account, id.into(), Reason::TooBig);
    };
    let upper = |at, next| rt.upper(at, next);
    // Headers behind extension headers are read here alone. What is cut into frames that fit, and what nobody here can tell of whether it is,
    // the slow path cuts.
    if carried.is_gso() && found.headers_len == account.inner_len {
        let len = segments::headers_len(rt.frame(), l3, found.ethertype, upper);
        if len.is_none_or(|len| !carried.with_headers(len).is_too_big_for(peer)) {
            return rt.to_resolved(
                account,
                &Resolved {
                    target: FdbTarget::Peer(id).into(),
                    mac: MacAddr::ZERO,
                    clamped: true,
                    cut: true,
                },
            );
        }
    }
    if !is_answered(rt.frame(), l3, found.ethertype, upper) || !rt.take_answer(account.from_port) {
        return rt.lose(account, id.into(), Reason::TooBig);
    }
    let answer = TooBigAnswer { peer: id, l3, mtu };
    rt.answer_too_big(account, &answer)
}
