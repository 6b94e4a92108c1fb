//! Whom a frame from a port claims to be from: its IP source, and what ARP and neighbour discovery in it say.
//!
//! What cannot be read is not let through: a header that the frame ends in, or that lies behind too much else.

use crate::{
    abi::addr::{MacAddr, VtepAddr},
    frame::{
        inner::Inner,
        packet::{PacketRead, Window},
    },
    wire::{arp, ethernet, icmpv6, ipv4, ipv6, udp, vlan},
};

/// Bytes of a frame that are read at most: what the kernel side makes readable.
pub const READABLE: usize = 192;
/// IPv6 extension headers that are read past.
const MOST_HEADERS: usize = 4;
/// Options of neighbour discovery that are read.
const MOST_OPTIONS: usize = 3;

/// The ports of DHCP, client to server.
const DHCP: u32 = ports(68, 67);
/// The ports of `DHCPv6`, client to server.
const DHCP_V6: u32 = ports(546, 547);

/// The first word of a UDP header.
const fn ports(from: u16, to: u16) -> u32 {
    (from as u32) << 16 | to as u32
}

/// Who may send from a port.
pub trait Owner {
    /// What stands behind extension headers: [`Upper::find`].
    fn upper<P: PacketRead + ?Sized>(&self, frame: &P, at: usize, next: u8) -> Upper {
        Upper::find(frame, at, next)
    }
    /// The port has this address.
    fn owns(&self, addr: &VtepAddr) -> bool;
    /// The port is a router's.
    fn is_router(&self) -> bool;
}

/// The IPv6 packet of a frame.
struct Packet {
    source: VtepAddr,
    /// The port has the source.
    owned: bool,
    /// Where it ends.
    end: usize,
    upper: Upper,
}

/// What stands behind the extension headers of an IPv6 packet, as one number: where, and which protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upper(u32);

impl Upper {
    /// It is a fragment.
    const FRAGMENT: u32 = 1 << 16;
    /// It is in an earlier fragment.
    const EARLIER: u32 = 1 << 17;
    /// It cannot be reached.
    const UNREAD: Self = Self(1 << 18);

    /// Reads past the headers from `at` on, of which `next` is the first.
    #[inline(always)]
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an offset within what is read"
    )]
    pub fn find<P: PacketRead + ?Sized>(frame: &P, mut at: usize, mut next: u8) -> Self {
        let mut flags = 0;
        for _ in 0..MOST_HEADERS {
            let is_fragment = next == ipv6::FRAGMENT;
            if !is_fragment && !ipv6::is_extension(next) {
                return Self(at as u32 | u32::from(next) << 8 | flags);
            }
            let Some(header) = window::<_, 8>(frame, at) else {
                return Self::UNREAD;
            };
            let units = usize::from(header.byte(1));
            let len = match next {
                ipv6::FRAGMENT => ipv6::FRAGMENT_LEN,
                ipv6::AUTHENTICATION => units.wrapping_add(2).wrapping_mul(4),
                _ => units.wrapping_add(1).wrapping_mul(8),
            };
            if is_fragment {
                flags |= Self::FRAGMENT;
                if header.be16(ipv6::FRAGMENT_OFFSET_OFFSET) >> 3 != 0 {
                    return Self(flags | Self::EARLIER);
                }
            }
            next = header.byte(0);
            at = at.wrapping_add(len);
            if at > READABLE {
                return Self::UNREAD;
            }
        }
        Self::UNREAD
    }

    /// From its number.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// Its number.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u32 {
        self.0
    }

    const fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    /// True if it is there, in this packet.
    #[inline(always)]
    pub(super) const fn is_reached(self) -> bool {
        !self.has(Self::EARLIER | Self::UNREAD.0)
    }

    /// Where it stands.
    #[inline(always)]
    pub(super) const fn at(self) -> usize {
        (self.0 & 0xff) as usize
    }

    /// Its protocol.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the byte is meant")]
    pub(super) const fn protocol(self) -> u8 {
        (self.0 >> 8) as u8
    }
}

/// True for an IPv4 packet from this address, in network byte order; false for what the frame's other headers must tell.
#[inline(always)]
#[must_use]
pub fn is_from<P: PacketRead + ?Sized>(frame: &P, inner: &Inner, own_v4: u32) -> bool {
    if !inner.has(Inner::V4) || own_v4 == 0 {
        return false;
    }
    let l3 = ethernet::LEN.wrapping_add(inner.in_band_tag_len());
    frame
        .window::<{ ipv4::LEN }>(l3)
        .is_some_and(|header| header.raw32(ipv4::SOURCE_OFFSET) == own_v4)
}

