//! The bytes of each layer: headers with their lengths and checksums.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Frame, IpHeader, Layer};

impl Frame {
    pub(super) fn encode(&self, at: usize, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.len() + 40);
        match &self.layers[at] {
            Layer::Eth {
                src,
                dst,
                ethertype,
            } => {
                out.extend(dst.0);
                out.extend(src.0);
                out.extend(
                    ethertype
                        .unwrap_or_else(|| self.ethertype_after(at))
                        .to_be_bytes(),
                );
            }
            Layer::Vlan { tci, ethertype } => {
                out.extend(tci.to_be_bytes());
                out.extend(
                    ethertype
                        .unwrap_or_else(|| self.ethertype_after(at))
                        .to_be_bytes(),
                );
            }
            Layer::Arp { op, sender, target } => {
                out.extend([0, 1, 8, 0, 6, 4]);
                out.extend(op.to_be_bytes());
                for (mac, ip) in [sender, target] {
                    out.extend(mac.0);
                    out.extend(ip.octets());
                }
            }
            Layer::Ipv4(ip) => out = self.ipv4_header(at, ip, body.len()),
            Layer::Ipv6(ip) => out = self.ipv6_header(at, ip, body.len()),
            Layer::Udp { src, dst, checksum } => {
                out.extend(pair(*src, *dst));
                out.extend(pair(len16(8 + body.len()), 0));
                if *checksum {
                    let sum = match self.transport_sum(at, 17, &out, body) {
                        0 => 0xffff,
                        sum => sum,
                    };
                    out[6..8].copy_from_slice(&sum.to_be_bytes());
                }
            }
            Layer::Tcp {
                src,
                dst,
                seq,
                flags,
                words,
            } => {
                out.extend(pair(*src, *dst));
                out.extend(seq.to_be_bytes());
                out.extend([0, 0, 0, 1, *words << 4, *flags, 0xff, 0xff, 0, 0, 0, 0]);
                let sum = self.transport_sum(at, 6, &out, body);
                out[16..18].copy_from_slice(&sum.to_be_bytes());
            }
            Layer::Icmp { kind, code, rest } => {
                out.extend([*kind, *code, 0, 0]);
                out.extend(rest);
                let sum = checksum(&[&out, body]);
                out[2..4].copy_from_slice(&sum.to_be_bytes());
            }
            Layer::Icmp6 { kind, code, rest } => {
                out.extend([*kind, *code, 0, 0]);
                out.extend(rest);
                let sum = self.transport_sum(at, 58, &out, body);
                out[2..4].copy_from_slice(&sum.to_be_bytes());
            }
            Layer::Vxlan {
                flags,
                reserved1,
                vni,
                reserved2,
            } => {
                out.push(*flags);
                out.extend(reserved1);
                out.extend(&vni.to_be_bytes()[1..]);
                out.push(*reserved2);
            }
            Layer::Bytes(bytes) => out.extend(bytes),
        }
        out.extend(body);
        out
    }

    fn ipv4_header(&self, at: usize, ip: &IpHeader<Ipv4Addr>, body: usize) -> Vec<u8> {
        let header = 20 + ip.options.len();
        let words = u8::try_from(header / 4).expect("IPv4 options fit 40 bytes");
        let mut out = vec![0x40 | words, ip.tos];
        out.extend(pair(len16(header + body), ip.id));
        out.extend(ip.fragment.to_be_bytes());
        out.extend([
            ip.ttl,
            ip.protocol.unwrap_or_else(|| self.protocol_after(at)),
            0,
            0,
        ]);
        out.extend(ip.src.octets());
        out.extend(ip.dst.octets());
        out.extend(&ip.options);
        let sum = checksum(&[&out]);
        out[10..12].copy_from_slice(&sum.to_be_bytes());
        out
    }

    fn ipv6_header(&self, at: usize, ip: &IpHeader<Ipv6Addr>, body: usize) -> Vec<u8> {
        let protocol = ip.protocol.unwrap_or_else(|| self.protocol_after(at));
        let mut out = vec![0x60 | (ip.tos >> 4), ip.tos << 4, 0, 0];
        out.extend(len16(ip.options.len() + body).to_be_bytes());
        out.push(if ip.options.is_empty() { protocol } else { 0 });
        out.push(ip.ttl);
        out.extend(ip.src.octets());
        out.extend(ip.dst.octets());
        if let [_, rest @ ..] = &ip.options[..] {
            out.push(protocol);
            out.extend(rest);
        }
        out
    }

    fn ethertype_after(&self, at: usize) -> u16 {
        match self.layers.get(at + 1) {
            Some(Layer::Vlan { .. }) => 0x8100,
            Some(Layer::Arp { .. }) => 0x0806,
            Some(Layer::Ipv4(_)) => 0x0800,
            Some(Layer::Ipv6(_)) => 0x86dd,
            _ => 0x88b5,
        }
    }

    fn protocol_after(&self, at: usize) -> u8 {
        match self.layers.get(at + 1) {
            Some(Layer::Udp { .. }) => 17,
            Some(Layer::Tcp { .. }) => 6,
            Some(Layer::Icmp { .. }) => 1,
            Some(Layer::Icmp6 { .. }) => 58,
            _ => 253,
        }
    }

    fn transport_sum(&self, at: usize, protocol: u8, header: &[u8], body: &[u8]) -> u16 {
        let len = u32::from(len16(header.len() + body.len()));
        let pseudo = self.layers[..at]
            .iter()
            .rev()
            .find_map(|layer| match layer {
                Layer::Ipv4(ip) => Some(pseudo(ip.src.into(), ip.dst.into(), protocol, len)),
                Layer::Ipv6(ip) => Some(pseudo(ip.src.into(), ip.dst.into(), protocol, len)),
                _ => None,
            });
        checksum(&[
            &pseudo.expect("a transport header follows an IP header"),
            header,
            body,
        ])
    }
}

