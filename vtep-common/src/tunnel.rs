//! The decision on an inner frame that came from a VTEP: at the uplink after the outer headers, and behind the kernel device.

use crate::{
    addr::VtepAddr,
    ecn,
    inner::InnerIp,
    maps::{FdbKey, FdbValue, Segment},
    packet::{Meta, PacketRead, Tag},
    reason::Reason,
    tables::Tables,
    verdict::{Decision, Deliver, Flood, TagEdit, Verdict, ViaKernel},
    wire::{ethernet, vlan},
};

/// Where the inner frame is looked at, which says what can be done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// XDP: single copies to ports that XDP can redirect to.
    Xdp,
    /// TC on the uplink: single copies of ordinary frames.
    Tc,
    /// Behind the kernel device: everything.
    Device,
}

impl Stage {
    /// Where a frame goes that cannot be finished at this stage.
    #[inline(always)]
    const fn left(self) -> Reason {
        match self {
            Self::Xdp => Reason::LeftToTc,
            Self::Tc => Reason::LeftToKernel,
            Self::Device => Reason::TableGap,
        }
    }
}

/// What is known of a frame from a VTEP when its inner Ethernet header is reached.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Where we are.
    pub stage: Stage,
    /// Number of the segment.
    pub segment: u32,
    /// Where the inner frame starts, bytes.
    pub inner_offset: usize,
    /// Bytes of the inner frame.
    pub inner_len: usize,
    /// A super-frame.
    pub merged: bool,
    /// The inner tag, where the kernel keeps it beside the frame.
    pub tag: Option<Tag>,
    /// Outer TOS; behind the kernel device, which has merged it already, zero.
    pub outer_tos: u8,
    /// The outer packet was IPv6.
    pub outer_v6: bool,
    /// Bytes follow the packet in the frame.
    pub trailer: bool,
}

/// Smallest inner payload that TC can uncover itself: `bpf_skb_adjust_room` leaves at least an IP header of the family
/// that the packet came with (kernel `net/core/filter.c`).
#[inline(always)]
const fn smallest_payload(outer_v6: bool) -> usize {
    if outer_v6 { 40 } else { 20 }
}

/// Decides what becomes of the inner frame.
#[inline(always)]
pub fn decide_inner<P, T>(frame: &P, arrival: &Arrival, segment: &Segment, tables: &T) -> Verdict
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    match inner(frame, arrival, segment, tables) {
        Ok(verdict) => verdict,
        Err(reason) => Verdict::Leave(reason),
    }
}

#[inline(always)]
fn inner<P, T>(
    frame: &P,
    arrival: &Arrival,
    segment: &Segment,
    tables: &T,
) -> Result<Verdict, Reason>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let at = arrival.inner_offset;
    if arrival.inner_len < ethernet::LEN {
        return Err(Reason::InnerTruncated);
    }
    let destination = frame
        .mac(at.wrapping_add(ethernet::DESTINATION_OFFSET))
        .ok_or(Reason::InnerTruncated)?;
    let source = frame
        .mac(at.wrapping_add(ethernet::SOURCE_OFFSET))
        .ok_or(Reason::InnerTruncated)?;
    let ethertype = frame
        .be16(at.wrapping_add(ethernet::TYPE_OFFSET))
        .ok_or(Reason::InnerTruncated)?;
    if source.is_group() || source.is_zero() {
        return Err(Reason::InvalidSourceMac);
    }
    if (arrival.tag.is_some() || vlan::is_tag(ethertype)) && !segment.has(Segment::INNER_VLAN_PASS)
    {
        return Err(Reason::InnerVlan);
    }
    let ip = InnerIp::read(frame, ethertype, at.wrapping_add(ethernet::LEN));
    let merge = match &ip {
        Some(ip) => ecn::merge(arrival.outer_tos, ip.tos),
        None => ecn::Merge::Keep,
    };
    if merge == ecn::Merge::Drop {
        return Err(Reason::EcnNotCapable);
    }

    let key = FdbKey::new(arrival.segment, destination);
    let slot = match tables.fdb(&key) {
        Some(FdbValue {
            kind: FdbValue::PORT,
            target,
            ..
        }) => target,
        Some(FdbValue {
            kind: FdbValue::PEER,
            ..
        }) => return Err(Reason::SplitHorizon),
        _ if !destination.is_group() && !segment.has(Segment::FLOODS) => {
            return Err(Reason::NoFdbEntry);
        }
        found => return flood(arrival, segment, found, tables),
    };
    let port = tables.port(slot).ok_or(Reason::TableGap)?;
    if !arrival.merged
        && arrival.inner_len > (port.mtu as usize).wrapping_add(ethernet::LEN + vlan::LEN)
    {
        return Err(Reason::TooBig);
    }
    let left = match arrival.stage {
        Stage::Device => false,
        Stage::Tc => {
            arrival.inner_len < ethernet::LEN.wrapping_add(smallest_payload(arrival.outer_v6))
                || arrival.merged
        }
        Stage::Xdp => {
            let pending = tables.config().flags & crate::maps::Config::PARTIAL_CHECKSUMS != 0
                && ip.is_some_and(|ip| ip.pending_checksum(frame).is_some());
            !port.has(crate::maps::Port::XDP_TARGET) || pending || arrival.tag.is_some()
        }
    };
    if left || arrival.trailer || merge != ecn::Merge::Keep {
        return Err(arrival.stage.left());
    }
    Ok(Verdict::Deliver(Deliver {
        slot,
        ifindex: port.ifindex,
        vlan: port.vlan,
        to_other_end: port.has(crate::maps::Port::PEER_TARGET),
        strip: at,
        tag: TagEdit::Leave,
    }))
}

