//! What a driver can do for XDP, asked of the kernel's `netdev` family of generic netlink.

use std::io;

use vtep_common::abi::id::Ifindex;

use super::{
    Error, Netlink,
    generic::{self, attribute_bytes},
};

/// `NETDEV_CMD_DEV_GET`.
const NETDEV_CMD_DEV_GET: u8 = 1;
/// `NETDEV_A_DEV_IFINDEX`.
const NETDEV_A_DEV_IFINDEX: u16 = 1;
/// `NETDEV_A_DEV_XDP_FEATURES`.
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;

/// What a driver can do for XDP (`enum netdev_xdp_act`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpFeatures(pub u64);

impl XdpFeatures {
    /// Runs programs in the driver, with pass, drop, abort and transmit.
    pub const BASIC: u64 = 1;
    /// Frames can be redirected from it.
    pub const REDIRECT: u64 = 2;
    /// Frames can be redirected to it.
    pub const NDO_XMIT: u64 = 4;
    /// `AF_XDP` without copies.
    pub const XSK_ZEROCOPY: u64 = 8;
    /// Programs can run in the hardware.
    pub const HW_OFFLOAD: u64 = 16;
    /// Programs may see frames of more than one buffer.
    pub const RX_SG: u64 = 32;
    /// Frames of more than one buffer can be redirected to it.
    pub const NDO_XMIT_SG: u64 = 64;

    /// Whether all of `wanted` are there.
    #[must_use]
    pub const fn has(self, wanted: u64) -> bool {
        self.0 & wanted == wanted
    }
}

impl Netlink {
    /// What an interface's driver can do for XDP; `None` on kernels before 6.3, which do not say, and for an
    /// interface that does not exist. A veth says that it takes redirected frames only while its other end is ready
    /// for them.
    ///
    /// The question is asked in the calling thread's network namespace, and answered at once.
    pub fn xdp_features(&self, ifindex: Ifindex) -> Result<Option<XdpFeatures>, Error> {
        ask(ifindex).map_err(|source| Error::Request {
            operation: "look up the XDP features of interface",
            object: ifindex.to_string(),
            source,
        })
    }
}

fn ask(ifindex: Ifindex) -> io::Result<Option<XdpFeatures>> {
    let index = attribute_bytes(NETDEV_A_DEV_IFINDEX, &ifindex.get().to_ne_bytes());
    let Some(answer) = generic::ask("netdev", NETDEV_CMD_DEV_GET, &index)? else {
        return Ok(None);
    };
    let features = answer.attribute(NETDEV_A_DEV_XDP_FEATURES)?;
    Ok(features
        .and_then(|bytes| <[u8; 8]>::try_from(bytes.as_slice()).ok())
        .map(|bytes| XdpFeatures(u64::from_ne_bytes(bytes))))
}
