//! The nexthop table: frames whose MAC is unknown go where their host is.

use std::net::IpAddr;

use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::encoder::neighbour::Host;
use vtep_tests::encoder::{Frame, Mac, eth};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_MAC, PORT, VM, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::over_each_family;

over_each_family! {
    a_frame_goes_to_the_vtep_of_its_host,
    the_mac_is_rewritten_where_one_is_named,
    the_longest_prefix_wins,
    a_known_mac_goes_first,
    a_host_without_an_entry_is_a_miss,
    an_entry_that_is_replaced_or_deleted_takes_effect_at_once,
    an_entry_without_a_vtep_follows_the_fdb,
    a_host_with_a_mac_is_answered_for,
    hosts_of_a_port_are_delivered_to_by_ip,
    next_hops_of_one_vni_are_none_of_anothers,
    frames_that_are_not_ip_have_no_next_hop,
}

/// Where hosts are sent to that nobody knows the MAC of.
const ANY: Mac = Mac::nth(0xfe);
const HERE: Host = Host::at(VM, 0x0a);
const HOST: Host = Host::nth(0x42);
const OTHER: Host = Host::nth(0xc2);

/// A packet of the VM to a host, with a MAC that may be another's.
fn to(host: IpAddr, mac: Mac) -> Frame {
    let from = match host {
        IpAddr::V4(_) => HERE.v4.into(),
        IpAddr::V6(_) => HERE.v6.into(),
    };
    eth(VM, mac).ip(from, host).udp(1000, 2000).payload(1, 64)
}

/// A hypervisor without floods that has a second far VTEP; returns the address of that.
fn wire(family: Family) -> (Wire, IpAddr) {
    let wire = Wire::with(family, "--mode l3", &[]);
    let second = family.address(0, 3);
    wire.ns.ip(&format!(
        "neigh replace {second} lladdr {FAR_MAC} dev {UPLINK} nud permanent"
    ));
    (wire, second)
}

fn next_hop(wire: &Wire, verb: &str, host: impl ToString + Copy, args: &str) {
    let host = host.to_string();
    wire.daemon
        .ok(&format!("nexthop {verb} {host} --vni {GREEN} {args}"));
}

/// Sends a frame as the VM; insists that `inner` leaves for `vtep`.
#[track_caller]
fn leaves_for(wire: &Wire, vtep: IpAddr, frame: &Frame, inner: &Frame) {
    let inner = inner.build();
    wire.port.send(&frame.build());
    let outer = wire
        .uplink
        .wait_for("VXLAN packet with the frame", |outer| {
            wire.is_vxlan(outer) && outer.ends_with(&inner)
        });
    assert_eq!(wire.family.destination(&outer).1, vtep);
    assert_eq!(outer.len(), wire.family.outer_len() + inner.len());
}

fn a_frame_goes_to_the_vtep_of_its_host(family: Family) {
    let (wire, second) = wire(family);

    for (ip, vtep) in HOST.ips().into_iter().zip([wire.far_ip, second]) {
        wire.refuses_from_vm(&to(ip, ANY).build(), "no_fdb_entry");
        next_hop(&wire, "add", ip, &format!("--via {vtep}"));
        leaves_for(&wire, vtep, &to(ip, ANY), &to(ip, ANY));
    }
}

fn the_mac_is_rewritten_where_one_is_named(family: Family) {
    let (wire, _) = wire(family);

    for ip in HOST.ips() {
        let args = format!("--via {} --lladdr {}", wire.far_ip, HOST.mac);
        next_hop(&wire, "add", ip, &args);
        leaves_for(&wire, wire.far_ip, &to(ip, ANY), &to(ip, HOST.mac));
        leaves_for(&wire, wire.far_ip, &to(ip, HOST.mac), &to(ip, HOST.mac));
    }
}

