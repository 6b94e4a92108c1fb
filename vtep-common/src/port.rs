//! The decision on a frame that arrives at a port: from a VM, a container or a host behind the hypervisor.

use crate::{
    addr::{Vni, VtepAddr},
    ecn, flow,
    inner::InnerIp,
    maps::{FdbKey, FdbValue, Peer, Port, PortKey, Segment},
    packet::{Meta, PacketRead, Tag},
    reason::Reason,
    tables::Tables,
    template::{self, Fields},
    verdict::{Decision, Deliver, Encap, Flood, TagEdit, Verdict, ViaKernel},
    wire::{ethernet, vlan},
};

/// Where the frame is looked at, which says what can be done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// XDP: single copies of plain frames; the rest is left to TC.
    Xdp,
    /// TC: everything.
    Tc,
}

/// A frame from a port as far as it has been understood.
struct Arrival<'a> {
    stage: Stage,
    slot: u32,
    number: u32,
    segment: &'a Segment,
    tag: TagEdit,
    merged: bool,
    gso_size: u32,
    ip: Option<InnerIp>,
    hash: u32,
    /// Bytes of the frame as it is carried.
    carried_len: usize,
}

/// Decides on a frame at a port: encapsulate, deliver, flood or drop.
#[inline(always)]
pub fn decide_port<P, T>(frame: &P, meta: &Meta, stage: Stage, tables: &T) -> Decision
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let mut decision = Decision::leave(Reason::Truncated);
    decision.inner_len = frame.frame_len();
    decision.verdict = match decide(frame, meta, stage, tables, &mut decision) {
        Ok(verdict) => verdict,
        Err(reason) => Verdict::Leave(reason),
    };
    decision
}

/// The VLAN tag of a frame, and whether it stands in its bytes.
#[inline(always)]
fn outermost_tag<P: PacketRead + ?Sized>(
    frame: &P,
    meta: &Meta,
    ethertype: u16,
) -> Option<(Tag, bool)> {
    match meta.tag {
        Some(tag) => Some((tag, false)),
        None if vlan::is_tag(ethertype) => {
            let tci = frame.be16(ethernet::LEN)?;
            Some((
                Tag {
                    tpid: ethertype,
                    tci,
                },
                true,
            ))
        }
        None => None,
    }
}

#[inline(always)]
fn decide<P, T>(
    frame: &P,
    meta: &Meta,
    stage: Stage,
    tables: &T,
    decision: &mut Decision,
) -> Result<Verdict, Reason>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let destination = frame
        .mac(ethernet::DESTINATION_OFFSET)
        .ok_or(Reason::Truncated)?;
    let source = frame
        .mac(ethernet::SOURCE_OFFSET)
        .ok_or(Reason::Truncated)?;
    let mut ethertype = frame.be16(ethernet::TYPE_OFFSET).ok_or(Reason::Truncated)?;
    let tag = outermost_tag(frame, meta, ethertype);
    if tag.is_none() && vlan::is_tag(ethertype) {
        return Err(Reason::Truncated);
    }

    // Which mapping covers the frame: the VLAN's own, else the port's untagged one where its VNI carries tags.
    let by_vlan = match tag {
        Some((tag, _)) if tag.tpid == vlan::TYPE_8021Q => {
            tables.port_slot(&PortKey::new(meta.ifindex, tag.vid()))
        }
        Some(_) => None,
        None => tables.port_slot(&PortKey::new(meta.ifindex, 0)),
    };
    let unmapped = if tag.is_some() {
        Reason::VlanUnmapped
    } else {
        Reason::NotAPort
    };
    let (slot, strip) = match (by_vlan, tag) {
        (Some(slot), tag) => (slot, tag.is_some()),
        (None, Some(_)) => (
            tables
                .port_slot(&PortKey::new(meta.ifindex, 0))
                .ok_or(unmapped)?,
            false,
        ),
        (None, None) => return Err(unmapped),
    };
    let port = tables.port(slot).ok_or(unmapped)?;
    let number = port.segment;
    let segment = tables.segment(number).ok_or(unmapped)?;
    decision.from_port = Some(slot);
    decision.segment = Some(number);
    let passes = segment.has(Segment::INNER_VLAN_PASS);

    let mut l3 = ethernet::LEN;
    let mut carried_len = frame.frame_len();
    let mut edit = TagEdit::Leave;
    if let Some((tag, in_bytes)) = tag {
        if !strip && !passes {
            return Err(Reason::VlanUnmapped);
        }
        if in_bytes {
            l3 = l3.wrapping_add(vlan::LEN);
            ethertype = frame.be16(l3.wrapping_sub(2)).ok_or(Reason::Truncated)?;
        }
        edit = match (strip, in_bytes) {
            (true, true) => {
                carried_len = carried_len.wrapping_sub(vlan::LEN);
                TagEdit::StripInBytes
            }
            (true, false) => TagEdit::StripBeside,
            (false, true) => TagEdit::Leave,
            (false, false) => {
                carried_len = carried_len.wrapping_add(vlan::LEN);
                TagEdit::Carry(tag)
            }
        };
        // A second tag behind the one that the mapping covers.
        if vlan::is_tag(ethertype) && !passes {
            return Err(Reason::VlanUnmapped);
        }
    }
    if source.is_group() || source.is_zero() {
        return Err(Reason::InvalidSourceMac);
    }

    let ip = InnerIp::read(frame, ethertype, l3);
    let arrival = Arrival {
        stage,
        slot,
        number,
        segment,
        tag: edit,
        merged: meta.gso_size != 0,
        gso_size: meta.gso_size,
        ip,
        hash: flow::hash(frame, ip.as_ref(), (destination, source), ethertype),
        carried_len,
    };
    let found = tables.fdb(&FdbKey::new(number, destination));
    match found {
        Some(FdbValue {
            kind: FdbValue::PEER,
            target,
            ..
        }) => {
            let peer = tables.peer(target).ok_or(Reason::TableGap)?;
            encap(frame, &arrival, target, peer)
        }
        Some(FdbValue {
            kind: FdbValue::PORT,
            target,
            ..
        }) => {
            let port = tables.port(target).ok_or(Reason::TableGap)?;
            deliver(&arrival, target, port, meta.ifindex)
        }
        _ if !destination.is_group() && !segment.has(Segment::FLOODS) => Err(Reason::NoFdbEntry),
        found => flood(&arrival, found, tables),
    }
}

