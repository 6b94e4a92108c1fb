//! Rates as they are typed, in JSON and in print.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};
use vtep_common::abi::policer::Policer;

use super::{BadValue, Value};

/// Frames a second, or 0 for any number of them: `1000`, `off`. A number in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// Bits a second, or 0 for any number of them: `10mbit`, `1gbit`, `off`. A number in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitRate(u64);

/// The units of `tc`, the largest first, and their bits.
const UNITS: [(&str, u64); 9] = [
    ("tbit", 1_000_000_000_000),
    ("gbit", 1_000_000_000),
    ("mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
    ("tibit", 1 << 40),
    ("gibit", 1 << 30),
    ("mibit", 1 << 20),
    ("kibit", 1 << 10),
];

impl BitRate {
    /// Any number of bits.
    pub const OFF: Self = Self(0);

    /// So many, or `None` for fewer or more than there can be.
    #[must_use]
    pub fn new(bits: u64) -> Option<Self> {
        let (least, most) = Policer::BITS;
        let possible = bits == 0 || (least..=most).contains(&bits);
        possible.then_some(Self(bits))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The bits of a text like `1.5mbit`; without a unit, it is bits.
fn bits(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(at.unwrap_or(text.len()));
    let unit = unit.to_ascii_lowercase();
    let factor = match unit.as_str() {
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    // More places than a bit has are of no use.
    if part.len() > 12 || number.ends_with('.') {
        return None;
    }
    let scale = 10_u64.pow(u32::try_from(part.len()).ok()?);
    let part: u64 = if part.is_empty() {
        0
    } else {
        part.parse().ok()?
    };
    let part = u128::from(part) * u128::from(factor) / u128::from(scale);
    whole
        .checked_mul(factor)?
        .checked_add(u64::try_from(part).ok()?)
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad(OFF);
        }
        let fits = |(_, bits): &&(&str, u64)| self.0.is_multiple_of(*bits);
        let (unit, bits) = UNITS.iter().find(fits).unwrap_or(&("bit", 1));
        f.pad(&format!("{}{unit}", self.0 / bits))
    }
}

impl Value for BitRate {
    const NAME: &'static str = "BIT|off";

    fn read(text: &str) -> Result<Self, BadValue> {
        if text == OFF {
            return Ok(Self::OFF);
        }
        if text.to_ascii_lowercase().ends_with("bps") {
            return Err(BadValue::new(format!(
                "`{text}` would be bytes a second to tc; give bits, as in 10mbit"
            )));
        }
        let Some(bits) = bits(text) else {
            return Err(BadValue::new(format!(
                "`{text}` is not a rate; give bits a second, as in 500kbit, 10mbit or 1gbit, or take any number with: off"
            )));
        };
        Self::new(bits).ok_or_else(|| {
            let [least, most] = [Policer::BITS.0, Policer::BITS.1].map(Self);
            BadValue::new(format!(
                "`{text}` is not a rate that can be kept; give from {least} to {most}, or take any number with: off"
            ))
        })
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Serialize for BitRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for BitRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bits = u64::deserialize(deserializer)?;
        Self::new(bits).ok_or_else(|| {
            let (least, most) = Policer::BITS;
            de::Error::custom(format_args!(
                "{bits} is not a rate; give bits a second from {least} to {most}, or 0 for any number"
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

    #[test]
    fn a_rate_of_bits_is_typed_as_for_tc() {
        for (text, bits, written) in [
            ("off", 0, "off"),
            ("0", 0, "off"),
            ("1000", 1_000, "1kbit"),
            ("1234bit", 1_234, "1234bit"),
            ("500kbit", 500_000, "500kbit"),
            ("10mbit", 10_000_000, "10mbit"),
            ("10MBIT", 10_000_000, "10mbit"),
            ("1.5mbit", 1_500_000, "1500kbit"),
            ("2.5Gbit", 2_500_000_000, "2500mbit"),
            ("1gbit", 1_000_000_000, "1gbit"),
            ("1tbit", 1_000_000_000_000, "1tbit"),
            ("1kibit", 1_024, "1024bit"),
            ("1mibit", 1_048_576, "1048576bit"),
        ] {
            let rate = BitRate::read(text).unwrap();
            assert_eq!(
                (rate.get(), rate.write().as_str()),
                (bits, written),
                "{text}"
            );
            assert_eq!(BitRate::read(&rate.write()), Ok(rate));
            assert_eq!(serde_json::to_string(&rate).unwrap(), bits.to_string());
        }
        for (bad, sentence) in [
            ("", "not a rate"),
            ("-1", "not a rate"),
            ("10", "from 1kbit to 1tbit"),
            ("2tbit", "from 1kbit to 1tbit"),
            ("99999999999999999999gbit", "not a rate"),
            ("fast", "not a rate"),
            ("10m", "not a rate"),
            ("10.mbit", "not a rate"),
            (".5mbit", "not a rate"),
            ("1..5mbit", "not a rate"),
            ("10 mbit", "not a rate"),
            ("10mbps", "bytes a second"),
            ("none", "not a rate"),
        ] {
            let refused = BitRate::read(bad).unwrap_err().to_string();
            assert!(
                refused.contains(sentence) && refused.contains(bad),
                "{refused}"
            );
        }
        let refused = serde_json::from_str::<BitRate>("999").unwrap_err();
        assert!(refused.to_string().contains("999"), "{refused}");
    }
}
