//! What holds for the whole instance.

use bytemuck::{Pod, Zeroable};

use super::flags::{ConfigFlags, flagged};

/// What holds for the whole instance: 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Config {
    /// [`LAYOUT_VERSION`](crate::abi::map::LAYOUT_VERSION) of the daemon that made the maps.
    pub layout: u32,
    /// Interface number of the slow-path device.
    pub device: u32,
    /// UDP port of VXLAN.
    pub udp_port: u16,
    /// The flags below.
    pub flags: ConfigFlags,
    /// Zero.
    pub pad: u32,
}

impl Config {
    /// Frames can reach the uplink's XDP hook with inner checksums still to be filled in by offload (the uplink is a veth):
    /// XDP leaves those to TC, where the kernel remembers the offload.
    pub const PARTIAL_CHECKSUMS: ConfigFlags = ConfigFlags::bit(0);
    /// XDP leaves every frame to TC: it is generic XDP on a veth, where the *outer* checksum can still be to be filled in by
    /// offload too. The kernel would remember that of a frame whose outer headers are gone.
    pub const XDP_LEAVES_ALL: ConfigFlags = ConfigFlags::bit(1);
}

flagged!(Config: ConfigFlags);

const _: () = assert!(size_of::<Config>() == 16);
