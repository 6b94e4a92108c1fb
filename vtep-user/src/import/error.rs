//! Why nothing is imported.

use crate::netlink;

/// Why nothing can be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The kernel does not say what it has.
    #[error(transparent)]
    Kernel(#[from] netlink::Error),
    /// There is nothing to import.
    #[error(
        "there is no vxlan device of the kernel in this network namespace; look with: ip -d link show type vxlan, or in another namespace with: ip netns exec NAME vtep import kernel"
    )]
    NoDevice,
    /// There is none on the port that was asked for.
    #[error(
        "no vxlan device of the kernel is on UDP port {asked}; there are some on: {there}; type: vtep import kernel --udp-port {first}"
    )]
    NoneOnPort {
        /// The port.
        asked: u16,
        /// Those that there are.
        there: String,
        /// The first of them.
        first: u16,
    },
}
