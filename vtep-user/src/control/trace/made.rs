//! A frame that is made for a trace: from a MAC behind a port, to a MAC, or to one that an IP is known to have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vtep_common::{
    abi::{
        addr::MacAddr,
        id::{PortSlot, SegmentId},
    },
    frame::packet::Tag,
    wire::{checksum::Sum, ethernet, ipv4, ipv6, udp, vlan},
};

use crate::{
    control::{ops::refuse, record::ports::Device, state::State},
    model::{FrameBytes, Refusal, TraceSpec, TraceTo, VlanId},
};

/// Bytes of a frame, unless it is said: those of a ping.
const USUAL: u32 = 98;
/// The fewest: an Ethernet frame has no less.
const LEAST: u32 = 60;
/// `EtherType` for experiments within an organization (IEEE 802 clause 9.2.3.1): of a frame between hosts of which no IP is known.
const EXPERIMENTAL: u16 = 0x88b5;
/// What stands in for a MAC that nothing is known of.
const STAND_IN: MacAddr = MacAddr::from_bytes([0x02, 0, 0, 0, 0, 0x01]);
/// UDP ports of the packet: any, and "discard".
const UDP_PORTS: [u16; 2] = [49_152, 9];
/// TTL or hop limit of the packet.
const TTL: u8 = 64;

/// The bytes of the frame, and what was made up.
pub(super) fn frame(
    state: &State,
    (dev, device): (&str, &Device),
    to: TraceTo,
    spec: &TraceSpec,
) -> Result<(Vec<u8>, Vec<String>), Refusal> {
    let slot = port(dev, device, spec.vlan)?;
    let port = state.ports[slot];
    let segment = port.segment;
    let size = spec.size.unwrap_or(USUAL);
    let most = u32::try_from(FrameBytes::MOST).unwrap_or(u32::MAX);
    if !(LEAST..=most).contains(&size) {
        return Err(Refusal::invalid(format!(
            "a frame of {size} bytes is not traced; give --size from {LEAST} to {most}, the Ethernet header included"
        )));
    }
    let mut notes = Vec::new();
    let source = match spec.src {
        Some(mac) => refuse::unicast(mac, "--src MAC")?,
        None => source(state, slot, segment, device).unwrap_or_else(|| {
            notes.push(format!(
                "no MAC is known behind port {}, and {STAND_IN} stands in for it; name another with: --src MAC",
                refuse::port_name(dev, VlanId::new(port.vlan))
            ));
            STAND_IN
        }),
    };
    let (destination, host) = match to {
        TraceTo::Mac(mac) => (mac, state.hosts.at(segment, mac).first().copied()),
        TraceTo::Ip(ip) => (mac_of(state, segment, dev, ip, &mut notes)?, Some(ip)),
    };
    let packet = match host {
        Some(IpAddr::V4(host)) => {
            let own = own_address(state, slot, segment, source, |ip| match ip {
                IpAddr::V4(v4) => Some(v4),
                IpAddr::V6(_) => None,
            });
            Packet::V4(own.unwrap_or(Ipv4Addr::UNSPECIFIED), host)
        }
        Some(IpAddr::V6(host)) => {
            let own = own_address(state, slot, segment, source, |ip| match ip {
                IpAddr::V4(_) => None,
                IpAddr::V6(v6) => Some(v6),
            });
            Packet::V6(own.unwrap_or(Ipv6Addr::UNSPECIFIED), host)
        }
        None => Packet::None,
    };
    let tag = (port.vlan != 0).then_some(Tag {
        tpid: vlan::TYPE_8021Q,
        tci: port.vlan,
    });
    Ok((bytes((destination, source), tag, packet, size), notes))
}

