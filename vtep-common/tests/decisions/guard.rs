//! Frames from a port with a guard of addresses: [`PORT_OWN`], which has the addresses [`OWN`].

use std::net::{IpAddr, Ipv6Addr};

use vtep_common::sim::decision::{Decision, Verdict};
use vtep_common::{
    abi::{addr::MacAddr, port::Port, reason::Reason, segment::Segment},
    frame::claim::link_local,
    testkit::{
        build::{self, Checksum, Fragment, Ip},
        frames::{OWN, PEER_V4, PLAIN, PORT_OWN, World, unicast},
    },
};

use crate::shared::{at_port, at_port_xdp, flood, left, q, tagged};

/// The VLAN of the port.
const VLAN: u16 = 47;
const OTHER_V4: &str = "10.0.0.9";
const OTHER_V6: &str = "fd00::9";
const GROUP_V6: &str = "ff02::1";

fn own_mac() -> MacAddr {
    unicast(PLAIN, PORT_OWN)
}

fn other_mac() -> MacAddr {
    unicast(PLAIN, 777_u32)
}

fn own_link_local() -> String {
    IpAddr::from(link_local(own_mac())).to_string()
}

/// A frame from the port's MAC to one behind a VTEP.
fn frame(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    build::ethernet(unicast(PLAIN, PEER_V4), own_mac(), &[], ethertype, payload)
}

fn ip_frame(ip: &Ip, protocol: u8, payload: &[u8]) -> Vec<u8> {
    frame(ip.ethertype(), &ip.packet(protocol, payload))
}

fn from_port(world: &World, frame: &[u8]) -> Decision {
    at_port(world, world.interfaces.lone, &tagged(frame, q(VLAN)))
}

#[track_caller]
fn passes(world: &World, frame: &[u8]) {
    match from_port(world, frame).verdict {
        Verdict::Encap(encap) => assert_eq!(encap.peer, PEER_V4),
        // Where two tags stay.
        Verdict::ViaKernel(via) => assert_eq!(via.peer, PEER_V4),
        other => panic!("does not pass: {other:?}"),
    }
}

#[track_caller]
fn is_spoofed(world: &World, frame: &[u8]) {
    assert_eq!(left(&from_port(world, frame)), Reason::SpoofedIp);
    // XDP leaves all of the port's frames to TC.
    let tagged = tagged(frame, q(VLAN));
    let xdp = at_port_xdp(world, world.interfaces.lone, &tagged);
    assert_eq!(left(&xdp), Reason::LeftToTc);
}

/// An ARP message.
fn arp(operation: u8, mac: MacAddr, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, operation];
    body.extend(mac.bytes());
    body.extend(sender);
    body.extend([0; 6]);
    body.extend(target);
    frame(build::TYPE_ARP, &body)
}

/// An option of neighbour discovery that names a MAC.
fn option(kind: u8, mac: MacAddr) -> Vec<u8> {
    [&[kind, 1][..], &mac.bytes()].concat()
}

/// A message of neighbour discovery: its type, the target if it has one, and options.
fn nd(kind: u8, target: Option<&str>, options: &[u8]) -> Vec<u8> {
    let mut body = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    if let Some(target) = target {
        body.extend(target.parse::<Ipv6Addr>().unwrap().octets());
    }
    body.extend(options);
    body
}

fn nd_frame(source: &str, kind: u8, target: Option<&str>, options: &[u8]) -> Vec<u8> {
    let ip = Ip::between(source, GROUP_V6);
    ip_frame(&ip, build::ICMPV6, &nd(kind, target, options))
}

