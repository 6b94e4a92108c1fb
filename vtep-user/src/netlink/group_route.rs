//! Routes to multicast groups.
//!
//! The slow-path device sends to a group by the route that it finds. Every interface has a route to `ff00::/8`, the slow-path device
//! itself too, and which of them wins is chance; to IPv4 groups there may be no route at all, or the default one, whose source
//! address need not be ours. So each group gets a route of its own, in the table `local`, which comes before all others.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
        RouteType,
    },
};
use vtep_common::abi::id::Ifindex;

use super::{Error, Netlink, route::ip_of};

/// Who made a route (`RTA_PROTOCOL`): a number that nobody else is known to use.
pub const ROUTE_PROTOCOL: u8 = 118;
/// `RT_TABLE_LOCAL` (kernel `include/uapi/linux/rtnetlink.h`).
const TABLE_LOCAL: u8 = 255;

/// By which interface packets to a group leave, and from which address of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRoute {
    /// The interface.
    pub oif: Ifindex,
    /// The address, for IPv4. Over IPv6 the source comes with each packet, and a route with one that is not the interface's own
    /// is refused.
    pub source: Option<Ipv4Addr>,
}

impl Netlink {
    /// Sets the route to a group: `ip route replace multicast GROUP dev DEV [src SOURCE] table local proto 118 metric OWNER`.
    ///
    /// The owner's number, its UDP port, keeps the routes of several instances in one namespace apart.
    pub async fn set_group_route(
        &self,
        group: IpAddr,
        route: GroupRoute,
        owner: u16,
    ) -> Result<(), Error> {
        let mut message = message(group, owner);
        message
            .attributes
            .push(RouteAttribute::Oif(route.oif.get()));
        let source = route.source.map(RouteAddress::Inet);
        message
            .attributes
            .extend(source.map(RouteAttribute::PrefSource));
        let change = RouteNetlinkMessage::NewRoute(message);
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.request("set the route to", &group.to_string(), change, flags)
            .await
            .map(drop)
    }

    /// Deletes the route to a group. One that is not there is no failure: routes go with their interfaces and addresses.
    pub async fn delete_group_route(&self, group: IpAddr, owner: u16) -> Result<(), Error> {
        let change = RouteNetlinkMessage::DelRoute(message(group, owner));
        match self
            .request("delete the route to", &group.to_string(), change, 0)
            .await
        {
            Err(error) if error.errno() != Some(libc::ESRCH) => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes all routes to groups that are `owner`'s.
    pub async fn delete_group_routes(&self, owner: u16) -> Result<(), Error> {
        for group in self.group_routes(owner).await?.into_keys() {
            self.delete_group_route(group, owner).await?;
        }
        Ok(())
    }

    /// The routes to groups that are there and are `owner`'s.
    pub async fn group_routes(&self, owner: u16) -> Result<HashMap<IpAddr, GroupRoute>, Error> {
        let mut found = HashMap::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let question = RouteNetlinkMessage::GetRoute(message);
            let answers = match self.dump("list", "routes", question).await {
                // A kernel without IPv6.
                Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => continue,
                answers => answers?,
            };
            found.extend(answers.iter().filter_map(|answer| match answer {
                RouteNetlinkMessage::NewRoute(message) => of_owner(message, owner),
                _ => None,
            }));
        }
        Ok(found)
    }
}

/// What names the route to a group.
fn message(group: IpAddr, owner: u16) -> RouteMessage {
    let mut message = RouteMessage::default();
    let (family, bits) = match group {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.header = RouteHeader {
        address_family: family,
        destination_prefix_length: bits,
        table: TABLE_LOCAL,
        protocol: RouteProtocol::Other(ROUTE_PROTOCOL),
        // The kernel takes IPv4 routes to what is on the link only so, and of IPv6 ones looks at no scope.
        scope: if group.is_ipv4() {
            RouteScope::Link
        } else {
            RouteScope::Universe
        },
        kind: RouteType::Multicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![
        RouteAttribute::Destination(group.into()),
        RouteAttribute::Priority(owner.into()),
    ];
    message
}

/// Reads a route; `None` for one that is not to a group, or not `owner`'s.
fn of_owner(message: &RouteMessage, owner: u16) -> Option<(IpAddr, GroupRoute)> {
    let header = &message.header;
    if header.kind != RouteType::Multicast
        || header.protocol != RouteProtocol::Other(ROUTE_PROTOCOL)
    {
        return None;
    }
    let (mut group, mut oif, mut source, mut priority) = (None, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => group = ip_of(address),
            RouteAttribute::Oif(number) => oif = Some(Ifindex::new(*number)),
            RouteAttribute::PrefSource(RouteAddress::Inet(v4)) => source = Some(*v4),
            RouteAttribute::Priority(number) => priority = Some(*number),
            _ => {}
        }
    }
    if priority != Some(owner.into()) {
        return None;
    }
    let route = GroupRoute { oif: oif?, source };
    Some((group?, route))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: u16 = 4789;

    #[test]
    fn a_route_is_read_as_it_was_written() {
        let (group, route) = route();

        assert_eq!(of_owner(&written(), OWNER), Some((group, route)));
    }

    #[test]
    fn routes_of_others_are_left_alone() {
        let mut of_an_administrator = written();
        of_an_administrator.header.protocol = RouteProtocol::Static;
        let mut to_a_host = written();
        to_a_host.header.kind = RouteType::Unicast;

        assert_eq!(of_owner(&written(), OWNER + 1), None);
        assert_eq!(of_owner(&of_an_administrator, OWNER), None);
        assert_eq!(of_owner(&to_a_host, OWNER), None);
    }

    fn route() -> (IpAddr, GroupRoute) {
        let source = Some(Ipv4Addr::new(192, 0, 2, 1));
        (
            "239.1.1.1".parse().unwrap(),
            GroupRoute {
                oif: Ifindex::new(4),
                source,
            },
        )
    }

    fn written() -> RouteMessage {
        let (group, route) = route();
        let mut message = message(group, OWNER);
        message
            .attributes
            .push(RouteAttribute::Oif(route.oif.get()));
        let source = RouteAddress::Inet(route.source.unwrap());
        message.attributes.push(RouteAttribute::PrefSource(source));
        message
    }
}
