//! A trace: the frame that is traced, and a row for each step of its decision.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use crate::model::argument::{ArgumentList, Rule, setting};
use crate::model::column::{Column, Row, column};
use crate::model::{
    BadValue, CaptureEnd, CaptureFilter, MacAddr, Parameters, TraceStep, Value, VlanId,
};

/// The bytes of a frame, from its Ethernet header on, without a frame check sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameBytes(Vec<u8>);

impl FrameBytes {
    /// The most that are taken: no device has a larger MTU, and what is longer in a capture is a GSO packet, which the bytes alone do not
    /// tell.
    pub const MOST: usize = 16_384;

    /// Bytes that are those of one frame.
    ///
    /// # Errors
    ///
    /// If there are none, or too many.
    pub fn new(bytes: Vec<u8>) -> Result<Self, BadValue> {
        match bytes.len() {
            0 => Err(BadValue::new(
                "there are no bytes; give those of the frame, from its destination MAC on",
            )),
            len if len > Self::MOST => Err(BadValue::new(format!(
                "{len} bytes are more than the {} of a frame; a GSO packet is traced as one of the frames that it is segmented into",
                Self::MOST
            ))),
            _ => Ok(Self(bytes)),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// From hexadecimal digits, with or without separators; the offsets that `tcpdump -xx` prints are no part of the frame.
    fn of_hex(text: &str) -> Result<Self, BadValue> {
        let is_offset = |word: &&str| word.starts_with("0x") && word.ends_with(':');
        let words = text.split_whitespace().filter(|word| !is_offset(word));
        let parts = words
            .flat_map(|word| word.split([':', '-', '.', ',']))
            .map(|part| part.strip_prefix("0x").unwrap_or(part));
        let mut digits = String::new();
        for part in parts {
            if let Some(other) = part.chars().find(|digit| !digit.is_ascii_hexdigit()) {
                return Err(BadValue::new(format!(
                    "`{}` is no hexadecimal digit; give the bytes of the frame, from its destination MAC on, as in: 02000000000b02000000000a0800...",
                    other.escape_debug()
                )));
            }
            // Digits from both sides of a separator are no byte.
            if !part.len().is_multiple_of(2) {
                let (_, last) = part.split_at(part.len().saturating_sub(8));
                return Err(BadValue::new(format!(
                    "{} hexadecimal digits, which end with `{last}`, are no whole bytes; give two for each byte",
                    part.len()
                )));
            }
            digits += part;
        }
        let bytes = (0..digits.len()).step_by(2);
        let bytes = bytes.filter_map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok());
        Self::new(bytes.collect())
    }
}

/// Two hexadecimal digits for each byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes what is written to it");
        text
    })
}

impl Value for FrameBytes {
    const NAME: &'static str = "HEX";

    fn read(text: &str) -> Result<Self, BadValue> {
        Self::of_hex(text)
    }

    fn write(&self) -> String {
        hex(&self.0)
    }
}

impl Serialize for FrameBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for FrameBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::of_hex(&text).map_err(D::Error::custom)
    }
}

/// Whom a frame is for: a MAC, or a host whose MAC is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceTo {
    /// A MAC.
    Mac(MacAddr),
    /// A host.
    Ip(IpAddr),
}

impl fmt::Display for TraceTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => mac.fmt(f),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

impl Value for TraceTo {
    const NAME: &'static str = "MAC|IP";

    fn read(text: &str) -> Result<Self, BadValue> {
        let mac = text.parse().map(Self::Mac);
        mac.or_else(|_| text.parse().map(Self::Ip)).map_err(|_| {
            BadValue::new(format!(
                "`{text}` is neither a MAC nor an IP address; write it like 02:00:00:00:00:0b or 192.0.2.2"
            ))
        })
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Serialize for TraceTo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceTo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::read(&text).map_err(D::Error::custom)
    }
}

/// The frame that is traced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TraceSpec {
    /// Its bytes as hexadecimal digits, from its Ethernet header on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<FrameBytes>,
    /// Instead, the MAC or the IP that a frame made for the trace goes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst: Option<TraceTo>,
    /// The MAC that it comes from; without it, one that is known behind the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src: Option<MacAddr>,
    /// Its bytes, the Ethernet header included; 98 without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 60, maximum = 16384)]
    pub size: Option<u32>,
    /// The VLAN that it is tagged with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
}

impl Parameters for TraceSpec {
    fn blank() -> Self {
        Self::default()
    }
}

/// What `vtep trace` takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceOptions {
    /// The frame.
    pub spec: TraceSpec,
    /// The capture that frames are read from.
    pub pcap: Option<PathBuf>,
    /// How many frames are awaited, which really come.
    pub live: Option<u32>,
    /// For how long, in seconds.
    pub seconds: Option<u32>,
    /// Which frames are awaited.
    pub filter: CaptureFilter,
}

impl TraceOptions {
    /// Whether something is said of frames that are awaited.
    #[must_use]
    pub fn is_of_live(&self) -> bool {
        self.live.is_some() || self.seconds.is_some() || self.filter != CaptureFilter::default()
    }
}

/// How long frames are awaited unless it is said, in seconds.
pub const LIVE_SECONDS: u32 = 60;

