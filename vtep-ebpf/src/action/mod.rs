//! Carrying out a verdict. A frame that was changed and cannot be finished is dropped, never passed on half written.

pub mod slow_path;
pub mod tc;
pub mod xdp;

use vtep_common::{
    abi::{
        id::{PeerId, PortSlot},
        reason::Reason,
    },
    frame::packet::Tag,
    runtime::verdict::{Account, End, Recipient},
    wire::vlan,
};

/// A verdict that a hook never gets: the decision and the hook do not fit.
pub const MISFIT: Reason = Reason::TableGap;

/// The end of a frame that went to one port, one peer or neither.
///
/// What is to be done with it follows from the reason, in one place, rather than wherever a frame can end.
#[inline(always)]
const fn end(account: &Account, reason: Reason) -> End {
    End {
        account: *account,
        reason,
        to_port: PortSlot::NONE,
        to_peer: PeerId::NONE,
    }
}

/// The end of a frame that does not get to whom it was for.
#[inline(always)]
const fn lost(account: &Account, to: Recipient, reason: Reason) -> End {
    End {
        account: *account,
        reason,
        to_port: to.port,
        to_peer: to.peer,
    }
}

#[inline(always)]
fn tag_bytes(tag: Tag) -> [u8; vlan::LEN] {
    let [a, b] = tag.tpid.to_be_bytes();
    let [c, d] = tag.tci.to_be_bytes();
    [a, b, c, d]
}
