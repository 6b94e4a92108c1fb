//! The rates that ports are held to.

use std::collections::BTreeMap;

use vtep_common::abi::{
    id::PortSlot,
    policer::{Policed, Policer},
};

/// Rates as the user named them, by port.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RateTable(BTreeMap<(PortSlot, Policed), u64>);

impl RateTable {
    /// A rate; 0 for none.
    pub(crate) fn get(&self, slot: PortSlot, what: Policed) -> u64 {
        self.0.get(&(slot, what)).copied().unwrap_or(0)
    }

    /// Sets a rate, or takes it away with 0. True if it is another than before.
    pub(crate) fn set(&mut self, slot: PortSlot, what: Policed, rate: u64) -> bool {
        let old = match rate {
            0 => self.0.remove(&(slot, what)),
            rate => self.0.insert((slot, what), rate),
        };
        old.unwrap_or(0) != rate
    }
}

/// What stands in the map for a rate, with a full bucket.
pub(crate) fn policer(what: Policed, rate: u64) -> Policer {
    match what {
        Policed::In | Policed::Out => Policer::bits(rate),
        Policed::Bum => Policer::frames(rate),
    }
}

/// True if there can be such a rate, or none.
pub(crate) fn is_possible(what: Policed, rate: u64) -> bool {
    let (least, most) = match what {
        Policed::In | Policed::Out => Policer::BITS,
        Policed::Bum => Policer::FRAMES,
    };
    rate == 0 || (least..=most).contains(&rate)
}
