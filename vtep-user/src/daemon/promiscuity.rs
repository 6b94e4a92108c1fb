//! Ports take frames for all MACs, as a bridge's do: the hosts behind a network card have others than the card.
//!
//! The kernel keeps one flag for what operators and programs set (`ip link set DEV promisc on`), and a counter for everything else. The flag
//! stays when the daemon dies, as forwarding does. Whether it was vtep that set it is noted beside the links: what somebody else has set
//! is left as it was.

use vtep_common::abi::id::Ifindex;

use super::{error::DaemonError, programs};
use crate::{
    causes::with_causes,
    datapath::OwnAtPorts,
    netlink::{Link, Netlink},
};

/// The program that a port has in any case.
pub(super) const PORT_PROGRAM: &str = "tc_port";

/// What it took to have an interface promiscuous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It was so.
    Already,
    /// It is now.
    Set,
    /// It is again: somebody had ended it.
    Again,
}

/// Has the interface of a port take frames for all MACs.
pub(super) async fn keep(
    netlink: &Netlink,
    own: &OwnAtPorts,
    link: &Link,
) -> Result<Kept, DaemonError> {
    if link.promiscuous {
        return Ok(Kept::Already);
    }
    let was_ours = own.is_noted_promiscuous(link.index);
    // Noted first: who is killed in between has left a note too many, and the next one sets it.
    own.note_promiscuous(link.index)?;
    netlink.set_promiscuous(link.index, true).await?;
    Ok(if was_ours { Kept::Again } else { Kept::Set })
}

/// Makes an interface as it was before it was a port. The port's program must still be attached: an interface without it is another one
/// that has its number now.
pub(super) async fn restore(netlink: &Netlink, own: &OwnAtPorts, ifindex: Ifindex) {
    if !own.is_noted_promiscuous(ifindex) {
        return;
    }
    if let Err(error) = try_to_restore(netlink, own, ifindex).await {
        tracing::warn!(%ifindex, "could not end promiscuous mode: {}", with_causes(&error));
    }
}

async fn try_to_restore(
    netlink: &Netlink,
    own: &OwnAtPorts,
    ifindex: Ifindex,
) -> Result<(), DaemonError> {
    if programs::is_attached(netlink, own, PORT_PROGRAM, ifindex)? {
        netlink.set_promiscuous(ifindex, false).await?;
    }
    Ok(own.forget_promiscuous(ifindex)?)
}