/// True if all that a frame with these headers claims is its port's, or claims nothing: probes, duplicate address detection, DHCP.
#[inline(always)]
#[must_use]
pub fn is_own<P, O>(frame: &P, inner: &Inner, owner: &O) -> bool
where
    P: PacketRead + ?Sized,
    O: Owner,
{
    let mut l3 = ethernet::LEN.wrapping_add(inner.in_band_tag_len());
    let mut ethertype = inner.ethertype;
    if inner.has(Inner::SECOND_TAG) {
        let Some(tag) = window::<_, { vlan::LEN }>(frame, l3) else {
            return false;
        };
        ethertype = tag.be16(2);
        l3 = l3.wrapping_add(vlan::LEN);
        // Nobody looks behind two.
        if vlan::is_tag(ethertype) {
            return false;
        }
    }
    match ethertype {
        arp::ETHERTYPE => arp(frame, l3, inner.source, owner),
        ethernet::TYPE_IPV4 => v4(frame, l3, owner),
        ethernet::TYPE_IPV6 => v6(frame, l3, inner.source, owner),
        _ => !is_snap(frame, l3, ethertype),
    }
}

/// True for a frame with a length in place of its type, and IP or ARP perhaps in a SNAP header (RFC 1042): some hosts take that.
#[inline(always)]
fn is_snap<P: PacketRead + ?Sized>(frame: &P, l3: usize, ethertype: u16) -> bool {
    ethertype < ethernet::FIRST_TYPE
        && window::<_, 4>(frame, l3).is_some_and(|llc| llc.be32(0) >> 8 == ethernet::SNAP)
}

/// The bytes at `at`, if they are among those that are read.
#[inline(always)]
fn window<P: PacketRead + ?Sized, const N: usize>(frame: &P, at: usize) -> Option<P::Window<'_>> {
    if at > READABLE.wrapping_sub(N) {
        return None;
    }
    frame.window::<N>(at)
}

#[inline(always)]
fn arp<P, O>(frame: &P, l3: usize, source: MacAddr, owner: &O) -> bool
where
    P: PacketRead + ?Sized,
    O: Owner,
{
    let Some(message) = window::<_, { arp::LEN }>(frame, l3) else {
        return false;
    };
    if message.be32(0) != arp::TYPES
        || message.be16(arp::LENGTHS_OFFSET) != arp::LENGTHS
        || message.mac(arp::SENDER_MAC_OFFSET) != source
    {
        return false;
    }
    let sender = message.raw32(arp::SENDER_OFFSET);
    if sender == 0 {
        // A probe (RFC 5227 section 2.1.1).
        return message.be16(arp::OPERATION_OFFSET) == arp::REQUEST;
    }
    owner.owns(&VtepAddr::from_v4_be(sender))
}

#[inline(always)]
fn v4<P, O>(frame: &P, l3: usize, owner: &O) -> bool
where
    P: PacketRead + ?Sized,
    O: Owner,
{
    let Some(header) = window::<_, { ipv4::LEN }>(frame, l3) else {
        return false;
    };
    let Some(len) = ipv4::header_len(header.byte(0)) else {
        return false;
    };
    let source = header.raw32(ipv4::SOURCE_OFFSET);
    if source != 0 {
        return owner.owns(&VtepAddr::from_v4_be(source));
    }
    let fragment = header.be16(ipv4::FRAGMENT_OFFSET) & (ipv4::MF | ipv4::FRAGMENT_MASK);
    header.byte(ipv4::PROTOCOL_OFFSET) == udp::PROTOCOL
        && fragment == 0
        && window::<_, 4>(frame, l3.wrapping_add(len)).is_some_and(|ports| ports.be32(0) == DHCP)
}

#[inline(always)]
fn v6<P, O>(frame: &P, l3: usize, mac: MacAddr, owner: &O) -> bool
where
    P: PacketRead + ?Sized,
    O: Owner,
{
    let Some(header) = window::<_, { ipv6::LEN }>(frame, l3) else {
        return false;
    };
    if !ipv6::is_version_6(header.byte(0)) {
        return false;
    }
    let source = address(header, ipv6::SOURCE_OFFSET);
    let at = l3.wrapping_add(ipv6::LEN);
    let packet = Packet {
        source,
        owned: source == link_local(mac) || owner.owns(&source),
        end: at.wrapping_add(usize::from(header.be16(ipv6::PAYLOAD_LEN_OFFSET))),
        upper: owner.upper(frame, at, header.byte(ipv6::NEXT_HEADER_OFFSET)),
    };
    if packet.upper == Upper::UNREAD {
        return false;
    }
    // What the first fragment says is looked at there.
    if packet.upper.has(Upper::EARLIER) {
        return packet.owned;
    }
    transport(frame, &packet, mac, owner)
}

