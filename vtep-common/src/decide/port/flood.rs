//! Floods at a port: what the copies to VTEPs look like.

use crate::{
    abi::{
        addr::Vni,
        id::{ListId, PeerId},
        reason::Reason,
    },
    frame::{
        inner::Inner,
        packet::PacketRead as _,
        template::{Fields, LONGEST},
        vlan::VlanEdit,
    },
    runtime::{
        Runtime,
        verdict::{Encap, Flood},
    },
};

/// Decides on a frame that goes to the targets of a list, and acts: flood, or drop.
#[inline(always)]
pub fn decide<R: Runtime>(rt: &R, list: ListId) -> R::Outcome {
    let ((found, ingress), carried) = match rt.carried() {
        Ok(found) => found,
        Err(refused) => {
            return rt.leave(&refused.account(rt.frame().frame_len()), refused.reason);
        }
    };
    let account = &ingress.account(rt.frame().frame_len());
    let inner = &*found;
    let Some(vni) = Vni::new(carried.vni) else {
        return rt.leave(account, Reason::TableGap);
    };
    let sum = carried.sum(inner);
    let single = !carried.is_gso();
    let one_tag = !carried.edit.has(VlanEdit::SECOND);
    let fits = carried.len <= LONGEST;
    rt.flood(
        account,
        &Flood {
            list,
            segment: account.segment,
            from: carried.slot,
            kept_from: ingress.port.kept_from(),
            carried_len: carried.segmented_len,
            bytes: rt.policed_carried(&found, &carried),
            vlan: rt.shown_by_port(&found, &carried),
            // Each GSO packet differs in what the kernel has to be told of it, and of two tags the kernel moves the second.
            in_place: single & one_tag & fits,
            encap: Encap {
                peer: PeerId::NONE,
                ifindex: u32::MAX,
                v6: false,
                inner_ip: carried.is_ip(inner),
                fields: Fields {
                    tos: carried.tos,
                    ttl: carried.ttl,
                    dont_fragment: carried.dont_fragment,
                    id: carried.id,
                    source_port: carried.source_port,
                    vni,
                    inner_len: carried.len,
                    inner_sum: inner.has(Inner::CHECKSUM_PARTIAL).then_some(sum),
                },
                tag: carried.edit.tag_edit(),
            },
        },
    )
}
