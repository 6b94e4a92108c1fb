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
/// `ETHTOOL_A_BITSET_BITS`, `ETHTOOL_A_BITSET_BITS_BIT` and `ETHTOOL_A_BITSET_BIT_NAME`.
const BITS: u16 = 3;
const BIT: u16 = 1;
const BIT_NAME: u16 = 2;
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

/// The names of a set of bits.
fn names(answer: &Answer, attribute: u16) -> io::Result<BTreeSet<String>> {
    let set = answer.attribute(attribute)?.unwrap_or_default();
    let bits = attribute_of(&set, BITS)?.unwrap_or_default();
    let bits = attributes_of(&bits, BIT)?.into_iter();
    let name = |bit: Vec<u8>| Ok(text(&attribute_of(&bit, BIT_NAME)?.unwrap_or_default()));
    bits.map(name).collect()
}
