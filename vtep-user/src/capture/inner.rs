//! The inner frame of what was captured, and what its outer headers say.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vtep_common::{
    abi::{capture::Captured, counter::Hook, reason::Reason},
    wire::{ethernet, ipv4, ipv6, vlan},
};

/// Bytes of a UDP and a VXLAN header.
const TUNNEL_LEN: usize = 16;

/// Bytes that outer headers take at least, less a tag that was taken away for them.
const OUTER_LEAST: u32 = 46;

/// Bytes of the two MACs of a frame.
const MACS: usize = 12;

/// What the outer headers of a packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Its sender.
    pub source: IpAddr,
    /// Whom it is for.
    pub destination: IpAddr,
    /// The VNI.
    pub vni: u32,
    /// How long they are.
    pub len: usize,
}

/// What was captured, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// What the outer headers said, where they were in front.
    pub outer: Option<Outer>,
    /// The inner frame, as far as it was captured; or the whole packet.
    pub frame: Cow<'a, [u8]>,
    /// Bytes of that in all.
    pub len: u32,
    /// It is the whole packet: its outer headers could not be read.
    pub is_packet: bool,
}

/// Takes apart what was captured on a host whose VXLAN packets have this UDP port.
#[must_use]
pub fn see(captured: &Captured, udp_port: u16) -> Seen<'_> {
    let frame = captured.frame();
    let expected = is_encapsulated(captured);
    if expected && let Some(outer) = outer(frame, udp_port) {
        let taken = u32::try_from(outer.len).unwrap_or(u32::MAX);
        return Seen {
            outer: Some(outer),
            frame: Cow::Borrowed(&frame[outer.len..]),
            len: captured.frame_len.saturating_sub(taken),
            is_packet: false,
        };
    }
    if expected || captured.tag == 0 || frame.len() < MACS {
        let is_packet = expected && at_uplink(captured.hook);
        return Seen {
            outer: None,
            frame: Cow::Borrowed(frame),
            len: captured.frame_len,
            is_packet,
        };
    }
    // The tag is shown where it stands on the wire.
    let (macs, rest) = frame.split_at(MACS);
    Seen {
        outer: None,
        frame: Cow::Owned([macs, &captured.tag.to_be_bytes(), rest].concat()),
        len: captured.frame_len.saturating_add(4),
        is_packet: false,
    }
}

fn at_uplink(hook: u32) -> bool {
    [Hook::UplinkXdp, Hook::Uplink]
        .map(Hook::index)
        .contains(&hook)
}

/// Whether the outer headers are still, or already, in front.
fn is_encapsulated(captured: &Captured) -> bool {
    if captured.as_it_came != 0 {
        at_uplink(captured.hook)
    } else if at_uplink(captured.hook) {
        captured.reason != Reason::Decapsulated.code()
    } else if captured.hook == Hook::Tunnel.index() {
        false
    } else {
        captured.frame_len >= captured.inner_len.saturating_add(OUTER_LEAST)
    }
}

/// Reads the outer headers of a VXLAN packet, if it is one.
#[must_use]
pub fn outer(packet: &[u8], udp_port: u16) -> Option<Outer> {
    let be16 = |at: usize| {
        Some(u16::from_be_bytes(
            packet.get(at..)?.first_chunk().copied()?,
        ))
    };
    let mut at = ethernet::TYPE_OFFSET;
    while matches!(be16(at)?, vlan::TYPE_8021Q | vlan::TYPE_8021AD) && at < 24 {
        at += vlan::LEN;
    }
    let l3 = at + 2;
    let ip = packet.get(l3..)?;
    let (source, destination, protocol, header) = match be16(at)? {
        ethernet::TYPE_IPV4 => (
            Ipv4Addr::from(*ip.get(12..)?.first_chunk::<4>()?).into(),
            Ipv4Addr::from(*ip.get(16..)?.first_chunk::<4>()?).into(),
            *ip.get(9)?,
            usize::from(ip.first()? & 0xf) * 4,
        ),
        ethernet::TYPE_IPV6 => (
            Ipv6Addr::from(*ip.get(8..)?.first_chunk::<16>()?).into(),
            Ipv6Addr::from(*ip.get(24..)?.first_chunk::<16>()?).into(),
            *ip.get(6)?,
            ipv6::LEN,
        ),
        _ => return None,
    };
    if protocol != UDP || header < ipv4::LEN {
        return None;
    }
    let udp = l3 + header;
    if be16(udp + 2)? != udp_port {
        return None;
    }
    let [_, _, _, _, a, b, c, _] = *packet.get(udp + 8..)?.first_chunk::<8>()?;
    Some(Outer {
        source,
        destination,
        vni: u32::from_be_bytes([0, a, b, c]),
        len: udp + TUNNEL_LEN,
    })
}

