//! Packets that are too big for their way: which of them are answered, as a router would (RFC 1812 section 4.3.2, RFC 4443 section 2.4).

use crate::{
    abi::{addr::VtepAddr, too_big::TooBig},
    frame::{
        claim::Upper,
        packet::{PacketRead, Window as _},
    },
    wire::{ethernet, icmp, icmpv6, ipv4, ipv6, vlan},
};

/// Bytes of a packet that an answer quotes over IPv4, at most: every host takes an answer of that length (RFC 1812 section 4.3.2.3).
pub const QUOTE_V4: usize = 576 - ipv4::LEN - icmp::LEN;
/// Over IPv6, likewise (RFC 4443 section 2.4).
pub const QUOTE_V6: usize = 1280 - ipv6::LEN - icmpv6::ERROR_LEN;
const _: () = assert!(ethernet::LEN + vlan::LEN + QUOTE_V6 <= TooBig::MOST);

/// True if the sender of a packet that is too big is told so: the packet must not be fragmented, came from one host and is for one, is no
/// fragment but the first, and no error message itself. `upper` finds what stands behind extension headers.
#[inline(always)]
pub fn is_answered<P: PacketRead + ?Sized>(
    frame: &P,
    l3: usize,
    ethertype: u16,
    upper: impl FnOnce(usize, u8) -> Upper,
) -> bool {
    match ethertype {
        ethernet::TYPE_IPV4 => is_answered_v4(frame, l3),
        ethernet::TYPE_IPV6 => is_answered_v6(frame, l3, upper),
        _ => false,
    }
}

#[inline(always)]
fn is_answered_v4<P: PacketRead + ?Sized>(frame: &P, l3: usize) -> bool {
    let Some(header) = frame.window::<{ ipv4::LEN }>(l3) else {
        return false;
    };
    let Some(header_len) = ipv4::header_len(header.byte(0)) else {
        return false;
    };
    let fragment = header.be16(ipv4::FRAGMENT_OFFSET);
    if fragment & ipv4::DF == 0 || fragment & ipv4::FRAGMENT_MASK != 0 {
        return false;
    }
    if !is_host_v4(header.be32(ipv4::SOURCE_OFFSET))
        || !is_host_v4(header.be32(ipv4::DESTINATION_OFFSET))
    {
        return false;
    }
    if header.byte(ipv4::PROTOCOL_OFFSET) != icmp::PROTOCOL {
        return true;
    }
    // Bounded for the verifier: a header has 60 bytes at most.
    let at = l3.wrapping_add(header_len & 0x3c);
    let message = frame.window::<4>(at);
    message.is_some_and(|message| !icmp::is_error(message.byte(0)))
}

#[inline(always)]
fn is_answered_v6<P: PacketRead + ?Sized>(
    frame: &P,
    l3: usize,
    upper: impl FnOnce(usize, u8) -> Upper,
) -> bool {
    let Some(header) = frame.window::<{ ipv6::LEN }>(l3) else {
        return false;
    };
    let address = |at: usize| {
        let word = |index: usize| header.raw32(at.wrapping_add(index));
        VtepAddr::from_v6_be([word(0), word(4), word(8), word(12)])
    };
    if !ipv6::is_version_6(header.byte(0))
        || !is_host_v6(&address(ipv6::SOURCE_OFFSET))
        || !is_host_v6(&address(ipv6::DESTINATION_OFFSET))
    {
        return false;
    }
    let first = l3.wrapping_add(ipv6::LEN);
    let upper = upper(first, header.byte(ipv6::NEXT_HEADER_OFFSET));
    if !upper.is_reached() {
        return false;
    }
    if upper.protocol() != icmpv6::PROTOCOL {
        return true;
    }
    let message = frame.window::<4>(upper.at());
    message.is_some_and(|message| !icmpv6::is_error(message.byte(0)))
}

/// True for an address that a host can have: not of "this network", loopback, a group, reserved or broadcast.
#[inline(always)]
const fn is_host_v4(addr: u32) -> bool {
    !matches!(addr >> 24, 0 | 127 | 224..)
}

/// The same: neither unspecified, loopback, nor a group.
#[inline(always)]
fn is_host_v6(addr: &VtepAddr) -> bool {
    let [a, b, c, d] = addr.words_be();
    let nobody = a | b | c == 0 && u32::from_be(d) <= 1;
    !nobody && u32::from_be(a) >> 24 != 0xff
}
