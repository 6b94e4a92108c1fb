//! The daemon: what `vtep run` takes.
//!
//! An option is a field of [`RunOptions`] and a setting in the list below it. What it does is decided where the daemon starts:
//! `daemon/start.rs`.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vtep_common::wire::vxlan;

use crate::model::argument::{ArgumentList, setting};
use crate::model::{BadValue, UplinkHook, XdpMode, limits};

/// What a daemon is started with, besides the name of its instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// The interfaces towards the underlay; at least one.
    pub ifaces: Vec<String>,
    /// The addresses to send from; empty to choose them from the interfaces.
    pub locals: Vec<IpAddr>,
    /// The UDP port that VXLAN packets are sent to.
    pub udp_port: NonZeroU16,
    /// A file to read the configuration from.
    pub config: Option<PathBuf>,
    /// What takes packets from the underlay.
    pub uplink_hook: UplinkHook,
    /// How XDP is attached to the uplinks.
    pub xdp_mode: XdpMode,
    /// Where to serve metrics over TCP.
    pub metrics: Option<SocketAddr>,
    /// The group whose members may use the API; without one, that of the daemon.
    pub socket_group: Option<String>,
    /// The group whose members may look at everything and change nothing.
    pub view_group: Option<String>,
    /// Whether to wait for interfaces and addresses that are not there; a daemon with a configuration file does.
    pub wait: bool,
    /// Whether a clean stop removes everything from the kernel.
    pub teardown: bool,
    /// Most entries of the FDB; not 0.
    pub fdb_max: Option<u32>,
    /// When a MAC or a host moves too often.
    pub duplicates: Duplicates,
}

/// When a MAC that moves counts as a duplicate, and is frozen where it is (RFC 7432 section 15.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicates {
    /// So many moves, 0 for never.
    pub moves: u32,
    /// Within so many seconds.
    pub window_s: u32,
    /// Frozen for so many seconds, 0 until it is cleared by hand.
    pub freeze_s: u32,
}

/// The name of the option that names a configuration file.
pub const CONFIG: &str = "--config";

/// An option of `vtep run`, as it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunOption {
    /// Its name.
    pub name: String,
    /// Its value; empty if it takes none.
    pub value: String,
}

/// The options of a daemon: those of a configuration file, but for those that were typed.
///
/// # Errors
///
/// If a value makes no sense.
pub fn options(file: &[RunOption], typed: &[RunOption]) -> Result<RunOptions, BadValue> {
    let mut options = RunOptions::default();
    let was_typed = |name: &str| typed.iter().any(|option| option.name == name);
    let left = file.iter().filter(|option| !was_typed(&option.name));
    for RunOption { name, value } in left.chain(typed) {
        let mut settings = OPTIONS.settings.iter();
        let setting = settings.find(|setting| setting.argument.name == name);
        let setting =
            setting.ok_or_else(|| BadValue::new(format!("{name} is no option of `run`")))?;
        (setting.set)(&mut options, value)?;
    }
    Ok(options)
}

/// The names of the options that differ.
#[must_use]
pub fn changed(old: &RunOptions, new: &RunOptions) -> Vec<&'static str> {
    let settings = OPTIONS.settings.iter();
    settings
        .filter(|setting| setting.argument.name != CONFIG)
        .filter(|setting| (setting.get)(old) != (setting.get)(new))
        .map(|setting| setting.argument.name)
        .collect()
}

/// The options of `vtep run`.
pub static OPTIONS: ArgumentList<RunOptions> = ArgumentList {
    settings: &[
        setting!(
            RunOptions,
            ifaces,
            "--iface",
            "An interface towards the underlay"
        )
        .value_name("DEV"),
        setting!(
            RunOptions,
            locals,
            "--local",
            "An address to send from; without it, one of each family from the interfaces"
        )
        .value_name("IP"),
        setting!(RunOptions, udp_port, "--udp-port", "The UDP port of VXLAN").default("4789"),
        setting!(
            RunOptions,
            config,
            "--config",
            "Read the configuration from a file; without it and --iface, from /etc/vtep/INSTANCE.conf"
        ),
        setting!(
            RunOptions,
            uplink_hook,
            "--uplink-hook",
            "The hook that takes packets from the underlay first"
        )
        .default("auto"),
        setting!(
            RunOptions,
            xdp_mode,
            "--xdp-mode",
            "How XDP is attached to the interfaces"
        )
        .default("auto"),
        setting!(
            RunOptions,
            metrics,
            "--metrics",
            "Also serve Prometheus metrics over TCP, at this address"
        ),
        setting!(
            RunOptions,
            socket_group,
            "--socket-group",
            "Let the members of a group use the API, changes included"
        )
        .value_name("GROUP"),
        setting!(
            RunOptions,
            view_group,
            "--view-group",
            "Let the members of a group look at everything, by a socket that changes nothing"
        )
        .value_name("GROUP"),
        setting!(
            RunOptions,
            wait,
            "--wait",
            "Start without interfaces and addresses that are not there yet, and wait for them; with a configuration file always"
        ),
        setting!(
            RunOptions,
            teardown,
            "--teardown",
            "Remove everything from the kernel on a clean stop"
        ),
        setting!(
            RunOptions,
            fdb_max,
            "--fdb-max",
            "Most entries that the FDB can hold"
        )
        .value_name("N")
        .read_by(
            limits::check_number,
            |to, text| limits::fdb_max(text).map(|it| to.fdb_max = Some(it)),
            |from| from.fdb_max.iter().map(u32::to_string).collect(),
        ),
        setting!(
            RunOptions,
            duplicates.moves,
            "--dup-moves",
            "Freeze a MAC in its place after this many moves; 0 for never"
        )
        .value_name("N")
        .default("5"),
        setting!(
            RunOptions,
            duplicates.window_s,
            "--dup-window",
            "Count the moves within this time"
        )
        .value_name("SECONDS")
        .default("180")
        .read_by(
            limits::check_number,
            |to, text| limits::dup_window(text).map(|it| to.duplicates.window_s = it),
            |from| vec![from.duplicates.window_s.to_string()],
        ),
        setting!(
            RunOptions,
            duplicates.freeze_s,
            "--dup-freeze",
            "Let a frozen MAC move again after this time; 0 to wait for `vtep fdb del` or `replace`"
        )
        .value_name("SECONDS")
        .default("180"),
    ],
    rules: &[],
};

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            ifaces: Vec::new(),
            locals: Vec::new(),
            udp_port: NonZeroU16::new(vxlan::PORT).expect("the port of VXLAN is not 0"),
            config: None,
            uplink_hook: UplinkHook::Auto,
            xdp_mode: XdpMode::Auto,
            metrics: None,
            socket_group: None,
            view_group: None,
            wait: false,
            teardown: false,
            fdb_max: None,
            duplicates: Duplicates::default(),
        }
    }
}

impl Default for Duplicates {
    fn default() -> Self {
        Self {
            moves: 5,
            window_s: 180,
            freeze_s: 180,
        }
    }
}
