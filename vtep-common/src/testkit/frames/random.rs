//! The frame of a seed: one as a VM or a VTEP would send it, or would not.

use std::net::IpAddr;

use crate::{
    abi::{addr::MacAddr, counter::Hook, id::SegmentId},
    decide::{
        port,
        tunnel::{self, TunnelKey},
    },
    frame::packet::{Meta, Tag},
    sim::Side,
    testkit::build::{self, Checksum, Fragment, Ip, Underlay},
    wire::{ethernet, ipv6, udp, vlan, vxlan},
};

use super::rng::Rng;
use super::sample::Sample;
use super::world::{
    CROWDED, HOSTS, Interfaces, LONE, PLAIN, PORT_OWN, QUIET, ROUTED, TRUNK, World, group,
    host_mac, ip, unicast,
};

impl World {
    /// The frame of a seed. A fifth of all seeds each goes to every hook, in the order of [`Hook::ALL`].
    #[must_use]
    pub fn sample(&self, seed: u64) -> Sample {
        let mut rng = Rng::new(seed);
        match Hook::ALL[rng_index(seed)] {
            Hook::UplinkXdp => self.at_uplink(&mut rng, tunnel::DecapStage::Xdp),
            Hook::Uplink => self.at_uplink(&mut rng, tunnel::DecapStage::Tc),
            Hook::Tunnel => self.behind_device(&mut rng),
            Hook::Port => self.at_port(&mut rng, port::PortStage::Tc),
            Hook::PortXdp => self.at_port(&mut rng, port::PortStage::Xdp),
        }
    }

    fn at_uplink(&self, rng: &mut Rng, stage: tunnel::DecapStage) -> Sample {
        let (vni, number) = self.any_vni(rng);
        let inner = self.inner_frame(rng, number);
        let (source, destination) = any_vteps(rng);
        let mut outer = Underlay::new(Ip::new(source, destination), vni);
        outer.source_port = rng.word();
        outer.ip.tos = rng.byte();
        tamper_ip(rng, &mut outer.ip, 4);
        if rng.percent(3) {
            outer.udp_port = rng.pick(&[53, 4788, 4790, 8472]);
        }
        if rng.percent(5) {
            let near = udp::LEN + vxlan::LEN + inner.len() + rng.below(40);
            let near = u16::try_from(near.saturating_sub(20)).unwrap_or(u16::MAX);
            let odd = rng.word();
            outer.udp_len = Some(rng.pick(&[0, 7, 8, 15, 16, near, near, odd]));
        }
        if rng.percent(3) {
            outer.first = 0;
        }
        if rng.percent(10) {
            outer.first |= u32::from(rng.word()) << rng.below(16) & !vxlan::FLAG_I;
            outer.second |= u32::from(rng.byte());
        }
        let mut frame = outer.frame(&inner);
        if rng.percent(3) {
            let other = rng.pick(&[MacAddr::BROADCAST, group(PLAIN), host_mac(0)]);
            frame[..6].copy_from_slice(&other.bytes());
        }
        mutate(rng, &mut frame);
        let tc = stage == tunnel::DecapStage::Tc;
        let meta = Meta {
            ifindex: self.interfaces.uplink,
            tag: (tc && rng.percent(2)).then(|| any_tag(rng)),
            gso_size: if tc && rng.percent(8) { 100 } else { 0 },
        };
        Sample {
            frame,
            meta,
            side: Side::Uplink(stage),
        }
    }

    fn behind_device(&self, rng: &mut Rng) -> Sample {
        let (vni, number) = self.any_vni(rng);
        let mut frame = self.inner_frame(rng, number);
        mutate(rng, &mut frame);
        if rng.percent(2) {
            frame.truncate(rng.below(ethernet::LEN));
        }
        let (source, destination) = any_vteps(rng);
        let key = TunnelKey {
            vni,
            source: source.into(),
            destination: rng.percent(80).then(|| destination.into()),
        };
        let meta = Meta {
            ifindex: self.interfaces.device,
            tag: rng.percent(15).then(|| any_tag(rng)),
            gso_size: if rng.percent(15) { 100 } else { 0 },
        };
        Sample {
            frame,
            meta,
            side: Side::Tunnel(key),
        }
    }

