//! `vtep run`

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, ValueEnum, builder::PossibleValue};

use super::failure::Failure;
use super::log;
use crate::control::Duplicates;
use crate::daemon::{self, Options, UplinkHook};
use crate::datapath::XdpMode;
use crate::model::Value as _;

/// Under which name, and with which help, each of them is given.
const UPLINK_HOOKS: [(UplinkHook, &str, &str); 3] = [
    (
        UplinkHook::Auto,
        "auto",
        "XDP if the interface supports it, otherwise TC",
    ),
    (UplinkHook::Xdp, "xdp", "XDP"),
    (UplinkHook::Tc, "tc", "TC"),
];
/// See [`UPLINK_HOOKS`].
const XDP_MODES: [(XdpMode, &str, &str); 3] = [
    (
        XdpMode::Auto,
        "auto",
        "Native mode if the driver supports it, otherwise generic mode",
    ),
    (XdpMode::Native, "native", "Native mode, in the driver"),
    (
        XdpMode::Generic,
        "generic",
        "Generic mode, which every interface supports",
    ),
];

/// The name and the help of a value.
fn named<T: PartialEq>(
    names: &[(T, &'static str, &'static str)],
    value: &T,
) -> Option<PossibleValue> {
    let (_, name, help) = names.iter().find(|(known, ..)| known == value)?;
    Some(PossibleValue::new(*name).help(*help))
}

impl ValueEnum for UplinkHook {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Xdp, Self::Tc]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        named(&UPLINK_HOOKS, self)
    }
}

impl ValueEnum for XdpMode {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Native, Self::Generic]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        named(&XDP_MODES, self)
    }
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// An interface towards the underlay
    #[arg(long, required = true, value_name = "DEV", value_parser = String::read)]
    iface: Vec<String>,
    /// An address to send from; without it, one of each family from the interfaces
    #[arg(long, value_name = "IP", value_parser = IpAddr::read)]
    local: Vec<IpAddr>,
    /// The UDP port of VXLAN
    #[arg(long, value_name = "PORT", default_value_t = 4789, value_parser = clap::value_parser!(u16).range(1..))]
    udp_port: u16,
    /// Read the configuration from a file (not in this version)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The hook that takes packets from the underlay first
    #[arg(long, value_enum, default_value_t = UplinkHook::Auto)]
    uplink_hook: UplinkHook,
    /// How XDP is attached to the interfaces
    #[arg(long, value_enum, default_value_t = XdpMode::Auto)]
    xdp_mode: XdpMode,
    /// Also serve Prometheus metrics over TCP, at this address
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
    /// Remove everything from the kernel on a clean stop
    #[arg(long)]
    teardown: bool,
    /// Most entries that the FDB can hold
    #[arg(long, value_name = "N")]
    fdb_max: Option<u32>,
    /// Freeze a MAC in its place after this many moves; 0 for never
    #[arg(long, value_name = "N", default_value_t = Duplicates::default().moves)]
    dup_moves: u32,
    /// Count the moves within this time
    #[arg(long, value_name = "SECONDS", default_value_t = Duplicates::default().window_s)]
    dup_window: u32,
    /// Let a frozen MAC move again after this time; 0 to wait for `vtep fdb del` or `replace`
    #[arg(long, value_name = "SECONDS", default_value_t = Duplicates::default().freeze_s)]
    dup_freeze: u32,
}

impl RunArgs {
    pub(super) fn options(self, instance: String) -> Result<Options, Failure> {
        if self.fdb_max == Some(0) {
            return Err(Failure::refused(
                "an FDB of 0 entries holds nothing; give --fdb-max 1 or more, or leave it out",
            ));
        }
        if self.dup_window == 0 {
            return Err(Failure::refused(
                "no MAC moves within 0 seconds; give --dup-window 1 or more, or freeze no MAC with: --dup-moves 0",
            ));
        }
        Ok(Options {
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
