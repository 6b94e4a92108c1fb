//! Frames that are too big for their VTEP: whose sender is told, and of which MTU.

use vtep_common::{
    abi::{addr::MacAddr, id::PeerId, policer::Policer, reason::Reason},
    decide::police::take,
    frame::packet::Meta,
    runtime::verdict::TooBigAnswer,
    sim::decision::{Decision, Verdict},
    testkit::{
        build::{self, Checksum, Fragment, Ip},
        frames::{PEER_V4, PEER_V6_ZERO, PLAIN, PORT_ACCESS, ROUTED, TRUNK, World, unicast},
    },
    wire::{icmp, icmpv6, ipv6, udp},
};

use crate::shared::{at_port, at_port_with, at_port_xdp, elsewhere, left, q, tagged, via_kernel};

/// Bytes of payload behind every header: too many for any path here.
const LONG: usize = 1_500;

/// What is answered to a packet that begins at `l3` and is too big for a peer.
const fn too_big_for(peer: PeerId, l3: usize, mtu: u32) -> TooBigAnswer {
    TooBigAnswer { peer, l3, mtu }
}

#[test]
fn a_packet_that_must_not_be_fragmented_is_answered_with_what_fits() {
    // 1500 less outer IP, UDP, VXLAN and the inner Ethernet header.
    for ip in [v4(), v6()] {
        for (peer, mtu) in [(PEER_V4, 1450), (PEER_V6_ZERO, 1430)] {
            let answer = answered(&from_access(&to(peer, &ip)));

            assert_eq!(answer, too_big_for(peer, 14, mtu));
        }
    }
}

#[test]
fn what_fits_is_not_answered_and_one_byte_more_is() {
    let world = World::default();
    for (len, too_big) in [(1450, false), (1451, true)] {
        let packet = v4().udp((1, 2), Checksum::Complete, &vec![1; len - 28]);
        let frame = build::ethernet(unicast(PLAIN, PEER_V4), elsewhere(), &[], 0x0800, &packet);

        let decision = at_port(&world, world.interfaces.access, &frame);

        assert_eq!(
            matches!(decision.verdict, Verdict::AnswerTooBig(_)),
            too_big
        );
    }
}

#[test]
fn a_packet_that_may_be_fragmented_is_dropped() {
    let ip = Ip {
        dont_fragment: false,
        ..v4()
    };
    assert_eq!(left(&from_access(&to(PEER_V4, &ip))), Reason::TooBig);
}

#[test]
fn a_tag_that_is_carried_takes_room_and_one_that_is_stripped_takes_none() {
    let world = World::default();
    let trunk = world.interfaces.trunk;
    for (vid, mtu) in [(20, 1450), (99, 1446)] {
        let frame = frame(unicast(TRUNK, PEER_V4), &v4());
        let in_band = answered(&at_port(&world, trunk, &tagged(&frame, q(vid))));
        let meta = Meta {
            ifindex: trunk,
            tag: Some(q(vid)),
            ..Meta::default()
        };
        let in_skb = answered(&at_port_with(&world, &meta, &frame));

        assert_eq!(in_band, too_big_for(PEER_V4, 18, mtu), "VLAN {vid}");
        assert_eq!(in_skb, too_big_for(PEER_V4, 14, mtu), "VLAN {vid}");
    }
}

