//! The netlink module against a real kernel, in network namespaces of its own.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use vtep_tests::lab::ns::Ns;
use vtep_tests::{need_root, wait};
use vtep_user::netlink::{
    Conflict, Error, Event, Link, LinkKind, Monitor, NeighbourState, Netlink, PeerRoute,
    XdpFeatures,
};

const OWNER: &str = "vtep instance test";
const TUNNEL: &str = "vtep4789";
const PORT: u16 = 4789;

// Links

#[test]
fn links_are_told_apart_by_kind() {
    need_root!();
    let here = Ns::new("here");
    let there = Ns::new("there");
    here.veth("far0", &there, "far1");
    here.ip("link add near0 type veth peer name near1\n\
             link add br0 type bridge\n\
             link set near0 master br0\n\
             link add vx0 type vxlan id 100 dstport 4790\n\
             link add vx1 type vxlan external dstport 4791\n\
             tuntap add tap0 mode tap\n\
             tuntap add tun0 mode tun\n\
             link set far0 mtu 1400 alias underlay");

    inside(&here, async |netlink| {
        let kind = async |name: &str| netlink.link_by_name(name).await.unwrap().kind;
        let far = netlink.link_by_name("far0").await.unwrap();
        let near = netlink.link_by_name("near0").await.unwrap();
        let bridge = netlink.link_by_name("br0").await.unwrap();

        assert_eq!(far.kind, LinkKind::Veth);
        assert_eq!((far.mtu, far.alias.as_deref()), (1400, Some("underlay")));
        assert!(far.peer_in_other_netns && far.up && far.carrier && far.ethernet);
        assert_ne!(far.mac, [0; 6]);
        assert!(!near.peer_in_other_netns && !near.up && !near.carrier);
        let near_end = netlink.link_by_name("near1").await.unwrap();
        assert_eq!(near.peer, Some(near_end.index));
        assert_eq!(near.master, Some(bridge.index));
        assert_eq!(bridge.kind, LinkKind::Bridge);
        assert_eq!(
            kind("vx0").await,
            LinkKind::Vxlan {
                vni: 100,
                port: 4790,
                external: false
            }
        );
        assert_eq!(
            kind("vx1").await,
            LinkKind::Vxlan {
                vni: 0,
                port: 4791,
                external: true
            }
        );
        assert_eq!(kind("tap0").await, LinkKind::Tap);
        assert_eq!(kind("tun0").await, LinkKind::Tun);
        assert!(!netlink.link_by_name("tun0").await.unwrap().ethernet);
        assert!(matches!(kind("lo").await, LinkKind::Other(_)));

        let all = netlink.links().await.unwrap();
        assert!(all.contains(&far) && all.contains(&near) && all.contains(&bridge));
        assert!(all.is_sorted_by_key(|link| link.index));
        assert_eq!(netlink.link(far.index).await.unwrap(), Some(far));
    });
}

#[test]
fn a_missing_interface_is_refused_with_a_sentence() {
    need_root!();
    let here = Ns::new("here");

    inside(&here, async |netlink| {
        for name in ["eth7", "", "a-name-longer-than-any"] {
            let refusal = netlink.link_by_name(name).await.unwrap_err().to_string();
            assert_eq!(
                refusal,
                format!("interface {name} does not exist; list the interfaces with: ip link")
            );
        }
        assert_eq!(netlink.link(4_000_000).await.unwrap(), None);
        let missing = netlink.delete_link("eth7").await;
        assert!(matches!(missing, Err(Error::NoSuchLink(name)) if name == "eth7"));
    });
}

// The tunnel device

