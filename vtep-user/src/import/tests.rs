//! What is made of what the kernel has.

use std::net::IpAddr;

use vtep_common::abi::id::Ifindex;

use super::{Facts, ImportError, configuration};
use crate::model::{ImportRow, line};
use crate::netlink::{
    BridgeMember, FdbEntry, FdbKind, InterfaceAddress, Link, LinkKind, MemberVlan, MemberVlans,
    Neighbour, NeighbourState, OWNER, Vxlan, testkit,
};

const ETH0: u32 = 2;
const DEVICE: u32 = 10;
const BRIDGE: u32 = 11;
const GUEST: u32 = 12;
const ZERO: [u8; 6] = [0; 6];

#[test]
fn a_group_becomes_the_multicast_mode() {
    let mut facts = bridged();
    let device = &mut facts.vxlans[0];
    device.remote = Some(ip("ff05::100"));
    device.dev = Some(Ifindex::new(ETH0));
    device.ttl = 5;
    facts.fdb = vec![to(ZERO, "ff05::100")];

    let rows = rows(&facts);

    assert_eq!(
        commands(&rows),
        [
            "run --iface eth0 --local 2001:db8:1::1",
            "vni add 100 --mode multicast --group ff05::100 --inner-vlan pass --ttl 5 --bridge vxbr100",
        ]
    );
    assert_eq!(left_out(&rows), Vec::<&str>::new());
}

#[test]
fn a_flood_list_is_the_default_mode() {
    let mut facts = bridged();
    facts.fdb = vec![to(ZERO, "2001:db8:2::1"), to(ZERO, "2001:db8:3::1")];

    assert_eq!(
        commands(&rows(&facts)),
        [
            "run --iface eth0 --local 2001:db8:1::1",
            "vni add 100 --inner-vlan pass --bridge vxbr100",
            "fdb append 00:00:00:00:00:00 --vni 100 --dst 2001:db8:2::1",
            "fdb append 00:00:00:00:00:00 --vni 100 --dst 2001:db8:3::1",
        ]
    );
}

#[test]
fn a_device_that_does_not_learn_is_the_l2_mode() {
    let mut facts = bridged();
    facts.vxlans[0].learning = false;
    facts.fdb = vec![to(ZERO, "2001:db8:2::1"), to(mac(1), "2001:db8:2::1")];

    assert_eq!(
        commands(&rows(&facts))[1..],
        [
            "vni add 100 --mode l2 --inner-vlan pass --bridge vxbr100",
            "fdb append 00:00:00:00:00:00 --vni 100 --dst 2001:db8:2::1",
            "fdb add 02:00:00:00:00:01 --vni 100 --dst 2001:db8:2::1",
        ]
    );
}

#[test]
fn a_proxy_without_a_flood_list_is_the_l3_mode_and_floods_at_home() {
    let mut facts = bridged();
    facts.vxlans[0].learning = false;
    facts.vxlans[0].proxy = true;
    facts.fdb = vec![to(mac(1), "2001:db8:2::1")];
    facts.neighbours = vec![
        host(DEVICE, "2001:db8:ff::11", mac(1)),
        // The kernel's own, and one of another interface.
        host(DEVICE, "ff02::16", [0x33, 0x33, 0, 0, 0, 0x16]),
        host(ETH0, "2001:db8:1::2", mac(9)),
    ];

    assert_eq!(
        commands(&rows(&facts))[1..],
        [
            "vni add 100 --mode l3 --flood her --inner-vlan pass --bridge vxbr100",
            "fdb add 02:00:00:00:00:01 --vni 100 --dst 2001:db8:2::1",
            "neigh add 2001:db8:ff::11 --vni 100 --lladdr 02:00:00:00:00:01",
        ]
    );
}

#[test]
fn a_bridge_that_suppresses_has_its_neighbours_taken_over() {
    let mut facts = bridged();
    facts.vxlans[0].learning = false;
    facts.bridges.members[0].1.suppress = true;
    facts.fdb = vec![
        FdbEntry {
            kind: FdbKind::External,
            ..to(ZERO, "2001:db8:2::1")
        },
        FdbEntry {
            kind: FdbKind::External,
            ..to(mac(1), "2001:db8:2::1")
        },
    ];
    facts.neighbours = vec![
        Neighbour {
            external: true,
            router: true,
            state: NeighbourState::Reachable,
            ..host(BRIDGE, "2001:db8:ff::11", mac(1))
        },
        // The host's own business.
        Neighbour {
            state: NeighbourState::Reachable,
            ..host(BRIDGE, "2001:db8:ff::12", mac(2))
        },
    ];

    let rows = rows(&facts);

    assert_eq!(
        commands(&rows)[1..],
        [
            "vni add 100 --mode l2 --suppress on --inner-vlan pass --bridge vxbr100",
            "fdb append 00:00:00:00:00:00 --vni 100 --dst 2001:db8:2::1",
            "fdb add 02:00:00:00:00:01 --vni 100 --dst 2001:db8:2::1",
            "neigh add 2001:db8:ff::11 --vni 100 --lladdr 02:00:00:00:00:01 --router",
        ]
    );
    assert!(left_out(&rows)[0].starts_with("2 entries are kept by a routing daemon"));
}

