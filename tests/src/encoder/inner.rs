//! The inner frames that every encapsulation has to carry byte for byte.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::encoder::{Frame, Mac, eth};
use crate::traffic::{inner_v4, inner_v6};

/// The address of the VM that frames come from.
pub const SOURCE: u8 = 0x0a;
/// The address of the VM that frames go to.
pub const DESTINATION: u8 = 0x0b;

/// Both ends in the segment, IPv4.
#[must_use]
pub const fn v4() -> (Ipv4Addr, Ipv4Addr) {
    (inner_v4(SOURCE), inner_v4(DESTINATION))
}

/// Both ends in the segment, IPv6.
#[must_use]
pub fn v6() -> (Ipv6Addr, Ipv6Addr) {
    (inner_v6(SOURCE), inner_v6(DESTINATION))
}

/// A small UDP packet over IPv4.
#[must_use]
pub fn udp4(src: Mac, dst: Mac) -> Frame {
    let (from, to) = v4();
    eth(src, dst).ipv4(from, to).udp(1000, 2000).payload(1, 100)
}

/// A small UDP packet over IPv6.
#[must_use]
pub fn udp6(src: Mac, dst: Mac) -> Frame {
    let (from, to) = v6();
    eth(src, dst).ipv6(from, to).udp(1000, 2000).payload(1, 100)
}

