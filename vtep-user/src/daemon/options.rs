//! What a daemon is started with.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use crate::{control::Duplicates, datapath::XdpMode};

/// What a daemon is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The interfaces towards the underlay; at least one.
    pub ifaces: Vec<String>,
    /// The addresses to send from; empty to choose them from the interfaces.
    pub locals: Vec<IpAddr>,
    /// The UDP port that VXLAN packets are sent to; not 0.
    pub udp_port: u16,
    /// The name of the instance.
    pub instance: String,
    /// A file to read the configuration from.
    pub config: Option<PathBuf>,
    /// What takes packets from the underlay.
    pub uplink_hook: UplinkHook,
    /// How XDP is attached to the uplinks.
    pub xdp_mode: XdpMode,
    /// Where to serve metrics over TCP.
    pub metrics: Option<SocketAddr>,
    /// Whether a clean stop removes everything from the kernel.
    pub teardown: bool,
    /// Most entries of the FDB; not 0.
    pub fdb_max: Option<u32>,
    /// When a MAC or a host moves too often.
    pub duplicates: Duplicates,
}

/// What takes packets from the underlay first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UplinkHook {
    /// XDP if the interface supports it, otherwise TC.
    Auto,
    /// XDP.
    Xdp,
    /// TC.
    Tc,
}
