//! SYNs in a VNI that clamps: they offer no larger segments than the path carries, both ways.

use vtep_common::{
    abi::{addr::MacAddr, reason::Reason, segment::Segment},
    decide::tunnel::TunnelKey,
    frame::packet::Meta,
    sim::decide_tunnel,
    testkit::{
        build::{self, Checksum, Ip},
        frames::{
            PEER_JUMBO, PEER_V4, PEER_V4_UNRESOLVED, PEER_V6_ZERO, PLAIN, PORT_ACCESS,
            PORT_VLAN_10, ROUTED, TRUNK, World, unicast,
        },
    },
};

use crate::shared::{
    OURS_V4, REMOTE_V4, at_port, at_port_xdp, at_uplink, at_uplink_xdp, deliver, elsewhere, encap,
    left, q, tagged, underlays, via_kernel,
};

/// A world in which the VNI of the access port clamps.
fn world() -> World {
    let mut world = World::default();
    let plain = world.tables.segments.get_mut(&PLAIN).unwrap();
    plain.set(Segment::MSS_CLAMP, true);
    world
}

fn v4() -> Ip {
    Ip::between("10.0.0.1", "10.0.0.2")
}

fn v6() -> Ip {
    Ip::between("fd00::1", "fd00::2")
}

/// A SYN that offers segments of `mss` bytes.
fn syn(mac: MacAddr, ip: &Ip, mss: u16) -> Vec<u8> {
    let [high, low] = mss.to_be_bytes();
    let packet = ip.syn((1, 2), Checksum::Complete, &[2, 4, high, low]);
    build::ethernet(mac, elsewhere(), &[], ip.ethertype(), &packet)
}

#[test]
fn a_syn_to_a_vtep_offers_no_more_than_fits() {
    let world = world();
    for (ip, headers) in [(v4(), 40), (v6(), 60)] {
        for (peer, mtu) in [(PEER_V4, 1450), (PEER_V6_ZERO, 1430)] {
            let fits = mtu - headers;
            for (offered, want) in [(fits + 1, Some(fits)), (8960, Some(fits)), (fits, None)] {
                let frame = syn(unicast(PLAIN, peer), &ip, offered);
                let decision = at_port(&world, world.interfaces.access, &frame);
                encap(&decision);
                assert_eq!(decision.notes.clamped.map(|clamp| clamp.to), want);
            }
        }
    }
}

#[test]
fn a_vni_that_does_not_clamp_leaves_them() {
    let world = World::default();
    let frame = syn(unicast(PLAIN, PEER_V4), &v4(), 8960);
    let decision = at_port(&world, world.interfaces.access, &frame);
    encap(&decision);
    assert_eq!(decision.notes.clamped, None);
    encap(&at_port_xdp(&world, world.interfaces.access, &frame));
}

#[test]
fn a_tag_that_is_carried_takes_room() {
    let world = World::default();
    for (vid, want) in [(20, 1410), (99, 1406)] {
        let frame = tagged(&syn(unicast(TRUNK, PEER_V4), &v4(), 8960), q(vid));
        let decision = at_port(&world, world.interfaces.trunk, &frame);
        encap(&decision);
        assert_eq!(decision.notes.clamped.unwrap().to, want, "VLAN {vid}");
    }
}

#[test]
fn a_syn_to_a_host_of_the_nexthop_table_is_clamped_too() {
    let world = World::default();
    let ip = Ip::between("10.0.0.99", "10.0.0.1");
    let frame = tagged(&syn(unicast(ROUTED, 999_u32), &ip, 8960), q(40));

    let decision = at_port(&world, world.interfaces.trunk, &frame);

    encap(&decision);
    assert_eq!(decision.notes.clamped.unwrap().to, 1410);
}

#[test]
fn a_new_host_is_learned_from_its_syn_once() {
    let world = world();
    let frame = syn(unicast(PLAIN, PEER_V4), &v4(), 8960);
    let decision = at_port(&world, world.interfaces.access, &frame);
    assert_eq!(decision.notes.events.len(), 1);
}

#[test]
fn other_packets_and_other_ways_are_not_clamped() {
    let world = world();
    let access = world.interfaces.access;
    let packet = v4().tcp((1, 2), Checksum::Complete, &[1; 100]);
    let frame = build::ethernet(unicast(PLAIN, PEER_V4), elsewhere(), &[], 0x0800, &packet);
    encap(&at_port_xdp(&world, access, &frame));
    let local = syn(unicast(PLAIN, PORT_VLAN_10), &v4(), 8960);
    assert_eq!(at_port(&world, access, &local).notes.clamped, None);
    // Of a path that is not known, nothing is known.
    let unresolved = syn(unicast(PLAIN, PEER_V4_UNRESOLVED), &v4(), 8960);
    let decision = at_port(&world, access, &unresolved);
    via_kernel(&decision);
    assert_eq!(decision.notes.clamped, None);
    let jumbo = syn(unicast(PLAIN, PEER_JUMBO), &v4(), 8960);
    assert_eq!(at_port(&world, access, &jumbo).notes.clamped, None);
}

#[test]
fn xdp_leaves_syns_to_tc() {
    let world = world();
    let frame = syn(unicast(PLAIN, PEER_V4), &v4(), 8960);
    let decision = at_port_xdp(&world, world.interfaces.access, &frame);
    assert_eq!(left(&decision), Reason::LeftToTc);
}

#[test]
fn a_syn_from_a_vtep_goes_by_the_slow_path_device_where_it_is_clamped() {
    let world = world();
    for (ip, want) in [(v4(), 1410), (v6(), 1390)] {
        let frame = syn(unicast(PLAIN, PORT_ACCESS), &ip, 8960);
        for outer in underlays(100) {
            let packet = outer.frame(&frame);
            assert_eq!(left(&at_uplink_xdp(&world, &packet)), Reason::LeftToTc);
            assert_eq!(left(&at_uplink(&world, &packet)), Reason::LeftToKernel);
        }
        let key = TunnelKey {
            vni: 100,
            source: REMOTE_V4.parse::<std::net::IpAddr>().unwrap().into(),
            destination: Some(OURS_V4.parse::<std::net::IpAddr>().unwrap().into()),
        };
        let meta = Meta {
            ifindex: world.interfaces.device,
            ..Meta::default()
        };
        let decision = decide_tunnel(&frame, &meta, &key, &world.tables);
        assert_eq!(deliver(&decision).slot, PORT_ACCESS);
        assert_eq!(decision.notes.clamped.unwrap().to, want);
        // One that offers less stays.
        let frame = syn(unicast(PLAIN, PORT_ACCESS), &ip, want);
        let decision = decide_tunnel(&frame, &meta, &key, &world.tables);
        deliver(&decision);
        assert_eq!(decision.notes.clamped, None);
    }
}

#[test]
fn other_packets_from_a_vtep_are_finished_in_place() {
    let world = world();
    let packet = v4().tcp((1, 2), Checksum::Complete, &[1; 100]);
    let frame = build::ethernet(
        unicast(PLAIN, PORT_ACCESS),
        elsewhere(),
        &[],
        0x0800,
        &packet,
    );
    for outer in underlays(100) {
        deliver(&at_uplink_xdp(&world, &outer.frame(&frame)));
        deliver(&at_uplink(&world, &outer.frame(&frame)));
    }
}
