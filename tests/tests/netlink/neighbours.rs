//! Next hops and their MACs.

use vtep_tests::need_root;
use vtep_user::netlink::{NeighbourState, NetlinkEvent, NetlinkMonitor, PeerRoute, Sent};

use crate::{FAMILIES, addressed_pair, inside, ip, mac, resolved_peer, until};

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
                netlink
                    .resolve_peer(ip(family.far), Sent::default())
                    .await
                    .unwrap(),
                pending
            );
            assert_eq!(
                netlink.resolve_peer(via, Sent::default()).await.unwrap(),
                pending
            );

            netlink.probe(up.index, via).await.unwrap();

            let want = PeerRoute::Resolved {
                oif: up.index,
                src_mac: own_mac,
                dst_mac: far_mac,
                mtu: 1450,
                prefsrc: Some(ip(family.here)),
            };
            assert_eq!(resolved_peer(&netlink, ip(family.far)).await, want);
            assert_eq!(
                netlink.resolve_peer(via, Sent::default()).await.unwrap(),
                want
            );
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
            let mut monitor = NetlinkMonitor::open().unwrap();
            netlink.probe(up.index, peer).await.unwrap();
            until(&mut monitor, |event| {
                matches!(event, NetlinkEvent::Neighbour { ip, state: NeighbourState::Failed, .. } if *ip == peer)
            })
            .await;
            there.ip(&format!("address add {} dev down0", family.there_net));

            netlink.probe(up.index, peer).await.unwrap();

            let resolved = resolved_peer(&netlink, peer).await;
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

            resolved_peer(&netlink, peer).await;
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