fn the_longest_prefix_wins(family: Family) {
    let (wire, second) = wire(family);
    for (net, half, default) in [
        ("10.100.0.0/24", "10.100.0.128/25", "0.0.0.0/0"),
        ("fd00:100::/64", "fd00:100::80/121", "2000::/3"),
    ] {
        next_hop(&wire, "add", net, &format!("--via {}", wire.far_ip));
        next_hop(&wire, "add", half, &format!("--via {second}"));
        next_hop(&wire, "add", default, &format!("--via {second}"));
    }

    let far: [IpAddr; 2] = [
        "192.0.2.1".parse().unwrap(),
        "2001:db8:9::1".parse().unwrap(),
    ];
    for which in [0, 1] {
        let (inside, upper, outside) = (HOST.ips()[which], OTHER.ips()[which], far[which]);
        leaves_for(&wire, wire.far_ip, &to(inside, ANY), &to(inside, ANY));
        leaves_for(&wire, second, &to(upper, ANY), &to(upper, ANY));
        leaves_for(&wire, second, &to(outside, ANY), &to(outside, ANY));
        next_hop(&wire, "add", upper, &format!("--via {}", wire.far_ip));
        leaves_for(&wire, wire.far_ip, &to(upper, ANY), &to(upper, ANY));
        next_hop(&wire, "del", upper, "");
        leaves_for(&wire, second, &to(upper, ANY), &to(upper, ANY));
    }
}

fn a_known_mac_goes_first(family: Family) {
    let (wire, second) = wire(family);
    wire.daemon
        .ok(&format!("fdb add {ANY} --vni {GREEN} --dst {second}"));

    for ip in HOST.ips() {
        let args = format!("--via {} --lladdr {}", wire.far_ip, HOST.mac);
        next_hop(&wire, "add", ip, &args);
        leaves_for(&wire, second, &to(ip, ANY), &to(ip, ANY));
    }
}

fn a_host_without_an_entry_is_a_miss(family: Family) {
    let (wire, _) = wire(family);
    let monitor = Monitor::start(&wire.daemon, GREEN, family.address(0, 250));
    for ip in HOST.ips() {
        next_hop(&wire, "add", ip, &format!("--via {}", wire.far_ip));
    }

    for ip in OTHER.ips() {
        wire.refuses_from_vm(&to(ip, OTHER.mac).build(), "no_fdb_entry");
        let (_, row) = monitor.wait_for("the miss", |row| {
            row["event"] == "miss" && row["ip"] == ip.to_string().as_str()
        });
        assert_eq!(row["mac"], OTHER.mac.to_string().as_str(), "{row}");
        assert_eq!(row["vni"], GREEN, "{row}");
    }
}

fn an_entry_that_is_replaced_or_deleted_takes_effect_at_once(family: Family) {
    let (wire, second) = wire(family);

    for ip in HOST.ips() {
        next_hop(&wire, "add", ip, &format!("--via {}", wire.far_ip));
        leaves_for(&wire, wire.far_ip, &to(ip, ANY), &to(ip, ANY));
        next_hop(&wire, "replace", ip, &format!("--via {second}"));
        leaves_for(&wire, second, &to(ip, ANY), &to(ip, ANY));
        next_hop(&wire, "del", ip, "");
        wire.refuses_from_vm(&to(ip, ANY).build(), "no_fdb_entry");
    }
    assert_eq!(
        wire.daemon.table("nexthop"),
        Vec::<serde_json::Value>::new()
    );
}

fn an_entry_without_a_vtep_follows_the_fdb(family: Family) {
    let (wire, second) = wire(family);
    let fdb = |args: &str| drop(wire.daemon.ok(&format!("fdb {args} --vni {GREEN}")));

    for ip in HOST.ips() {
        next_hop(&wire, "add", ip, &format!("--lladdr {}", HOST.mac));
        wire.refuses_from_vm(&to(ip, ANY).build(), "no_fdb_entry");
        assert_eq!(usable(&wire, ip), Some(false));
        for vtep in [wire.far_ip, second] {
            fdb(&format!("replace {} --dst {vtep}", HOST.mac));
            assert_eq!(usable(&wire, ip), Some(true));
            leaves_for(&wire, vtep, &to(ip, ANY), &to(ip, HOST.mac));
        }
        fdb(&format!("del {}", HOST.mac));
        wire.refuses_from_vm(&to(ip, ANY).build(), "no_fdb_entry");
    }
}

fn usable(wire: &Wire, ip: IpAddr) -> Option<bool> {
    let rows = wire.daemon.rows(&format!("nexthop show --vni {GREEN}"));
    rows.iter()
        .find(|row| row["ip"] == ip.to_string().as_str())?["usable"]
        .as_bool()
}

