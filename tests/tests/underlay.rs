//! The underlay changes under traffic, and the peers follow.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use vtep_tests::encoder::inner::udp4;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::underlay::{Family, Underlay};
use vtep_tests::lab::wire::{FAR_MAC, FAR_VM, PORT, SECOND, VM, Wire};
use vtep_tests::lab::{GREEN, Kind, Lab, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::traffic::checks;
use vtep_tests::traffic::stream::Stream;
use vtep_tests::wait::{DEADLINE, until, until_true};
use vtep_tests::{over_each_family, over_each_underlay};

over_each_family! {
    a_route_that_moves_is_followed_without_loss,
    a_neighbour_that_changes_its_mac_is_followed_without_loss,
    a_link_that_was_down_carries_again,
    a_local_address_that_changes_is_followed,
    an_address_that_is_given_is_kept_to,
    a_peer_is_resolved_before_there_is_traffic,
    the_first_packets_to_an_unresolved_peer_are_not_lost,
    a_peer_whose_route_goes_and_comes_back_is_reached_again,
    a_smaller_route_mtu_is_heeded,
    the_larger_frames_of_a_raised_mtu_pass,
    two_uplinks_carry,
    one_vni_floods_over_both_families,
}

over_each_underlay! {
    traffic_goes_on_when_a_next_hop_changes_its_mac,
    traffic_goes_on_after_a_link_flap,
    a_stream_survives_a_new_default_route,
}

const GATEWAYS: [Mac; 2] = [Mac([0x02, 0xbb, 0, 0, 0, 1]), Mac([0x02, 0xbb, 0, 0, 0, 2])];

/// The destination of what leaves for a frame to the far VM.
fn next_hop(wire: &Wire) -> [u8; 6] {
    let frame = udp4(VM, FAR_VM).build();
    wire.encap(&frame)[..6].try_into().unwrap()
}

/// Sends until what leaves goes to `mac`; every frame has to leave, whereto ever.
fn follows(wire: &Wire, mac: Mac) {
    until_true("what leaves to go to the new next hop", || {
        next_hop(wire) == mac.0
    });
}

/// A far VTEP behind two gateways, of which the first is in use.
fn behind_gateways(family: Family) -> (Wire, [IpAddr; 2], IpAddr) {
    let wire = Wire::new(family);
    let gateways = [family.address(0, 11), family.address(0, 12)];
    let far = family.address(5, 1);
    for (ip, mac) in gateways.iter().zip(GATEWAYS) {
        wire.ns.ip(&format!(
            "neigh replace {ip} lladdr {mac} dev {UPLINK} nud permanent"
        ));
    }
    wire.ns.ip(&format!("route add {far} via {}", gateways[0]));
    wire.daemon
        .ok(&format!("fdb replace {FAR_VM} --vni {GREEN} --dst {far}"));
    follows(&wire, GATEWAYS[0]);
    (wire, gateways, far)
}

fn a_route_that_moves_is_followed_without_loss(family: Family) {
    let (wire, gateways, far) = behind_gateways(family);

    for turn in [1, 0, 1] {
        wire.ns
            .ip(&format!("route replace {far} via {}", gateways[turn]));
        follows(&wire, GATEWAYS[turn]);
    }
    // A more specific route wins, and gives way again. At no time is there none: what is sent without a route is lost by right.
    let bits = if family == Family::V4 { 32 } else { 128 };
    wire.ns.ip(&format!(
        "route add {}/{} via {}\nroute del {far}/{bits}",
        family.address(5, 0),
        family.prefix(),
        gateways[0]
    ));
    follows(&wire, GATEWAYS[0]);
    wire.ns
        .ip(&format!("route add {far}/{bits} via {}", gateways[1]));
    follows(&wire, GATEWAYS[1]);
    wire.ns.ip(&format!("route del {far}/{bits}"));
    follows(&wire, GATEWAYS[0]);
}

fn a_neighbour_that_changes_its_mac_is_followed_without_loss(family: Family) {
    let wire = Wire::new(family);
    let far = wire.far_ip;

    for mac in [GATEWAYS[0], GATEWAYS[1], FAR_MAC] {
        wire.ns.ip(&format!(
            "neigh replace {far} lladdr {mac} dev {UPLINK} nud permanent"
        ));
        follows(&wire, mac);
    }
}

fn a_link_that_was_down_carries_again(family: Family) {
    let wire = Wire::new(family);
    wire.ns.sysctl("ipv6/conf/all/keep_addr_on_down", "1");

    for _ in 0..2 {
        wire.ns.ip(&format!("link set {UPLINK} down"));
        for _ in 0..10 {
            wire.port.send(&udp4(VM, FAR_VM).build());
        }
        wire.ns.ip(&format!("link set {UPLINK} up"));
        wire.ns.ip(&format!(
            "neigh replace {} lladdr {FAR_MAC} dev {UPLINK} nud permanent",
            wire.far_ip
        ));
        flows_again(&wire);
        let inner = udp4(FAR_VM, VM).build();
        wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
    }
}

/// Sends until a frame leaves, and returns the packet.
fn flows_again(wire: &Wire) -> Vec<u8> {
    let mut seed = 0;
    until("frames to leave again", || {
        seed += 1;
        let frame = eth(VM, FAR_VM).ethertype(0x88b6).payload(seed, 100).build();
        wire.port.send(&frame);
        let mine = |packet: &Vec<u8>| wire.is_vxlan(packet) && packet.ends_with(&frame);
        let got = wire
            .uplink
            .collect(Duration::from_millis(50), |seen| seen.iter().any(mine));
        got.into_iter().find(mine)
    })
}

fn outer_source(family: Family, packet: &[u8]) -> IpAddr {
    match family {
        Family::V4 => <[u8; 4]>::try_from(&packet[26..30]).unwrap().into(),
        Family::V6 => Ipv6Addr::from(<[u8; 16]>::try_from(&packet[22..38]).unwrap()).into(),
    }
}

fn a_local_address_that_changes_is_followed(family: Family) {
    let wire = Wire::new(family);
    let (new, prefix) = (family.address(0, 77), family.prefix());
    wire.ns.sysctl("ipv4/conf/all/promote_secondaries", "1");

    wire.ns.ip(&format!(
        "addr add {new}/{prefix} dev {UPLINK} {}
         addr del {}/{prefix} dev {UPLINK}
         neigh replace {} lladdr {FAR_MAC} dev {UPLINK} nud permanent",
        family.nodad(),
        wire.ip,
        wire.far_ip
    ));

    until_true("the new address as source", || {
        outer_source(family, &flows_again(&wire)) == new
    });
    let inner = udp4(FAR_VM, VM).build();
    let to = |ip| {
        eth(FAR_MAC, wire.mac)
            .ip(wire.far_ip, ip)
            .udp(50000, 4789)
            .vxlan(GREEN)
    };
    wire.delivers(&to(new).bytes(&inner).build(), &inner);
}

fn an_address_that_is_given_is_kept_to(family: Family) {
    let local = family.address(0, 1).to_string();
    let wire = Wire::with(family, "", &["--local", &local]);

    let other = family.address(0, 78);
    wire.ns.ip(&format!(
        "addr add {other}/{} dev {UPLINK} {}",
        family.prefix(),
        family.nodad()
    ));
    wire.ns.ip(&format!(
        "route replace {} dev {UPLINK} src {other}",
        wire.far_ip
    ));

    for _ in 0..5 {
        assert_eq!(outer_source(family, &flows_again(&wire)), wire.ip);
    }
}

/// Waits for the question who the far VTEP is.
fn asked(wire: &Wire) {
    wire.uplink
        .wait_for("question for the far VTEP's MAC", |frame| {
            match wire.far_ip {
                IpAddr::V4(far) => {
                    frame.get(12..14) == Some(&[8, 6]) && frame.get(38..42) == Some(&far.octets())
                }
                IpAddr::V6(far) => {
                    frame.get(54) == Some(&135) && frame.get(62..78) == Some(&far.octets())
                }
            }
        });
}

fn answer(wire: &Wire) {
    let reply = match (wire.far_ip, wire.ip) {
        (IpAddr::V4(far), IpAddr::V4(near)) => {
            eth(FAR_MAC, wire.mac).arp_reply((FAR_MAC, far), (wire.mac, near))
        }
        (IpAddr::V6(far), IpAddr::V6(near)) => eth(FAR_MAC, wire.mac)
            .ipv6(far, near)
            .ttl(255)
            .icmp6(136, [0x60, 0, 0, 0])
            .bytes(&far.octets())
            .bytes(&[2, 1])
            .bytes(&FAR_MAC.0),
        _ => unreachable!("both are of the wire's family"),
    };
    wire.uplink.send(&reply.build());
}

fn a_peer_is_resolved_before_there_is_traffic(family: Family) {
    let wire = Wire::without_peer(family, "", &[]);
    wire.daemon.ok(&format!(
        "fdb add {FAR_VM} --vni {GREEN} --dst {}",
        wire.far_ip
    ));

    asked(&wire);
    answer(&wire);

    wire.resolved();
    assert_eq!(next_hop(&wire), FAR_MAC.0);
}

fn the_first_packets_to_an_unresolved_peer_are_not_lost(family: Family) {
    let wire = Wire::without_peer(family, "", &[]);
    wire.daemon.ok(&format!(
        "fdb add {FAR_VM} --vni {GREEN} --dst {}",
        wire.far_ip
    ));
    asked(&wire);
    let frames = [1, 2, 3].map(|seed| eth(VM, FAR_VM).ethertype(0x88b6).payload(seed, 100).build());

    for frame in &frames {
        wire.port.send(frame);
    }
    answer(&wire);

    for frame in &frames {
        wire.uplink
            .wait_for("a packet of before the answer", |packet| {
                wire.is_vxlan(packet) && packet.ends_with(frame) && packet[..6] == FAR_MAC.0
            });
    }
    let counted: u64 = wire
        .daemon
        .rows("stats")
        .iter()
        .filter(|row| row["reason"] == "encapsulated_unresolved")
        .map(|row| row["packets"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, 3, "counted under a reason of their own");
}

fn a_peer_whose_route_goes_and_comes_back_is_reached_again(family: Family) {
    let (wire, gateways, far) = behind_gateways(family);

    wire.ns.ip(&format!("route del {far}"));
    until_true("the peer to have lost its way", || {
        wire.daemon.rows(&format!("peer show {far}"))[0]["mac"].is_null()
    });
    let before = wire.daemon.dropped("no_route");
    for _ in 0..10 {
        wire.port.send(&udp4(VM, FAR_VM).build());
    }
    wire.daemon.expect_dropped("no_route", before + 10);
    wire.ns.ip(&format!("route add {far} via {}", gateways[1]));

    until_true("the new next hop", || {
        flows_again(&wire)[..6] == GATEWAYS[1].0
    });
    // With a route again, none goes that way.
    let lost = wire.daemon.dropped("no_route");
    follows(&wire, GATEWAYS[1]);
    wire.daemon.expect_dropped("no_route", lost);
}

fn a_smaller_route_mtu_is_heeded(family: Family) {
    let (wire, gateways, far) = behind_gateways(family);
    let largest = 1400 - usize::try_from(family.overhead()).unwrap();
    let frame = |len| eth(VM, FAR_VM).ethertype(0x88b6).payload(9, len).build();
    wire.encap(&frame(largest + 1));

    wire.ns
        .ip(&format!("route replace {far} via {} mtu 1400", gateways[0]));
    until_true("the peer's MTU to be 1400", || {
        wire.daemon.rows(&format!("peer show {far}"))[0]["mtu"] == 1400
    });

    wire.encap(&frame(largest));
    wire.refuses_from_vm(&frame(largest + 1), "too_big");
}

fn the_larger_frames_of_a_raised_mtu_pass(family: Family) {
    let wire = Wire::new(family);
    let frame = eth(VM, FAR_VM).ethertype(0x88b6).payload(9, 8000).build();
    wire.ns.ip(&format!("link set {PORT} mtu 8900"));
    wire.refuses_from_vm(&frame, "too_big");

    wire.ns.ip(&format!("link set {UPLINK} mtu 9000"));
    until_true("the peer's MTU to be 9000", || {
        wire.daemon.rows(&format!("peer show {}", wire.far_ip))[0]["mtu"] == 9000
    });

    wire.encap(&frame);
    let inner = eth(FAR_VM, VM).ethertype(0x88b6).payload(9, 8000).build();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
}

fn two_uplinks_carry(family: Family) {
    let wire = Wire::with(family, "", &["--iface", SECOND]);
    let second = wire.second.as_ref().unwrap();
    let (near, far) = (family.address(7, 1), family.address(7, 2));
    wire.ns.ip(&format!(
        "addr add {near}/{} dev {SECOND} {}
         neigh replace {far} lladdr {} dev {SECOND} nud permanent",
        family.prefix(),
        family.nodad(),
        GATEWAYS[0]
    ));
    let other = Mac::nth(0x0c);
    wire.daemon
        .ok(&format!("fdb add {other} --vni {GREEN} --dst {far}"));

    // Out by the uplink that the route names.
    wire.encap(&udp4(VM, FAR_VM).build());
    let frame = udp4(VM, other).build();
    let leaves = |packet: &Vec<u8>| wire.is_vxlan(packet) && packet.ends_with(&frame);
    until("a packet at the second uplink", || {
        wire.port.send(&frame);
        second
            .collect(Duration::from_millis(50), |seen| seen.iter().any(leaves))
            .into_iter()
            .find(leaves)
    });
    // And in by both.
    let inner = udp4(FAR_VM, VM).build();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
    let inner = udp4(other, VM).build();
    let mac = wire.ns.mac(SECOND);
    let head = eth(GATEWAYS[0], mac).ip(far, wire.ip).udp(50000, 4789);
    second.send(&head.vxlan(GREEN).bytes(&inner).build());
    wire.port.expect(&inner);
}

fn one_vni_floods_over_both_families(family: Family) {
    let wire = Wire::new(family);
    let other = if family == Family::V4 {
        Family::V6
    } else {
        Family::V4
    };
    let (near, far) = (other.address(0, 1), other.address(0, 2));
    wire.ns.ip(&format!(
        "addr add {near}/{} dev {UPLINK} {}
         neigh replace {far} lladdr {} dev {UPLINK} nud permanent",
        other.prefix(),
        other.nodad(),
        GATEWAYS[0]
    ));
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));
    until_true("the new family to be usable", || {
        wire.daemon
            .vtep(&format!(
                "fdb append {} --vni {GREEN} --dst {far}",
                Mac::ZERO
            ))
            .status
            .success()
    });

    let frame = udp4(VM, Mac::BROADCAST).build();
    wire.port.send(&frame);

    let is_copy = |packet: &&Vec<u8>| packet.ends_with(&frame);
    let mut copies = wire
        .uplink
        .collect(DEADLINE, |seen| seen.iter().filter(is_copy).count() == 2);
    copies.extend(wire.uplink.collect(Duration::from_millis(50), |_| false));
    let mut to: Vec<[u8; 2]> = copies
        .iter()
        .filter(is_copy)
        .map(|packet| packet[12..14].try_into().unwrap())
        .collect();
    to.sort_unstable();
    assert_eq!(
        to,
        [[0x08, 0x00], [0x86, 0xdd]],
        "one copy over each family"
    );
}

