//! What must hold for every frame, whatever its bytes: asserted over random frames, by the fuzz targets and over their corpus.

use std::sync::OnceLock;

use crate::{
    abi::{
        addr::{MacAddr, Vni, VtepAddr},
        event::Event,
        fdb::FdbTarget,
        id::{PortSlot, SegmentId},
        outer_template,
        peer::Peer,
        port::Port,
        reason::{Class, Reason},
        segment::Segment,
    },
    decide::{
        port,
        tunnel::{self, TunnelKey, decide_tunnel},
        uplink::decide_uplink,
        verdict::{Decision, Encap, TagEdit, Verdict},
    },
    frame::{
        ecn,
        neigh::Answer,
        outer::{self, Ends, Outer},
        packet::{Meta, Tag},
        template::{self, Fields},
    },
    runtime::{Keyed as _, Tables},
    sim::{Action, HostCounters, HostTables, Outcome, decide_port},
    testkit::apply::{apply_port, apply_tunnel, apply_uplink},
    testkit::frames::{Sample, Side, World},
    wire::{checksum::Sum, ethernet, icmpv6, ipv4, ipv6, tcp, udp, vlan, vxlan},
};

/// The tables that fuzz inputs are looked at with.
#[must_use]
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::default)
}

/// Runs the fuzz target `name` over an input.
pub fn target(name: &str, input: &[u8]) {
    match name {
        "outer" => fuzz_outer(input),
        "decide_uplink" => fuzz_uplink(input),
        "decide_port" => fuzz_port(input),
        _ => panic!("no fuzz target {name}"),
    }
}

/// The input of a fuzz target that stands for a sample; its name comes with it.
#[must_use]
pub fn input(sample: &Sample) -> (&'static str, Vec<u8>) {
    let gso = u8::from(sample.meta.gso_size != 0);
    match sample.side {
        Side::Port(_) => {
            let interfaces = port_interfaces();
            let at = interfaces
                .iter()
                .position(|ifindex| *ifindex == sample.meta.ifindex);
            let at = u8::try_from(at.unwrap_or_default()).unwrap_or_default();
            let tag = sample.meta.tag.map_or([0, 0], |tag| tag.tci.to_be_bytes());
            let beside = match sample.meta.tag {
                None => 0,
                Some(tag) if tag.tpid == vlan::TYPE_8021Q => 1,
                Some(_) => 2,
            };
            let head = vec![at | gso << 3 | beside << 4, tag[0], tag[1]];
            ("decide_port", [head, sample.frame.clone()].concat())
        }
        Side::Uplink(_) | Side::Tunnel(_) => {
            ("decide_uplink", [vec![gso], sample.frame.clone()].concat())
        }
    }
}

fn port_interfaces() -> [u32; 7] {
    let all = world().interfaces;
    [
        all.access,
        all.narrow,
        all.trunk,
        all.carrier,
        all.quiet,
        all.lone,
        all.uplink,
    ]
}

/// An input of the target `outer`: the lowest bit of the first byte says whether the frame is merged, the rest is the frame.
pub fn fuzz_outer(input: &[u8]) {
    if let Some((head, frame)) = input.split_first() {
        outer_headers(world(), frame, head & 1 == 1);
    }
}

/// An input of the target `decide_uplink`: as for [`fuzz_outer`].
pub fn fuzz_uplink(input: &[u8]) {
    if let Some((head, frame)) = input.split_first() {
        let meta = Meta {
            ifindex: world().interfaces.uplink,
            tag: None,
            gso_size: if head & 1 == 1 { 100 } else { 0 },
        };
        uplink(world(), frame, &meta);
    }
}

/// An input of the target `decide_port`: interface, super-frame and tag in the first three bytes, then the frame.
pub fn fuzz_port(input: &[u8]) {
    if let Some((meta, frame)) = port_input(input) {
        port(world(), frame, &meta);
    }
}

/// The frame that an input of [`fuzz_port`] stands for.
#[must_use]
pub fn port_input(input: &[u8]) -> Option<(Meta, &[u8])> {
    let ([head, tci @ ..], frame) = input.split_first_chunk::<3>()?;
    let interfaces = port_interfaces();
    let tpid = match head >> 4 & 3 {
        0 => None,
        2 => Some(vlan::TYPE_8021AD),
        _ => Some(vlan::TYPE_8021Q),
    };
    let meta = Meta {
        ifindex: interfaces[usize::from(head & 7) % interfaces.len()],
        tag: tpid.map(|tpid| Tag {
            tpid,
            tci: u16::from_be_bytes(*tci),
        }),
        gso_size: if head & 8 == 0 { 0 } else { 1400 },
    };
    Some((meta, frame))
}

