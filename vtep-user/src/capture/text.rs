//! What people read of a captured frame: a comment in a file, or a line on a terminal.

use std::net::{Ipv4Addr, Ipv6Addr};

use vtep_common::wire::{arp, ethernet, vlan};

use crate::model::{CaptureRow, MacAddr};

/// What a file says of a frame: words that can be searched for.
#[must_use]
pub fn comment(row: &CaptureRow) -> String {
    let CaptureRow {
        hook,
        reason,
        direction,
        iface,
        dev,
        to_dev,
        vni,
        peer,
        outer,
        ..
    } = row;
    let mut words = vec![
        format!("reason={reason}"),
        format!("hook={hook}"),
        format!("direction={direction}"),
    ];
    words.extend(vni.map(|vni| format!("vni={vni}")));
    words.extend(peer.map(|peer| format!("peer={peer}")));
    words.extend(dev.as_ref().map(|dev| format!("dev={dev}")));
    words.extend(to_dev.as_ref().map(|dev| format!("to={dev}")));
    let other = iface.as_ref().filter(|iface| Some(*iface) != dev.as_ref());
    words.extend(other.map(|iface| format!("iface={iface}")));
    words.extend(outer.then(|| "outer=unreadable".to_owned()));
    words.join(" ")
}

/// What a line says of a frame's own headers.
#[must_use]
pub fn headers(frame: &[u8]) -> String {
    let Some(macs) = frame.first_chunk::<12>() else {
        return format!("{} bytes, no Ethernet header", frame.len());
    };
    let [to, from] = [0, 6].map(|at| {
        let mac: [u8; 6] = macs[at..at + 6].try_into().unwrap_or_default();
        MacAddr::from_bytes(mac)
    });
    let mut words = vec![format!("{from} > {to}")];
    let mut at = ethernet::TYPE_OFFSET;
    while let Some(tci) = be16(frame, at + 2)
        && be16(frame, at).is_some_and(vlan::is_tag)
    {
        words.push(format!("vlan {}", tci & 0xfff));
        at += vlan::LEN;
    }
    let packet = frame.get(at + 2..).unwrap_or_default();
    words.push(match be16(frame, at) {
        None => "no EtherType".to_owned(),
        Some(ethernet::TYPE_IPV4) => ipv4(packet).unwrap_or_else(|| "IPv4, cut short".to_owned()),
        Some(ethernet::TYPE_IPV6) => ipv6(packet).unwrap_or_else(|| "IPv6, cut short".to_owned()),
        Some(arp::ETHERTYPE) => arp_message(packet).unwrap_or_else(|| "ARP".to_owned()),
        Some(other) => format!("EtherType 0x{other:04x}"),
    });
    words.join(" ")
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn ip4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?))
}

fn ip6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?))
}

fn ipv4(packet: &[u8]) -> Option<String> {
    let (from, to) = (ip4(packet, 12)?, ip4(packet, 16)?);
    let header = usize::from(packet.first()? & 0xf) * 4;
    // Three flags stand before the offset.
    let is_first = be16(packet, 6)? << 3 == 0;
    let upper = packet.get(header..).filter(|_| is_first);
    let upper = upper.unwrap_or_default();
    let what = protocol(*packet.get(9)?, upper);
    Some(format!("{from} > {to} {what}"))
}

fn ipv6(packet: &[u8]) -> Option<String> {
    let (from, to) = (ip6(packet, 8)?, ip6(packet, 24)?);
    let what = protocol(*packet.get(6)?, packet.get(40..).unwrap_or_default());
    Some(format!("{from} > {to} {what}"))
}

