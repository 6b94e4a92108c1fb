//! Carrying out a verdict. A frame that was changed and cannot be finished is dropped, never passed on half written.

pub mod tc;
pub mod xdp;

use vtep_common::{
    count::End,
    packet::Tag,
    reason::Reason,
    verdict::{NONE, Who},
    wire::vlan,
};

use crate::count::blur_reason;

/// A verdict that a hook never gets: the decision and the hook do not fit.
const MISFIT: Reason = Reason::TableGap;

/// What a program returns, and what the frame is counted under.
pub struct Outcome {
    pub action: i32,
    pub end: End,
}

/// The end of a frame that went to one port, one peer or neither.
#[inline(always)]
fn end(who: &Who, reason: Reason) -> End {
    End {
        who: *who,
        reason: blur_reason(reason),
        to_port: NONE,
        to_peer: NONE,
    }
}

#[inline(always)]
fn tag_bytes(tag: Tag) -> [u8; vlan::LEN] {
    let [a, b] = tag.tpid.to_be_bytes();
    let [c, d] = tag.tci.to_be_bytes();
    [a, b, c, d]
}