/// The pseudo header of a transport checksum.
#[must_use]
pub fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, len: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for address in [src, dst] {
        match address {
            IpAddr::V4(address) => out.extend(address.octets()),
            IpAddr::V6(address) => out.extend(address.octets()),
        }
    }
    out.extend(len.to_be_bytes());
    out.extend([0, 0, 0, protocol]);
    out
}

/// The Internet checksum (RFC 1071) over `parts`, each of which but the last has an even length.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for chunk in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u64::from(u16::from_be_bytes([
            chunk[0],
            chunk.get(1).copied().unwrap_or(0),
        ]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

pub(super) fn pair(a: u16, b: u16) -> [u8; 4] {
    let ([a0, a1], [b0, b1]) = (a.to_be_bytes(), b.to_be_bytes());
    [a0, a1, b0, b1]
}

fn len16(len: usize) -> u16 {
    u16::try_from(len).expect("a length that fits the header")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::{Mac, eth};

    #[test]
    fn the_checksum_of_the_rfc_1071_example_is_right() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];

        assert_eq!(checksum(&[&bytes]), !0xddf2);
    }

    #[test]
    fn a_udp_frame_has_the_bytes_written_out_by_hand() {
        let got = eth(Mac::nth(1), Mac::nth(2))
            .vlan(5)
            .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
            .udp(1, 2)
            .bytes(&[0xab])
            .build();

        #[rustfmt::skip]
        let want = [
            2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0, 5, 8, 0,
            0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0x66, 0xce, 10, 0, 0, 1, 10, 0, 0, 2,
            0, 1, 0, 2, 0, 9, 0x40, 0xd6, 0xab,
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn an_ipv6_transport_checksum_sums_to_all_ones() {
        let (src, dst): (Ipv6Addr, Ipv6Addr) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
        );
        for frame in [
            eth(Mac::nth(1), Mac::nth(2))
                .ipv6(src, dst)
                .tcp(1, 2, 3)
                .payload(1, 33),
            eth(Mac::nth(1), Mac::nth(2))
                .ipv6(src, dst)
                .udp(1, 2)
                .payload(1, 8),
            eth(Mac::nth(1), Mac::nth(2))
                .ipv6(src, dst)
                .icmp6_echo(1, 2)
                .payload(1, 8),
        ] {
            let bytes = frame.build();
            let (protocol, segment) = (bytes[20], &bytes[54..]);

            let head = pseudo(
                src.into(),
                dst.into(),
                protocol,
                u32::from(len16(segment.len())),
            );

            assert_eq!(checksum(&[&head, segment]), 0, "{frame:?}");
        }
    }
}
