//! What happens to the rates of a port.

use vtep_common::abi::{
    id::PortSlot,
    policer::{Policed, Policer},
    port::Port,
};

use crate::{
    control::{
        effect::{Effect, Write},
        record::rates::{RateTable, policer},
    },
    model::FrameRate,
};

/// Rates for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    /// Of the frames that are flooded.
    pub(crate) bum: FrameRate,
}

impl Rates {
    /// Those of a port.
    pub(crate) fn of(rates: &RateTable, slot: PortSlot) -> Self {
        Self {
            bum: FrameRate::new(rates.get(slot, Policed::Bum)).unwrap_or(FrameRate::OFF),
        }
    }

    /// Those of a new port.
    pub(crate) fn of_new(bum: Option<FrameRate>) -> Self {
        Self {
            bum: bum.unwrap_or(FrameRate::BUM_DEFAULT),
        }
    }

    /// Those that are named in place of these.
    pub(crate) fn with(self, bum: Option<FrameRate>) -> Self {
        Self {
            bum: bum.unwrap_or(self.bum),
        }
    }

    /// One of them; 0 for none.
    fn get(self, what: Policed) -> u64 {
        match what {
            Policed::Bum => self.bum.get(),
        }
    }
}

/// Holds a port to rates: says so in `port`, and writes what its flags lead to. Returns the writes for when the port is written.
pub(crate) fn set(
    rates: &mut RateTable,
    slot: PortSlot,
    port: &mut Port,
    wanted: Rates,
    out: &mut Effect,
) -> Vec<Write> {
    let mut late = Vec::new();
    for what in Policed::ALL {
        let rate = wanted.get(what);
        port.set(what.flag(), rate != 0);
        if rates.set(slot, what, rate) {
            let write = Write::Policer(slot, what, policer(what, rate));
            if rate == 0 {
                late.push(write);
            } else {
                out.write(write);
            }
        }
    }
    late
}

/// Takes away the rates of a port that is gone.
pub(crate) fn forget(rates: &mut RateTable, slot: PortSlot, out: &mut Effect) {
    for what in Policed::ALL {
        if rates.set(slot, what, 0) {
            out.write(Write::Policer(slot, what, Policer::NONE));
        }
    }
}
