//! What arrives from a VM.

mod encap;
mod switch;

use std::net::Ipv4Addr;

use vtep_tests::encoder::eth;

use crate::named::{HOP_MAC, OWN_MAC, OWN_V4, OWN_V6, VXLAN, ZERO_V6};

/// The packet that a VTEP sends for VNI 100: TTL 64, DF, DSCP 0.
fn outer_v4(vni: u32, to: Ipv4Addr, tos: u8, inner: Vec<u8>) -> impl Fn(u16) -> Vec<u8> {
    move |port| {
        assert!((49152..=65535).contains(&port), "source port {port}");
        eth(OWN_MAC, HOP_MAC)
            .ipv4(OWN_V4, to)
            .tos(tos)
            .df()
            .udp_unchecked(port, VXLAN)
            .vxlan(vni)
            .bytes(&inner)
            .build()
    }
}

/// The same over IPv6 with a checksum of zero.
fn outer_v6_zero(vni: u32, inner: Vec<u8>) -> impl Fn(u16) -> Vec<u8> {
    move |port| {
        assert!((49152..=65535).contains(&port), "source port {port}");
        eth(OWN_MAC, HOP_MAC)
            .ipv6(OWN_V6, ZERO_V6)
            .udp_unchecked(port, VXLAN)
            .vxlan(vni)
            .bytes(&inner)
            .build()
    }
}
