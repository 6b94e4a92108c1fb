//! Where the kernel would send a packet.

use std::net::IpAddr;

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteType, RouteVia,
    },
};
use vtep_common::abi::id::Ifindex;

use super::{Error, Netlink};

/// `IPPROTO_UDP`.
const PROTOCOL_UDP: u8 = 17;

/// The way to one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface that packets leave by.
    pub oif: Ifindex,
    /// The router to hand them to; `None` where the destination is on the link. It may be of the other family.
    pub gateway: Option<IpAddr>,
    /// The limit on the packet's size that the route sets, in bytes.
    pub mtu: Option<u32>,
    /// The source address that the kernel would choose.
    pub prefsrc: Option<IpAddr>,
    /// Whether the destination is this host itself.
    pub local: bool,
}

/// The source port that routes are asked for with. Each flow has its own, and each peer one path for all.
const SOURCE_PORT: u16 = 49_152;

/// What is sent, as far as routes and routing rules depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The address that it is sent from.
    pub from: Option<IpAddr>,
    /// The UDP port that it is sent to; `None` for what is not UDP.
    pub udp_port: Option<u16>,
    /// The VRF whose routes lead there; `None` for those of no VRF.
    pub vrf: Option<Ifindex>,
}

impl Sent {
    /// What a question about its route says, besides the destination: all that the kernel would look at in the packet itself. Rules may
    /// ask for the user too; what the kernel's tunnels send is root's.
    fn attributes(self) -> Vec<RouteAttribute> {
        let mut attributes = Vec::new();
        attributes.extend(self.from.map(|from| RouteAttribute::Source(from.into())));
        attributes.extend(self.vrf.map(|vrf| RouteAttribute::Oif(vrf.get())));
        if let Some(port) = self.udp_port {
            attributes.extend([
                RouteAttribute::IpProto(PROTOCOL_UDP),
                RouteAttribute::Sport(SOURCE_PORT),
                RouteAttribute::Dport(port),
                RouteAttribute::Uid(0),
            ]);
        }
        attributes
    }
}

impl Route {
    /// Reads a route message; `None` for one that leads nowhere.
    fn from_message(message: &RouteMessage) -> Option<Self> {
        let local = match message.header.kind {
            RouteType::Unicast | RouteType::Multicast => false,
            RouteType::Local | RouteType::Anycast => true,
            _ => return None,
        };
        let (mut oif, mut gateway, mut prefsrc) = (None, None, None);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(index) => oif = Some(Ifindex::new(*index)),
                RouteAttribute::Gateway(address) => gateway = ip_of(address),
                RouteAttribute::Via(RouteVia::Inet(ip)) => gateway = Some(IpAddr::V4(*ip)),
                RouteAttribute::Via(RouteVia::Inet6(ip)) => gateway = Some(IpAddr::V6(*ip)),
                RouteAttribute::PrefSource(address) => prefsrc = ip_of(address),
                _ => {}
            }
        }
        Some(Self {
            oif: oif?,
            gateway,
            mtu: mtu_of(message),
            prefsrc,
            local,
        })
    }

    /// The address whose Ethernet address packets for `dst` are sent to.
    #[must_use]
    pub fn next_hop(&self, dst: IpAddr) -> IpAddr {
        self.gateway.unwrap_or(dst)
    }
}

/// The MTU that a route message has.
fn mtu_of(message: &RouteMessage) -> Option<u32> {
    let metrics = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Metrics(metrics) => Some(metrics),
            _ => None,
        });
    metrics?.iter().find_map(|metric| match metric {
        RouteMetric::Mtu(bytes) if *bytes != 0 => Some(*bytes),
        _ => None,
    })
}

/// True if what a route message says holds for a time alone: then the kernel may have learned its MTU.
fn expires(message: &RouteMessage) -> bool {
    let mut attributes = message.attributes.iter();
    attributes
        .any(|attribute| matches!(attribute, RouteAttribute::CacheInfo(info) if info.expires != 0))
}

pub(super) fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

