//! Values as they are typed, and written again: which words there are, what a usage calls them, how they are read.

use std::net::{AddrParseError, IpAddr, SocketAddr};
use std::num::{NonZeroU16, ParseIntError};
use std::path::PathBuf;

use super::{BadValue, MacAddr, PortRange, Prefix, Tos, Ttl, VlanId, Vni};

/// A value as it is typed.
pub trait Value: Sized + 'static {
    /// The words that stand for it, each with what it means; empty if it is no matter of words.
    const WORDS: &'static [(&'static str, &'static str)] = &[];
    /// What stands for it in a usage; empty for the name of the argument.
    const NAME: &'static str = "";
    /// Whether it names a file.
    const FILE: bool = false;

    /// Reads it.
    ///
    /// # Errors
    ///
    /// If the text is no such value.
    fn read(text: &str) -> Result<Self, BadValue>;

    /// Reads it from a path of the API.
    ///
    /// # Errors
    ///
    /// If the text is no such value.
    fn read_in_path(text: &str) -> Result<Self, BadValue> {
        Self::read(text)
    }

    /// What to type for it.
    fn write(&self) -> String;
}

/// Values that are typed as they are printed.
macro_rules! as_printed {
    ($($(#[$name:literal])? $value:ty),*) => {$(
        impl Value for $value {
            $(const NAME: &'static str = $name;)?

            fn read(text: &str) -> Result<Self, BadValue> {
                text.parse()
            }

            fn write(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
as_printed!(Vni, MacAddr, VlanId, #["N|inherit"] Ttl, #["N|inherit"] Tos, #["MIN-MAX"] PortRange, Prefix);

/// A number from `least` to `most`.
fn number(text: &str, least: u32, most: u32) -> Result<u32, BadValue> {
    let number: i64 = text
        .parse()
        .map_err(|error: ParseIntError| BadValue::new(error.to_string()))?;
    u32::try_from(number)
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| BadValue::new(format!("{number} is not in {least}..={most}")))
}

impl Value for u32 {
    fn read(text: &str) -> Result<Self, BadValue> {
        number(text, Self::MIN, Self::MAX)
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// A UDP port.
impl Value for NonZeroU16 {
    const NAME: &'static str = "PORT";

    fn read(text: &str) -> Result<Self, BadValue> {
        let port = number(text, Self::MIN.get().into(), Self::MAX.get().into())?;
        let port = u16::try_from(port).ok().and_then(Self::new);
        Ok(port.expect("it is in the range"))
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// Where something listens.
impl Value for SocketAddr {
    const NAME: &'static str = "ADDR:PORT";

    fn read(text: &str) -> Result<Self, BadValue> {
        let address = text.parse();
        address.map_err(|error: AddrParseError| BadValue::new(error.to_string()))
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for PathBuf {
    const NAME: &'static str = "FILE";
    const FILE: bool = true;

    fn read(text: &str) -> Result<Self, BadValue> {
        Ok(text.into())
    }

    fn write(&self) -> String {
        self.display().to_string()
    }
}

/// The name of an instance, which becomes part of file names.
///
/// There is no dot: the BPF file system refuses directories with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceName(String);

impl InstanceName {
    /// Most bytes of a name.
    const MAX: usize = 32;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for InstanceName {
    fn default() -> Self {
        Self("main".into())
    }
}

impl Value for InstanceName {
    const NAME: &'static str = "NAME";

    fn read(text: &str) -> Result<Self, BadValue> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if (1..=Self::MAX).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(BadValue::new(format!(
                "an instance name has 1 to {} letters, digits, `_` and `-`",
                Self::MAX
            )))
        }
    }

    fn write(&self) -> String {
        self.0.clone()
    }
}

/// On or off.
impl Value for bool {
    const WORDS: &'static [(&'static str, &'static str)] = &[("on", ""), ("off", "")];
    const NAME: &'static str = "on|off";

    fn read(text: &str) -> Result<Self, BadValue> {
        match text {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(BadValue::new(format!("`{text}` is neither on nor off"))),
        }
    }

    fn write(&self) -> String {
        if *self { "on".into() } else { "off".into() }
    }
}

impl Value for IpAddr {
    fn read(text: &str) -> Result<Self, BadValue> {
        text.parse().map_err(|_| {
            BadValue::new(format!(
                "`{text}` is not an IP address; write it like 192.0.2.2 or 2001:db8::2"
            ))
        })
    }

    fn read_in_path(text: &str) -> Result<Self, BadValue> {
        let ip = text.parse();
        ip.map_err(|_| BadValue::new(format!("`{text}` is not an IP address")))
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// A shell that completions can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shell(&'static str);

impl Value for Shell {
    const WORDS: &'static [(&'static str, &'static str)] = &[
        ("bash", ""),
        ("elvish", ""),
        ("fish", ""),
        ("powershell", ""),
        ("zsh", ""),
    ];

    fn read(text: &str) -> Result<Self, BadValue> {
        let known = Self::WORDS.iter().find(|(word, _)| *word == text);
        known
            .map(|(word, _)| Self(word))
            .ok_or_else(|| BadValue::new(format!("`{text}` is no shell that is known here")))
    }

    fn write(&self) -> String {
        self.0.into()
    }
}

/// Longest name of a network device (`IFNAMSIZ` less the terminating zero).
const DEV_MAX: usize = 15;

/// The name of a network device, which need not exist.
impl Value for String {
    fn read(text: &str) -> Result<Self, BadValue> {
        let refused = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
        if text.is_empty() || matches!(text, "." | "..") || text.contains(refused) {
            Err(BadValue::new("not the name of a network device"))
        } else if text.len() > DEV_MAX {
            Err(BadValue::new(format!(
                "the name of a network device has at most {DEV_MAX} bytes"
            )))
        } else {
            Ok(text.into())
        }
    }

    fn read_in_path(text: &str) -> Result<Self, BadValue> {
        Ok(text.into())
    }

    fn write(&self) -> String {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_name_is_one_that_the_kernel_allows() {
        for good in ["eth0", "eth0.10", "tap-1", "123456789012345"] {
            assert_eq!(String::read(good).as_deref(), Ok(good));
        }
        for bad in ["", ".", "..", "a/b", "a b", "a:b", "1234567890123456"] {
            assert!(String::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_instance_name_is_safe_as_part_of_a_path() {
        for good in ["main", "a", "Blue_2-x", &"x".repeat(32)] {
            assert_eq!(InstanceName::read(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a.b", "a/b", "a b", "é", &"x".repeat(33)] {
            assert!(InstanceName::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_out_of_range_is_refused_with_the_range() {
        let refused = |text| match (NonZeroU16::read(text), u32::read(text)) {
            (Err(port), Err(number)) => (port.to_string(), number.to_string()),
            taken => panic!("{taken:?}"),
        };
        let ranges = ("-1 is not in 1..=65535", "-1 is not in 0..=4294967295");
        assert_eq!(refused("-1"), (ranges.0.into(), ranges.1.into()));
        let large = (
            "4294967296 is not in 1..=65535",
            "4294967296 is not in 0..=4294967295",
        );
        assert_eq!(refused("4294967296"), (large.0.into(), large.1.into()));
        assert_eq!(u32::read("0"), Ok(0));
        assert_eq!(NonZeroU16::read("65535").unwrap().get(), 65535);
        assert!(NonZeroU16::read("0").is_err());
    }
}