#[test]
fn the_tunnel_device_holds_the_port_for_both_families_and_is_adopted_again() {
    need_root!();
    let here = Ns::new("here");

    inside(&here, async |netlink| {
        let made = netlink
            .create_slow_path_device(TUNNEL, PORT, OWNER)
            .await
            .unwrap();
        assert!(!made.adopted);
        assert_eq!(
            made.link.kind,
            LinkKind::Vxlan {
                vni: 0,
                port: PORT,
                external: true
            }
        );
        assert!(made.link.up && made.link.mtu >= 65_000, "{:?}", made.link);
        for any in ["0.0.0.0", "::"] {
            let taken = UdpSocket::bind((any, PORT)).unwrap_err();
            assert_eq!(taken.raw_os_error(), Some(libc::EADDRINUSE), "{any}");
        }
        assert_eq!(netlink.port_conflict(PORT, TUNNEL).await.unwrap(), None);
        assert_eq!(netlink.vxlan_devices_on(PORT).await.unwrap(), [TUNNEL]);
        let own = netlink.local_addresses(made.link.index).await.unwrap();
        assert_eq!(own, [] as [IpAddr; 0], "no link-local address");

        let again = netlink
            .create_slow_path_device(TUNNEL, PORT, OWNER)
            .await
            .unwrap();
        assert!(again.adopted);
        assert_eq!(again.link.index, made.link.index);

        netlink.delete_link(TUNNEL).await.unwrap();
        assert_eq!(netlink.find_link(TUNNEL).await.unwrap(), None);
        UdpSocket::bind(("::", PORT)).unwrap();
    });
}

#[test]
fn the_tunnel_device_has_the_attributes_that_the_data_path_needs() {
    need_root!();
    let here = Ns::new("here");
    inside(&here, async |netlink| {
        netlink
            .create_slow_path_device(TUNNEL, PORT, OWNER)
            .await
            .unwrap();
    });

    let shown = here.ip_output(&format!("-d link show dev {TUNNEL}"));

    for part in [
        "external",
        "srcport 1 65535",
        "dstport 4789",
        "nolearning",
        "udp6zerocsumrx",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(shown.contains("addrgenmode none"), "{shown}");
    assert!(shown.contains(&format!("alias {OWNER}")), "{shown}");
    assert!(
        !shown.contains("udp6zerocsumtx") || shown.contains("noudp6zerocsumtx"),
        "{shown}"
    );
}

#[test]
fn another_vxlan_device_on_the_port_is_named() {
    need_root!();
    let here = Ns::new("here");
    here.ip("link add vxlan100 type vxlan id 100 dstport 4789");

    inside(&here, async |netlink| {
        let refused = netlink
            .create_slow_path_device(TUNNEL, PORT, OWNER)
            .await
            .unwrap_err();

        assert_eq!(
            refused.to_string(),
            "UDP port 4789 belongs to the kernel's vxlan device vxlan100 (vni 100); \
             remove it with: ip link del vxlan100, or choose another --udp-port"
        );
        assert_eq!(netlink.find_link(TUNNEL).await.unwrap(), None);
        assert_eq!(netlink.vxlan_devices_on(PORT).await.unwrap(), ["vxlan100"]);
    });
}

#[test]
fn a_socket_on_the_port_is_named_with_its_process() {
    need_root!();
    let here = Ns::new("here");

    inside(&here, async |netlink| {
        // Two ports: a child that another test just forked may hold the first socket a moment longer.
        for (any, port) in [("127.0.0.1", 4789), ("::1", 4790)] {
            let _socket = UdpSocket::bind((any, port)).unwrap();

            let refused = netlink
                .create_slow_path_device(TUNNEL, port, OWNER)
                .await
                .unwrap_err();

            let text = refused.to_string();
            let Error::PortTaken(Conflict::Socket { address, process }) = refused else {
                panic!("{text}");
            };
            assert_eq!(address.ip(), any.parse::<IpAddr>().unwrap());
            assert_eq!(process.unwrap().pid, std::process::id());
            assert!(
                text.contains(&format!("(pid {}", std::process::id())),
                "{text}"
            );
            assert_eq!(netlink.find_link(TUNNEL).await.unwrap(), None);
        }
    });
}

#[test]
fn a_socket_whose_device_moved_away_is_still_a_conflict() {
    need_root!();
    let here = Ns::new("here");
    let there = Ns::new("there");
    here.ip("link add vxlan100 type vxlan id 100 dstport 4789");
    here.ip(&format!("link set vxlan100 netns {}", there.name()));
    there.ip("link set vxlan100 up");

    inside(&here, async |netlink| {
        let refused = netlink
            .create_slow_path_device(TUNNEL, PORT, OWNER)
            .await
            .unwrap_err();

        assert!(
            matches!(
                &refused,
                Error::PortTaken(Conflict::Socket { process: None, .. })
            ),
            "{refused}"
        );
        assert_eq!(netlink.find_link(TUNNEL).await.unwrap(), None);
    });
}

#[test]
fn an_interface_of_that_name_that_is_not_ours_is_left_alone() {
    need_root!();
    let here = Ns::new("here");
    here.ip("link add br0 type bridge\n\
             link add vx0 type vxlan external dstport 4789\n\
             link add vx1 type vxlan external dstport 4790");

    inside(&here, async |netlink| {
        let refusal = async |name: &str, port| {
            netlink
                .create_slow_path_device(name, port, OWNER)
                .await
                .unwrap_err()
                .to_string()
        };

        assert!(
            refusal("br0", PORT)
                .await
                .contains("br0 exists already and is not a vxlan")
        );
        assert!(
            refusal("vx0", PORT)
                .await
                .contains("that vtep did not make")
        );
        assert!(
            refusal("vx1", PORT)
                .await
                .contains("is a vxlan device on UDP port 4790")
        );
        netlink
            .create_slow_path_device("vtep4792", 4792, OWNER)
            .await
            .unwrap();
        let other = netlink
            .create_slow_path_device("vtep4792", 4792, "vtep instance b")
            .await;
        let said = other.unwrap_err().to_string();
        let instance = OWNER.strip_prefix(vtep_user::netlink::OWNER).expect("ours");
        let end_it = format!("vtep teardown --instance {instance}");
        assert!(said.contains("4792") && said.contains(&end_it), "{said}");
        assert_eq!(netlink.links().await.unwrap().len(), 5, "lo and the four");
    });
}

// Addresses

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

// Routes and neighbours

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

            let route = netlink.resolve(far, None).await.unwrap().unwrap();
            assert_eq!((route.oif, route.gateway), (up.index, Some(near)));
            assert_eq!(
                (route.mtu, route.prefsrc),
                (Some(1380), Some(ip(family.here)))
            );
            assert!(!route.local);

            let on_link = netlink
                .resolve(near, Some(ip(family.here)))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                (on_link.oif, on_link.gateway, on_link.mtu),
                (up.index, None, None)
            );

            let own = netlink
                .resolve(ip(family.here), None)
                .await
                .unwrap()
                .unwrap();
            assert!(own.local);
            assert_eq!(
                netlink.resolve_peer(ip(family.here), None).await.unwrap(),
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
            assert_eq!(netlink.resolve(far, None).await.unwrap(), None, "nothing");
            for kind in ["unreachable", "prohibit", "blackhole", "throw"] {
                here.ip(&format!("route add {kind} {}", family.far_net));
                assert_eq!(netlink.resolve(far, None).await.unwrap(), None, "{kind}");
                assert_eq!(
                    netlink.resolve_peer(far, None).await.unwrap(),
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
            .resolve(ip("198.51.100.9"), None)
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

        let pending = netlink.resolve_peer(far, None).await.unwrap();
        let via = ip("2001:db8::2");
        assert_eq!(pending, PeerRoute::Pending { oif: up.index, via });
        netlink.probe(up.index, via).await.unwrap();
        let resolved = settled(&netlink, far).await;
        assert!(
            matches!(resolved, PeerRoute::Resolved { dst_mac, .. } if dst_mac == mac(&there)),
            "{resolved:?}"
        );
    });
}