    fn at_port(&self, rng: &mut Rng, stage: port::PortStage) -> Sample {
        let Interfaces {
            access,
            narrow,
            trunk,
            carrier,
            quiet,
            lone,
            uplink,
            ..
        } = self.interfaces;
        let choices = [
            (access, 0, PLAIN),
            (narrow, 0, PLAIN),
            (trunk, 10, PLAIN),
            (trunk, 20, TRUNK),
            (trunk, 40, ROUTED),
            (trunk, 0, TRUNK),
            (carrier, 0, TRUNK),
            (quiet, 0, QUIET),
            (lone, 30, LONE),
            (uplink, 0, PLAIN),
        ];
        // Mostly dropped: seldom.
        let limited = [
            (lone, 41, PLAIN),
            (lone, 42, PLAIN),
            (lone, 43, CROWDED),
            (lone, 44, PLAIN),
            (lone, 45, PLAIN),
            (lone, 46, CROWDED),
            (lone, 47, PLAIN),
            (lone, 47, PLAIN),
        ];
        let (ifindex, vlan, number) = if rng.percent(8) {
            rng.pick(&limited)
        } else {
            rng.pick(&choices)
        };
        let mut frame = self.inner_frame(rng, number);
        if vlan == 47 && rng.percent(90) {
            own_up(&mut frame, unicast(PLAIN, PORT_OWN));
        }
        let tc = stage == port::PortStage::Tc;
        let mut tag = None;
        if vlan != 0 && rng.percent(95) {
            let wanted = Tag {
                tpid: vlan::TYPE_8021Q,
                tci: vlan | rng.word() & 0xf000,
            };
            if tc && rng.percent(30) {
                tag = Some(wanted);
            } else {
                insert_tag(&mut frame, wanted);
            }
        } else if rng.percent(20) {
            if rng.percent(20) {
                insert_tag(&mut frame, any_tag(rng));
            }
            let any = any_tag(rng);
            if tc && rng.percent(50) {
                tag = Some(any);
            } else {
                insert_tag(&mut frame, any);
            }
        }
        mutate(rng, &mut frame);
        if rng.percent(1) {
            frame.truncate(rng.below(vlan::LEN + ethernet::LEN));
        }
        let gso = tc && rng.percent(12);
        let meta = Meta {
            ifindex,
            tag,
            gso_size: if gso {
                rng.pick(&[100, 500, 1400, 1460])
            } else {
                0
            },
        };
        Sample {
            frame,
            meta,
            side: Side::Port(stage),
        }
    }

    /// A VNI, and a segment whose MACs make sense in it.
    fn any_vni(&self, rng: &mut Rng) -> (u32, SegmentId) {
        if rng.percent(6) {
            let unknown = rng.pick(&[0, 101, 600, 0x0064_0000]);
            return (unknown, PLAIN);
        }
        let number = rng.pick(&[PLAIN, PLAIN, TRUNK, QUIET, LONE, ROUTED, CROWDED]);
        (self.tables.segments[&number].vni, number)
    }

