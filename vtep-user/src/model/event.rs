//! The daemon's events, as those who watch get them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EventKind, MacAddr, Vni};

/// An event: when, and what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventRow {
    /// When, in RFC 3339 with microseconds, UTC.
    pub time: String,
    /// What.
    #[serde(flatten)]
    pub what: EventDetails,
}

/// An event. Fields that do not apply are `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventDetails {
    /// What.
    pub event: EventKind,
    /// The VNI.
    pub vni: Option<Vni>,
    /// The MAC.
    pub mac: Option<MacAddr>,
    /// The host.
    #[schema(value_type = Option<crate::model::Ip>)]
    pub ip: Option<IpAddr>,
    /// The VTEP that it is behind now; in a peer event, the peer.
    #[schema(value_type = Option<crate::model::Ip>)]
    pub dst: Option<IpAddr>,
    /// The local port it is behind now.
    pub dev: Option<String>,
    /// The VTEP it was behind before.
    #[schema(value_type = Option<crate::model::Ip>)]
    pub old_dst: Option<IpAddr>,
    /// The local port it was behind before.
    pub old_dev: Option<String>,
    /// The number of events, where one row stands for several.
    pub count: Option<u64>,
    /// The cause, in a word or a sentence.
    pub why: Option<String>,
}

impl EventDetails {
    /// An event of this kind of which nothing else is said yet.
    #[must_use]
    pub const fn new(event: EventKind) -> Self {
        Self {
            event,
            vni: None,
            mac: None,
            ip: None,
            dst: None,
            dev: None,
            old_dst: None,
            old_dev: None,
            count: None,
            why: None,
        }
    }
}
