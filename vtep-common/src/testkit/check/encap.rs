//! What must hold for a frame that was encapsulated in place.

use crate::runtime::verdict::Encap;
use crate::sim::decide_uplink;
use crate::sim::decision::{Decision, Verdict};
use crate::{
    abi::{
        addr::MacAddr,
        fdb::FdbTarget,
        id::{PortSlot, SegmentId},
        outer_template,
        peer::Peer,
        port::Port,
        reason::Reason,
        segment::Segment,
    },
    decide::{
        port,
        tunnel::{self},
    },
    frame::{
        ecn,
        outer::{self},
        packet::Meta,
    },
    runtime::tables::Tables as _,
    sim::{Action, HostTables, Outcome, decide_port},
    testkit::apply::apply_uplink,
    wire::{checksum::Sum, ethernet, ipv4, ipv6, tcp, udp, vlan, vxlan},
};

use super::common::{carried, end_it_says, hex, l3_behind_tag};

/// What must hold for a frame that was encapsulated in place: the far side gets back just what was sent.
pub(super) fn encapsulated(
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

    let mut far = far_side(peer, segment.vni, &inner);
    let arrived = Meta::default();
    let to = sent[..6].try_into().expect("an Ethernet header");
    far.uplinks
        .insert((arrived.ifindex, MacAddr::from_bytes(to)));
    let read = outer::parse(sent.as_slice(), false, &far).expect("what we send is sound");
    assert_eq!(read.addresses.source, peer.local);
    assert_eq!(read.addresses.vni, segment.vni);
    assert!(!read.reserved);
    assert_eq!(read.end, sent.len());
    assert_eq!(&sent[read.inner_offset()..], inner, "byte for byte");

    for stage in [tunnel::DecapStage::Xdp, tunnel::DecapStage::Tc] {
        let got = decide_uplink(sent.as_slice(), &arrived, stage, &far);
        match got.verdict {
            Verdict::Deliver(_) => {
                let out = apply_uplink(sent, &arrived, stage, &got);
                assert_eq!(out.frame, inner, "byte for byte");
            }
            // Too small for TC to decapsulate, or by its own word longer than it is.
            Verdict::Leave(reason @ (Reason::LeftToKernel | Reason::LeftToTc)) => {
                let longer = end_it_says(&inner).is_some_and(|end| end > inner.len());
                let small = inner.len() < 54 && reason == Reason::LeftToKernel;
                assert!(longer || small, "{}", hex(sent));
            }
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

/// TOS or traffic class of an IP packet whose fixed header is whole.
pub(super) fn inner_tos(frame: &[u8]) -> Option<u8> {
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
pub(super) fn same_port_for_any_payload(
    frame: &[u8],
    meta: &Meta,
    encap: &Encap,
    tables: &HostTables,
) {
    const HEADERS: usize = ethernet::LEN + vlan::LEN + 60 + tcp::LEN;
    let mut other = frame.to_vec();
    for byte in other.iter_mut().skip(HEADERS) {
        *byte = !*byte;
    }
    let again = decide_port(&other, meta, port::PortStage::Tc, tables);
    let Verdict::Encap(again) = again.verdict else {
        panic!("{:?} for another payload", again.verdict);
    };
    assert_eq!(again.fields.source_port, encap.fields.source_port);
}

/// Another host: the peer's addresses are its own, and the MAC that the frame is for is at a port of it.
pub(super) fn far_side(peer: &Peer, vni: u32, inner: &[u8]) -> HostTables {
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
pub(super) fn full_checksum(sent: &[u8]) {
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
pub(super) fn complete(frame: &mut [u8]) {
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