/// The port that the frame comes from.
fn port(dev: &str, device: &Device, vlan: Option<VlanId>) -> Result<PortSlot, Refusal> {
    if vlan.is_some() {
        let number = vlan.map_or(0, VlanId::get);
        let found = device.port(number);
        return found.ok_or_else(|| refuse::no_vlan(dev, vlan, &device.vlans()));
    }
    let mut ports = device.ports();
    match (device.port(0), ports.next(), ports.next()) {
        (Some(untagged), ..) => Ok(untagged),
        (None, Some((_, only)), None) => Ok(only),
        _ => Err(Refusal::invalid(format!(
            "port {dev} takes no untagged frames, and has VLANs {}; say which one with: --vlan ID",
            device
                .vlans()
                .iter()
                .map(u16::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ))),
    }
}

/// A MAC behind the port: the first of those that somebody set, else of those that were learned, else that of the interface's other end.
fn source(state: &State, slot: PortSlot, segment: SegmentId, device: &Device) -> Option<MacAddr> {
    let mut set = state.fdb.static_behind(slot);
    let learned = || state.fdb.learned_behind(segment, slot).into_iter().min();
    set.next().or_else(learned).or(device.facts.other_end)
}

/// An address that the sender has: one of the port's, else one that its MAC is known to have.
fn own_address<A>(
    state: &State,
    slot: PortSlot,
    segment: SegmentId,
    source: MacAddr,
    of_family: impl Fn(IpAddr) -> Option<A>,
) -> Option<A> {
    let given = state.addresses.of(slot).iter().copied();
    let known = state.hosts.at(segment, source);
    given.chain(known).find_map(of_family)
}

/// The MAC that frames for an IP go to, as far as it is known.
fn mac_of(
    state: &State,
    segment: SegmentId,
    dev: &str,
    ip: IpAddr,
    notes: &mut Vec<String>,
) -> Result<MacAddr, Refusal> {
    if let Some(mac) = group_mac(ip) {
        return Ok(mac);
    }
    if let Some(neigh) = state.hosts.get(segment, ip) {
        notes.push(format!("{ip} is known to be at {}", neigh.mac));
        return Ok(neigh.mac);
    }
    let vni = state.segments.vni(segment);
    let at_port = state.addresses.port(segment, ip);
    if let Some(mac) = at_port.and_then(|slot| state.fdb.static_behind(slot).next()) {
        notes.push(format!("{ip} is an address of the port that has {mac}"));
        return Ok(mac);
    }
    let routes = state.nexthops.routes(segment);
    let route = routes
        .filter(|(prefix, value)| prefix.contains(ip) && !value.target().is_none())
        .max_by_key(|(prefix, _)| prefix.len());
    if let Some((prefix, value)) = route {
        let mac = value.mac();
        notes.push(format!(
            "the nexthop table has {prefix}; the MAC that the sender writes does not matter"
        ));
        return Ok(if mac.is_zero() { STAND_IN } else { mac });
    }
    Err(Refusal::not_found(format!(
        "vtep does not know the MAC of {ip} in vni {vni}; give the one that the sender writes: vtep trace {dev} --dst MAC"
    )))
}

/// The MAC of a group, or of everybody (RFC 1112 section 6.4, RFC 2464 section 7).
fn group_mac(ip: IpAddr) -> Option<MacAddr> {
    match ip {
        IpAddr::V4(v4) if v4.is_broadcast() => Some(MacAddr::BROADCAST),
        IpAddr::V4(v4) if v4.is_multicast() => {
            let [_, b, c, d] = v4.octets();
            Some(MacAddr::from_bytes([0x01, 0, 0x5e, b & 0x7f, c, d]))
        }
        IpAddr::V6(v6) if v6.is_multicast() => {
            let [.., a, b, c, d] = v6.octets();
            Some(MacAddr::from_bytes([0x33, 0x33, a, b, c, d]))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// What the frame carries: a UDP packet between these, which must not be fragmented, or nothing that anybody reads.
#[derive(Clone, Copy, Debug)]
enum Packet {
    None,
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

/// The frame, of so many bytes; the tag comes on top.
fn bytes(
    (destination, source): (MacAddr, MacAddr),
    tag: Option<Tag>,
    packet: Packet,
    size: u32,
) -> Vec<u8> {
    let mut frame = [destination.bytes(), source.bytes()].concat();
    if let Some(Tag { tpid, tci }) = tag {
        frame.extend([tpid, tci].map(u16::to_be_bytes).as_flattened());
    }
    let ethertype = match packet {
        Packet::None => EXPERIMENTAL,
        Packet::V4(..) => ethernet::TYPE_IPV4,
        Packet::V6(..) => ethernet::TYPE_IPV6,
    };
    frame.extend(ethertype.to_be_bytes());
    let room = usize::try_from(size).unwrap_or(usize::MAX) - ethernet::LEN;
    match packet {
        Packet::None => frame.resize(frame.len() + room, 0),
        Packet::V4(from, to) => frame.extend(packet_v4(from, to, room)),
        Packet::V6(from, to) => frame.extend(packet_v6(from, to, room)),
    }
    frame
}

/// A length as it stands in 16 bits: no frame is longer.
fn wire_len(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}

/// A UDP datagram of so many bytes, without a checksum.
fn datagram(len: usize) -> Vec<u8> {
    let mut datagram = UDP_PORTS.map(u16::to_be_bytes).as_flattened().to_vec();
    datagram.extend(wire_len(len));
    datagram.resize(len, 0);
    datagram
}

fn packet_v4(from: Ipv4Addr, to: Ipv4Addr, len: usize) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(wire_len(len));
    packet.extend([0, 0]);
    packet.extend(ipv4::DF.to_be_bytes());
    packet.extend([TTL, udp::PROTOCOL, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = Sum::default().bytes(&packet).checksum();
    packet[ipv4::CHECKSUM_OFFSET..][..2].copy_from_slice(&sum.to_be_bytes());
    packet.extend(datagram(len - ipv4::LEN));
    packet
}

fn packet_v6(from: Ipv6Addr, to: Ipv6Addr, len: usize) -> Vec<u8> {
    // A frame of the fewest bytes has no room for it.
    let payload = len.saturating_sub(ipv6::LEN).max(udp::LEN);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(wire_len(payload));
    packet.extend([udp::PROTOCOL, TTL]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    let mut datagram = datagram(payload);
    let sum = Sum::default()
        .bytes(&from.octets())
        .bytes(&to.octets())
        .word(udp::PROTOCOL.into())
        .length(payload)
        .bytes(&datagram);
    datagram[udp::CHECKSUM_OFFSET..][..2].copy_from_slice(&sum.udp_checksum().to_be_bytes());
    packet.extend(datagram);
    packet
}

#[cfg(test)]
mod tests {
    use vtep_common::frame::inner::Inner;

    use super::*;

    const MACS: (MacAddr, MacAddr) = (MacAddr::BROADCAST, STAND_IN);

    #[test]
    fn a_frame_has_the_size_that_was_asked_for() {
        let v4 = Packet::V4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let v6 = Packet::V6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        for size in [62, 98, 1_514, 9_014] {
            for packet in [Packet::None, v4, v6] {
                assert_eq!(bytes(MACS, None, packet, size).len(), size as usize);
            }
        }
    }

    #[test]
    fn a_frame_is_one_that_the_data_path_reads() {
        let tag = Tag {
            tpid: vlan::TYPE_8021Q,
            tci: 10,
        };
        let v4 = Packet::V4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let frame = bytes(MACS, Some(tag), v4, 98);

        let inner = Inner::read(frame.as_slice(), 0, None).unwrap();

        assert_eq!((inner.destination, inner.source), MACS);
        assert!(inner.has(Inner::V4) && inner.has(Inner::DONT_FRAGMENT));
        assert_eq!((inner.tag, inner.ttl), (tag, TTL));
        let sum = Sum::default().bytes(&frame[18..][..ipv4::LEN]);
        assert_eq!(sum.fold(), 0xffff);
    }

    #[test]
    fn a_group_has_the_mac_of_its_address() {
        for (ip, mac) in [
            ("255.255.255.255", "ff:ff:ff:ff:ff:ff"),
            ("239.129.2.3", "01:00:5e:01:02:03"),
            ("ff02::1:ff00:7", "33:33:ff:00:00:07"),
        ] {
            assert_eq!(group_mac(ip.parse().unwrap()).unwrap().to_string(), mac);
        }
        assert_eq!(group_mac("10.0.0.1".parse().unwrap()), None);
    }
}
