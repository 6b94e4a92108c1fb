//! The outer headers of a peer, built once, and what is patched into them per packet.

use crate::{
    abi::{
        addr::{MacAddr, Vni, VtepAddr},
        outer_template::{LEN_V4, LEN_V6, TEMPLATE_WORDS},
    },
    wire::{checksum::Sum, ethernet, ipv4, ipv6, udp, vxlan},
};

/// Offset of the UDP header over IPv4.
const UDP_V4: usize = ethernet::LEN + ipv4::LEN;
/// Offset of the UDP header over IPv6.
const UDP_V6: usize = ethernet::LEN + ipv6::LEN;

const _: () = assert!(LEN_V4 == ethernet::LEN + ipv4::LEN + udp::LEN + vxlan::LEN);
const _: () = assert!(LEN_V6 == ethernet::LEN + ipv6::LEN + udp::LEN + vxlan::LEN);

/// Bytes that encapsulation adds to the inner frame within the outer IP packet.
#[must_use]
#[inline(always)]
pub const fn ip_overhead(v6: bool) -> usize {
    if v6 {
        LEN_V6 - ethernet::LEN
    } else {
        LEN_V4 - ethernet::LEN
    }
}

/// Bytes of the longest inner frame whose outer length fields hold its length over either family.
pub const LONGEST: u32 = 65_535 - 56;
const _: () = assert!(LEN_V6 - ethernet::LEN == 56);

/// Outer headers in `W` words: the first [`LEN_V4`] or [`LEN_V6`] bytes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<const W: usize>(pub [u64; W]);

/// Words for the headers over IPv4.
pub const WORDS_V4: usize = LEN_V4.div_ceil(8);
/// Words for the headers over IPv6.
pub const WORDS_V6: usize = LEN_V6.div_ceil(8);

impl<const W: usize> Header<W> {
    /// The first `N` bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        bytemuck::bytes_of(&self.0)
            .first_chunk()
            .copied()
            .unwrap_or([0; N])
    }
}

/// What differs from packet to packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// TOS or traffic class, ECN included.
    pub tos: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Sets DF on IPv4.
    pub dont_fragment: bool,
    /// IPv4 identification.
    pub id: u16,
    /// UDP source port.
    pub source_port: u16,
    /// The segment.
    pub vni: Vni,
    /// Bytes of the inner frame as it is carried.
    pub inner_len: u32,
    /// Sum over the inner frame where a UDP checksum is wanted over IPv6, else the checksum is zero.
    pub inner_sum: Option<u16>,
}

/// Builds the template of a peer. IPv4 or IPv6 as `remote` is; `local` must be of the same family.
///
/// The IPv4 checksum field holds the folded sum of the constant fields, the UDP one over IPv6 the folded sum of the
/// constant part of the pseudo header and of the destination port: [`render_v4`] and [`render_v6`] go on from there.
#[must_use]
pub fn build(
    macs: (MacAddr, MacAddr),
    local: VtepAddr,
    remote: VtepAddr,
    udp_port: u16,
) -> [u64; TEMPLATE_WORDS] {
    let mut writer = Writer {
        bytes: [0; 80],
        at: 0,
    };
    let (destination, source) = macs;
    writer.put(&destination.bytes());
    writer.put(&source.bytes());
    if let (Some(local), Some(remote)) = (local.v4_be(), remote.v4_be()) {
        let base = Sum::default()
            .word(0x4500)
            .word(u16::from(udp::PROTOCOL))
            .dword(u32::from_be(local))
            .dword(u32::from_be(remote));
        writer.put(&ethernet::TYPE_IPV4.to_be_bytes());
        writer.put(&[0x45, 0, 0, 0, 0, 0, 0, 0, 0, udp::PROTOCOL]);
        writer.put(&base.fold().to_be_bytes());
        writer.put(&local.to_ne_bytes());
        writer.put(&remote.to_ne_bytes());
        writer.put(&[0, 0]);
        writer.put(&udp_port.to_be_bytes());
        writer.put(&[0; 4]);
    } else {
        let mut base = Sum::default().word(u16::from(udp::PROTOCOL)).word(udp_port);
        writer.put(&ethernet::TYPE_IPV6.to_be_bytes());
        writer.put(&[0x60, 0, 0, 0, 0, 0, udp::PROTOCOL, 0]);
        for word in local.words_be().into_iter().chain(remote.words_be()) {
            base = base.dword(u32::from_be(word));
            writer.put(&word.to_ne_bytes());
        }
        writer.put(&[0, 0]);
        writer.put(&udp_port.to_be_bytes());
        writer.put(&[0, 0]);
        writer.put(&base.fold().to_be_bytes());
    }
    writer.put(&vxlan::encode(Vni::ZERO));
    bytemuck::cast(writer.bytes)
}

