//! The headers of a frame in words: what an operator wants to recognize it by, in a trace and in a capture.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vtep_common::{
    abi::addr::MacAddr,
    frame::packet::Tag,
    wire::{arp, ethernet, icmp, icmpv6, ipv4, ipv6, tcp, udp, vlan, vxlan},
};

/// Bytes of an outer header over IPv4, and over IPv6.
const OUTER_LEN: [usize; 2] = [
    ethernet::LEN + ipv4::LEN + udp::LEN + vxlan::LEN,
    ethernet::LEN + ipv6::LEN + udp::LEN + vxlan::LEN,
];

/// Types of messages (RFC 792; RFC 4443 sections 4.1 and 4.2).
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// A frame: its length, its MACs, its tags, and what it carries.
pub(crate) fn frame(frame: &[u8], skb_tag: Option<Tag>) -> String {
    let len = frame.len() + skb_tag.map_or(0, |_| vlan::LEN);
    start_of_frame(len, frame, skb_tag)
}

/// A frame of `len` bytes, of which some may be missing at its end.
pub(crate) fn start_of_frame(len: usize, frame: &[u8], skb_tag: Option<Tag>) -> String {
    let Some((destination, source, mut rest)) = macs(frame) else {
        return format!("{len} bytes, less than an Ethernet header");
    };
    let mut words = format!("{len} bytes from {source} to {destination}");
    if let Some(tag) = skb_tag {
        words += &tag_words(tag);
    }
    loop {
        let Some((ethertype, behind)) = be16(rest) else {
            return words + ", cut behind its MACs";
        };
        rest = behind;
        if !vlan::is_tag(ethertype) {
            return words + ", " + &payload(ethertype, rest);
        }
        let Some((tci, behind)) = be16(rest) else {
            return words + ", cut within its tag";
        };
        rest = behind;
        words += &tag_words(Tag {
            tpid: ethertype,
            tci,
        });
    }
}

/// The outer headers of a packet that was encapsulated: as they are, and in words.
pub(crate) fn outer(packet: &[u8]) -> Option<(&[u8], String)> {
    let (destination, source, rest) = macs(packet)?;
    let (ethertype, ip) = be16(rest)?;
    let (len, more) = match ethertype {
        ethernet::TYPE_IPV4 => {
            let (ttl, tos) = (ip.get(ipv4::TTL_OFFSET)?, ip.get(ipv4::TOS_OFFSET)?);
            (OUTER_LEN[0], format!("TTL {ttl}, TOS {tos:#04x}"))
        }
        ethernet::TYPE_IPV6 => {
            let class = ipv6::traffic_class(word(ip, 0)?);
            let limit = ip.get(ipv6::HOP_LIMIT_OFFSET)?;
            let more = format!("hop limit {limit}, traffic class {class:#04x}");
            (OUTER_LEN[1], more)
        }
        _ => return None,
    };
    let header = packet.get(..len)?;
    let vni = header.get(len - 4..)?.first_chunk()?;
    let vni = u32::from_be_bytes(*vni) >> 8;
    let carries = payload(ethertype, ip);
    let words = format!("{source} to {destination}, {carries}, {more}, VNI {vni}");
    Some((header, words))
}

fn tag_words(tag: Tag) -> String {
    let kind = if tag.tpid == vlan::TYPE_8021Q {
        "VLAN"
    } else {
        "802.1ad VLAN"
    };
    format!(", {kind} {}", tag.vid())
}

/// What a frame carries.
fn payload(ethertype: u16, bytes: &[u8]) -> String {
    let read = match ethertype {
        ethernet::TYPE_IPV4 => packet_v4(bytes),
        ethernet::TYPE_IPV6 => packet_v6(bytes),
        arp::ETHERTYPE => message_arp(bytes),
        length if length < ethernet::FIRST_TYPE => Some("an LLC frame".to_owned()),
        other => Some(format!("EtherType {other:#06x}")),
    };
    read.unwrap_or_else(|| "cut within its headers".to_owned())
}

fn packet_v4(bytes: &[u8]) -> Option<String> {
    let len = ipv4::header_len(*bytes.first()?)?;
    let from = Ipv4Addr::from(*bytes.get(ipv4::SOURCE_OFFSET..)?.first_chunk::<4>()?);
    let to = Ipv4Addr::from(*bytes.get(ipv4::DESTINATION_OFFSET..)?.first_chunk::<4>()?);
    let protocol = *bytes.get(ipv4::PROTOCOL_OFFSET)?;
    let fragment = word(bytes, ipv4::FRAGMENT_OFFSET)?;
    let above = if fragment & (ipv4::MF | ipv4::FRAGMENT_MASK) == 0 {
        segment(protocol, bytes.get(len..)?)
    } else {
        "a fragment".to_owned()
    };
    let df = if fragment & ipv4::DF == 0 { "" } else { ", DF" };
    Some(format!("IPv4 {from} to {to}, {above}{df}"))
}

