//! Which frames `vtep capture` takes, where it puts them, and what is said of each.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use vtep_common::abi::reason::Reason;

use crate::model::argument::{ArgumentList, setting};
use crate::model::{BadValue, MacAddr, Parameters, Refusal, Value, Vni};

/// A reason, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReasonName(Reason);

impl ReasonName {
    /// The reason.
    #[must_use]
    pub const fn get(self) -> Reason {
        self.0
    }
}

/// Every name, with its meaning.
const REASONS: [(&str, &str); Reason::ALL.len()] = {
    let mut words = [("", ""); Reason::ALL.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = (Reason::ALL[at].name(), Reason::ALL[at].meaning());
        at += 1;
    }
    words
};

impl Value for ReasonName {
    const WORDS: &'static [(&'static str, &'static str)] = &REASONS;
    const NAME: &'static str = "REASON";

    fn read(text: &str) -> Result<Self, BadValue> {
        let reason = Reason::ALL.iter().find(|reason| reason.name() == text);
        reason.copied().map(Self).ok_or_else(|| {
            BadValue::new(format!(
                "`{text}` is not the name of a reason; docs/reasons.md lists them, and so does: vtep drops"
            ))
        })
    }

    fn write(&self) -> String {
        self.0.name().to_owned()
    }
}

impl TryFrom<String> for ReasonName {
    type Error = BadValue;

    fn try_from(text: String) -> Result<Self, BadValue> {
        Self::read(&text)
    }
}

impl From<ReasonName> for String {
    fn from(name: ReasonName) -> Self {
        name.write()
    }
}

impl fmt::Display for ReasonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.name())
    }
}

/// Which frames are captured: those that match every given field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CaptureFilter {
    /// From or to this port, flooded in its VNI, or come in by this uplink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Of this VNI, also where it does not exist here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<u32>)]
    pub vni: Option<Vni>,
    /// From or to this MAC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub mac: Option<MacAddr>,
    /// From or to this VTEP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    pub peer: Option<IpAddr>,
    /// That ended for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    pub reason: Option<ReasonName>,
    /// That were dropped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drops: bool,
    /// No more than so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    #[param(minimum = 1)]
    pub count: Option<u32>,
}

impl CaptureFilter {
    /// Refuses what no frame would ever match.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.count == Some(0) {
            return Err(Refusal::invalid(
                "0 frames show nothing; give a number from 1 on, or leave --count out and end the capture with Ctrl-C",
            ));
        }
        Ok(())
    }

    /// Whether the programs leave no frame to the daemon that this does not match. They know reasons for certain; of a frame that is dropped
    /// early, they know neither its VNI nor its VTEP, and they look at no MAC.
    #[must_use]
    pub const fn is_exact_in_the_kernel(&self) -> bool {
        self.dev.is_none() && self.vni.is_none() && self.mac.is_none() && self.peer.is_none()
    }
}

impl Parameters for CaptureFilter {
    fn blank() -> Self {
        Self::default()
    }
}

/// What `vtep capture` takes besides the interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureOptions {
    /// Which frames.
    pub filter: CaptureFilter,
    /// The file that they are written to; `-` for standard output.
    pub write: Option<PathBuf>,
}

/// The options of `vtep capture`.
pub static OPTIONS: ArgumentList<CaptureOptions> = ArgumentList {
    settings: &[
        setting!(
            CaptureOptions,
            filter.vni,
            "--vni",
            "Only frames of this VNI, also of one that does not exist here"
        ),
        setting!(
            CaptureOptions,
            filter.mac,
            "--mac",
            "Only frames from or to this MAC"
        ),
        setting!(
            CaptureOptions,
            filter.peer,
            "--peer",
            "Only frames from or to this VTEP"
        )
        .value_name("IP"),
        setting!(
            CaptureOptions,
            filter.reason,
            "--reason",
            "Only frames that ended for this reason"
        ),
        setting!(
            CaptureOptions,
            filter.drops,
            "--drops",
            "Only frames that were dropped"
        ),
        setting!(
            CaptureOptions,
            filter.count,
            "--count",
            "End after so many frames"
        )
        .value_name("N"),
        setting!(
            CaptureOptions,
            write,
            "--write",
            "Write the frames as pcapng to a file, or with `-` to standard output"
        )
        .letter('w'),
    ],
    rules: &[],
};

/// A captured frame. Fields that do not apply are `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CaptureRow {
    /// When, in RFC 3339 with nanoseconds, UTC.
    pub time: String,
    /// Where in the data path it ended.
    pub hook: String,
    /// Why it ended there.
    pub reason: String,
    /// As in `vtep stats`: `tx` from a port, `rx` from a VTEP.
    pub direction: String,
    /// The interface that it came in by.
    pub iface: Option<String>,
    /// The port that it came from, or else the one that it went to.
    pub dev: Option<String>,
    /// The port that it went to, where it came from another one.
    pub to_dev: Option<String>,
    /// The VNI.
    pub vni: Option<Vni>,
    /// The VTEP that it came from or went to.
    #[schema(value_type = Option<String>)]
    pub peer: Option<IpAddr>,
    /// Bytes of the frame, also of those that were not captured.
    pub len: u32,
    /// The outer headers could not be read, and `bytes` are the whole packet.
    pub outer_unreadable: bool,
    /// The inner frame in hexadecimal digits, as far as it was captured.
    pub bytes: String,
}

/// The last line of a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CaptureEnd {
    /// Frames that matched and were sent.
    pub captured: u64,
    /// Frames that were left out and may have matched, because more ended in a second than a capture takes.
    pub over_rate: u64,
    /// Frames that were left out and may have matched, because the ring buffer was full.
    pub no_room: u64,
    /// Frames that matched and were left out, because the reader was too slow.
    pub unread: u64,
}

impl CaptureEnd {
    /// Frames that were left out.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.over_rate
            .saturating_add(self.no_room)
            .saturating_add(self.unread)
    }
}

/// A line of a capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum CaptureLine {
    /// A frame.
    Frame(Box<CaptureRow>),
    /// The end.
    End(CaptureEnd),
}
