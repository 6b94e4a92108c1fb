//! What keeps a frame from a port that it was found to be for.
//!
//! An interface that is gone: its port waits, and keeps what the operator set.
//!
//! VLAN hops: frames that would come from, or get to, a VLAN of an interface by its untagged port.
//!
//! Where a VNI carries tags, its untagged port of a trunk has the frames of all VLANs that have no port of their own. Those that have are
//! never its business, whatever the port table says of them just then: it can miss an entry for a moment.

use crate::{
    abi::{port::Port, reason::Reason},
    frame::vlan::ShownVlan,
    runtime::{Runtime, tables::Tables as _},
};

/// True if a frame that shows this VLAN at the interface of a port is another port's.
#[inline(always)]
pub(crate) fn is_hop<R: Runtime>(rt: &R, port: &Port, shown: impl FnOnce() -> ShownVlan) -> bool {
    port.has(Port::TRUNK) && rt.tables().is_mapped(port.ifindex, shown())
}

/// Why a frame that shows this VLAN does not get to a port. Of most ports that is one look at two bits.
#[inline(always)]
pub(crate) fn why_not<R: Runtime>(
    rt: &R,
    port: &Port,
    shown: impl FnOnce() -> ShownVlan,
) -> Option<Reason> {
    if !port.has(Port::TRUNK | Port::ABSENT) {
        return None;
    }
    if port.has(Port::ABSENT) {
        return Some(Reason::PortAbsent);
    }
    is_hop(rt, port, shown).then_some(Reason::VlanHop)
}