#[test]
fn packets_come_from_the_ports_own_addresses() {
    let world = World::default();
    let to = |source: &str| {
        let to = if source.contains(':') {
            "fd00::2"
        } else {
            "10.0.0.2"
        };
        Ip::between(source, to)
    };
    for own in OWN.map(str::to_owned).into_iter().chain([own_link_local()]) {
        let ip = to(&own);
        for protocol in [1, 6, 17, 47, 50, build::ICMPV6] {
            passes(&world, &ip_frame(&ip, protocol, &[128; 40]));
        }
    }
    for other in [
        OTHER_V4,
        OTHER_V6,
        "fe80::9",
        "0.0.0.0",
        "::",
        "::ffff:10.0.0.7",
    ] {
        for protocol in [6, 17, 47, 50] {
            is_spoofed(&world, &ip_frame(&to(other), protocol, &[1; 40]));
        }
    }
    // Nothing that claims an address.
    passes(&world, &frame(0x88cc, &[1; 50]));
    passes(&world, &frame(50, &[0x42, 0x42, 3, 0, 0, 0, 0, 0]));
}

#[test]
fn a_length_in_place_of_a_type_does_not_get_round_it() {
    let world = World::default();
    let other = Ip::between(OTHER_V4, "10.0.0.2").packet(17, &[1; 40]);
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &other].concat();
    is_spoofed(&world, &frame(68, &snap));
}

#[test]
fn most_packets_are_finished_where_they_come_in() {
    let mut world = World::default();
    let packet = |from| ip_frame(&Ip::between(from, "10.0.0.2"), 17, &[1; 40]);
    let at_xdp = |world: &World, frame: &[u8]| {
        at_port_xdp(world, world.interfaces.lone, &tagged(frame, q(VLAN))).verdict
    };
    assert!(matches!(
        at_xdp(&world, &packet("10.0.0.7")),
        Verdict::Encap(_)
    ));
    // Another of its own, which a table has to be asked about.
    let asked = at_port_xdp(
        &world,
        world.interfaces.lone,
        &tagged(&packet("10.0.0.1"), q(VLAN)),
    );
    assert_eq!(left(&asked), Reason::LeftToTc);

    // Zero is no address.
    world.tables.ports.get_mut(&PORT_OWN).unwrap().own_v4 = 0;
    is_spoofed(&world, &packet("0.0.0.0"));
    passes(&world, &packet("10.0.0.7"));
}

#[test]
fn what_ends_within_its_header_claims_nothing_that_can_be_checked() {
    let world = World::default();
    for (ethertype, first) in [(0x0800, 0x45), (0x86dd, 0x60), (build::TYPE_ARP, 0)] {
        is_spoofed(&world, &frame(ethertype, &[first; 12]));
    }
    is_spoofed(&world, &frame(0x86dd, &[0x45; 60]));
    is_spoofed(&world, &frame(0x0800, &[0x60; 60]));
}

#[test]
fn arp_names_an_own_address_with_the_own_mac() {
    let world = World::default();
    let (own, other, nobody) = ([10, 0, 0, 7], [10, 0, 0, 9], [0; 4]);
    for operation in [1, 2] {
        passes(&world, &arp(operation, own_mac(), own, other));
        passes(&world, &arp(operation, own_mac(), own, own));
        is_spoofed(&world, &arp(operation, own_mac(), other, own));
        is_spoofed(&world, &arp(operation, own_mac(), other, other));
        is_spoofed(&world, &arp(operation, other_mac(), own, other));
    }
    // A probe asks, and says nothing.
    passes(&world, &arp(1, own_mac(), nobody, other));
    is_spoofed(&world, &arp(2, own_mac(), nobody, other));
    let mut odd = arp(2, own_mac(), other, own);
    odd[14 + 4] = 7;
    is_spoofed(&world, &odd);
}