/// To a local port of the VNI.
#[inline(always)]
fn deliver(
    arrival: &Arrival<'_>,
    slot: u32,
    port: &Port,
    from_ifindex: u32,
) -> Result<Verdict, Reason> {
    if slot == arrival.slot {
        return Err(Reason::SamePort);
    }
    if !arrival.merged
        && arrival.carried_len > (port.mtu as usize).wrapping_add(ethernet::LEN + vlan::LEN)
    {
        return Err(Reason::TooBig);
    }
    // Redirected back to the interface it came from (another VLAN of a trunk), and to whatever XDP cannot reach, TC does it.
    if arrival.stage == Stage::Xdp {
        return Err(Reason::LeftToTc);
    }
    Ok(Verdict::Deliver(Deliver {
        slot,
        ifindex: port.ifindex,
        vlan: port.vlan,
        to_other_end: port.has(Port::PEER_TARGET) && port.ifindex != from_ifindex,
        strip: 0,
        tag: arrival.tag,
    }))
}

/// Outer TTL, TOS and DF, as the VNI's settings and the inner packet say.
#[inline(always)]
fn outer_header(arrival: &Arrival<'_>) -> (u8, u8, bool) {
    let segment = arrival.segment;
    let (mut ttl, mut tos, mut dont_fragment) =
        (segment.ttl, segment.tos, segment.has(Segment::DF_SET));
    let mut inner_ecn = ecn::NOT_ECT;
    if let Some(ip) = &arrival.ip {
        if segment.has(Segment::TTL_INHERIT) {
            ttl = ip.ttl;
        }
        if segment.has(Segment::TOS_INHERIT) {
            tos = ip.tos;
        }
        if segment.has(Segment::DF_INHERIT) {
            dont_fragment = ip.dont_fragment;
        }
        inner_ecn = ip.tos;
    }
    (ttl, ecn::outer_tos(tos, inner_ecn), dont_fragment)
}

/// True if the packet that encapsulation makes is within `mtu`; of a super-frame, each packet that it is cut into.
#[inline(always)]
fn fits<P: PacketRead + ?Sized>(frame: &P, arrival: &Arrival<'_>, v6: bool, mtu: u32) -> bool {
    let carried = if arrival.merged {
        let headers = arrival.ip.as_ref().and_then(|ip| {
            ip.segment_headers_len(frame)
                .map(|len| len.wrapping_add(ip.l3))
        });
        match headers {
            Some(len) => len.wrapping_add(arrival.gso_size as usize),
            None => arrival.carried_len,
        }
    } else {
        arrival.carried_len
    };
    carried.wrapping_add(template::ip_overhead(v6)) <= mtu as usize
}

