//! Frames by hand: headers with every field in reach, so that a test can also send what nobody should.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    abi::addr::MacAddr,
    frame::packet::Tag,
    wire::{checksum::Sum, ethernet, ipv4, ipv6, tcp, udp, vxlan},
};

/// `EtherType` of ARP.
pub const TYPE_ARP: u16 = 0x0806;
/// IP protocol number of `ICMPv6`.
pub const ICMPV6: u8 = 58;

/// An Ethernet frame with its tags, outermost first.
#[must_use]
pub fn ethernet(
    destination: MacAddr,
    source: MacAddr,
    tags: &[Tag],
    ethertype: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = [destination.bytes(), source.bytes()].concat();
    for tag in tags {
        frame.extend(tag.tpid.to_be_bytes());
        frame.extend(tag.tci.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Whether and how a packet is a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Offset in units of 8 bytes.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
}

/// An IP header of either family. `source` and `destination` must be of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// TOS or traffic class.
    pub tos: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// IPv4: identification.
    pub id: u16,
    /// IPv4: "don't fragment".
    pub dont_fragment: bool,
    /// A fragment; over IPv6 with a fragment header.
    pub fragment: Option<Fragment>,
    /// IPv4: bytes of options, a multiple of 4, at most 40.
    pub options: u8,
    /// IPv6: an extension header of this type (8 bytes) before everything else.
    pub extension: Option<u8>,
    /// Total length (IPv4) or payload length (IPv6), where it is not to be the right one.
    pub len: Option<u16>,
}

impl Ip {
    /// A plain header.
    #[must_use]
    pub fn new(source: IpAddr, destination: IpAddr) -> Self {
        Self {
            source,
            destination,
            tos: 0,
            ttl: 64,
            id: 0x1234,
            dont_fragment: false,
            fragment: None,
            options: 0,
            extension: None,
            len: None,
        }
    }

    /// [`Ip::new`] from text.
    #[must_use]
    pub fn between(source: &str, destination: &str) -> Self {
        Self::new(
            source.parse().expect("an address"),
            destination.parse().expect("an address"),
        )
    }

    /// The `EtherType` of the family.
    #[must_use]
    pub fn ethertype(&self) -> u16 {
        match self.source {
            IpAddr::V4(_) => ethernet::TYPE_IPV4,
            IpAddr::V6(_) => ethernet::TYPE_IPV6,
        }
    }

    /// The packet with this header: a sound one, but for what the fields ask for.
    #[must_use]
    pub fn packet(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.packet_v4(source, destination, protocol, payload)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.packet_v6(source, destination, protocol, payload)
            }
            _ => panic!("addresses of one family"),
        }
    }

    fn packet_v4(
        &self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: u8,
        payload: &[u8],
    ) -> Vec<u8> {
        let header_len = ipv4::LEN + usize::from(self.options);
        let len = self.len.unwrap_or(wire_len(header_len + payload.len()));
        let mut flags = if self.dont_fragment { ipv4::DF } else { 0 };
        if let Some(fragment) = self.fragment {
            flags |= fragment.offset & ipv4::FRAGMENT_MASK;
            flags |= if fragment.more { ipv4::MF } else { 0 };
        }
        let mut packet = vec![0x45 + self.options / 4, self.tos];
        packet.extend(len.to_be_bytes());
        packet.extend(self.id.to_be_bytes());
        packet.extend(flags.to_be_bytes());
        packet.extend([self.ttl, protocol, 0, 0]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        // "No operation" all through.
        packet.resize(header_len, 1);
        let sum = Sum::default().bytes(&packet).checksum();
        packet[ipv4::CHECKSUM_OFFSET..ipv4::CHECKSUM_OFFSET + 2]
            .copy_from_slice(&sum.to_be_bytes());
        packet.extend(payload);
        packet
    }

    fn packet_v6(
        &self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        protocol: u8,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut headers = Vec::new();
        let after_extension = if self.fragment.is_some() {
            ipv6::FRAGMENT
        } else {
            protocol
        };
        if self.extension.is_some() {
            // 8 bytes, filled with a PadN of 4.
            headers.extend([after_extension, 0, 1, 4, 0, 0, 0, 0]);
        }
        if let Some(fragment) = self.fragment {
            headers.extend([protocol, 0]);
            headers.extend((fragment.offset << 3 | u16::from(fragment.more)).to_be_bytes());
            headers.extend([0, 0, self.id.to_be_bytes()[0], self.id.to_be_bytes()[1]]);
        }
        let len = self.len.unwrap_or(wire_len(headers.len() + payload.len()));
        let mut packet = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0];
        packet.extend(len.to_be_bytes());
        packet.extend([self.extension.unwrap_or(after_extension), self.ttl]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(headers);
        packet.extend(payload);
        packet
    }

    /// The sum of the pseudo header of `len` bytes of `protocol`.
    #[must_use]
    pub fn pseudo_sum(&self, protocol: u8, len: usize) -> Sum {
        let address = |addr: IpAddr| match addr {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        Sum::default()
            .bytes(&address(self.source))
            .bytes(&address(self.destination))
            .word(u16::from(protocol))
            .word(wire_len(len))
    }

    /// The packet with a UDP datagram.
    #[must_use]
    pub fn udp(&self, ports: (u16, u16), checksum: Checksum, payload: &[u8]) -> Vec<u8> {
        let len = udp::LEN + payload.len();
        let mut segment = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
        segment.extend(wire_len(len).to_be_bytes());
        segment.extend([0, 0]);
        segment.extend(payload);
        self.fill(&mut segment, udp::PROTOCOL, udp::CHECKSUM_OFFSET, checksum);
        self.packet(udp::PROTOCOL, &segment)
    }

    /// The packet with a TCP segment.
    #[must_use]
    pub fn tcp(&self, ports: (u16, u16), checksum: Checksum, payload: &[u8]) -> Vec<u8> {
        let mut segment = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
        segment.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(payload);
        self.fill(&mut segment, tcp::PROTOCOL, tcp::CHECKSUM_OFFSET, checksum);
        self.packet(tcp::PROTOCOL, &segment)
    }

    /// The packet with a TCP SYN that has these options, a multiple of 4 bytes.
    #[must_use]
    pub fn syn(&self, ports: (u16, u16), checksum: Checksum, options: &[u8]) -> Vec<u8> {
        let mut segment = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
        let words = 5 + u8::try_from(options.len() / 4).expect("at most 40 bytes");
        segment.extend([
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            0,
            words << 4,
            tcp::SYN,
            0xff,
            0xff,
            0,
            0,
            0,
            0,
        ]);
        segment.extend(options);
        self.fill(&mut segment, tcp::PROTOCOL, tcp::CHECKSUM_OFFSET, checksum);
        self.packet(tcp::PROTOCOL, &segment)
    }

    fn fill(&self, segment: &mut [u8], protocol: u8, at: usize, checksum: Checksum) {
        let pseudo = self.pseudo_sum(protocol, segment.len());
        let right = pseudo.bytes(segment).udp_checksum();
        let value = match checksum {
            Checksum::Complete => right,
            Checksum::Pending => pseudo.fold(),
            Checksum::Zero => 0,
            Checksum::Wrong => right ^ 0x0101,
        };
        segment[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }
}

/// What stands in a transport checksum field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The right value.
    Complete,
    /// The sum of the pseudo header: offload is to fill in the rest.
    Pending,
    /// Zero.
    Zero,
    /// A wrong value.
    Wrong,
}

/// The outer headers of a VXLAN packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// The IP header.
    pub ip: Ip,
    /// UDP source port.
    pub source_port: u16,
    /// UDP destination port.
    pub udp_port: u16,
    /// UDP length, where it is not to be the right one.
    pub udp_len: Option<u16>,
    /// First word of the VXLAN header: the flags.
    pub first: u32,
    /// Second word: the VNI and a reserved byte.
    pub second: u32,
}

