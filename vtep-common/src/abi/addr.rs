//! The addresses of an overlay: checked, one type each.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bytemuck::{Pod, Zeroable};

use crate::abi::hash_table::Hasher;

/// A VXLAN network identifier: 24 bits, host byte order (RFC 7348 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vni(u32);

impl Vni {
    /// Largest VNI that fits the header.
    pub const MAX: u32 = 0x00ff_ffff;
    /// VNI 0, a segment like any other.
    pub const ZERO: Self = Self(0);

    /// Returns `raw` as a VNI, or `None` if it needs more than 24 bits.
    #[must_use]
    pub const fn new(raw: u32) -> Option<Self> {
        if raw > Self::MAX {
            None
        } else {
            Some(Self(raw))
        }
    }

    /// The number, in host byte order.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An Ethernet address, kept as a number: the first byte on the wire is the most significant of 48 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(u64);

impl MacAddr {
    /// The all-zero address, which names a VNI's flood list and is never a host's.
    pub const ZERO: Self = Self(0);
    /// The broadcast address.
    pub const BROADCAST: Self = Self(0xffff_ffff_ffff);
    /// The group bit (I/G) of the first byte.
    const GROUP_BIT: u64 = 1 << 40;

    /// From the six bytes as they stand on the wire.
    #[must_use]
    #[inline(always)]
    pub const fn from_bytes(raw: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = raw;
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// From the first two and the last four bytes, each in host byte order.
    #[must_use]
    #[inline(always)]
    pub fn from_parts(high: u16, low: u32) -> Self {
        Self((u64::from(high) << 32) | u64::from(low))
    }

    /// The first two and the last four bytes, each in host byte order.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the parts are meant")]
    pub const fn parts(self) -> (u16, u32) {
        ((self.0 >> 32) as u16, self.0 as u32)
    }

    /// From a number, of which the lower 48 bits count.
    #[must_use]
    #[inline(always)]
    pub const fn from_number(number: u64) -> Self {
        Self(number & 0xffff_ffff_ffff)
    }

    /// The six bytes as they stand on the wire.
    #[must_use]
    #[inline(always)]
    pub const fn bytes(self) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// The address as a number below 2^48.
    #[must_use]
    #[inline(always)]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// True for broadcast and multicast addresses.
    #[must_use]
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.0 & Self::GROUP_BIT != 0
    }

    /// True for the all-zero address.
    #[must_use]
    #[inline(always)]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// True for the link-local group addresses, 01:80:c2:00:00:00 to :0f, which no bridge forwards (IEEE 802.1Q §8.6.3).
    #[must_use]
    #[inline(always)]
    pub const fn is_link_local_group(self) -> bool {
        self.0 >> 4 == 0x0180_c200_0000 >> 4
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.bytes();
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An underlay address of a VTEP: 16 bytes, network byte order, IPv4 as an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2).
///
/// Kept as four words so that the kernel side moves it without going byte by byte.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct VtepAddr {
    words_be: [u32; 4],
}

const _: () = assert!(size_of::<VtepAddr>() == 16 && align_of::<VtepAddr>() == 4);

impl VtepAddr {
    /// The address of nobody.
    pub const UNSPECIFIED: Self = Self::from_v6_be([0; 4]);

    /// True for an address that no packet on a wire comes from: unspecified, loopback, multicast, broadcast (RFC 1122 §3.2.1.3,
    /// RFC 4291 §2.5.2, §2.5.3, §2.7).
    #[must_use]
    #[inline(always)]
    pub const fn is_no_source(&self) -> bool {
        let [a, b, c, d] = self.words_be;
        let (c, d) = (u32::from_be(c), u32::from_be(d));
        if a | b != 0 {
            return u32::from_be(a) >> 24 == 0xff;
        }
        match c {
            0xffff => matches!(d >> 24, 0 | 127 | 224..),
            0 => d <= 1,
            _ => false,
        }
    }

    /// An IPv4 address, given as the word that stands on the wire.
    #[must_use]
    #[inline(always)]
    pub const fn from_v4_be(word: u32) -> Self {
        Self {
            words_be: [0, 0, 0x0000_ffff_u32.to_be(), word],
        }
    }

    /// An IPv6 address, given as the words that stand on the wire.
    #[must_use]
    #[inline(always)]
    pub const fn from_v6_be(words_be: [u32; 4]) -> Self {
        Self { words_be }
    }

