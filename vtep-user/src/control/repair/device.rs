//! The slow-path device: what it is like, what it should be like, and what is to be done.

use std::net::IpAddr;

use vtep_common::abi::{addr::MacAddr, id::Ifindex};

use super::Broken;

/// The queueing discipline of a device that needs none.
const NO_QUEUE: &str = "noqueue";

/// The slow-path device as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Its name.
    pub name: String,
    /// Its alias.
    pub alias: Option<String>,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether another interface has it.
    pub enslaved: bool,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Its MAC.
    pub mac: MacAddr,
    /// Its IP addresses, each with the length of its prefix; empty where nobody has looked.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The kind of queueing discipline at its root, if the kernel says one.
    pub qdisc: Option<String>,
    /// Whether our program takes its frames.
    pub attached: bool,
    /// The VRF that it sends and receives within. Which one is wanted changes with the uplinks: nobody is at fault.
    pub vrf: Option<Ifindex>,
}

/// The slow-path device as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceWanted {
    /// Its name.
    pub name: String,
    /// Its alias.
    pub alias: String,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Its MAC.
    pub mac: MacAddr,
}

/// A step that puts something of the slow-path device right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceRepair {
    /// Gives it its name again.
    Rename {
        /// What somebody called it.
        from: String,
    },
    /// Gives it its alias again.
    SetAlias,
    /// Takes it out of another interface.
    Release,
    /// Gives it its MTU again.
    SetMtu {
        /// The one that somebody gave it.
        from: u32,
    },
    /// Gives it its MAC again.
    SetMac {
        /// The one that somebody gave it.
        from: MacAddr,
    },
    /// Takes an IP address from it.
    RemoveAddress(IpAddr, u8),
    /// Takes the queueing discipline of somebody's from it.
    RemoveQdisc {
        /// Its kind.
        kind: String,
    },
    /// Attaches our program again.
    Attach,
    /// Switches it on.
    SwitchOn,
}

impl DeviceRepair {
    /// What it puts right.
    #[must_use]
    pub const fn broken(&self) -> Broken {
        match self {
            Self::Rename { .. } => Broken::Name,
            Self::SetAlias => Broken::Alias,
            Self::Release => Broken::Master,
            Self::SetMtu { .. } => Broken::Mtu,
            Self::SetMac { .. } => Broken::Mac,
            Self::RemoveAddress(..) => Broken::Address,
            Self::RemoveQdisc { .. } => Broken::Qdisc,
            Self::Attach => Broken::Program,
            Self::SwitchOn => Broken::Up,
        }
    }

    /// What somebody did to the device called `dev`.
    #[must_use]
    pub fn cause(&self, dev: &str) -> String {
        match self {
            Self::Rename { from } => format!("somebody called {dev} {from}"),
            Self::SetAlias => format!("somebody changed the alias of {dev}"),
            Self::Release => format!("somebody put {dev} into another interface"),
            Self::SetMtu { from } => format!("somebody gave {dev} the MTU {from}"),
            Self::SetMac { from } => format!("somebody gave {dev} the MAC {from}"),
            Self::RemoveAddress(ip, bits) => format!("somebody gave {dev} the address {ip}/{bits}"),
            Self::RemoveQdisc { kind } => {
                format!("somebody gave {dev} the queueing discipline {kind}")
            }
            Self::Attach => format!("somebody detached our program from {dev}"),
            Self::SwitchOn => format!("somebody switched {dev} off"),
        }
    }
}

