//! The checked values that requests and rows are made of, each with the one text form it has on the command line and
//! in JSON.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::{Serialize, Serializer};

pub use vtep_common::abi::addr::{MacAddr, Vni};
pub use vtep_common::text::BadValue;
use vtep_common::text::deserialize_text;

/// An 802.1Q VLAN ID that a frame can carry: 1 to 4094.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

impl VlanId {
    /// Returns `raw` as a VLAN ID, or `None` outside 1 to 4094 (0 and 4095 are reserved).
    #[must_use]
    pub const fn new(raw: u16) -> Option<Self> {
        if raw == 0 || raw > 4094 {
            None
        } else {
            Some(Self(raw))
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for VlanId {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        text.parse().ok().and_then(Self::new).ok_or_else(|| {
            BadValue::new(format!(
                "`{text}` is not a VLAN ID; give a number from 1 to 4094"
            ))
        })
    }
}

impl Serialize for VlanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.0)
    }
}

impl<'de> Deserialize<'de> for VlanId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = u64::deserialize(deserializer)?;
        u16::try_from(raw).ok().and_then(Self::new).ok_or_else(|| {
            de::Error::custom(format_args!(
                "`{raw}` is not a VLAN ID; give a number from 1 to 4094"
            ))
        })
    }
}

/// A header field with a value of its own, or that of the inner packet: a number or `"inherit"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrInherit<T> {
    /// This value.
    Value(T),
    /// The inner packet's.
    Inherit,
}

/// The outer TTL or hop limit.
pub type Ttl = OrInherit<NonZeroU8>;

/// The outer DSCP, as the whole TOS byte; its two ECN bits are not used (RFC 6040 decides those).
pub type Tos = OrInherit<u8>;

impl<T: fmt::Display> fmt::Display for OrInherit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Inherit => f.write_str("inherit"),
        }
    }
}

impl<T: TryFrom<u8>> FromStr for OrInherit<T> {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text == "inherit" {
            return Ok(Self::Inherit);
        }
        let number = match text.strip_prefix("0x") {
            Some(digits) => u8::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number
            .ok()
            .and_then(|raw| T::try_from(raw).ok())
            .map(Self::Value)
            .ok_or_else(|| {
                BadValue::new(format!(
                    "`{text}` is neither {} nor `inherit`",
                    range_of::<T>()
                ))
            })
    }
}

/// The numbers that `T` takes, for a sentence.
fn range_of<T: TryFrom<u8>>() -> &'static str {
    if T::try_from(0).is_ok() {
        "a number from 0 to 255"
    } else {
        "a number from 1 to 255"
    }
}

impl<T: Copy + Into<u8>> Serialize for OrInherit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Value(value) => serializer.serialize_u8(value.into()),
            Self::Inherit => serializer.serialize_str("inherit"),
        }
    }
}

impl<'de, T: TryFrom<u8>> Deserialize<'de> for OrInherit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);
        impl<T: TryFrom<u8>> Visitor<'_> for Either<T> {
            type Value = OrInherit<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} or \"inherit\"", range_of::<T>())
            }

            fn visit_u64<E: de::Error>(self, raw: u64) -> Result<Self::Value, E> {
                u8::try_from(raw)
                    .ok()
                    .and_then(|raw| T::try_from(raw).ok())
                    .map(OrInherit::Value)
                    .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(raw), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}

/// The range that outer UDP source ports are taken from: `MIN-MAX` as text, `[min, max]` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    min: u16,
    max: u16,
}

impl PortRange {
    /// The dynamic ports, which RFC 7348 §5 recommends.
    pub const DYNAMIC: Self = Self {
        min: 49152,
        max: 65535,
    };

    /// Returns the range from `min` to `max`, both included, or `None` if it is empty or holds port 0.
    #[must_use]
    pub const fn new(min: u16, max: u16) -> Option<Self> {
        if min == 0 || min > max {
            None
        } else {
            Some(Self { min, max })
        }
    }

    /// The lowest port.
    #[must_use]
    pub const fn min(self) -> u16 {
        self.min
    }

    /// The highest port.
    #[must_use]
    pub const fn max(self) -> u16 {
        self.max
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

impl FromStr for PortRange {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        text.split_once('-')
            .and_then(|(min, max)| Self::new(min.parse().ok()?, max.parse().ok()?))
            .ok_or_else(|| {
                BadValue::new(format!(
                    "`{text}` is not a port range; write it like 49152-65535"
                ))
            })
    }
}

impl Serialize for PortRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.min, self.max].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [min, max] = <[u16; 2]>::deserialize(deserializer)?;
        Self::new(min, max).ok_or_else(|| {
            de::Error::custom(format_args!(
                "[{min},{max}] is not a port range; write it like [49152,65535]"
            ))
        })
    }
}

/// A host, or the hosts of a prefix. A text in JSON: `192.0.2.1`, `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(ipnet::IpNet);

impl Prefix {
    /// The one host.
    #[must_use]
    pub fn host(ip: IpAddr) -> Self {
        Self(ip.into())
    }

