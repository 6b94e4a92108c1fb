//! What the underlay says of the way to a VTEP: ICMP "fragmentation needed" and `ICMPv6` "packet too big" that quote a packet as we send it.
//!
//! Anybody can send such a message. What is read here is what it says; whether that can be true is for others to decide.

use crate::{
    abi::addr::VtepAddr,
    frame::packet::{PacketRead, Window as _},
    wire::{checksum::Sum, icmp, icmpv6, ipv4, ipv6, udp, vxlan},
};

/// A message that a VXLAN packet was too big for its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathReport {
    /// Where the packet that it quotes came from.
    pub local: VtepAddr,
    /// Where that was to go.
    pub remote: VtepAddr,
    /// Its UDP source port.
    pub source_port: u16,
    /// Its UDP destination port.
    pub udp_port: u16,
    /// Its VNI, where that is quoted.
    pub vni: Option<u32>,
    /// Largest IP packet that fits, in bytes.
    pub mtu: u32,
}

impl PathReport {
    /// Reads an IPv4 packet, as a raw socket gets it. `None` for any other message, and for one that is not whole.
    #[must_use]
    pub fn read_v4(packet: &[u8]) -> Option<Self> {
        let header = packet.window::<{ ipv4::LEN }>(0)?;
        let header_len = ipv4::header_len(header.byte(0))?;
        if header.byte(ipv4::PROTOCOL_OFFSET) != icmp::PROTOCOL {
            return None;
        }
        let message = packet.get(header_len..)?;
        let head = message.window::<{ icmp::LEN }>(0)?;
        // Raw sockets get messages that nobody has checked.
        let sound = Sum::default().bytes(message).fold() == u16::MAX;
        let kind = (head.byte(0), head.byte(1));
        if !sound || kind != (icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED) {
            return None;
        }
        // Of routers that say none, nothing can be learned (RFC 1191 section 5).
        let mtu = u32::from(head.be16(icmp::MTU_OFFSET));
        let quoted = message.get(icmp::LEN..)?;
        let inner = quoted.window::<{ ipv4::LEN }>(0)?;
        let inner_len = ipv4::header_len(inner.byte(0))?;
        let fragment = inner.be16(ipv4::FRAGMENT_OFFSET) & ipv4::FRAGMENT_MASK;
        if fragment != 0 || inner.byte(ipv4::PROTOCOL_OFFSET) != udp::PROTOCOL {
            return None;
        }
        let address = |at| VtepAddr::from_v4_be(inner.raw32(at));
        Self::of_datagram(
            quoted.get(inner_len..)?,
            (
                address(ipv4::SOURCE_OFFSET),
                address(ipv4::DESTINATION_OFFSET),
            ),
            mtu,
        )
    }

    /// Reads an `ICMPv6` message, whose checksum the kernel has verified, likewise.
    #[must_use]
    pub fn read_v6(message: &[u8]) -> Option<Self> {
        let head = message.window::<{ icmpv6::ERROR_LEN }>(0)?;
        if head.byte(0) != icmpv6::PACKET_TOO_BIG {
            return None;
        }
        let quoted = message.get(icmpv6::ERROR_LEN..)?;
        let inner = quoted.window::<{ ipv6::LEN }>(0)?;
        // We send no extension headers.
        if !ipv6::is_version_6(inner.byte(0))
            || inner.byte(ipv6::NEXT_HEADER_OFFSET) != udp::PROTOCOL
        {
            return None;
        }
        let address = |at: usize| {
            let word = |index: usize| inner.raw32(at.wrapping_add(index));
            VtepAddr::from_v6_be([word(0), word(4), word(8), word(12)])
        };
        Self::of_datagram(
            quoted.get(ipv6::LEN..)?,
            (
                address(ipv6::SOURCE_OFFSET),
                address(ipv6::DESTINATION_OFFSET),
            ),
            head.be32(icmpv6::MTU_OFFSET),
        )
    }

