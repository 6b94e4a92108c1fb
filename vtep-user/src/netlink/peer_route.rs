//! How a packet for a peer leaves this host: its route, its link and its neighbour put together.

use std::net::IpAddr;

use vtep_common::abi::id::Ifindex;

use super::{Error, Link, Mac, Neighbour, Netlink, Route, Sent};

/// How a packet for a peer leaves this host, or why it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRoute {
    /// Everything that an Ethernet header needs is known.
    Resolved {
        /// The interface it leaves by.
        oif: Ifindex,
        /// That interface's Ethernet address.
        src_mac: Mac,
        /// The next hop's Ethernet address.
        dst_mac: Mac,
        /// Largest IP packet for this peer, in bytes: the route's limit or the link's, whichever is less.
        mtu: u32,
        /// The source address that the kernel would choose.
        prefsrc: Option<IpAddr>,
    },
    /// The next hop's Ethernet address is not known (yet).
    Pending {
        /// The interface it would leave by.
        oif: Ifindex,
        /// The next hop to resolve: a gateway, or the peer itself.
        via: IpAddr,
    },
    /// There is no way to the peer.
    NoRoute,
    /// The link that the route leads over is down, or has gone.
    LinkDown {
        /// The interface.
        oif: Ifindex,
    },
    /// The route leads over a link without Ethernet headers, such as a `tun` device.
    NotEthernet {
        /// The interface.
        oif: Ifindex,
    },
    /// The peer's address is this host's own.
    LocalAddress,
}

/// Puts together what is known about the way to `dst`: its route, the link of that route, and the next hop's entry
/// ([`Route::next_hop`]) in the neighbour table of that link.
#[must_use]
pub fn resolve(
    dst: IpAddr,
    route: Option<&Route>,
    link: Option<&Link>,
    neighbour: Option<&Neighbour>,
) -> PeerRoute {
    let Some(route) = route else {
        return PeerRoute::NoRoute;
    };
    if route.local {
        return PeerRoute::LocalAddress;
    }
    let oif = route.oif;
    let Some(link) = link.filter(|link| link.up && link.carrier) else {
        return PeerRoute::LinkDown { oif };
    };
    if !link.ethernet {
        return PeerRoute::NotEthernet { oif };
    }
    let dst_mac = multicast_mac(dst).or_else(|| neighbour.and_then(Neighbour::usable_mac));
    let Some(dst_mac) = dst_mac else {
        return PeerRoute::Pending {
            oif,
            via: route.next_hop(dst),
        };
    };
    PeerRoute::Resolved {
        oif,
        src_mac: link.mac,
        dst_mac,
        mtu: route.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)),
        prefsrc: route.prefsrc,
    }
}

/// Whether a route stays in its routing domain: the interface that it leads over belongs to the VRF of what is sent, or to none where that is in none.
/// What is meant for one domain never leaves by another.
fn is_within(sent: Option<Ifindex>, link: &Link, vrf: Option<Ifindex>) -> bool {
    // The way to an address of the VRF's own leads over the VRF.
    vrf == sent || sent == Some(link.index)
}

/// The Ethernet address of a multicast group (RFC 1112 §6.4, RFC 2464 §7); `None` for any other address.
fn multicast_mac(ip: IpAddr) -> Option<Mac> {
    if !ip.is_multicast() {
        return None;
    }
    Some(match ip {
        IpAddr::V4(v4) => {
            let [_, b, c, d] = v4.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            [0x33, 0x33, a, b, c, d]
        }
    })
}

impl Netlink {
    /// Where a packet for `dst` would go ([`Netlink::resolve`]) without leaving its routing domain, and the interface that it would leave by.
    pub async fn resolve_within(
        &self,
        dst: IpAddr,
        sent: Sent,
    ) -> Result<Option<(Route, Option<Link>)>, Error> {
        let Some(route) = self.resolve(dst, sent).await? else {
            return Ok(None);
        };
        let link = self.link(route.oif).await?;
        let stays = match &link {
            Some(link) => is_within(sent.vrf, link, self.vrf_of(link).await?),
            None => true,
        };
        Ok(stays.then_some((route, link)))
    }

