//! The outer headers of a received packet (RFC 7348 §5): is it ours, and what does it say.

use crate::{
    addr::VtepAddr,
    packet::PacketRead,
    reason::Reason,
    tables::Tables,
    wire::{checksum::Sum, ethernet, ipv4, ipv6, udp, vxlan},
};

/// A VXLAN packet for one of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// The VTEP that sent it.
    pub source: VtepAddr,
    /// Outer IPv6.
    pub v6: bool,
    /// TOS or traffic class.
    pub tos: u8,
    /// The VXLAN header.
    pub vxlan: vxlan::Vxlan,
    /// Where the inner frame starts, bytes.
    pub inner_offset: usize,
    /// Where it ends by what the UDP header says, bytes.
    pub end: usize,
}

/// Where the UDP header is, and what the IP header said on the way.
struct Ip {
    source: VtepAddr,
    v6: bool,
    tos: u8,
    udp: usize,
    /// End of the packet by what the IP header says.
    end: usize,
}

/// Reads the outer headers of a frame. `merged` says that it is a super-frame, whose lengths are those before cutting.
///
/// # Errors
///
/// The reason why the frame is not to be decapsulated here: of class `Passed` or `Continued` where it is left untouched, of
/// class `Dropped` where it is ours but bad.
#[inline(always)]
pub fn parse<P, T>(frame: &P, merged: bool, tables: &T) -> Result<Outer, Reason>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    let ip = match frame.be16(ethernet::TYPE_OFFSET) {
        Some(ethernet::TYPE_IPV4) => parse_v4(frame, merged, tables)?,
        Some(ethernet::TYPE_IPV6) => parse_v6(frame, tables)?,
        _ => return Err(Reason::NotVxlan),
    };
    let headers = udp::LEN.wrapping_add(vxlan::LEN);
    if !merged && (ip.end > frame.frame_len() || ip.udp.wrapping_add(headers) > ip.end) {
        return Err(Reason::Truncated);
    }
    let udp_len = usize::from(
        frame
            .be16(ip.udp.wrapping_add(udp::LEN_OFFSET))
            .ok_or(Reason::Truncated)?,
    );
    let end = if merged {
        frame.frame_len()
    } else {
        ip.udp.wrapping_add(udp_len)
    };
    if !merged && (udp_len < headers || end > ip.end) {
        return Err(Reason::UdpLength);
    }
    let vxlan_offset = ip.udp.wrapping_add(udp::LEN);
    let first = frame.be32(vxlan_offset).ok_or(Reason::Truncated)?;
    let second = frame
        .be32(vxlan_offset.wrapping_add(4))
        .ok_or(Reason::Truncated)?;
    let vxlan = vxlan::decode(first, second).ok_or(Reason::VniFlagClear)?;
    Ok(Outer {
        source: ip.source,
        v6: ip.v6,
        tos: ip.tos,
        vxlan,
        inner_offset: vxlan_offset.wrapping_add(vxlan::LEN),
        end,
    })
}

/// True if the packet whose UDP header is at `udp` goes to the VXLAN port.
#[inline(always)]
fn is_vxlan_port<P: PacketRead + ?Sized, T: Tables>(frame: &P, udp: usize, tables: &T) -> bool {
    frame.be16(udp.wrapping_add(udp::DESTINATION_OFFSET)) == Some(tables.config().udp_port)
}

