//! Frames built layer by layer, with lengths and checksums filled in.
//!
//! The independent encoder. Nothing here comes from `vtep-common`, neither its types nor its constants: headers are written from
//! the RFCs, in numbers. A mistake of the product in a length, an offset or a checksum so cannot be made here too and hide
//! itself. Whoever needs frames that go with the product's tables, or random ones, takes `vtep_common`'s builder instead.

pub mod inner;
pub mod neighbour;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// To everyone on the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// The nearest-bridge group address that LLDP uses.
    pub const LLDP: Self = Self([0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e]);
    /// The address that names the flood list.
    pub const ZERO: Self = Self([0; 6]);

    /// A locally administered unicast address that ends in `last`.
    #[must_use]
    pub const fn nth(last: u8) -> Self {
        Self([0x02, 0, 0, 0, 0, last])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.0.map(|byte| format!("{byte:02x}"));
        f.write_str(&parts.join(":"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Vec<u8> = text
            .trim()
            .split(':')
            .map(|part| u8::from_str_radix(part, 16).map_err(|e| format!("{text}: {e}")))
            .collect::<Result<_, _>>()?;
        Ok(Self(
            bytes
                .try_into()
                .map_err(|_| format!("{text}: not six bytes"))?,
        ))
    }
}

#[derive(Clone, Debug)]
enum Layer {
    Eth {
        src: Mac,
        dst: Mac,
        ethertype: Option<u16>,
    },
    Vlan {
        tci: u16,
        ethertype: Option<u16>,
    },
    Arp {
        op: u16,
        sender: (Mac, Ipv4Addr),
        target: (Mac, Ipv4Addr),
    },
    Ipv4(Ip<Ipv4Addr>),
    Ipv6(Ip<Ipv6Addr>),
    Udp {
        src: u16,
        dst: u16,
        checksum: bool,
    },
    Tcp {
        src: u16,
        dst: u16,
        seq: u32,
        flags: u8,
    },
    Icmp {
        kind: u8,
        code: u8,
        rest: [u8; 4],
    },
    Icmp6 {
        kind: u8,
        code: u8,
        rest: [u8; 4],
    },
    Vxlan {
        flags: u8,
        reserved1: [u8; 3],
        vni: u32,
        reserved2: u8,
    },
    Bytes(Vec<u8>),
}

#[derive(Clone, Debug)]
struct Ip<A> {
    src: A,
    dst: A,
    tos: u8,
    ttl: u8,
    id: u16,
    /// The IPv4 flags and fragment offset.
    fragment: u16,
    options: Vec<u8>,
    protocol: Option<u8>,
}

impl<A> Ip<A> {
    fn new(src: A, dst: A) -> Self {
        Self {
            src,
            dst,
            tos: 0,
            ttl: 64,
            id: 0,
            fragment: 0,
            options: vec![],
            protocol: None,
        }
    }
}

/// A frame under construction: each call adds a layer or changes the last one of its kind.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    layers: Vec<Layer>,
}

/// Begins a frame from `src` to `dst`.
#[must_use]
pub fn eth(src: Mac, dst: Mac) -> Frame {
    Frame::default().eth(src, dst)
}