#[test]
fn settings_of_the_outer_header_are_taken_over() {
    let mut facts = bridged();
    let device = &mut facts.vxlans[0];
    device.ttl_inherit = true;
    device.tos = 1;
    device.df = Some("inherit");
    device.source_ports = (1000, 2000);
    device.ageing_s = 60;
    device.limit = 50;
    facts.fdb = vec![to(ZERO, "2001:db8:2::1")];

    assert_eq!(
        commands(&rows(&facts))[1],
        "vni add 100 --ageing 60 --max-macs 50 --inner-vlan pass --ttl inherit --tos inherit --df inherit --srcport 1000-2000 --bridge vxbr100"
    );
}

#[test]
fn vteps_that_were_learned_are_still_welcome() {
    let mut facts = bridged();
    facts.fdb = vec![
        to(ZERO, "2001:db8:2::1"),
        FdbEntry {
            kind: FdbKind::Learned,
            ..to(mac(1), "2001:db8:2::1")
        },
    ];
    assert!(!commands(&rows(&facts))[1].contains("--sources"));

    facts.fdb.push(FdbEntry {
        kind: FdbKind::Learned,
        ..to(mac(2), "2001:db8:3::1")
    });
    let found = rows(&facts);
    assert!(commands(&found)[1].contains("--sources any"), "{found:?}");
    assert!(
        !commands(&found)
            .iter()
            .any(|line| line.contains("2001:db8:3::1"))
    );

    facts.fdb.clear();
    assert!(commands(&rows(&facts))[1].contains("--sources any"));
}

#[test]
fn members_with_settings_of_their_own_are_named() {
    let mut facts = bridged();
    facts.fdb = vec![to(ZERO, "2001:db8:2::1"), behind(GUEST, mac(7), None)];
    assert_eq!(
        commands(&rows(&facts))[2],
        "port add vnet0 --vni 100 --mac 02:00:00:00:00:07"
    );

    facts.fdb.truncate(1);
    facts.bridges.members[1].1.isolated = true;
    facts.bridges.members[1].1.others = vec!["locked on"];
    let rows = rows(&facts);
    assert_eq!(commands(&rows)[2], "port add vnet0 --vni 100 --isolated on");
    assert!(
        left_out(&rows)[0].starts_with("vnet0 is set to locked on"),
        "{rows:?}"
    );
}

#[test]
fn who_is_learned_at_a_member_is_named_where_vtep_learns_nothing() {
    let mut facts = bridged();
    facts.vxlans[0].learning = false;
    let learned = FdbEntry {
        kind: FdbKind::Learned,
        ..behind(GUEST, mac(7), None)
    };
    facts.fdb = vec![to(ZERO, "2001:db8:2::1"), learned];

    let rows = rows(&facts);

    let row = rows.iter().find(|row| row.left_out.is_some()).unwrap();
    assert!(
        row.left_out
            .as_ref()
            .unwrap()
            .contains("has learned who is behind vnet0")
    );
    assert_eq!(
        row.instead,
        ["vtep port add vnet0 --vni 100 --mac 02:00:00:00:00:07"]
    );
}

#[test]
fn what_cannot_be_taken_over_is_said_with_what_to_type() {
    let mut facts = bridged();
    facts.vxlans[0].others = vec!["l3miss", "gbp"];
    facts.fdb = vec![
        to(ZERO, "2001:db8:2::1"),
        FdbEntry {
            nexthop: Some(12),
            dst: None,
            ..to(mac(1), "::")
        },
        FdbEntry {
            port: Some(8472),
            ..to(mac(2), "2001:db8:2::1")
        },
        FdbEntry {
            vni: Some(200),
            ..to(mac(3), "2001:db8:2::1")
        },
    ];
    facts.links[2].kind = LinkKind::Bridge {
        vlan_aware: false,
        spanning_tree: true,
    };

    let rows = rows(&facts);

    assert_eq!(commands(&rows).len(), 3, "{rows:?}");
    let said = left_out(&rows);
    for words in [
        "runs a spanning tree",
        "1 MAC point to nexthop 12",
        "at UDP port 8472",
        "in vni 200",
        "l3miss: ",
        "gbp: ",
    ] {
        assert!(
            said.iter().any(|what| what.contains(words)),
            "{words}: {said:?}"
        );
    }
    let instead = rows.iter().flat_map(|row| &row.instead);
    let instead: Vec<_> = instead.map(String::as_str).collect();
    for line in [
        "ip link set vxbr100 type bridge stp_state 0",
        "vtep fdb add 02:00:00:00:00:01 --vni 100 --dst VTEP",
        "vtep monitor --vni 100",
    ] {
        assert!(instead.contains(&line), "{line}: {instead:?}");
    }
}

