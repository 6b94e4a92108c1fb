//! What is reported while it changes.

use vtep_tests::lab::ns::Ns;
use vtep_tests::need_root;
use vtep_user::netlink::{Link, NetlinkEvent, NetlinkMonitor};

use crate::{FAMILIES, addressed_pair, inside, ip, mac, pair, resolved_peer, until};

#[test]
fn every_kind_of_change_is_reported() {
    need_root!();
    for family in FAMILIES {
        let (here, there) = addressed_pair(&family);
        inside(&here, async |netlink| {
            let up = netlink.link_by_name("up0").await.unwrap();
            let peer = ip(family.there);
            let mut monitor = NetlinkMonitor::open().unwrap();

            here.ip(&format!(
                "route add {} via {}",
                family.far_net, family.there
            ));
            let route = NetlinkEvent::Route(Some(family.far_net.parse().unwrap()));
            until(&mut monitor, |event| *event == route).await;

            netlink.probe(up.index, peer).await.unwrap();
            let found = until(
                &mut monitor,
                |event| matches!(event, NetlinkEvent::Neighbour { ip, mac: Some(_), .. } if *ip == peer),
            )
            .await;
            assert!(
                matches!(found, NetlinkEvent::Neighbour { ifindex, mac: got, state, removed: false, .. }
                    if ifindex == up.index && got == Some(mac(&there)) && state.is_usable()),
                "{found:?}"
            );

            here.ip(&format!("address add {} dev up0", family.spare_net));
            let addr = ip(family.spare);
            let came = NetlinkEvent::Address {
                ifindex: up.index,
                addr,
                added: true,
            };
            until(&mut monitor, |event| *event == came).await;
            here.ip(&format!("address del {} dev up0", family.spare_net));
            let went = NetlinkEvent::Address {
                ifindex: up.index,
                addr,
                added: false,
            };
            until(&mut monitor, |event| *event == went).await;

            here.ip(&format!("neigh del {peer} dev up0"));
            until(&mut monitor, |event| {
                matches!(event, NetlinkEvent::Neighbour { ip, mac: None, .. } if *ip == peer)
                    || matches!(event, NetlinkEvent::Neighbour { ip, removed: true, .. } if *ip == peer)
            })
            .await;

            there.ip("link set down0 down");
            until(&mut monitor, |event| {
                matches!(event, NetlinkEvent::Link { link: Some(Link { up: true, carrier: false, .. }), index }
                    if *index == up.index)
            })
            .await;
            here.ip("link del up0");
            until(&mut monitor, |event| {
                *event
                    == NetlinkEvent::Link {
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
            resolved_peer(&netlink, peer).await;
            let mut monitor = NetlinkMonitor::open().unwrap();

            // The peer announces itself, as a machine that takes an address over does.
            let notify = if peer.is_ipv4() {
                "ipv4/conf/down0/arp_notify"
            } else {
                "ipv6/conf/down0/ndisc_notify"
            };
            there.sysctl(notify, "1");
            there.ip("link set down0 address 02:00:00:00:00:77");

            until(&mut monitor, |event| {
                matches!(event, NetlinkEvent::Neighbour { ip, mac: Some([2, 0, 0, 0, 0, 0x77]), .. } if *ip == peer)
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
        let mut monitor = NetlinkMonitor::open().unwrap();

        here.ip("link set p0 nomaster\nlink set p0 mtu 1400");

        let changed = NetlinkEvent::Link {
            index: port.index,
            link: None,
        };
        until(&mut monitor, |event| {
            assert_ne!(*event, changed);
            matches!(event, NetlinkEvent::Link { link: Some(link), .. }
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
        let mut monitor = NetlinkMonitor::with_receive_buffer(4096).unwrap();
        here.ip(&many.join("\n"));

        until(&mut monitor, |event| *event == NetlinkEvent::Overrun).await;

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
            matches!(event, NetlinkEvent::Link { link: Some(link), .. } if link.index == up.index && link.mtu == 1400)
        })
        .await;
    });
}