fn a_host_with_a_mac_is_answered_for(family: Family) {
    let (wire, _) = wire(family);

    for ip in HOST.ips() {
        wire.refuses_from_vm(&HERE.asks(ip).build(), "unknown_neigh");
        let args = format!("--via {} --lladdr {}", wire.far_ip, HOST.mac);
        next_hop(&wire, "add", ip, &args);
        wire.port.send(&HERE.asks(ip).build());
        wire.port.expect(&HOST.answers(&HERE, ip).build());
        let row = wire.daemon.neigh(GREEN, ip).expect("a neigh row");
        assert_eq!(row["state"], "nexthop", "{row}");
        next_hop(&wire, "del", ip, "");
        wire.refuses_from_vm(&HERE.asks(ip).build(), "unknown_neigh");
    }
}

fn hosts_of_a_port_are_delivered_to_by_ip(family: Family) {
    let (wire, _) = wire(family);
    let bare = wire.add_port("vm1", &format!("--ip {} --ip {}", HOST.v4, HOST.v6));
    let known = wire.add_port(
        "vm2",
        &format!("--ip {} --ip {} --mac {}", OTHER.v4, OTHER.v6, OTHER.mac),
    );

    for (host, tap, mac) in [(HOST, &bare, ANY), (OTHER, &known, OTHER.mac)] {
        for ip in host.ips() {
            // From another port.
            wire.port.send(&to(ip, ANY).build());
            tap.expect(&to(ip, mac).build());
            // From a VTEP.
            wire.uplink
                .send(&wire.tunnelled(GREEN, &to(ip, ANY).build()));
            tap.expect(&to(ip, mac).build());
        }
    }
    for ip in OTHER.ips() {
        wire.port.send(&HERE.asks(ip).build());
        wire.port.expect(&OTHER.answers(&HERE, ip).build());
        let row = wire.daemon.neigh(GREEN, ip).expect("a neigh row");
        assert_eq!(
            (&row["state"], &row["dev"]),
            (&"port".into(), &"vm2".into()),
            "{row}"
        );
    }
    for dev in ["vm1", "vm2"] {
        wire.daemon.ok(&format!("port del {dev}"));
    }
    for ip in HOST.ips().into_iter().chain(OTHER.ips()) {
        wire.refuses_from_vm(&to(ip, ANY).build(), "no_fdb_entry");
    }
    let left = wire.daemon.table("neigh");
    assert!(left.iter().all(|row| row["state"] == "snooped"), "{left:?}");
}

fn next_hops_of_one_vni_are_none_of_anothers(family: Family) {
    let (wire, second) = wire(family);
    wire.daemon.ok("vni add 200 --mode l3");
    wire.daemon
        .ok(&format!("port add {PORT} --vni 200 --vlan 20"));

    for ip in HOST.ips() {
        wire.daemon
            .ok(&format!("nexthop add {ip} --vni 200 --via {second}"));
        wire.refuses_from_vm(&to(ip, ANY).build(), "no_fdb_entry");
        next_hop(&wire, "add", ip, &format!("--via {}", wire.far_ip));
        leaves_for(&wire, wire.far_ip, &to(ip, ANY), &to(ip, ANY));
    }
    wire.daemon.ok("vni del 200 --force");
    for ip in HOST.ips() {
        leaves_for(&wire, wire.far_ip, &to(ip, ANY), &to(ip, ANY));
    }
}

fn frames_that_are_not_ip_have_no_next_hop(family: Family) {
    let (wire, _) = wire(family);
    next_hop(&wire, "add", "0.0.0.0/0", &format!("--via {}", wire.far_ip));
    next_hop(&wire, "add", "fc00::/7", &format!("--via {}", wire.far_ip));
    let [v4, v6] = HOST.ips();

    for frame in [
        eth(VM, ANY).ethertype(0x88cc).payload(1, 64).build(),
        eth(VM, ANY).ethertype(0x0800).build(),
        eth(VM, ANY).ethertype(0x0800).bytes(&[0x45; 19]).build(),
        eth(VM, ANY).ethertype(0x86dd).bytes(&[0x60; 39]).build(),
    ] {
        wire.refuses_from_vm(&frame, "no_fdb_entry");
    }
    // The default route takes all that is IP.
    for ip in [v4, v6] {
        leaves_for(&wire, wire.far_ip, &to(ip, ANY), &to(ip, ANY));
    }
}