/// Appends to a fixed buffer; what does not fit is left out (the constants above rule that out).
struct Writer {
    bytes: [u8; 80],
    at: usize,
}

impl Writer {
    fn put(&mut self, part: &[u8]) {
        for byte in part {
            if let Some(slot) = self.bytes.get_mut(self.at) {
                *slot = *byte;
            }
            self.at = self.at.saturating_add(1);
        }
    }
}

/// Sets the 16-bit word at a constant even offset of the header.
macro_rules! patch {
    ($header:ident, $at:expr, $word:expr) => {{
        const AT: usize = $at;
        const { assert!(AT % 2 == 0) };
        let word: u16 = $word;
        $header[AT / 2] = word.to_be();
    }};
}

/// Bytes of UDP and VXLAN header, as lengths are counted here.
const TUNNEL_LEN: u32 = 16;
/// Bytes of an IPv4 header, as its length field counts.
const IPV4_LEN: u16 = 20;
const _: () =
    assert!(udp::LEN + vxlan::LEN == TUNNEL_LEN as usize && ipv4::LEN == IPV4_LEN as usize);

/// The IPv4 checksum among the 16-bit words of the headers.
const CHECKSUM_V4: usize = (ethernet::LEN + ipv4::CHECKSUM_OFFSET) >> 1;
/// The UDP checksum over IPv6 among the 16-bit words of the headers.
const CHECKSUM_V6: usize = (UDP_V6 + udp::CHECKSUM_OFFSET) >> 1;

/// The low 16 bits of a length. The outer length of a GSO packet is rewritten when it is segmented.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the decision keeps lengths below 2^16"
)]
const fn wire_len(len: u32) -> u16 {
    len as u16
}

/// The upper and the lower word of a VXLAN header's second half.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "taken apart into words")]
const fn vni_words(vni: Vni) -> (u16, u16) {
    let shifted = vni.get() << 8;
    ((shifted >> 16) as u16, shifted as u16)
}

/// The outer headers over IPv4.
#[must_use]
pub fn render_v4(template: &[u64; TEMPLATE_WORDS], fields: &Fields) -> Header<WORDS_V4> {
    let mut words = *template;
    patch_v4(&mut words, fields);
    let [used @ .., _, _, _] = words;
    Header(used)
}

/// Makes the outer headers over IPv4 out of a copy of the template, in place.
#[inline(always)]
pub fn patch_v4(template: &mut [u64; TEMPLATE_WORDS], fields: &Fields) {
    const IP: usize = ethernet::LEN;
    const { assert!(ipv4::TOS_OFFSET == 1 && ipv4::PROTOCOL_OFFSET == ipv4::TTL_OFFSET + 1) };
    let header: &mut [u16; TEMPLATE_WORDS * 4] = bytemuck::cast_mut(template);
    let udp_len = wire_len(fields.inner_len.wrapping_add(TUNNEL_LEN));
    let total_len = udp_len.wrapping_add(IPV4_LEN);
    let fragment = if fields.dont_fragment { ipv4::DF } else { 0 };
    let (vni_high, vni_low) = vni_words(fields.vni);
    let checksum = Sum::default()
        .word(u16::from_be(header[CHECKSUM_V4]))
        .word(u16::from(fields.tos))
        .word(total_len)
        .word(fields.id)
        .word(fragment)
        .word(u16::from(fields.ttl) << 8)
        .checksum();
    patch!(header, IP, 0x4500 | u16::from(fields.tos));
    patch!(header, IP + ipv4::TOTAL_LEN_OFFSET, total_len);
    patch!(header, IP + ipv4::ID_OFFSET, fields.id);
    patch!(header, IP + ipv4::FRAGMENT_OFFSET, fragment);
    patch!(
        header,
        IP + ipv4::TTL_OFFSET,
        (u16::from(fields.ttl) << 8) | u16::from(udp::PROTOCOL)
    );
    patch!(header, IP + ipv4::CHECKSUM_OFFSET, checksum);
    patch!(header, UDP_V4, fields.source_port);
    patch!(header, UDP_V4 + udp::LEN_OFFSET, udp_len);
    patch!(header, UDP_V4 + udp::LEN + 4, vni_high);
    patch!(header, UDP_V4 + udp::LEN + 6, vni_low);
}

/// The outer headers over IPv6.
#[must_use]
pub fn render_v6(template: &[u64; TEMPLATE_WORDS], fields: &Fields) -> Header<WORDS_V6> {
    let mut words = *template;
    patch_v6(&mut words, fields);
    let [used @ .., _] = words;
    Header(used)
}

