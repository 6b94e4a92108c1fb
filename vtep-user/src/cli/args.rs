//! Values that only the command line has, and checks for those that are plain text elsewhere.

use std::net::IpAddr;

use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::Failure;
use crate::model::Word;

/// Longest name of an instance.
const INSTANCE_MAX: usize = 32;

/// Longest name of a network device (`IFNAMSIZ` less the terminating zero).
const DEV_MAX: usize = 15;

/// `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Switch {
    On,
    Off,
}

impl From<Switch> for bool {
    fn from(switch: Switch) -> Self {
        switch == Switch::On
    }
}

/// The value of `--max-macs`: as typed, since a limit that makes no sense is refused with a sentence of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MaxMacs {
    None,
    Count(i64),
}

/// Reads a number of MACs, or `none`.
pub(super) fn max_macs(text: &str) -> Result<MaxMacs, String> {
    if text == "none" {
        return Ok(MaxMacs::None);
    }
    let count = text.parse().map(MaxMacs::Count);
    count.map_err(|_| format!("`{text}` is neither a number of MACs nor `none`"))
}

impl MaxMacs {
    /// The limit as the API has it, which says 0 for none.
    pub(super) fn limit(self) -> Result<u32, Failure> {
        match self {
            Self::None => Ok(0),
            Self::Count(count) => u32::try_from(count).ok().filter(|limit| *limit > 0).ok_or_else(|| {
                Failure::refused(format!(
                    "--max-macs {count} is not a limit; give a number from 1 to {}, or remove the limit with: --max-macs none",
                    u32::MAX
                ))
            }),
        }
    }
}

/// Checks an ageing time, in seconds.
pub(super) fn ageing(seconds: i64) -> Result<u32, Failure> {
    u32::try_from(seconds).map_err(|_| {
        Failure::refused(format!(
            "--ageing {seconds} is not an ageing time; give seconds from 1 to {}, or keep MACs forever with: --ageing 0",
            u32::MAX
        ))
    })
}

/// Reads the name of an instance, which becomes part of file names.
///
/// There is no dot: the BPF file system refuses directories with one.
pub(super) fn instance(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=INSTANCE_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.into())
    } else {
        Err(format!(
            "an instance name has 1 to {INSTANCE_MAX} letters, digits, `_` and `-`"
        ))
    }
}

/// Reads the name of a network device, which need not exist.
pub(super) fn dev(text: &str) -> Result<String, String> {
    let refused = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
    if text.is_empty() || matches!(text, "." | "..") || text.contains(refused) {
        Err("not the name of a network device".into())
    } else if text.len() > DEV_MAX {
        Err(format!(
            "the name of a network device has at most {DEV_MAX} bytes"
        ))
    } else {
        Ok(text.into())
    }
}

/// Reads one of the words that a value has.
pub(super) fn word<T: Word + Send + Sync>() -> impl TypedValueParser<Value = T> {
    let words = T::WORDS.iter().map(|(_, word, meaning)| {
        let meaning = meaning.trim();
        PossibleValue::new(*word).help(meaning.strip_suffix('.').unwrap_or(meaning))
    });
    PossibleValuesParser::new(words).map(|word| T::of(&word).expect("it is one of them"))
}

/// Reads an IP address.
pub(super) fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an IP address; write it like 192.0.2.2 or 2001:db8::2")
    })
}

/// Reads options in the form `--name value`, each at most once; `None` if there is anything else.
pub(super) fn plain_options<'a, const N: usize>(
    mut words: impl Iterator<Item = &'a str>,
    names: [&str; N],
) -> Option<[Option<&'a str>; N]> {
    let mut values = [None; N];
    while let Some(option) = words.next() {
        let value = words.next().filter(|value| !value.starts_with('-'))?;
        let at = names.iter().position(|name| *name == option)?;
        if values[at].replace(value).is_some() {
            return None;
        }
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_name_is_safe_as_part_of_a_path() {
        for good in ["main", "a", "Blue_2-x", &"x".repeat(32)] {
            assert_eq!(instance(good).as_deref(), Ok(good));
        }
        for bad in ["", ".", "..", "a.b", "a/b", "a b", "é", &"x".repeat(33)] {
            assert!(instance(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_device_name_is_one_that_the_kernel_allows() {
        for good in ["eth0", "eth0.10", "tap-1", "123456789012345"] {
            assert_eq!(dev(good).as_deref(), Ok(good));
        }
        for bad in ["", ".", "..", "a/b", "a b", "a:b", "1234567890123456"] {
            assert!(dev(bad).is_err(), "{bad}");
        }
    }
}