#[test]
fn a_device_without_a_bridge_has_one_of_its_name() {
    let mut facts = bridged();
    facts.links[1].master = None;
    facts.vxlans[0].remote = Some(ip("2001:db8:2::1"));
    facts.fdb = vec![to(ZERO, "2001:db8:2::1")];
    facts.addresses.push(address(DEVICE, "10.0.0.1", 24));

    let rows = rows(&facts);

    assert_eq!(
        commands(&rows)[1..],
        [
            "vni add 100 --inner-vlan pass --bridge vxlan100",
            "fdb append 00:00:00:00:00:00 --vni 100 --dst 2001:db8:2::1",
        ]
    );
    let row = rows.iter().find(|row| row.left_out.is_some()).unwrap();
    assert_eq!(
        row.instead,
        [
            "ip link add vxlan100 address 02:00:00:00:00:0a mtu 1430 type bridge stp_state 0",
            "ip link set vxlan100 up",
            "ip addr add 10.0.0.1/24 dev vxlan100",
        ]
    );
}

#[test]
fn vlans_of_a_bridge_become_ports_with_their_tags() {
    let mut facts = aware();
    facts.bridges.vlans = vec![
        (Ifindex::new(DEVICE), vlans(&[(10, true)])),
        (Ifindex::new(GUEST), vlans(&[(10, false), (20, true)])),
    ];
    facts.fdb = vec![
        to(ZERO, "2001:db8:2::1"),
        behind(GUEST, mac(7), Some(10)),
        behind(GUEST, mac(8), Some(20)),
    ];

    let rows = rows(&facts);

    assert_eq!(
        commands(&rows)[1..],
        [
            "vni add 100",
            "port add vnet0 --vni 100 --vlan 10 --mac 02:00:00:00:00:07",
            "fdb append 00:00:00:00:00:00 --vni 100 --dst 2001:db8:2::1",
        ]
    );
    assert!(left_out(&rows)[0].contains("vnet0 is a member of vxbr100"));
}

#[test]
fn an_external_device_has_a_vni_for_each_vlan_with_a_tunnel() {
    let mut facts = aware();
    facts.vxlans[0].external = true;
    facts.vxlans[0].vni = 0;
    facts.bridges.members[0].1.vlan_tunnel = true;
    facts.bridges.vlans = vec![
        (
            Ifindex::new(DEVICE),
            MemberVlans {
                tunnels: vec![(10, 1010), (20, 1020)],
                ..vlans(&[(10, false), (20, false)])
            },
        ),
        (Ifindex::new(GUEST), vlans(&[(10, true), (20, false)])),
        (Ifindex::new(BRIDGE), vlans(&[(20, false)])),
    ];
    let of_vni = |vni| FdbEntry {
        source_vni: Some(vni),
        ..to(ZERO, "2001:db8:2::1")
    };
    facts.fdb = vec![of_vni(1010), of_vni(1020)];

    let rows = rows(&facts);

    assert_eq!(
        commands(&rows)[1..],
        [
            "vni add 1010",
            "port add vnet0 --vni 1010",
            "fdb append 00:00:00:00:00:00 --vni 1010 --dst 2001:db8:2::1",
            "vni add 1020",
            "port add vnet0 --vni 1020 --vlan 20",
            "fdb append 00:00:00:00:00:00 --vni 1020 --dst 2001:db8:2::1",
        ]
    );
    let said = left_out(&rows);
    assert!(
        said.iter()
            .any(|what| what.contains("the host itself is in VLAN 20")),
        "{said:?}"
    );
}

#[test]
fn an_external_device_without_a_bridge_is_left_out() {
    let mut facts = bridged();
    facts.vxlans[0].external = true;
    facts.links[1].master = None;

    let rows = rows(&facts);

    assert_eq!(commands(&rows), ["run --iface eth0 --local 2001:db8:1::1"]);
    assert!(left_out(&rows)[0].starts_with("is external"));
}