/// What is to be done where the device is like `is`, in this order. It is switched on last: what else is wrong would meet frames.
#[must_use]
pub fn device(is: &DeviceFacts, wanted: &DeviceWanted) -> Vec<DeviceRepair> {
    let DeviceFacts {
        name,
        alias,
        up,
        enslaved,
        mtu,
        mac,
        addresses,
        qdisc,
        attached,
        vrf: _,
    } = is;
    let mut steps = Vec::new();
    let mut step = |needed: bool, step: DeviceRepair| {
        if needed {
            steps.push(step);
        }
    };
    let from = name.clone();
    step(*name != wanted.name, DeviceRepair::Rename { from });
    let has_alias = alias.as_deref() == Some(wanted.alias.as_str());
    step(!has_alias, DeviceRepair::SetAlias);
    step(*enslaved, DeviceRepair::Release);
    step(*mtu != wanted.mtu, DeviceRepair::SetMtu { from: *mtu });
    step(*mac != wanted.mac, DeviceRepair::SetMac { from: *mac });
    for (ip, bits) in addresses {
        step(true, DeviceRepair::RemoveAddress(*ip, *bits));
    }
    if let Some(kind) = qdisc {
        let kind = kind.clone();
        step(kind != NO_QUEUE, DeviceRepair::RemoveQdisc { kind });
    }
    step(!attached, DeviceRepair::Attach);
    step(!up, DeviceRepair::SwitchOn);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr::from_bytes([2, 0, 0, 0, 0, 1]);
    const OTHER: MacAddr = MacAddr::from_bytes([2, 0, 0, 0, 0, 2]);

    fn wanted() -> DeviceWanted {
        DeviceWanted {
            name: "vtep4789".into(),
            alias: "vtep instance main".into(),
            mtu: 65_485,
            mac: MAC,
        }
    }

    fn whole() -> DeviceFacts {
        DeviceFacts {
            name: "vtep4789".into(),
            alias: Some("vtep instance main".into()),
            up: true,
            enslaved: false,
            mtu: 65_485,
            mac: MAC,
            addresses: Vec::new(),
            qdisc: Some("noqueue".into()),
            attached: true,
            vrf: None,
        }
    }

    #[test]
    fn what_is_as_it_should_be_is_left_alone() {
        assert_eq!(device(&whole(), &wanted()), []);
        let unknown = DeviceFacts {
            qdisc: None,
            ..whole()
        };
        assert_eq!(device(&unknown, &wanted()), []);
    }

    #[test]
    fn each_change_has_its_repair() {
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let change = |change: fn(&mut DeviceFacts)| {
            let mut is = whole();
            change(&mut is);
            device(&is, &wanted())
        };
        let from = "foo0".to_owned();
        assert_eq!(
            change(|is| is.name = "foo0".into()),
            [DeviceRepair::Rename { from }]
        );
        for alias in [None, Some("x".to_owned())] {
            let is = DeviceFacts { alias, ..whole() };
            assert_eq!(device(&is, &wanted()), [DeviceRepair::SetAlias]);
        }
        assert_eq!(change(|is| is.up = false), [DeviceRepair::SwitchOn]);
        assert_eq!(change(|is| is.enslaved = true), [DeviceRepair::Release]);
        // A larger one as well.
        for from in [1_400, 65_535] {
            let is = DeviceFacts {
                mtu: from,
                ..whole()
            };
            assert_eq!(device(&is, &wanted()), [DeviceRepair::SetMtu { from }]);
        }
        assert_eq!(
            change(|is| is.mac = OTHER),
            [DeviceRepair::SetMac { from: OTHER }]
        );
        let is = DeviceFacts {
            addresses: vec![(ip, 24), (ip, 32)],
            ..whole()
        };
        assert_eq!(
            device(&is, &wanted()),
            [24, 32].map(|bits| DeviceRepair::RemoveAddress(ip, bits))
        );
        let kind = "tbf".to_owned();
        assert_eq!(
            change(|is| is.qdisc = Some("tbf".into())),
            [DeviceRepair::RemoveQdisc { kind }]
        );
        assert_eq!(change(|is| is.attached = false), [DeviceRepair::Attach]);
    }

    #[test]
    fn the_device_is_named_first_and_switched_on_last() {
        let is = DeviceFacts {
            name: "foo0".into(),
            up: false,
            attached: false,
            mtu: 1,
            ..whole()
        };
        let steps = device(&is, &wanted());
        assert!(matches!(steps.first(), Some(DeviceRepair::Rename { .. })));
        assert_eq!(steps.last(), Some(&DeviceRepair::SwitchOn));
        assert_eq!(steps.len(), 4);
    }

    #[test]
    fn a_cause_names_the_device() {
        let is = DeviceFacts {
            name: "foo0".into(),
            alias: None,
            up: false,
            enslaved: true,
            mtu: 1,
            mac: OTHER,
            addresses: vec![("2001:db8::1".parse().unwrap(), 64)],
            qdisc: Some("netem".into()),
            attached: false,
            vrf: None,
        };
        let steps = device(&is, &wanted());
        let mut broken: Vec<Broken> = steps.iter().map(DeviceRepair::broken).collect();
        broken.sort_unstable();
        broken.dedup();
        assert_eq!(broken.len(), 9, "{broken:?}");
        for step in steps {
            assert!(step.cause("vtep4789").contains("vtep4789"), "{step:?}");
        }
    }
}