    /// A frame as a VM would send it, or would not.
    fn inner_frame(&self, rng: &mut Rng, number: SegmentId) -> Vec<u8> {
        let lookup: Vec<MacAddr> = self
            .macs
            .iter()
            .filter(|(segment, _)| *segment == number)
            .map(|(_, mac)| *mac)
            .collect();
        let destination = match rng.below(100) {
            0..72 => rng.pick(&lookup),
            72..78 => MacAddr::BROADCAST,
            78..82 => MacAddr::from_parts(0x3333, 0xff00_0001),
            82..95 => unicast(number, 200_u32),
            95..97 => MacAddr::from_parts(0x0180, 0xc200_0000 | u32::from(rng.byte() & 0x1f)),
            _ => MacAddr::from_parts(rng.word(), u32::from(rng.word())),
        };
        let source = match rng.below(100) {
            0..60 => unicast(9_u32, u32::from(rng.byte())),
            60..96 => rng.pick(&lookup),
            96..98 => MacAddr::ZERO,
            _ => group(number),
        };
        if rng.percent(12) {
            let mut frame = message(rng, destination, source);
            if rng.percent(10) {
                insert_tag(&mut frame, any_tag(rng));
            }
            return frame;
        }
        let mut tags = Vec::new();
        // More where they are carried.
        let tagged = if number == TRUNK { 40 } else { 8 };
        while tags.len() < 2 && rng.percent(tagged) {
            tags.push(any_tag(rng));
        }
        let (ethertype, body) = any_body(rng);
        let mut frame = build::ethernet(destination, source, &tags, ethertype, &body);
        if rng.percent(6) {
            let padding = 1 + rng.below(46);
            frame.extend(rng.bytes(padding));
        }
        frame
    }
}

fn rng_index(seed: u64) -> usize {
    usize::try_from(seed % Hook::ALL.len() as u64).expect("below 5")
}

/// Source and destination of an outer packet.
fn any_vteps(rng: &mut Rng) -> (IpAddr, IpAddr) {
    let v6 = rng.percent(50);
    let sources = if v6 {
        ["2001:db8::2", "2001:db8::3", "2001:db8::99", "2001:db8::1"]
    } else {
        ["192.0.2.2", "192.0.2.5", "198.51.100.9", "192.0.2.1"]
    };
    let nobody = if v6 {
        ["::1", "::", "ff02::1"]
    } else {
        ["127.0.0.1", "255.255.255.255", "239.1.1.1"]
    };
    let source = match rng.below(100) {
        0..93 => rng.pick(&sources[..3]),
        93..95 => rng.pick(&nobody),
        _ => sources[3],
    };
    let destination = match (v6, rng.percent(95)) {
        (false, true) => "192.0.2.1",
        (false, false) => "192.0.2.77",
        (true, true) => "2001:db8::1",
        (true, false) => "2001:db8::77",
    };
    (ip(source), ip(destination))
}

/// Makes something of an IP header odd, `percent` of the time for each thing.
fn tamper_ip(rng: &mut Rng, ip: &mut Ip, percent: usize) {
    if rng.percent(percent) {
        ip.fragment = Some(Fragment {
            offset: rng.pick(&[0, 0, 0, 1, 185]),
            more: rng.percent(60),
        });
    }
    if rng.percent(percent) {
        ip.options = rng.pick(&[4, 8, 40]);
        ip.extension = Some(rng.pick(&[
            ipv6::HOP_BY_HOP,
            ipv6::ROUTING,
            ipv6::DESTINATION_OPTIONS,
            51,
        ]));
    }
    if rng.percent(percent) {
        let odd = rng.word();
        ip.len = Some(rng.pick(&[0, 19, 20, 27, 28, 35, 36, 100, 1500, odd]));
    }
}