/// What is behind an IP header; `upper` is empty where that cannot be said.
fn protocol(number: u8, upper: &[u8]) -> String {
    let kind = upper.first().copied();
    let ports = || Some(format!(" {} > {}", be16(upper, 0)?, be16(upper, 2)?));
    match number {
        1 => match kind {
            Some(8) => "ICMP echo request".to_owned(),
            Some(0) => "ICMP echo reply".to_owned(),
            Some(kind) => format!("ICMP type {kind}"),
            None => "ICMP".to_owned(),
        },
        6 => format!("TCP{}", ports().unwrap_or_default()),
        17 => format!("UDP{}", ports().unwrap_or_default()),
        58 => match kind {
            Some(128) => "ICMPv6 echo request".to_owned(),
            Some(129) => "ICMPv6 echo reply".to_owned(),
            Some(135) => "ICMPv6 neighbour solicitation".to_owned(),
            Some(136) => "ICMPv6 neighbour advertisement".to_owned(),
            Some(kind) => format!("ICMPv6 type {kind}"),
            None => "ICMPv6".to_owned(),
        },
        other => format!("protocol {other}"),
    }
}

fn arp_message(packet: &[u8]) -> Option<String> {
    let (sender, target) = (ip4(packet, 14)?, ip4(packet, 24)?);
    Some(match be16(packet, 6)? {
        arp::REQUEST => format!("ARP who has {target}, says {sender}"),
        arp::REPLY => format!("ARP {sender} is here"),
        other => format!("ARP operation {other}"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Vni;

    fn row() -> CaptureRow {
        CaptureRow {
            time: "T".into(),
            hook: "uplink_xdp".into(),
            reason: "unknown_vni".into(),
            direction: "rx".into(),
            iface: Some("up0".into()),
            dev: None,
            to_dev: None,
            vni: Vni::new(999),
            peer: Some([192, 0, 2, 2].into()),
            len: 60,
            outer: false,
            bytes: String::new(),
        }
    }

    #[test]
    fn a_comment_has_reason_and_hook_and_whom_the_frame_is_of() {
        let switched = CaptureRow {
            hook: "port".into(),
            reason: "switched".into(),
            direction: "tx".into(),
            iface: Some("vm1".into()),
            dev: Some("vm1".into()),
            to_dev: Some("vm2".into()),
            peer: None,
            ..row()
        };

        assert_eq!(
            comment(&row()),
            "reason=unknown_vni hook=uplink_xdp direction=rx vni=999 peer=192.0.2.2 iface=up0"
        );
        assert_eq!(
            comment(&switched),
            "reason=switched hook=port direction=tx vni=999 dev=vm1 to=vm2"
        );
    }

    const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

    #[test]
    fn a_line_says_what_the_frame_is() {
        let of = |rest: &[&[u8]]| headers(&[&MACS[..], &rest.concat()].concat());
        let ip = |protocol| {
            let head = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
            [&head[..], &[10, 0, 0, 1, 10, 0, 0, 2]].concat()
        };
        let macs = "02:00:00:00:00:02 > 02:00:00:00:00:01";

        for (rest, want) in [
            (
                of(&[&[8, 0], &ip(1), &[8, 0]]),
                "10.0.0.1 > 10.0.0.2 ICMP echo request",
            ),
            (
                of(&[&[0x81, 0, 0x20, 5, 8, 0], &ip(6), &[0, 80, 1, 0]]),
                "vlan 5 10.0.0.1 > 10.0.0.2 TCP 80 > 256",
            ),
            (of(&[&[8, 0], &[0x45]]), "IPv4, cut short"),
            (
                of(&[
                    &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
                    &[2; 6],
                    &[10, 0, 0, 1],
                    &[0; 6],
                    &[10, 0, 0, 2],
                ]),
                "ARP who has 10.0.0.2, says 10.0.0.1",
            ),
            (of(&[&[0x88, 0xcc]]), "EtherType 0x88cc"),
        ] {
            assert_eq!(rest, format!("{macs} {want}"));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_one_line(
            bytes in prop::collection::vec(any::<u8>(), 0..120),
            kind in prop::sample::select(vec![0x0800_u16, 0x86dd, 0x0806, 0x8100, 0x88a8, 1]),
        ) {
            let mut bytes = bytes;
            if let Some(at) = bytes.get_mut(12..14) {
                at.copy_from_slice(&kind.to_be_bytes());
            }

            let line = headers(&bytes);

            prop_assert!(!line.is_empty() && !line.contains('\n'));
        }
    }
}
