//! Every segment of a GSO packet.

use std::collections::HashSet;
use std::net::IpAddr;

use vtep_tests::dump::assert_same;
use vtep_tests::encoder::inner::{self};
use vtep_tests::encoder::{Mac, checksum, eth, pattern, pseudo};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, VM, Wire};
use vtep_tests::link::Link as _;
use vtep_tests::link::tap::GsoType;
use vtep_tests::over_each_family;
use vtep_tests::wait::DEADLINE;

use crate::{assert_encapsulated, flood_to, source_port};

over_each_family! {
    every_segment_of_a_tcp_gso_packet_is_right,
    every_segment_of_a_udp_gso_packet_is_right,
    every_segment_of_a_flooded_gso_packet_is_right,
}

fn every_segment_of_a_tcp_gso_packet_is_right(family: Family) {
    segments_are_right(&Wire::with_vnet_port(family), FAR_VM, GsoType::Tcp);
}

fn every_segment_of_a_udp_gso_packet_is_right(family: Family) {
    segments_are_right(&Wire::with_vnet_port(family), FAR_VM, GsoType::Udp);
}

fn every_segment_of_a_flooded_gso_packet_is_right(family: Family) {
    let wire = Wire::with_vnet_port(family);
    flood_to(&wire, wire.far_ip);

    for transport in [GsoType::Tcp, GsoType::Udp] {
        segments_are_right(&wire, Mac::nth(0x99), transport);
    }
}

/// Sends GSO packets, and compares every segment on the underlay with what it is to be.
fn segments_are_right(wire: &Wire, to: Mac, transport: GsoType) {
    const SIZE: u16 = 1000;
    let ((a4, b4), (a6, b6)) = (inner::v4(), inner::v6());
    let protocol = transport.protocol();

    for (src, dst) in [(IpAddr::from(a4), IpAddr::from(b4)), (a6.into(), b6.into())] {
        let data = pattern(5, 20_500);
        let l4 = 14 + if src.is_ipv4() { 20 } else { 40 };
        let (sum_at, payload) = (l4 + transport.sum_at(), l4 + transport.header_len());
        let head = eth(VM, to).ip(src, dst);
        let head = match transport {
            GsoType::Tcp => head.tcp(1, 2, 1_000_000),
            GsoType::Udp => head.udp(1, 2),
        };
        let mut big = head.bytes(&data).build();
        // As a guest hands it over: the checksum field holds the sum of the pseudo header alone.
        let len = u32::try_from(big.len() - l4).unwrap();
        let sum = !checksum(&[&pseudo(src, dst, protocol, len)]);
        big[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
        wire.port.send_gso(&big, transport, SIZE, l4);

        let mut got = vec![];
        let packets = wire.uplink.collect(DEADLINE, |seen| {
            seen.iter().filter(|frame| wire.is_vxlan(frame)).count() == 21
        });
        let packets: Vec<_> = packets
            .iter()
            .filter(|frame| wire.is_vxlan(frame))
            .collect();
        assert_eq!(packets.len(), 21, "segments on the wire");
        let ports: HashSet<u16> = packets
            .iter()
            .map(|packet| source_port(wire, packet))
            .collect();
        assert_eq!(ports.len(), 1, "one flow, one source port");
        for packet in packets {
            let inner = &packet[wire.family.outer_len()..];
            assert_encapsulated(wire, packet, inner, "a segment");
            let len = u32::try_from(inner.len() - l4).unwrap();
            assert_ne!(inner[sum_at..sum_at + 2], [0, 0], "no checksum");
            assert_eq!(
                checksum(&[&pseudo(src, dst, protocol, len), &inner[l4..]]),
                0,
                "{transport:?} checksum"
            );
            if src.is_ipv4() {
                assert_eq!(checksum(&[&inner[14..34]]), 0, "inner IPv4 checksum");
            }
            let word = u32::from_be_bytes(inner[l4 + 4..l4 + 8].try_into().unwrap());
            match transport {
                GsoType::Tcp => {
                    let seq = u32::try_from(1_000_000 + got.len()).unwrap();
                    assert_eq!(word, seq, "sequence");
                }
                GsoType::Udp => assert_eq!(word >> 16, len, "UDP length"),
            }
            let left = data.len() - got.len();
            let size = left.min(SIZE.into());
            assert_eq!(inner.len() - payload, size, "as large as the guest asked");
            got.extend(&inner[payload..]);
        }
        assert_same(&got, &data, "the payload");
    }
}