#[test]
fn a_gso_packet_is_answered_if_its_segments_are_too_big() {
    let world = World::default();
    for (ip, room) in [(v4(), 1410), (v6(), 1390)] {
        let packet = ip.tcp((1, 2), Checksum::Pending, &[1; 8000]);
        let mac = unicast(PLAIN, PEER_V4);
        let frame = build::ethernet(mac, elsewhere(), &[], ip.ethertype(), &packet);
        for (gso_size, too_big) in [(room, false), (room + 1, true)] {
            let meta = Meta {
                ifindex: world.interfaces.access,
                tag: None,
                gso_size,
            };
            let decision = at_port_with(&world, &meta, &frame);
            match decision.verdict {
                Verdict::AnswerTooBig(answer) => assert_eq!((answer.mtu, too_big), (1450, true)),
                Verdict::Encap(_) => assert!(!too_big),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_gso_packet_with_extension_headers_is_answered_if_its_segments_are_too_big_and_else_cut_by_the_slow_path()
 {
    let world = World::default();
    let ip = Ip {
        extension: Some(ipv6::DESTINATION_OPTIONS),
        ..v6()
    };
    let packet = ip.tcp((1, 2), Checksum::Pending, &[1; 8000]);
    for peer in [PEER_V4, PEER_V6_ZERO] {
        // 1450 or 1430 less IPv6, the options and TCP.
        let room = if peer == PEER_V4 { 1_382 } else { 1_362 };
        let mac = unicast(PLAIN, peer);
        let frame = build::ethernet(mac, elsewhere(), &[], ip.ethertype(), &packet);
        for gso_size in [room, room + 1] {
            let meta = Meta {
                ifindex: world.interfaces.access,
                tag: None,
                gso_size,
            };
            let decision = at_port_with(&world, &meta, &frame);
            match decision.verdict {
                Verdict::ViaKernel(via) => {
                    assert_eq!((via.peer, gso_size), (peer, room));
                    assert_eq!(via.reason, Reason::EncapsulatedByKernel);
                }
                Verdict::AnswerTooBig(_) => assert_eq!(gso_size, room + 1),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_gso_packet_that_nobody_can_measure_is_cut_by_the_slow_path() {
    let world = World::default();
    // SCTP, and a tunnel of the guest's own.
    for protocol in [132, 47] {
        for ip in [v4(), v6()] {
            let packet = ip.packet(protocol, &[7; 8_000]);
            let mac = unicast(PLAIN, PEER_V4);
            let frame = build::ethernet(mac, elsewhere(), &[], ip.ethertype(), &packet);
            let meta = Meta {
                ifindex: world.interfaces.access,
                tag: None,
                gso_size: 1_300,
            };
            let decision = at_port_with(&world, &meta, &frame);
            assert_eq!(via_kernel(&decision).peer, PEER_V4);
            let plain = Meta {
                gso_size: 0,
                ..meta
            };
            let decision = at_port_with(&world, &plain, &frame);
            assert!(matches!(
                decision.verdict,
                Verdict::AnswerTooBig(_) | Verdict::Leave(Reason::TooBig)
            ));
        }
    }
}

#[test]
fn a_jumbogram_is_cut_by_the_slow_path() {
    let world = World::default();
    let ip = v6();
    let mut packet = ip.tcp((1, 2), Checksum::Pending, &vec![1; 100_000]);
    packet[4..7].copy_from_slice(&[0, 0, 0]);
    // 100,028 bytes behind the fixed header.
    packet.splice(40..40, [6, 0, 0xc2, 4, 0, 1, 0x86, 0xbc]);
    let mac = unicast(PLAIN, PEER_V4);
    let frame = build::ethernet(mac, elsewhere(), &[], ip.ethertype(), &packet);
    for (gso_size, fits) in [(1_390, true), (1_391, false)] {
        let meta = Meta {
            ifindex: world.interfaces.access,
            tag: None,
            gso_size,
        };
        let decision = at_port_with(&world, &meta, &frame);
        assert_eq!(matches!(decision.verdict, Verdict::ViaKernel(_)), fits);
    }
}

#[test]
fn a_packet_to_a_vtep_of_the_nexthop_table_is_answered_too() {
    let world = World::default();
    let ip = Ip {
        dont_fragment: true,
        ..Ip::between("10.0.0.99", "10.0.0.1")
    };
    let frame = tagged(&frame(unicast(ROUTED, 999_u32), &ip), q(40));

    let answer = answered(&at_port(&world, world.interfaces.trunk, &frame));

    assert_eq!(answer, too_big_for(PEER_V4, 18, 1450));
}

#[test]
fn xdp_leaves_them_to_tc() {
    let world = World::default();
    let frame = to(PEER_V4, &v4());
    let decision = at_port_xdp(&world, world.interfaces.access, &frame);
    assert_eq!(left(&decision), Reason::LeftToTc);
}

#[test]
fn error_messages_are_not_answered_and_others_are() {
    for (kind, error) in [
        (0, false),
        (3, true),
        (4, true),
        (5, true),
        (8, false),
        (11, true),
        (12, true),
        (13, false),
    ] {
        assert_eq!(
            is_answered(&icmp_packet(&v4(), icmp::PROTOCOL, kind)),
            !error,
            "{kind}"
        );
        let options = Ip {
            options: 40,
            ..v4()
        };
        assert_eq!(
            is_answered(&icmp_packet(&options, icmp::PROTOCOL, kind)),
            !error,
            "{kind}"
        );
    }
    for (kind, error) in [
        (1, true),
        (2, true),
        (127, true),
        (128, false),
        (129, false),
        (136, false),
        (137, true),
    ] {
        assert_eq!(
            is_answered(&icmp_packet(&v6(), icmpv6::PROTOCOL, kind)),
            !error,
            "{kind}"
        );
        let behind = Ip {
            extension: Some(60),
            ..v6()
        };
        assert_eq!(
            is_answered(&icmp_packet(&behind, icmpv6::PROTOCOL, kind)),
            !error,
            "{kind}"
        );
    }
}

#[test]
fn of_fragments_the_first_alone_is_answered() {
    for ip in [v4(), v6()] {
        for (offset, first) in [(0, true), (1, false), (185, false)] {
            let fragment = Some(Fragment { offset, more: true });
            let ip = Ip {
                fragment,
                ..ip.clone()
            };
            let packet = ip.packet(udp::PROTOCOL, &vec![1; LONG]);
            assert_eq!(is_answered(&packet), first, "{offset}");
        }
    }
}

#[test]
fn neither_groups_nor_nobody_are_answered() {
    for (from, to) in [
        ("0.0.0.0", "10.0.0.2"),
        ("0.1.2.3", "10.0.0.2"),
        ("127.0.0.1", "10.0.0.2"),
        ("224.0.0.1", "10.0.0.2"),
        ("255.255.255.255", "10.0.0.2"),
        ("10.0.0.1", "224.0.0.251"),
        ("10.0.0.1", "255.255.255.255"),
        ("::", "fd00::2"),
        ("::1", "fd00::2"),
        ("ff02::1", "fd00::2"),
        ("fd00::1", "ff02::fb"),
    ] {
        let ip = Ip {
            dont_fragment: true,
            ..Ip::between(from, to)
        };
        let packet = ip.udp((1, 2), Checksum::Complete, &vec![1; LONG]);
        assert!(!is_answered(&packet), "{from} to {to}");
    }
}

#[test]
fn what_is_no_sound_ip_is_not_answered() {
    let mut version = v4().udp((1, 2), Checksum::Complete, &vec![1; LONG]);
    version[0] = 0x65;
    let mut short = version.clone();
    short[0] = 0x44;
    let mut six = v6().udp((1, 2), Checksum::Complete, &vec![1; LONG]);
    six[0] = 0x40;
    let headers = Ip {
        extension: Some(0),
        ..v6()
    };
    let mut endless = headers.packet(udp::PROTOCOL, &vec![0; LONG]);
    // Hop-by-hop options behind hop-by-hop options.
    endless[40] = 0;
    for (packet, ethertype) in [
        (version, 0x0800),
        (short, 0x0800),
        (six, 0x86dd),
        (endless, 0x86dd),
    ] {
        let frame = build::ethernet(
            unicast(PLAIN, PEER_V4),
            elsewhere(),
            &[],
            ethertype,
            &packet,
        );
        assert_eq!(left(&from_access(&frame)), Reason::TooBig);
    }
    let frame = build::ethernet(
        unicast(PLAIN, PEER_V4),
        elsewhere(),
        &[],
        0x88cc,
        &[1; LONG],
    );
    assert_eq!(left(&from_access(&frame)), Reason::TooBig);
}

#[test]
fn a_path_that_carries_next_to_nothing_is_not_told_of() {
    let mut world = World::default();
    let frame = to(PEER_V4, &v4());
    for (mtu, want) in [
        (0, None),
        (49, None),
        (50, None),
        (117, None),
        (118, Some(68)),
    ] {
        world.tables.peers.get_mut(&PEER_V4).unwrap().mtu = mtu;
        let decision = at_port(&world, world.interfaces.access, &frame);
        match want {
            Some(mtu) => assert_eq!(answered(&decision).mtu, mtu),
            None => assert_eq!(left(&decision), Reason::TooBig),
        }
    }
}

#[test]
fn a_port_is_answered_so_often_and_not_more() {
    let mut world = World::default();
    world.tables.now = 1 << 40;
    let frame = to(PEER_V4, &v4());
    let mut answers = 0;
    let mut answer = |world: &mut World| {
        let decision = at_port(world, world.interfaces.access, &frame);
        let tables = &mut world.tables;
        let used = tables.answered.entry(PORT_ACCESS).or_default();
        match decision.verdict {
            Verdict::AnswerTooBig(_) => {
                let now = (tables.now, tables.tick);
                *used = take(&Policer::ANSWERS, *used, Policer::FRAME, now).unwrap();
                answers += 1;
                true
            }
            Verdict::Leave(Reason::TooBig) => false,
            other => panic!("{other:?}"),
        }
    };
    while answer(&mut world) {}
    let other = frame_from_trunk(&world);
    // A hundredth of a second later there is one more.
    world.tables.now += 10_000_000;
    assert!(answer(&mut world) && !answer(&mut world));
    assert_eq!(answers, 101);
    assert!(
        matches!(other.verdict, Verdict::AnswerTooBig(_)),
        "another port has its own"
    );
}

fn frame_from_trunk(world: &World) -> Decision {
    let frame = tagged(&frame(unicast(TRUNK, PEER_V4), &v4()), q(20));
    at_port(world, world.interfaces.trunk, &frame)
}

fn v4() -> Ip {
    Ip {
        dont_fragment: true,
        ..Ip::between("10.0.0.1", "10.0.0.2")
    }
}

fn v6() -> Ip {
    Ip::between("fd00::1", "fd00::2")
}

fn frame(mac: MacAddr, ip: &Ip) -> Vec<u8> {
    let packet = ip.udp((1, 2), Checksum::Complete, &vec![1; LONG]);
    build::ethernet(mac, elsewhere(), &[], ip.ethertype(), &packet)
}

fn to(peer: PeerId, ip: &Ip) -> Vec<u8> {
    frame(unicast(PLAIN, peer), ip)
}

fn icmp_packet(ip: &Ip, protocol: u8, kind: u8) -> Vec<u8> {
    let mut message = vec![1; LONG];
    message[0] = kind;
    ip.packet(protocol, &message)
}

fn from_access(frame: &[u8]) -> Decision {
    let world = World::default();
    at_port(&world, world.interfaces.access, frame)
}

fn is_answered(packet: &[u8]) -> bool {
    let ethertype = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    let mac = unicast(PLAIN, PEER_V4);
    let frame = build::ethernet(mac, elsewhere(), &[], ethertype, packet);
    match from_access(&frame).verdict {
        Verdict::AnswerTooBig(_) => true,
        Verdict::Leave(Reason::TooBig) => false,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn answered(decision: &Decision) -> TooBigAnswer {
    match decision.verdict {
        Verdict::AnswerTooBig(answer) => answer,
        other => panic!("not answered: {other:?}"),
    }
}
