//! ARP, RARP and ND messages, as hosts send them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::encoder::{Frame, Mac, eth};
use crate::traffic::{inner_v4, inner_v6};

/// The kind of a neighbour solicitation.
pub const SOLICITATION: u8 = 135;
/// The kind of a neighbour advertisement.
pub const ADVERTISEMENT: u8 = 136;
/// The advertisement's flag of a router.
pub const ROUTER: u8 = 0x80;
/// The advertisement's flag of an answer.
pub const SOLICITED: u8 = 0x40;
/// The advertisement's flag that caches are to be overwritten.
pub const OVERRIDE: u8 = 0x20;
/// All nodes on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A host: a MAC and an address of each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// The MAC.
    pub mac: Mac,
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv6 address.
    pub v6: Ipv6Addr,
}

impl Host {
    /// Host number `number` of a segment.
    #[must_use]
    pub const fn nth(number: u8) -> Self {
        Self::at(Mac::nth(number), number)
    }

    /// A MAC with the addresses of host number `number`.
    #[must_use]
    pub const fn at(mac: Mac, number: u8) -> Self {
        Self {
            mac,
            v4: inner_v4(number),
            v6: inner_v6(number),
        }
    }

    /// Both addresses.
    #[must_use]
    pub fn ips(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }

    /// Asks everybody for `target`: an ARP request, or a solicitation with the asker's MAC in it.
    #[must_use]
    pub fn asks(&self, target: IpAddr) -> Frame {
        match target {
            IpAddr::V4(target) => {
                eth(self.mac, Mac::BROADCAST).arp_request((self.mac, self.v4), target)
            }
            IpAddr::V6(target) => {
                solicitation((self.mac, self.v6), target).bytes(&source(self.mac))
            }
        }
    }

    /// Asks whether anybody has `target` already, as a host that is about to take it: an ARP probe
    /// (RFC 5227), or duplicate address detection (RFC 4862).
    #[must_use]
    pub fn probes(&self, target: IpAddr) -> Frame {
        match target {
            IpAddr::V4(target) => {
                eth(self.mac, Mac::BROADCAST).arp_request((self.mac, Ipv4Addr::UNSPECIFIED), target)
            }
            IpAddr::V6(target) => solicitation((self.mac, Ipv6Addr::UNSPECIFIED), target),
        }
    }

    /// Asks `other` alone whether it is still there.
    #[must_use]
    pub fn polls(&self, other: &Self, family: IpAddr) -> Frame {
        match family {
            IpAddr::V4(_) => eth(self.mac, other.mac).arp_request((self.mac, self.v4), other.v4),
            IpAddr::V6(_) => eth(self.mac, other.mac)
                .ipv6(self.v6, other.v6)
                .ttl(255)
                .icmp6(SOLICITATION, [0; 4])
                .bytes(&other.v6.octets())
                .bytes(&source(self.mac)),
        }
    }

    /// Tells everybody where it is: a gratuitous ARP request, or an unsolicited advertisement.
    #[must_use]
    pub fn announces(&self, family: IpAddr) -> Frame {
        match family {
            IpAddr::V4(_) => {
                eth(self.mac, Mac::BROADCAST).arp_request((self.mac, self.v4), self.v4)
            }
            IpAddr::V6(_) => advertisement(
                eth(self.mac, Mac([0x33, 0x33, 0, 0, 0, 1])),
                self.v6,
                ALL_NODES,
                OVERRIDE,
            )
            .bytes(&target(self.mac)),
        }
    }

    /// Answers `asker`, who asked for this host's address of a family.
    #[must_use]
    pub fn answers(&self, asker: &Self, family: IpAddr) -> Frame {
        let head = eth(self.mac, asker.mac);
        match family {
            IpAddr::V4(_) => head.arp_reply((self.mac, self.v4), (asker.mac, asker.v4)),
            IpAddr::V6(_) => advertisement(head, self.v6, asker.v6, SOLICITED | OVERRIDE)
                .bytes(&target(self.mac)),
        }
    }

    /// Answers a probe of `asker` for this host's address of a family: an advertisement goes to
    /// all nodes, for the asker has no address (RFC 4861 section 7.2.4).
    #[must_use]
    pub fn answers_probe(&self, asker: &Self, family: IpAddr) -> Frame {
        match family {
            IpAddr::V4(_) => eth(self.mac, asker.mac)
                .arp_reply((self.mac, self.v4), (asker.mac, Ipv4Addr::UNSPECIFIED)),
            IpAddr::V6(_) => self.announces(family),
        }
    }
}

/// What QEMU sends for a VM that has moved: a RARP request, padded to the least length.
#[must_use]
pub fn rarp(mac: Mac) -> Frame {
    let none = [0; 4];
    eth(mac, Mac::BROADCAST)
        .ethertype(0x8035)
        .bytes(&[0, 1, 8, 0, 6, 4, 0, 3])
        .bytes(&[&mac.0[..], &none, &mac.0, &none].concat())
        .bytes(&[0; 18])
}

/// A solicitation to the group of `target`, up to where options begin.
#[must_use]
pub fn solicitation((mac, ip): (Mac, Ipv6Addr), target: Ipv6Addr) -> Frame {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(a),
        u16::from_be_bytes([b, c]),
    );
    eth(mac, Mac([0x33, 0x33, 0xff, a, b, c]))
        .ipv6(ip, group)
        .ttl(255)
        .icmp6(SOLICITATION, [0; 4])
        .bytes(&target.octets())
}

/// An advertisement of `host`, up to where options begin.
#[must_use]
pub fn advertisement(head: Frame, host: Ipv6Addr, to: Ipv6Addr, flags: u8) -> Frame {
    head.ipv6(host, to)
        .ttl(255)
        .icmp6(ADVERTISEMENT, [flags, 0, 0, 0])
        .bytes(&host.octets())
}

/// The option with the MAC of who sends the message.
#[must_use]
pub fn source(mac: Mac) -> Vec<u8> {
    [&[1, 1][..], &mac.0].concat()
}

/// The option with the MAC of who the message is about.
#[must_use]
pub fn target(mac: Mac) -> Vec<u8> {
    [&[2, 1][..], &mac.0].concat()
}
