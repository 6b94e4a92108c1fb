//! What changes in the kernel, as it changes.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use netlink_packet_core::{NLMSG_OVERRUN, NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::AddressMessage,
    link::LinkMessage,
    neighbour::NeighbourMessage,
    route::{RouteAttribute, RouteMessage},
};
use rtnetlink::{
    MulticastGroup,
    sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE},
};
use vtep_common::abi::id::Ifindex;

use super::{
    BridgePort, Error, InterfaceAddress, Link, Mac, Neighbour, NeighbourState,
    link::bridge_port_in, route::ip_of, traffic,
};

/// Messages start at multiples of this many bytes (`NLMSG_ALIGNTO`).
const MESSAGE_ALIGN: usize = 4;

/// Bytes of a netlink header.
const HEADER_LEN: usize = 16;

/// The kernel's own limit for one datagram of notifications is half of this.
const DATAGRAM_CAPACITY: usize = 64 * 1024;

/// How many bytes of changes the kernel may hold back for us, bookkeeping included; `net.core.rmem_max` is often less.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

const GROUPS: [MulticastGroup; 10] = [
    MulticastGroup::Link,
    MulticastGroup::Tc,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
    MulticastGroup::Nexthop,
];

/// `RTM_*` message types that are told apart here before anything is decoded.
mod kind {
    pub(super) const NEW_LINK: u16 = 16;
    pub(super) const DEL_LINK: u16 = 17;
    pub(super) const NEW_ADDR: u16 = 20;
    pub(super) const DEL_ADDR: u16 = 21;
    pub(super) const NEW_ROUTE: u16 = 24;
    pub(super) const DEL_ROUTE: u16 = 25;
    pub(super) const NEW_NEIGH: u16 = 28;
    pub(super) const DEL_NEIGH: u16 = 29;
    pub(super) const NEW_RULE: u16 = 32;
    pub(super) const DEL_RULE: u16 = 33;
    pub(super) const NEW_QDISC: u16 = 36;
    pub(super) const DEL_QDISC: u16 = 37;
    pub(super) const NEW_FILTER: u16 = 44;
    pub(super) const DEL_FILTER: u16 = 45;
    pub(super) const NEW_NEXTHOP: u16 = 104;
    pub(super) const DEL_NEXTHOP: u16 = 105;
}

/// A change in the kernel.
///
/// The kernel takes IPv4 routes away without a word when their link goes down or their address goes: whoever keeps
/// the result of a route look-up asks again upon [`NetlinkEvent::Link`] and [`NetlinkEvent::Address`] too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetlinkEvent {
    /// An interface is new, changed, or gone.
    Link {
        /// Its number.
        index: Ifindex,
        /// What it is now; `None` when it has gone, also to another namespace.
        link: Option<Link>,
    },
    /// A bridge treats a member in another way.
    BridgePort {
        /// The member's number.
        index: Ifindex,
        /// What the bridge does with its frames now.
        state: BridgePort,
    },
    /// An address came or changed, or went.
    Address {
        /// The interface.
        ifindex: Ifindex,
        /// The address.
        addr: IpAddr,
        /// Whether it is there now.
        added: bool,
    },
    /// A route to this prefix changed, or, without one, something that any route may depend on: a routing rule or a next-hop
    /// object. Not routes to multicast groups, nor within a link.
    Route(Option<IpNet>),
    /// An entry of the neighbour table changed.
    Neighbour {
        /// The interface.
        ifindex: Ifindex,
        /// Its address.
        ip: IpAddr,
        /// Its Ethernet address, if known.
        mac: Option<Mac>,
        /// Its state.
        state: NeighbourState,
        /// Whether it has gone.
        removed: bool,
    },
    /// Queueing disciplines or filters of an interface changed; of any, where several share them.
    Traffic(Option<Ifindex>),
    /// Changes were lost: read everything again.
    Overrun,
}

/// Reports changes: `ip monitor link address route rule nexthop neigh`, and `tc monitor`.
pub struct NetlinkMonitor {
    socket: TokioSocket,
    datagram: Vec<u8>,
    pending: VecDeque<NetlinkEvent>,
}

