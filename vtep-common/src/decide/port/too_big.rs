//! Frames that are too big for their VTEP: the sender is told, as a router would tell it, or they are dropped.

use crate::{
    abi::{id::PeerId, reason::Reason},
    frame::{packet::PacketRead as _, too_big::is_answered},
    runtime::{
        Runtime,
        tables::Tables as _,
        verdict::{Account, TooBigAnswer},
    },
    wire::ethernet,
};

/// Decides on a frame that is too big for a peer, and acts: answer, or drop.
#[inline(always)]
pub fn decide<R: Runtime>(rt: &R, id: PeerId) -> R::Outcome {
    let ((found, ingress), carried) = match rt.carried() {
        Ok(found) => found,
        Err(reason) => {
            return rt.leave(&Account::unknown(rt.frame().frame_len()), reason);
        }
    };
    let account = &ingress.account(rt.frame().frame_len());
    let Some(peer) = rt.tables().peer(id) else {
        return rt.leave(account, Reason::TableGap);
    };
    let l3 = ethernet::LEN.wrapping_add(found.in_band_tag_len());
    let Some(mtu) = carried.mtu_towards(peer, l3) else {
        return rt.leave(account, Reason::TooBig);
    };
    let upper = |at, next| rt.upper(at, next);
    if !is_answered(rt.frame(), l3, found.ethertype, upper) || !rt.take_answer(account.from_port) {
        return rt.leave(account, Reason::TooBig);
    }
    rt.answer_too_big(account, &TooBigAnswer { l3, mtu })
}