/// `EtherType` and payload of a frame.
fn any_body(rng: &mut Rng) -> (u16, Vec<u8>) {
    let len = match rng.below(10) {
        0..3 => rng.below(4),
        3..6 => rng.below(100),
        6..8 => 500 + rng.below(200),
        _ => 1300 + rng.below(250),
    };
    let payload = rng.bytes(len);
    if rng.percent(15) {
        let ethertype = rng.pick(&[build::TYPE_ARP, 0x88cc, 0x0026, 0x8847]);
        return (ethertype, payload);
    }
    let subnet = rng.byte();
    let mut ip = if rng.percent(50) {
        Ip::new(
            [10, 0, subnet, 1].into(),
            [10, 0, subnet, 2 + rng.byte() % 100].into(),
        )
    } else {
        let net = u16::from(subnet);
        Ip::new(
            [0xfd00, net, 0, 0, 0, 0, 0, 1].into(),
            [0xfd00, net, 0, 0, 0, 0, 0, 2].into(),
        )
    };
    ip.tos = rng.byte();
    ip.ttl = rng.byte();
    ip.id = rng.word();
    ip.dont_fragment = rng.percent(50);
    tamper_ip(rng, &mut ip, 4);
    let checksum = match rng.below(100) {
        0..45 => Checksum::Complete,
        45..85 => Checksum::Pending,
        85..90 => Checksum::Zero,
        _ => Checksum::Wrong,
    };
    let ports = (rng.word(), rng.word());
    let packet = match rng.below(10) {
        0..3 => ip.tcp(ports, checksum, &payload),
        3 => ip.syn(ports, checksum, &any_options(rng)),
        4..8 => ip.udp(ports, checksum, &payload),
        _ => ip.packet(rng.pick(&[1, build::ICMPV6, 132, 47]), &payload),
    };
    (ip.ethertype(), packet)
}

/// TCP options as in a SYN, most often sound ones.
fn any_options(rng: &mut Rng) -> Vec<u8> {
    let mut options = Vec::new();
    for _ in 0..rng.below(4) {
        let [high, low] = rng.word().to_be_bytes();
        let size = rng.pick(&[[high, low], [0x05, 0xb4], [0x23, 0x28]]);
        match rng.below(6) {
            0..3 => options.extend([2, 4, size[0], size[1]]),
            3 => options.push(1),
            4 => options.extend([4, 2, 1]),
            _ => options.extend(rng.bytes(3)),
        }
    }
    options.resize(options.len().next_multiple_of(4), 0);
    options
}

/// An ARP or ND message, most often a sound one.
fn message(rng: &mut Rng, any_destination: MacAddr, any_source: MacAddr) -> Vec<u8> {
    let index = rng.below(HOSTS.len());
    let lookup = ip(HOSTS[index]);
    // Sometimes the host that is asked for asks itself.
    let source = match rng.below(10) {
        0 => host_mac(u32::try_from(index).expect("below 4")),
        1..8 => unicast(9_u32, u32::from(rng.byte())),
        _ => any_source,
    };
    let claimed = if rng.percent(94) { source } else { host_mac(0) };
    let to_all = rng.percent(75);
    match lookup {
        IpAddr::V4(lookup) => {
            let target = rng.pick(&[lookup, lookup, [10, 0, 0, 99].into(), [224, 0, 0, 1].into()]);
            let sender = rng.pick(&[
                [0, 0, 0, 0].into(),
                [10, 0, 0, 7].into(),
                [10, 0, 0, 8].into(),
                target,
                [239, 1, 1, 1].into(),
            ]);
            let mut body = vec![0, 1, 8, 0, 6, 4, 0, rng.pick(&[1, 1, 1, 1, 2, 2, 3])];
            body.extend(claimed.bytes());
            body.extend(sender.octets());
            body.extend([0; 6]);
            body.extend(target.octets());
            if rng.percent(4) {
                let at = rng.below(8);
                body[at] ^= 1 << rng.below(8);
            }
            if rng.percent(50) {
                body.extend([0; 18]);
            }
            let destination = if to_all {
                MacAddr::BROADCAST
            } else {
                any_destination
            };
            build::ethernet(destination, source, &[], build::TYPE_ARP, &body)
        }
        IpAddr::V6(lookup) => {
            let all: std::net::Ipv6Addr = [0xff02, 0, 0, 0, 0, 0, 0, 1].into();
            let stranger = [0xfd00, 0, 0, 0, 0, 0, 0, 0x99].into();
            let target = rng.pick(&[lookup, lookup, lookup, stranger, all]);
            let asker = rng.pick(&[
                std::net::Ipv6Addr::UNSPECIFIED,
                [0xfd00, 0, 0, 0, 0, 0, 0, 7].into(),
                [0xfe80, 0, 0, 0, 0, 0, 0, 8].into(),
                all,
            ]);
            let mut ip = Ip::new(asker.into(), all.into());
            ip.ttl = if rng.percent(95) { 255 } else { 64 };
            let kind = rng.pick(&[135, 135, 135, 136, 136, 133]);
            let mut body = vec![kind, u8::from(rng.percent(4)), 0, 0];
            body.extend([rng.pick(&[0, 0x20, 0x60, 0xa0, 0xe0]), 0, 0, 0]);
            body.extend(target.octets());
            let options = rng.pick(&[0, 1, 1, 1, 2, 2, 3]);
            for number in 0..options {
                let nonce = number == 1;
                let own = if kind == 136 { 2 } else { 1 };
                body.extend([if nonce { 14 } else { own }, 1]);
                body.extend(if nonce {
                    [1, 2, 3, 4, 5, 6]
                } else {
                    claimed.bytes()
                });
            }
            let sum = ip
                .pseudo_sum(build::ICMPV6, body.len())
                .bytes(&body)
                .checksum();
            body[2..4].copy_from_slice(&sum.to_be_bytes());
            if rng.percent(6) {
                let at = rng.below(body.len());
                body[at] ^= 1 << rng.below(8);
            }
            let packet = ip.packet(build::ICMPV6, &body);
            let destination = if to_all {
                MacAddr::from_parts(0x3333, 1)
            } else {
                any_destination
            };
            build::ethernet(destination, source, &[], ip.ethertype(), &packet)
        }
    }
}

