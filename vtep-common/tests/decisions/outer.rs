//! The outer headers of a received packet: what is ours, what is not, and what is ours but bad.

use vtep_common::{
    abi::reason::{Class, Reason},
    frame::outer::{Outer, parse},
    testkit::{
        build::{Fragment, Ip, Underlay},
        frames::{PLAIN, PORT_ACCESS, World, unicast},
    },
    wire::{ethernet, ipv4, ipv6, udp, vxlan},
};

use crate::shared::{OURS_V4, OURS_V6, REMOTE_V4, REMOTE_V6, udp_frame, underlays};

/// Bytes of the outer headers over each family, up to the UDP header.
const TO_UDP: [usize; 2] = [ethernet::LEN + ipv4::LEN, ethernet::LEN + ipv6::LEN];

fn read(frame: &[u8]) -> Result<Outer, Reason> {
    parse(frame, false, &World::default().tables)
}

fn inner() -> Vec<u8> {
    udp_frame(unicast(PLAIN, PORT_ACCESS))
}

#[test]
fn sound_headers_are_read_over_both_families() {
    for (mut underlay, inner_offset) in underlays(0x12_3456).into_iter().zip([50, 70]) {
        underlay.ip.tos = 0xb9;
        let frame = underlay.frame(&inner());

        let outer = read(&frame).unwrap();

        assert_eq!(outer.addresses.source, underlay.ip.source.into());
        assert_eq!(outer.v6, underlay.ip.source.is_ipv6());
        assert_eq!(outer.tos, 0xb9);
        assert_eq!(outer.addresses.vni, 0x12_3456);
        assert!(!outer.reserved);
        assert_eq!(outer.inner_offset(), inner_offset);
        assert_eq!(outer.end, frame.len());
    }
}

#[test]
fn a_packet_cut_anywhere_is_not_decapsulated() {
    for (underlay, to_udp) in underlays(100).into_iter().zip(TO_UDP) {
        let frame = underlay.frame(&inner());
        for len in 0..frame.len() {
            // Until its UDP header is there, it is for the host's stack to refuse.
            let want = if len < to_udp + udp::LEN {
                Reason::NotVxlan
            } else {
                Reason::Truncated
            };
            assert_eq!(read(&frame[..len]), Err(want), "cut to {len}");
        }
    }
}

#[test]
fn a_packet_whose_ip_length_is_too_small_or_too_large_is_truncated() {
    for mut underlay in underlays(100) {
        let sound = underlay.frame(&inner()).len() - ethernet::LEN;
        let sound = u16::try_from(sound).unwrap();
        // Less than UDP and VXLAN need, nothing at all, and more than there is. IPv6 does not count its own header.
        for len in [0, 10, 15, sound + 1, u16::MAX] {
            underlay.ip.len = Some(len);
            assert_eq!(read(&underlay.frame(&inner())), Err(Reason::Truncated));
        }
    }
}

#[test]
fn bytes_after_the_ip_packet_are_not_part_of_it() {
    for underlay in underlays(100) {
        let frame = underlay.frame(&inner());
        let padded = [frame.as_slice(), &[0; 7]].concat();
        assert_eq!(read(&padded).unwrap().end, frame.len());
    }
}

#[test]
fn a_udp_length_that_does_not_fit_is_refused_both_ways() {
    for mut underlay in underlays(100) {
        let sound = u16::try_from(16 + inner().len()).unwrap();
        for len in [0, 7, 8, 15, sound + 1, u16::MAX] {
            underlay.udp_len = Some(len);
            let got = read(&underlay.frame(&inner()));
            assert_eq!(got, Err(Reason::UdpLength), "UDP length {len}");
        }
        for len in [16, sound - 1] {
            underlay.udp_len = Some(len);
            let outer = read(&underlay.frame(&inner())).unwrap();
            let carried = usize::from(len) - 16;
            assert_eq!(outer.end, outer.inner_offset() + carried);
        }
    }
}

#[test]
fn the_lengths_of_a_gro_packet_are_not_looked_at() {
    for mut underlay in underlays(100) {
        underlay.ip.len = Some(0);
        underlay.udp_len = Some(0);
        let frame = underlay.frame(&inner());
        let outer = parse(frame.as_slice(), true, &World::default().tables).unwrap();
        assert_eq!(outer.end, frame.len());
    }
}