#[test]
fn a_probe_resolves_a_peer_on_the_link_and_behind_a_gateway() {
    need_root!();
    for family in FAMILIES {
        let (here, there) = addressed_pair(&family);
        here.ip(&format!(
            "route add {} via {}",
            family.far_net, family.there
        ));
        here.ip("link set up0 mtu 1450");
        let (far_mac, own_mac) = (mac(&there), here.mac("up0").0);

        inside(&here, async |netlink| {
            let up = netlink.link_by_name("up0").await.unwrap();
            let via = ip(family.there);
            let pending = PeerRoute::Pending { oif: up.index, via };
            assert_eq!(netlink.neighbour(up.index, via).await.unwrap(), None);
            assert_eq!(
                netlink.resolve_peer(ip(family.far), None).await.unwrap(),
                pending
            );
            assert_eq!(netlink.resolve_peer(via, None).await.unwrap(), pending);

            netlink.probe(up.index, via).await.unwrap();

            let want = PeerRoute::Resolved {
                oif: up.index,
                src_mac: own_mac,
                dst_mac: far_mac,
                mtu: 1450,
                prefsrc: Some(ip(family.here)),
            };
            assert_eq!(settled(&netlink, ip(family.far)).await, want);
            assert_eq!(netlink.resolve_peer(via, None).await.unwrap(), want);
            let table = netlink.neighbours().await.unwrap();
            let entry = table.iter().find(|entry| entry.ip == via).unwrap();
            assert_eq!(entry.usable_mac(), Some(far_mac));
            assert!(!entry.managed);
        });
    }
}