/// To a VTEP.
#[inline(always)]
fn encap<P: PacketRead + ?Sized>(
    frame: &P,
    arrival: &Arrival<'_>,
    number: u32,
    peer: &Peer,
) -> Result<Verdict, Reason> {
    let (ttl, tos, dont_fragment) = outer_header(arrival);
    let segment = arrival.segment;
    let source_port = flow::port(
        arrival.hash,
        segment.source_port_min,
        segment.source_port_max,
    );
    let v6 = peer.has(Peer::IPV6);
    let checksum = peer.has(Peer::CHECKSUM);
    let mut via = ViaKernel {
        peer: number,
        remote: peer.addr,
        local: peer.local,
        vni: segment.vni,
        tos,
        ttl,
        dont_fragment,
        checksum,
        source_port,
        tag: arrival.tag,
        reason: Reason::EncapsulatedUnresolved,
    };
    let xdp = arrival.stage == Stage::Xdp;
    if !peer.has(Peer::RESOLVED) {
        return if xdp {
            Err(Reason::LeftToTc)
        } else {
            Ok(Verdict::ViaKernel(via))
        };
    }
    if !fits(frame, arrival, v6, peer.mtu) {
        return if xdp {
            Err(Reason::LeftToTc)
        } else {
            Err(Reason::TooBig)
        };
    }
    via.reason = Reason::EncapsulatedByKernel;
    let pending = arrival
        .ip
        .as_ref()
        .and_then(|ip| ip.pending_checksum(frame));
    // XDP keeps nothing beside the frame: what offload is still to finish would stay unfinished.
    if xdp && (pending.is_some() || checksum || arrival.merged) {
        return Err(Reason::LeftToTc);
    }
    let inner_sum = if checksum {
        let carried = match arrival.tag {
            TagEdit::Carry(tag) => Some(tag),
            TagEdit::Leave | TagEdit::StripBeside | TagEdit::StripInBytes => None,
        };
        let strip = arrival.tag == TagEdit::StripInBytes;
        let sum = match (&arrival.ip, pending) {
            (Some(ip), Some(pending)) if !arrival.merged => {
                ip.completed_sum(frame, pending, carried, strip)
            }
            _ => None,
        };
        match sum {
            Some(sum) => Some(sum),
            None => return Ok(Verdict::ViaKernel(via)),
        }
    } else {
        None
    };
    // The outer length field has 16 bits.
    if arrival.carried_len > usize::from(u16::MAX).wrapping_sub(template::ip_overhead(v6)) {
        return if xdp {
            Err(Reason::LeftToTc)
        } else {
            Ok(Verdict::ViaKernel(via))
        };
    }
    let id = match &arrival.ip {
        _ if dont_fragment => 0,
        Some(ip) if !ip.v6 => ip.id,
        _ => source_port,
    };
    let Some(vni) = Vni::new(segment.vni) else {
        return Err(Reason::TableGap);
    };
    let inner_ip =
        arrival.ip.is_some() && !matches!(arrival.tag, TagEdit::Leave if is_tagged(arrival));
    Ok(Verdict::Encap(Encap {
        peer: number,
        ifindex: peer.ifindex,
        v6,
        inner_ip,
        fields: Fields {
            tos,
            ttl,
            dont_fragment,
            id,
            source_port,
            vni,
            inner_len: u32::try_from(arrival.carried_len).unwrap_or(u32::MAX),
            inner_sum,
        },
        tag: arrival.tag,
    }))
}

/// True if a tag stays in the bytes of the frame, so that the kernel does not take it for IP.
#[inline(always)]
fn is_tagged(arrival: &Arrival<'_>) -> bool {
    arrival.ip.as_ref().is_some_and(|ip| ip.l3 != ethernet::LEN)
}

/// To many.
#[inline(always)]
fn flood<T: Tables>(
    arrival: &Arrival<'_>,
    found: Option<FdbValue>,
    tables: &T,
) -> Result<Verdict, Reason> {
    if !arrival.segment.has(Segment::FLOODS) {
        return Err(Reason::FloodOff);
    }
    if arrival.stage == Stage::Xdp {
        return Err(Reason::LeftToTc);
    }
    let list = match found {
        Some(entry) => entry.target,
        None => arrival.number,
    };
    // The port that the frame came from is on the list too.
    match tables.flood_list(list) {
        Some(targets) if targets.len > 1 => {}
        _ => return Err(Reason::NowhereToFlood),
    }
    let (ttl, tos, dont_fragment) = outer_header(arrival);
    let segment = arrival.segment;
    Ok(Verdict::Flood(Flood {
        list,
        from: Some(arrival.slot),
        outer: ViaKernel {
            peer: 0,
            remote: VtepAddr::from_v4_be(0),
            local: VtepAddr::from_v4_be(0),
            vni: segment.vni,
            tos,
            ttl,
            dont_fragment,
            checksum: false,
            source_port: flow::port(
                arrival.hash,
                segment.source_port_min,
                segment.source_port_max,
            ),
            tag: arrival.tag,
            reason: Reason::Flooded,
        },
    }))
}
