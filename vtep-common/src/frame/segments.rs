//! The headers that each segment of a GSO packet repeats, where extension headers stand before that of TCP or UDP.

use crate::{
    frame::{
        claim::Upper,
        packet::{PacketRead, Window as _},
    },
    wire::{ethernet, ipv6, tcp, udp},
};

/// Bytes of a hop-by-hop header that says how long a jumbogram is (RFC 2675 section 2), as the kernel makes it. Segments have none.
const JUMBO_LEN: usize = 8;
/// Where such a header has its length, in units of 8 bytes beyond the first, and behind it the type of its one option.
const JUMBO_OFFSET: usize = 1;
/// What stands there: no more than 8 bytes, and the jumbo payload option (RFC 2675 section 2).
const JUMBO: u16 = 0x00c2;

/// Bytes of headers that each segment of a GSO packet repeats, from the Ethernet header on, where its IPv6 packet begins at `l3`. `None` for
/// what is not IPv6 with TCP or UDP in it. `upper` finds what stands behind extension headers.
#[inline(always)]
pub fn headers_len<P: PacketRead + ?Sized>(
    frame: &P,
    l3: usize,
    ethertype: u16,
    upper: impl FnOnce(usize, u8) -> Upper,
) -> Option<usize> {
    if ethertype != ethernet::TYPE_IPV6 {
        return None;
    }
    let header = frame.window::<{ ipv6::LEN }>(l3)?;
    let next = header.byte(ipv6::NEXT_HEADER_OFFSET);
    let extension = l3.wrapping_add(ipv6::LEN);
    let jumbo = next == ipv6::HOP_BY_HOP
        && header.be16(ipv6::PAYLOAD_LEN_OFFSET) == 0
        && frame
            .window::<JUMBO_LEN>(extension)
            .is_some_and(|options| options.be16(JUMBO_OFFSET) == JUMBO);
    let upper = upper(extension, next);
    if !ipv6::is_version_6(header.byte(0)) || !upper.is_reached() {
        return None;
    }
    let len = match upper.protocol() {
        tcp::PROTOCOL => {
            let offset = frame.window::<{ tcp::LEN }>(upper.at())?;
            usize::from(offset.byte(tcp::DATA_OFFSET) >> 4).wrapping_mul(4)
        }
        udp::PROTOCOL => udp::LEN,
        _ => return None,
    };
    let end = upper.at().wrapping_add(len);
    Some(if jumbo {
        end.wrapping_sub(JUMBO_LEN)
    } else {
        end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv6 packet behind an Ethernet header and `tag` more bytes, with these headers before 3,000 bytes.
    fn packet(tag: usize, payload_len: u16, next: u8, headers: &[&[u8]]) -> Vec<u8> {
        let mut frame = vec![2; 14 + tag];
        frame.extend([0x60, 0, 0, 0]);
        frame.extend(payload_len.to_be_bytes());
        frame.extend([next, 64]);
        frame.extend([0xfd; 32]);
        frame.extend(headers.concat());
        frame.extend([7; 3_000]);
        frame
    }

    fn len(frame: &[u8], tag: usize) -> Option<usize> {
        let upper = |at, next| Upper::find(frame, at, next);
        headers_len(frame, 14 + tag, ethernet::TYPE_IPV6, upper)
    }

    /// A TCP header of so many words.
    fn tcp(words: u8) -> Vec<u8> {
        let mut header = vec![0; usize::from(words) * 4];
        header[12] = words << 4;
        header
    }

    const OPTIONS: [u8; 16] = [6, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn headers_are_counted_up_to_the_payload() {
        for tag in [0, 4] {
            for (words, headers) in [(5, 20), (8, 32), (15, 60)] {
                let frame = packet(tag, 3_048, 60, &[&OPTIONS, &tcp(words)]);
                assert_eq!(len(&frame, tag), Some(14 + tag + 40 + 16 + headers));
            }
            let udp = packet(tag, 3_024, 60, &[&[17, 0, 1, 4, 0, 0, 0, 0], &[0; 8]]);
            assert_eq!(len(&udp, tag), Some(14 + tag + 40 + 8 + 8));
        }
    }

    #[test]
    fn segments_have_no_header_of_a_jumbogram() {
        let jumbo: &[u8] = &[6, 0, 0xc2, 4, 0, 1, 0, 0];
        assert_eq!(
            len(&packet(0, 0, 0, &[jumbo, &tcp(8)]), 0),
            Some(14 + 40 + 32)
        );
        // One with other hop-by-hop options keeps them.
        assert_eq!(
            len(&packet(0, 3_040, 0, &[jumbo, &tcp(8)]), 0),
            Some(14 + 40 + 8 + 32)
        );
        // So does one without a length that has other options: it is no jumbogram.
        let padding: &[u8] = &[6, 0, 1, 4, 0, 0, 0, 0];
        assert_eq!(
            len(&packet(0, 0, 0, &[padding, &tcp(8)]), 0),
            Some(14 + 40 + 8 + 32)
        );
        // And one with more than the kernel puts there.
        let longer: &[u8] = &[6, 1, 0xc2, 4, 0, 1, 0, 0, 1, 6, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            len(&packet(0, 0, 0, &[longer, &tcp(8)]), 0),
            Some(14 + 40 + 16 + 32)
        );
    }

    #[test]
    fn what_has_no_segments_of_tcp_or_udp_has_no_such_headers() {
        let sctp = packet(0, 3_000, 132, &[]);
        let fragment = packet(0, 3_000, 44, &[&[6, 0, 0, 8, 0, 0, 0, 0]]);
        let v4 = packet(0, 3_020, 6, &[&tcp(5)]);
        assert_eq!(len(&sctp, 0), None);
        assert_eq!(len(&fragment, 0), None);
        let upper = |at, next| Upper::find(v4.as_slice(), at, next);
        assert_eq!(
            headers_len(v4.as_slice(), 14, ethernet::TYPE_IPV4, upper),
            None
        );
    }
}
