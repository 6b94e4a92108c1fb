//! What stands on the underlay, byte by byte (RFC 7348 §5).

mod fields;
mod segments;
mod sorts;
mod source_ports;

use std::net::IpAddr;

use vtep_tests::dump::assert_same;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::GREEN;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_MAC, Wire};

fn source_port(wire: &Wire, packet: &[u8]) -> u16 {
    let base = wire.family.outer_len() - 16;
    u16::from_be_bytes([packet[base], packet[base + 1]])
}

/// The ECN bits of an inner frame, as far as it is IP.
fn inner_ecn(frame: &[u8]) -> u8 {
    match frame {
        [
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            8,
            0,
            version,
            tos,
            rest @ ..,
        ] if version >> 4 == 4 && version & 15 >= 5 && rest.len() >= 18 => tos & 3,
        [
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            0x86,
            0xdd,
            version,
            low,
            rest @ ..,
        ] if version >> 4 == 6 && rest.len() >= 38 => low >> 4 & 3,
        _ => 0,
    }
}

/// Compares a whole packet with what RFC 7348 and RFC 6040 ask for by default. Free to the sender
/// are the source port, within its range, and the identification, which means nothing in a packet
/// with DF (RFC 6864).
#[track_caller]
fn assert_encapsulated(wire: &Wire, got: &[u8], inner: &[u8], what: &str) {
    assert_encapsulated_for(wire, wire.far_ip, got, inner, what);
}

/// As [`assert_encapsulated`], for another VTEP behind the same next hop.
#[track_caller]
fn assert_encapsulated_for(wire: &Wire, far_ip: IpAddr, got: &[u8], inner: &[u8], what: &str) {
    let port = source_port(wire, got);
    assert!(port >= 49152, "{what}: source port {port}");
    let head = eth(wire.mac, FAR_MAC)
        .ip(wire.ip, far_ip)
        .ttl(64)
        .tos(inner_ecn(inner));
    let head = match wire.family {
        Family::V4 => {
            let id = u16::from_be_bytes([got[18], got[19]]);
            head.fragment(id, 0x4000).udp_unchecked(port, 4789)
        }
        Family::V6 => head.udp(port, 4789),
    };
    assert_same(got, &head.vxlan(GREEN).bytes(inner).build(), what);
}

/// Puts a VTEP on the flood list.
fn flood_to(wire: &Wire, far: IpAddr) {
    let zero = Mac::ZERO;
    wire.daemon
        .ok(&format!("fdb append {zero} --vni {GREEN} --dst {far}"));
}