/// A frame for many, or for a station that is not known.
#[inline(always)]
fn flood<T: Tables>(
    arrival: &Arrival,
    segment: &Segment,
    found: Option<FdbValue>,
    tables: &T,
) -> Result<Verdict, Reason> {
    if !segment.has(Segment::FLOODS) {
        return Err(Reason::FloodOff);
    }
    if arrival.stage != Stage::Device {
        return Err(arrival.stage.left());
    }
    let list = match found {
        Some(entry) => entry.target,
        None => arrival.segment,
    };
    match tables.flood_list(list) {
        Some(targets) if targets.ports > 0 => {}
        _ => return Err(Reason::NowhereToFlood),
    }
    Ok(Verdict::Flood(Flood {
        list,
        from: None,
        outer: ViaKernel {
            peer: 0,
            remote: VtepAddr::from_v4_be(0),
            local: VtepAddr::from_v4_be(0),
            vni: segment.vni,
            tos: 0,
            ttl: 0,
            dont_fragment: false,
            checksum: false,
            source_port: 0,
            tag: TagEdit::Leave,
            reason: Reason::FloodedLocally,
        },
    }))
}

/// What the kernel device says of a frame that it has decapsulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelKey {
    /// The VNI.
    pub vni: u32,
    /// The VTEP that sent it.
    pub source: VtepAddr,
    /// The address that it was sent to; `None` where the kernel does not say (before 6.0).
    pub destination: Option<VtepAddr>,
}

/// Decides on a frame that the kernel device has decapsulated.
#[inline(always)]
pub fn decide_tunnel<P, T>(frame: &P, meta: &Meta, key: &TunnelKey, tables: &T) -> Decision
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    if key.destination.is_some_and(|to| !tables.is_local(&to)) {
        return Decision::leave(Reason::NotOurAddress);
    }
    if tables.is_local(&key.source) {
        return Decision::leave(Reason::OwnSource);
    }
    let Some(number) = tables.segment_number(key.vni) else {
        return Decision::leave(Reason::UnknownVni);
    };
    let Some(segment) = tables.segment(number) else {
        return Decision::leave(Reason::UnknownVni);
    };
    let arrival = Arrival {
        stage: Stage::Device,
        segment: number,
        inner_offset: 0,
        inner_len: frame.frame_len(),
        merged: meta.gso_size != 0,
        tag: meta.tag,
        outer_tos: 0,
        outer_v6: false,
        trailer: false,
    };
    Decision {
        verdict: decide_inner(frame, &arrival, segment, tables),
        segment: Some(number),
        from_port: None,
        from_peer: tables.peer_number(&key.source),
        inner_len: frame.frame_len(),
    }
}
