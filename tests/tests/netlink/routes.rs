//! Addresses, and the ways to a peer.

use vtep_tests::lab::ns::Ns;
use vtep_tests::need_root;
use vtep_user::netlink::{PeerRoute, Sent};

use crate::{FAMILIES, addressed_pair, inside, ip, mac, pair, resolved_peer};

#[test]
fn a_global_address_comes_before_a_link_local_one() {
    need_root!();
    let (here, _there) = pair();
    here.ip("address add 2001:db8::a/64 dev up0\naddress add 192.0.2.1/24 dev up0");

    inside(&here, async |netlink| {
        let up = netlink.link_by_name("up0").await.unwrap();

        let own = netlink.local_addresses(up.index).await.unwrap();
        assert_eq!(own.len(), 3, "{own:?}");
        assert!(own[..2].contains(&ip("2001:db8::a")) && own[..2].contains(&ip("192.0.2.1")));
        assert!(own[2].to_string().starts_with("fe80:"));
        let all = netlink.all_local_addresses().await.unwrap();
        assert!(all.contains(&ip("127.0.0.1")) && all.contains(&ip("::1")));
    });
}

#[test]
fn a_route_names_its_gateway_its_mtu_and_the_source() {
    need_root!();
    for family in FAMILIES {
        let (here, _there) = addressed_pair(&family);
        let (far, gateway) = (family.far_net, family.there);
        here.ip(&format!("route add {far} via {gateway} mtu 1380"));

        inside(&here, async |netlink| {
            let up = netlink.link_by_name("up0").await.unwrap();
            let far = ip(family.far);
            let near = ip(family.there);

            let route = netlink
                .resolve(far, Sent::default())
                .await
                .unwrap()
                .unwrap();
            assert_eq!((route.oif, route.gateway), (up.index, Some(near)));
            assert_eq!(
                (route.mtu, route.prefsrc),
                (Some(1380), Some(ip(family.here)))
            );
            assert!(!route.local);

            let on_link = netlink
                .resolve(
                    near,
                    Sent {
                        from: Some(ip(family.here)),
                        ..Sent::default()
                    },
                )
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                (on_link.oif, on_link.gateway, on_link.mtu),
                (up.index, None, None)
            );

            let own = netlink
                .resolve(ip(family.here), Sent::default())
                .await
                .unwrap()
                .unwrap();
            assert!(own.local);
            assert_eq!(
                netlink
                    .resolve_peer(ip(family.here), Sent::default())
                    .await
                    .unwrap(),
                PeerRoute::LocalAddress
            );
        });
    }
}

#[test]
fn a_destination_without_a_way_has_no_route() {
    need_root!();
    for family in FAMILIES {
        let (here, _there) = addressed_pair(&family);
        inside(&here, async |netlink| {
            let far = ip(family.far);
            assert_eq!(
                netlink.resolve(far, Sent::default()).await.unwrap(),
                None,
                "nothing"
            );
            for kind in ["unreachable", "prohibit", "blackhole", "throw"] {
                here.ip(&format!("route add {kind} {}", family.far_net));
                assert_eq!(
                    netlink.resolve(far, Sent::default()).await.unwrap(),
                    None,
                    "{kind}"
                );
                assert_eq!(
                    netlink.resolve_peer(far, Sent::default()).await.unwrap(),
                    PeerRoute::NoRoute
                );
                here.ip(&format!("route del {kind} {}", family.far_net));
            }
        });
    }
}

#[test]
fn one_of_several_equal_gateways_is_taken() {
    need_root!();
    let here = Ns::new("here");
    let there = Ns::new("there");
    here.veth("up0", &there, "down0");
    here.veth("up1", &there, "down1");
    here.ip("address add 192.0.2.1/30 dev up0\n\
             address add 192.0.2.5/30 dev up1\n\
             route add 198.51.100.0/24 nexthop via 192.0.2.2 nexthop via 192.0.2.6");

    inside(&here, async |netlink| {
        let route = netlink
            .resolve(ip("198.51.100.9"), Sent::default())
            .await
            .unwrap()
            .unwrap();

        assert!([ip("192.0.2.2"), ip("192.0.2.6")].contains(&route.gateway.unwrap()));
    });
}

#[test]
fn an_ipv4_route_over_an_ipv6_gateway_is_followed() {
    need_root!();
    let (here, there) = pair();
    here.ip("address add 192.0.2.1/32 dev up0\naddress add 2001:db8::1/64 dev up0");
    there.ip("address add 2001:db8::2/64 dev down0");
    here.ip("route add 198.51.100.0/24 via inet6 2001:db8::2 dev up0");

    inside(&here, async |netlink| {
        let up = netlink.link_by_name("up0").await.unwrap();
        let far = ip("198.51.100.9");

        let pending = netlink.resolve_peer(far, Sent::default()).await.unwrap();
        let via = ip("2001:db8::2");
        assert_eq!(pending, PeerRoute::Pending { oif: up.index, via });
        netlink.probe(up.index, via).await.unwrap();
        let resolved = resolved_peer(&netlink, far).await;
        assert!(
            matches!(resolved, PeerRoute::Resolved { dst_mac, .. } if dst_mac == mac(&there)),
            "{resolved:?}"
        );
    });
}