#[test]
fn a_probe_after_a_failure_asks_again() {
    need_root!();
    for family in FAMILIES {
        let (here, there) = addressed_pair(&family);
        there.ip("address flush dev down0 scope global");
        let area = family.sysctl;
        here.sysctl(&format!("{area}/neigh/up0/retrans_time_ms"), "10");

        inside(&here, async |netlink| {
            let up = netlink.link_by_name("up0").await.unwrap();
            let peer = ip(family.there);
            let mut monitor = Monitor::open().unwrap();
            netlink.probe(up.index, peer).await.unwrap();
            until(&mut monitor, |event| {
                matches!(event, Event::Neighbour { ip, state: NeighbourState::Failed, .. } if *ip == peer)
            })
            .await;
            there.ip(&format!("address add {} dev down0", family.there_net));

            netlink.probe(up.index, peer).await.unwrap();

            let resolved = settled(&netlink, peer).await;
            assert!(
                matches!(resolved, PeerRoute::Resolved { .. }),
                "{resolved:?}"
            );
        });
    }
}

#[test]
fn a_kept_neighbour_is_resolved_and_managed_by_the_kernel() {
    need_root!();
    for family in FAMILIES {
        let (here, there) = addressed_pair(&family);
        inside(&here, async |netlink| {
            let up = netlink.link_by_name("up0").await.unwrap();
            let peer = ip(family.there);

            netlink.keep_resolved(up.index, peer).await.unwrap();

            settled(&netlink, peer).await;
            let entry = netlink.neighbour(up.index, peer).await.unwrap().unwrap();
            assert!(entry.managed);
            assert_eq!(entry.usable_mac(), Some(mac(&there)));
        });
    }
}

#[test]
fn a_neighbour_set_by_hand_survives_probes() {
    need_root!();
    for family in FAMILIES {
        let (here, _there) = addressed_pair(&family);
        let lladdr = "02:00:00:00:00:99";
        here.ip(&format!(
            "neigh add {} lladdr {lladdr} dev up0 nud permanent",
            family.there
        ));

        inside(&here, async |netlink| {
            let up = netlink.link_by_name("up0").await.unwrap();
            let peer = ip(family.there);
            netlink.probe(up.index, peer).await.unwrap();
            netlink.keep_resolved(up.index, peer).await.unwrap();

            let entry = netlink.neighbour(up.index, peer).await.unwrap().unwrap();
            assert_eq!(entry.state, NeighbourState::Permanent);
            assert_eq!(entry.usable_mac(), Some([2, 0, 0, 0, 0, 0x99]));
        });
    }
}

#[test]
fn a_link_without_carrier_is_down_and_a_tun_is_not_ethernet() {
    need_root!();
    let (here, there) = pair();
    here.ip("address add 192.0.2.1/24 dev up0\n\
             tuntap add tun0 mode tun\n\
             link set tun0 up\n\
             address add 198.51.100.1/24 dev tun0");
    there.ip("link set down0 down");

    inside(&here, async |netlink| {
        let up = netlink.link_by_name("up0").await.unwrap();

        let unplugged = netlink.resolve_peer(ip("192.0.2.2"), None).await.unwrap();

        assert_eq!(unplugged, PeerRoute::LinkDown { oif: up.index });
        // Nobody reads the tun device, so it has no carrier either.
        let tun = netlink.link_by_name("tun0").await.unwrap();
        let over_tun = netlink
            .resolve_peer(ip("198.51.100.2"), None)
            .await
            .unwrap();
        assert_eq!(over_tun, PeerRoute::LinkDown { oif: tun.index });
    });
}

// Changes

