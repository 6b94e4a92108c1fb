//! Chains of nftables at netfilter's hooks of single interfaces.

use std::{io, path::Path};

use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use super::{
    Error, Netlink,
    generic::{attribute_of, attributes_of},
    table,
    traffic::{FilterSide, text},
};

/// `NFT_MSG_GETCHAIN` of the subsystem of nftables.
const GET_CHAIN: u16 = 10 << 8 | 4;
/// Bytes of `struct nfgenmsg`.
const NFGENMSG_LEN: usize = 4;

/// `NFTA_CHAIN_TABLE`, `NFTA_CHAIN_NAME` and `NFTA_CHAIN_HOOK`
const TABLE: u16 = 1;
const NAME: u16 = 3;
const HOOK: u16 = 4;
/// `NFTA_HOOK_HOOKNUM`, `NFTA_HOOK_DEV` and `NFTA_HOOK_DEVS`
const HOOK_NUMBER: u16 = 1;
const HOOK_DEV: u16 = 3;
const HOOK_DEVS: u16 = 4;
/// `NFTA_DEVICE_NAME` and, for all whose names begin so, `NFTA_DEVICE_PREFIX`
const DEVICE_NAME: u16 = 1;
const DEVICE_PREFIX: u16 = 2;
/// `NFPROTO_INET` and `NFPROTO_NETDEV`, the families whose tables can have such chains.
const INET: u8 = 1;
const NETDEV: u8 = 5;

/// A chain at the hook of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookChain {
    /// The family of its table.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Which frames it looks at.
    pub side: FilterSide,
    devices: Vec<Device>,
}

/// Where a chain hangs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Device {
    Named(String),
    Beginning(String),
}

impl HookChain {
    /// Whether it hangs on the interface of that name.
    #[must_use]
    pub fn is_at(&self, name: &str) -> bool {
        self.devices.iter().any(|device| match device {
            Device::Named(device) => device == name,
            Device::Beginning(prefix) => name.starts_with(prefix),
        })
    }
}

impl Netlink {
    /// The chains of nftables at the hooks of interfaces. The question is asked in the calling thread's network namespace, and answered at
    /// once. Where nftables is a module that is not loaded, it is not asked, because that would load it.
    pub fn hook_chains(&self) -> Result<Vec<HookChain>, Error> {
        let chains = dump().and_then(|rows| {
            let chains = rows.iter().filter_map(|row| chain(row).transpose());
            chains.collect()
        });
        chains.map_err(refused)
    }

    /// Whether nftables has any chains, wherever they hang. Asked likewise.
    pub fn has_chains(&self) -> Result<bool, Error> {
        let rows = dump().map_err(refused)?;
        Ok(!rows.is_empty())
    }
}

/// The rows of all chains.
fn dump() -> io::Result<Vec<Vec<u8>>> {
    if Path::new("/proc/modules").exists() && !Path::new("/sys/module/nf_tables").exists() {
        return Ok(Vec::new());
    }
    match table::dump(NETLINK_NETFILTER, GET_CHAIN, &[0; NFGENMSG_LEN]) {
        // A kernel without netfilter.
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => Ok(Vec::new()),
        rows => rows,
    }
}

fn refused(source: io::Error) -> Error {
    Error::Request {
        operation: "list",
        object: "the chains of nftables".to_owned(),
        source,
    }
}

/// A chain; `None` where it hangs on no interface.
fn chain(row: &[u8]) -> io::Result<Option<HookChain>> {
    let (Some(&number), Some(attributes)) = (row.first(), row.get(NFGENMSG_LEN..)) else {
        return Ok(None);
    };
    let Some(hook) = attribute_of(attributes, HOOK)? else {
        return Ok(None);
    };
    let word = attribute_of(&hook, HOOK_NUMBER)?;
    let word = word.and_then(|bytes| bytes.try_into().ok());
    let (family, side) = match (number, word.map(u32::from_be_bytes)) {
        // `NF_NETDEV_INGRESS`, `NF_NETDEV_EGRESS` and `NF_INET_INGRESS`
        (NETDEV, Some(0)) => ("netdev", FilterSide::Ingress),
        (NETDEV, Some(1)) => ("netdev", FilterSide::Egress),
        (INET, Some(5)) => ("inet", FilterSide::Ingress),
        _ => return Ok(None),
    };
    let several = attribute_of(&hook, HOOK_DEVS)?.unwrap_or_default();
    let named = attributes_of(&several, DEVICE_NAME)?;
    let one = attribute_of(&hook, HOOK_DEV)?;
    let named = named.into_iter().chain(one);
    let named = named.map(|name| Device::Named(text(&name)));
    let beginning = attributes_of(&several, DEVICE_PREFIX)?.into_iter();
    let beginning = beginning.map(|prefix| Device::Beginning(text(&prefix)));
    let name_of = |attribute| {
        let name = attribute_of(attributes, attribute)?;
        Ok::<_, io::Error>(name.map(|name| text(&name)).unwrap_or_default())
    };
    Ok(Some(HookChain {
        family,
        table: name_of(TABLE)?,
        name: name_of(NAME)?,
        side,
        devices: named.chain(beginning).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::{super::generic::attribute_bytes, *};

    /// What attributes that hold attributes have in their type.
    const NESTED: u16 = 1 << 15;

    fn name(kind: u16, text: &str) -> Vec<u8> {
        attribute_bytes(kind, &[text.as_bytes(), b"\0"].concat())
    }

    fn row(family: u8, hook: u32, devices: &[Vec<u8>]) -> Vec<u8> {
        let number = attribute_bytes(HOOK_NUMBER, &hook.to_be_bytes());
        let hook = [&[number], devices].concat().concat();
        let attributes = [
            name(TABLE, "guests"),
            name(NAME, "in"),
            attribute_bytes(HOOK | NESTED, &hook),
        ];
        [&[family, 0, 0, 0], attributes.concat().as_slice()].concat()
    }

    #[test]
    fn chains_at_an_interface_are_found_in_both_families() {
        let one = [name(HOOK_DEV, "vm0")];
        for (family, hook, side) in [
            (NETDEV, 0, FilterSide::Ingress),
            (NETDEV, 1, FilterSide::Egress),
            (INET, 5, FilterSide::Ingress),
        ] {
            let found = chain(&row(family, hook, &one)).unwrap().unwrap();
            assert_eq!(
                (found.table.as_str(), found.name.as_str()),
                ("guests", "in")
            );
            assert_eq!(found.side, side);
            assert!(found.is_at("vm0") && !found.is_at("vm01"));
        }
        // At no interface: the input chain of a host.
        assert_eq!(chain(&row(INET, 1, &[])).unwrap(), None);
    }

    #[test]
    fn a_chain_may_hang_on_several_interfaces_and_on_all_that_begin_alike() {
        let names = [name(DEVICE_NAME, "vm0"), name(DEVICE_NAME, "vm1")].concat();
        let prefix = name(DEVICE_PREFIX, "tap");
        let several = attribute_bytes(HOOK_DEVS | NESTED, &[names, prefix].concat());
        let found = chain(&row(NETDEV, 0, &[several])).unwrap().unwrap();
        for (dev, is_at) in [("vm0", true), ("vm1", true), ("vm2", false), ("tap9", true)] {
            assert_eq!(found.is_at(dev), is_at, "{dev}");
        }
    }
}
