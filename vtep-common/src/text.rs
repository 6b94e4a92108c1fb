//! VNIs and Ethernet addresses as text and in JSON, for user space.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::abi::addr::{MacAddr, Vni};

/// Why a text is not the value it should be: one sentence without the `error: ` in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue(String);

impl BadValue {
    /// A refusal that reads `sentence`.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadValue {}

fn too_large(raw: &dyn fmt::Display) -> BadValue {
    BadValue(format!(
        "VNI {raw} does not fit in 24 bits; give a number from 0 to {}",
        Vni::MAX
    ))
}

impl FromStr for Vni {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadValue(format!(
                "`{text}` is not a VNI; give a number from 0 to {}",
                Self::MAX
            )));
        }
        text.parse()
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| too_large(&text))
    }
}

/// A number in JSON.
impl Serialize for Vni {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.get())
    }
}

impl<'de> Deserialize<'de> for Vni {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = u64::deserialize(deserializer)?;
        u32::try_from(raw)
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| de::Error::custom(too_large(&raw)))
    }
}

#[expect(deprecated, reason = "one example, as the derives write it")]
impl PartialSchema for Vni {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
            .description(Some(
                "A VXLAN network identifier: 24 bits (RFC 7348 §5). A number in JSON.",
            ))
            .example(Some(100.into()))
            .minimum(Some(0))
            .maximum(Some(Self::MAX))
            .into()
    }
}

impl ToSchema for Vni {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Vni")
    }
}

impl FromStr for MacAddr {
    type Err = BadValue;

    /// Six bytes of two hexadecimal digits in either case, all separated by `:` or all by `-`.
    fn from_str(text: &str) -> Result<Self, BadValue> {
        parse_mac(text.as_bytes())
            .map(Self::from_bytes)
            .ok_or_else(|| {
                BadValue(format!(
                    "`{text}` is not a MAC address; write it like 02:00:00:00:00:0b"
                ))
            })
    }
}

fn parse_mac(text: &[u8]) -> Option<[u8; 6]> {
    let separator = *text.get(2)?;
    if text.len() != 17 || !matches!(separator, b':' | b'-') {
        return None;
    }
    let mut octets = [0; 6];
    for (octet, group) in octets.iter_mut().zip(text.chunks(3)) {
        let [high, low, rest @ ..] = group else {
            return None;
        };
        if rest.first().is_some_and(|&byte| byte != separator) {
            return None;
        }
        *octet = hex_digit(*high)? << 4 | hex_digit(*low)?;
    }
    Some(octets)
}

const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a' - 10)),
        b'A'..=b'F' => Some(byte.wrapping_sub(b'A' - 10)),
        _ => None,
    }
}

/// Lower case with colons, in every output.
impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, "a MAC address")
    }
}

#[expect(deprecated, reason = "one example, as the derives write it")]
impl PartialSchema for MacAddr {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "An Ethernet address; lower case with colons in every output.",
            ))
            .pattern(Some(
                "^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$|^[0-9a-fA-F]{2}(-[0-9a-fA-F]{2}){5}$",
            ))
            .example(Some("02:00:00:00:00:0b".into()))
            .into()
    }
}

impl ToSchema for MacAddr {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Mac")
    }
}

/// Reads any value with a text form; `what` completes "expected …".
///
/// # Errors
///
/// What the deserializer or the value says.
pub fn deserialize_text<'de, D, T>(deserializer: D, what: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = BadValue>,
{
    struct Text<T>(&'static str, std::marker::PhantomData<T>);
    impl<T: FromStr<Err = BadValue>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Text(what, std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vni_has_24_bits_and_the_refusal_says_so() {
        assert_eq!("16777215".parse(), Ok(Vni::new(16_777_215).unwrap()));
        for text in ["16777216", "99999999999999"] {
            let error = text.parse::<Vni>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!("VNI {text} does not fit in 24 bits; give a number from 0 to 16777215")
            );
        }
        for text in ["", "x", "-1", "+1", "0x64"] {
            assert!(
                text.parse::<Vni>()
                    .unwrap_err()
                    .to_string()
                    .contains("is not a VNI"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_mac_is_read_in_either_case_with_colons_or_dashes_and_printed_in_one_form() {
        for text in ["78:56:43:aB:00:01", "78-56-43-AB-00-01"] {
            assert_eq!(
                text.parse::<MacAddr>().unwrap().to_string(),
                "78:56:43:ab:00:01"
            );
        }
    }

    #[test]
    fn a_malformed_mac_is_refused() {
        for text in [
            "",
            "02",
            "02:00:00:00:00",
            "02:00:00:00:00:0g",
            "02:00:00:00:00:0b:",
            "02:00:00:00:00:0b:0c",
            "2:0:0:0:0:b",
            "2:0:0:0:0:b:00:00:0",
            "02:00:00-00:00:0b",
            "02:00-00:00:00:0b",
            "0200.0000.000b",
            "+2:00:00:00:00:0b",
            "02:00:00:00:00:\u{e9}",
        ] {
            assert!(text.parse::<MacAddr>().is_err(), "{text}");
        }
    }
}
