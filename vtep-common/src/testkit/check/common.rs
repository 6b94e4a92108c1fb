//! What several of the checks ask.

use std::collections::BTreeMap;

use crate::frame::vlan::TagEdit;
use crate::sim::decision::Decision;
use crate::{
    abi::{
        addr::VtepAddr,
        counter::Counter,
        drops::{DropKey, OwnerKind},
        event::Event,
        id::{PeerId, PortSlot, SegmentId},
        port::PortKey,
        reason::{Class, Reason},
        segment::Segment,
    },
    frame::packet::{Meta, Tag},
    runtime::tables::Tables,
    sim::{Action, HostCounters, HostTables, Outcome},
    wire::{ethernet, vlan},
};

/// A frame that is left alone keeps its bytes and goes where its reason's class says.
pub(super) fn untouched(frame: &[u8], meta: &Meta, reason: Reason, outcome: &Outcome) {
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
pub(super) fn counted_once(decision: &Decision, reason: Reason, len: usize, tables: &HostTables) {
    let counters = HostCounters::default();
    counters.record(decision, reason, len, tables);
    let reasons: Vec<(u32, u64)> = counters
        .reasons
        .borrow()
        .iter()
        .map(|(code, counter)| (*code, counter.packets))
        .collect();
    // The lost copies of a flooded frame, and those that would have hopped, count besides the frame itself.
    let is_flood = matches!(reason, Reason::Flooded | Reason::FloodedLocally);
    let ends: Vec<(u32, u64)> = reasons
        .into_iter()
        .filter(|(code, _)| *code != Reason::CopyLost.code())
        .filter(|(code, _)| !is_flood || *code != Reason::VlanHop.code())
        .filter(|(code, _)| !is_flood || *code != Reason::Rate.code())
        .collect();
    assert_eq!(ends, [(reason.code(), 1)]);
    dropped_once(&counters, tables);
    let through = usize::from(reason.class() == Class::Delivered);
    assert_eq!(counters.segments.borrow().len(), through);
    if through == 0 {
        assert!(counters.ports.borrow().is_empty() && counters.peers.borrow().is_empty());
    }
}

/// What is dropped counts once for each kind of owner, and for owners that are in the tables.
fn dropped_once(counters: &HostCounters, tables: &HostTables) {
    let lost = |code: &u32| Reason::from_code(*code).is_some_and(Reason::is_lost);
    let reasons = counters.reasons.borrow();
    let reasons: BTreeMap<u32, Counter> = reasons
        .iter()
        .filter(|(code, _)| lost(code))
        .map(|(code, counter)| (*code, *counter))
        .collect();
    for kind in OwnerKind::ALL {
        let mut sums: BTreeMap<u32, Counter> = BTreeMap::new();
        for ((of, number, code), counter) in counters.drops.borrow().iter() {
            if *of != kind {
                continue;
            }
            let sum = sums.entry(*code).or_default();
            sum.packets += counter.packets;
            sum.bytes += counter.bytes;
            let is_there = match kind {
                OwnerKind::Segment => tables.segment(SegmentId::new(*number)).is_some(),
                OwnerKind::Port => tables.port(PortSlot::new(*number)).is_some(),
                OwnerKind::Peer => tables.peer(PeerId::new(*number)).is_some(),
            };
            assert!(*number == DropKey::NOBODY || is_there, "{kind:?} {number}");
        }
        assert_eq!(sums, reasons, "{kind:?}");
    }
}

/// What the daemon is told of a frame from a port is true.
pub(super) fn told(frame: &[u8], decision: &Decision, tables: &HostTables) {
    let segment = tables.segment(decision.segment);
    for event in &decision.notes.events {
        let segment = segment.expect("a segment that is there");
        assert_eq!(event.segment, decision.segment);
        assert_eq!(event.port, decision.from_port);
        assert!(event.from_port());
        let source = frame[6..12] == event.mac().bytes();
        match event.kind {
            Event::LEARN => assert!(segment.has(Segment::LEARNING) && source),
            Event::SNOOPED => {
                assert!(segment.has(Segment::SUPPRESS) && segment.has(Segment::LEARNING) && source);
                let said = [ethernet::LEN, ethernet::LEN + vlan::LEN]
                    .into_iter()
                    .any(|l3| says(&frame[l3..], event.host));
                assert!(said, "{:?} is not in {}", event.host, hex(frame));
            }
            Event::MISS => assert!(!segment.has(Segment::FLOODS)),
            kind => panic!("event {kind} of {}", hex(frame)),
        }
    }
}

/// Whether an ARP or ND message says something of `host`: its address stands where senders, or what is advertised, stand.
pub(super) fn says(message: &[u8], host: VtepAddr) -> bool {
    let bytes: [u8; 16] = bytemuck::cast(host.words_be());
    if host.is_v6() {
        [8, 48]
            .iter()
            .any(|at| message.get(*at..at + 16) == Some(&bytes[..]))
    } else {
        message.get(14..18) == Some(&bytes[12..])
    }
}

/// The frame as the overlay carries it, made apart from the model: from the bytes and the skb tag.
pub(super) fn carried(frame: &[u8], meta: &Meta, tag: TagEdit) -> Vec<u8> {
    match (tag, meta.tag) {
        (TagEdit::Leave, None) | (TagEdit::StripSkb, Some(_)) => frame.to_vec(),
        (TagEdit::StripInBand, None) => [&frame[..12], &frame[16..]].concat(),
        (TagEdit::Carry, Some(tag)) => {
            let tpid = tag.tpid.to_be_bytes();
            let tci = tag.tci.to_be_bytes();
            [&frame[..12], &tpid, &tci, &frame[12..]].concat()
        }
        (edit, tag) => panic!("{edit:?} of a frame with the skb tag {tag:?}"),
    }
}

pub(super) fn l3_behind_tag(frame: &[u8]) -> usize {
    let tagged = vlan::is_tag(u16::from_be_bytes([frame[12], frame[13]]));
    ethernet::LEN + if tagged { vlan::LEN } else { 0 }
}

/// A frame that is delivered as `outcome` says gets into its port's own VLAN, and into none that is another port's.
pub(super) fn in_own_vlan(slot: PortSlot, outcome: &Outcome, tables: &HostTables) {
    let port = tables.port(slot).expect("a port that is there");
    let mut tags: Vec<Tag> = outcome.skb_tag.into_iter().collect();
    let mut rest = &outcome.frame[ethernet::TYPE_OFFSET..];
    while let [a, b, c, d, behind @ ..] = rest
        && vlan::is_tag(u16::from_be_bytes([*a, *b]))
    {
        tags.push(Tag {
            tpid: u16::from_be_bytes([*a, *b]),
            tci: u16::from_be_bytes([*c, *d]),
        });
        rest = behind;
    }
    // Linux looks past tags with a priority alone, and 802.1ad has VLANs of its own.
    let seen = tags.iter().find(|tag| tag.vid() != 0);
    let seen = seen.filter(|tag| tag.tpid == vlan::TYPE_8021Q);
    let seen = seen.map_or(0, |tag| tag.vid());
    let key = PortKey::new(port.ifindex, seen);
    let owner = tables.port_index.get(&key);
    assert!(
        owner.is_none_or(|owner| *owner == slot),
        "into VLAN {seen}, which is {owner:?}'s: {}",
        hex(&outcome.frame)
    );
}

/// Bytes for a message.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("into a string");
        text
    })
}

/// Where the IP packet of a frame without a tag ends, as its header says; `None` where there is no whole one.
pub(super) fn end_it_says(frame: &[u8]) -> Option<usize> {
    let word = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    match frame.get(ethernet::TYPE_OFFSET..ethernet::LEN)? {
        [0x08, 0x00] if frame.len() >= 34 => Some(14 + word(16)),
        [0x86, 0xdd] if frame.len() >= 54 => Some(54 + word(18)),
        _ => None,
    }
}