#[test]
fn every_kind_of_change_is_reported() {
    need_root!();
    for family in FAMILIES {
        let (here, there) = addressed_pair(&family);
        inside(&here, async |netlink| {
            let up = netlink.link_by_name("up0").await.unwrap();
            let peer = ip(family.there);
            let mut monitor = Monitor::open().unwrap();

            here.ip(&format!(
                "route add {} via {}",
                family.far_net, family.there
            ));
            until(&mut monitor, |event| *event == Event::Route).await;

            netlink.probe(up.index, peer).await.unwrap();
            let found = until(
                &mut monitor,
                |event| matches!(event, Event::Neighbour { ip, mac: Some(_), .. } if *ip == peer),
            )
            .await;
            assert!(
                matches!(found, Event::Neighbour { ifindex, mac: got, state, removed: false, .. }
                    if ifindex == up.index && got == Some(mac(&there)) && state.is_usable()),
                "{found:?}"
            );

            here.ip(&format!("address add {} dev up0", family.spare_net));
            let addr = ip(family.spare);
            let came = Event::Address {
                ifindex: up.index,
                addr,
                added: true,
            };
            until(&mut monitor, |event| *event == came).await;
            here.ip(&format!("address del {} dev up0", family.spare_net));
            let went = Event::Address {
                ifindex: up.index,
                addr,
                added: false,
            };
            until(&mut monitor, |event| *event == went).await;

            here.ip(&format!("neigh del {peer} dev up0"));
            until(&mut monitor, |event| {
                matches!(event, Event::Neighbour { ip, mac: None, .. } if *ip == peer)
                    || matches!(event, Event::Neighbour { ip, removed: true, .. } if *ip == peer)
            })
            .await;

            there.ip("link set down0 down");
            until(&mut monitor, |event| {
                matches!(event, Event::Link { link: Some(Link { up: true, carrier: false, .. }), index }
                    if *index == up.index)
            })
            .await;
            here.ip("link del up0");
            until(&mut monitor, |event| {
                *event
                    == Event::Link {
                        index: up.index,
                        link: None,
                    }
            })
            .await;
        });
    }
}

#[test]
fn a_changed_mac_of_a_kept_neighbour_is_reported() {
    need_root!();
    for family in FAMILIES {
        let (here, there) = addressed_pair(&family);
        inside(&here, async |netlink| {
            let up = netlink.link_by_name("up0").await.unwrap();
            let peer = ip(family.there);
            netlink.keep_resolved(up.index, peer).await.unwrap();
            settled(&netlink, peer).await;
            let mut monitor = Monitor::open().unwrap();

            // The peer announces itself, as a machine that takes an address over does.
            let notify = if peer.is_ipv4() {
                "ipv4/conf/down0/arp_notify"
            } else {
                "ipv6/conf/down0/ndisc_notify"
            };
            there.sysctl(notify, "1");
            there.ip("link set down0 address 02:00:00:00:00:77");

            until(&mut monitor, |event| {
                matches!(event, Event::Neighbour { ip, mac: Some([2, 0, 0, 0, 0, 0x77]), .. } if *ip == peer)
            })
            .await;
        });
    }
}

#[test]
fn a_link_that_leaves_a_bridge_is_not_reported_as_gone() {
    need_root!();
    let here = Ns::new("here");
    here.ip("link add br0 type bridge\n\
             link add p0 type veth peer name p1\n\
             link set p0 master br0");

    inside(&here, async |netlink| {
        let port = netlink.link_by_name("p0").await.unwrap();
        let mut monitor = Monitor::open().unwrap();

        here.ip("link set p0 nomaster\nlink set p0 mtu 1400");

        let changed = Event::Link {
            index: port.index,
            link: None,
        };
        until(&mut monitor, |event| {
            assert_ne!(*event, changed);
            matches!(event, Event::Link { link: Some(link), .. }
                if link.index == port.index && link.mtu == 1400 && link.master.is_none())
        })
        .await;
    });
}

#[test]
fn lost_changes_are_reported_as_an_overrun_and_later_ones_still_come() {
    need_root!();
    let (here, _there) = pair();
    let many: Vec<String> = (0..2000)
        .map(|i| {
            let (a, b) = (i / 250, i % 250 + 1);
            format!("neigh add 192.0.{a}.{b} lladdr 02:00:00:00:00:01 dev up0 nud permanent")
        })
        .collect();

    inside(&here, async |netlink| {
        let up = netlink.link_by_name("up0").await.unwrap();
        let mut monitor = Monitor::with_receive_buffer(4096).unwrap();
        here.ip(&many.join("\n"));

        until(&mut monitor, |event| *event == Event::Overrun).await;

        assert_eq!(
            netlink
                .neighbours()
                .await
                .unwrap()
                .iter()
                .filter(|n| n.ip.is_ipv4())
                .count(),
            2000
        );
        here.ip("link set up0 mtu 1400");
        until(&mut monitor, |event| {
            matches!(event, Event::Link { link: Some(link), .. } if link.index == up.index && link.mtu == 1400)
        })
        .await;
    });
}

