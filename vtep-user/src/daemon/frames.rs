//! The frames by which a host that has come to a port is announced, as VXLAN payloads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vtep_common::{
    abi::addr::{MacAddr, Vni},
    wire::{arp, checksum::Sum, ethernet, icmpv6, ipv6, vxlan},
};

/// `EtherType` of RARP (RFC 903).
const RARP_ETHERTYPE: u16 = 0x8035;
/// RARP operation: what is my address?
const RARP_REQUEST: u16 = 3;
/// Shortest Ethernet frame, without its checksum (IEEE 802.3): shorter ones are padded with zeros.
const MIN_FRAME_LEN: usize = 60;
/// All nodes on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The Ethernet address of that group (RFC 2464 section 7).
const ALL_NODES_MAC: MacAddr = MacAddr::from_bytes([0x33, 0x33, 0, 0, 0, 1]);

/// A host at the MAC that is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AnnouncedHost {
    /// Its address.
    pub(super) ip: IpAddr,
    /// It is a router: were it announced as none, its neighbours would give up their routes by it (RFC 4861 section 7.2.5).
    pub(super) router: bool,
}

/// The VXLAN payloads that announce `mac`: one for each of its hosts, or, where none is known, the RARP request that QEMU sends
/// after a migration.
pub(super) fn announcements(vni: Vni, mac: MacAddr, hosts: &[AnnouncedHost]) -> Vec<Vec<u8>> {
    if hosts.is_empty() {
        return vec![payload(vni, &rarp(mac))];
    }
    let frames = hosts.iter().map(|host| match host.ip {
        IpAddr::V4(v4) => gratuitous_arp(mac, v4),
        IpAddr::V6(v6) => advertisement(mac, v6, host.router),
    });
    frames.map(|frame| payload(vni, &frame)).collect()
}

fn payload(vni: Vni, frame: &[u8]) -> Vec<u8> {
    [&vxlan::encode(vni), frame].concat()
}

/// A RARP request: "what is the address of this MAC?" Everybody gets it, and nobody answers.
fn rarp(mac: MacAddr) -> Vec<u8> {
    let nobody = Ipv4Addr::UNSPECIFIED;
    let message = arp_message(RARP_REQUEST, mac, nobody, mac, nobody);
    frame(MacAddr::BROADCAST, mac, RARP_ETHERTYPE, &message)
}

/// An ARP announcement (RFC 5227 section 3): a request for the host's own address.
fn gratuitous_arp(mac: MacAddr, ip: Ipv4Addr) -> Vec<u8> {
    let message = arp_message(arp::REQUEST, mac, ip, MacAddr::ZERO, ip);
    frame(MacAddr::BROADCAST, mac, arp::ETHERTYPE, &message)
}

/// An unsolicited neighbour advertisement (RFC 4861 section 7.2.6).
fn advertisement(mac: MacAddr, ip: Ipv6Addr, router: bool) -> Vec<u8> {
    let mut flags = icmpv6::OVERRIDE;
    if router {
        flags |= icmpv6::ROUTER;
    }
    let mut message = Vec::with_capacity(icmpv6::LEN + icmpv6::OPTION_LEN);
    message.extend([icmpv6::ADVERTISEMENT, 0, 0, 0]);
    message.extend(flags.to_be_bytes());
    message.extend(ip.octets());
    message.extend(icmpv6::TARGET_MAC.to_be_bytes());
    message.extend(mac.bytes());
    // The pseudo header of RFC 8200 section 8.1.
    let sum = Sum::default()
        .bytes(&ip.octets())
        .bytes(&ALL_NODES.octets())
        .length(message.len())
        .word(icmpv6::PROTOCOL.into())
        .bytes(&message)
        .checksum();
    message[icmpv6::CHECKSUM_OFFSET..][..2].copy_from_slice(&sum.to_be_bytes());

    let len = u16::try_from(message.len()).expect("a message of 32 bytes");
    let mut packet = Vec::with_capacity(ipv6::LEN + message.len());
    packet.extend([0x60, 0, 0, 0]);
    packet.extend(len.to_be_bytes());
    packet.extend([icmpv6::PROTOCOL, icmpv6::HOP_LIMIT]);
    packet.extend(ip.octets());
    packet.extend(ALL_NODES.octets());
    packet.extend(message);
    frame(ALL_NODES_MAC, mac, ethernet::TYPE_IPV6, &packet)
}