/// Makes the outer headers over IPv6 out of a copy of the template, in place.
#[inline(always)]
pub fn patch_v6(template: &mut [u64; TEMPLATE_WORDS], fields: &Fields) {
    const IP: usize = ethernet::LEN;
    const { assert!(ipv6::HOP_LIMIT_OFFSET == ipv6::NEXT_HEADER_OFFSET + 1) };
    let header: &mut [u16; TEMPLATE_WORDS * 4] = bytemuck::cast_mut(template);
    let udp_len = wire_len(fields.inner_len.wrapping_add(TUNNEL_LEN));
    let (vni_high, vni_low) = vni_words(fields.vni);
    let checksum = match fields.inner_sum {
        None => 0,
        Some(inner) => Sum::default()
            .word(u16::from_be(header[CHECKSUM_V6]))
            .word(udp_len)
            .word(udp_len)
            .word(fields.source_port)
            .dword(vxlan::FLAG_I)
            .word(vni_high)
            .word(vni_low)
            .word(inner)
            .udp_checksum(),
    };
    patch!(header, IP, 0x6000 | (u16::from(fields.tos) << 4));
    patch!(header, IP + ipv6::PAYLOAD_LEN_OFFSET, udp_len);
    patch!(
        header,
        IP + ipv6::NEXT_HEADER_OFFSET,
        (u16::from(udp::PROTOCOL) << 8) | u16::from(fields.ttl)
    );
    patch!(header, UDP_V6, fields.source_port);
    patch!(header, UDP_V6 + udp::LEN_OFFSET, udp_len);
    patch!(header, UDP_V6 + udp::CHECKSUM_OFFSET, checksum);
    patch!(header, UDP_V6 + udp::LEN + 4, vni_high);
    patch!(header, UDP_V6 + udp::LEN + 6, vni_low);
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn fields() -> Fields {
        Fields {
            tos: 0xb9,
            ttl: 64,
            dont_fragment: true,
            id: 0x1234,
            source_port: 50_000,
            vni: Vni::new(0x12_3456).unwrap(),
            inner_len: 98,
            inner_sum: None,
        }
    }

    fn template(local: &str, remote: &str) -> [u64; TEMPLATE_WORDS] {
        let macs = (
            MacAddr::from_bytes([2, 0, 0, 0, 0, 2]),
            MacAddr::from_bytes([2, 0, 0, 0, 0, 1]),
        );
        let addr = |text: &str| VtepAddr::from(text.parse::<IpAddr>().unwrap());
        build(macs, addr(local), addr(remote), vxlan::PORT)
    }

    #[test]
    fn over_ipv4_every_byte_is_as_the_rfcs_say() {
        let header = render_v4(&template("192.0.2.1", "192.0.2.2"), &fields());
        let mut want = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00];
        want.extend([
            0x45, 0xb9, 0, 134, 0x12, 0x34, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
        ]);
        let sum = Sum::default().bytes(&want[14..34]).checksum().to_be_bytes();
        want[24..26].copy_from_slice(&sum);
        want.extend([
            0xc3, 0x50, 0x12, 0xb5, 0, 114, 0, 0, 8, 0, 0, 0, 0x12, 0x34, 0x56, 0,
        ]);
        assert_eq!(header.bytes::<LEN_V4>().to_vec(), want);
    }

    #[test]
    fn over_ipv6_every_byte_is_as_the_rfcs_say() {
        let header = render_v6(&template("2001:db8::1", "2001:db8::2"), &fields());
        let mut want = vec![
            2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x6b, 0x90, 0, 0, 0, 114, 17, 64,
        ];
        want.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        want.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        want.extend([
            0xc3, 0x50, 0x12, 0xb5, 0, 114, 0, 0, 8, 0, 0, 0, 0x12, 0x34, 0x56, 0,
        ]);
        assert_eq!(header.bytes::<LEN_V6>().to_vec(), want);
    }

    #[test]
    fn the_ipv6_checksum_covers_pseudo_header_udp_vxlan_and_inner_frame() {
        let inner: Vec<u8> = (0..98).collect();
        let sum = Sum::default().bytes(&inner).fold();
        let header = render_v6(
            &template("2001:db8::1", "2001:db8::2"),
            &Fields {
                inner_sum: Some(sum),
                ..fields()
            },
        )
        .bytes::<LEN_V6>();
        let total = Sum::default()
            .bytes(&header[22..54])
            .word(17)
            .word(114)
            .bytes(&header[54..])
            .bytes(&inner)
            .fold();
        assert_eq!(total, 0xffff);
    }
}
