//! Frames from a port with a guard of addresses: what is not the port's own goes no further.

use crate::{
    abi::{port::Port, reason::Reason, segment::Segment},
    frame::{neigh::may_be, packet::PacketRead as _},
    runtime::Runtime,
};

/// Decides on a frame that the first stage left to the guard, and acts: drop, or go on to [`crate::decide::port::neigh`] or
/// [`crate::decide::port::unknown`], which sends known unicast on as well.
#[inline(always)]
pub fn decide<R: Runtime>(rt: &R) -> R::Outcome {
    let (inner, ingress) = match rt.ingress() {
        Ok(found) => found,
        Err(refused) => {
            return rt.leave(&refused.account(rt.frame().frame_len()), refused.reason);
        }
    };
    let account = &ingress.account(rt.frame().frame_len());
    if ingress.port.has(Port::GUARD_IP) && !rt.is_own(&inner, &ingress) {
        return rt.leave(account, Reason::SpoofedIp);
    }
    if ingress.settings.has(Segment::SUPPRESS) && may_be(inner.ethertype, inner.ttl) {
        rt.to_neigh(account)
    } else {
        rt.to_unknown(account)
    }
}
