//! The first half of every decision at a port: which VNI the frame is for.

use crate::{
    abi::{
        port::{Port, PortKey},
        reason::Reason,
        segment::Segment,
    },
    decide::{admit, hop},
    frame::{
        claim,
        inner::Inner,
        packet::PacketRead as _,
        vlan::{ShownVlan, Strip, VlanEdit},
    },
    runtime::{Runtime, arrival::Ingress, tables::Tables as _, verdict::Refused},
    wire::{ethernet, vlan},
};

/// Reads the headers of a frame.
///
/// # Errors
///
/// A frame that ends within them.
#[inline(always)]
pub fn read<R: Runtime>(rt: &R) -> Result<Inner, Reason> {
    Inner::read(rt.frame(), 0, rt.meta().tag).ok_or(Reason::Truncated)
}

/// Finds the VNI of a frame with these headers.
///
/// # Errors
///
/// A frame that no VNI takes.
#[inline(always)]
pub fn find<'a, R: Runtime>(rt: &'a R, inner: &Inner) -> Result<(Ingress, &'a Segment), Refused> {
    let (frame, meta, tables) = (rt.frame(), rt.meta(), rt.tables());

    // Which mapping covers the frame: the VLAN's own, else the port's untagged one where its VNI carries tags.
    let has_vlan = inner.has(Inner::TAGGED) && inner.tag.tpid == vlan::TYPE_8021Q;
    let has_vlan = frame.opaque(has_vlan.into());
    let at_vlan = |vid| {
        let key = PortKey::new(meta.ifindex, vid);
        rt.lookup_port(key, inner.source, inner.destination)
    };
    let mut lookup = at_vlan(inner.tag.vid() & u16::from(has_vlan).wrapping_neg());
    let strip = has_vlan & lookup.has_place();
    if has_vlan != strip {
        lookup = at_vlan(0);
    }
    let vlan = inner.tag.vid() & u16::from(strip).wrapping_neg();
    let strip = Strip::new(frame.opaque(strip));
    let unmapped = || {
        if inner.has(Inner::TAGGED) {
            Reason::VlanUnmapped
        } else {
            Reason::NotAPort
        }
    };
    let Some(slot) = lookup.slot() else {
        return Err(unmapped().into());
    };
    let Some(port) = tables.port(slot) else {
        return Err(unmapped().into());
    };
    // A key that is being replaced can lead to what another key stands for (ADR 10).
    if !port.is_at(meta.ifindex, vlan) {
        return Err(Reason::TableGap.into());
    }
    let number = port.segment;
    let Some(segment) = tables.segment(number) else {
        return Err(unmapped().into());
    };

    let refused = |reason| Refused::from_port(reason, slot, number);
    let second_tag = inner.has(Inner::SECOND_TAG);
    let tags_end = (ethernet::LEN + vlan::LEN).wrapping_add(inner.in_band_tag_len());
    if second_tag && frame.frame_len() < tags_end {
        return Err(refused(Reason::Truncated));
    }
    if strip.leaves_unmapped_tag(inner, segment) {
        return Err(refused(Reason::VlanUnmapped));
    }
    let settings = segment.flags;
    let seen = lookup
        .seen()
        .limited(port.has(Port::FULL), settings.has(Segment::FULL));
    admit::from_port(inner, port, settings, seen).map_err(refused)?;
    if hop::is_hop(rt, port, || ShownVlan::of(inner)) {
        return Err(refused(Reason::VlanHop));
    }
    let strip = strip.unless_priority_tag_passes(inner, segment);
    let mut flags = port.flags;
    // Most packets of most ports with a guard: it need not ask further.
    if port.has(Port::GUARD_IP) && claim::is_from(frame, inner, port.own_v4) {
        flags = flags.without(Port::GUARD_IP);
    }
    let ingress = Ingress {
        slot,
        segment: number,
        settings,
        seen,
        destination: lookup.destination(),
        edit: VlanEdit::new(strip, inner),
        port: flags,
    };
    Ok((ingress, segment))
}
