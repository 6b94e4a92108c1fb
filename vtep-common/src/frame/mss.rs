//! The maximum segment size that a TCP SYN offers (RFC 9293 section 3.7.1), and what it is lowered to.

use crate::{
    frame::packet::{PacketRead, Window as _},
    wire::{ethernet, ipv4, ipv6, tcp},
};

/// A maximum segment size that is lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clamp {
    /// Where it stands in the frame.
    pub at: usize,
    /// Where the checksum of its TCP header stands.
    pub checksum_at: usize,
    /// What it is.
    pub from: u16,
    /// What it becomes.
    pub to: u16,
}

/// Options of a TCP header that are looked at.
const MOST_OPTIONS: usize = 12;

impl Clamp {
    /// Finds what a SYN offers, where that is more than fits into IP packets of `mtu` bytes. `None` for any other frame; `l3` is where its IP
    /// packet begins.
    #[inline(always)]
    pub fn find<P: PacketRead + ?Sized>(
        frame: &P,
        l3: usize,
        ethertype: u16,
        mtu: u32,
    ) -> Option<Self> {
        let (start, headers) = tcp_header(frame, l3, ethertype)?;
        let header = frame.window::<{ tcp::LEN }>(start)?;
        if header.byte(tcp::FLAGS_OFFSET) & tcp::SYN == 0 {
            return None;
        }
        let most = mtu.checked_sub(headers)?.min(u16::MAX.into());
        let len = header.byte(tcp::DATA_OFFSET) >> 4 << 2;
        let options = start.wrapping_add(tcp::LEN);
        let end = len.checked_sub(tcp::LEN_U8)?;
        let mut done = 0_u8;
        for _ in 0..MOST_OPTIONS {
            done = frame.opaque(done);
            // What follows would be shorter than the option.
            if done.wrapping_add(tcp::MSS_LEN) > end {
                return None;
            }
            let at = options.wrapping_add(done.into());
            let option = frame.window::<4>(at)?;
            let (kind, option_len) = (option.byte(0), option.byte(1));
            if kind == tcp::OPTION_MSS && option_len == tcp::MSS_LEN {
                let from = option.be16(2);
                if u32::from(from) <= most {
                    return None;
                }
                return Some(Self {
                    at: at.wrapping_add(2),
                    checksum_at: start.wrapping_add(tcp::CHECKSUM_OFFSET),
                    from,
                    #[expect(clippy::cast_possible_truncation, reason = "at most 65535")]
                    to: most as u16,
                });
            }
            let step = match kind {
                tcp::OPTION_END => return None,
                tcp::OPTION_NOP => 1,
                // Longer than all options: a lie.
                _ if !(2..=40).contains(&option_len) => return None,
                _ => option_len,
            };
            done = done.wrapping_add(step);
        }
        None
    }

    /// The two values as they count in the checksum: with their bytes the other way round where they do not stand at a whole word of the
    /// header.
    #[must_use]
    #[inline(always)]
    pub const fn summed(&self) -> (u16, u16) {
        if (self.at ^ self.checksum_at) & 1 == 0 {
            (self.from, self.to)
        } else {
            (self.from.swap_bytes(), self.to.swap_bytes())
        }
    }

    /// The checksum of the header with the lower value, where it was `old` (RFC 1624 equation 3).
    #[must_use]
    pub fn checksum(&self, old: u16) -> u16 {
        use crate::wire::checksum::Sum;
        let (from, to) = self.summed();
        Sum::default().word(!old).word(!from).word(to).checksum()
    }
}

/// True for a SYN, as far as it can be told with one look: without IPv6 extension headers.
#[inline(always)]
pub fn is_syn<P: PacketRead + ?Sized>(frame: &P, l3: usize, ethertype: u16) -> bool {
    let Some((start, _)) = tcp_header(frame, l3, ethertype) else {
        return false;
    };
    let flags = frame.window::<{ tcp::LEN }>(start);
    flags.is_some_and(|header| header.byte(tcp::FLAGS_OFFSET) & tcp::SYN != 0)
}