impl NetlinkMonitor {
    /// Starts to listen in the calling thread's network namespace. Must be called within a tokio runtime.
    pub fn open() -> Result<Self, Error> {
        Self::with_receive_buffer(RECEIVE_BUFFER)
    }

    /// As [`NetlinkMonitor::open`], with `bytes` as the most that the kernel holds back before changes are lost, as far as
    /// `net.core.rmem_max` allows.
    pub fn with_receive_buffer(bytes: usize) -> Result<Self, Error> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE).map_err(Error::Open)?;
        let inner = socket.socket_mut();
        inner
            .set_rx_buf_sz(bytes_as_int(bytes))
            .map_err(Error::Open)?;
        inner.bind(&SocketAddr::new(0, 0)).map_err(Error::Open)?;
        for group in GROUPS {
            inner.add_membership(group as u32).map_err(Error::Open)?;
        }
        Ok(Self {
            socket,
            datagram: Vec::with_capacity(DATAGRAM_CAPACITY),
            pending: VecDeque::new(),
        })
    }

    /// Waits for the next change. Nothing is lost when the future is dropped before it is ready.
    pub async fn next(&mut self) -> Result<NetlinkEvent, Error> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            self.datagram.clear();
            self.datagram.reserve(DATAGRAM_CAPACITY);
            match self.socket.recv_from(&mut self.datagram).await {
                // Port 0 is the kernel.
                Ok(from) if from.port_number() == 0 => {
                    self.pending.extend(events_in(&self.datagram));
                }
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.drain()?;
                    return Ok(NetlinkEvent::Overrun);
                }
                Err(error) => return Err(Error::Monitor(error)),
            }
        }
    }

    /// Throws away what waits. Once changes were lost the kernel says so no second time before everything is read:
    /// were the rest left in place, further losses would go unnoticed, and everything may be read again only after
    /// them.
    fn drain(&mut self) -> Result<(), Error> {
        loop {
            self.datagram.clear();
            match self
                .socket
                .socket_ref()
                .recv(&mut self.datagram, libc::MSG_DONTWAIT)
            {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(Error::Monitor(error)),
            }
        }
    }
}

fn bytes_as_int(bytes: usize) -> libc::c_int {
    libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX)
}

/// The changes that one datagram reports. Route changes that follow each other count once.
fn events_in(datagram: &[u8]) -> Vec<NetlinkEvent> {
    let mut events = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let Ok(message) = NetlinkBuffer::new_checked(rest) else {
            events.push(NetlinkEvent::Overrun);
            break;
        };
        let len = usize::try_from(message.length()).unwrap_or(usize::MAX);
        let event = event_in(message.message_type(), rest.get(..len).unwrap_or(rest));
        let counts_once = |event: &NetlinkEvent| {
            matches!(event, NetlinkEvent::Route(_) | NetlinkEvent::Traffic(_))
        };
        if let Some(event) = event
            && !(counts_once(&event) && events.last() == Some(&event))
        {
            events.push(event);
        }
        let next = len
            .checked_next_multiple_of(MESSAGE_ALIGN)
            .unwrap_or(usize::MAX);
        rest = rest.get(next..).unwrap_or_default();
    }
    events
}

fn event_in(kind: u16, message: &[u8]) -> Option<NetlinkEvent> {
    match kind {
        kind::NEW_RULE | kind::DEL_RULE | kind::NEW_NEXTHOP | kind::DEL_NEXTHOP => {
            return Some(NetlinkEvent::Route(None));
        }
        kind::NEW_QDISC | kind::DEL_QDISC | kind::NEW_FILTER | kind::DEL_FILTER => {
            // They can hold anything, and all that matters is where they are.
            let at = message.get(HEADER_LEN..).unwrap_or_default();
            let at = traffic::interface(at);
            return Some(at.map_or(NetlinkEvent::Overrun, NetlinkEvent::Traffic));
        }
        NLMSG_OVERRUN => return Some(NetlinkEvent::Overrun),
        kind::NEW_LINK
        | kind::DEL_LINK
        | kind::NEW_ADDR
        | kind::DEL_ADDR
        | kind::NEW_ROUTE
        | kind::DEL_ROUTE
        | kind::NEW_NEIGH
        | kind::DEL_NEIGH => {}
        _ => return None,
    }
    match NetlinkMessage::deserialize(message).map(|message| message.payload) {
        Ok(NetlinkPayload::InnerMessage(message)) => match message {
            RouteNetlinkMessage::NewLink(link) => new_link(link),
            RouteNetlinkMessage::DelLink(link) => del_link(&link),
            RouteNetlinkMessage::NewAddress(address) => address_event(&address, true),
            RouteNetlinkMessage::DelAddress(address) => address_event(&address, false),
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                route_event(&route)
            }
            RouteNetlinkMessage::NewNeighbour(entry) => neighbour_event(&entry, false),
            RouteNetlinkMessage::DelNeighbour(entry) => neighbour_event(&entry, true),
            _ => None,
        },
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(kind, %error, "could not read a change that the kernel reports");
            Some(NetlinkEvent::Overrun)
        }
    }
}

