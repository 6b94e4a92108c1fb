//! The four underlays that everything has to work over.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::encoder::Mac;

/// The address family of the underlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// What the outer headers add to an inner frame, Ethernet left out: IP, UDP, VXLAN, and the
    /// inner Ethernet header.
    #[must_use]
    pub const fn overhead(self) -> u32 {
        match self {
            Self::V4 => 20 + 8 + 8 + 14,
            Self::V6 => 40 + 8 + 8 + 14,
        }
    }

    /// Length of a frame's headers before the inner frame.
    #[must_use]
    pub const fn outer_len(self) -> usize {
        match self {
            Self::V4 => 14 + 20 + 8 + 8,
            Self::V6 => 14 + 40 + 8 + 8,
        }
    }

    /// Host number `host` on underlay network number `net`.
    #[must_use]
    pub fn address(self, net: u8, host: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(198, 18, net, host).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, net.into(), 0, 0, 0, host.into()).into(),
        }
    }

    /// A multicast group of the site.
    #[must_use]
    pub const fn group(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::new(239, 1, 1, 100)),
            Self::V6 => IpAddr::V6(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0x100)),
        }
    }

    /// The MAC that packets to [`Family::group`] are sent to (RFC 1112 section 6.4, RFC 2464 section 7).
    #[must_use]
    pub const fn group_mac(self) -> Mac {
        match self {
            Self::V4 => Mac([0x01, 0x00, 0x5e, 0x01, 0x01, 0x64]),
            Self::V6 => Mac([0x33, 0x33, 0, 0, 0x01, 0x00]),
        }
    }

    /// Where an underlay frame goes: its MAC and its IP.
    ///
    /// # Panics
    ///
    /// If it has no whole IP header of this family.
    #[must_use]
    pub fn destination(self, frame: &[u8]) -> (Mac, IpAddr) {
        let mac = Mac(frame[..6].try_into().expect("six bytes"));
        let ip = match self {
            Self::V4 => IpAddr::from(<[u8; 4]>::try_from(&frame[30..34]).expect("four bytes")),
            Self::V6 => IpAddr::from(<[u8; 16]>::try_from(&frame[38..54]).expect("sixteen bytes")),
        };
        (mac, ip)
    }

    /// Length of an underlay network's prefix.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 64,
        }
    }

    /// What `ip` wants after an address to have it usable at once.
    #[must_use]
    pub const fn nodad(self) -> &'static str {
        match self {
            Self::V4 => "",
            Self::V6 => "nodad",
        }
    }
}

/// What lies between the hypervisors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// A switch.
    Flat,
    /// A router: each hypervisor has a network of its own.
    Routed,
}

/// A family and a topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// The family.
    pub family: Family,
    /// The topology.
    pub topology: Topology,
}

impl fmt::Display for Underlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.family, self.topology)
    }
}

/// Makes a test of each named function for IPv4 and IPv6 underlays, flat and routed. The functions
/// take an [`Underlay`].
#[macro_export]
macro_rules! over_each_underlay {
    ($($test:ident),+ $(,)?) => {
        $crate::over_one_underlay!(v4_flat, V4, Flat, $($test),+);
        $crate::over_one_underlay!(v4_routed, V4, Routed, $($test),+);
        $crate::over_one_underlay!(v6_flat, V6, Flat, $($test),+);
        $crate::over_one_underlay!(v6_routed, V6, Routed, $($test),+);
    };
}

/// Makes a module of tests for one underlay.
#[macro_export]
macro_rules! over_one_underlay {
    ($module:ident, $family:ident, $topology:ident, $($test:ident),+) => {
        mod $module {
            use $crate::lab::underlay::{Family, Topology, Underlay};
            $(
                #[test]
                fn $test() {
                    $crate::need_root!();
                    super::$test(Underlay { family: Family::$family, topology: Topology::$topology });
                }
            )+
        }
    };
}

/// Makes a test of each named function for IPv4 and IPv6. The functions take a [`Family`].
#[macro_export]
macro_rules! over_each_family {
    ($($test:ident),+ $(,)?) => {
        $crate::over_one_family!(v4, V4, $($test),+);
        $crate::over_one_family!(v6, V6, $($test),+);
    };
}

/// Makes a module of tests for one family.
#[macro_export]
macro_rules! over_one_family {
    ($module:ident, $family:ident, $($test:ident),+) => {
        mod $module {
            $(
                #[test]
                fn $test() {
                    $crate::need_root!();
                    super::$test($crate::lab::underlay::Family::$family);
                }
            )+
        }
    };
}