/// Where the TCP header of a packet that is no fragment begins, and how long it is with the IP header, without options.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "constants")]
fn tcp_header<P: PacketRead + ?Sized>(
    frame: &P,
    l3: usize,
    ethertype: u16,
) -> Option<(usize, u32)> {
    const V4: u32 = (ipv4::LEN + tcp::LEN) as u32;
    const V6: u32 = (ipv6::LEN + tcp::LEN) as u32;
    match ethertype {
        ethernet::TYPE_IPV4 => {
            let header = frame.window::<{ ipv4::LEN }>(l3)?;
            let len = ipv4::header_len(header.byte(0))?;
            let fragment = header.be16(ipv4::FRAGMENT_OFFSET);
            let whole = fragment & (ipv4::MF | ipv4::FRAGMENT_MASK) == 0;
            let tcp = header.byte(ipv4::PROTOCOL_OFFSET) == tcp::PROTOCOL;
            (whole && tcp).then_some((l3.wrapping_add(len), V4))
        }
        ethernet::TYPE_IPV6 => {
            let header = frame.window::<{ ipv6::LEN }>(l3)?;
            let tcp = ipv6::is_version_6(header.byte(0))
                && header.byte(ipv6::NEXT_HEADER_OFFSET) == tcp::PROTOCOL;
            tcp.then_some((l3.wrapping_add(ipv6::LEN), V6))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A SYN over IPv4 or IPv6 with these options, padded, behind an Ethernet header, with a right checksum.
    fn syn(v6: bool, flags: u8, options: &[u8]) -> Vec<u8> {
        let mut options = options.to_vec();
        while !options.len().is_multiple_of(4) {
            options.push(0);
        }
        let len = 20 + options.len();
        let mut tcp = vec![0, 80, 0, 90, 0, 0, 0, 1, 0, 0, 0, 0];
        tcp.extend([
            u8::try_from(len / 4).unwrap() << 4,
            flags,
            0xff,
            0xff,
            0,
            0,
            0,
            0,
        ]);
        tcp.extend(&options);
        let mut frame = vec![2; 12];
        if v6 {
            frame.extend([
                0x86,
                0xdd,
                0x60,
                0,
                0,
                0,
                0,
                u8::try_from(len).unwrap(),
                6,
                64,
            ]);
            frame.extend([0xfd; 32]);
        } else {
            frame.extend([
                8,
                0,
                0x45,
                0,
                0,
                u8::try_from(20 + len).unwrap(),
                0,
                0,
                0x40,
                0,
                64,
                6,
                0,
                0,
            ]);
            frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        }
        let sum = sum(&frame, &tcp);
        tcp[16..18].copy_from_slice(&(!sum).to_be_bytes());
        frame.extend(tcp);
        frame
    }

    /// The sum over addresses, protocol, length and segment, apart from the code under test.
    fn sum(head: &[u8], tcp: &[u8]) -> u16 {
        let addresses = if head[12] == 8 {
            &head[26..34]
        } else {
            &head[22..54]
        };
        let mut bytes = addresses.to_vec();
        bytes.extend([0, 6]);
        bytes.extend(u16::try_from(tcp.len()).unwrap().to_be_bytes());
        bytes.extend(tcp);
        let mut sum: u32 = bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
            .sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    fn find(frame: &[u8], mtu: u32) -> Option<Clamp> {
        let ethertype = u16::from_be_bytes([frame[12], frame[13]]);
        Clamp::find(frame, 14, ethertype, mtu)
    }

    /// The frame with what was found.
    fn lowered(frame: &[u8], mtu: u32) -> Option<Vec<u8>> {
        let clamp = find(frame, mtu)?;
        let mut out = frame.to_vec();
        out[clamp.at..clamp.at + 2].copy_from_slice(&clamp.to.to_be_bytes());
        let at = clamp.checksum_at;
        let old = u16::from_be_bytes([frame[at], frame[at + 1]]);
        out[at..at + 2].copy_from_slice(&clamp.checksum(old).to_be_bytes());
        Some(out)
    }

    #[test]
    fn a_syn_offers_no_more_than_fits() {
        let mss = [2, 4, 5, 0xb4];
        for (v6, fits) in [(false, 1460 + 40), (true, 1460 + 60)] {
            for flags in [2, 0x12, 0xc2] {
                let frame = syn(v6, flags, &mss);
                assert_eq!(find(&frame, fits), None);
                let lower = lowered(&frame, fits - 50).unwrap();
                assert_eq!(lower, syn(v6, flags, &[2, 4, 5, 0x82]));
            }
        }
    }

    #[test]
    fn what_is_no_syn_stays() {
        for flags in [0x10, 0x01, 0x04, 0x18, 0xfd] {
            assert_eq!(find(&syn(false, flags, &[2, 4, 5, 0xb4]), 1000), None);
        }
        let frame = syn(false, 2, &[2, 4, 5, 0xb4]);
        for (at, value) in [(23, 17), (20, 0x20), (21, 1), (14, 0x65), (14, 0x44)] {
            let mut other = frame.clone();
            other[at] = value;
            assert_eq!(find(&other, 1000), None, "byte {at}");
        }
        let frame = syn(true, 2, &[2, 4, 5, 0xb4]);
        for (at, value) in [(20, 44), (14, 0x45)] {
            let mut other = frame.clone();
            other[at] = value;
            assert_eq!(find(&other, 1000), None, "byte {at}");
        }
    }

    #[test]
    fn the_option_is_found_behind_others_at_odd_places_too() {
        for before in [
            &[1][..],
            &[1, 1],
            &[4, 2],
            &[3, 3, 7],
            &[8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
            &[8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 4, 2, 1, 3, 3, 7],
        ] {
            let options = |mss: [u8; 2]| [before, &[2, 4], &mss].concat();
            for v6 in [false, true] {
                let frame = syn(v6, 2, &options([0x23, 0x28]));
                let most = 1400_u16 - if v6 { 60 } else { 40 };
                let want = syn(v6, 2, &options(most.to_be_bytes()));
                assert_eq!(lowered(&frame, 1400), Some(want), "{before:?}");
            }
        }
    }

    #[test]
    fn hostile_options_end_the_search() {
        for options in [
            &[][..],
            &[0, 2, 4, 9, 9],
            &[2, 3, 9, 9],
            &[2, 5, 9, 9, 9],
            &[3, 0, 2, 4, 9, 9],
            &[3, 1, 2, 4, 9, 9],
            &[3, 255, 2, 4, 9, 9],
            &[1, 1, 2, 4],
            &[1; 40],
        ] {
            assert_eq!(find(&syn(false, 2, options), 1000), None, "{options:?}");
        }
        // A header shorter than one can be.
        let mut frame = syn(false, 2, &[2, 4, 9, 9]);
        frame[46] = 0x40;
        assert_eq!(find(&frame, 1000), None);
    }

    #[test]
    fn an_mtu_below_the_headers_changes_nothing() {
        let frame = syn(false, 2, &[2, 4, 5, 0xb4]);
        assert_eq!(find(&frame, 39), None);
        assert_eq!(find(&frame, 40).unwrap().to, 0);
    }

    proptest! {
        #[test]
        fn whatever_the_options_a_right_checksum_stays_right(
            options in proptest::collection::vec(any::<u8>(), 0..=40),
            mtu in 0_u32..70_000,
            v6: bool,
        ) {
            let frame = syn(v6, 2, &options);
            if let Some(lower) = lowered(&frame, mtu) {
                let start = if v6 { 54 } else { 34 };
                prop_assert_eq!(sum(&lower[..start], &lower[start..]), 0xffff);
                prop_assert!(lower.len() == frame.len());
                prop_assert!(find(&lower, mtu).is_none());
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(frame in proptest::collection::vec(any::<u8>(), 14..120), mtu: u32) {
            find(&frame, mtu);
            is_syn(&frame[..], 14, 0x0800);
        }
    }
}