#[test]
fn a_wrong_ipv4_header_checksum_is_refused() {
    let [underlay, _] = underlays(100);
    let frame = underlay.frame(&inner());
    for at in [ipv4::CHECKSUM_OFFSET, ipv4::TOS_OFFSET, ipv4::TTL_OFFSET] {
        let mut bad = frame.clone();
        bad[ethernet::LEN + at] ^= 0x40;
        assert_eq!(read(&bad), Err(Reason::OuterChecksum));
    }
    let mut zero = frame;
    zero[24..26].fill(0);
    assert_eq!(read(&zero), Err(Reason::OuterChecksum));
}

#[test]
fn ipv4_options_are_left_to_the_stack_if_the_packet_is_ours() {
    for options in (4..=40).step_by(4) {
        let [mut underlay, _] = underlays(100);
        underlay.ip.options = options;
        assert_eq!(read(&underlay.frame(&inner())), Err(Reason::LeftToStack));
        underlay.udp_port = 53;
        assert_eq!(read(&underlay.frame(&inner())), Err(Reason::NotVxlan));
    }
}

#[test]
fn ipv6_extension_headers_are_left_to_the_stack_if_the_packet_is_ours() {
    for extension in [ipv6::HOP_BY_HOP, ipv6::ROUTING, ipv6::DESTINATION_OPTIONS] {
        let [_, mut underlay] = underlays(100);
        underlay.ip.extension = Some(extension);
        assert_eq!(read(&underlay.frame(&inner())), Err(Reason::LeftToStack));
        underlay.ip.destination = "2001:db8::77".parse().unwrap();
        assert_eq!(read(&underlay.frame(&inner())), Err(Reason::NotVxlan));
    }
}

#[test]
fn headers_that_no_vxlan_sender_uses_are_not_vxlan() {
    for (extension, name) in [(51, "AH"), (50, "ESP"), (6, "TCP"), (59, "none")] {
        let [_, mut underlay] = underlays(100);
        underlay.ip.extension = Some(extension);
        let got = read(&underlay.frame(&inner()));
        assert_eq!(got, Err(Reason::NotVxlan), "{name}");
    }
}

#[test]
fn the_first_fragment_is_dropped_and_later_ones_pass() {
    for mut underlay in underlays(100) {
        let mut with = |offset, more| {
            underlay.ip.fragment = Some(Fragment { offset, more });
            read(&underlay.frame(&inner()))
        };
        assert_eq!(with(0, true), Err(Reason::OuterFragment));
        assert_eq!(with(1, true), Err(Reason::NotVxlan));
        assert_eq!(with(185, false), Err(Reason::NotVxlan));
        assert_eq!(with(0x1fff, false), Err(Reason::NotVxlan));
    }
}

#[test]
fn fragments_for_others_pass() {
    for mut underlay in underlays(100) {
        underlay.ip.fragment = Some(Fragment {
            offset: 0,
            more: true,
        });
        let mut to_another_port = underlay.clone();
        to_another_port.udp_port = 53;
        let got = read(&to_another_port.frame(&inner()));
        assert_eq!(got, Err(Reason::NotVxlan));

        let v6 = underlay.ip.source.is_ipv6();
        let other = if v6 { "2001:db8::77" } else { "192.0.2.77" };
        underlay.ip.destination = other.parse().unwrap();
        let got = read(&underlay.frame(&inner()));
        assert_eq!(got, Err(Reason::NotOurAddress));
    }
}

#[test]
fn an_atomic_ipv6_fragment_is_dropped_as_a_fragment() {
    let [_, mut underlay] = underlays(100);
    underlay.ip.fragment = Some(Fragment {
        offset: 0,
        more: false,
    });
    assert_eq!(read(&underlay.frame(&inner())), Err(Reason::OuterFragment));
}

#[test]
fn dont_fragment_is_no_fragment() {
    let [mut underlay, _] = underlays(100);
    underlay.ip.dont_fragment = true;
    assert!(read(&underlay.frame(&inner())).is_ok());
}

