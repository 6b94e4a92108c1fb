//! Interfaces for tests.

use vtep_common::abi::id::Ifindex;

use super::{Link, LinkKind};

/// An Ethernet interface that is up, has MTU 1500, and nothing else to say.
pub(crate) fn link(index: u32, name: &str, kind: LinkKind) -> Link {
    Link {
        index: Ifindex::new(index),
        name: name.to_owned(),
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        up: true,
        carrier: true,
        ethernet: true,
        kind,
        peer: None,
        peer_netns: None,
        master: None,
        alias: None,
        bridge_port: None,
        generic_xdp: false,
        promiscuous: false,
        qdisc: None,
    }
}
