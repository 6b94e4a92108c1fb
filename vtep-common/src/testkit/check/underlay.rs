//! What must hold for a frame from the underlay: at an uplink, and behind the slow-path device.

use crate::sim::decision::{Decision, Verdict};
use crate::sim::{decide_tunnel, decide_uplink};
use crate::{
    abi::{
        event::Event,
        outer_template,
        reason::{Class, Reason},
        segment::Segment,
    },
    decide::tunnel::{self, TunnelKey},
    frame::{
        mss::Clamp,
        outer::{self, Outer},
        packet::{Meta, Tag},
    },
    runtime::tables::Tables,
    sim::{Action, HostTables, Outcome},
    testkit::apply::{apply_tunnel, apply_uplink},
    testkit::frames::World,
    wire::{ethernet, vlan},
};

use super::common::{counted_once, end_it_says, hex, in_own_vlan, l3_behind_tag, untouched};
use super::headers::{destination_of, outer_headers};
use super::vm::offers_less;

/// What must hold for a frame at an uplink.
pub fn uplink(world: &World, frame: &[u8], meta: &Meta) {
    let tables = &world.tables;
    let gso = meta.gso_size != 0;
    outer_headers(world, frame, gso);

    let tc = decide_uplink(frame, meta, tunnel::DecapStage::Tc, tables);
    let at_tc = tc.verdict.reason(true);
    assert_ne!(at_tc, Reason::LeftToTc);
    let outcome = apply_uplink(frame, meta, tunnel::DecapStage::Tc, &tc);
    from_underlay(frame, meta, &tc, &outcome, tables);

    let mut in_place = at_tc == Reason::Decapsulated;
    if !gso && meta.tag.is_none() {
        let xdp = decide_uplink(frame, meta, tunnel::DecapStage::Xdp, tables);
        let at_xdp = xdp.verdict.reason(true);
        in_place |= at_xdp == Reason::Decapsulated;
        let outcome = apply_uplink(frame, meta, tunnel::DecapStage::Xdp, &xdp);
        from_underlay(frame, meta, &xdp, &outcome, tables);
        match (at_xdp, at_tc) {
            // Generic XDP cannot tell a GRO packet from one that is too big, and XDP does not read a tag.
            (Reason::LeftToTc, _) => assert!(
                matches!(
                    at_tc,
                    Reason::TooBig | Reason::VlanHop | Reason::PortAbsent | Reason::Rate
                ) || matches!(
                    at_tc.class(),
                    Class::Passed | Class::Continued | Class::Delivered
                )
            ),
            // Too small for TC to decapsulate, but not for XDP.
            (Reason::Decapsulated, Reason::LeftToKernel) => {
                assert!(xdp.inner_len < 54);
                assert_eq!(outcome.action, Action::Redirect);
                let headers = frame.len() - xdp.inner_len;
                assert!(matches!(
                    headers,
                    outer_template::LEN_V4 | outer_template::LEN_V6
                ));
            }
            (Reason::Rate, Reason::LeftToKernel) => assert!(xdp.inner_len < 54),
            _ => assert_eq!(xdp, tc, "XDP ends a frame as TC would: {}", hex(frame)),
        }
    }
    if let (Ok(outer), None) = (outer::parse(frame, gso, tables), meta.tag) {
        let device = slow_path(frame, meta, &outer, at_tc, &tc, tables);
        let mut events = device.notes.events.iter();
        let heard = events.any(|event| event.kind == Event::SNOOPED);
        assert!(
            !(heard && in_place),
            "what a host says is heard before it is delivered: {}",
            hex(frame)
        );
    }
}

/// The slow-path device's way comes to the same end as the fast one.
pub(super) fn slow_path(
    frame: &[u8],
    meta: &Meta,
    outer: &Outer,
    at_tc: Reason,
    tc: &Decision,
    tables: &HostTables,
) -> Decision {
    let key = TunnelKey {
        vni: outer.addresses.vni,
        source: outer.addresses.source,
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
        // Hosts that are looked for by IP may not be found, or not fit. ARP and ND get there wherever they are for.
        Reason::LeftToKernel => assert!(matches!(
            at_device,
            Reason::Decapsulated
                | Reason::FloodedLocally
                | Reason::NowhereToFlood
                | Reason::NoFdbEntry
                | Reason::FloodOff
                | Reason::SplitHorizon
                | Reason::VlanHop
                | Reason::TableGap
                | Reason::TooBig
                | Reason::Rate
        )),
        // The device has no say in these: to it comes what the host takes.
        Reason::ReservedBits
        | Reason::EcnNotCapable
        | Reason::BadSource
        | Reason::NotOurAddress => {}
        _ => assert_eq!(at_device, at_tc),
    }
    device
}

/// What must hold for a frame behind the slow-path device.
pub fn behind_device(world: &World, frame: &[u8], meta: &Meta, key: &TunnelKey) {
    let tables = &world.tables;
    let decision = decide_tunnel(frame, meta, key, tables);
    assert_ne!(decision.verdict.reason(true).class(), Class::Continued);
    let outcome = apply_tunnel(frame, meta, &decision);
    from_underlay(frame, meta, &decision, &outcome, tables);
}

/// What must hold for every decision on a frame from the underlay.
pub(super) fn from_underlay(
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
            in_own_vlan(deliver.slot, outcome, tables);
            assert_eq!(outcome.action, Action::Redirect);
            let inner = &frame[deliver.strip..];
            if deliver.strip != 0 {
                ends_as_it_says(inner, meta.gso_size != 0);
            }
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
            if let Some(clamp) = decision.notes.clamped {
                assert!(segment.has(Segment::MSS_CLAMP));
                // Behind the slow-path device a tag is not among the bytes; in front of a port's it may be.
                let shift = want.len() - frame.len();
                let moved = Clamp {
                    at: clamp.at + shift,
                    checksum_at: clamp.checksum_at + shift,
                    ..clamp
                };
                offers_less(&mut want, &moved);
            }
            assert_eq!(outcome.frame, want, "the inner frame behind its tags");
        }
        Verdict::FloodPorts(_) => assert_eq!(outcome.action, Action::Drop),
        Verdict::Leave(_) => untouched(frame, meta, reason, outcome),
        Verdict::Encap(_)
        | Verdict::ViaKernel(_)
        | Verdict::Flood(_)
        | Verdict::Answer(_)
        | Verdict::AnswerTooBig(_)
        | Verdict::Guard
        | Verdict::Neigh
        | Verdict::Unknown
        | Verdict::Resolved(_)
        | Verdict::Clamp(_)
        | Verdict::ClampReceived(_)
        | Verdict::TooBigFor(_) => {
            panic!("from the underlay back to it: {}", hex(frame))
        }
    }
}

/// An inner packet that is decapsulated in place is as long as it says; a plain one may have padding behind it. Written apart from the
/// decision.
fn ends_as_it_says(inner: &[u8], gso: bool) {
    let says = end_it_says(inner);
    assert!(
        says.is_none_or(|end| end <= inner.len()),
        "cut: {}",
        hex(inner)
    );
    assert!(
        !gso || says == Some(inner.len()),
        "not mended: {}",
        hex(inner)
    );
}
