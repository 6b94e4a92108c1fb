//! VLAN hops: frames that would come from, or get to, a VLAN of an interface by its untagged port.
//!
//! Where a VNI carries tags, its untagged port of a trunk has the frames of all VLANs that have no port of their own. Those that have are
//! never its business, whatever the port table says of them just then: it can miss an entry for a moment.

use crate::{
    abi::port::Port,
    frame::vlan::ShownVlan,
    runtime::{Runtime, tables::Tables as _},
};

/// True if a frame that shows this VLAN at the interface of a port is another port's.
#[inline(always)]
pub(crate) fn is_hop<R: Runtime>(rt: &R, port: &Port, shown: impl FnOnce() -> ShownVlan) -> bool {
    port.has(Port::TRUNK) && rt.tables().is_mapped(port.ifindex, shown())
}
