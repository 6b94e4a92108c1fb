//! What the core orders, and what it gets.

use std::net::IpAddr;

use tokio::sync::oneshot;
use vtep_common::abi::id::Ifindex;

use super::affected::Affected;
use crate::{control::Resolution, model::EventDetails, netlink::Sent};

/// What is said of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Terms {
    /// What is sent to it: from which address of ours, to which port, in which routing domain.
    pub(in super::super) sent: Sent,
    /// Whether somebody named it: the kernel keeps its next hop resolved. Of others it is asked for once.
    pub(in super::super) named: bool,
}

/// What the core orders.
pub(super) enum PathOrder {
    /// Find the path to a peer, or to a multicast group.
    Find(IpAddr, Terms),
    /// Forget a peer that is one no longer.
    Forget(IpAddr),
    /// Find the paths anew that may have changed.
    Changed(Affected),
    /// An interface has changed.
    LinkChanged(Ifindex),
    /// Say when everything that was ordered for the first time has been found.
    Mark(oneshot::Sender<()>),
    /// Have the kernel keep no next hop resolved for us any more.
    ReleaseAll(oneshot::Sender<()>),
}

/// What was found.
pub(in super::super) enum Found {
    /// How a peer is reached.
    Path {
        /// The peer.
        ip: IpAddr,
        /// Its path.
        resolution: Resolution,
        /// That it can be reached, or not any more, if that has changed.
        events: Vec<EventDetails>,
    },
    /// Everything that was ordered before this.
    Mark(oneshot::Sender<()>),
}
