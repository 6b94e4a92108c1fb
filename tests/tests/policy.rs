//! What a port may send to whom.

use std::net::Ipv4Addr;
use std::time::Duration;

use vtep_tests::daemon::refusal::refused;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_MAC, FAR_VM, PORT, VM, Wire};
use vtep_tests::lab::{BLUE, GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::need_root;
use vtep_tests::traffic::checks::marked;
use vtep_tests::wait;

/// A MAC behind a second port.
const NEIGHBOUR: Mac = Mac::nth(0x21);
/// A MAC behind a third port.
const OTHER: Mac = Mac::nth(0x22);

/// The MACs that were learned.
fn learned(wire: &Wire) -> Vec<String> {
    let rows = wire.daemon.rows(&format!("fdb show --vni {GREEN}"));
    let learned = rows.iter().filter(|row| row["state"] == "learned");
    learned.map(|row| row["mac"].to_string()).collect()
}

fn is_learned(wire: &Wire, mac: Mac) {
    let mac = format!("\"{mac}\"");
    wait::until_true("the MAC to be learned", || learned(wire).contains(&mac));
}

/// Packets that were counted for a reason, whatever became of them.
fn counted(wire: &Wire, reason: &str) -> u64 {
    let rows = wire.daemon.rows("stats");
    let of_reason = rows.iter().filter(|row| row["reason"] == reason);
    of_reason.filter_map(|row| row["packets"].as_u64()).sum()
}

#[test]
fn isolated_ports_exchange_no_frames() {
    need_root!();
    let wire = Wire::new(Family::V4);
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));
    let neighbour = wire.add_port("tap1", &format!("--mac {NEIGHBOUR} --isolated on"));
    let other = wire.add_port("tap2", &format!("--mac {OTHER}"));
    let to_neighbour = marked(VM, NEIGHBOUR, 1).build();
    wire.port.send(&to_neighbour);
    neighbour.expect(&to_neighbour);

    wire.daemon.ok(&format!("port set {PORT} --isolated on"));
    wire.refuses_from_vm(&marked(VM, NEIGHBOUR, 2).build(), "isolated");
    // Floods as well; whoever is not isolated gets them, and so do VTEPs.
    let flooded = marked(VM, Mac::BROADCAST, 3).build();
    wire.port.send(&flooded);
    other.expect(&flooded);
    assert!(wire.left().contains(&flooded), "no copy left for the VTEP");
    assert_eq!(neighbour.recv(Duration::ZERO), None);
    // What is not isolated reaches both, and is reached by both.
    for (mark, to) in (4..).zip([VM, NEIGHBOUR]) {
        let frame = marked(OTHER, to, mark).build();
        other.send(&frame);
        let at = if to == VM { &wire.port } else { &neighbour };
        at.expect(&frame);
    }
    let outer = wire.tunnelled(GREEN, &marked(FAR_VM, NEIGHBOUR, 6).build());
    wire.uplink.send(&outer);
    neighbour.expect(&marked(FAR_VM, NEIGHBOUR, 6).build());

    wire.daemon.ok("port set tap1 --isolated off");
    let again = marked(VM, NEIGHBOUR, 7).build();
    wire.port.send(&again);
    neighbour.expect(&again);
}

#[test]
fn a_guarded_port_takes_frames_from_its_own_macs_alone() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let guarded = wire.add_port("tap1", &format!("--mac {NEIGHBOUR} --guard mac"));
    let own = marked(NEIGHBOUR, VM, 1).build();
    guarded.send(&own);
    wire.port.expect(&own);

    // One that nobody has, and one that somebody has already.
    for (mark, spoofed) in (2..).zip([OTHER, VM, FAR_VM]) {
        let before = wire.daemon.dropped("spoofed_mac");
        guarded.send(&marked(spoofed, VM, mark).build());
        wire.daemon.expect_dropped("spoofed_mac", before + 1);
    }
    assert_eq!(learned(&wire), [""; 0]);
    assert_eq!(wire.port.recv(Duration::ZERO), None);

    wire.daemon.ok("port set tap1 --guard off");
    let other = marked(OTHER, VM, 5).build();
    guarded.send(&other);
    wire.port.expect(&other);
}