/// A change of a route, if it can be one to a host beyond the link. Every interface that comes up has others too, and our own
/// routes to multicast groups are among them.
fn route_event(route: &RouteMessage) -> Option<NetlinkEvent> {
    let destination = route.attributes.iter().find_map(|part| match part {
        RouteAttribute::Destination(address) => ip_of(address),
        _ => None,
    });
    let within_link = destination.is_some_and(|ip| match ip {
        IpAddr::V4(v4) => v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_unicast_link_local(),
    });
    // A default route has no destination.
    let ip = destination.or(match route.header.address_family {
        AddressFamily::Inet => Some(Ipv4Addr::UNSPECIFIED.into()),
        AddressFamily::Inet6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    });
    let prefix = ip.and_then(|ip| IpNet::new(ip, route.header.destination_prefix_length).ok());
    (!within_link).then_some(NetlinkEvent::Route(prefix))
}

fn new_link(message: LinkMessage) -> Option<NetlinkEvent> {
    if let Some((index, state)) = bridge_port_in(&message) {
        return Some(NetlinkEvent::BridgePort { index, state });
    }
    let link = Link::from_message(message)?;
    Some(NetlinkEvent::Link {
        index: link.index,
        link: Some(link),
    })
}

/// A bridge also reports a link as deleted, under its own family, when that link merely leaves the bridge.
fn del_link(message: &LinkMessage) -> Option<NetlinkEvent> {
    let gone = message.header.interface_family == AddressFamily::Unspec;
    gone.then_some(NetlinkEvent::Link {
        index: Ifindex::new(message.header.index),
        link: None,
    })
}

fn address_event(message: &AddressMessage, added: bool) -> Option<NetlinkEvent> {
    let address = InterfaceAddress::from_message(message)?;
    Some(NetlinkEvent::Address {
        ifindex: address.ifindex,
        addr: address.ip,
        added,
    })
}