impl Underlay {
    /// The MAC that its frames go to.
    pub const DESTINATION: MacAddr = MacAddr::from_bytes([0x02, 0, 0, 0, 0, 0xfd]);

    /// Sound headers.
    #[must_use]
    pub fn new(ip: Ip, vni: u32) -> Self {
        Self {
            ip,
            source_port: 55_555,
            udp_port: vxlan::PORT,
            udp_len: None,
            first: vxlan::FLAG_I,
            second: vni << 8,
        }
    }

    /// The frame that carries `inner`, without a UDP checksum.
    #[must_use]
    pub fn frame(&self, inner: &[u8]) -> Vec<u8> {
        let len = udp::LEN + vxlan::LEN + inner.len();
        let mut datagram = [self.source_port.to_be_bytes(), self.udp_port.to_be_bytes()].concat();
        datagram.extend(self.udp_len.unwrap_or(wire_len(len)).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(self.first.to_be_bytes());
        datagram.extend(self.second.to_be_bytes());
        datagram.extend(inner);
        let packet = self.ip.packet(udp::PROTOCOL, &datagram);
        let source = MacAddr::from_bytes([0x02, 0, 0, 0, 0, 0xfe]);
        ethernet(Self::DESTINATION, source, &[], self.ip.ethertype(), &packet)
    }
}

/// A length as it stands in 16 bits; longer ones lose their upper bits, as those of GSO packets do.
fn wire_len(len: usize) -> u16 {
    let [.., high, low] = len.to_be_bytes();
    u16::from_be_bytes([high, low])
}
