//! What the control side needs to know of an interface.

use vtep_common::abi::addr::MacAddr;

use crate::{
    control::{LinkFacts, Others},
    netlink::{Error, Link, LinkKind, Netlink, XdpFeatures},
};

/// True if XDP can redirect to the interface without a frame being lost silently.
///
/// Drivers say so since 6.3; a veth only while its other end takes such frames (NAPI: GRO or an XDP program there). A tap always
/// does, and older kernels say nothing: there only taps count.
pub(super) fn is_xdp_target(netlink: &Netlink, link: &Link) -> Result<bool, Error> {
    Ok(match netlink.xdp_features(link.index)? {
        Some(features) => features.has(XdpFeatures::NDO_XMIT),
        None => link.kind == LinkKind::Tap,
    })
}

/// What the control side needs to know of `link`, at which others have set so much.
pub(super) fn of_port(netlink: &Netlink, link: &Link, others: Others) -> Result<LinkFacts, Error> {
    Ok(LinkFacts {
        ifindex: link.index,
        name: link.name.clone(),
        mtu: link.mtu,
        xdp_target: is_xdp_target(netlink, link)?,
        other_end: netlink.other_end(link)?.map(MacAddr::from_bytes),
        others,
    })
}