#[inline(always)]
fn parse_v4<P, T>(frame: &P, merged: bool, tables: &T) -> Result<Ip, Reason>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    const IP: usize = ethernet::LEN;
    let foreign = Reason::NotVxlan;
    let first = frame.be32(IP).ok_or(foreign)?;
    let second = frame.be32(IP + ipv4::ID_OFFSET).ok_or(foreign)?;
    let third = frame.be32(IP + ipv4::TTL_OFFSET).ok_or(foreign)?;
    let [version, tos, ..] = first.to_be_bytes();
    let [_, protocol, ..] = third.to_be_bytes();
    let header_len = ipv4::header_len(version).ok_or(foreign)?;
    let [_, _, flags_high, flags_low] = second.to_be_bytes();
    let fragment = u16::from_be_bytes([flags_high, flags_low]);
    let udp = IP.wrapping_add(header_len);
    if protocol != udp::PROTOCOL
        || fragment & ipv4::FRAGMENT_MASK != 0
        || !is_vxlan_port(frame, udp, tables)
    {
        return Err(foreign);
    }
    let source_be = frame.be32(IP + ipv4::SOURCE_OFFSET).ok_or(foreign)?;
    let destination_be = frame.be32(IP + ipv4::DESTINATION_OFFSET).ok_or(foreign)?;
    if !tables.is_local(&VtepAddr::from_v4_be(destination_be.to_be())) {
        return Err(Reason::NotOurAddress);
    }
    if fragment & ipv4::MF != 0 {
        return Err(Reason::OuterFragment);
    }
    if header_len != ipv4::LEN {
        return Err(Reason::LeftToStack);
    }
    let sum = Sum::default()
        .dword(first)
        .dword(second)
        .dword(third)
        .dword(source_be)
        .dword(destination_be);
    if !merged && sum.fold() != 0xffff {
        return Err(Reason::OuterChecksum);
    }
    let [_, _, len_high, len_low] = first.to_be_bytes();
    let total_len = usize::from(u16::from_be_bytes([len_high, len_low]));
    Ok(Ip {
        source: VtepAddr::from_v4_be(source_be.to_be()),
        v6: false,
        tos,
        udp,
        end: IP.wrapping_add(total_len),
    })
}

#[inline(always)]
fn parse_v6<P, T>(frame: &P, tables: &T) -> Result<Ip, Reason>
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    const IP: usize = ethernet::LEN;
    const UDP: usize = IP + ipv6::LEN;
    let foreign = Reason::NotVxlan;
    let first = frame.be32(IP).ok_or(foreign)?;
    let second = frame.be32(IP + ipv6::PAYLOAD_LEN_OFFSET).ok_or(foreign)?;
    let [version, low, ..] = first.to_be_bytes();
    if !ipv6::is_version_6(version) {
        return Err(foreign);
    }
    let address = |at: usize| -> Option<VtepAddr> {
        Some(VtepAddr::from_v6_be([
            frame.be32(at)?.to_be(),
            frame.be32(at.wrapping_add(4))?.to_be(),
            frame.be32(at.wrapping_add(8))?.to_be(),
            frame.be32(at.wrapping_add(12))?.to_be(),
        ]))
    };
    let [len_high, len_low, next_header, _] = second.to_be_bytes();
    match next_header {
        udp::PROTOCOL => {}
        ipv6::FRAGMENT => {
            return Err(parse_v6_fragment(
                frame,
                tables,
                address(IP + ipv6::DESTINATION_OFFSET),
            ));
        }
        ipv6::HOP_BY_HOP | ipv6::ROUTING | ipv6::DESTINATION_OPTIONS => {
            let ours =
                address(IP + ipv6::DESTINATION_OFFSET).is_some_and(|to| tables.is_local(&to));
            return Err(if ours { Reason::LeftToStack } else { foreign });
        }
        _ => return Err(foreign),
    }
    if !is_vxlan_port(frame, UDP, tables) {
        return Err(foreign);
    }
    let source = address(IP + ipv6::SOURCE_OFFSET).ok_or(foreign)?;
    let destination = address(IP + ipv6::DESTINATION_OFFSET).ok_or(foreign)?;
    if !tables.is_local(&destination) {
        return Err(Reason::NotOurAddress);
    }
    let payload_len = usize::from(u16::from_be_bytes([len_high, len_low]));
    Ok(Ip {
        source,
        v6: true,
        tos: ipv6::traffic_class(u16::from_be_bytes([version, low])),
        udp: UDP,
        end: UDP.wrapping_add(payload_len),
    })
}

/// Why a packet with a fragment header is left or dropped: only the first fragment says that it is VXLAN.
#[inline(always)]
fn parse_v6_fragment<P, T>(frame: &P, tables: &T, destination: Option<VtepAddr>) -> Reason
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    const FRAGMENT: usize = ethernet::LEN + ipv6::LEN;
    const UDP: usize = FRAGMENT + ipv6::FRAGMENT_LEN;
    let next_header = frame.byte(FRAGMENT);
    let offset = frame.be16(FRAGMENT + ipv6::FRAGMENT_OFFSET_OFFSET);
    let (Some(udp::PROTOCOL), Some(offset), Some(destination)) = (next_header, offset, destination)
    else {
        return Reason::NotVxlan;
    };
    if offset >> 3 != 0 || !is_vxlan_port(frame, UDP, tables) {
        return Reason::NotVxlan;
    }
    if tables.is_local(&destination) {
        Reason::OuterFragment
    } else {
        Reason::NotOurAddress
    }
}
