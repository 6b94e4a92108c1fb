//! Frames for a port that waits for its interface: known to be for it, and for nobody else.

use std::net::IpAddr;

use vtep_common::{
    abi::reason::Reason,
    decide::tunnel::TunnelKey,
    frame::packet::Meta,
    sim::decide_tunnel,
    testkit::frames::{PLAIN, PORT_ABSENT, World, unicast},
};

use crate::shared::{
    OURS_V4, REMOTE_V4, at_port, at_port_with, at_port_xdp, at_uplink, at_uplink_xdp, left,
    udp_frame, underlays,
};

fn key(vni: u32) -> TunnelKey {
    let addr = |text: &str| text.parse::<IpAddr>().unwrap().into();
    TunnelKey {
        vni,
        source: addr(REMOTE_V4),
        destination: Some(addr(OURS_V4)),
    }
}

#[test]
fn a_frame_from_another_port_is_dropped_and_not_flooded() {
    let world = World::default();
    let frame = udp_frame(unicast(PLAIN, PORT_ABSENT));
    for ifindex in [world.interfaces.access, world.interfaces.narrow] {
        let meta = Meta {
            ifindex,
            ..Meta::default()
        };
        assert_eq!(
            left(&at_port_with(&world, &meta, &frame)),
            Reason::PortAbsent
        );
        // Whatever its size, which no interface bounds.
        let long = [frame.clone(), vec![0; 20_000]].concat();
        assert_eq!(
            left(&at_port_with(&world, &meta, &long)),
            Reason::PortAbsent
        );
        let gso = Meta {
            gso_size: 500,
            ..meta
        };
        assert_eq!(left(&at_port_with(&world, &gso, &long)), Reason::PortAbsent);
        // XDP leaves it to TC, as all that is for ports.
        assert_eq!(
            left(&at_port_xdp(&world, ifindex, &frame)),
            Reason::LeftToTc
        );
    }
}

#[test]
fn a_frame_from_a_vtep_is_dropped_and_not_flooded() {
    let world = World::default();
    let inner = udp_frame(unicast(PLAIN, PORT_ABSENT));
    for underlay in underlays(100) {
        let frame = underlay.frame(&inner);
        assert_eq!(left(&at_uplink(&world, &frame)), Reason::PortAbsent);
        assert_eq!(left(&at_uplink_xdp(&world, &frame)), Reason::LeftToTc);
    }
    for gso_size in [0, 500] {
        let meta = Meta {
            gso_size,
            ..Meta::default()
        };
        let decision = decide_tunnel(inner.as_slice(), &meta, &key(100), &world.tables);
        assert_eq!(left(&decision), Reason::PortAbsent);
    }
}

#[test]
fn a_mac_of_a_port_that_waits_is_nobody_elses() {
    let world = World::default();
    let mut frame = udp_frame(unicast(PLAIN, 999_u32));
    frame[6..12].copy_from_slice(&unicast(PLAIN, PORT_ABSENT).bytes());
    let decision = at_port(&world, world.interfaces.access, &frame);
    assert_eq!(left(&decision), Reason::StaticElsewhere);
}
