//! The slow-path device, and who else has its UDP port.

use std::net::{IpAddr, UdpSocket};

use vtep_tests::lab::ns::Ns;
use vtep_tests::need_root;
use vtep_user::netlink::{Conflict, Error, LinkKind};

use crate::{OWNER, PORT, TUNNEL, inside};

#[test]
fn the_tunnel_device_holds_the_port_for_both_families_and_is_adopted_again() {
    need_root!();
    let here = Ns::new("here");

    inside(&here, async |netlink| {
        let made = netlink
            .create_slow_path_device(TUNNEL, PORT, OWNER, None)
            .await
            .unwrap();
        assert!(!made.adopted);
        assert_eq!(
            made.link.kind,
            LinkKind::Vxlan {
                vni: 0,
                port: PORT,
                external: true,
                dev: None,
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
            .create_slow_path_device(TUNNEL, PORT, OWNER, None)
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
            .create_slow_path_device(TUNNEL, PORT, OWNER, None)
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
            .create_slow_path_device(TUNNEL, PORT, OWNER, None)
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
                .create_slow_path_device(TUNNEL, port, OWNER, None)
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
            .create_slow_path_device(TUNNEL, PORT, OWNER, None)
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
                .create_slow_path_device(name, port, OWNER, None)
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
            .create_slow_path_device("vtep4792", 4792, OWNER, None)
            .await
            .unwrap();
        let other = netlink
            .create_slow_path_device("vtep4792", 4792, "vtep instance b", None)
            .await;
        let said = other.unwrap_err().to_string();
        let instance = OWNER.strip_prefix(vtep_user::netlink::OWNER).expect("ours");
        let end_it = format!("vtep teardown --instance {instance}");
        assert!(said.contains("4792") && said.contains(&end_it), "{said}");
        assert_eq!(netlink.links().await.unwrap().len(), 5, "lo and the four");
    });
}
