//! Gates to bridges, and what a bridge does with its members.

use std::net::Ipv4Addr;

use vtep_tests::lab::ns::Ns;
use vtep_tests::need_root;
use vtep_tests::traffic::ping;
use vtep_tests::wait::until_true;
use vtep_user::netlink::{BridgePort, NewGate};

use super::inside;

#[test]
fn a_gate_is_made_whole_in_the_bridge_which_keeps_its_mac() {
    need_root!();
    let here = Ns::new("here");
    here.ip("link add br0 type bridge\nlink set br0 mtu 1400 up");
    let mac = here.mac("br0");
    inside(&here, async |netlink| {
        let bridge = netlink.link_by_name("br0").await.unwrap();
        let gate = NewGate {
            inner: "in0",
            outer: "out0",
            aliases: ["one end", "the other"],
            bridge: bridge.index,
            mac: bridge.mac,
            mtu: 1400,
        };
        netlink.make_gate(gate).await.unwrap();

        let inner = netlink.link_by_name("in0").await.unwrap();
        let outer = netlink.link_by_name("out0").await.unwrap();
        assert_eq!(inner.master, Some(bridge.index));
        assert_eq!(
            (inner.alias.as_deref(), outer.alias.as_deref()),
            (Some("one end"), Some("the other"))
        );
        assert_eq!((inner.mtu, outer.mtu), (1400, 1400));
        assert!(inner.up && outer.up);
        assert_eq!(
            (inner.peer, outer.peer),
            (Some(outer.index), Some(inner.index))
        );
        assert_eq!(outer.bridge_port, None);
        // A second one of the name leaves nothing behind, and the first as it is.
        netlink.make_gate(gate).await.unwrap_err();
        assert_eq!(netlink.link_by_name("in0").await.unwrap(), inner);
    });
    assert_eq!(here.mac("br0"), mac);
    for end in ["in0", "out0"] {
        let addresses = here.ip_output(&format!("-6 addr show dev {end}"));
        assert!(!addresses.contains("fe80"), "{addresses}");
    }
}

#[test]
fn a_member_is_closed_and_opened_and_the_kernel_opens_it_when_its_link_comes() {
    need_root!();
    let (here, far) = (Ns::new("here"), Ns::new("far"));
    here.ip("link add br0 type bridge\nlink set br0 addrgenmode none\nlink set br0 up\naddr add 10.9.0.1/24 dev br0");
    here.veth("near0", &far, "far0");
    here.ip("link set near0 master br0");
    far.ip("addr add 10.9.0.2/24 dev far0");
    ping(&far, Ipv4Addr::new(10, 9, 0, 1).into());
    let state = || {
        inside(&here, async |netlink| {
            netlink.link_by_name("near0").await.unwrap().bridge_port
        })
    };
    let set = |wanted| {
        inside(&here, async |netlink| {
            let member = netlink.link_by_name("near0").await.unwrap();
            netlink.set_bridge_port(member.index, wanted).await.unwrap();
        });
    };
    assert_eq!(state(), Some(BridgePort::Other));

    set(BridgePort::Disabled);
    assert_eq!(state(), Some(BridgePort::Disabled));
    let learned = here.run(|| {
        let out = std::process::Command::new("bridge")
            .args(["fdb", "show", "dev", "near0"])
            .output();
        String::from_utf8(out.unwrap().stdout).unwrap()
    });
    let mac = far.mac("far0").to_string();
    assert!(!learned.contains(&mac), "{learned}");

    set(BridgePort::Other);
    assert_eq!(state(), Some(BridgePort::Other));
    ping(&far, Ipv4Addr::new(10, 9, 0, 1).into());

    set(BridgePort::Disabled);
    here.ip("link set near0 down\nlink set near0 up");
    until_true("the kernel to open it", || {
        state() == Some(BridgePort::Other)
    });
}