fn packet_v6(bytes: &[u8]) -> Option<String> {
    let from = Ipv6Addr::from(*bytes.get(ipv6::SOURCE_OFFSET..)?.first_chunk::<16>()?);
    let to = Ipv6Addr::from(*bytes.get(ipv6::DESTINATION_OFFSET..)?.first_chunk::<16>()?);
    let next = *bytes.get(ipv6::NEXT_HEADER_OFFSET)?;
    let above = segment(next, bytes.get(ipv6::LEN..)?);
    Some(format!("IPv6 {from} to {to}, {above}"))
}

/// What an IP packet carries.
fn segment(protocol: u8, bytes: &[u8]) -> String {
    let name = match protocol {
        tcp::PROTOCOL => "TCP",
        udp::PROTOCOL => "UDP",
        icmp::PROTOCOL => return message_v4(bytes).to_owned(),
        icmpv6::PROTOCOL => return message_v6(bytes),
        ipv6::FRAGMENT => return "a fragment".to_owned(),
        other => return format!("protocol {other}"),
    };
    match (word(bytes, 0), word(bytes, 2)) {
        (Some(from), Some(to)) => format!("{name} {from} to {to}"),
        _ => format!("{name}, cut within its header"),
    }
}

/// An `ICMPv4` message.
const fn message_v4(bytes: &[u8]) -> &'static str {
    match bytes.first() {
        Some(&ECHO_REQUEST) => "ICMP echo request",
        Some(&ECHO_REPLY) => "ICMP echo reply",
        _ => "ICMP",
    }
}

/// An `ICMPv6` message.
fn message_v6(bytes: &[u8]) -> String {
    let target = || {
        let target = bytes.get(icmpv6::TARGET_OFFSET..)?.first_chunk::<16>()?;
        Some(Ipv6Addr::from(*target))
    };
    match (bytes.first(), target()) {
        (Some(&icmpv6::SOLICITATION), Some(target)) => {
            format!("neighbour solicitation for {target}")
        }
        (Some(&icmpv6::ADVERTISEMENT), Some(target)) => {
            format!("neighbour advertisement of {target}")
        }
        (Some(&ECHO_REQUEST_V6), _) => "ICMPv6 echo request".to_owned(),
        (Some(&ECHO_REPLY_V6), _) => "ICMPv6 echo reply".to_owned(),
        _ => "ICMPv6".to_owned(),
    }
}

/// An ARP message, as tcpdump says it.
fn message_arp(bytes: &[u8]) -> Option<String> {
    let address = |at| {
        let bytes: &[u8; 4] = bytes.get(at..)?.first_chunk()?;
        Some(IpAddr::from(*bytes))
    };
    let (sender, target) = (address(arp::SENDER_OFFSET)?, address(arp::TARGET_OFFSET)?);
    Some(match word(bytes, arp::OPERATION_OFFSET)? {
        arp::REQUEST => format!("ARP, Request who-has {target} tell {sender}"),
        arp::REPLY => {
            let mac = bytes.get(arp::SENDER_MAC_OFFSET..)?.first_chunk()?;
            format!("ARP, Reply {sender} is-at {}", MacAddr::from_bytes(*mac))
        }
        other => format!("ARP, operation {other}"),
    })
}

/// Destination, source, and what stands behind.
fn macs(frame: &[u8]) -> Option<(MacAddr, MacAddr, &[u8])> {
    let (destination, rest) = frame.split_first_chunk()?;
    let (source, rest) = rest.split_first_chunk()?;
    let mac = |bytes: &[u8; 6]| MacAddr::from_bytes(*bytes);
    Some((mac(destination), mac(source), rest))
}

/// A word, and what stands behind.
fn be16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*word), rest))
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(be16(bytes.get(at..)?)?.0)
}

#[cfg(test)]
mod tests {
    use vtep_common::testkit::build::{Checksum, Ip, Underlay};

    use super::*;