/// The options of `vtep trace`.
pub static OPTIONS: ArgumentList<TraceOptions> = ArgumentList {
    settings: &[
        setting!(
            TraceOptions,
            spec.frame,
            "--frame",
            "The bytes of the frame as hexadecimal digits, with or without separators"
        ),
        setting!(
            TraceOptions,
            pcap,
            "--pcap",
            "Each frame of this capture, pcap or pcapng"
        ),
        setting!(
            TraceOptions,
            spec.dst,
            "--dst",
            "A frame to this MAC, or to the MAC that this IP is known to have"
        ),
        setting!(
            TraceOptions,
            spec.src,
            "--src",
            "The MAC that it comes from, instead of one that is known behind the port"
        ),
        setting!(
            TraceOptions,
            spec.size,
            "--size",
            "Its bytes, the Ethernet header included"
        )
        .value_name("BYTES"),
        setting!(
            TraceOptions,
            spec.vlan,
            "--vlan",
            "The VLAN that it is tagged with"
        )
        .value_name("ID"),
        setting!(
            TraceOptions,
            live,
            "--live",
            "So many frames as they really come, each with what became of it; DEV may be left out"
        )
        .value_name("N"),
        setting!(
            TraceOptions,
            seconds,
            "--seconds",
            "How long to wait for the frames of --live; 60 without it"
        ),
        setting!(
            TraceOptions,
            filter.vni,
            "--vni",
            "With --live: only frames of this VNI, also of one that does not exist here"
        ),
        setting!(
            TraceOptions,
            filter.mac,
            "--mac",
            "With --live: only frames from or to this MAC"
        ),
        setting!(
            TraceOptions,
            filter.peer,
            "--peer",
            "With --live: only frames from or to this VTEP"
        )
        .value_name("IP"),
        setting!(
            TraceOptions,
            filter.reason,
            "--reason",
            "With --live: only frames that end for this reason"
        ),
        setting!(
            TraceOptions,
            filter.drops,
            "--drops",
            "With --live: only frames that are dropped"
        ),
    ],
    rules: &[
        Rule::One(&["--frame", "--pcap", "--dst", "--live"]),
        Rule::NotBoth("--src", "--live"),
        Rule::NotBoth("--size", "--live"),
        Rule::NotBoth("--vlan", "--live"),
        Rule::NotBoth("--src", "--frame"),
        Rule::NotBoth("--src", "--pcap"),
        Rule::NotBoth("--size", "--frame"),
        Rule::NotBoth("--size", "--pcap"),
        Rule::NotBoth("--vlan", "--frame"),
        Rule::NotBoth("--vlan", "--pcap"),
    ],
};

/// A [`TraceSpec`] comes by the API alone: what is typed fills [`OPTIONS`].
pub static FRAME: ArgumentList<TraceSpec> = ArgumentList {
    settings: &[],
    rules: &[],
};

/// What is traced, and at which interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceAt {
    /// A port or an uplink.
    pub dev: String,
    /// The frame.
    pub spec: TraceSpec,
}

/// A line of a live trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum LiveLine {
    /// A step of a decision, or what really happened, which is the last row of a frame.
    Row(TraceRow),
    /// The end.
    End(CaptureEnd),
}

/// One step of a decision. The last row of a frame says what becomes of it, or of one that came, what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TraceRow {
    /// The number of the frame, from 1 on.
    pub frame: u32,
    /// The hook: `uplink_xdp`, `uplink`, `tunnel`, `port` or `port_xdp`.
    pub hook: String,
    /// What the row is about.
    pub step: TraceStep,
    /// What was looked up or decided, in words.
    pub text: String,
    /// Of a verdict, and of a copy that is lost, the reason that is counted.
    pub reason: Option<String>,
    /// The VTEPs that the row is about; of a verdict, those that the frame or its copies go to.
    #[schema(value_type = Vec<crate::model::Ip>)]
    pub vteps: Vec<IpAddr>,
    /// The ports, likewise.
    pub ports: Vec<String>,
    /// The outer header of a packet that leaves, as hexadecimal digits.
    pub outer: Option<String>,
}

impl Row for TraceRow {
    const COLUMNS: &'static [Column<Self>] = &[
        column!(hook, text),
        column!(step, text),
        column!(text, text),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_and_without_separators() {
        let want = FrameBytes(vec![0x02, 0, 0, 0, 0, 0x0b, 0xff]);
        for text in [
            "0200000000 0bff",
            "02:00:00:00:00:0b:FF",
            "02-00-00-00-00-0b ff",
            "0200.0000.000b ff",
            "0x02 0x00 0x00 0x00 0x00 0x0b 0xff",
            "\t0x0000:  0200 0000 000b\n\t0x0006:  ff\n",
        ] {
            assert_eq!(FrameBytes::read(text), Ok(want.clone()), "{text}");
        }
        assert_eq!(FrameBytes::read(&want.write()), Ok(want));
    }

    #[test]
    fn what_are_no_bytes_is_refused_with_what_to_type() {
        for (text, says) in [
            ("02 0g", "`g` is no hexadecimal digit"),
            ("020", "give two for each byte"),
            ("2:0:0:0:0:b", "give two for each byte"),
            ("0200 000 00b", "3 hexadecimal digits, which end with `000`"),
            ("", "there are no bytes"),
            (&"00".repeat(FrameBytes::MOST + 1), "GSO packet"),
        ] {
            let refused = FrameBytes::read(text).unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
        }
    }

    #[test]
    fn a_destination_is_a_mac_or_an_ip() {
        for text in ["02:00:00:00:00:0b", "192.0.2.2", "fd00::2"] {
            assert_eq!(TraceTo::read(text).unwrap().write(), text);
        }
        assert!(TraceTo::read("tap0").is_err());
    }
}