impl Netlink {
    /// Where a packet for `dst` would go: `ip route get DST [from SRC] [ipproto udp sport PORT dport PORT] [oif VRF]`. `None` where there is no way: no route, one
    /// that says unreachable, prohibit or blackhole, or a `from` that this host does not have. Of several equal
    /// next hops the kernel picks one.
    ///
    /// Its MTU is that of the route, not what the kernel has learned for the path: that it believes from anybody who knows an address
    /// and a port.
    pub async fn resolve(&self, dst: IpAddr, sent: Sent) -> Result<Option<Route>, Error> {
        let Some(message) = self.route_message(dst, sent, RouteFlags::empty()).await? else {
            return Ok(None);
        };
        let Some(route) = Route::from_message(&message) else {
            return Ok(None);
        };
        if !expires(&message) {
            return Ok(Some(route));
        }
        let in_table = self.route_message(dst, sent, RouteFlags::FibMatch).await?;
        let mtu = in_table.as_ref().and_then(mtu_of);
        Ok(Some(Route { mtu, ..route }))
    }

    /// What the kernel says of the way to `dst`: what it would take now, or the entry of its routing table that this comes of.
    async fn route_message(
        &self,
        dst: IpAddr,
        sent: Sent,
        flags: RouteFlags,
    ) -> Result<Option<RouteMessage>, Error> {
        let mut message = RouteMessage::default();
        message.header.address_family = match dst {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.header.flags = flags;
        message.header.destination_prefix_length = prefix_len(dst);
        message
            .attributes
            .push(RouteAttribute::Destination(dst.into()));
        message.header.source_prefix_length = sent.from.map_or(0, prefix_len);
        message.attributes.extend(sent.attributes());
        let question = RouteNetlinkMessage::GetRoute(message);
        match self
            .request("look up the route to", &dst.to_string(), question, 0)
            .await
        {
            Ok(messages) => Ok(messages.into_iter().find_map(|message| match message {
                RouteNetlinkMessage::NewRoute(route) => Some(route),
                _ => None,
            })),
            Err(error) if error.errno().is_some_and(means_no_route) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Host routes: the length of the whole address, in bits.
fn prefix_len(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The error numbers by which a lookup says that there is no way: unreachable, prohibit (`EACCES`), and blackhole or
/// a foreign source (`EINVAL`).
fn means_no_route(errno: i32) -> bool {
    matches!(
        errno,
        libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::ENODEV
            | libc::EACCES
            | libc::EINVAL
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blackhole_is_no_route() {
        let mut message = unicast();
        message.header.kind = RouteType::BlackHole;

        assert_eq!(Route::from_message(&message), None);
    }

    #[test]
    fn a_gateway_of_the_other_family_is_the_next_hop() {
        let mut message = unicast();
        message.attributes.push(RouteAttribute::Via(RouteVia::Inet6(
            "fe80::1".parse().unwrap(),
        )));

        let route = Route::from_message(&message).unwrap();

        let next_hop = route.next_hop("192.0.2.9".parse().unwrap());
        assert_eq!(next_hop, "fe80::1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn a_route_without_a_gateway_leads_to_the_destination_itself() {
        let dst: IpAddr = "192.0.2.9".parse().unwrap();

        assert_eq!(Route::from_message(&unicast()).unwrap().next_hop(dst), dst);
    }

    #[test]
    fn a_question_says_all_that_rules_can_ask_of_the_packet() {
        let from: IpAddr = "192.0.2.1".parse().unwrap();
        let sent = Sent {
            from: Some(from),
            udp_port: Some(4_789),
            vrf: Some(Ifindex::new(9)),
        };
        let said = sent.attributes();
        for part in [
            RouteAttribute::Source(from.into()),
            RouteAttribute::Oif(9),
            RouteAttribute::IpProto(17),
            RouteAttribute::Dport(4_789),
            RouteAttribute::Uid(0),
        ] {
            assert!(said.contains(&part), "{part:?}: {said:?}");
        }
        assert_eq!(Sent::default().attributes(), []);
    }

    fn unicast() -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.kind = RouteType::Unicast;
        message.attributes.push(RouteAttribute::Oif(4));
        message
    }
}