    fn ethernet(ip: &Ip, packet: &[u8]) -> Vec<u8> {
        let (to, from) = (
            MacAddr::from_bytes([2, 0, 0, 0, 0, 0xb]),
            MacAddr::from_bytes([2, 0, 0, 0, 0, 0xa]),
        );
        vtep_common::testkit::build::ethernet(to, from, &[], ip.ethertype(), packet)
    }

    #[test]
    fn a_frame_is_recognized_by_its_words() {
        let ip = Ip::between("10.0.0.1", "10.0.0.2");
        let bytes = ethernet(&ip, &ip.udp((1000, 2000), Checksum::Complete, &[0; 20]));
        assert_eq!(
            frame(&bytes, None),
            "62 bytes from 02:00:00:00:00:0a to 02:00:00:00:00:0b, IPv4 10.0.0.1 to 10.0.0.2, UDP 1000 to 2000"
        );
        let ip = Ip::between("fd00::1", "fd00::2");
        let bytes = ethernet(&ip, &ip.tcp((1, 2), Checksum::Complete, &[]));
        let words = frame(
            &bytes,
            Some(Tag {
                tpid: vlan::TYPE_8021Q,
                tci: 0x2007,
            }),
        );
        assert_eq!(
            words,
            "78 bytes from 02:00:00:00:00:0a to 02:00:00:00:00:0b, VLAN 7, IPv6 fd00::1 to fd00::2, TCP 1 to 2"
        );
    }

    #[test]
    fn messages_are_told_by_what_they_ask_and_answer() {
        let ip = Ip::between("10.0.0.1", "10.0.0.2");
        let echo = |kind| {
            ethernet(
                &ip,
                &ip.packet(icmp::PROTOCOL, &[kind, 0, 0, 0, 0, 0, 0, 0]),
            )
        };
        let arp = |operation| {
            let head = [0, 1, 8, 0, 6, 4, 0, operation];
            let sender = [2, 0, 0, 0, 0, 0xa, 10, 0, 0, 1];
            [
                &[2; 12][..],
                &[8, 6],
                &head,
                &sender,
                &[0; 6],
                &[10, 0, 0, 2],
            ]
            .concat()
        };
        for (bytes, words) in [
            (echo(8), "IPv4 10.0.0.1 to 10.0.0.2, ICMP echo request"),
            (echo(0), "IPv4 10.0.0.1 to 10.0.0.2, ICMP echo reply"),
            (arp(1), "ARP, Request who-has 10.0.0.2 tell 10.0.0.1"),
            (arp(2), "ARP, Reply 10.0.0.1 is-at 02:00:00:00:00:0a"),
            (arp(9), "ARP, operation 9"),
        ] {
            let said = frame(&bytes, None);
            assert!(said.ends_with(&format!(", {words}")), "{said}");
        }
        let cut = start_of_frame(1_500, &arp(1)[..30], None);
        assert!(
            cut.starts_with("1500 bytes from ") && cut.ends_with("cut within its headers"),
            "{cut}"
        );
    }

    #[test]
    fn no_length_of_a_frame_is_too_short_for_words() {
        let ip = Ip::between("fd00::1", "fd00::2");
        let whole = Underlay::new(Ip::between("192.0.2.1", "192.0.2.2"), 100)
            .frame(&ethernet(&ip, &ip.tcp((1, 2), Checksum::Complete, &[])));
        for len in 0..whole.len() {
            let words = frame(&whole[..len], None);
            assert!(words.starts_with(&format!("{len} bytes")), "{words}");
            assert_eq!(outer(&whole[..len]).is_some(), len >= OUTER_LEN[0], "{len}");
        }
    }

    #[test]
    fn an_outer_header_is_told_apart_from_what_it_carries() {
        for (ip, len, more) in [
            (
                Ip::between("192.0.2.1", "192.0.2.2"),
                50,
                "IPv4 192.0.2.1 to 192.0.2.2, UDP 55555 to 4789, TTL 64, TOS 0x00",
            ),
            (
                Ip::between("2001:db8::1", "2001:db8::2"),
                70,
                "IPv6 2001:db8::1 to 2001:db8::2, UDP 55555 to 4789, hop limit 64, traffic class 0x00",
            ),
        ] {
            let packet = Underlay::new(ip, 100).frame(&[0; 60]);

            let (header, words) = outer(&packet).unwrap();

            assert_eq!(header, &packet[..len]);
            assert_eq!(
                words,
                format!("02:00:00:00:00:fe to 02:00:00:00:00:fd, {more}, VNI 100")
            );
        }
    }
}
