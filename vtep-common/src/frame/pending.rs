//! Whether a frame may have a checksum that offload is still to fill in, where [`Inner`](crate::frame::inner::Inner) does not say.

use crate::{
    frame::packet::{PacketRead, Window as _},
    wire::{checksum::Sum, ethernet, ipv4, ipv6, sctp, tcp, udp, vlan},
};

/// True if the checksum of the packet at `l3`, for which the frame has `len` bytes, may still be to be filled in: behind IP options, with
/// bytes behind the packet, or where the field cannot be reached at a glance. False for what
/// [`Inner::CHECKSUM_PARTIAL`](crate::frame::inner::Inner::CHECKSUM_PARTIAL) tells.
#[must_use]
#[inline(always)]
pub fn may_be<P: PacketRead + ?Sized>(frame: &P, l3: usize, ethertype: u16, len: usize) -> bool {
    match ethertype {
        ethernet::TYPE_IPV4 => may_be_v4(frame, l3, len),
        ethernet::TYPE_IPV6 => may_be_v6(frame, l3, len),
        // Nobody looks behind a second tag.
        _ => vlan::is_tag(ethertype),
    }
}

#[inline(always)]
fn may_be_v4<P: PacketRead + ?Sized>(frame: &P, l3: usize, len: usize) -> bool {
    let Some(header) = frame.window::<{ ipv4::LEN }>(l3) else {
        return false;
    };
    let Some(header_len) = ipv4::header_len(header.byte(0)) else {
        return false;
    };
    let protocol = header.byte(ipv4::PROTOCOL_OFFSET);
    let total_len = usize::from(header.be16(ipv4::TOTAL_LEN_OFFSET));
    if protocol == sctp::PROTOCOL {
        return true;
    }
    // The usual case: it has been told.
    if header_len == ipv4::LEN && total_len == len {
        return false;
    }
    // The checksum of a fragment is there, or in another one.
    if header.be16(ipv4::FRAGMENT_OFFSET) & (ipv4::MF | ipv4::FRAGMENT_MASK) != 0 {
        return false;
    }
    let pseudo = Sum::default()
        .word(protocol.into())
        .length(total_len.wrapping_sub(header_len))
        .dword(header.be32(ipv4::SOURCE_OFFSET))
        .dword(header.be32(ipv4::DESTINATION_OFFSET));
    // Bounded for the verifier: a header has 60 bytes at most.
    let at = l3.wrapping_add(header_len & 0x3c);
    is_sum(frame, at, protocol, pseudo)
}

#[inline(always)]
fn may_be_v6<P: PacketRead + ?Sized>(frame: &P, l3: usize, len: usize) -> bool {
    let Some(header) = frame.window::<{ ipv6::LEN }>(l3) else {
        return false;
    };
    if !ipv6::is_version_6(header.byte(0)) {
        return false;
    }
    let next = header.byte(ipv6::NEXT_HEADER_OFFSET);
    let payload_len = usize::from(header.be16(ipv6::PAYLOAD_LEN_OFFSET));
    if next == sctp::PROTOCOL || ipv6::is_extension(next) {
        return true;
    }
    if payload_len.wrapping_add(ipv6::LEN) == len {
        return false;
    }
    let mut pseudo = Sum::default().word(next.into()).length(payload_len);
    // Eight words: the two addresses.
    for word in 0..8 {
        let at = ipv6::SOURCE_OFFSET.wrapping_add(4_usize.wrapping_mul(word));
        pseudo = pseudo.dword(header.be32(at));
    }
    is_sum(frame, l3.wrapping_add(ipv6::LEN), next, pseudo)
}

/// True if the checksum field of the header at `at` holds the sum of the pseudo header.
#[inline(always)]
fn is_sum<P: PacketRead + ?Sized>(frame: &P, at: usize, protocol: u8, pseudo: Sum) -> bool {
    let field = match protocol {
        tcp::PROTOCOL => frame
            .window::<{ tcp::LEN }>(at)
            .map(|header| header.be16(tcp::CHECKSUM_OFFSET)),
        udp::PROTOCOL => frame
            .window::<{ udp::LEN }>(at)
            .map(|header| header.be16(udp::CHECKSUM_OFFSET)),
        _ => None,
    };
    field.is_some_and(|field| field == pseudo.fold())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::build::{Checksum, Ip};

    fn pending(ip: &Ip, packet: &[u8], padding: usize) -> bool {
        let frame = [vec![0; 14], packet.to_vec(), vec![0; padding]].concat();
        may_be(frame.as_slice(), 14, ip.ethertype(), frame.len() - 14)
    }

    fn ips() -> [Ip; 2] {
        [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")].map(|(from, to)| Ip::between(from, to))
    }

    #[test]
    fn the_sum_of_the_pseudo_header_is_found_behind_options_and_before_padding() {
        for checksum in [Checksum::Complete, Checksum::Pending, Checksum::Wrong] {
            let want = checksum == Checksum::Pending;
            for ip in ips() {
                for packet in [
                    ip.udp((1, 2), checksum, &[7; 5]),
                    ip.tcp((1, 2), checksum, &[7; 5]),
                ] {
                    assert_eq!(pending(&ip, &packet, 3), want, "{checksum:?}");
                    // Without them the headers were read already.
                    assert!(!pending(&ip, &packet, 0));
                }
            }
            for options in [4, 40] {
                let ip = Ip {
                    options,
                    ..ips()[0].clone()
                };
                let packet = ip.tcp((1, 2), checksum, &[7; 50]);
                assert_eq!(pending(&ip, &packet, 0), want, "{checksum:?}, {options}");
            }
        }
    }

    #[test]
    fn what_cannot_be_told_at_a_glance_may_be() {
        for ip in ips() {
            assert!(pending(&ip, &ip.packet(132, &[7; 50]), 0), "SCTP");
            // ICMP, ESP, and what is nothing at all.
            for protocol in [1, 58, 50, 254] {
                assert!(
                    !pending(&ip, &ip.packet(protocol, &[7; 50]), 0),
                    "{protocol}"
                );
            }
        }
        let [_, v6] = ips();
        for extension in [ipv6::HOP_BY_HOP, ipv6::ROUTING, ipv6::DESTINATION_OPTIONS] {
            let ip = Ip {
                extension: Some(extension),
                ..v6.clone()
            };
            assert!(pending(
                &ip,
                &ip.tcp((1, 2), Checksum::Complete, &[7; 50]),
                0
            ));
        }
        assert!(may_be([0; 64].as_slice(), 18, vlan::TYPE_8021Q, 46));
        assert!(!may_be([0; 64].as_slice(), 14, 0x88b5, 50));
    }
}