/// What must hold for a sample.
pub fn sample(world: &World, sample: &Sample) {
    let Sample { frame, meta, side } = sample;
    match side {
        Side::Uplink(_) => uplink(world, frame, meta),
        Side::Port(_) => port(world, frame, meta),
        Side::Tunnel(key) => behind_device(world, frame, meta, key),
    }
}

/// What must hold for the outer headers of a frame.
pub fn outer_headers(world: &World, frame: &[u8], merged: bool) {
    let tables = &world.tables;
    let read = outer::parse(frame, merged, tables);
    let addressed = is_addressed_to_us(frame, tables);
    match read {
        Err(reason) => {
            assert_ne!(reason.class(), Class::Delivered);
            assert_ne!(reason.class(), Class::Aborted);
            let foreign = reason.class() == Class::Passed;
            assert_eq!(foreign, !addressed, "{reason:?} for {}", hex(frame));
        }
        Ok(outer) => {
            assert!(addressed, "not ours: {}", hex(frame));
            accepted_headers(world, frame, merged, &outer);
        }
    }
}

/// Whether the first bytes, up to the UDP header's end, say that a frame is VXLAN for one of our addresses, sound or not.
/// Written apart from the parser.
fn is_addressed_to_us(frame: &[u8], tables: &HostTables) -> bool {
    let at = |from: usize, len: usize| frame.get(from..from + len).unwrap_or_default();
    let to_port =
        |udp: usize| at(udp, 8).get(2..4) == Some(&tables.config.udp_port.to_be_bytes()[..]);
    let local = |bytes: &[u8]| match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).is_ok_and(|raw| {
            let addr: std::net::IpAddr = raw.into();
            tables.locals.contains(&VtepAddr::from(addr))
        }),
        16 => <[u8; 16]>::try_from(bytes).is_ok_and(|raw| {
            let addr: std::net::IpAddr = raw.into();
            tables.locals.contains(&VtepAddr::from(addr))
        }),
        _ => false,
    };
    match at(12, 2) {
        [0x08, 0x00] => {
            let Some([first, _, _, _, _, _, flags, offset, _, 17, ..]) = frame.get(14..) else {
                return false;
            };
            let ihl = usize::from(first & 15);
            first >> 4 == 4
                && ihl >= 5
                && u16::from_be_bytes([*flags, *offset]) << 3 == 0
                && to_port(14 + 4 * ihl)
                && local(at(30, 4))
        }
        [0x86, 0xdd] => {
            let Some([first, _, _, _, _, _, next, ..]) = frame.get(14..) else {
                return false;
            };
            let is_vxlan = match next {
                17 => to_port(54),
                // Options and routing headers are the host's to read.
                0 | 43 | 60 => true,
                44 => {
                    at(54, 1) == [17]
                        && matches!(at(56, 2), [0, low] if low >> 3 == 0)
                        && to_port(62)
                }
                _ => false,
            };
            first >> 4 == 6 && is_vxlan && frame.len() >= 62 && local(at(38, 16))
        }
        _ => false,
    }
}