#[test]
fn link_local_groups_stay_where_they_are_unless_they_may_pass() {
    need_root!();
    let wire = Wire::new(Family::V4);
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));
    for (mark, last) in (1..).zip([0x00, 0x01, 0x02, 0x0e]) {
        let group = Mac([0x01, 0x80, 0xc2, 0, 0, last]);
        wire.refuses_from_vm(&marked(VM, group, mark).build(), "l2_control");
        let inner = marked(FAR_VM, group, mark).build();
        wire.refuses(&wire.tunnelled(GREEN, &inner), "l2_control");
    }
    let lldp = Mac([0x01, 0x80, 0xc2, 0, 0, 0x0e]);
    wire.daemon.ok(&format!("vni set {GREEN} --l2cp pass"));
    let frame = marked(VM, lldp, 9).build();
    assert!(wire.encap(&frame).ends_with(&frame));
    let inner = marked(FAR_VM, lldp, 10).build();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
}

#[test]
fn packets_are_taken_from_the_vteps_that_entries_name() {
    need_root!();
    for family in [Family::V4, Family::V6] {
        let wire = Wire::new(family);
        let stranger = family.address(0, 9);
        let from = |vtep, inner: &[u8]| {
            let outer = eth(FAR_MAC, wire.mac).ip(vtep, wire.ip);
            let outer = match family {
                Family::V4 => outer.udp_unchecked(50000, 4789),
                Family::V6 => outer.udp(50000, 4789),
            };
            outer.vxlan(GREEN).bytes(inner).build()
        };
        let inner = marked(OTHER, VM, 1).build();
        wire.delivers(&from(wire.far_ip, &inner), &inner);
        let inner = marked(NEIGHBOUR, VM, 2).build();
        wire.refuses(&from(stranger, &inner), "unlisted_source");

        wire.daemon.ok(&format!("vni set {GREEN} --sources any"));
        wire.delivers(&from(stranger, &inner), &inner);
        is_learned(&wire, NEIGHBOUR);

        // What it taught goes with it.
        wire.daemon.ok(&format!("vni set {GREEN} --sources listed"));
        wire.refuses(&from(stranger, &inner), "unlisted_source");
        wire.daemon.ok(&format!(
            "fdb append {} --vni {GREEN} --dst {stranger}",
            Mac::ZERO
        ));
        wire.delivers(&from(stranger, &inner), &inner);
    }
}

#[test]
fn packets_from_addresses_that_no_host_has_are_the_hosts_business() {
    need_root!();
    let wire = Wire::with(Family::V4, "--sources any", &[]);
    for (mark, nobody) in (1..).zip(["127.0.0.1", "255.255.255.255", "239.1.1.1"]) {
        let inner = marked(OTHER, VM, mark).build();
        let outer = eth(FAR_MAC, wire.mac)
            .ip(nobody.parse().expect("an address"), wire.ip)
            .udp_unchecked(50000, 4789);
        wire.uplink.send(&outer.vxlan(GREEN).bytes(&inner).build());
        wait::until_true("the packet to be counted", || {
            counted(&wire, "bad_source") == u64::from(mark)
        });
        assert_eq!(wire.port.recv(Duration::ZERO), None);
    }
    assert_eq!(learned(&wire), [""; 0]);
}