#[test]
fn a_bridge_and_a_vni_are_taken_over_once() {
    let mut facts = bridged();
    let mut second = facts.vxlans[0].clone();
    second.index = Ifindex::new(20);
    facts.vxlans.push(second);
    let mut link = facts.links[1].clone();
    link.index = Ifindex::new(20);
    link.name = "vxlan200".into();
    facts.links.push(link);
    facts.fdb = vec![to(ZERO, "2001:db8:2::1")];

    assert!(left_out(&rows(&facts))[0].contains("vni 100 is that of vxlan100 already"));

    facts.vxlans[1].vni = 200;
    let rows = rows(&facts);
    assert!(
        commands(&rows)
            .iter()
            .any(|line| line.starts_with("vni add 200 --sources any")),
        "{rows:?}"
    );
    assert!(
        left_out(&rows)[0].contains("bridge vxbr100 is in vni 100"),
        "{rows:?}"
    );
}

#[test]
fn a_daemon_has_one_port() {
    let mut facts = bridged();
    let mut second = facts.vxlans[0].clone();
    second.index = Ifindex::new(20);
    second.vni = 200;
    second.port = 8472;
    facts.vxlans.push(second);
    facts
        .links
        .push(link(20, "vxlan200", vxlan_kind(200, 8472)));

    let here = rows(&facts);
    assert!(
        commands(&here)
            .iter()
            .any(|line| line.starts_with("vni add 100"))
    );
    assert!(
        !commands(&here)
            .iter()
            .any(|line| line.starts_with("vni add 200"))
    );
    let last = here.last().unwrap();
    assert_eq!(last.instead, ["vtep import kernel --udp-port 8472"]);

    let there = configuration(&facts, Some(8472)).unwrap();
    assert!(commands(&there)[0].contains("--udp-port 8472"), "{there:?}");
    assert!(
        commands(&there)
            .iter()
            .any(|line| line.starts_with("vni add 200"))
    );

    let refused = configuration(&facts, Some(1)).unwrap_err();
    assert!(matches!(refused, ImportError::NoneOnPort { .. }));
    assert!(refused.to_string().contains("--udp-port 4789"), "{refused}");
}

#[test]
fn what_is_ours_and_what_is_not_there_is_not_imported() {
    let mut facts = bridged();
    facts.links[1].alias = Some(format!("{OWNER}main"));
    for facts in [facts, Facts::default()] {
        let refused = configuration(&facts, None).unwrap_err();
        assert!(matches!(refused, ImportError::NoDevice));
        assert!(
            refused.to_string().contains("ip netns exec NAME"),
            "{refused}"
        );
    }
}

#[test]
fn an_address_on_the_loopback_says_nothing_of_the_uplink() {
    let mut facts = bridged();
    facts.links.push(Link {
        ethernet: false,
        ..link(1, "lo", LinkKind::Other("Loopback".into()))
    });
    facts.addresses = vec![address(1, "2001:db8:1::1", 128)];
    facts.fdb = vec![to(ZERO, "2001:db8:2::1")];
    assert!(commands(&rows(&facts))[0].starts_with("run --iface eth0 "));

    facts.ways.clear();
    let rows = rows(&facts);
    assert!(commands(&rows)[0].starts_with("vni add"), "{rows:?}");
    assert_eq!(rows[0].instead, ["run --iface DEV --local 2001:db8:1::1"]);
}

#[test]
fn a_bridge_keeps_what_it_has_from_the_device() {
    let mut facts = bridged();
    facts.fdb = vec![to(ZERO, "2001:db8:2::1")];
    facts.links[2].mac = facts.links[1].mac;
    facts.links[3].mtu = 1500;

    let rows = rows(&facts);

    let instead: Vec<_> = rows.iter().flat_map(|row| &row.instead).collect();
    assert_eq!(
        instead,
        [
            "ip link set vxbr100 address 02:00:00:00:00:0a",
            "ip link set vxbr100 mtu 1430"
        ]
    );
}

#[test]
fn larger_packets_than_the_underlay_carries_are_said() {
    let mut facts = bridged();
    facts.fdb = vec![to(ZERO, "2001:db8:2::1")];
    facts.links[1].mtu = 1500;

    let rows = rows(&facts);

    let row = rows.iter().find(|row| row.left_out.is_some()).unwrap();
    assert!(
        row.left_out.as_ref().unwrap().contains("above 1430"),
        "{rows:?}"
    );
    assert_eq!(row.instead, ["ip link set eth0 mtu 1570"]);
}