fn arp_message(
    operation: u16,
    sender_mac: MacAddr,
    sender: Ipv4Addr,
    target_mac: MacAddr,
    target: Ipv4Addr,
) -> Vec<u8> {
    let mut message = Vec::with_capacity(arp::LEN);
    message.extend(arp::TYPES.to_be_bytes());
    message.extend(arp::LENGTHS.to_be_bytes());
    message.extend(operation.to_be_bytes());
    message.extend(sender_mac.bytes());
    message.extend(sender.octets());
    message.extend(target_mac.bytes());
    message.extend(target.octets());
    message
}

fn frame(to: MacAddr, from: MacAddr, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(MIN_FRAME_LEN.max(ethernet::LEN + payload.len()));
    frame.extend(to.bytes());
    frame.extend(from.bytes());
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len().max(MIN_FRAME_LEN), 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    /// VNI 100 = 0x64.
    const VXLAN: [u8; 8] = [0x08, 0, 0, 0, 0, 0, 0x64, 0];

    #[test]
    fn a_mac_without_hosts_is_announced_as_qemu_does_it() {
        let got = announce(&[]);

        let mut want = VXLAN.to_vec();
        want.extend([0xff; 6]);
        want.extend(MAC);
        want.extend([0x80, 0x35]);
        want.extend([0, 1, 8, 0, 6, 4, 0, 3]);
        want.extend(MAC);
        want.extend([0; 4]);
        want.extend(MAC);
        want.extend([0; 4]);
        want.extend([0; 18]);
        assert_eq!(want.len(), 8 + 60);
        assert_eq!(got, [want]);
    }

    #[test]
    fn an_ipv4_host_is_announced_by_a_request_for_its_own_address() {
        let got = announce(&["10.0.0.7"]);

        let mut want = VXLAN.to_vec();
        want.extend([0xff; 6]);
        want.extend(MAC);
        want.extend([0x08, 0x06]);
        want.extend([0, 1, 8, 0, 6, 4, 0, 1]);
        want.extend(MAC);
        want.extend([10, 0, 0, 7]);
        want.extend([0; 6]);
        want.extend([10, 0, 0, 7]);
        want.extend([0; 18]);
        assert_eq!(got, [want]);
    }

    #[test]
    fn an_ipv6_host_is_announced_by_an_advertisement_that_overrides() {
        let got = announce(&["fd00::7"]);

        let mut want = VXLAN.to_vec();
        want.extend([0x33, 0x33, 0, 0, 0, 1]);
        want.extend(MAC);
        want.extend([0x86, 0xdd]);
        want.extend([0x60, 0, 0, 0, 0, 32, 58, 255]);
        let host = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        want.extend(host);
        want.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        // Added up by hand: addresses 0xfd00 + 7 + 0xff02 + 1, length 32, protocol 58, then 0x8800 + 0x2000 + 0xfd00 + 7 +
        // 0x0201 + 0x5254 + 0x0012 + 0x3456 = 0x4_2a28; folded 0x2a2c, complemented 0xd5d3.
        want.extend([136, 0, 0xd5, 0xd3, 0x20, 0, 0, 0]);
        want.extend(host);
        want.extend([2, 1]);
        want.extend(MAC);
        assert_eq!(got, [want]);
    }

    #[test]
    fn a_router_stays_one() {
        let host = AnnouncedHost {
            ip: "fd00::7".parse().unwrap(),
            router: true,
        };

        let got = announcements(Vni::new(100).unwrap(), MacAddr::from_bytes(MAC), &[host]);

        let flags = 8 + ethernet::LEN + ipv6::LEN + icmpv6::FLAGS_OFFSET;
        assert_eq!(got[0][flags], 0xa0);
    }

    #[test]
    fn each_host_gets_a_frame() {
        let got = announce(&["10.0.0.7", "10.0.0.8", "fd00::7"]);

        assert_eq!(got.len(), 3);
    }

    fn announce(hosts: &[&str]) -> Vec<Vec<u8>> {
        let hosts: Vec<AnnouncedHost> = hosts
            .iter()
            .map(|ip| AnnouncedHost {
                ip: ip.parse().unwrap(),
                router: false,
            })
            .collect();
        announcements(Vni::new(100).unwrap(), MacAddr::from_bytes(MAC), &hosts)
    }
}
