//! What puts right what somebody else has changed about what is ours: the slow-path device, and the programs at interfaces.

mod device;
mod patience;

pub use self::{
    device::{DeviceFacts, DeviceRepair, DeviceWanted, device},
    patience::{May, Patience},
};

/// Something of ours that somebody has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Broken {
    /// The slow-path device is gone.
    Device,
    /// Its name.
    Name,
    /// Its alias, by which it is known again.
    Alias,
    /// It was switched off.
    Up,
    /// It was put into a bridge, a bond or a VRF.
    Master,
    /// Its MTU.
    Mtu,
    /// Its MAC.
    Mac,
    /// It was given an IP address.
    Address,
    /// It was given a queueing discipline.
    Qdisc,
    /// A program was detached.
    Program,
    /// A port was made to take frames for its own MAC alone.
    Promiscuous,
}

impl Broken {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Device,
        Self::Name,
        Self::Alias,
        Self::Up,
        Self::Master,
        Self::Mtu,
        Self::Mac,
        Self::Address,
        Self::Qdisc,
        Self::Program,
        Self::Promiscuous,
    ];

    /// Its name, in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Name => "name",
            Self::Alias => "alias",
            Self::Up => "up",
            Self::Master => "master",
            Self::Mtu => "mtu",
            Self::Mac => "mac",
            Self::Address => "address",
            Self::Qdisc => "qdisc",
            Self::Program => "program",
            Self::Promiscuous => "promiscuous",
        }
    }

    /// What is left alone of an interface where somebody undoes each repair.
    #[must_use]
    pub fn contested(self, dev: &str) -> String {
        let what = match self {
            Self::Device => format!("{dev}, which somebody deletes"),
            Self::Name => format!("the name of {dev}, which somebody changes"),
            Self::Alias => format!("the alias of {dev}, which somebody changes"),
            Self::Up => format!("{dev}, which somebody switches off"),
            Self::Master => format!("{dev}, which somebody puts into another interface"),
            Self::Mtu => format!("the MTU of {dev}, which somebody changes"),
            Self::Mac => format!("the MAC of {dev}, which somebody changes"),
            Self::Address => format!("{dev}, which somebody gives IP addresses"),
            Self::Qdisc => format!("the queueing discipline of {dev}, which somebody sets"),
            Self::Program => format!("the program at {dev}, which somebody detaches"),
            Self::Promiscuous => format!("promiscuous mode of {dev}, which somebody ends"),
        };
        format!("{what} as often as vtep puts it right")
    }
}
