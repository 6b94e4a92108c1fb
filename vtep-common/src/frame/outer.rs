//! The outer headers of a received packet (RFC 7348 §5): is it ours, and what does it say.

use crate::{
    abi::{
        addr::VtepAddr,
        outer_template::{LEN_V4, LEN_V6},
        reason::Reason,
    },
    frame::packet::{PacketRead, Window},
    wire::{checksum::Sum, ethernet, ipv4, ipv6, udp, vxlan},
};

/// Between whom a packet travels, and in which VNI: what it is looked up by.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterAddresses {
    /// The VTEP that sent it.
    pub source: VtepAddr,
    /// The address that it was sent to.
    pub destination: VtepAddr,
    /// The VNI.
    pub vni: u32,
}

/// The outer headers of a VXLAN packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Between whom it travels.
    pub addresses: OuterAddresses,
    /// Outer IPv6.
    pub v6: bool,
    /// TOS or traffic class.
    pub tos: u8,
    /// A header bit is set that RFC 7348 reserves.
    pub reserved: bool,
    /// Where the inner frame starts, bytes. A byte: so small a number needs no look whether it is.
    pub header_len: u8,
    /// Where it ends by what the UDP header says, bytes.
    pub end: usize,
}

impl Outer {
    /// Where the inner frame starts, bytes.
    #[must_use]
    #[inline(always)]
    pub fn inner_offset(&self) -> usize {
        self.header_len.into()
    }

    /// What [`parse_into`] fills in. Not all zero: a run of zeros would become a loop, which the verifier walks through.
    #[must_use]
    #[inline(always)]
    pub const fn unread() -> Self {
        Self {
            addresses: OuterAddresses {
                source: VtepAddr::from_v6_be([1, 2, 3, 4]),
                destination: VtepAddr::from_v6_be([5, 6, 7, 8]),
                vni: 1,
            },
            v6: false,
            tos: 0,
            reserved: false,
            header_len: 0,
            end: 1,
        }
    }
}

/// The host that a packet reaches.
pub trait Local {
    /// UDP port of VXLAN.
    fn udp_port(&self) -> u16;
    /// True for an address that VXLAN packets are taken at.
    fn is_local(&self, addr: &VtepAddr) -> bool;
}

/// Offset of the IP header.
const IP: usize = ethernet::LEN;
/// Offset of the UDP header over IPv4 without options.
const UDP_V4: usize = IP + ipv4::LEN;
/// Offset of the UDP header over IPv6 without extension headers.
const UDP_V6: usize = IP + ipv6::LEN;
/// Bytes of UDP and VXLAN header.
const TUNNEL_LEN: usize = udp::LEN + vxlan::LEN;

/// The length of headers, which is below 256.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "asserted")]
const fn byte_of(len: usize) -> u8 {
    assert!(len < 256);
    len as u8
}

/// Reads the outer headers of a frame: [`parse_into`] with the result returned, and the destination looked up.
///
/// # Errors
///
/// As there; [`Reason::NotOurAddress`] also for a sound packet for somebody else.
pub fn parse<P, L>(frame: &P, gso: bool, local: &L) -> Result<Outer, Reason>
where
    P: PacketRead + ?Sized,
    L: Local,
{
    let mut outer = Outer::unread();
    match parse_into(frame, gso, local, &mut outer) {
        Err(reason) => Err(for_us(reason, &outer.addresses, local)),
        Ok(()) if local.is_local(&outer.addresses.destination) => Ok(outer),
        Ok(()) => Err(Reason::NotOurAddress),
    }
}

/// The reason for a packet with bad headers: what is wrong with one for somebody else is not our business.
#[inline(always)]
pub fn for_us<L: Local>(reason: Reason, addresses: &OuterAddresses, local: &L) -> Reason {
    if reason != Reason::NotVxlan && !local.is_local(&addresses.destination) {
        Reason::NotOurAddress
    } else {
        reason
    }
}