/// What must hold for headers that were accepted: they say what the bytes say, and written anew they read the same.
fn accepted_headers(world: &World, frame: &[u8], merged: bool, outer: &Outer) {
    let tables = &world.tables;
    let Outer {
        ends: Ends {
            source,
            destination,
            vni,
        },
        v6,
        tos: _,
        reserved: _,
        header_len,
        end,
    } = *outer;
    let inner_offset = usize::from(header_len);
    let len = if v6 {
        outer_template::LEN_V6
    } else {
        outer_template::LEN_V4
    };
    assert_eq!(inner_offset, len);
    assert!(inner_offset <= end && end <= frame.len());
    assert_eq!(source.is_v6() && v6, v6, "an IPv4 source over IPv4");
    assert_eq!(
        frame[len - 4..len - 1],
        vni.to_be_bytes()[1..],
        "the VNI as on the wire"
    );
    // An IPv4-mapped address in an IPv6 header has no template of its own.
    let remote = destination_of(frame, v6);
    assert_eq!(destination, remote);
    if v6 && (!source.is_v6() || !remote.is_v6()) {
        return;
    }

    let inner = &frame[inner_offset..end];
    let rendered = render(outer, remote, tables.config.udp_port, inner);
    let again = outer::parse(rendered.as_slice(), merged, tables);
    let mut want = *outer;
    want.reserved = false;
    assert_eq!(again, Ok(want), "{} as {}", hex(frame), hex(&rendered));
    assert_eq!(&rendered[inner_offset..], inner);

    // What follows the packet changes nothing; nothing of the packet can be missing.
    if !merged {
        assert_eq!(
            outer::parse([frame, &[0x5a; 9]].concat().as_slice(), merged, tables),
            Ok(*outer)
        );
        for kept in [end - 1, inner_offset, inner_offset - 1] {
            if kept < end {
                assert!(outer::parse(&frame[..kept], merged, tables).is_err());
            }
        }
    }
}

fn destination_of(frame: &[u8], v6: bool) -> VtepAddr {
    let addr: std::net::IpAddr = if v6 {
        <[u8; 16]>::try_from(&frame[38..54])
            .expect("16 bytes")
            .into()
    } else {
        <[u8; 4]>::try_from(&frame[30..34]).expect("4 bytes").into()
    };
    addr.into()
}

/// The packet with the headers that `outer` says.
fn render(outer: &Outer, destination: VtepAddr, udp_port: u16, inner: &[u8]) -> Vec<u8> {
    let fields = Fields {
        tos: outer.tos,
        ttl: 64,
        dont_fragment: true,
        id: 0,
        source_port: 50_000,
        vni: Vni::new(outer.ends.vni).expect("24 bits"),
        inner_len: u32::try_from(inner.len()).expect("a short frame"),
        inner_sum: None,
    };
    let macs = (MacAddr::BROADCAST, MacAddr::ZERO);
    let template = template::build(macs, outer.ends.source, destination, udp_port);
    let mut out = if outer.v6 {
        template::render_v6(&template, &fields)
            .bytes::<{ outer_template::LEN_V6 }>()
            .to_vec()
    } else {
        template::render_v4(&template, &fields)
            .bytes::<{ outer_template::LEN_V4 }>()
            .to_vec()
    };
    out.extend(inner);
    out
}

/// What must hold for a frame at an uplink.
pub fn uplink(world: &World, frame: &[u8], meta: &Meta) {
    let tables = &world.tables;
    let merged = meta.gso_size != 0;
    outer_headers(world, frame, merged);

    let tc = decide_uplink(frame, meta, tunnel::Stage::Tc, tables);
    let at_tc = tc.verdict.reason(true);
    assert_ne!(at_tc, Reason::LeftToTc);
    let outcome = apply_uplink(frame, meta, tunnel::Stage::Tc, &tc);
    from_underlay(frame, meta, &tc, &outcome, tables);

    if !merged && meta.tag.is_none() {
        let xdp = decide_uplink(frame, meta, tunnel::Stage::Xdp, tables);
        let at_xdp = xdp.verdict.reason(true);
        let outcome = apply_uplink(frame, meta, tunnel::Stage::Xdp, &xdp);
        from_underlay(frame, meta, &xdp, &outcome, tables);
        match (at_xdp, at_tc) {
            // Generic XDP cannot tell a super-frame from one that is too big.
            (Reason::LeftToTc, _) => assert!(
                at_tc == Reason::TooBig
                    || matches!(
                        at_tc.class(),
                        Class::Passed | Class::Continued | Class::Delivered
                    )
            ),
            // Too small for TC to uncover, but not for XDP.
            (Reason::Decapsulated, Reason::LeftToKernel) => {
                assert!(xdp.inner_len < 54);
                assert_eq!(outcome.action, Action::Redirect);
                let headers = frame.len() - xdp.inner_len;
                assert!(matches!(
                    headers,
                    outer_template::LEN_V4 | outer_template::LEN_V6
                ));
            }
            _ => assert_eq!(xdp, tc, "XDP ends a frame as TC would: {}", hex(frame)),
        }
    }
    if let (Ok(outer), None) = (outer::parse(frame, merged, tables), meta.tag) {
        slow_path(frame, meta, &outer, at_tc, &tc, tables);
    }
}