/// What stands behind the extension headers.
#[inline(always)]
fn transport<P, O>(frame: &P, packet: &Packet, mac: MacAddr, owner: &O) -> bool
where
    P: PacketRead + ?Sized,
    O: Owner,
{
    let (upper, at) = (packet.upper, packet.upper.at());
    match upper.protocol() {
        icmpv6::PROTOCOL => {
            // In a fragment that ends before its type, neighbour discovery could hide.
            let Some(message) = window::<_, 4>(frame, at) else {
                return false;
            };
            icmp(frame, packet, message.byte(0), mac, owner)
        }
        udp::PROTOCOL if !packet.owned => {
            is_link_local(packet.source)
                && !upper.has(Upper::FRAGMENT)
                && window::<_, 4>(frame, at).is_some_and(|ports| ports.be32(0) == DHCP_V6)
        }
        _ => packet.owned,
    }
}

#[inline(always)]
fn icmp<P, O>(frame: &P, packet: &Packet, kind: u8, mac: MacAddr, owner: &O) -> bool
where
    P: PacketRead + ?Sized,
    O: Owner,
{
    let nobody = packet.source == VtepAddr::UNSPECIFIED;
    let discovers = matches!(kind, icmpv6::ROUTER_SOLICITATION..=icmpv6::REDIRECT);
    // Neighbour discovery is never fragmented (RFC 6980 section 5).
    if discovers && packet.upper.has(Upper::FRAGMENT) {
        return false;
    }
    let at = packet.upper.at();
    let options = match kind {
        icmpv6::ROUTER_ADVERTISEMENT | icmpv6::REDIRECT => {
            return packet.owned && owner.is_router();
        }
        icmpv6::ROUTER_SOLICITATION if packet.owned || nobody => icmpv6::SOLICITATION_LEN,
        icmpv6::SOLICITATION if packet.owned || nobody => icmpv6::LEN,
        icmpv6::ADVERTISEMENT if packet.owned => {
            let Some(message) = window::<_, { icmpv6::LEN }>(frame, at) else {
                return false;
            };
            let target = address(message, icmpv6::TARGET_OFFSET);
            if target != link_local(mac) && !owner.owns(&target) {
                return false;
            }
            icmpv6::LEN
        }
        // Who has no address yet says to which groups it listens (RFC 3590).
        icmpv6::LISTENER_REPORT | icmpv6::LISTENER_DONE | icmpv6::LISTENER_REPORT_V2 => {
            return packet.owned || nobody;
        }
        _ => return packet.owned && !discovers,
    };
    has_own_mac(frame, at.wrapping_add(options), packet.end, mac)
}

/// True if the options that stand at `at` name no other MAC.
#[inline(always)]
fn has_own_mac<P: PacketRead + ?Sized>(frame: &P, mut at: usize, end: usize, mac: MacAddr) -> bool {
    for _ in 0..MOST_OPTIONS {
        if at >= end {
            return true;
        }
        let Some(option) = window::<_, { icmpv6::OPTION_LEN }>(frame, at) else {
            return false;
        };
        let names_mac = matches!(option.byte(0), 1 | 2);
        let len = option.byte(1);
        if len == 0 || names_mac && option.mac(2) != mac {
            return false;
        }
        at = at.wrapping_add(usize::from(len).wrapping_mul(icmpv6::OPTION_LEN));
    }
    at >= end
}

/// The address at `at`.
#[inline(always)]
fn address<W: Window>(window: W, at: usize) -> VtepAddr {
    let word = |index: usize| window.raw32(at.wrapping_add(index.wrapping_mul(4)));
    let addr = VtepAddr::from_v6_be([word(0), word(1), word(2), word(3)]);
    // An IPv4 address in an IPv6 header is nobody's, though our tables have those of IPv4 so.
    if addr.is_v6() { addr } else { NOBODY }
}

/// An address that no port has: a group of no scope.
const NOBODY: VtepAddr = VtepAddr::from_v6_be([0xff, 0, 0, 0]);

/// The link-local address that follows from a MAC (RFC 4291 appendix A).
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "parts of a 48-bit number")]
pub const fn link_local(mac: MacAddr) -> VtepAddr {
    let mac = mac.get() ^ 0x0200_0000_0000;
    let (high, low) = ((mac >> 24) as u32, mac as u32 & 0x00ff_ffff);
    VtepAddr::from_v6_be([
        0xfe80_0000_u32.to_be(),
        0,
        ((high << 8) | 0xff).to_be(),
        (0xfe00_0000 | low).to_be(),
    ])
}

/// True for an address of `fe80::/10`.
#[inline(always)]
const fn is_link_local(addr: VtepAddr) -> bool {
    let [first, ..] = addr.words_be();
    u32::from_be(first) >> 22 == 0xfe80 >> 6
}