/// Reads the outer headers of a frame into `outer`. `gso` says that it is a GSO packet, whose lengths are those before it is
/// segmented.
///
/// Whether the destination is ours is left for the caller to ask, who has more to look up: [`for_us`] where this fails.
///
/// # Errors
///
/// The reason why the frame is not to be decapsulated here: of class `Passed` or `Continued` where it is left untouched, of
/// class `Dropped` where it is ours but bad.
#[inline(always)]
pub fn parse_into<P, L>(frame: &P, gso: bool, local: &L, outer: &mut Outer) -> Result<(), Reason>
where
    P: PacketRead + ?Sized,
    L: Local,
{
    // A packet with UDP ports over IPv4 is at least this long.
    let Some(window) = frame.window::<{ UDP_V4 + udp::LEN }>(0) else {
        return Err(Reason::NotVxlan);
    };
    match window.be16(ethernet::TYPE_OFFSET) {
        ethernet::TYPE_IPV4 => parse_v4(frame, window, gso, local, outer),
        ethernet::TYPE_IPV6 => parse_v6(frame, gso, local, outer),
        _ => Err(Reason::NotVxlan),
    }
}

/// Checks the lengths and reads the VXLAN header. `ip_end` and `udp_len` are what the headers say.
#[inline(always)]
fn finish<P, W>(
    frame: &P,
    window: Option<W>,
    outer: &mut Outer,
    gso: bool,
    ip_end: usize,
    udp_len: usize,
) -> Result<(), Reason>
where
    P: PacketRead + ?Sized,
    W: Window,
{
    let udp = outer.inner_offset().wrapping_sub(TUNNEL_LEN);
    if !gso && (ip_end > frame.frame_len() || outer.inner_offset() > ip_end) {
        return Err(Reason::Truncated);
    }
    outer.end = udp.wrapping_add(udp_len);
    if gso {
        outer.end = frame.frame_len();
    } else if udp_len < TUNNEL_LEN || outer.end > ip_end {
        return Err(Reason::UdpLength);
    }
    let Some(window) = window else {
        return Err(Reason::Truncated);
    };
    let first = window.be32(0);
    let second = window.be32(4);
    if first & vxlan::FLAG_I == 0 {
        return Err(Reason::VniFlagClear);
    }
    outer.addresses.vni = second >> 8;
    outer.reserved = first & !vxlan::FLAG_I != 0 || second & 0xff != 0;
    Ok(())
}

#[inline(always)]
fn parse_v4<P, L>(
    frame: &P,
    window: P::Window<'_>,
    gso: bool,
    local: &L,
    outer: &mut Outer,
) -> Result<(), Reason>
where
    P: PacketRead + ?Sized,
    L: Local,
{
    let Some(header_len) = ipv4::header_len(window.byte(IP)) else {
        return Err(Reason::NotVxlan);
    };
    let fragment = window.be16(IP + ipv4::FRAGMENT_OFFSET);
    if window.byte(IP + ipv4::PROTOCOL_OFFSET) != udp::PROTOCOL
        || fragment & ipv4::FRAGMENT_MASK != 0
    {
        return Err(Reason::NotVxlan);
    }
    let destination = VtepAddr::from_v4_be(window.raw32(IP + ipv4::DESTINATION_OFFSET));
    let port = local.udp_port();
    if header_len != ipv4::LEN {
        let Some(udp) = frame.window::<{ udp::LEN }>(IP.wrapping_add(header_len)) else {
            return Err(Reason::NotVxlan);
        };
        if udp.be16(udp::DESTINATION_OFFSET) != port {
            return Err(Reason::NotVxlan);
        }
    } else if window.be16(UDP_V4 + udp::DESTINATION_OFFSET) != port {
        return Err(Reason::NotVxlan);
    }
    outer.addresses.destination = destination;
    if fragment & ipv4::MF != 0 {
        return Err(Reason::OuterFragment);
    }
    if header_len != ipv4::LEN {
        return Err(Reason::LeftToStack);
    }
    // In the byte order of memory: a sum of all ones is the same in either.
    let source = window.raw32(IP + ipv4::SOURCE_OFFSET);
    let sum = Sum::default()
        .dword(window.raw32(IP))
        .dword(window.raw32(IP + ipv4::ID_OFFSET))
        .dword(window.raw32(IP + ipv4::TTL_OFFSET))
        .dword(source)
        .dword(window.raw32(IP + ipv4::DESTINATION_OFFSET));
    if !gso && sum.fold() != 0xffff {
        return Err(Reason::OuterChecksum);
    }
    outer.addresses.source = VtepAddr::from_v4_be(source);
    outer.tos = window.byte(IP + ipv4::TOS_OFFSET);
    outer.header_len = const { byte_of(LEN_V4) };
    let ip_end = IP.wrapping_add(usize::from(window.be16(IP + ipv4::TOTAL_LEN_OFFSET)));
    let udp_len = usize::from(window.be16(UDP_V4 + udp::LEN_OFFSET));
    finish(
        frame,
        frame.window::<{ vxlan::LEN }>(UDP_V4 + udp::LEN),
        outer,
        gso,
        ip_end,
        udp_len,
    )
}

