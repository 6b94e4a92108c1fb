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
    model::{BitRate, FrameRate},
};

/// Rates for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    /// Of the frames that are flooded.
    pub(crate) bum: FrameRate,
    /// Of what comes from it.
    pub(crate) from: BitRate,
    /// Of what goes to it.
    pub(crate) to: BitRate,
}

/// Rates that a user names, in the same order.
pub(crate) type Named = (Option<FrameRate>, Option<BitRate>, Option<BitRate>);

impl Rates {
    /// Those of a port.
    pub(crate) fn of(rates: &RateTable, slot: PortSlot) -> Self {
        let bits = |what| BitRate::new(rates.get(slot, what)).unwrap_or(BitRate::OFF);
        Self {
            bum: FrameRate::new(rates.get(slot, Policed::Bum)).unwrap_or(FrameRate::OFF),
            from: bits(Policed::In),
            to: bits(Policed::Out),
        }
    }

    /// Those of a new port.
    pub(crate) fn of_new(named: Named) -> Self {
        let default = Self {
            bum: FrameRate::BUM_DEFAULT,
            from: BitRate::OFF,
            to: BitRate::OFF,
        };
        default.with(named)
    }

    /// Those that are named in place of these.
    pub(crate) fn with(self, (bum, from, to): Named) -> Self {
        Self {
            bum: bum.unwrap_or(self.bum),
            from: from.unwrap_or(self.from),
            to: to.unwrap_or(self.to),
        }
    }

    /// One of them; 0 for none.
    fn get(self, what: Policed) -> u64 {
        match what {
            Policed::In => self.from.get(),
            Policed::Bum => self.bum.get(),
            Policed::Out => self.to.get(),
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
