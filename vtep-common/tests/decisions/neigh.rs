//! ARP and ND at ports: what is answered, what is heard, what is let through.

use std::net::{IpAddr, Ipv6Addr};
use vtep_common::sim::decide_tunnel;
use vtep_common::sim::decision::{Decision, Verdict};

use vtep_common::{
    abi::{addr::MacAddr, event::Event, neigh::NeighValue, reason::Reason, segment::Segment},
    decide::{port, tunnel::TunnelKey},
    frame::{neigh::Answer, packet::Meta},
    testkit::apply::apply_port,
    testkit::{
        build::{self, Ip},
        frames::{
            HOSTS, PEER_V4, PEER_V6_ZERO, PORT_CARRIER, ROUTED, TRUNK, World, host_mac, unicast,
        },
    },
    wire::checksum::Sum,
};

use crate::shared::{
    OURS_V4, REMOTE_V4, at_port, at_uplink, at_uplink_xdp, deliver, flood, left, q, tagged,
    underlays,
};

/// Who asks.
const ASKER: MacAddr = MacAddr::from_bytes([2, 0, 0, 0, 0, 0x0a]);

fn v4(text: &str) -> [u8; 4] {
    match text.parse() {
        Ok(IpAddr::V4(ip)) => ip.octets(),
        other => panic!("{other:?}"),
    }
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// An ARP message from `sender` at [`ASKER`].
fn arp(operation: u8, sender: &str, target: &str) -> Vec<u8> {
    arp_from(ASKER, operation, sender, target)
}

fn arp_from(claimed: MacAddr, operation: u8, sender: &str, target: &str) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, operation];
    body.extend(claimed.bytes());
    body.extend(v4(sender));
    body.extend([0; 6]);
    body.extend(v4(target));
    build::ethernet(MacAddr::BROADCAST, ASKER, &[], build::TYPE_ARP, &body)
}

/// A message of neighbour discovery.
struct Nd {
    kind: u8,
    flags: u8,
    source: &'static str,
    target: &'static str,
    /// The option with the sender's MAC, if there is one.
    mac: Option<MacAddr>,
    /// A nonce too (RFC 7527).
    nonce: bool,
    hop_limit: u8,
    to: MacAddr,
}

impl Nd {
    const fn solicitation(source: &'static str, target: &'static str) -> Self {
        Self {
            kind: 135,
            flags: 0,
            source,
            target,
            mac: Some(ASKER),
            nonce: false,
            hop_limit: 255,
            to: MacAddr::from_bytes([0x33, 0x33, 0xff, 0, 0, 0x50]),
        }
    }

    const fn advertisement(target: &'static str, flags: u8) -> Self {
        Self {
            kind: 136,
            flags,
            ..Self::solicitation(target, target)
        }
    }

    fn frame(&self) -> Vec<u8> {
        let mut ip = Ip::between(self.source, "ff02::1");
        ip.ttl = self.hop_limit;
        let mut body = vec![self.kind, 0, 0, 0, self.flags, 0, 0, 0];
        body.extend(v6(self.target).octets());
        if self.nonce {
            body.extend([14, 1, 1, 2, 3, 4, 5, 6]);
        }
        if let Some(mac) = self.mac {
            body.extend([if self.kind == 135 { 1 } else { 2 }, 1]);
            body.extend(mac.bytes());
        }
        let sum = ip
            .pseudo_sum(build::ICMPV6, body.len())
            .bytes(&body)
            .checksum();
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        let packet = ip.packet(build::ICMPV6, &body);
        build::ethernet(self.to, ASKER, &[], ip.ethertype(), &packet)
    }
}

/// What the untagged port of the VNI that floods and answers makes of a frame.
fn at_carrier(frame: &[u8]) -> Decision {
    let world = World::default();
    at_port(&world, world.interfaces.carrier, frame)
}

/// What VLAN 40, whose VNI answers and does not flood, makes of a frame.
fn at_routed(frame: &[u8]) -> Decision {
    let world = World::default();
    at_port(&world, world.interfaces.trunk, &tagged(frame, q(40)))
}