#[inline(always)]
fn parse_v6<P, L>(frame: &P, gso: bool, local: &L, outer: &mut Outer) -> Result<(), Reason>
where
    P: PacketRead + ?Sized,
    L: Local,
{
    // Fixed header, and the UDP header or what stands in its place.
    let Some(window) = frame.window::<{ UDP_V6 + udp::LEN }>(0) else {
        return Err(Reason::NotVxlan);
    };
    if !ipv6::is_version_6(window.byte(IP)) {
        return Err(Reason::NotVxlan);
    }
    let address = |at: usize| {
        let addr = VtepAddr::from_v6_be([
            window.raw32(at),
            window.raw32(at.wrapping_add(4)),
            window.raw32(at.wrapping_add(8)),
            window.raw32(at.wrapping_add(12)),
        ]);
        // An IPv4 address in an IPv6 header is nobody's (RFC 4942 section 2.2), though our tables have those of IPv4 so.
        if addr.is_v6() {
            addr
        } else {
            VtepAddr::UNSPECIFIED
        }
    };
    let destination = address(IP + ipv6::DESTINATION_OFFSET);
    let port = local.udp_port();
    match window.byte(IP + ipv6::NEXT_HEADER_OFFSET) {
        udp::PROTOCOL => {}
        ipv6::FRAGMENT => {
            // Only the first fragment says that it is VXLAN.
            let first = window.be16(UDP_V6 + ipv6::FRAGMENT_OFFSET_OFFSET) >> 3 == 0;
            if !first || window.byte(UDP_V6) != udp::PROTOCOL {
                return Err(Reason::NotVxlan);
            }
            let Some(udp) = frame.window::<{ udp::LEN }>(UDP_V6 + ipv6::FRAGMENT_LEN) else {
                return Err(Reason::NotVxlan);
            };
            if udp.be16(udp::DESTINATION_OFFSET) != port {
                return Err(Reason::NotVxlan);
            }
            outer.addresses.destination = destination;
            return Err(Reason::OuterFragment);
        }
        ipv6::HOP_BY_HOP | ipv6::ROUTING | ipv6::DESTINATION_OPTIONS => {
            outer.addresses.destination = destination;
            return Err(if local.is_local(&destination) {
                Reason::LeftToStack
            } else {
                Reason::NotVxlan
            });
        }
        _ => return Err(Reason::NotVxlan),
    }
    if window.be16(UDP_V6 + udp::DESTINATION_OFFSET) != port {
        return Err(Reason::NotVxlan);
    }
    outer.addresses.destination = destination;
    outer.addresses.source = address(IP + ipv6::SOURCE_OFFSET);
    outer.v6 = true;
    outer.tos = ipv6::traffic_class(window.be16(IP));
    outer.header_len = const { byte_of(LEN_V6) };
    let ip_end = UDP_V6.wrapping_add(usize::from(window.be16(IP + ipv6::PAYLOAD_LEN_OFFSET)));
    let udp_len = usize::from(window.be16(UDP_V6 + udp::LEN_OFFSET));
    finish(
        frame,
        frame.window::<{ vxlan::LEN }>(UDP_V6 + udp::LEN),
        outer,
        gso,
        ip_end,
        udp_len,
    )
}
