//! Whether an inner packet can go on without its outer headers, as it came.

use crate::{
    frame::packet::{PacketRead, Window as _},
    wire::{ethernet, ipv4, ipv6, tcp},
};

/// True if the packet at `l3`, for which the frame has `len` bytes, can go on without its outer headers. `gso_size` is not zero for a GSO
/// packet.
///
/// An IP packet must not say that it is longer than that. Behind that of a plain frame there may be padding. A plain frame without a whole
/// IP header says nothing, and nothing is held against it.
///
/// A GSO packet must say just what it is. A host's stack cuts a packet to the length that it says, and one that was merged without mending
/// it would lose its last segments there, but not the FIN of the last one. A length of zero (a jumbogram, RFC 2675) is not believed
/// either. And it must be TCP over IP without a tag: the kernel goes on to take it for a tunnel packet, which TCP does not look at.
#[must_use]
#[inline(always)]
pub fn stands<P: PacketRead + ?Sized>(
    frame: &P,
    l3: usize,
    ethertype: u16,
    len: usize,
    gso_size: u32,
) -> bool {
    /// Bytes up to the end of all that is read of either header.
    const READ: usize = ipv4::PROTOCOL_OFFSET + 1;
    // All ones, or zero.
    let gso = u64::from(gso_size.wrapping_neg() >> 31).wrapping_neg();
    let Some(header) = frame.window::<READ>(l3) else {
        return gso == 0;
    };
    let kind = match ethertype {
        ethernet::TYPE_IPV4 => 1,
        ethernet::TYPE_IPV6 => 2,
        _ => 0,
    };
    // Without a branch from here on: in the kernel each one is another way through the rest.
    let kind = u64::from(frame.opaque(kind));
    let of_either = |v4: u64, v6: u64| (kind & 1).wrapping_mul(v4) | (kind >> 1).wrapping_mul(v6);
    let header_len = of_either(ipv4::LEN as u64, ipv6::LEN as u64);
    let payload = u64::from(header.be16(ipv6::PAYLOAD_LEN_OFFSET));
    let says = of_either(
        header.be16(ipv4::TOTAL_LEN_OFFSET).into(),
        payload.wrapping_add(ipv6::LEN as u64),
    );
    let protocol = of_either(
        header.byte(ipv4::PROTOCOL_OFFSET).into(),
        header.byte(ipv6::NEXT_HEADER_OFFSET).into(),
    );
    let room = len as u64;
    // The uppermost bit of a difference says that there is less than none.
    let too_long = (room.wrapping_sub(says) & !room.wrapping_sub(header_len)) >> 63;
    let other = (room ^ says) | (protocol ^ u64::from(tcp::PROTOCOL));
    too_long | (gso & other) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testkit::build::{Checksum, Ip};

    /// A TCP packet of either family with `len` bytes of payload, behind `l3` bytes.
    fn frame(v6: bool, l3: usize, len: usize, says: Option<u16>) -> (u16, Vec<u8>) {
        let (from, to) = if v6 {
            ("fd00::1", "fd00::2")
        } else {
            ("10.0.0.1", "10.0.0.2")
        };
        let mut ip = Ip::between(from, to);
        ip.len = says;
        let packet = ip.tcp((1, 2), Checksum::Complete, &vec![7; len]);
        (ip.ethertype(), [vec![0; l3], packet].concat())
    }

    /// A frame whose packet begins at `l3`.
    fn stands_at(frame: &[u8], l3: usize, ethertype: u16, gso: bool) -> bool {
        let gso_size = if gso { 1_400 } else { 0 };
        stands(frame, l3, ethertype, frame.len() - l3, gso_size)
    }

    fn says(v6: bool, l3: usize, len: usize, says: Option<u16>, gso: bool) -> bool {
        let (ethertype, frame) = frame(v6, l3, len, says);
        stands_at(&frame, l3, ethertype, gso)
    }

    /// What a header says of a packet with 100 bytes of payload.
    fn right(v6: bool) -> u16 {
        if v6 { 120 } else { 140 }
    }

    #[test]
    fn a_gso_packet_ends_where_its_header_says_and_a_plain_one_there_or_before() {
        for v6 in [false, true] {
            let right = right(v6);
            for (length, plain, gso) in [
                (right, true, true),
                (right - 1, true, false),
                (right / 2, true, false),
                (0, true, false),
                (right + 1, false, false),
                (u16::MAX, false, false),
            ] {
                assert_eq!(says(v6, 64, 100, Some(length), false), plain, "{length}");
                assert_eq!(says(v6, 64, 100, Some(length), true), gso, "{length}");
            }
        }
    }

    #[test]
    fn a_packet_that_does_not_fit_its_length_field_is_no_sound_gso_packet() {
        for v6 in [false, true] {
            let most = usize::from(u16::MAX) - if v6 { 20 } else { 40 };
            assert!(says(v6, 64, most, None, true));
            assert!(!says(v6, 64, most + 1, None, true));
            assert!(!says(v6, 64, 100_000, Some(0), true));
        }
    }

    #[test]
    fn a_gso_packet_must_be_tcp() {
        for (from, to) in [("fd00::1", "fd00::2"), ("10.0.0.1", "10.0.0.2")] {
            let ip = Ip::between(from, to);
            let udp = ip.udp((1, 2), Checksum::Complete, &[7; 3_000]);
            assert!(stands_at(&udp, 0, ip.ethertype(), false));
            assert!(!stands_at(&udp, 0, ip.ethertype(), true));
        }
    }

    #[test]
    fn what_is_not_ip_says_nothing() {
        let (_, frame) = frame(false, 64, 100, Some(7_000));
        for (ethertype, gso) in [(0x88b5, false), (0x8100, true), (0x88b5, true)] {
            assert_eq!(stands_at(&frame, 64, ethertype, gso), !gso);
        }
    }

    #[test]
    fn a_plain_frame_without_a_whole_header_is_let_be() {
        for v6 in [false, true] {
            let (ethertype, frame) = frame(v6, 64, 100, None);
            let header = if v6 { ipv6::LEN } else { ipv4::LEN };
            for len in 0..header {
                let cut = &frame[..64 + len];
                assert!(stands_at(cut, 64, ethertype, false));
                assert!(!stands_at(cut, 64, ethertype, true));
            }
            let cut = &frame[..64 + header];
            assert!(!stands_at(cut, 64, ethertype, false));
        }
    }

    proptest! {
        #[test]
        fn it_is_a_matter_of_lengths_alone(
            v6: bool, gso: bool, l3 in 14_usize..128, len in 0_usize..2_000, length: Option<u16>,
        ) {
            let header = if v6 { 20 } else { 40 };
            let real = i64::try_from(len).unwrap() + header;
            let claimed = length.map_or(real, i64::from);
            let want = claimed == real || !gso && claimed < real;
            prop_assert_eq!(says(v6, l3, len, length, gso), want);
        }
    }
}
