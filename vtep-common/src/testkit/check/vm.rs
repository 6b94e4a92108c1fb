//! What must hold for a frame from a VM, at a port.

use crate::sim::decision::{Decision, Verdict};
use crate::{
    abi::{
        addr::MacAddr,
        reason::{Class, Reason},
        segment::Segment,
    },
    decide::port,
    frame::{mss::Clamp, neigh::Answer, packet::Meta},
    runtime::{tables::Tables as _, verdict::TooBigAnswer},
    sim::{Action, HostTables, Outcome, decide_port},
    testkit::apply::apply_port,
    testkit::frames::World,
    wire::{checksum::Sum, icmpv6, ipv6, tcp},
};

use super::common::{counted_once, hex, in_own_vlan, told, untouched};
use super::encap::{encapsulated, same_port_for_any_payload};

/// What must hold for a frame at a port.
pub fn port(world: &World, frame: &[u8], meta: &Meta) {
    let tables = &world.tables;
    let tc = decide_port(frame, meta, port::PortStage::Tc, tables);
    let at_tc = tc.verdict.reason(false);
    assert!(!matches!(at_tc.class(), Class::Passed | Class::Continued));
    from_port(frame, meta, port::PortStage::Tc, &tc, tables);
    if meta.tag.is_none() && meta.gso_size == 0 {
        let xdp = decide_port(frame, meta, port::PortStage::Xdp, tables);
        from_port(frame, meta, port::PortStage::Xdp, &xdp, tables);
        if xdp.verdict == Verdict::Leave(Reason::LeftToTc) {
            assert_eq!(xdp.segment, tc.segment);
            assert_eq!(xdp.notes.taken, [], "TC takes it");
        } else if at_tc == Reason::Rate {
            // What XDP drops for another reason does not count for the rate, and TC has not looked further.
            assert!(matches!(xdp.verdict, Verdict::Leave(_)), "{}", hex(frame));
        } else {
            let mut tc = tc;
            if matches!(xdp.verdict, Verdict::Leave(_)) {
                tc.notes.taken.clear();
            }
            assert_eq!(xdp, tc, "XDP ends a frame as TC would: {}", hex(frame));
        }
    }
}

/// What must hold for every decision on a frame from a port.
pub(super) fn from_port(
    frame: &[u8],
    meta: &Meta,
    stage: port::PortStage,
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
    told(frame, decision, tables);
    let original = frame;
    let mut written = destined(frame, decision.destination);
    if let Some(clamp) = decision.notes.clamped {
        let segment = tables.segment(decision.segment).expect("a segment");
        assert!(segment.has(Segment::MSS_CLAMP));
        offers_less(&mut written, &clamp);
    }
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
            in_own_vlan(deliver.slot, &outcome, tables);
            assert_eq!(outcome.action, Action::Redirect);
        }
        Verdict::Flood(flood) => {
            assert_eq!(flood.from, decision.from_port);
            assert_eq!(outcome.action, Action::Drop);
        }
        Verdict::Answer(answer) => answered(frame, meta, answer, &outcome, tables),
        Verdict::AnswerTooBig(answer) => told_too_big(frame, answer, &outcome),
        Verdict::Guard
        | Verdict::Neigh
        | Verdict::Unknown
        | Verdict::Resolved(_)
        | Verdict::Clamp(_)
        | Verdict::ClampReceived(_)
        | Verdict::TooBigFor(_) => {
            panic!("not decided: {}", hex(frame))
        }
        Verdict::FloodPorts(_) => panic!("to ports alone: {}", hex(frame)),
        Verdict::Leave(_) => untouched(frame, meta, reason, &outcome),
    }
}

/// What must hold for a SYN that offers less than it did, which is done to it: a checksum that was right stays right.
pub(super) fn offers_less(frame: &mut [u8], clamp: &Clamp) {
    let word = |frame: &[u8], at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let tcp = clamp.checksum_at - tcp::CHECKSUM_OFFSET;
    assert_ne!(frame[tcp + 13] & 2, 0, "a SYN");
    assert_eq!(frame[clamp.at - 2..clamp.at], [2, 4], "its option");
    assert_eq!(word(frame, clamp.at), clamp.from);
    assert!(clamp.to < clamp.from);
    let sum = |frame: &[u8]| Sum::default().bytes(&frame[tcp..]).fold();
    let before = sum(frame);
    let checksum = clamp.checksum(word(frame, clamp.checksum_at));
    frame[clamp.checksum_at..][..2].copy_from_slice(&checksum.to_be_bytes());
    frame[clamp.at..][..2].copy_from_slice(&clamp.to.to_be_bytes());
    // Zero has two forms.
    assert_eq!(sum(frame) % 0xffff, before % 0xffff);
}

/// What must hold for a frame whose sender is told that it is too big: it stays as it was, and must not be fragmented.
fn told_too_big(frame: &[u8], answer: &TooBigAnswer, outcome: &Outcome) {
    assert_eq!((outcome.action, &outcome.frame[..]), (Action::Drop, frame));
    assert!(answer.mtu >= 68);
    assert_eq!(frame[0] & 1, 0, "never for a group");
    let packet = &frame[answer.l3..];
    match packet[0] >> 4 {
        4 => assert_eq!(
            (packet[6] & 0x40, packet[6] & 0x1f, packet[7]),
            (0x40, 0, 0)
        ),
        version => assert_eq!(version, 6),
    }
}

/// The frame with the destination that was written on the way, if one was.
pub(super) fn destined(frame: &[u8], destination: MacAddr) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if !destination.is_zero() {
        frame[..6].copy_from_slice(&destination.bytes());
    }
    frame
}

/// What must hold for an answer: it goes back to who asked, from the MAC that the table has, and its checksum is right.
pub(super) fn answered(
    frame: &[u8],
    meta: &Meta,
    answer: &Answer,
    outcome: &Outcome,
    tables: &HostTables,
) {
    assert_eq!(outcome.action, Action::Redirect);
    assert_eq!(outcome.skb_tag, meta.tag);
    assert_eq!(answer.ifindex, meta.ifindex);
    let lookup = tables
        .neighs
        .values()
        .any(|neigh| neigh.mac() == answer.mac);
    assert!(lookup, "{} is in no table", answer.mac);
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
            "from account was asked for"
        );
        assert_eq!(packet[48..64], frame[l3 + 48..l3 + 64]);
        assert_eq!(packet[66..72], answer.mac.bytes());
        let nobody = frame[l3 + 8..l3 + 24] == [0; 16];
        assert_eq!(packet[44] & 0x60, if nobody { 0x20 } else { 0x60 });
        assert_eq!(out[0] & 1 == 1, nobody, "to all only where nobody asked");
    } else {
        assert_eq!(out.len(), frame.len());
        assert_eq!(out[..6], frame[6..12], "to account asked");
        assert_eq!(out[l3 + 6..l3 + 8], [0, 2]);
        assert_eq!(out[l3 + 8..l3 + 14], answer.mac.bytes());
        assert_eq!(out[l3 + 14..l3 + 18], frame[l3 + 24..l3 + 28]);
        assert_eq!(out[l3 + 18..l3 + 28], frame[l3 + 8..l3 + 18]);
    }
}