    /// The address of the host, or of the network.
    #[must_use]
    pub fn addr(self) -> IpAddr {
        self.0.addr()
    }

    /// Bits that hosts have in common, 0 to 32 or 128.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a prefix of length 0 is not empty: it has every host"
    )]
    pub fn len(self) -> u8 {
        self.0.prefix_len()
    }

    /// True if it is one host.
    #[must_use]
    pub fn is_host(self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() {
            self.addr().fmt(f)
        } else {
            self.0.fmt(f)
        }
    }
}

impl FromStr for Prefix {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::host(ip));
        }
        let net: ipnet::IpNet = text.parse().map_err(|_| {
            BadValue::new(format!(
                "`{text}` is neither an IP address nor a prefix; write it like 192.0.2.1, 192.0.2.0/24 or 2001:db8::/64"
            ))
        })?;
        let trunc = net.trunc();
        if trunc == net {
            Ok(Self(net))
        } else {
            Err(BadValue::new(format!(
                "`{text}` has bits set behind its length; write the prefix as {trunc}"
            )))
        }
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, "an IP address or a prefix")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Flood, Mode};

    #[test]
    fn a_vni_in_json_has_24_bits() {
        assert!(
            serde_json::from_str::<Vni>("16777216")
                .unwrap_err()
                .to_string()
                .contains("24 bits")
        );
    }

    #[test]
    fn ttl_zero_is_refused_and_tos_zero_is_not() {
        assert!(
            "0".parse::<Ttl>()
                .unwrap_err()
                .to_string()
                .contains("from 1 to 255")
        );
        assert_eq!("0".parse::<Tos>(), Ok(OrInherit::Value(0)));
        assert_eq!("0xb8".parse::<Tos>(), Ok(OrInherit::Value(0xb8)));
        assert_eq!("inherit".parse::<Ttl>(), Ok(OrInherit::Inherit));
        assert!(serde_json::from_str::<Ttl>("0").is_err());
        assert!(serde_json::from_str::<Tos>("256").is_err());
    }

    #[test]
    fn values_read_back_from_json_as_they_were_written() {
        fn round_trip<T>(value: &T, json: &str)
        where
            T: Serialize + serde::de::DeserializeOwned + PartialEq + fmt::Debug,
        {
            assert_eq!(serde_json::to_string(value).unwrap(), json);
            assert_eq!(serde_json::from_str::<T>(json).unwrap(), *value);
        }
        round_trip(&Vni::new(100).unwrap(), "100");
        round_trip(
            &MacAddr::from_bytes([2, 0, 0, 0, 0, 0xb]),
            "\"02:00:00:00:00:0b\"",
        );
        round_trip(&VlanId(4094), "4094");
        round_trip::<Ttl>(&"64".parse().unwrap(), "64");
        round_trip::<Tos>(&OrInherit::Inherit, "\"inherit\"");
        round_trip(&PortRange::DYNAMIC, "[49152,65535]");
        round_trip(&Mode::L2, "\"l2\"");
        round_trip(&Prefix::host([192, 0, 2, 1].into()), "\"192.0.2.1\"");
        round_trip::<Prefix>(&"::/0".parse().unwrap(), "\"::/0\"");
        round_trip(&Flood::Her, "\"her\"");
    }

    #[test]
    fn an_empty_or_backward_port_range_is_refused() {
        for text in ["", "5", "9-5", "0-5", "1-65536", "a-b"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
        assert_eq!("7-7".parse::<PortRange>().unwrap().to_string(), "7-7");
    }

    #[test]
    fn a_prefix_is_printed_as_it_was_typed_and_a_host_without_a_length() {
        for text in [
            "192.0.2.1",
            "192.0.2.0/24",
            "0.0.0.0/0",
            "2001:db8::/64",
            "::1",
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        for (host, text) in [
            ("192.0.2.1/32", "192.0.2.1"),
            ("2001:db8::1/128", "2001:db8::1"),
        ] {
            let prefix = host.parse::<Prefix>().unwrap();
            assert!(prefix.is_host(), "{host}");
            assert_eq!(prefix.to_string(), text);
        }
    }

    #[test]
    fn a_prefix_with_bits_behind_its_length_is_refused_with_the_right_one() {
        for (text, right) in [
            ("192.0.2.1/24", "192.0.2.0/24"),
            ("2001:db8::1/64", "2001:db8::/64"),
        ] {
            let error = text.parse::<Prefix>().unwrap_err().to_string();
            assert!(
                error.ends_with(&format!("write the prefix as {right}")),
                "{error}"
            );
        }
        for text in [
            "",
            "192.0.2",
            "192.0.2.0/33",
            "::/129",
            "192.0.2.0/-1",
            "x/24",
        ] {
            let error = text.parse::<Prefix>().unwrap_err().to_string();
            assert!(
                error.contains("is neither an IP address nor a prefix"),
                "{error}"
            );
        }
    }

    #[test]
    fn vlan_ids_end_at_4094() {
        assert!("0".parse::<VlanId>().is_err());
        assert!("4095".parse::<VlanId>().is_err());
        assert_eq!("1".parse::<VlanId>().unwrap().get(), 1);
    }
}