/// The kernel device's way comes to the same end as the fast one.
fn slow_path(
    frame: &[u8],
    meta: &Meta,
    outer: &Outer,
    at_tc: Reason,
    tc: &Decision,
    tables: &HostTables,
) {
    let key = TunnelKey {
        vni: outer.ends.vni,
        source: outer.ends.source,
        destination: Some(destination_of(frame, outer.v6)),
    };
    let inner = &frame[outer.inner_offset()..outer.end];
    let device = decide_tunnel(inner, meta, &key, tables);
    let at_device = device.verdict.reason(true);
    match at_tc {
        Reason::Decapsulated => {
            assert_eq!(outer.end, frame.len(), "nothing but the inner frame");
            let slot = |decision: &Decision| match decision.verdict {
                Verdict::Deliver(deliver) => Some((deliver.slot, deliver.vlan)),
                _ => None,
            };
            assert_eq!(slot(&device), slot(tc));
        }
        // Hosts that are looked for by IP may not be found, or not fit.
        Reason::LeftToKernel => assert!(matches!(
            at_device,
            Reason::Decapsulated
                | Reason::FloodedLocally
                | Reason::NowhereToFlood
                | Reason::NoFdbEntry
                | Reason::TableGap
                | Reason::TooBig
        )),
        // The device has no say in these.
        Reason::ReservedBits | Reason::EcnNotCapable => {}
        _ => assert_eq!(at_device, at_tc),
    }
}

/// What must hold for a frame behind the kernel device.
pub fn behind_device(world: &World, frame: &[u8], meta: &Meta, key: &TunnelKey) {
    let tables = &world.tables;
    let decision = decide_tunnel(frame, meta, key, tables);
    assert_ne!(decision.verdict.reason(true).class(), Class::Continued);
    let outcome = apply_tunnel(frame, meta, &decision);
    from_underlay(frame, meta, &decision, &outcome, tables);
}

/// What must hold for every decision on a frame from the underlay.
fn from_underlay(
    frame: &[u8],
    meta: &Meta,
    decision: &Decision,
    outcome: &Outcome,
    tables: &HostTables,
) {
    let reason = decision.verdict.reason(true);
    counted_once(decision, reason, frame.len(), tables);
    assert!(decision.from_port.is_none());
    match &decision.verdict {
        Verdict::Deliver(deliver) => {
            let port = tables.port(deliver.slot).expect("a port that is there");
            assert_eq!(port.segment, decision.segment, "into its own segment");
            assert_eq!(port.ifindex, deliver.ifindex);
            assert_eq!(outcome.action, Action::Redirect);
            let inner = &frame[deliver.strip..];
            let segment = tables.segment(decision.segment).expect("a segment");
            assert!(
                l3_behind_tag(inner) == ethernet::LEN || segment.has(Segment::INNER_VLAN_PASS),
                "no tag where none may pass: {}",
                hex(frame)
            );
            let own = (deliver.vlan != 0).then_some(Tag {
                tpid: vlan::TYPE_8021Q,
                tci: deliver.vlan,
            });
            let mut tags: Vec<Tag> = own.into_iter().chain(meta.tag).collect();
            if outcome.skb_tag.is_some() {
                assert_eq!(outcome.skb_tag, Some(tags.remove(0)));
            }
            let mut want = inner[..ethernet::TYPE_OFFSET].to_vec();
            for tag in tags {
                want.extend(tag.tpid.to_be_bytes());
                want.extend(tag.tci.to_be_bytes());
            }
            want.extend(&inner[ethernet::TYPE_OFFSET..]);
            if !deliver.mac.is_zero() {
                assert!(segment.has(Segment::NEXTHOPS), "found by its address");
                want[..6].copy_from_slice(&deliver.mac.bytes());
            }
            assert_eq!(outcome.frame, want, "the inner frame behind its tags");
        }
        Verdict::FloodPorts(_) => assert_eq!(outcome.action, Action::Drop),
        Verdict::Leave(_) => untouched(frame, meta, reason, outcome),
        Verdict::Encap(_)
        | Verdict::ViaKernel(_)
        | Verdict::Flood(_)
        | Verdict::Answer(_)
        | Verdict::Neigh
        | Verdict::Rest
        | Verdict::Found(_) => {
            panic!("from the underlay back to it: {}", hex(frame))
        }
    }
}

