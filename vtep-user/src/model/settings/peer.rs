//! A remote VTEP: its settings, and its row.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::argument::{ArgumentList, Rule, setting};
use crate::model::column::{Column, Row, column};
use crate::model::{MacAddr, Parameters, PeerState, Source};

/// What to set on a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PeerSpec {
    /// Whether packets to it carry outer UDP checksums over IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csum6: Option<bool>,
}

/// The settings of a peer to change.
pub static CHANGE: ArgumentList<PeerSpec> = ArgumentList {
    settings: &[setting!(
        PeerSpec,
        csum6,
        "--csum6",
        "Send correct outer UDP checksums over IPv6 (on), or zero (off)"
    )],
    rules: &[Rule::Something {
        besides: &[],
        sentence: "nothing to set; give --csum6 on or --csum6 off",
    }],
};

impl Parameters for PeerSpec {
    fn blank() -> Self {
        Self::default()
    }
}

/// A remote VTEP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerRow {
    /// Its underlay IP.
    #[schema(value_type = crate::model::Ip)]
    pub ip: IpAddr,
    /// The uplink towards it.
    pub dev: Option<String>,
    /// The MAC of its next hop.
    pub mac: Option<MacAddr>,
    /// Whether packets can be sent to it.
    pub state: PeerState,
    /// The largest IP packet that the path to it carries: the MTU of the route, or what the underlay says is less.
    pub mtu: Option<u32>,
    /// Whether packets to it carry outer UDP checksums over IPv6; `null` over IPv4.
    pub csum6: Option<bool>,
    /// The gateway towards it; `null` if it is on the link.
    #[schema(value_type = Option<crate::model::Ip>)]
    pub via: Option<IpAddr>,
    /// Who said how it is sent to; `null` if nobody did.
    pub source: Option<Source>,
    /// For how many seconds the underlay is still believed that it is less; `null` where it says nothing.
    pub mtu_expires_s: Option<u64>,
}

impl Row for PeerRow {
    const COLUMNS: &'static [Column<Self>] = &[
        column!(ip, text),
        column!(state, text),
        column!(dev, optional),
        column!(mac, optional),
        column!(mtu, optional),
        column!(source, optional),
    ];
    const DETAILS: &'static [Column<Self>] = &[
        column!(mtu_expires_s, optional),
        column!(via, optional),
        column!(csum6, optional_on_off),
    ];
}