// XDP

#[test]
fn a_veth_says_what_xdp_it_can_do() {
    need_root!();
    let (here, there) = pair();

    inside(&here, async |netlink| {
        let up = netlink.link_by_name("up0").await.unwrap();
        let Some(features) = netlink.xdp_features(up.index).unwrap() else {
            // Before 6.3 the kernel has no such family.
            return;
        };
        assert!(
            features.has(XdpFeatures::BASIC | XdpFeatures::REDIRECT),
            "{features:?}"
        );
        assert!(!features.has(XdpFeatures::HW_OFFLOAD));
        assert_eq!(netlink.xdp_features(4_000_000).unwrap(), None);
    });
    drop(there);
}

// Helpers

/// A family's addresses: the two ends of a link, and a network behind the far end.
struct Family {
    here: &'static str,
    here_net: &'static str,
    there: &'static str,
    there_net: &'static str,
    spare: &'static str,
    spare_net: &'static str,
    far: &'static str,
    far_net: &'static str,
    sysctl: &'static str,
}

const FAMILIES: [Family; 2] = [
    Family {
        here: "192.0.2.1",
        here_net: "192.0.2.1/24",
        there: "192.0.2.2",
        there_net: "192.0.2.2/24",
        spare: "203.0.113.1",
        spare_net: "203.0.113.1/24",
        far: "198.51.100.9",
        far_net: "198.51.100.0/24",
        sysctl: "ipv4",
    },
    Family {
        here: "2001:db8:1::1",
        here_net: "2001:db8:1::1/64",
        there: "2001:db8:1::2",
        there_net: "2001:db8:1::2/64",
        spare: "2001:db8:3::1",
        spare_net: "2001:db8:3::1/64",
        far: "2001:db8:2::9",
        far_net: "2001:db8:2::/64",
        sysctl: "ipv6",
    },
];

/// Two namespaces, `up0` in the first joined with `down0` in the second.
fn pair() -> (Ns, Ns) {
    let (here, there) = (Ns::new("here"), Ns::new("there"));
    here.veth("up0", &there, "down0");
    (here, there)
}

fn addressed_pair(family: &Family) -> (Ns, Ns) {
    let (here, there) = pair();
    here.ip(&format!("address add {} dev up0", family.here_net));
    there.ip(&format!("address add {} dev down0", family.there_net));
    (here, there)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The MAC of the second namespace's end of a pair.
fn mac(there: &Ns) -> [u8; 6] {
    there.mac("down0").0
}

/// Runs a test with a socket inside a namespace.
fn inside(ns: &Ns, test: impl AsyncFnOnce(Netlink) + Send) {
    ns.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let netlink = Netlink::open().unwrap();
            test(netlink).await;
        });
    });
}

/// Waits until a peer is no longer pending.
async fn settled(netlink: &Netlink, peer: IpAddr) -> PeerRoute {
    let waiting = async {
        loop {
            match netlink.resolve_peer(peer, None).await.unwrap() {
                PeerRoute::Pending { .. } => tokio::time::sleep(Duration::from_millis(5)).await,
                other => return other,
            }
        }
    };
    tokio::time::timeout(wait::DEADLINE, waiting)
        .await
        .expect("the peer is resolved")
}

/// Reads changes until one is as wanted.
async fn until(monitor: &mut Monitor, mut wanted: impl FnMut(&Event) -> bool) -> Event {
    let mut seen = Vec::new();
    let reading = async {
        loop {
            let event = monitor.next().await.unwrap();
            if wanted(&event) {
                return event;
            }
            seen.push(event);
        }
    };
    let result = tokio::time::timeout(wait::DEADLINE, reading).await;
    result.unwrap_or_else(|_| panic!("waited in vain; seen: {seen:?}"))
}