#[test]
fn another_port_or_address_is_not_ours() {
    for mut underlay in underlays(100) {
        for port in [0, 53, 4788, 4790, 8472, 46_354] {
            underlay.udp_port = port;
            assert_eq!(read(&underlay.frame(&inner())), Err(Reason::NotVxlan));
        }
    }
    for (from, to) in [
        (REMOTE_V4, "192.0.2.2"),
        (REMOTE_V4, "224.0.0.1"),
        (REMOTE_V6, "2001:db8::2"),
        (REMOTE_V6, "ff02::1"),
    ] {
        let frame = Underlay::new(Ip::between(from, to), 100).frame(&inner());
        assert_eq!(read(&frame), Err(Reason::NotOurAddress), "{from} to {to}");
    }
}

#[test]
fn the_configured_port_is_the_one_that_counts() {
    let mut world = World::default();
    world.tables.config.udp_port = 8472;
    for mut underlay in underlays(100) {
        let frame = underlay.frame(&inner());
        let got = parse(frame.as_slice(), false, &world.tables);
        assert_eq!(got, Err(Reason::NotVxlan));
        underlay.udp_port = 8472;
        let frame = underlay.frame(&inner());
        assert!(parse(frame.as_slice(), false, &world.tables).is_ok());
    }
}

#[test]
fn other_protocols_and_ethertypes_pass() {
    let mut frames = Vec::new();
    for (from, to) in [(REMOTE_V4, OURS_V4), (REMOTE_V6, OURS_V6)] {
        let ip = Ip::between(from, to);
        for protocol in [1, 6, 47, 58, 132] {
            let packet = ip.packet(protocol, &[0x12; 60]);
            let mut frame = vec![2; 12];
            frame.extend(ip.ethertype().to_be_bytes());
            frame.extend(packet);
            frames.push(frame);
        }
    }
    for underlay in underlays(100) {
        let sound = underlay.frame(&inner());
        for ethertype in [0x0806_u16, 0x8100, 0x88a8, 0x8847, 0x0600] {
            let mut frame = sound.clone();
            frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
            frames.push(frame);
        }
        // A version that is not that of the EtherType.
        let mut frame = sound;
        frame[14] ^= 0x20;
        frames.push(frame);
    }
    for frame in frames {
        assert_eq!(read(&frame), Err(Reason::NotVxlan), "{frame:02x?}");
    }
}

#[test]
fn an_ipv4_header_length_below_the_least_is_not_vxlan() {
    let [underlay, _] = underlays(100);
    let sound = underlay.frame(&inner());
    for ihl in 0..5 {
        let mut frame = sound.clone();
        frame[14] = 0x40 | ihl;
        assert_eq!(read(&frame), Err(Reason::NotVxlan));
    }
}

#[test]
fn a_clear_i_flag_is_refused_whatever_else_is_set() {
    for mut underlay in underlays(100) {
        for first in [0, !vxlan::FLAG_I] {
            underlay.first = first;
            let got = read(&underlay.frame(&inner()));
            assert_eq!(got, Err(Reason::VniFlagClear));
        }
    }
}

#[test]
fn reserved_bits_are_seen_and_do_not_matter_here() {
    for mut underlay in underlays(100) {
        for bit in (0..32).filter(|bit| 1 << bit != vxlan::FLAG_I) {
            underlay.first = vxlan::FLAG_I | 1 << bit;
            let outer = read(&underlay.frame(&inner())).unwrap();
            assert_eq!((outer.addresses.vni, outer.reserved), (100, true));
        }
        underlay.first = vxlan::FLAG_I;
        for bit in 0..8 {
            underlay.second = 100 << 8 | 1 << bit;
            let outer = read(&underlay.frame(&inner())).unwrap();
            assert_eq!((outer.addresses.vni, outer.reserved), (100, true));
        }
    }
}

#[test]
fn without_a_daemon_everything_passes() {
    let none = vtep_common::sim::HostTables::default();
    for underlay in underlays(100) {
        let frame = underlay.frame(&inner());
        let got = parse(frame.as_slice(), false, &none).unwrap_err();
        assert_eq!(got.class(), Class::Passed);
    }
}
