//! The inputs of the fuzz targets, and what they stand for.

use std::sync::OnceLock;

use crate::{
    frame::{
        packet::{Meta, Tag},
        path_report::PathReport,
    },
    testkit::{
        build::{Ip, Underlay},
        frames::{Sample, Side, World},
    },
    wire::{checksum::Sum, ethernet, ipv4, ipv6, udp, vlan, vxlan},
};

use super::headers::outer_headers;
use super::underlay::uplink;
use super::vm::port;

/// The tables that fuzz inputs are looked at with.
#[must_use]
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::default)
}

/// Runs the fuzz target `name` over an input.
pub fn target(name: &str, input: &[u8]) {
    match name {
        "outer" => fuzz_outer(input),
        "decide_uplink" => fuzz_uplink(input),
        "decide_port" => fuzz_port(input),
        "path_report" => fuzz_path_report(input),
        _ => panic!("no fuzz target {name}"),
    }
}

/// The input of a fuzz target that stands for a sample; its name comes with it.
#[must_use]
pub fn input(sample: &Sample) -> (&'static str, Vec<u8>) {
    let gso = u8::from(sample.meta.gso_size != 0);
    match sample.side {
        Side::Port(_) => {
            let interfaces = port_interfaces();
            let at = interfaces
                .iter()
                .position(|ifindex| *ifindex == sample.meta.ifindex);
            let at = u8::try_from(at.unwrap_or_default()).unwrap_or_default();
            let tag = sample.meta.tag.map_or([0, 0], |tag| tag.tci.to_be_bytes());
            let skb_tag = match sample.meta.tag {
                None => 0,
                Some(tag) if tag.tpid == vlan::TYPE_8021Q => 1,
                Some(_) => 2,
            };
            let head = vec![at | gso << 3 | skb_tag << 4, tag[0], tag[1]];
            ("decide_port", [head, sample.frame.clone()].concat())
        }
        Side::Uplink(_) | Side::Tunnel(_) => {
            ("decide_uplink", [vec![gso], sample.frame.clone()].concat())
        }
    }
}

pub(super) fn port_interfaces() -> [u32; 7] {
    let all = world().interfaces;
    [
        all.access,
        all.narrow,
        all.trunk,
        all.carrier,
        all.quiet,
        all.lone,
        all.uplink,
    ]
}

/// An input of the target `outer`: the lowest bit of the first byte says whether the frame is merged, the rest is the frame.
pub fn fuzz_outer(input: &[u8]) {
    if let Some((head, frame)) = input.split_first() {
        outer_headers(world(), frame, head & 1 == 1);
    }
}

/// An input of the target `decide_uplink`: as for [`fuzz_outer`].
pub fn fuzz_uplink(input: &[u8]) {
    if let Some((head, frame)) = input.split_first() {
        let meta = Meta {
            ifindex: world().interfaces.uplink,
            tag: None,
            gso_size: if head & 1 == 1 { 100 } else { 0 },
        };
        uplink(world(), frame, &meta);
    }
}

/// An input of the target `decide_port`: interface, GSO size and tag in the first three bytes, then the frame.
pub fn fuzz_port(input: &[u8]) {
    if let Some((meta, frame)) = port_input(input) {
        port(world(), frame, &meta);
    }
}

/// The frame that an input of [`fuzz_port`] stands for.
#[must_use]
pub fn port_input(input: &[u8]) -> Option<(Meta, &[u8])> {
    let ([head, tci @ ..], frame) = input.split_first_chunk::<3>()?;
    let interfaces = port_interfaces();
    let tpid = match head >> 4 & 3 {
        0 => None,
        2 => Some(vlan::TYPE_8021AD),
        _ => Some(vlan::TYPE_8021Q),
    };
    let meta = Meta {
        ifindex: interfaces[usize::from(head & 7) % interfaces.len()],
        tag: tpid.map(|tpid| Tag {
            tpid,
            tci: u16::from_be_bytes(*tci),
        }),
        gso_size: if head & 8 == 0 { 0 } else { 1400 },
    };
    Some((meta, frame))
}

/// An input of the target `path_report`: the lowest bit of the first byte says whether the rest is an `ICMPv6` message, or else an IPv4 packet. What
/// is cut off takes away what was said, and makes nothing up. Everything that is said stands in the message.
pub fn fuzz_path_report(input: &[u8]) {
    let Some((head, message)) = input.split_first() else {
        return;
    };
    let v6 = head & 1 == 1;
    let read = if v6 {
        PathReport::read_v6
    } else {
        PathReport::read_v4
    };
    let Some(report) = read(message) else {
        return;
    };
    assert_eq!((report.local.is_v6(), report.remote.is_v6()), (v6, v6));
    assert!(v6 || report.mtu <= u16::MAX.into());
    let ports = [report.source_port, report.udp_port].map(u16::to_be_bytes);
    let stands = |bytes: &[u8]| message.windows(bytes.len()).any(|window| window == bytes);
    assert!(stands(&ports.concat()));
    if let Some(vni) = report.vni {
        assert!(stands(&vni.to_be_bytes()[1..]));
    }
    for len in 0..message.len() {
        let cut = message.get(..len).unwrap_or_default();
        if let Some(less) = read(cut) {
            assert!(less.vni.is_none_or(|vni| Some(vni) == report.vni));
            assert_eq!(
                PathReport { vni: None, ..less },
                PathReport {
                    vni: None,
                    ..report
                }
            );
        }
    }
}

/// Inputs for [`fuzz_path_report`], by name: messages that say something, and some that nearly do.
#[must_use]
pub fn path_reports() -> Vec<(String, Vec<u8>)> {
    let mut inputs = Vec::new();
    for (v6, family, addresses) in [
        (0, "v4", ("192.0.2.1", "192.0.2.2")),
        (1, "v6", ("2001:db8::1", "2001:db8::2")),
    ] {
        let ours = Underlay::new(Ip::between(addresses.0, addresses.1), 100);
        let packet = ours.frame(&[0; 60]).split_off(ethernet::LEN);
        let header_len = if v6 == 1 { ipv6::LEN } else { ipv4::LEN };
        let lengths = [
            ("whole", packet.len()),
            ("with-a-vni", header_len + udp::LEN + vxlan::LEN),
            ("without-a-vni", header_len + udp::LEN),
            ("without-ports", header_len + udp::LEN - 1),
            ("without-a-header", header_len - 1),
        ];
        let kinds = [(3, 4), (3, 3)];
        for ((name, len), (kind, code)) in lengths
            .into_iter()
            .flat_map(|at| kinds.map(|kind| (at, kind)))
        {
            let quoted = packet.get(..len).unwrap_or_default();
            let mut message = if v6 == 1 {
                vec![if code == 4 { 2 } else { 1 }, 0, 0, 0, 0, 0, 5, 0x78]
            } else {
                vec![kind, code, 0, 0, 0, 0, 5, 0x78]
            };
            message.extend(quoted);
            let sum = Sum::default().bytes(&message).checksum();
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            if v6 == 0 {
                message = Ip::between("198.51.100.1", addresses.0).packet(1, &message);
            }
            let input = [&[v6], &message[..]].concat();
            inputs.push((format!("{family}-{code}-{name}"), input));
        }
    }
    inputs
}