const TWO: [Kind; 2] = [Kind::Vtep; 2];

fn traffic_goes_on_when_a_next_hop_changes_its_mac(underlay: Underlay) {
    let lab = Lab::green(underlay, &TWO);
    let (a, b) = lab.pair();
    checks::ping_both_ways(&a, &b);

    // The device that the first hypervisor's packets go to next.
    let (ns, dev) = match underlay.topology {
        vtep_tests::lab::underlay::Topology::Flat => (&lab.hypervisors[1].ns, UPLINK),
        vtep_tests::lab::underlay::Topology::Routed => (&lab.fabric, "hv0"),
    };
    for key in ["ipv4/conf/all/arp_notify", "ipv6/conf/all/ndisc_notify"] {
        ns.sysctl(key, "1");
    }
    ns.ip(&format!("link set {dev} address {}", GATEWAYS[0]));

    let peer = format!("peer show {}", lab.hypervisors[1].ip);
    until_true("the peer to have the new MAC", || {
        lab.daemon(0).rows(&peer)[0]["mac"] == GATEWAYS[0].to_string()
    });
    checks::ping_both_ways(&a, &b);
    let stream = Stream::start((&a.ns, a.v4), (&b.ns, b.v4));
    stream.wait_for(200);
    assert_eq!(stream.finish().1, [0_u32; 0], "lost after the change");
}

