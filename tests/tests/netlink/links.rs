//! Devices, and what they are.

use vtep_common::abi::id::Ifindex;
use vtep_tests::lab::ns::Ns;
use vtep_tests::need_root;
use vtep_user::netlink::{Error, LinkKind, PeerRoute, Sent, XdpFeatures};

use crate::{inside, ip, pair};

/// A number that no interface has.
const NOWHERE: Ifindex = Ifindex::new(4_000_000);

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
        assert!(far.peer_netns.is_some() && far.up && far.carrier && far.ethernet);
        assert_ne!(far.mac, [0; 6]);
        assert!(near.peer_netns.is_none() && !near.up && !near.carrier);
        let near_end = netlink.link_by_name("near1").await.unwrap();
        assert_eq!(near.peer, Some(near_end.index));
        assert_eq!(near.master, Some(bridge.index));
        assert_eq!(
            bridge.kind,
            LinkKind::Bridge {
                vlan_aware: false,
                spanning_tree: false
            }
        );
        assert_eq!(
            kind("vx0").await,
            LinkKind::Vxlan {
                vni: 100,
                port: 4790,
                external: false,
                dev: None,
            }
        );
        assert_eq!(
            kind("vx1").await,
            LinkKind::Vxlan {
                vni: 0,
                port: 4791,
                external: true,
                dev: None,
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
        assert_eq!(netlink.link(NOWHERE).await.unwrap(), None);
        let missing = netlink.delete_link("eth7").await;
        assert!(matches!(missing, Err(Error::NoSuchLink(name)) if name == "eth7"));
    });
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

        let unplugged = netlink
            .resolve_peer(ip("192.0.2.2"), Sent::default())
            .await
            .unwrap();

        assert_eq!(unplugged, PeerRoute::LinkDown { oif: up.index });
        // Nobody reads the tun device, so it has no carrier either.
        let tun = netlink.link_by_name("tun0").await.unwrap();
        let over_tun = netlink
            .resolve_peer(ip("198.51.100.2"), Sent::default())
            .await
            .unwrap();
        assert_eq!(over_tun, PeerRoute::LinkDown { oif: tun.index });
    });
}

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
        assert_eq!(netlink.xdp_features(NOWHERE).unwrap(), None);
    });
    drop(there);
}