/// A frame that is left alone keeps its bytes and goes where its reason's class says.
fn untouched(frame: &[u8], meta: &Meta, reason: Reason, outcome: &Outcome) {
    let want = match reason.class() {
        Class::Passed | Class::Continued => Action::Pass,
        Class::Dropped | Class::Aborted => Action::Drop,
        Class::Delivered => panic!("{reason:?} for a frame that is left alone"),
    };
    assert_eq!(outcome.action, want, "{reason:?}");
    assert_eq!(outcome.frame, frame, "{reason:?}");
    assert_eq!(outcome.skb_tag, meta.tag);
}

/// A frame counts under one reason, and for segments, ports and peers if it went through.
fn counted_once(decision: &Decision, reason: Reason, len: usize, tables: &HostTables) {
    let counters = HostCounters::default();
    counters.record(decision, reason, len, tables);
    let reasons: Vec<(u32, u64)> = counters
        .reasons
        .borrow()
        .iter()
        .map(|(code, counter)| (*code, counter.packets))
        .collect();
    // The lost copies of a flooded frame count beside the frame itself.
    let ends: Vec<(u32, u64)> = reasons
        .into_iter()
        .filter(|(code, _)| *code != Reason::CopyLost.code())
        .collect();
    assert_eq!(ends, [(reason.code(), 1)]);
    let through = usize::from(reason.class() == Class::Delivered);
    assert_eq!(counters.segments.borrow().len(), through);
    if through == 0 {
        assert!(counters.ports.borrow().is_empty() && counters.peers.borrow().is_empty());
    }
}

/// What must hold for a frame at a port.
pub fn port(world: &World, frame: &[u8], meta: &Meta) {
    let tables = &world.tables;
    let tc = decide_port(frame, meta, port::Stage::Tc, tables);
    let at_tc = tc.verdict.reason(false);
    assert!(!matches!(at_tc.class(), Class::Passed | Class::Continued));
    from_port(frame, meta, port::Stage::Tc, &tc, tables);
    if meta.tag.is_none() && meta.gso_size == 0 {
        let xdp = decide_port(frame, meta, port::Stage::Xdp, tables);
        from_port(frame, meta, port::Stage::Xdp, &xdp, tables);
        if xdp.verdict == Verdict::Leave(Reason::LeftToTc) {
            assert_eq!(xdp.segment, tc.segment);
        } else {
            assert_eq!(xdp, tc, "XDP ends a frame as TC would: {}", hex(frame));
        }
    }
}

/// What must hold for every decision on a frame from a port.
fn from_port(
    frame: &[u8],
    meta: &Meta,
    stage: port::Stage,
    decision: &Decision,
    tables: &HostTables,
) {
    let reason = decision.verdict.reason(false);
    counted_once(decision, reason, frame.len(), tables);
    assert!(decision.from_peer.is_none());
    let outcome = apply_port(frame, meta, stage, decision, tables);
    if let Some(port) = tables.port(decision.from_port) {
        assert_eq!(port.ifindex, meta.ifindex);
        assert_eq!(port.segment, decision.segment);
    }
    told(frame, meta, decision, tables);
    let original = frame;
    let written = destined(frame, decision.destination);
    let frame = written.as_slice();
    match &decision.verdict {
        Verdict::Encap(encap) => {
            encapsulated(frame, meta, decision, encap, &outcome, tables);
            if meta.tag.is_none() && meta.gso_size == 0 {
                same_port_for_any_payload(original, meta, encap, tables);
            }
        }
        Verdict::ViaKernel(via) => {
            let peer = tables.peer(via.peer).expect("a peer that is there");
            assert_eq!((via.remote, via.local), (peer.addr, peer.local));
            assert_eq!(outcome.action, Action::Redirect);
        }
        Verdict::Deliver(deliver) => {
            let port = tables.port(deliver.slot).expect("a port that is there");
            assert_eq!(port.segment, decision.segment, "into its own segment");
            assert_ne!(deliver.slot, decision.from_port, "never back");
            assert_eq!(deliver.strip, 0);
            assert_eq!(outcome.action, Action::Redirect);
        }
        Verdict::Flood(flood) => {
            assert_eq!(flood.from, decision.from_port);
            assert_eq!(outcome.action, Action::Drop);
        }
        Verdict::Answer(answer) => answered(frame, meta, answer, &outcome, tables),
        Verdict::Neigh | Verdict::Rest | Verdict::Found(_) => panic!("not decided: {}", hex(frame)),
        Verdict::FloodPorts(_) => panic!("to ports alone: {}", hex(frame)),
        Verdict::Leave(_) => untouched(frame, meta, reason, &outcome),
    }
}