#[test]
fn packets_to_the_mac_of_another_host_are_not_taken() {
    need_root!();
    for run_args in [&[][..], &["--uplink-hook", "xdp"]] {
        for family in [Family::V4, Family::V6] {
            let wire = Wire::with(family, "", run_args);
            let mut mark = 0;
            let mut sends = |to: Mac, taken: bool| {
                mark += 1;
                let inner = marked(FAR_VM, VM, mark).build();
                let mut outer = wire.tunnelled(GREEN, &inner);
                outer[..6].copy_from_slice(&to.0);
                if taken {
                    wire.delivers(&outer, &inner);
                    return;
                }
                let before = counted(&wire, "not_our_address");
                wire.uplink.send(&outer);
                wait::until_true("the packet to be counted", || {
                    counted(&wire, "not_our_address") == before + 1
                });
                assert_eq!(wire.port.recv(Duration::ZERO), None);
            };
            // As where a switch does not know a MAC, or a bridge has the uplink.
            wire.ns.ip(&format!("link set {UPLINK} promisc on"));
            sends(wire.mac, true);
            sends(OTHER, false);

            // The uplink gets another MAC, and then a bridge that has one of its own.
            wire.ns
                .ip(&format!("link set {UPLINK} address {NEIGHBOUR}"));
            until_taken(&wire, NEIGHBOUR);
            sends(NEIGHBOUR, true);
            sends(wire.mac, false);
            wire.ns.ip(&format!(
                "link add br0 address {OTHER} type bridge
                 link set br0 up
                 link set {UPLINK} master br0"
            ));
            until_taken(&wire, OTHER);
            sends(OTHER, true);
            sends(NEIGHBOUR, true);
            sends(wire.mac, false);
        }
    }
}

/// Waits until packets to a MAC are taken: the daemon is notified of a change after it was made.
fn until_taken(wire: &Wire, to: Mac) {
    let inner = marked(FAR_VM, VM, 0x7a4e).build();
    let mut outer = wire.tunnelled(GREEN, &inner);
    outer[..6].copy_from_slice(&to.0);
    wait::until_true("the MAC to be known", || {
        wire.uplink.send(&outer);
        wire.port.recv(Duration::from_millis(20)).is_some()
    });
    // Whatever else was on its way.
    while wire.port.recv(Duration::from_millis(20)).is_some() {}
}

#[test]
fn frames_from_macs_above_the_limit_of_a_port_are_dropped_and_told() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let narrow = wire.add_port("tap1", "--max-macs 1");
    let first = marked(NEIGHBOUR, VM, 1).build();
    narrow.send(&first);
    wire.port.expect(&first);
    is_learned(&wire, NEIGHBOUR);

    let before = wire.daemon.dropped("mac_limit");
    narrow.send(&marked(OTHER, VM, 2).build());
    wire.daemon.expect_dropped("mac_limit", before + 1);
    assert_eq!(wire.port.recv(Duration::ZERO), None);
    narrow.send(&first);
    wire.port.expect(&first);

    wire.daemon.ok("port set tap1 --over-limit flood");
    let second = marked(OTHER, VM, 3).build();
    narrow.send(&second);
    wire.port.expect(&second);
    assert_eq!(learned(&wire), [format!("\"{NEIGHBOUR}\"")]);
}

#[test]
fn an_anycast_gateway_is_heard_from_everywhere_and_stays_here() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let gateway = Mac([0x00, 0x00, 0x5e, 0x00, 0x01, 0x01]);
    let here = wire.add_port("tap1", &format!("--mac {gateway}"));
    let inner = marked(gateway, VM, 1).build();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
    // It stays where the operator put it.
    let to_gateway = marked(VM, gateway, 2).build();
    wire.port.send(&to_gateway);
    here.expect(&to_gateway);
    // At another local port it cannot be.
    wire.refuses_from_vm(&marked(gateway, FAR_VM, 3).build(), "static_elsewhere");
}

