//! What the kernel knows about links, addresses, routes and neighbours, asked and followed by netlink.
//!
//! The only place that touches `rtnetlink`; no type of it leaves this module. [`Netlink`] asks and changes, one
//! request at a time; [`NetlinkMonitor`] reports what changes by itself; [`peer_route`] puts a route, a link and a neighbour
//! together into "how does a packet for this peer leave". Both sockets belong to the network namespace of the thread
//! that opens them.
//!
//! A caller that keeps a copy of the kernel's state opens the [`NetlinkMonitor`] first and reads everything once after it,
//! so that nothing falls between the two.

mod address;
mod bridge;
mod card;
mod chains;
mod change;
mod conflict;
mod fdb;
mod gate;
mod generic;
mod group_route;
mod icmp;
mod link;
mod membership;
mod monitor;
mod neighbour;
mod other_end;
mod packet;
pub mod peer_route;
mod route;
mod route_table;
mod slow_path_device;
mod table;
#[cfg(test)]
pub(crate) mod testkit;
mod traffic;
pub mod udp;
mod vlan_offload;
mod vrf;
mod vxlan;
mod xdp;

use std::{io, time::Duration};

use futures::StreamExt;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;

pub use self::{
    address::InterfaceAddress,
    bridge::{BridgeMember, BridgeSettings, MemberVlan, MemberVlans},
    card::Card,
    chains::HookChain,
    conflict::{Conflict, Process},
    fdb::{FdbEntry, FdbKind},
    gate::{GATE_OWNER, NewGate},
    group_route::{GroupRoute, ROUTE_PROTOCOL},
    icmp::PathReports,
    link::{BridgePort, Link, LinkKind},
    membership::{Member, Memberships},
    monitor::{NetlinkEvent, NetlinkMonitor},
    neighbour::{Neighbour, NeighbourState},
    packet::FrameSender,
    peer_route::PeerRoute,
    route::{Route, Sent},
    route_table::{RouteKind, TableRoute},
    slow_path_device::{OWNER, SlowPathDevice},
    traffic::{Filter, FilterSide, Qdisc},
    vlan_offload::VlanOffload,
    vrf::vrf_over,
    vxlan::Vxlan,
    xdp::XdpFeatures,
};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// How long the kernel may take over one request; it answers within microseconds unless something is broken.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a dump that the kernel marks as inconsistent is asked again before it is taken as it is.
const DUMP_ATTEMPTS: usize = 5;

/// Why a question to the kernel, or a change, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket.
    #[error("open a netlink socket")]
    Open(#[source] io::Error),
    /// The socket that reports changes failed.
    #[error("read changes from the netlink socket")]
    Monitor(#[source] io::Error),
    /// The kernel refused a request, or did not answer it.
    #[error("{operation} {object}")]
    Request {
        /// What was asked, such as `add interface`.
        operation: &'static str,
        /// What it was asked about, such as the interface's name.
        object: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// There is no interface of that name in this network namespace.
    #[error("interface {0} does not exist; list the interfaces with: ip link")]
    NoSuchLink(String),
    /// Somebody else has the UDP port.
    #[error("{0}")]
    PortTaken(Conflict),
    /// An interface of the tunnel's name exists and is not ours.
    #[error("interface {name} exists already and is {what}; remove it with: ip link del {name}")]
    NameTaken {
        /// The interface.
        name: String,
        /// What it is instead of our tunnel device.
        what: String,
    },
    /// Another instance has the UDP port.
    #[error(
        "UDP port {port} belongs to vtep's instance {instance} (interface {name}); choose another --udp-port, or remove that instance, which interrupts its forwarding, with: vtep teardown --instance {instance}"
    )]
    OtherInstance {
        /// The UDP port.
        port: u16,
        /// The instance.
        instance: String,
        /// Its device.
        name: String,
    },
}

impl Error {
    /// The kernel's error number, where the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Open(source) | Self::Monitor(source) | Self::Request { source, .. } => {
                source.raw_os_error()
            }
            Self::NoSuchLink(_)
            | Self::PortTaken(_)
            | Self::NameTaken { .. }
            | Self::OtherInstance { .. } => None,
        }
    }
}

/// A netlink socket to ask and change with. Clones share the socket.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: rtnetlink::Handle,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace. Must be called within a tokio runtime, which then
    /// serves the socket until the last clone is gone.
    pub fn open() -> Result<Self, Error> {
        let (connection, handle, _unsolicited) =
            rtnetlink::new_connection().map_err(Error::Open)?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Sends one request and returns the messages that came before the acknowledgement.
    async fn request(
        &self,
        operation: &'static str,
        object: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        // The acknowledgement ends the answer even where a part of it cannot be decoded.
        let (messages, _) = self
            .exchange(
                operation,
                object,
                message,
                NLM_F_REQUEST | NLM_F_ACK | flags,
            )
            .await?;
        Ok(messages)
    }

    /// Sends a dump request, again if the table changed while it was read.
    async fn dump(
        &self,
        operation: &'static str,
        object: &str,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let mut attempt = 1;
        loop {
            let (messages, interrupted) = self
                .exchange(
                    operation,
                    object,
                    message.clone(),
                    NLM_F_REQUEST | NLM_F_DUMP,
                )
                .await?;
            if !interrupted || attempt == DUMP_ATTEMPTS {
                return Ok(messages);
            }
            attempt += 1;
        }
    }

    async fn exchange(
        &self,
        operation: &'static str,
        object: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(Vec<RouteNetlinkMessage>, bool), Error> {
        let failed = |source| Error::Request {
            operation,
            object: object.to_owned(),
            source,
        };
        let mut request = NetlinkMessage::from(message);
        request.header.flags = flags;
        let mut handle = self.handle.clone();
        let mut answers = handle
            .request(request)
            .map_err(|_| failed(io::Error::other("the netlink socket is closed")))?;

        let collect = async {
            let mut messages = Vec::new();
            let mut interrupted = false;
            while let Some(answer) = answers.next().await {
                interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
                match answer.payload {
                    NetlinkPayload::InnerMessage(inner) => messages.push(inner),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(error.to_io());
                    }
                    _ => {}
                }
            }
            Ok((messages, interrupted))
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, collect).await {
            Ok(answer) => answer.map_err(failed),
            Err(_) => Err(failed(io::Error::from(io::ErrorKind::TimedOut))),
        }
    }
}