/// The frame with the destination that was written on the way, if one was.
fn destined(frame: &[u8], destination: MacAddr) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if !destination.is_zero() {
        frame[..6].copy_from_slice(&destination.bytes());
    }
    frame
}

/// What the daemon is told of a frame from a port is true.
fn told(frame: &[u8], meta: &Meta, decision: &Decision, tables: &HostTables) {
    let segment = tables.segment(decision.segment);
    for event in decision.notes.events.iter().flatten() {
        let segment = segment.expect("a segment that is there");
        assert_eq!(event.segment, decision.segment);
        assert_eq!(event.port, decision.from_port);
        assert!(event.from_port());
        let source = frame[6..12] == event.mac().bytes();
        match event.kind {
            Event::LEARN => assert!(segment.has(Segment::LEARNING) && source),
            Event::HEARD => {
                assert!(segment.has(Segment::SUPPRESS) && segment.has(Segment::LEARNING) && source);
                let said = [ethernet::LEN, ethernet::LEN + vlan::LEN]
                    .into_iter()
                    .any(|l3| says(&frame[l3..], event.host));
                assert!(said, "{:?} is not in {}", event.host, hex(frame));
            }
            Event::MISS => assert!(!segment.has(Segment::FLOODS)),
            kind => panic!("event {kind} of {}", hex(frame)),
        }
        assert!(meta.gso_size == 0 || event.kind != Event::HEARD || frame.len() < 200);
    }
}

/// Whether an ARP or ND message says something of `host`: its address stands where senders, or what is advertised, stand.
fn says(message: &[u8], host: VtepAddr) -> bool {
    let bytes: [u8; 16] = bytemuck::cast(host.words_be());
    if host.is_v6() {
        [8, 48]
            .iter()
            .any(|at| message.get(*at..at + 16) == Some(&bytes[..]))
    } else {
        message.get(14..18) == Some(&bytes[12..])
    }
}

/// What must hold for an answer: it goes back to who asked, from the MAC that the table has, and its checksum is right.
fn answered(frame: &[u8], meta: &Meta, answer: &Answer, outcome: &Outcome, tables: &HostTables) {
    assert_eq!(outcome.action, Action::Redirect);
    assert_eq!(outcome.skb_tag, meta.tag);
    assert_eq!(answer.ifindex, meta.ifindex);
    let known = tables
        .neighs
        .values()
        .any(|neigh| neigh.mac() == answer.mac);
    assert!(known, "{} is in no table", answer.mac);
    let out = &outcome.frame;
    assert_eq!(out[6..12], answer.mac.bytes(), "from the host's MAC");
    assert_ne!(frame[6..12], answer.mac.bytes(), "never the asker's own");
    assert_eq!(frame[0] & 1, 1, "a poll is the host's own to answer");
    let l3 = answer.l3;
    assert_eq!(out[12..l3], frame[12..l3], "tag and type stay");
    if answer.v6 {
        let packet = &out[l3..];
        assert_eq!(packet.len(), 72);
        let sum = Sum::default()
            .bytes(&packet[ipv6::SOURCE_OFFSET..])
            .length(packet.len() - ipv6::LEN)
            .word(u16::from(icmpv6::PROTOCOL));
        assert_eq!(sum.fold(), 0xffff, "{}", hex(out));
        assert_eq!((packet[7], packet[40]), (255, icmpv6::ADVERTISEMENT));
        assert_eq!(
            packet[8..24],
            frame[l3 + 48..l3 + 64],
            "from who was asked for"
        );
        assert_eq!(packet[48..64], frame[l3 + 48..l3 + 64]);
        assert_eq!(packet[66..72], answer.mac.bytes());
        let nobody = frame[l3 + 8..l3 + 24] == [0; 16];
        assert_eq!(packet[44] & 0x60, if nobody { 0x20 } else { 0x60 });
        assert_eq!(out[0] & 1 == 1, nobody, "to all only where nobody asked");
    } else {
        assert_eq!(out.len(), frame.len());
        assert_eq!(out[..6], frame[6..12], "to who asked");
        assert_eq!(out[l3 + 6..l3 + 8], [0, 2]);
        assert_eq!(out[l3 + 8..l3 + 14], answer.mac.bytes());
        assert_eq!(out[l3 + 14..l3 + 18], frame[l3 + 24..l3 + 28]);
        assert_eq!(out[l3 + 18..l3 + 28], frame[l3 + 8..l3 + 18]);
    }
}

