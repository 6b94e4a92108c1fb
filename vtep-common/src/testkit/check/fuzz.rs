//! The inputs of the fuzz targets, and what they stand for.

use std::sync::OnceLock;

use crate::{
    frame::packet::{Meta, Tag},
    testkit::frames::{Sample, Side, World},
    wire::vlan,
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