#[track_caller]
fn answer(decision: &Decision) -> Answer {
    match decision.verdict {
        Verdict::Answer(answer) => answer,
        other => panic!("not answered: {other:?}"),
    }
}

/// The bytes of the answer to `frame` at the untagged port.
#[track_caller]
fn answer_bytes(frame: &[u8]) -> Vec<u8> {
    let world = World::default();
    let meta = Meta {
        ifindex: world.interfaces.carrier,
        ..Meta::default()
    };
    let decision = at_carrier(frame);
    answer(&decision);
    apply_port(frame, &meta, port::PortStage::Tc, &decision, &world.tables).frame
}

fn heard(decision: &Decision) -> Vec<(IpAddr, MacAddr, u32)> {
    decision
        .notes
        .events
        .iter()
        .filter(|event| event.kind == Event::SNOOPED)
        .map(|event| (event.host.into(), event.mac(), event.flags))
        .collect()
}

fn host(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn an_arp_request_for_a_known_host_is_answered_byte_for_byte() {
    let request = arp(1, "10.0.0.7", HOSTS[0]);
    let mac = host_mac(0);
    let mut want = [ASKER.bytes(), mac.bytes()].concat();
    want.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    want.extend(mac.bytes());
    want.extend(v4(HOSTS[0]));
    want.extend(ASKER.bytes());
    want.extend(v4("10.0.0.7"));
    assert_eq!(answer_bytes(&request), want);
}

#[test]
fn padding_behind_an_arp_request_stays() {
    let request = [arp(1, "10.0.0.7", HOSTS[0]), vec![0; 18]].concat();
    assert_eq!(answer_bytes(&request).len(), 60);
}

#[test]
fn a_solicitation_for_a_known_host_is_answered_byte_for_byte() {
    for (index, flags) in [(2, 0x60), (3, 0xe0)] {
        let target = HOSTS[index as usize];
        let frame = Nd::solicitation("fd00::7", HOSTS[index as usize]).frame();
        let mac = host_mac(index);
        let mut ip = Ip::between(target, "fd00::7");
        ip.ttl = 255;
        let mut body = vec![136, 0, 0, 0, flags, 0, 0, 0];
        body.extend(v6(target).octets());
        body.extend([2, 1]);
        body.extend(mac.bytes());
        let sum = ip
            .pseudo_sum(build::ICMPV6, body.len())
            .bytes(&body)
            .checksum();
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        let packet = ip.packet(build::ICMPV6, &body);
        let want = build::ethernet(ASKER, mac, &[], ip.ethertype(), &packet);
        assert_eq!(answer_bytes(&frame), want, "router: {}", flags == 0xe0);
    }
}

#[test]
fn whoever_looks_whether_an_address_is_free_is_answered_to_all_nodes() {
    for nonce in [false, true] {
        let probe = Nd {
            mac: None,
            nonce,
            ..Nd::solicitation("::", "fd00::50")
        };
        let out = answer_bytes(&probe.frame());
        assert_eq!(out[..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(out[38..54], v6("ff02::1").octets());
        assert_eq!(out[58] & 0xe0, 0x20, "override, not solicited");
        assert_eq!(out.len(), 86);
    }
    let probe = arp(1, "0.0.0.0", HOSTS[0]);
    let out = answer_bytes(&probe);
    assert_eq!(out[..6], ASKER.bytes());
    assert_eq!(out[38..42], [0; 4]);
    assert_eq!(heard(&at_carrier(&probe)), [], "nobody says where it is");
}

#[test]
fn an_answer_keeps_the_tag_of_its_port() {
    let request = tagged(&arp(1, "10.0.0.7", HOSTS[0]), q(40));
    let world = World::default();
    let meta = Meta {
        ifindex: world.interfaces.trunk,
        ..Meta::default()
    };
    let decision = at_port(&world, world.interfaces.trunk, &request);
    assert_eq!(answer(&decision).ifindex, world.interfaces.trunk);
    let out = apply_port(
        &request,
        &meta,
        port::PortStage::Tc,
        &decision,
        &world.tables,
    )
    .frame;
    assert_eq!(out[12..18], request[12..18]);
    assert_eq!(out[24..26], [0, 2]);
}

#[test]
fn a_frame_that_is_answered_raises_no_learning() {
    let decision = at_carrier(&arp(1, "10.0.0.7", HOSTS[0]));
    answer(&decision);
    let kinds: Vec<u32> = decision
        .notes
        .events
        .iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(kinds, [Event::SNOOPED]);
}

#[test]
fn a_unicast_poll_is_let_through() {
    let mut poll = arp(1, "10.0.0.7", HOSTS[0]);
    poll[..6].copy_from_slice(&unicast(TRUNK, PEER_V4).bytes());
    assert!(matches!(at_carrier(&poll).verdict, Verdict::Encap(_)));
    let mut poll = Nd::solicitation("fd00::7", "fd00::50");
    poll.to = unicast(TRUNK, PEER_V6_ZERO);
    assert!(matches!(
        at_carrier(&poll.frame()).verdict,
        Verdict::Encap(_)
    ));
}

#[test]
fn nobody_is_told_that_its_own_address_is_anothers() {
    let mut own = arp_from(host_mac(0), 1, "0.0.0.0", HOSTS[0]);
    own[6..12].copy_from_slice(&host_mac(0).bytes());
    flood(&at_carrier(&own));
    let mut own = Nd::solicitation("::", HOSTS[2]);
    own.mac = None;
    let mut own = own.frame();
    own[6..12].copy_from_slice(&host_mac(2).bytes());
    flood(&at_carrier(&own));
}

#[test]
fn a_request_for_an_unknown_host_is_flooded_where_the_vni_floods() {
    flood(&at_carrier(&arp(1, "10.0.0.7", "10.0.0.99")));
    flood(&at_carrier(
        &Nd::solicitation("fd00::7", "fd00::99").frame(),
    ));
}

#[test]
fn a_request_for_an_unknown_host_is_a_miss_where_the_vni_does_not_flood() {
    for (frame, target) in [
        (arp(1, "10.0.0.7", "10.0.0.99"), "10.0.0.99"),
        (Nd::solicitation("fd00::7", "fd00::99").frame(), "fd00::99"),
    ] {
        let decision = at_routed(&frame);
        assert_eq!(left(&decision), Reason::UnknownNeigh);
        let missed: Vec<IpAddr> = decision
            .notes
            .events
            .iter()
            .filter(|event| event.kind == Event::MISS)
            .map(|event| event.host.into())
            .collect();
        assert_eq!(missed, [host(target)]);
    }
}

#[test]
fn who_says_where_it_is_is_heard() {
    for (frame, want, flags) in [
        (arp(1, "10.0.0.7", "10.0.0.99"), "10.0.0.7", 0),
        (arp(2, "10.0.0.7", "10.0.0.8"), "10.0.0.7", 0),
        (
            arp(1, "10.0.0.7", "10.0.0.7"),
            "10.0.0.7",
            Event::UNSOLICITED,
        ),
        (
            arp(2, "10.0.0.7", "10.0.0.7"),
            "10.0.0.7",
            Event::UNSOLICITED,
        ),
        (
            Nd::solicitation("fd00::7", "fd00::99").frame(),
            "fd00::7",
            0,
        ),
        (
            Nd::advertisement("fd00::7", 0x60).frame(),
            "fd00::7",
            Event::ADVERTISED,
        ),
        (
            Nd::advertisement("fd00::7", 0x20).frame(),
            "fd00::7",
            Event::UNSOLICITED | Event::ADVERTISED,
        ),
        (
            Nd::advertisement("fd00::7", 0xa0).frame(),
            "fd00::7",
            Event::UNSOLICITED | Event::ADVERTISED | Event::ROUTER,
        ),
    ] {
        let decision = at_carrier(&frame);
        assert_eq!(heard(&decision), [(host(want), ASKER, flags)]);
        flood(&decision);
        assert_eq!(decision.from_port, PORT_CARRIER);
    }
}

#[test]
fn what_a_host_behind_a_vtep_says_to_all_is_heard_whether_it_asks_or_tells() {
    let key = TunnelKey {
        vni: 200,
        source: host(REMOTE_V4).into(),
        destination: Some(host(OURS_V4).into()),
    };
    let tables = World::default().tables;
    for (frame, want) in [
        (arp(1, "10.0.0.7", "10.0.0.99"), Some("10.0.0.7")),
        (arp(1, "10.0.0.7", "10.0.0.7"), Some("10.0.0.7")),
        (arp(2, "10.0.0.7", "10.0.0.8"), Some("10.0.0.7")),
        (
            Nd::solicitation("fd00::7", "fd00::99").frame(),
            Some("fd00::7"),
        ),
        (Nd::advertisement("fd00::7", 0x20).frame(), Some("fd00::7")),
        // A probe comes from nobody yet.
        (arp(1, "0.0.0.0", "10.0.0.99"), None),
    ] {
        let decision = decide_tunnel(frame.as_slice(), &Meta::default(), &key, &tables);
        let hosts: Vec<_> = heard(&decision).iter().map(|(host, ..)| *host).collect();
        assert_eq!(hosts, want.map(host).into_iter().collect::<Vec<_>>());
    }
}

/// What a host behind a VTEP says to one host at a port, and of which host.
fn said_to_one(to: MacAddr) -> Vec<(Vec<u8>, &'static str)> {
    let one = |mut frame: Vec<u8>| {
        frame[..6].copy_from_slice(&to.bytes());
        frame
    };
    vec![
        (one(arp(1, "10.0.0.7", "10.0.0.99")), "10.0.0.7"),
        (one(arp(2, "10.0.0.7", "10.0.0.8")), "10.0.0.7"),
        (
            one(Nd::solicitation("fd00::7", "fd00::99").frame()),
            "fd00::7",
        ),
        (one(Nd::advertisement("fd00::7", 0x60).frame()), "fd00::7"),
    ]
}

#[test]
fn what_a_host_behind_a_vtep_says_to_one_is_heard_and_delivered() {
    let key = TunnelKey {
        vni: 200,
        source: host(REMOTE_V4).into(),
        destination: Some(host(OURS_V4).into()),
    };
    let tables = World::default().tables;
    for (frame, want) in said_to_one(unicast(TRUNK, PORT_CARRIER)) {
        let decision = decide_tunnel(frame.as_slice(), &Meta::default(), &key, &tables);
        let heard: Vec<_> = heard(&decision).iter().map(|(host, ..)| *host).collect();
        assert_eq!(heard, [host(want)]);
        assert_eq!(deliver(&decision).slot, PORT_CARRIER);
    }
}

#[test]
fn what_is_said_to_one_goes_to_where_it_is_heard_only_in_a_vni_that_listens() {
    let mut world = World::default();
    let frames = said_to_one(unicast(TRUNK, PORT_CARRIER));
    let both = |world: &World, inner: &[u8]| {
        let [frame, _] = underlays(200).map(|underlay| underlay.frame(inner));
        (at_uplink_xdp(world, &frame), at_uplink(world, &frame))
    };
    for (inner, _) in &frames {
        let (xdp, tc) = both(&world, inner);
        assert_eq!(left(&xdp), Reason::LeftToTc);
        assert_eq!(left(&tc), Reason::LeftToKernel);
        assert_eq!(heard(&xdp), []);
    }
    // What is like it, and is none: another next header, a hop that it has made, another type.
    for (at, value) in [(20, 17), (21, 254), (54, 128)] {
        let mut inner = frames[2].0.clone();
        inner[at] = value;
        let (xdp, tc) = both(&world, &inner);
        assert_eq!(deliver(&xdp).slot, PORT_CARRIER, "{at}");
        assert_eq!(deliver(&tc).slot, PORT_CARRIER, "{at}");
    }
    for flag in [Segment::SUPPRESS, Segment::LEARNING] {
        let segment = world.tables.segments.get_mut(&TRUNK).unwrap();
        let before = segment.flags;
        segment.set(flag, false);
        for (inner, _) in &frames {
            let (xdp, tc) = both(&world, inner);
            assert_eq!(deliver(&xdp).slot, PORT_CARRIER);
            // TC cannot take headers off a frame as short as ARP.
            if inner.len() > 54 {
                assert_eq!(deliver(&tc).slot, PORT_CARRIER);
            }
        }
        world.tables.segments.get_mut(&TRUNK).unwrap().flags = before;
    }
}

#[test]
fn a_host_of_which_nobody_knows_whether_it_is_a_router_is_not_answered_for() {
    let mut world = World::default();
    let question = Nd::solicitation("fd00::7", "fd00::50").frame();
    let at = |world: &World| at_port(world, world.interfaces.carrier, &question);
    answer(&at(&world));
    for value in world.tables.neighs.values_mut() {
        value.flags |= NeighValue::ROUTER_UNKNOWN;
    }
    flood(&at(&world));
}

#[test]
fn a_message_that_is_not_sound_says_nothing_and_is_not_answered() {
    let sound = arp(1, "10.0.0.7", HOSTS[0]);
    let mut broken = Vec::new();
    // Hardware type, protocol type, lengths, operation.
    for at in [14, 16, 18, 19, 20, 21] {
        let mut frame = sound.clone();
        frame[at] ^= 0x10;
        broken.push(("ARP", at, frame));
    }
    broken.push(("ARP cut short", 0, sound[..sound.len() - 1].to_vec()));
    broken.push((
        "ARP of another sender",
        0,
        arp_from(host_mac(1), 1, "10.0.0.7", HOSTS[0]),
    ));
    broken.push(("ARP from a group", 0, arp(1, "224.0.0.1", HOSTS[0])));
    broken.push(("ARP for a group", 0, arp(1, "10.0.0.7", "224.0.0.1")));
    let sound = Nd::solicitation("fd00::7", "fd00::50").frame();
    // Every byte of the message counts in its checksum.
    for at in (54..sound.len()).chain([20, 22, 30]) {
        let mut frame = sound.clone();
        frame[at] ^= 1;
        broken.push(("ND", at, frame));
    }
    let other = |change: &dyn Fn(&mut Nd)| {
        let mut nd = Nd::solicitation("fd00::7", "fd00::50");
        change(&mut nd);
        nd.frame()
    };
    broken.push(("ND that was routed", 0, other(&|nd| nd.hop_limit = 254)));
    broken.push((
        "ND of another sender",
        0,
        other(&|nd| nd.mac = Some(host_mac(1))),
    ));
    broken.push(("ND from a group", 0, other(&|nd| nd.source = "ff02::5")));
    broken.push(("ND for a group", 0, other(&|nd| nd.target = "ff02::5")));
    broken.push((
        "ND from nobody with a MAC",
        0,
        other(&|nd| nd.source = "::"),
    ));
    // The length of an option: none, and past the end. The checksum is right.
    for (at, len) in [(79, 0), (79, 2)] {
        let mut frame = sound.clone();
        frame[at] = len;
        let sum = u16::from_be_bytes([frame[56], frame[57]]);
        let sum = Sum::default()
            .word(!sum)
            .word(!1)
            .word(u16::from(len))
            .checksum();
        frame[56..58].copy_from_slice(&sum.to_be_bytes());
        broken.push(("ND with an option of length", len.into(), frame));
    }
    for (what, at, frame) in broken {
        let decision = at_carrier(&frame);
        assert_eq!(heard(&decision), [], "{what} {at}");
        flood(&decision);
    }
}

#[test]
fn without_learning_nothing_is_heard_but_requests_are_answered() {
    let mut world = World::default();
    let segment = world.tables.segments.get_mut(&TRUNK).unwrap();
    segment.set(vtep_common::abi::segment::Segment::LEARNING, false);
    let at = |frame: &[u8]| at_port(&world, world.interfaces.carrier, frame);
    assert_eq!(heard(&at(&arp(2, "10.0.0.7", "10.0.0.8"))), []);
    answer(&at(&arp(1, "10.0.0.7", HOSTS[0])));
}

#[test]
fn without_suppression_nothing_is_heard_or_answered() {
    let mut world = World::default();
    let segment = world.tables.segments.get_mut(&TRUNK).unwrap();
    segment.set(vtep_common::abi::segment::Segment::SUPPRESS, false);
    let decision = at_port(
        &world,
        world.interfaces.carrier,
        &arp(1, "10.0.0.7", HOSTS[0]),
    );
    assert_eq!(heard(&decision), []);
    flood(&decision);
    assert_ne!(TRUNK, ROUTED);
}