fn any_tag(rng: &mut Rng) -> Tag {
    let vlan = rng.pick(&[0, 10, 20, 30, 31, 40, 4095]);
    Tag {
        tpid: if rng.percent(80) {
            vlan::TYPE_8021Q
        } else {
            vlan::TYPE_8021AD
        },
        tci: vlan | rng.word() & 0xf000,
    }
}

fn insert_tag(frame: &mut Vec<u8>, tag: Tag) {
    let [a, b] = tag.tpid.to_be_bytes();
    let [c, d] = tag.tci.to_be_bytes();
    let at = ethernet::TYPE_OFFSET;
    frame.splice(at..at, [a, b, c, d]);
}

/// Has a frame come from `mac`, where it or an ARP message in it says so.
fn own_up(frame: &mut [u8], mac: MacAddr) {
    let bytes = mac.bytes();
    frame[6..12].copy_from_slice(&bytes);
    let is_arp = frame[12..14] == build::TYPE_ARP.to_be_bytes();
    if let Some(sender) = frame.get_mut(22..28).filter(|_| is_arp) {
        sender.copy_from_slice(&bytes);
    }
}

/// Spoils a frame, or more often leaves it as it is. At least an Ethernet header remains.
fn mutate(rng: &mut Rng, frame: &mut Vec<u8>) {
    match rng.below(100) {
        0..10 => {
            let kept = ethernet::LEN + rng.below(frame.len() + 1 - ethernet::LEN);
            frame.truncate(kept);
        }
        10..20 => {
            for _ in 0..=rng.below(3) {
                // Most of what matters stands in front.
                let reach = if rng.percent(70) {
                    frame.len().min(110)
                } else {
                    frame.len()
                };
                let at = rng.below(reach);
                frame[at] ^= 1 << rng.below(8);
            }
        }
        20..23 => {
            let trailer = 1 + rng.below(20);
            frame.extend(rng.bytes(trailer));
        }
        23..25 => {
            let at = rng.below(frame.len());
            let end = (at + 1 + rng.below(16)).min(frame.len());
            let noise = rng.bytes(end - at);
            frame[at..end].copy_from_slice(&noise);
        }
        25 => {
            let len = ethernet::LEN + rng.below(120);
            *frame = rng.bytes(len);
        }
        _ => {}
    }
}