/// The protocol number of UDP.
const UDP: u8 = 17;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capture::row::tests::captured;

    const INNER: [u8; 20] = *b"\x02\0\0\0\0\x0a\x02\0\0\0\0\x0b\x08\x06abcdef";

    /// A VXLAN packet over IPv4, by hand.
    fn packet_v4(vni: u32, port: u16) -> Vec<u8> {
        let mut packet = [[2_u8; 12].as_slice(), &[8, 0]].concat();
        packet.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
        packet.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        packet.extend([0xc0, 0]);
        packet.extend(port.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend([8, 0, 0, 0]);
        packet.extend((vni << 8).to_be_bytes());
        packet.extend(INNER);
        packet
    }

    #[test]
    fn what_was_encapsulated_in_place_loses_its_outer_headers() {
        let packet = packet_v4(100, 4789);
        let mut at_port = captured(Hook::Port, Reason::Encapsulated, &packet);
        at_port.inner_len = 20;

        let seen = see(&at_port, 4789);

        let outer = seen.outer.expect("outer headers");
        assert_eq!(outer.vni, 100);
        assert_eq!(outer.destination.to_string(), "192.0.2.2");
        assert_eq!((&*seen.frame, seen.len), (&INNER[..], 20));
    }

    #[test]
    fn a_guest_that_speaks_vxlan_itself_keeps_its_own_headers() {
        let packet = packet_v4(7, 4789);
        let mut dropped = captured(Hook::Port, Reason::NoFdbEntry, &packet);
        dropped.inner_len = dropped.frame_len;

        let seen = see(&dropped, 4789);

        assert_eq!(seen.outer, None);
        assert_eq!((&*seen.frame, seen.is_packet), (&packet[..], false));
    }

    #[test]
    fn a_packet_that_is_dropped_at_the_uplink_shows_its_inner_frame_and_its_sender() {
        let packet = packet_v4(999, 4789);

        let dropped = captured(Hook::UplinkXdp, Reason::UnknownVni, &packet);

        let seen = see(&dropped, 4789);
        let outer = seen.outer.expect("outer headers");
        assert_eq!(
            (outer.vni, outer.source.to_string()),
            (999, "192.0.2.1".to_owned())
        );
        assert_eq!(&*seen.frame, INNER);
    }

    #[test]
    fn a_packet_with_unreadable_outer_headers_is_shown_whole() {
        let dropped = captured(Hook::Uplink, Reason::Truncated, &[2; 30]);

        let seen = see(&dropped, 4789);

        assert_eq!((&*seen.frame, seen.is_packet), (&[2; 30][..], true));
    }

    #[test]
    fn an_skb_tag_is_shown_where_it_stands_on_the_wire() {
        let mut tagged = captured(Hook::Port, Reason::Switched, &INNER);
        tagged.tag = 0x8100_0005;

        let seen = see(&tagged, 4789);

        assert_eq!(&seen.frame[12..18], [0x81, 0, 0, 5, 8, 6]);
        assert_eq!(seen.len, 24);
    }

    proptest! {
        #[test]
        fn nothing_that_is_captured_makes_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            start in prop::sample::select(vec![0_usize, 14, 34, 42, 50, 58]),
            (hook, reason) in (0_u32..6, 0_u32..64),
            (tag, inner_len) in (any::<u32>(), 0_u32..300),
        ) {
            // A true start, so that some of it is read.
            let packet = packet_v4(1, 4789);
            let bytes = [&packet[..start], &bytes].concat();
            let mut any = captured(Hook::Port, Reason::Encapsulated, &bytes);
            (any.hook, any.reason, any.tag, any.inner_len) = (hook, reason, tag, inner_len);

            let seen = see(&any, 4789);

            prop_assert!(seen.frame.len() <= bytes.len() + 4);
            prop_assert!(seen.frame.len() <= seen.len as usize);
        }
    }
}