    /// How a packet for `dst` leaves this host now. Asks only; [`Netlink::probe`] makes progress where the answer is
    /// [`PeerRoute::Pending`].
    pub async fn resolve_peer(&self, dst: IpAddr, sent: Sent) -> Result<PeerRoute, Error> {
        let Some((route, link)) = self.resolve_within(dst, sent).await? else {
            return Ok(PeerRoute::NoRoute);
        };
        let neighbour = self.neighbour(route.oif, route.next_hop(dst)).await?;
        Ok(resolve(
            dst,
            Some(&route),
            link.as_ref(),
            neighbour.as_ref(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{LinkKind, NeighbourState, testkit};

    const OIF: Ifindex = Ifindex::new(4);
    const UPLINK_MAC: Mac = [2, 0, 0, 0, 0, 0xa];
    const PEER_MAC: Mac = [2, 0, 0, 0, 0, 0xb];

    #[test]
    fn a_known_neighbour_makes_a_resolved_peer() {
        let got = resolve(peer(), Some(&route()), Some(&link()), Some(&neighbour()));

        assert_eq!(
            got,
            PeerRoute::Resolved {
                oif: OIF,
                src_mac: UPLINK_MAC,
                dst_mac: PEER_MAC,
                mtu: 1500,
                prefsrc: None,
            }
        );
    }

    #[test]
    fn the_smaller_mtu_counts() {
        for (of_route, of_link, want) in [
            (Some(1400), 1500, 1400),
            (Some(9000), 1500, 1500),
            (None, 1450, 1450),
        ] {
            let route = Route {
                mtu: of_route,
                ..route()
            };
            let link = Link {
                mtu: of_link,
                ..link()
            };

            let got = resolve(peer(), Some(&route), Some(&link), Some(&neighbour()));

            assert!(
                matches!(got, PeerRoute::Resolved { mtu, .. } if mtu == want),
                "{got:?}"
            );
        }
    }

    #[test]
    fn an_unusable_neighbour_leaves_the_peer_pending_on_its_gateway() {
        let gateway: IpAddr = "198.51.100.1".parse().unwrap();
        let route = Route {
            gateway: Some(gateway),
            ..route()
        };
        let failed = Neighbour {
            state: NeighbourState::Failed,
            ..neighbour()
        };
        let want = PeerRoute::Pending {
            oif: OIF,
            via: gateway,
        };

        assert_eq!(
            resolve(peer(), Some(&route), Some(&link()), Some(&failed)),
            want
        );
        assert_eq!(resolve(peer(), Some(&route), Some(&link()), None), want);
    }

    #[test]
    fn a_link_that_cannot_send_is_down() {
        let want = PeerRoute::LinkDown { oif: OIF };
        let off = Link {
            up: false,
            carrier: false,
            ..link()
        };
        let unplugged = Link {
            carrier: false,
            ..link()
        };

        for link in [None, Some(&off), Some(&unplugged)] {
            assert_eq!(
                resolve(peer(), Some(&route()), link, Some(&neighbour())),
                want
            );
        }
    }

    #[test]
    fn own_addresses_missing_routes_and_bare_links_are_told_apart() {
        let local = Route {
            local: true,
            ..route()
        };
        let bare = Link {
            ethernet: false,
            ..link()
        };

        let of_own = resolve(peer(), Some(&local), Some(&link()), None);
        let of_none = resolve(peer(), None, None, None);
        let of_bare = resolve(peer(), Some(&route()), Some(&bare), None);

        assert_eq!(of_own, PeerRoute::LocalAddress);
        assert_eq!(of_none, PeerRoute::NoRoute);
        assert_eq!(of_bare, PeerRoute::NotEthernet { oif: OIF });
    }

    #[test]
    fn a_route_stays_in_its_routing_domain() {
        let [blue, red] = [Some(Ifindex::new(8)), Some(Ifindex::new(9))];
        for (sent, of_link, within) in [
            (None, None, true),
            (blue, blue, true),
            (blue, None, false),
            (blue, red, false),
            (None, blue, false),
            (Some(OIF), None, true),
        ] {
            assert_eq!(
                is_within(sent, &link(), of_link),
                within,
                "{sent:?} {of_link:?}"
            );
        }
    }

    #[test]
    fn a_group_needs_no_neighbour() {
        for (group, mac) in [
            ("239.129.2.3", [0x01, 0x00, 0x5e, 0x01, 0x02, 0x03]),
            ("ff0e::1:203", [0x33, 0x33, 0x00, 0x01, 0x02, 0x03]),
        ] {
            let got = resolve(group.parse().unwrap(), Some(&route()), Some(&link()), None);

            assert!(
                matches!(got, PeerRoute::Resolved { dst_mac, .. } if dst_mac == mac),
                "{got:?}"
            );
        }
    }

    fn peer() -> IpAddr {
        "192.0.2.2".parse().unwrap()
    }

    fn route() -> Route {
        Route {
            oif: OIF,
            gateway: None,
            mtu: None,
            prefsrc: None,
            local: false,
        }
    }

    fn link() -> Link {
        Link {
            mac: UPLINK_MAC,
            ..testkit::link(OIF.get(), "up0", LinkKind::Physical)
        }
    }

    fn neighbour() -> Neighbour {
        Neighbour {
            ifindex: OIF,
            ip: peer(),
            mac: Some(PEER_MAC),
            state: NeighbourState::Reachable,
            managed: false,
            ours: false,
            router: false,
            external: false,
        }
    }
}
