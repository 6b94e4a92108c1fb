//! Whether our programs are still where they were attached: others can detach them, and the kernel tells nobody.

use vtep_common::abi::id::Ifindex;

use super::error::DaemonError;
use crate::{datapath::OwnAtPorts, netlink::Netlink};

/// Whether a program takes the frames of an interface of this network namespace.
pub(super) fn is_attached(
    netlink: &Netlink,
    own: &OwnAtPorts,
    program: &str,
    ifindex: Ifindex,
) -> Result<bool, DaemonError> {
    let by_link = own.has_program(program, ifindex);
    let by_link = by_link.map_err(|source| DaemonError::System {
        what: "look at a link of a program",
        source,
    })?;
    match (by_link, own.filter) {
        (Some(attached), _) => Ok(attached),
        (None, Some((_, handle))) => Ok(netlink.has_filter(ifindex, handle)?),
        (None, None) => Ok(false),
    }
}
