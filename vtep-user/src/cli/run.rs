//! `vtep run`

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Failure, args, log};
use crate::control::Duplicates;
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
    /// When a MAC or a host moves too often.
    pub duplicates: Duplicates,
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
    #[arg(long, value_name = "N")]
    fdb_max: Option<u32>,
    /// Freeze a MAC where it is after so many moves; 0 for never
    #[arg(long, value_name = "N", default_value_t = Duplicates::default().moves)]
    dup_moves: u32,
    /// Count the moves of so long a time
    #[arg(long, value_name = "SECONDS", default_value_t = Duplicates::default().window_s)]
    dup_window: u32,
    /// Let a frozen MAC move again after so long; 0 to leave that to `vtep fdb del` or `replace`
    #[arg(long, value_name = "SECONDS", default_value_t = Duplicates::default().freeze_s)]
    dup_freeze: u32,
}

impl RunArgs {
    pub(super) fn options(self, instance: String) -> Result<RunOptions, Failure> {
        if self.fdb_max == Some(0) {
            return Err(Failure::refused(
                "an FDB of 0 entries holds nothing; give --fdb-max 1 or more, or leave it out",
            ));
        }
        if self.dup_window == 0 {
            return Err(Failure::refused(
                "no move fits in 0 seconds; give --dup-window 1 or more, or have no MAC frozen with: --dup-moves 0",
            ));
        }
        Ok(RunOptions {
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
            duplicates: Duplicates {
                moves: self.dup_moves,
                window_s: self.dup_window,
                freeze_s: self.dup_freeze,
            },
        })
    }
}

pub(super) fn run(args: RunArgs, instance: String) -> Result<(), Failure> {
    let options = args.options(instance)?;
    log::start()?;
    daemon::run(options).map_err(|error| Failure::Failed(error.into()))
}