fn traffic_goes_on_after_a_link_flap(underlay: Underlay) {
    let lab = Lab::green(underlay, &TWO);
    let (a, b) = lab.pair();
    checks::ping_both_ways(&a, &b);
    let here = &lab.hypervisors[0];
    here.ns.sysctl("ipv6/conf/all/keep_addr_on_down", "1");
    let routes =
        here.ns.ip_output("-o route show default") + &here.ns.ip_output("-6 -o route show default");

    here.ns
        .ip(&format!("link set {UPLINK} down\nlink set {UPLINK} up"));
    if let Some(gateway) = routes.split_whitespace().nth(2) {
        here.ns.ip(&format!("route replace default via {gateway}"));
    }

    checks::ping_both_ways(&a, &b);
    checks::tcp_both_ways(&a, &b);
}

fn a_stream_survives_a_new_default_route(underlay: Underlay) {
    let lab = Lab::green(underlay, &TWO);
    let (a, b) = lab.pair();
    checks::ping_both_ways(&a, &b);
    let stream = Stream::start((&a.ns, a.v4), (&b.ns, b.v4));
    stream.wait_for(100);
    let (here, there) = (&lab.hypervisors[0], lab.hypervisors[1].ip);
    let way = here.ns.ip_output(&format!("-o route get {there}"));
    let via: Vec<&str> = way
        .split_whitespace()
        .skip_while(|word| *word != "via")
        .take(2)
        .collect();
    let via = if via.is_empty() {
        format!("dev {UPLINK}")
    } else {
        via.join(" ")
    };

    // The same way by another route: nothing may be lost when one gives way to the other.
    here.ns.ip(&format!("route add {there} {via}"));
    stream.wait_for(300);
    here.ns.ip(&format!("route del {there} {via}"));
    stream.wait_for(300);

    let (sent, lost) = stream.finish();
    assert_eq!(lost, [0_u32; 0], "of {sent}");
}