    /// The report that quotes this datagram, or as much as there is of it.
    fn of_datagram(
        datagram: &[u8],
        (local, remote): (VtepAddr, VtepAddr),
        mtu: u32,
    ) -> Option<Self> {
        let head = datagram.window::<{ udp::LEN }>(0)?;
        let vni = match datagram.window::<{ vxlan::LEN }>(udp::LEN) {
            Some(header) => {
                let decoded = vxlan::decode(header.be32(0), header.be32(4))?;
                Some(decoded.vni.get())
            }
            None => None,
        };
        Some(Self {
            local,
            remote,
            source_port: head.be16(0),
            udp_port: head.be16(udp::DESTINATION_OFFSET),
            vni,
            mtu,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    /// A packet of ours from 192.0.2.1, port 50000, to 192.0.2.2, port 4789, in VNI 100, up to `len` bytes of it.
    fn quoted_v4(len: usize) -> Vec<u8> {
        let mut packet = vec![
            0x45, 0, 5, 220, 0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
        ];
        packet.extend([
            0xc3, 0x50, 0x12, 0xb5, 5, 200, 0, 0, 8, 0, 0, 0, 0, 0, 100, 0,
        ]);
        packet.resize(548, 7);
        packet.truncate(len);
        packet
    }

    /// The same over IPv6, from `2001:db8::1` to `2001:db8::2`.
    fn quoted_v6(len: usize) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 5, 180, 17, 64];
        for last in [1, 2] {
            packet.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        packet.extend(&quoted_v4(548)[20..]);
        packet.truncate(len);
        packet
    }

    /// A router's packet that quotes one, its own header with `options` bytes more.
    fn packet_v4(kind: u8, code: u8, mtu: u16, options: usize, quoted: &[u8]) -> Vec<u8> {
        let mut message = vec![kind, code, 0, 0, 0, 0];
        message.extend(mtu.to_be_bytes());
        message.extend(quoted);
        let mut sum: u32 = message
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
            .sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let sum = !u16::try_from(sum).unwrap();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut packet = vec![
            0x45 + u8::try_from(options / 4).unwrap(),
            0xc0,
            0,
            0,
            0,
            0,
            0,
            0,
            60,
            1,
            0,
            0,
        ];
        packet.extend([198, 51, 100, 1, 192, 0, 2, 1]);
        packet.resize(20 + options, 1);
        packet.extend(message);
        packet
    }

    fn message_v6(kind: u8, mtu: u32, quoted: &[u8]) -> Vec<u8> {
        let mut message = vec![kind, 0, 0, 0];
        message.extend(mtu.to_be_bytes());
        message.extend(quoted);
        message
    }

    fn report(local: &str, remote: &str, vni: Option<u32>, mtu: u32) -> PathReport {
        let address = |text: &str| VtepAddr::from(text.parse::<IpAddr>().unwrap());
        PathReport {
            local: address(local),
            remote: address(remote),
            source_port: 50_000,
            udp_port: 4789,
            vni,
            mtu,
        }
    }

    #[test]
    fn what_a_router_says_of_our_packet_is_read() {
        for (len, vni) in [(548, Some(100)), (36, Some(100)), (35, None), (28, None)] {
            let want = report("192.0.2.1", "192.0.2.2", vni, 1400);
            for options in [0, 40] {
                let packet = packet_v4(3, 4, 1400, options, &quoted_v4(len));
                assert_eq!(PathReport::read_v4(&packet), Some(want), "{len}");
            }
        }
        for (len, vni) in [(568, Some(100)), (56, Some(100)), (55, None), (48, None)] {
            let want = report("2001:db8::1", "2001:db8::2", vni, 1400);
            let message = message_v6(2, 1400, &quoted_v6(len));
            assert_eq!(PathReport::read_v6(&message), Some(want), "{len}");
        }
    }

    #[test]
    fn other_messages_say_nothing() {
        let quoted = quoted_v4(100);
        for (kind, code) in [(3, 3), (3, 0), (11, 4), (0, 4), (8, 4)] {
            assert_eq!(
                PathReport::read_v4(&packet_v4(kind, code, 1400, 0, &quoted)),
                None
            );
        }
        for kind in [1, 3, 4, 128, 0] {
            assert_eq!(
                PathReport::read_v6(&message_v6(kind, 1400, &quoted_v6(100))),
                None
            );
        }
    }

    #[test]
    fn a_wrong_checksum_says_nothing() {
        let mut packet = packet_v4(3, 4, 1400, 0, &quoted_v4(100));
        packet[60] ^= 1;
        assert_eq!(PathReport::read_v4(&packet), None);
    }

    #[test]
    fn what_quotes_no_packet_of_ours_says_nothing() {
        let v4 = |change: fn(&mut Vec<u8>)| {
            let mut quoted = quoted_v4(100);
            change(&mut quoted);
            PathReport::read_v4(&packet_v4(3, 4, 1400, 0, &quoted))
        };
        assert!(v4(|_| ()).is_some());
        assert_eq!(v4(|quoted| quoted[0] = 0x65), None, "no IPv4");
        assert_eq!(v4(|quoted| quoted[9] = 6), None, "no UDP");
        assert_eq!(v4(|quoted| quoted[7] = 1), None, "no first fragment");
        assert_eq!(v4(|quoted| quoted[28] = 0), None, "no VNI");
        let v6 = |change: fn(&mut Vec<u8>)| {
            let mut quoted = quoted_v6(100);
            change(&mut quoted);
            PathReport::read_v6(&message_v6(2, 1400, &quoted))
        };
        assert!(v6(|_| ()).is_some());
        assert_eq!(v6(|quoted| quoted[0] = 0x45), None, "no IPv6");
        assert_eq!(v6(|quoted| quoted[6] = 44), None, "no UDP");
        assert_eq!(v6(|quoted| quoted[48] = 0), None, "no VNI");
    }

    #[test]
    fn what_is_cut_off_before_the_ports_says_nothing() {
        for len in 0..28 {
            assert_eq!(
                PathReport::read_v4(&packet_v4(3, 4, 1400, 0, &quoted_v4(len))),
                None
            );
        }
        for len in 0..48 {
            assert_eq!(
                PathReport::read_v6(&message_v6(2, 1400, &quoted_v6(len))),
                None
            );
        }
        let whole = packet_v4(3, 4, 1400, 0, &quoted_v4(100));
        for len in 0..whole.len() {
            assert_eq!(
                PathReport::read_v4(&whole[..len]),
                None,
                "the checksum is wrong"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let quoting = (packet_v4(3, 4, 1400, 0, &bytes), message_v6(2, 1400, &bytes));
            let read = [
                PathReport::read_v4(&bytes),
                PathReport::read_v6(&bytes),
                PathReport::read_v4(&quoting.0),
                PathReport::read_v6(&quoting.1),
            ];
            for report in read.into_iter().flatten() {
                prop_assert!(report.vni.is_none_or(|vni| vni >> 24 == 0));
            }
        }
    }
}