    /// The four words, network byte order.
    #[must_use]
    #[inline(always)]
    pub const fn words_be(self) -> [u32; 4] {
        self.words_be
    }

    /// The IPv4 address as the word that stands on the wire, or `None` for an IPv6 address.
    #[must_use]
    #[inline(always)]
    pub const fn v4_be(self) -> Option<u32> {
        let [a, b, c, d] = self.words_be;
        if a | b | (c ^ 0x0000_ffff_u32.to_be()) == 0 {
            Some(d)
        } else {
            None
        }
    }

    /// The key of an entry of `ADDRESSES`, never zero: an IPv4 address as it is, of an IPv6 address 63 bits of a hash with the
    /// secret `seed` of the table. Two addresses with one key would be taken for each other; without the seed nobody can look for such.
    #[must_use]
    #[inline(always)]
    pub fn key(self, seed: u64) -> u64 {
        const V6: u64 = 1 << 63;
        let [a, b, c, d] = self.words_be;
        if let Some(word) = self.v4_be() {
            return u64::from(word) | 1 << 32;
        }
        let halves = [(a, b), (c, d)].map(|(high, low)| u64::from(high) << 32 | u64::from(low));
        let [high, low] = halves;
        // Mixed whole in between: of one step alone it can be told what a change of the uppermost bit comes to.
        let first = Hasher::new(seed).add(high).finish_wide();
        Hasher::new(first).add(low).finish_wide() | V6
    }

    /// True for an IPv6 address.
    #[must_use]
    #[inline(always)]
    pub const fn is_v6(self) -> bool {
        self.v4_be().is_none()
    }
}

impl From<IpAddr> for VtepAddr {
    fn from(ip: IpAddr) -> Self {
        let bytes = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        Self {
            words_be: bytemuck::cast(bytes),
        }
    }
}

impl From<VtepAddr> for IpAddr {
    fn from(addr: VtepAddr) -> Self {
        match addr.v4_be() {
            Some(word) => Self::V4(Ipv4Addr::from(u32::from_be(word))),
            None => Self::V6(Ipv6Addr::from(bytemuck::cast::<_, [u8; 16]>(addr.words_be))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vni_has_24_bits() {
        assert_eq!(Vni::new(0x00ff_ffff).map(Vni::get), Some(0x00ff_ffff));
        assert_eq!(Vni::new(0x0100_0000), None);
    }

    #[test]
    fn the_group_bit_is_the_lowest_of_the_first_byte() {
        assert!(MacAddr::from_bytes([1, 0, 0x5e, 0, 0, 1]).is_group());
        assert!(MacAddr::BROADCAST.is_group());
        assert!(!MacAddr::from_bytes([2, 0, 0, 0, 0, 1]).is_group());
    }

    #[test]
    fn keys_of_addresses_differ() {
        let texts = [
            "0.0.0.0",
            "192.0.2.1",
            "::",
            "2001:db8::1",
            "2001:db8::1:0:0",
            "::c000:201",
        ];
        let keys: std::collections::HashSet<u64> = texts
            .iter()
            .map(|text| VtepAddr::from(text.parse::<IpAddr>().unwrap()).key(7))
            .collect();
        assert!(keys.len() == texts.len() && !keys.contains(&0));
    }

    #[test]
    fn a_change_of_one_half_of_an_address_is_not_undone_by_a_known_one_of_the_other() {
        // The words of an address are as they lie in memory.
        let addr = |[high, low]: [u64; 2]| {
            let words = [high >> 32, high & 0xffff_ffff, low >> 32, low & 0xffff_ffff];
            let bytes = words.map(|word| u32::try_from(word).unwrap().to_ne_bytes());
            let bytes: [u8; 16] = bytemuck::cast(bytes);
            VtepAddr::from(IpAddr::from(bytes))
        };
        for seed in 0..1_000 {
            let one = addr([0x2001_0db8_0000_0001, 7]);
            let other = addr([0xa001_0db8_0000_0001, 7 ^ (1 << 63 | 1 << 31)]);
            assert_ne!(one.key(seed), other.key(seed), "{seed}");
        }
    }

    #[test]
    fn underlay_addresses_survive_the_round_trip() {
        for text in ["192.0.2.1", "2001:db8::1", "::", "fe80::1"] {
            let ip: IpAddr = text.parse().unwrap();
            let addr = VtepAddr::from(ip);
            assert_eq!(IpAddr::from(addr), ip);
            assert_eq!(addr.is_v6(), ip.is_ipv6());
        }
    }
}
