//! Frames and look-ups that the tests of the decisions share. The tables are those of [`World`].

use vtep_common::runtime::verdict::{Deliver, Encap, Flood, ViaKernel};
use vtep_common::sim::decide_uplink;
use vtep_common::sim::decision::{Decision, Verdict};
use vtep_common::{
    abi::{addr::MacAddr, fdb::FdbTarget, reason::Reason},
    decide::{port, tunnel},
    frame::packet::{Meta, Tag},
    sim::decide_port,
    testkit::{
        build::{self, Checksum, Ip, Underlay},
        frames::{self, World},
    },
    wire::vlan,
};

/// Our own VTEP addresses.
pub(crate) const OURS_V4: &str = frames::LOCALS[0];
pub(crate) const OURS_V6: &str = frames::LOCALS[1];
/// Addresses of VTEPs that send to us.
pub(crate) const REMOTE_V4: &str = "192.0.2.2";
pub(crate) const REMOTE_V6: &str = "2001:db8::2";

/// A unicast MAC elsewhere, as a source.
pub(crate) fn elsewhere() -> MacAddr {
    frames::unicast(9_u32, 1_u32)
}

/// A world in which an entry of [`frames::PLAIN`] leads to a port of another VNI, and the MAC that it is for.
pub(crate) fn astray() -> (World, MacAddr) {
    let mut world = World::default();
    let mac = frames::unicast(frames::PLAIN, 998_u32);
    let target = FdbTarget::Port(frames::PORT_NATIVE);
    world.tables.add_fdb(frames::PLAIN, mac, target);
    (world, mac)
}

/// A frame with 100 bytes of UDP payload over IPv4.
pub(crate) fn udp_frame(destination: MacAddr) -> Vec<u8> {
    ip_frame(destination, &Ip::between("10.0.0.1", "10.0.0.2"), 100)
}

/// A frame with `len` bytes of UDP payload behind `ip`, the checksum complete.
pub(crate) fn ip_frame(destination: MacAddr, ip: &Ip, len: usize) -> Vec<u8> {
    let packet = ip.udp((4000, 5000), Checksum::Complete, &vec![0x5a; len]);
    build::ethernet(destination, elsewhere(), &[], ip.ethertype(), &packet)
}

/// A frame that is not IP.
pub(crate) fn lldp_frame(destination: MacAddr) -> Vec<u8> {
    build::ethernet(destination, elsewhere(), &[], 0x88cc, &[2; 60])
}

/// The frame with `tag` in its bytes.
pub(crate) fn tagged(frame: &[u8], tag: Tag) -> Vec<u8> {
    let tpid = tag.tpid.to_be_bytes();
    let tci = tag.tci.to_be_bytes();
    [&frame[..12], &tpid, &tci, &frame[12..]].concat()
}

/// An 802.1Q tag.
pub(crate) const fn q(vid: u16) -> Tag {
    Tag {
        tpid: vlan::TYPE_8021Q,
        tci: vid,
    }
}

/// Sound outer headers to us over both families.
pub(crate) fn underlays(vni: u32) -> [Underlay; 2] {
    [(REMOTE_V4, OURS_V4), (REMOTE_V6, OURS_V6)]
        .map(|(from, to)| Underlay::new(Ip::between(from, to), vni))
}

/// What TC at the uplink makes of a frame.
pub(crate) fn at_uplink(world: &World, frame: &[u8]) -> Decision {
    at_uplink_stage(world, frame, tunnel::DecapStage::Tc)
}

/// What XDP at the uplink makes of a frame.
pub(crate) fn at_uplink_xdp(world: &World, frame: &[u8]) -> Decision {
    at_uplink_stage(world, frame, tunnel::DecapStage::Xdp)
}

fn at_uplink_stage(world: &World, frame: &[u8], stage: tunnel::DecapStage) -> Decision {
    decide_uplink(frame, &uplink_meta(world), stage, &world.tables)
}

/// What the kernel says of a frame at the uplink.
pub(crate) fn uplink_meta(world: &World) -> Meta {
    Meta {
        ifindex: world.interfaces.uplink,
        ..Meta::default()
    }
}

/// What TC makes of a frame from the port at `ifindex`.
pub(crate) fn at_port(world: &World, ifindex: u32, frame: &[u8]) -> Decision {
    let meta = Meta {
        ifindex,
        ..Meta::default()
    };
    at_port_with(world, &meta, frame)
}

/// What XDP makes of a frame from the port at `ifindex`.
pub(crate) fn at_port_xdp(world: &World, ifindex: u32, frame: &[u8]) -> Decision {
    let meta = Meta {
        ifindex,
        ..Meta::default()
    };
    decide_port(frame, &meta, port::PortStage::Xdp, &world.tables)
}

/// What TC makes of a frame with what the kernel knows of it besides.
pub(crate) fn at_port_with(world: &World, meta: &Meta, frame: &[u8]) -> Decision {
    decide_port(frame, meta, port::PortStage::Tc, &world.tables)
}

/// The reason for which a frame was left alone.
#[track_caller]
pub(crate) fn left(decision: &Decision) -> Reason {
    match &decision.verdict {
        Verdict::Leave(reason) => *reason,
        other => panic!("not left alone: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn encap(decision: &Decision) -> Encap {
    match &decision.verdict {
        Verdict::Encap(encap) => *encap,
        other => panic!("not encapsulated: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn via_kernel(decision: &Decision) -> ViaKernel {
    match &decision.verdict {
        Verdict::ViaKernel(via) => *via,
        other => panic!("not through the kernel: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn deliver(decision: &Decision) -> Deliver {
    match &decision.verdict {
        Verdict::Deliver(deliver) => *deliver,
        other => panic!("not delivered: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn flood(decision: &Decision) -> Flood {
    match &decision.verdict {
        Verdict::Flood(flood) => *flood,
        other => panic!("not flooded: {other:?}"),
    }
}