fn neighbour_event(message: &NeighbourMessage, removed: bool) -> Option<NetlinkEvent> {
    let Neighbour {
        ifindex,
        ip,
        mac,
        state,
        managed: _,
        ours: _,
        router: _,
        external: _,
    } = Neighbour::from_message(message)?;
    Some(NetlinkEvent::Neighbour {
        ifindex,
        ip,
        mac,
        state,
        removed,
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::DefaultNla;
    use netlink_packet_route::{
        link::{LinkAttribute, LinkProtoInfoBridge},
        neighbour::NeighbourAttribute,
    };

    use super::*;

    #[test]
    fn a_datagram_of_several_messages_gives_several_events() {
        let ip: IpAddr = "192.0.2.2".parse().unwrap();
        let mut entry = NeighbourMessage::default();
        entry.header.family = AddressFamily::Inet;
        entry.header.ifindex = 3;
        entry
            .attributes
            .push(NeighbourAttribute::Destination(ip.into()));
        let mut gone = LinkMessage::default();
        gone.header.index = 9;

        let datagram = datagram([
            RouteNetlinkMessage::NewRoute(RouteMessage::default()),
            RouteNetlinkMessage::DelRoute(RouteMessage::default()),
            RouteNetlinkMessage::DelNeighbour(entry),
            RouteNetlinkMessage::DelLink(gone),
        ]);

        assert_eq!(
            events_in(&datagram),
            [
                NetlinkEvent::Route(None),
                NetlinkEvent::Neighbour {
                    ifindex: Ifindex::new(3),
                    ip,
                    mac: None,
                    state: NeighbourState::None,
                    removed: true
                },
                NetlinkEvent::Link {
                    index: Ifindex::new(9),
                    link: None
                },
            ]
        );
    }

    #[test]
    fn what_a_bridge_does_with_a_member_is_told() {
        for (number, state) in [(0, BridgePort::Disabled), (3, BridgePort::Other)] {
            let mut member = LinkMessage::default();
            member.header.interface_family = AddressFamily::Bridge;
            member.header.index = 7;
            let priority = LinkProtoInfoBridge::Other(DefaultNla::new(2, vec![32, 0]));
            let at = LinkProtoInfoBridge::Other(DefaultNla::new(1, vec![number]));
            member
                .attributes
                .push(LinkAttribute::ProtoInfoBridge(vec![priority, at]));

            let index = Ifindex::new(7);
            assert_eq!(
                events_in(&datagram([RouteNetlinkMessage::NewLink(member)])),
                [NetlinkEvent::BridgePort { index, state }]
            );
        }
    }

    #[test]
    fn a_change_of_traffic_control_says_where_it_is_and_counts_once() {
        let change = |kind: u16, ifindex: u32| {
            let len = 36_u32.to_ne_bytes();
            let header = [&len[..], &kind.to_ne_bytes(), &[0; 10]].concat();
            [
                header,
                vec![0; 4],
                ifindex.to_ne_bytes().to_vec(),
                vec![0; 12],
            ]
            .concat()
        };
        let at = NetlinkEvent::Traffic(Some(Ifindex::new(7)));
        let changes = [change(44, 7), change(45, 7), change(37, u32::MAX)];

        assert_eq!(
            events_in(&changes.concat()),
            [at, NetlinkEvent::Traffic(None)]
        );
        // Classes are nobody's business.
        assert_eq!(events_in(&change(40, 7)), []);
    }

    #[test]
    fn a_link_that_leaves_a_bridge_is_not_gone() {
        let mut left = LinkMessage::default();
        left.header.interface_family = AddressFamily::Bridge;
        left.attributes.push(LinkAttribute::Mtu(1500));

        assert_eq!(
            events_in(&datagram([RouteNetlinkMessage::DelLink(left)])),
            []
        );
    }

    #[test]
    fn routes_to_groups_and_within_a_link_are_no_news() {
        let to = |destination: &str| {
            let ip: IpAddr = destination.parse().unwrap();
            let mut route = RouteMessage::default();
            route.header.address_family = match ip {
                IpAddr::V4(_) => AddressFamily::Inet,
                IpAddr::V6(_) => AddressFamily::Inet6,
            };
            route.header.destination_prefix_length = 8;
            route.attributes = vec![RouteAttribute::Destination(ip.into())];
            datagram([RouteNetlinkMessage::NewRoute(route)])
        };

        for destination in ["239.1.1.1", "ff05::1", "ff00::", "fe80::", "fe80::1"] {
            assert_eq!(events_in(&to(destination)), [], "{destination}");
        }
        for destination in ["192.0.2.0", "2001:db8::", "::"] {
            let ip = destination.parse().unwrap();
            let prefix = Some(IpNet::new(ip, 8).unwrap());
            assert_eq!(events_in(&to(destination)), [NetlinkEvent::Route(prefix)]);
        }
    }

    #[test]
    fn what_cannot_be_read_asks_for_everything_again() {
        let whole = datagram([RouteNetlinkMessage::NewLink(LinkMessage::default())]);

        for len in 1..whole.len() {
            assert_eq!(
                events_in(&whole[..len]),
                [NetlinkEvent::Overrun],
                "{len} bytes"
            );
        }
    }

    fn datagram<const N: usize>(messages: [RouteNetlinkMessage; N]) -> Vec<u8> {
        let mut all = Vec::new();
        for message in messages {
            let mut message = NetlinkMessage::from(message);
            message.finalize();
            let mut bytes = vec![0; message.buffer_len()];
            message.serialize(&mut bytes);
            bytes.resize(bytes.len().next_multiple_of(MESSAGE_ALIGN), 0);
            all.extend(bytes);
        }
        all
    }
}
