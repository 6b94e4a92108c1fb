//! SYNs to a VTEP, in a VNI that clamps: they offer no larger segments than the path carries.

use crate::{
    abi::{addr::MacAddr, fdb::FdbTarget, id::PeerId, reason::Reason},
    frame::packet::PacketRead as _,
    runtime::{Runtime, tables::Tables as _, verdict::Resolved},
    wire::ethernet,
};

/// Lowers what a SYN to a peer offers, if that is too much, and goes on.
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
    if let Some(mtu) = carried.mtu_towards(peer, l3) {
        rt.clamp(l3, found.ethertype, mtu);
    }
    rt.to_resolved(
        account,
        &Resolved {
            target: FdbTarget::Peer(id).into(),
            mac: MacAddr::ZERO,
            clamped: true,
            cut: false,
        },
    )
}