#[test]
fn no_frame_hops_into_a_vlan_of_a_trunk_or_out_of_it() {
    need_root!();
    let wire = Wire::with(Family::V4, "--inner-vlan pass", &[]);
    let flood = format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    );
    wire.daemon.ok(&flood);
    let trunk = wire.add_port("tap1", &format!("--mac {NEIGHBOUR}"));
    let tagged = |from, to, vids: &[u16], mark: u8| {
        let frame = vids
            .iter()
            .fold(eth(from, to), |frame, vid| frame.vlan(*vid));
        frame.ethertype(0x88b6).bytes(&[mark; 60]).build()
    };
    // Nobody has VLAN 20 yet: it belongs to the untagged port.
    let before = tagged(FAR_VM, NEIGHBOUR, &[20], 1);
    wire.uplink.send(&wire.tunnelled(GREEN, &before));
    trunk.expect(&before);

    wire.daemon.ok(&format!("vni add {BLUE}"));
    wire.daemon
        .ok(&format!("port add tap1 --vlan 20 --vni {BLUE}"));
    let dropped = |mark, send: &dyn Fn()| {
        let count = wire.daemon.dropped("vlan_hop");
        send();
        wire.daemon.expect_dropped("vlan_hop", count + 1);
        assert_eq!(trunk.recv(Duration::ZERO), None, "{mark}");
    };
    for (mark, vids) in (2..).zip([&[20][..], &[20, 30], &[0, 20], &[0xe014]]) {
        let from_vtep = tagged(FAR_VM, NEIGHBOUR, vids, mark);
        dropped(mark, &|| {
            wire.uplink.send(&wire.tunnelled(GREEN, &from_vtep));
        });
        let from_port = tagged(VM, NEIGHBOUR, vids, mark);
        dropped(mark, &|| wire.port.send(&from_port));
        let flooded = tagged(VM, Mac::BROADCAST, vids, mark);
        dropped(mark, &|| wire.port.send(&flooded));
        assert!(wire.left().contains(&flooded), "no copy left for the VTEP");
        let from_afar = tagged(FAR_VM, Mac::BROADCAST, vids, mark);
        dropped(mark, &|| {
            wire.uplink.send(&wire.tunnelled(GREEN, &from_afar));
        });
        wire.port.expect(&from_afar);
    }
    // A tag of its own.
    for (mark, vids) in (10..).zip([&[30][..], &[30, 20]]) {
        let frame = tagged(VM, NEIGHBOUR, vids, mark);
        wire.port.send(&frame);
        trunk.expect(&frame);
    }
    // The other way, the VLAN's own port has it, and without one nobody.
    let count = wire.daemon.dropped("nowhere_to_flood");
    trunk.send(&tagged(NEIGHBOUR, VM, &[20], 20));
    wire.daemon.expect_dropped("nowhere_to_flood", count + 1);
    dropped(21, &|| trunk.send(&tagged(NEIGHBOUR, VM, &[0, 20], 21)));
    wire.daemon.ok("port del tap1 --vlan 20");
    let after = tagged(NEIGHBOUR, VM, &[20], 22);
    trunk.send(&after);
    wire.port.expect(&after);
}

#[test]
fn a_port_guarded_by_ip_sends_as_itself_alone() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let [own, other, far] = [[10, 0, 0, 7], [10, 0, 0, 9], [10, 0, 0, 2]].map(Ipv4Addr::from);
    let guarded = wire.add_port("tap1", &format!("--mac {NEIGHBOUR} --ip {own} --guard ip"));
    let udp = |from, mark| {
        eth(NEIGHBOUR, VM)
            .ipv4(from, far)
            .udp(1000, 2000)
            .payload(mark, 40)
            .build()
    };
    let passes = |frame: &[u8]| {
        guarded.send(frame);
        wire.port.expect(frame);
    };
    let spoofs = |frame: &[u8]| {
        let before = wire.daemon.dropped("spoofed_ip");
        guarded.send(frame);
        wire.daemon.expect_dropped("spoofed_ip", before + 1);
        assert_eq!(wire.port.recv(Duration::ZERO), None);
    };
    let arp = |sender| {
        eth(NEIGHBOUR, VM)
            .arp_request((NEIGHBOUR, sender), far)
            .build()
    };
    passes(&udp(own, 1));
    spoofs(&udp(other, 2));
    passes(&arp(own));
    passes(&arp(Ipv4Addr::UNSPECIFIED));
    spoofs(&arp(other));

    // Another address takes effect at once, and no guard takes all.
    wire.daemon.ok(&format!("port set tap1 --ip {other}"));
    passes(&udp(other, 3));
    spoofs(&udp(own, 4));
    wire.daemon.kill();
    wire.daemon.run();
    passes(&udp(other, 5));
    spoofs(&udp(own, 6));
    wire.daemon.ok("port set tap1 --guard mac");
    passes(&udp(own, 7));
    refused(
        &wire.daemon,
        "port set vm0 --guard ip",
        1,
        &["--mac MAC --ip IP"],
    );
}
