//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// To everyone on the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// The nearest-bridge group address that LLDP uses.
    pub const LLDP: Self = Self([0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e]);
    /// The address that names the flood list.
    pub const ZERO: Self = Self([0; 6]);

    /// A locally administered unicast address that ends in `last`.
    #[must_use]
    pub const fn nth(last: u8) -> Self {
        Self([0x02, 0, 0, 0, 0, last])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.0.map(|byte| format!("{byte:02x}"));
        f.write_str(&parts.join(":"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Vec<u8> = text
            .trim()
            .split(':')
            .map(|part| u8::from_str_radix(part, 16).map_err(|e| format!("{text}: {e}")))
            .collect::<Result<_, _>>()?;
        Ok(Self(
            bytes
                .try_into()
                .map_err(|_| format!("{text}: not six bytes"))?,
        ))
    }
}
