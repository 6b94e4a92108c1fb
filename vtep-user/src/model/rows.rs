//! Rows of what cannot be set: counters, and the daemon itself. The order of a row's fields is the order of its JSON keys.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::column::{Column, Row, column};
use super::{UplinkState, Vni};

/// A counter. Fields that it is not split by are `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatsRow {
    /// The hook.
    pub hook: Option<String>,
    /// What became of the frames.
    pub reason: Option<String>,
    /// The VNI.
    pub vni: Option<Vni>,
    /// The port.
    pub dev: Option<String>,
    /// The remote VTEP.
    #[schema(value_type = Option<crate::model::Ip>)]
    pub peer: Option<IpAddr>,
    /// Frames.
    pub packets: u64,
    /// Bytes of these frames.
    pub bytes: u64,
}

/// A counter of frames that were dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DropsRow {
    /// The hook that dropped them.
    pub hook: String,
    /// Why.
    pub reason: String,
    /// Frames.
    pub packets: u64,
    /// Bytes of these frames.
    pub bytes: u64,
    /// The reason as a sentence.
    pub meaning: String,
}

/// The daemon itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The name of the instance.
    pub instance: String,
    /// The version of the daemon.
    pub version: String,
    /// Its process ID.
    pub pid: u32,
    /// The UDP port that VXLAN packets are sent to.
    pub udp_port: u16,
    /// The slow-path device, which holds the UDP port.
    pub device: Option<String>,
    /// The configuration file; `null` without one.
    pub config: Option<ConfigStatus>,
    /// The addresses that it sends from.
    #[schema(value_type = Vec<crate::model::Ip>)]
    pub locals: Vec<IpAddr>,
    /// The interfaces towards the underlay.
    pub uplinks: Vec<UplinkStatus>,
    /// What the daemon waits for, a clause each.
    pub waits_for: Vec<String>,
    /// How often the daemon has put right what others had changed about its device, its programs and its ports.
    pub repairs: u64,
    /// What it does not put right now, a sentence each.
    pub left_alone: Vec<String>,
    /// Number of VNIs.
    pub vnis: u64,
    /// Number of ports.
    pub ports: u64,
    /// Number of peers.
    pub peers: u64,
    /// Number of FDB entries.
    pub fdb: u64,
    /// Capacity of the FDB, in entries.
    pub fdb_max: u64,
    /// What there is room for.
    pub limits: Vec<LimitStatus>,
}

/// The configuration file of a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigStatus {
    /// Where it is.
    pub file: String,
    /// Whether what was set is what it says.
    pub in_step: bool,
    /// Why the file cannot be read, or be had.
    pub error: Option<String>,
}

/// What there is room for, and how much of it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitStatus {
    /// The limit: `fdb`, `fdb_learned`, `fdb_learned_by_one`, `peers`, `peers_learned`, `hosts`, `hosts_snooped`, `hosts_of_mac`,
    /// `hosts_claimed`, `vnis`, `ports` or `nexthops`.
    pub limit: String,
    /// How much is used; `null` for a limit that each VNI, port or MAC has.
    pub used: Option<u64>,
    /// The most that fits now.
    pub max: u64,
}

/// An interface towards the underlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UplinkStatus {
    /// The interface.
    pub dev: String,
    /// Whether it can be used.
    pub state: UplinkState,
    /// The hook that takes its packets first: `xdp native`, `xdp generic` or `tc`; `none` as long as it does not exist.
    pub hook: String,
    /// Why it is not `xdp native`.
    pub why: Option<String>,
}

impl Row for StatsRow {
    const COLUMNS: &'static [Column<Self>] = &[
        column!(hook, optional),
        column!(reason, optional),
        column!(vni, optional),
        column!(dev, optional),
        column!(peer, optional),
        column!(packets, text),
        column!(bytes, text),
    ];
}

impl Row for DropsRow {
    const COLUMNS: &'static [Column<Self>] = &[
        column!(hook, text),
        column!(reason, text),
        column!(packets, text),
        column!(bytes, text),
        column!(meaning, text),
    ];
}