/// The frame as the overlay carries it, made apart from the model: from the bytes and the tag beside them.
fn carried(frame: &[u8], meta: &Meta, tag: TagEdit) -> Vec<u8> {
    match (tag, meta.tag) {
        (TagEdit::Leave, None) | (TagEdit::StripBeside, Some(_)) => frame.to_vec(),
        (TagEdit::StripInBytes, None) => [&frame[..12], &frame[16..]].concat(),
        (TagEdit::Carry, Some(beside)) => {
            let tpid = beside.tpid.to_be_bytes();
            let tci = beside.tci.to_be_bytes();
            [&frame[..12], &tpid, &tci, &frame[12..]].concat()
        }
        (edit, beside) => panic!("{edit:?} of a frame with {beside:?} beside it"),
    }
}

/// What must hold for a frame that was encapsulated in place: the far side gets back just what was sent.
fn encapsulated(
    frame: &[u8],
    meta: &Meta,
    decision: &Decision,
    encap: &Encap,
    outcome: &Outcome,
    tables: &HostTables,
) {
    assert_eq!(outcome.action, Action::Redirect);
    assert_eq!(outcome.skb_tag, None);
    let peer = tables.peer(encap.peer).expect("a peer that is there");
    let segment = tables
        .segment(decision.segment)
        .expect("a segment that is there");
    let inner = carried(frame, meta, encap.tag);
    assert!(
        l3_behind_tag(&inner) == ethernet::LEN || segment.has(Segment::INNER_VLAN_PASS),
        "no tag where none may pass: {}",
        hex(frame)
    );
    let sent = &outcome.frame;
    assert_eq!(encap.fields.vni.get(), segment.vni);
    let ports = segment.source_port_min..=segment.source_port_max;
    assert!(ports.contains(&encap.fields.source_port));
    if meta.gso_size == 0 {
        assert!(sent.len() - ethernet::LEN <= peer.mtu as usize, "fits");
    }
    if encap.v6 && peer.has(Peer::CHECKSUM) {
        full_checksum(sent);
    } else {
        let at = sent.len() - inner.len() - vxlan::LEN - udp::LEN + udp::CHECKSUM_OFFSET;
        assert_eq!(sent[at..at + 2], [0, 0]);
    }

    let far = far_side(peer, segment.vni, &inner);
    let read = outer::parse(sent.as_slice(), false, &far).expect("what we send is sound");
    assert_eq!(read.ends.source, peer.local);
    assert_eq!(read.ends.vni, segment.vni);
    assert!(!read.reserved);
    assert_eq!(read.end, sent.len());
    assert_eq!(&sent[read.inner_offset()..], inner, "byte for byte");

    let arrived = Meta::default();
    for stage in [tunnel::Stage::Xdp, tunnel::Stage::Tc] {
        let got = decide_uplink(sent.as_slice(), &arrived, stage, &far);
        match got.verdict {
            Verdict::Deliver(_) => {
                let out = apply_uplink(sent, &arrived, stage, &got);
                assert_eq!(out.frame, inner, "byte for byte");
            }
            // Too small for TC to uncover.
            Verdict::Leave(Reason::LeftToKernel) => assert!(inner.len() < 54),
            _ => panic!("{:?} for {}", got.verdict, hex(sent)),
        }
    }

    // ECN as RFC 6040 has it, and one flow on one port whatever its payload.
    if meta.tag.is_none()
        && meta.gso_size == 0
        && let Some(tos) = inner_tos(frame)
    {
        assert_eq!(read.tos & ecn::MASK, tos & ecn::MASK);
    }
}

