//! Rates as they are typed, in JSON and in print.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use vtep_common::abi::policer::Policer;

use super::{BadValue, Value};

/// Frames a second, or 0 for any number of them: `1000`, `off`. A number in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(value_type = u32, maximum = 100_000_000, example = 1000)]
pub struct FrameRate(u32);

impl FrameRate {
    /// Any number of frames.
    pub const OFF: Self = Self(0);

    /// Floods of a port for which the user names no rate. To 508 VTEPs, the most that there can be, they take half the time of a processor;
    /// a port with a thousand hosts behind it sends fewer.
    pub const BUM_DEFAULT: Self = Self(1_000);

    /// So many, or `None` for more than there can be.
    #[must_use]
    pub fn new(frames: u64) -> Option<Self> {
        let frames = (frames <= Policer::FRAMES.1).then_some(frames)?;
        u32::try_from(frames).ok().map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.into()
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.pad(OFF),
            frames => fmt::Display::fmt(&frames, f),
        }
    }
}

impl Value for FrameRate {
    const NAME: &'static str = "PPS|off";

    fn read(text: &str) -> Result<Self, BadValue> {
        if text == OFF {
            return Ok(Self::OFF);
        }
        let frames = text.parse().ok().and_then(Self::new);
        frames.ok_or_else(|| {
            BadValue::new(format!(
                "`{text}` is not a rate; give frames a second from 1 to {}, or take any number with: off",
                Policer::FRAMES.1
            ))
        })
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Serialize for FrameRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<'de> Deserialize<'de> for FrameRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let frames = u64::deserialize(deserializer)?;
        Self::new(frames).ok_or_else(|| {
            de::Error::custom(format_args!(
                "{frames} is not a rate; give frames a second from 1 to {}, or 0 for any number",
                Policer::FRAMES.1
            ))
        })
    }
}

/// The word for no limit.
const OFF: &str = "off";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_frames_is_a_number_or_off() {
        for (text, frames) in [("off", 0), ("0", 0), ("1", 1), ("100000000", 100_000_000)] {
            let rate = FrameRate::read(text).unwrap();
            assert_eq!(rate.get(), frames);
            assert_eq!(serde_json::to_string(&rate).unwrap(), frames.to_string());
            assert_eq!(FrameRate::read(&rate.write()), Ok(rate));
        }
        for bad in ["", "-1", "1.5", "none", "1kbit", "100000001", "4294967297"] {
            let refused = FrameRate::read(bad).unwrap_err().to_string();
            assert!(
                refused.contains(bad) && refused.contains("off"),
                "{refused}"
            );
        }
        let refused = serde_json::from_str::<FrameRate>("100000001").unwrap_err();
        assert!(refused.to_string().contains("100000001"), "{refused}");
    }
}
