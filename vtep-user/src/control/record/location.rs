//! Where a MAC is.

use std::net::IpAddr;

use vtep_common::abi::id::PortSlot;

/// Where a MAC is, or is to be. The VTEP need not be known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Vtep(IpAddr),
    Port(PortSlot),
}