#[test]
fn neighbour_discovery_names_an_own_address_with_the_own_mac() {
    let world = World::default();
    let own = "fd00::7";
    let (source, target) = (option(1, own_mac()), option(2, own_mac()));
    let (stolen_source, stolen_target) = (option(1, other_mac()), option(2, other_mac()));
    let link_local = own_link_local();
    for from in [own, &link_local] {
        passes(&world, &nd_frame(from, 135, Some(OTHER_V6), &source));
        passes(&world, &nd_frame(from, 136, Some(own), &target));
        passes(&world, &nd_frame(from, 136, Some(&link_local), &target));
        passes(&world, &nd_frame(from, 133, None, &source));
        is_spoofed(&world, &nd_frame(from, 136, Some(OTHER_V6), &target));
        is_spoofed(&world, &nd_frame(from, 136, Some(own), &stolen_target));
        is_spoofed(&world, &nd_frame(from, 135, Some(own), &stolen_source));
        is_spoofed(&world, &nd_frame(from, 133, None, &stolen_source));
    }
    is_spoofed(&world, &nd_frame(OTHER_V6, 135, Some(own), &source));
    is_spoofed(&world, &nd_frame(OTHER_V6, 136, Some(own), &target));
    // Behind another option, and behind one without an end.
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    let behind = [&nonce[..], &stolen_target].concat();
    is_spoofed(&world, &nd_frame(own, 136, Some(own), &behind));
    is_spoofed(
        &world,
        &nd_frame(own, 136, Some(own), &[14, 0, 0, 0, 0, 0, 0, 0]),
    );
    let many = [&nonce[..], &nonce, &nonce, &stolen_target].concat();
    is_spoofed(&world, &nd_frame(own, 136, Some(own), &many));
}

#[test]
fn who_looks_for_an_address_has_none_yet() {
    let world = World::default();
    // Duplicate address detection (RFC 4862 section 5.4), and a router that is asked for.
    passes(&world, &nd_frame("::", 135, Some(OTHER_V6), &[]));
    passes(&world, &nd_frame("::", 133, None, &[]));
    passes(&world, &nd_frame("::", 143, None, &[0; 20]));
    is_spoofed(&world, &nd_frame("::", 136, Some(OTHER_V6), &[]));
    is_spoofed(&world, &nd_frame("::", 134, None, &[]));
    is_spoofed(&world, &nd_frame("::", 128, None, &[]));

    let dhcp = |from, to, ports| {
        let ip = Ip::between(from, to);
        let packet = ip.udp(ports, Checksum::Complete, &[1; 240]);
        frame(ip.ethertype(), &packet)
    };
    let all = "255.255.255.255";
    passes(&world, &dhcp("0.0.0.0", all, (68, 67)));
    is_spoofed(&world, &dhcp("0.0.0.0", all, (67, 68)));
    is_spoofed(&world, &dhcp(OTHER_V4, all, (68, 67)));
    passes(&world, &dhcp("fe80::9", "ff02::1:2", (546, 547)));
    is_spoofed(&world, &dhcp("fe80::9", "ff02::1:2", (547, 546)));
    is_spoofed(&world, &dhcp(OTHER_V6, "ff02::1:2", (546, 547)));
}

#[test]
fn routers_advertise_themselves_where_there_is_one() {
    let mut world = World::default();
    let link_local = own_link_local();
    let advertisement = nd_frame(&link_local, 134, None, &[0; 8]);
    let redirect = nd_frame(&link_local, 137, Some("fd00::2"), &[0; 16]);
    is_spoofed(&world, &advertisement);
    is_spoofed(&world, &redirect);

    let port = world.tables.ports.get_mut(&PORT_OWN).unwrap();
    port.set(Port::ROUTER, true);
    passes(&world, &advertisement);
    passes(&world, &redirect);
    is_spoofed(&world, &nd_frame("fe80::9", 134, None, &[0; 8]));
}

