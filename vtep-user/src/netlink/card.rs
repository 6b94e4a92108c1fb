//! What a network card can do and does, asked of the kernel's `ethtool` family of generic netlink.

use std::collections::BTreeSet;
use std::io;

use vtep_common::abi::id::Ifindex;

use super::{
    Error, Netlink,
    generic::{self, Answer, attribute_bytes, attribute_of, attributes_of},
    traffic::text,
};

/// `ETHTOOL_MSG_FEATURES_GET` and `ETHTOOL_MSG_RINGS_GET`.
const FEATURES_GET: u8 = 11;
const RINGS_GET: u8 = 15;
/// `ETHTOOL_A_…_HEADER`, of a question, and `ETHTOOL_A_HEADER_DEV_INDEX`.
const HEADER: u16 = 1;
const HEADER_DEV_INDEX: u16 = 1;
/// `ETHTOOL_A_FEATURES_HW` and `ETHTOOL_A_FEATURES_ACTIVE`.
const CHANGEABLE: u16 = 2;
const ACTIVE: u16 = 4;
/// `ETHTOOL_A_BITSET_NOMASK`, `ETHTOOL_A_BITSET_BITS`, `ETHTOOL_A_BITSET_BITS_BIT`, `ETHTOOL_A_BITSET_BIT_NAME` and `ETHTOOL_A_BITSET_BIT_VALUE`.
const NO_MASK: u16 = 1;
const BITS: u16 = 3;
const BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;
/// `ETHTOOL_A_RINGS_RX_MAX` and `ETHTOOL_A_RINGS_RX`.
const RX_MAX: u16 = 2;
const RX: u16 = 6;
/// `NLA_F_NESTED`.
const NESTED: u16 = 1 << 15;

/// A network card, as far as its driver says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// How many frames wait for the host at most, and how many could.
    pub rx_ring: Option<(u32, u32)>,
    /// The offloads that are on, by the kernel's names.
    pub active: BTreeSet<String>,
    /// The offloads that can be switched on and off.
    pub changeable: BTreeSet<String>,
}

impl Netlink {
    /// What a card can do and does. The question is asked in the calling thread's network namespace, and answered at once.
    pub fn card(&self, ifindex: Ifindex) -> Result<Card, Error> {
        ask(ifindex).map_err(|source| Error::Request {
            operation: "look up the rings and offloads of interface",
            object: ifindex.to_string(),
            source,
        })
    }
}

fn ask(ifindex: Ifindex) -> io::Result<Card> {
    let index = attribute_bytes(HEADER_DEV_INDEX, &ifindex.get().to_ne_bytes());
    let header = attribute_bytes(HEADER | NESTED, &index);
    let mut card = Card::default();
    if let Some(answer) = generic::ask("ethtool", RINGS_GET, &header)? {
        card.rx_ring = number(&answer, RX)?.zip(number(&answer, RX_MAX)?);
    }
    if let Some(answer) = generic::ask("ethtool", FEATURES_GET, &header)? {
        card.active = names(&answer, ACTIVE)?;
        card.changeable = names(&answer, CHANGEABLE)?;
    }
    Ok(card)
}

fn number(answer: &Answer, attribute: u16) -> io::Result<Option<u32>> {
    let bytes = answer.attribute(attribute)?;
    let bytes = bytes.and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    Ok(bytes.map(u32::from_ne_bytes))
}

/// The names of the bits that are set.
fn names(answer: &Answer, attribute: u16) -> io::Result<BTreeSet<String>> {
    set_bits(&answer.attribute(attribute)?.unwrap_or_default())
}

/// A set with a mask lists all bits of the mask, and says of each whether it is set; one without a mask lists those alone that are.
fn set_bits(set: &[u8]) -> io::Result<BTreeSet<String>> {
    let has_mask = attribute_of(set, NO_MASK)?.is_none();
    let bits = attribute_of(set, BITS)?.unwrap_or_default();
    let mut names = BTreeSet::new();
    for bit in attributes_of(&bits, BIT)? {
        if !has_mask || attribute_of(&bit, BIT_VALUE)?.is_some() {
            names.insert(text(&attribute_of(&bit, BIT_NAME)?.unwrap_or_default()));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set of two bits, of which `set` say that they have a value.
    fn bitset(has_mask: bool, set: &[&str]) -> Vec<u8> {
        let bits = ["rx-gro", "rx-lro"].map(|name| {
            let mut bit = attribute_bytes(BIT_NAME, &[name.as_bytes(), b"\0"].concat());
            if set.contains(&name) {
                bit.extend(attribute_bytes(BIT_VALUE, &[]));
            }
            attribute_bytes(BIT | NESTED, &bit)
        });
        let mut bytes = Vec::new();
        if !has_mask {
            bytes.extend(attribute_bytes(NO_MASK, &[]));
        }
        bytes.extend(attribute_bytes(BITS | NESTED, &bits.concat()));
        bytes
    }

    #[test]
    fn of_a_set_with_a_mask_only_the_bits_with_a_value_are_set() {
        let names = |set: Vec<u8>| Vec::from_iter(set_bits(&set).unwrap());

        assert_eq!(names(bitset(true, &["rx-gro"])), ["rx-gro"]);
        assert_eq!(names(bitset(true, &[])), [""; 0]);
        assert_eq!(names(bitset(false, &[])), ["rx-gro", "rx-lro"]);
        assert_eq!(names(Vec::new()), [""; 0]);
    }
}