/// The rows; each command is one that a configuration file takes.
fn rows(facts: &Facts) -> Vec<ImportRow> {
    let rows = configuration(facts, None).unwrap();
    for command in commands(&rows) {
        let readable = command.starts_with("run ") || line::read(command.split(' ')).is_some();
        assert!(readable, "{command}");
    }
    rows
}

fn commands(rows: &[ImportRow]) -> Vec<&str> {
    rows.iter()
        .filter_map(|row| row.command.as_deref())
        .collect()
}

fn left_out(rows: &[ImportRow]) -> Vec<&str> {
    rows.iter()
        .filter_map(|row| row.left_out.as_deref())
        .collect()
}

/// A device of VNI 100 in a bridge with one guest, and nothing in its tables.
fn bridged() -> Facts {
    let bridge = LinkKind::Bridge {
        vlan_aware: false,
        spanning_tree: false,
    };
    let master = Some(Ifindex::new(BRIDGE));
    let mut facts = Facts {
        links: vec![
            link(ETH0, "eth0", LinkKind::Veth),
            Link {
                master,
                mtu: 1430,
                ..link(DEVICE, "vxlan100", vxlan_kind(100, 4789))
            },
            Link {
                mtu: 1430,
                ..link(BRIDGE, "vxbr100", bridge)
            },
            Link {
                master,
                mtu: 1430,
                ..link(GUEST, "vnet0", LinkKind::Tap)
            },
        ],
        vxlans: vec![Vxlan {
            index: Ifindex::new(DEVICE),
            vni: 100,
            port: 4789,
            local: Some(ip("2001:db8:1::1")),
            remote: None,
            dev: None,
            learning: true,
            proxy: false,
            external: false,
            vnifilter: false,
            ageing_s: 300,
            limit: 0,
            ttl: 0,
            ttl_inherit: false,
            tos: 0,
            df: None,
            source_ports: (0, 0),
            others: vec![],
        }],
        addresses: vec![address(ETH0, "2001:db8:1::1", 64)],
        ..Facts::default()
    };
    facts.bridges.members = vec![
        (Ifindex::new(DEVICE), BridgeMember::default()),
        (Ifindex::new(GUEST), BridgeMember::default()),
    ];
    for vtep in ["2001:db8:2::1", "2001:db8:3::1"] {
        facts.ways.insert(ip(vtep), Ifindex::new(ETH0));
    }
    facts
}

/// The same with a bridge that tells VLANs apart.
fn aware() -> Facts {
    let mut facts = bridged();
    facts.links[2].kind = LinkKind::Bridge {
        vlan_aware: true,
        spanning_tree: false,
    };
    facts
}

/// VLANs, each with whether it has no tag.
fn vlans(all: &[(u16, bool)]) -> MemberVlans {
    let vlans = all.iter().map(|&(vlan, bare)| MemberVlan {
        vlan,
        pvid: bare,
        untagged: bare,
    });
    MemberVlans {
        vlans: vlans.collect(),
        tunnels: vec![],
    }
}

fn link(index: u32, name: &str, kind: LinkKind) -> Link {
    Link {
        mac: mac(u8::try_from(index).unwrap()),
        ..testkit::link(index, name, kind)
    }
}

fn vxlan_kind(vni: u32, port: u16) -> LinkKind {
    LinkKind::Vxlan {
        vni,
        port,
        external: false,
        dev: None,
    }
}

/// A static entry of the device.
fn to(mac: [u8; 6], dst: &str) -> FdbEntry {
    FdbEntry {
        ifindex: Ifindex::new(DEVICE),
        mac,
        kind: FdbKind::Static,
        of_bridge: false,
        vlan: None,
        dst: Some(ip(dst)),
        port: None,
        vni: None,
        source_vni: None,
        nexthop: None,
    }
}

/// A static entry of the bridge.
fn behind(member: u32, mac: [u8; 6], vlan: Option<u16>) -> FdbEntry {
    FdbEntry {
        ifindex: Ifindex::new(member),
        of_bridge: true,
        dst: None,
        vlan,
        ..to(mac, "::")
    }
}

fn host(index: u32, host: &str, mac: [u8; 6]) -> Neighbour {
    Neighbour {
        ifindex: Ifindex::new(index),
        ip: ip(host),
        mac: Some(mac),
        state: NeighbourState::Permanent,
        managed: false,
        ours: false,
        router: false,
        external: false,
    }
}

fn address(index: u32, text: &str, prefix_len: u8) -> InterfaceAddress {
    InterfaceAddress {
        ifindex: Ifindex::new(index),
        ip: ip(text),
        prefix_len,
        global: true,
        preferred: true,
    }
}

const fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, last]
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
