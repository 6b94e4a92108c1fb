//! `vtep run`

use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::{Failure, args};
use crate::daemon;

/// What the daemon is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
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
}

/// What takes packets from the underlay first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UplinkHook {
    /// XDP if the interface can, else TC.
    Auto,
    /// XDP.
    Xdp,
    /// TC.
    Tc,
}

/// How XDP is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum XdpMode {
    /// In the driver if it can, else in the generic way.
    Auto,
    /// In the driver.
    Native,
    /// In the generic way, which every interface can.
    Generic,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// An interface towards the underlay
    #[arg(long, required = true, value_name = "DEV", value_parser = args::dev)]
    iface: Vec<String>,
    /// An address to send from; without, one of each family from the interfaces
    #[arg(long, value_name = "IP", value_parser = args::ip)]
    local: Vec<IpAddr>,
    /// The UDP port that VXLAN packets are sent to
    #[arg(long, value_name = "PORT", default_value_t = 4789, value_parser = clap::value_parser!(u16).range(1..))]
    udp_port: u16,
    /// Read the configuration from a file (not in this version)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What takes packets from the underlay first
    #[arg(long, value_enum, default_value_t = UplinkHook::Auto)]
    uplink_hook: UplinkHook,
    /// How XDP is attached to the interfaces
    #[arg(long, value_enum, default_value_t = XdpMode::Auto)]
    xdp_mode: XdpMode,
    /// Serve metrics for Prometheus over TCP too
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
    /// Remove everything from the kernel on a clean stop
    #[arg(long)]
    teardown: bool,
    /// Most entries that the FDB can hold
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    fdb_max: Option<u32>,
}

impl RunArgs {
    pub(super) fn options(self, instance: String) -> RunOptions {
        RunOptions {
            ifaces: self.iface,
            locals: self.local,
            udp_port: self.udp_port,
            instance,
            config: self.config,
            uplink_hook: self.uplink_hook,
            xdp_mode: self.xdp_mode,
            metrics: self.metrics,
            teardown: self.teardown,
            fdb_max: self.fdb_max,
        }
    }
}

pub(super) fn run(args: RunArgs, instance: String) -> Result<(), Failure> {
    let filter = EnvFilter::try_from_env("VTEP_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    daemon::run(args.options(instance)).map_err(|error| Failure::Failed(error.into()))
}
