//! What tells the sender of a frame that it is too big: the ICMP message that a router would send.

use vtep_common::{
    abi::too_big::TooBig,
    frame::too_big::{QUOTE_V4, QUOTE_V6},
    wire::{checksum::Sum, ethernet, icmp, icmpv6, ipv4, ipv6},
};

/// Time to live, and hop limit.
const TTL: u8 = 64;
/// Type of service of a router's messages: internetwork control (RFC 1812 section 4.3.2.5).
const TOS: u8 = 0xc0;

/// The frame that tells it, to be sent at the port that the frame came from: between the same two hosts, the other way round, so that it
/// gets to a guest behind a bridge or a router, and with the same tags. `None` for what is no IP packet.
pub(super) fn answer(too_big: &TooBig) -> Option<Vec<u8>> {
    let frame = too_big.frame();
    let l3 = usize::try_from(too_big.l3).ok()?;
    let (head, packet) = frame.split_at_checked(l3)?;
    let (macs, behind_macs) = head.split_at_checked(ethernet::TYPE_OFFSET)?;
    let (destination, source) = macs.split_at(ethernet::SOURCE_OFFSET);
    let message = match packet.first()? >> 4 {
        4 => message_v4(packet, too_big.mtu)?,
        6 => message_v6(packet, too_big.mtu)?,
        _ => return None,
    };
    let mut out = Vec::with_capacity(head.len() + size_of_val(&too_big.tag) + message.len());
    out.extend(source);
    out.extend(destination);
    if too_big.tag != 0 {
        out.extend(too_big.tag.to_be_bytes());
    }
    out.extend(behind_macs);
    out.extend(message);
    Some(out)
}

/// "Fragmentation needed and DF set" (RFC 1191 section 4).
fn message_v4(packet: &[u8], mtu: u32) -> Option<Vec<u8>> {
    let address = |at: usize| packet.get(at..at + 4);
    let (source, destination) = (
        address(ipv4::SOURCE_OFFSET)?,
        address(ipv4::DESTINATION_OFFSET)?,
    );
    let quote = &packet[..packet.len().min(QUOTE_V4)];
    let mut message = vec![icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED, 0, 0, 0, 0];
    message.extend(u16::try_from(mtu).unwrap_or(u16::MAX).to_be_bytes());
    message.extend(quote);
    let sum = Sum::default().bytes(&message).checksum();
    message[icmp::CHECKSUM_OFFSET..][..2].copy_from_slice(&sum.to_be_bytes());

    let total_len = u16::try_from(ipv4::LEN + message.len()).ok()?;
    let mut out = Vec::with_capacity(total_len.into());
    out.extend([0x45, TOS]);
    out.extend(total_len.to_be_bytes());
    // Never fragmented, so it needs no identification (RFC 6864 section 4).
    out.extend([0, 0]);
    out.extend(ipv4::DF.to_be_bytes());
    out.extend([TTL, icmp::PROTOCOL, 0, 0]);
    out.extend(destination);
    out.extend(source);
    let sum = Sum::default().bytes(&out).checksum();
    out[ipv4::CHECKSUM_OFFSET..][..2].copy_from_slice(&sum.to_be_bytes());
    out.extend(message);
    Some(out)
}