impl Frame {
    fn with(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Adds an Ethernet header.
    #[must_use]
    pub fn eth(self, src: Mac, dst: Mac) -> Self {
        self.with(Layer::Eth {
            src,
            dst,
            ethertype: None,
        })
    }

    /// Sets the ethertype of the last Ethernet or VLAN header to other than what follows.
    #[must_use]
    pub fn ethertype(mut self, value: u16) -> Self {
        for layer in self.layers.iter_mut().rev() {
            if let Layer::Eth { ethertype, .. } | Layer::Vlan { ethertype, .. } = layer {
                *ethertype = Some(value);
                break;
            }
        }
        self
    }

    /// Adds an 802.1Q tag.
    #[must_use]
    pub fn vlan(self, tci: u16) -> Self {
        self.with(Layer::Vlan {
            tci,
            ethertype: None,
        })
    }

    /// Adds an ARP question of `sender` for the MAC of `target`.
    #[must_use]
    pub fn arp_request(self, sender: (Mac, Ipv4Addr), target: Ipv4Addr) -> Self {
        self.with(Layer::Arp {
            op: 1,
            sender,
            target: (Mac::ZERO, target),
        })
    }

    /// Adds an ARP answer.
    #[must_use]
    pub fn arp_reply(self, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Self {
        self.with(Layer::Arp {
            op: 2,
            sender,
            target,
        })
    }

    /// Adds an IPv4 header.
    #[must_use]
    pub fn ipv4(self, src: Ipv4Addr, dst: Ipv4Addr) -> Self {
        self.with(Layer::Ipv4(Ip::new(src, dst)))
    }

    /// Adds an IPv6 header.
    #[must_use]
    pub fn ipv6(self, src: Ipv6Addr, dst: Ipv6Addr) -> Self {
        self.with(Layer::Ipv6(Ip::new(src, dst)))
    }

    /// Adds the IP header of the family of both addresses.
    ///
    /// # Panics
    ///
    /// If the families differ.
    #[must_use]
    pub fn ip(self, src: IpAddr, dst: IpAddr) -> Self {
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.ipv4(src, dst),
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.ipv6(src, dst),
            _ => panic!("{src} and {dst} are of two families"),
        }
    }

    /// Sets the TOS or traffic-class byte of the last IP header.
    #[must_use]
    pub fn tos(mut self, value: u8) -> Self {
        match self.last_ip() {
            Layer::Ipv4(ip) => ip.tos = value,
            Layer::Ipv6(ip) => ip.tos = value,
            _ => {}
        }
        self
    }

    /// Sets the TTL or hop limit of the last IP header.
    #[must_use]
    pub fn ttl(mut self, value: u8) -> Self {
        match self.last_ip() {
            Layer::Ipv4(ip) => ip.ttl = value,
            Layer::Ipv6(ip) => ip.ttl = value,
            _ => {}
        }
        self
    }

    /// Sets the protocol number of the last IP header to other than what follows.
    #[must_use]
    pub fn protocol(mut self, value: u8) -> Self {
        match self.last_ip() {
            Layer::Ipv4(ip) => ip.protocol = Some(value),
            Layer::Ipv6(ip) => ip.protocol = Some(value),
            _ => {}
        }
        self
    }

    /// Sets the identification, flags and offset (in units of eight bytes) of the last IPv4 header.
    #[must_use]
    pub fn fragment(mut self, id: u16, flags_and_offset: u16) -> Self {
        if let Layer::Ipv4(ip) = self.last_ip() {
            ip.id = id;
            ip.fragment = flags_and_offset;
        }
        self
    }

    /// Sets DF in the last IPv4 header.
    #[must_use]
    pub fn df(self) -> Self {
        self.fragment(0, 0x4000)
    }

    /// Gives the last IP header options (IPv4; a multiple of four bytes) or an extension header
    /// (IPv6; a multiple of eight bytes, hop-by-hop, whose first byte is filled in).
    #[must_use]
    pub fn options(mut self, value: &[u8]) -> Self {
        match self.last_ip() {
            Layer::Ipv4(ip) => ip.options = value.to_vec(),
            Layer::Ipv6(ip) => ip.options = value.to_vec(),
            _ => {}
        }
        self
    }

    fn last_ip(&mut self) -> &mut Layer {
        self.layers
            .iter_mut()
            .rev()
            .find(|layer| matches!(layer, Layer::Ipv4(_) | Layer::Ipv6(_)))
            .expect("no IP header to change yet")
    }

    /// Adds a UDP header with a checksum.
    #[must_use]
    pub fn udp(self, src: u16, dst: u16) -> Self {
        self.with(Layer::Udp {
            src,
            dst,
            checksum: true,
        })
    }

    /// Adds a UDP header whose checksum is zero.
    #[must_use]
    pub fn udp_unchecked(self, src: u16, dst: u16) -> Self {
        self.with(Layer::Udp {
            src,
            dst,
            checksum: false,
        })
    }

    /// Adds a TCP header (ACK and PSH set).
    #[must_use]
    pub fn tcp(self, src: u16, dst: u16, seq: u32) -> Self {
        self.with(Layer::Tcp {
            src,
            dst,
            seq,
            flags: 0x18,
        })
    }

    /// Adds an ICMP echo request.
    #[must_use]
    pub fn icmp_echo(self, id: u16, seq: u16) -> Self {
        self.with(Layer::Icmp {
            kind: 8,
            code: 0,
            rest: pair(id, seq),
        })
    }

    /// Adds an `ICMPv6` echo request.
    #[must_use]
    pub fn icmp6_echo(self, id: u16, seq: u16) -> Self {
        self.with(Layer::Icmp6 {
            kind: 128,
            code: 0,
            rest: pair(id, seq),
        })
    }

    /// Adds an `ICMPv6` header of any kind.
    #[must_use]
    pub fn icmp6(self, kind: u8, rest: [u8; 4]) -> Self {
        self.with(Layer::Icmp6 {
            kind,
            code: 0,
            rest,
        })
    }

    /// Adds a VXLAN header as RFC 7348 §5 has it.
    #[must_use]
    pub fn vxlan(self, vni: u32) -> Self {
        self.vxlan_noisy(0x08, [0; 3], vni, 0)
    }

    /// Adds a VXLAN header with every bit given.
    #[must_use]
    pub fn vxlan_noisy(self, flags: u8, reserved1: [u8; 3], vni: u32, reserved2: u8) -> Self {
        self.with(Layer::Vxlan {
            flags,
            reserved1,
            vni,
            reserved2,
        })
    }

    /// Adds bytes as they are.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.with(Layer::Bytes(bytes.to_vec()))
    }

    /// Adds `len` bytes that depend on `seed` and on their place.
    #[must_use]
    pub fn payload(self, seed: u32, len: usize) -> Self {
        self.with(Layer::Bytes(pattern(seed, len)))
    }

    /// The frame's bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for at in (0..self.layers.len()).rev() {
            body = self.encode(at, &body);
        }
        body
    }

    fn encode(&self, at: usize, body: &[u8]) -> Vec<u8> {
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
            } => {
                out.extend(pair(*src, *dst));
                out.extend(seq.to_be_bytes());
                out.extend([0, 0, 0, 1, 0x50, *flags, 0xff, 0xff, 0, 0, 0, 0]);
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

    fn ipv4_header(&self, at: usize, ip: &Ip<Ipv4Addr>, body: usize) -> Vec<u8> {
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

    fn ipv6_header(&self, at: usize, ip: &Ip<Ipv6Addr>, body: usize) -> Vec<u8> {
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

/// `len` bytes that differ between seeds and between places.
#[must_use]
pub fn pattern(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

fn pair(a: u16, b: u16) -> [u8; 4] {
    let ([a0, a1], [b0, b1]) = (a.to_be_bytes(), b.to_be_bytes());
    [a0, a1, b0, b1]
}

fn len16(len: usize) -> u16 {
    u16::try_from(len).expect("a length that fits the header")
}

#[cfg(test)]
mod tests {
    use super::*;

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