/// A frame of every sort that a VM may send, with what it is.
#[must_use]
#[expect(clippy::too_many_lines, reason = "a list, one entry for each sort")]
pub fn every_sort(src: Mac, dst: Mac) -> Vec<(&'static str, Vec<u8>)> {
    let head = || eth(src, dst);
    let ((a4, b4), (a6, b6)) = (v4(), v6());
    let ip4 = || head().ipv4(a4, b4);
    let ip6 = || head().ipv6(a6, b6);
    let spoiled = |frame: Frame, at: usize| {
        let mut bytes = frame.build();
        bytes[at] ^= 0x5a;
        bytes
    };
    let padded = |frame: Frame, pad: &[u8]| [frame.build(), pad.to_vec()].concat();
    vec![
        ("ARP request", head().arp_request((src, a4), b4).build()),
        (
            "ARP request, padded",
            padded(head().arp_request((src, a4), b4), &[0; 18]),
        ),
        ("no payload at all", head().ethertype(0x88cc).build()),
        (
            "non-IP, one byte",
            head().ethertype(0x88cc).payload(1, 1).build(),
        ),
        (
            "non-IP, odd length",
            head().ethertype(0x88cc).payload(2, 333).build(),
        ),
        (
            "non-IP, full size",
            head().ethertype(0x88cc).payload(3, 1400).build(),
        ),
        (
            "802.3 length field",
            head().ethertype(38).payload(4, 38).build(),
        ),
        ("IPv4 UDP", ip4().udp(1, 2).payload(5, 64).build()),
        ("IPv4 UDP, empty", ip4().udp(1, 2).build()),
        (
            "IPv4 UDP, odd length",
            ip4().udp(1, 2).payload(6, 1399).build(),
        ),
        (
            "IPv4 UDP without checksum",
            ip4().udp_unchecked(1, 2).payload(7, 65).build(),
        ),
        (
            "IPv4 UDP, wrong checksum",
            spoiled(ip4().udp(1, 2).payload(8, 65), 40),
        ),
        (
            "IPv4 UDP, padded",
            padded(ip4().udp(1, 2).bytes(&[1]), &[0xee; 17]),
        ),
        ("IPv4 TCP", ip4().tcp(1, 2, 3).payload(9, 1200).build()),
        (
            "IPv4 TCP, odd length",
            ip4().tcp(1, 2, 3).payload(10, 77).build(),
        ),
        (
            "IPv4 TCP, wrong checksum",
            spoiled(ip4().tcp(1, 2, 3).payload(11, 77), 50),
        ),
        (
            "IPv4 TCP, padded",
            padded(ip4().tcp(1, 2, 3), &[0x11, 0x22, 0x33, 0x44, 0x55]),
        ),
        (
            "IPv4 TCP, DF and DSCP",
            ip4().df().tos(0xb8).tcp(1, 2, 3).payload(12, 100).build(),
        ),
        (
            "IPv4 with options",
            ip4()
                .options(&[1, 1, 1, 0])
                .udp(1, 2)
                .payload(13, 50)
                .build(),
        ),
        (
            "IPv4 first fragment",
            ip4().fragment(77, 0x2000).udp(1, 2).payload(14, 56).build(),
        ),
        (
            "IPv4 later fragment",
            ip4().fragment(77, 8).protocol(17).payload(15, 57).build(),
        ),
        ("IPv4 ICMP", ip4().icmp_echo(1, 2).payload(16, 56).build()),
        ("IPv4, unknown protocol", ip4().payload(17, 31).build()),
        (
            "IPv4, wrong header checksum",
            spoiled(ip4().udp(1, 2).payload(18, 50), 24),
        ),
        (
            "IPv4, total length too long",
            spoiled(ip4().udp(1, 2).payload(19, 50), 16),
        ),
        (
            "IPv4, header length 0",
            head().ethertype(0x0800).bytes(&[0x40; 40]).build(),
        ),
        ("IPv6 UDP", ip6().udp(1, 2).payload(20, 64).build()),
        (
            "IPv6 UDP, odd length",
            ip6().udp(1, 2).payload(21, 1377).build(),
        ),
        (
            "IPv6 UDP without checksum",
            ip6().udp_unchecked(1, 2).payload(22, 65).build(),
        ),
        (
            "IPv6 UDP, wrong checksum",
            spoiled(ip6().udp(1, 2).payload(23, 65), 60),
        ),
        ("IPv6 TCP", ip6().tcp(1, 2, 3).payload(24, 1200).build()),
        (
            "IPv6 TCP, odd length",
            ip6().tcp(1, 2, 3).payload(25, 1).build(),
        ),
        (
            "IPv6 TCP, wrong checksum",
            spoiled(ip6().tcp(1, 2, 3).payload(26, 8), 70),
        ),
        (
            "IPv6 ICMPv6",
            ip6().icmp6_echo(1, 2).payload(27, 56).build(),
        ),
        (
            "IPv6 neighbour question",
            ip6().icmp6(135, [0; 4]).bytes(&b6.octets()).build(),
        ),
        (
            "IPv6 with hop-by-hop",
            ip6()
                .options(&[0, 0, 1, 4, 0, 0, 0, 0])
                .udp(1, 2)
                .payload(28, 9)
                .build(),
        ),
        (
            "IPv6 fragment",
            ip6()
                .protocol(44)
                .bytes(&[17, 0, 0, 1, 0, 0, 0, 9])
                .payload(29, 64)
                .build(),
        ),
        (
            "all ones, even",
            head().ethertype(0x88cc).bytes(&[0xff; 64]).build(),
        ),
        (
            "all zeroes",
            head().ethertype(0x88cc).bytes(&[0; 64]).build(),
        ),
        (
            "MACsec, which nobody looks into",
            head().ethertype(0x88e5).payload(30, 99).build(),
        ),
        (
            "a VXLAN packet itself",
            ip4()
                .udp(50000, 4789)
                .vxlan(5)
                .eth(dst, src)
                .ethertype(0x88cc)
                .payload(31, 99)
                .build(),
        ),
    ]
}

/// IP frames without a whole IP header, which the kernel's `vxlan` device drops in silence.
#[must_use]
pub fn headless(src: Mac, dst: Mac) -> Vec<(&'static str, Vec<u8>)> {
    let head = || eth(src, dst);
    vec![
        (
            "IPv4, header cut off",
            head().ethertype(0x0800).bytes(&[0x45, 0, 0]).build(),
        ),
        (
            "IPv6, header cut off",
            head().ethertype(0x86dd).bytes(&[0x60; 39]).build(),
        ),
    ]
}
