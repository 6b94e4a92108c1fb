//! Whether a frame is within the rate of its port.
//!
//! A bucket is one number: until when what has passed lasts at the rate (the generic cell rate algorithm). What passes adds to it, and it
//! may be ahead of the time by what the bucket holds. The time is that of the last tick, so all of this is exact to a tick: what keeps to
//! the rate and the bucket always passes, and in no time `t` passes more than the rate in `t` and two ticks, and what the bucket holds.
//!
//! Processors share a bucket, without a lock: see [`take_shared`].

use crate::{
    abi::{
        id::PortSlot,
        policer::{Policed, Policer},
        port::{Port, PortFlags},
    },
    runtime::{Runtime, tables::Tables},
};

/// Bytes that a packet counts as, at most: more than the largest GSO packet of the kernel has, with the headers of its segments.
const MOST_BYTES: u32 = 1 << 22;
/// Frames likewise. The kernel counts segments in 16 bits.
const MOST_FRAMES: u32 = u16::MAX as u32;
/// What [`MOST_BYTES`] cost, as a shift.
const DEBT_SHIFT: u32 = MOST_BYTES.trailing_zeros() - Policer::COST_SHIFT;
/// How often a processor tries to take, where others do at the same time.
const TRIES: usize = 3;

impl Policed {
    /// The flag of a port that has such a rate.
    #[must_use]
    pub const fn flag(self) -> u32 {
        match self {
            Self::Bum => Port::BUM_RATE,
        }
    }
}

/// True if a frame is within the rate of a port with these flags, or there is none. `amount` is what it counts as.
#[inline(always)]
pub(crate) fn lets<R: Runtime>(
    rt: &R,
    flags: PortFlags,
    (slot, what): (PortSlot, Policed),
    amount: impl FnOnce() -> u32,
) -> bool {
    !flags.has(what.flag()) || rt.take(slot, what, amount())
}

/// True if `amount` is within what a rate leaves, by the tables; nothing is taken.
#[must_use]
pub fn passes<T: Tables>(tables: &T, slot: PortSlot, what: Policed, amount: u32) -> bool {
    let policer = tables.policer(slot, what);
    let time = (tables.now(), tables.tick());
    take(&policer, what, policer.used_until, amount, time).is_some()
}

/// What a bucket comes to, in which `used_until` is used up, once `amount` more is taken out of it at the time `now`, which stands still for
/// `tick` nanoseconds. `None` where it does not hold as much.
///
/// More bytes than a bucket can hold are taken out of a full one, and it stays in debt for as long as they last: else the largest packets
/// would never pass. More frames are not.
#[must_use]
#[inline(always)]
pub const fn take(
    policer: &Policer,
    what: Policed,
    used_until: u64,
    amount: u32,
    (now, tick): (u64, u64),
) -> Option<u64> {
    let now = now << Policer::TIME_SHIFT;
    let still = tick << Policer::TIME_SHIFT;
    let whole = matches!(what, Policed::Bum);
    let holds = policer.burst.wrapping_add(still);
    // Behind, or further ahead than anything that passes leads: the bucket is full. The latter is of another clock, or of 400 days ago.
    let debt = if whole { 0 } else { policer.cost << DEBT_SHIFT };
    let most = (holds << 1).wrapping_add(debt);
    let ahead = used_until.wrapping_sub(now);
    let ahead = if ahead > most { 0 } else { ahead };
    let after = ahead.wrapping_add(lasts(policer, amount));
    if after > holds && (whole || ahead > still) {
        return None;
    }
    Some(now.wrapping_add(after))
}

/// How long so much lasts at the rate: rather too long than too short.
#[inline(always)]
const fn lasts(policer: &Policer, amount: u32) -> u64 {
    const LESS_THAN_ONE: u64 = (1 << Policer::COST_SHIFT) - 1;
    policer
        .cost
        .wrapping_mul(amount as u64)
        .wrapping_add(LESS_THAN_ONE)
        >> Policer::COST_SHIFT
}

/// A bucket that several processors take out of at once.
pub trait Shared {
    /// Until when it is used up.
    fn used_until(&self) -> u64;
    /// Writes `new` if `old` is still there, at once. Returns what was there.
    fn swap(&self, old: u64, new: u64) -> u64;
    /// Adds so much, whatever is there.
    fn add(&self, more: u64);
}

/// Takes `amount` out of a bucket that others take out of as well; false where it does not hold as much.
///
/// What others take between a look and a take makes for another try. After the last, `amount` is taken all the same: so nothing that keeps to
/// the rate is dropped because of others, and all that passes counts. What passes too early is then one packet for each processor.
#[inline(always)]
pub fn take_shared<S: Shared>(
    shared: &S,
    policer: &Policer,
    what: Policed,
    amount: u32,
    time: (u64, u64),
) -> bool {
    let mut seen = shared.used_until();
    for _ in 0..TRIES {
        let Some(next) = take(policer, what, seen, amount, time) else {
            return false;
        };
        let found = shared.swap(seen, next);
        if found == seen {
            return true;
        }
        seen = found;
    }
    shared.add(lasts(policer, amount));
    true
}

/// Frames that a packet of `len` bytes is segmented into, each of which repeats `headers_len` of them; 1 if `gso_size` is zero.
#[must_use]
#[inline(always)]
pub const fn frames(len: u32, headers_len: u32, gso_size: u32) -> u32 {
    if gso_size == 0 {
        return 1;
    }
    let payload = len.saturating_sub(headers_len);
    let frames = payload.div_ceil(gso_size);
    if frames > MOST_FRAMES {
        MOST_FRAMES
    } else if frames == 0 {
        1
    } else {
        frames
    }
}