fn l3_behind_tag(frame: &[u8]) -> usize {
    let tagged = vlan::is_tag(u16::from_be_bytes([frame[12], frame[13]]));
    ethernet::LEN + if tagged { vlan::LEN } else { 0 }
}

/// TOS or traffic class of an IP packet whose fixed header is whole.
fn inner_tos(frame: &[u8]) -> Option<u8> {
    let l3 = l3_behind_tag(frame);
    let packet = &frame[l3..];
    match frame[l3 - 2..l3] {
        [0x08, 0x00] if packet.len() >= ipv4::LEN && packet[0] >> 4 == 4 && packet[0] & 15 >= 5 => {
            Some(packet[1])
        }
        [0x86, 0xdd] if packet.len() >= ipv6::LEN && packet[0] >> 4 == 6 => {
            Some(packet[0] << 4 | packet[1] >> 4)
        }
        _ => None,
    }
}

/// Turns over every byte behind the largest headers that a flow is told by: another packet of the same flow.
fn same_port_for_any_payload(frame: &[u8], meta: &Meta, encap: &Encap, tables: &HostTables) {
    const HEADERS: usize = ethernet::LEN + vlan::LEN + 60 + tcp::LEN;
    let mut other = frame.to_vec();
    for byte in other.iter_mut().skip(HEADERS) {
        *byte = !*byte;
    }
    let again = decide_port(&other, meta, port::Stage::Tc, tables);
    let Verdict::Encap(again) = again.verdict else {
        panic!("{:?} for another payload", again.verdict);
    };
    assert_eq!(again.fields.source_port, encap.fields.source_port);
}

/// Another host: the peer's addresses are its own, and the station that the frame is for stands at a port of it.
fn far_side(peer: &Peer, vni: u32, inner: &[u8]) -> HostTables {
    const SLOT: PortSlot = PortSlot::new(3);
    const SEGMENT: SegmentId = SegmentId::new(5);
    let destination = <[u8; 6]>::try_from(&inner[..6]).expect("6 bytes");
    let mut far = HostTables::new();
    far.locals.insert(peer.addr);
    far.add_segment(
        SEGMENT,
        Segment {
            vni,
            flags: Segment::INNER_VLAN_PASS,
            ..Segment::default()
        },
    );
    far.add_port(
        SLOT,
        Port {
            ifindex: 7,
            segment: SEGMENT,
            flags: Port::XDP_TARGET,
            mtu: u32::MAX >> 1,
            ..Port::default()
        },
    );
    let mac = MacAddr::from_bytes(destination);
    far.add_fdb(SEGMENT, mac, FdbTarget::Port(SLOT));
    far
}

/// The UDP checksum over IPv6 is right once offload has filled in the inner one: a plain sum over the whole packet.
fn full_checksum(sent: &[u8]) {
    let mut packet = sent.to_vec();
    complete(&mut packet[outer_template::LEN_V6..]);
    let datagram = &packet[ethernet::LEN + ipv6::LEN..];
    let total = Sum::default()
        .bytes(&packet[ethernet::LEN + ipv6::SOURCE_OFFSET..ethernet::LEN + ipv6::LEN])
        .word(u16::from(udp::PROTOCOL))
        .dword(u32::try_from(datagram.len()).expect("a short packet"))
        .bytes(datagram)
        .fold();
    assert_eq!(total, 0xffff, "{}", hex(sent));
}

/// Fills in the transport checksum of a TCP or UDP frame, as the device that sends it does.
fn complete(frame: &mut [u8]) {
    let l3 = l3_behind_tag(frame);
    let (l4, protocol) = if frame[l3] >> 4 == 4 {
        (l3 + ipv4::LEN, frame[l3 + ipv4::PROTOCOL_OFFSET])
    } else {
        (l3 + ipv6::LEN, frame[l3 + ipv6::NEXT_HEADER_OFFSET])
    };
    let at = match protocol {
        tcp::PROTOCOL => l4 + tcp::CHECKSUM_OFFSET,
        udp::PROTOCOL => l4 + udp::CHECKSUM_OFFSET,
        _ => panic!("protocol {protocol} with a checksum that is pending"),
    };
    // The field holds the sum of the pseudo header.
    let sum = Sum::default().bytes(&frame[l4..]).udp_checksum();
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Bytes for a message.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("into a string");
        text
    })
}