#[test]
fn fragments_and_extension_headers_do_not_get_round_it() {
    let world = World::default();
    let own = "fd00::7";
    let stolen = nd(136, Some(OTHER_V6), &option(2, own_mac()));
    let fine = nd(136, Some(own), &option(2, own_mac()));
    // Hop-by-hop, destination options, routing: eight bytes each, the last names what stands behind.
    let behind = |chain: &[u8], last: u8, message: &[u8]| {
        let mut payload = Vec::new();
        for (at, _) in chain.iter().enumerate() {
            let next = chain.get(at + 1).copied().unwrap_or(last);
            payload.extend([next, 0, 1, 4, 0, 0, 0, 0]);
        }
        payload.extend(message);
        let ip = Ip::between(own, GROUP_V6);
        ip_frame(&ip, chain[0], &payload)
    };
    for chain in [&[0][..], &[60], &[43], &[0, 60], &[0, 60, 43]] {
        passes(&world, &behind(chain, build::ICMPV6, &fine));
        is_spoofed(&world, &behind(chain, build::ICMPV6, &stolen));
        is_spoofed(&world, &behind(chain, build::ICMPV6, &nd(134, None, &[])));
    }
    // Too many to look behind, and a chain that does not end in the frame.
    is_spoofed(&world, &behind(&[60; 4], 17, &[1; 40]));
    let mut open = behind(&[60], 17, &[1; 40]);
    open[14 + 40 + 1] = 200;
    is_spoofed(&world, &open);

    // Neighbour discovery is never fragmented; other messages are.
    let fragment = |more, offset, source, message: &[u8]| {
        let mut ip = Ip::between(source, GROUP_V6);
        ip.fragment = Some(Fragment { offset, more });
        ip_frame(&ip, build::ICMPV6, message)
    };
    is_spoofed(&world, &fragment(true, 0, own, &fine));
    is_spoofed(&world, &fragment(false, 0, own, &nd(134, None, &[])));
    is_spoofed(&world, &fragment(true, 0, own, &[]));
    passes(&world, &fragment(true, 0, own, &[128; 64]));
    passes(&world, &fragment(false, 5, own, &stolen));
    is_spoofed(&world, &fragment(false, 5, OTHER_V6, &fine));
    let mut v4 = Ip::between(OTHER_V4, "10.0.0.2");
    v4.fragment = Some(Fragment {
        offset: 5,
        more: false,
    });
    is_spoofed(&world, &ip_frame(&v4, 17, &[1; 40]));
    // DHCP that is a fragment of something.
    let mut dhcp = Ip::between("0.0.0.0", "255.255.255.255");
    dhcp.fragment = Some(Fragment {
        offset: 5,
        more: false,
    });
    is_spoofed(&world, &ip_frame(&dhcp, 17, &[0, 68, 0, 67, 0, 8, 0, 0]));
}

#[test]
fn tags_that_pass_do_not_get_round_it() {
    let mut world = World::default();
    let segment = world.tables.segments.get_mut(&PLAIN).unwrap();
    segment.set(Segment::INNER_VLAN_PASS, true);
    let own = ip_frame(&Ip::between("10.0.0.7", "10.0.0.2"), 17, &[1; 40]);
    let other = ip_frame(&Ip::between(OTHER_V4, "10.0.0.2"), 17, &[1; 40]);
    passes(&world, &tagged(&own, q(7)));
    is_spoofed(&world, &tagged(&other, q(7)));
    is_spoofed(
        &world,
        &tagged(&arp(2, own_mac(), [10, 0, 0, 9], [0; 4]), q(7)),
    );
    // Nobody looks behind three.
    is_spoofed(&world, &tagged(&tagged(&own, q(7)), q(8)));
}

#[test]
fn what_is_the_ports_own_goes_on_as_from_any_other_port() {
    let mut world = World::default();
    let ip = Ip::between("10.0.0.7", "10.0.0.255");
    let packet = ip.packet(17, &[1; 40]);
    let broadcast = build::ethernet(MacAddr::BROADCAST, own_mac(), &[], 0x0800, &packet);
    assert_eq!(flood(&from_port(&world, &broadcast)).from, PORT_OWN);
    // A guard of addresses is one of MACs too.
    let stranger = build::ethernet(unicast(PLAIN, PEER_V4), other_mac(), &[], 0x0800, &packet);
    let decision = from_port(&world, &stranger);
    assert_eq!(left(&decision), Reason::SpoofedMac);

    let port = world.tables.ports.get_mut(&PORT_OWN).unwrap();
    port.set(Port::GUARD_IP, false);
    let other = ip_frame(&Ip::between(OTHER_V4, "10.0.0.2"), 17, &[1; 40]);
    passes(&world, &other);
}