/// "Packet too big" (RFC 4443 section 3.2).
fn message_v6(packet: &[u8], mtu: u32) -> Option<Vec<u8>> {
    let address = |at: usize| packet.get(at..at + 16);
    let (source, destination) = (
        address(ipv6::SOURCE_OFFSET)?,
        address(ipv6::DESTINATION_OFFSET)?,
    );
    let quote = &packet[..packet.len().min(QUOTE_V6)];
    let mut message = vec![icmpv6::PACKET_TOO_BIG, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(quote);
    // The pseudo header of RFC 8200 section 8.1.
    let sum = Sum::default()
        .bytes(source)
        .bytes(destination)
        .length(message.len())
        .word(icmpv6::PROTOCOL.into())
        .bytes(&message)
        .checksum();
    message[icmpv6::CHECKSUM_OFFSET..][..2].copy_from_slice(&sum.to_be_bytes());

    let mut out = Vec::with_capacity(ipv6::LEN + message.len());
    out.extend([0x60, 0, 0, 0]);
    out.extend(u16::try_from(message.len()).ok()?.to_be_bytes());
    out.extend([icmpv6::PROTOCOL, TTL]);
    out.extend(destination);
    out.extend(source);
    out.extend(message);
    Some(out)
}

#[cfg(test)]
mod tests {
    use vtep_common::abi::id::PortSlot;

    use super::*;

    const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
    const REMOTE: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

    #[test]
    fn over_ipv4_it_is_fragmentation_needed_from_the_host_that_was_meant() {
        let packet = packet_v4(600);

        let got = answer(&too_big(&[0x08, 0x00], 0, &packet, 1450)).unwrap();

        let mut want = [GUEST, REMOTE].concat();
        want.extend([0x08, 0x00]);
        want.extend([0x45, 0xc0, 0x02, 0x40, 0, 0, 0x40, 0, 64, 1]);
        // Added up by hand: 0x45c0 + 0x0240 + 0x4000 + 0x4001 + 2 * 0x0a00 + 0x000b + 0x000a = 0xdc16, complemented.
        want.extend([0x23, 0xe9]);
        want.extend([10, 0, 0, 11, 10, 0, 0, 10]);
        // 0x0304 + 1450 + the words of the quote: 0x4500 + 600 + 0x4000 + 0x4006 + 0x1400 + 21 + 528 / 2 * 0x0101.
        let sum: u32 = 0x0304 + 1450 + 0x4500 + 600 + 0x4000 + 0x4006 + 0x1400 + 21 + 264 * 0x0101;
        let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        want.extend([3, 4]);
        want.extend(sum.to_be_bytes());
        want.extend([0, 0, 0x05, 0xaa]);
        want.extend(&packet[..548]);
        assert_eq!(got, want);
        assert_eq!(got.len(), 14 + 576);
    }

    #[test]
    fn over_ipv6_it_is_packet_too_big() {
        let packet = packet_v6(1450);

        let got = answer(&too_big(&[0x86, 0xdd], 0, &packet, 1430)).unwrap();

        let mut want = [GUEST, REMOTE].concat();
        want.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0x04, 0xd8, 58, 64]);
        want.extend(&packet[24..40]);
        want.extend(&packet[8..24]);
        // Addresses 2 * 0xfd00 + 0x0a + 0x0b, length 1240, protocol 58, 0x0200 + 1430; quoted 0x6000 + 1410 + 0x0640, addresses, and
        // 1192 / 2 * 0x0101.
        let addresses = 2 * 0xfd00 + 21;
        let sum: u32 =
            2 * addresses + 1240 + 58 + 0x0200 + 1430 + 0x6000 + 1410 + 0x0640 + 596 * 0x0101;
        let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        want.extend([2, 0]);
        want.extend(sum.to_be_bytes());
        want.extend([0, 0, 0x05, 0x96]);
        want.extend(&packet[..1232]);
        assert_eq!(got, want);
        assert_eq!(got.len(), 14 + 1280);
    }

    #[test]
    fn it_is_tagged_as_the_frame_was() {
        let packet = packet_v4(600);
        let untagged = answer(&too_big(&[0x08, 0x00], 0, &packet, 1446)).unwrap();

        let in_band = answer(&too_big(&[0x81, 0, 0xe0, 5, 8, 0], 0, &packet, 1446)).unwrap();
        let in_skb = answer(&too_big(&[8, 0], 0x8100_e005, &packet, 1446)).unwrap();

        let want = [&untagged[..12], &[0x81, 0, 0xe0, 5], &untagged[12..]].concat();
        assert_eq!(in_band, want);
        assert_eq!(in_skb, want);
    }

    #[test]
    fn what_is_cut_off_anywhere_panics_nowhere() {
        for packet in [packet_v4(600), packet_v6(600)] {
            let whole = too_big(&[0x08, 0x00], 0, &packet, 1450);
            for len in 0..whole.len {
                answer(&TooBig { len, ..whole });
            }
            for l3 in [0, 5, 12, 13, 1255, 1256, 1257, u32::MAX] {
                answer(&TooBig { l3, ..whole });
            }
            answer(&TooBig {
                len: u32::MAX,
                mtu: u32::MAX,
                ..whole
            });
        }
    }

    fn too_big(behind_macs: &[u8], tag: u32, packet: &[u8], mtu: u32) -> TooBig {
        let frame = [&REMOTE, &GUEST, behind_macs, packet].concat();
        let len = frame.len().min(TooBig::MOST);
        let mut bytes = [0; TooBig::MOST];
        bytes[..len].copy_from_slice(&frame[..len]);
        TooBig {
            port: PortSlot::new(0),
            ifindex: 7,
            mtu,
            tag,
            l3: u32::try_from(12 + behind_macs.len()).unwrap(),
            len: u32::try_from(len).unwrap(),
            bytes,
        }
    }

    fn packet_v4(len: u16) -> Vec<u8> {
        let mut packet = vec![0x45, 0];
        packet.extend(len.to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 10, 10, 0, 0, 11]);
        packet.resize(len.into(), 1);
        packet
    }

    fn packet_v6(len: u16) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend((len - 40).to_be_bytes());
        packet.extend([6, 64]);
        for last in [10, 11] {
            packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        packet.resize(len.into(), 1);
        packet
    }
}
