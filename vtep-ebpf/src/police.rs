//! Taking out of the rate of a port, which all processors share.

use vtep_common::{
    abi::{
        id::PortSlot,
        policer::{Policed, Policer},
    },
    decide::police::{Shared, take_shared},
};

use crate::{atomic, clock::time, maps::POLICERS};

/// Takes `amount` out of the rate of a port; false where it leaves less.
#[inline(always)]
pub fn take(slot: PortSlot, what: Policed, amount: u32) -> bool {
    take_from(what.index(slot), amount) != 0
}

/// Takes `amount` out of the policer at `index`; zero where it does not hold as much.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn take_from(index: u32, amount: u32) -> u64 {
    let Some(at) = POLICERS.get_ptr_mut(index) else {
        return 1;
    };
    // SAFETY: the map gave the pointer. If the daemon writes a new rate meanwhile, each number is of the old one or of the new one.
    let (bucket, burst, cost) = unsafe {
        let bucket = Bucket(&raw mut (*at).used_until);
        (bucket, (*at).burst, (*at).cost)
    };
    let policer = Policer {
        burst,
        cost,
        ..Policer::NONE
    };
    take_shared(&bucket, &policer, amount, time()).into()
}

/// Takes one out of what may be answered at a port; false where nothing is left.
#[inline(always)]
pub fn take_answer(slot: PortSlot) -> bool {
    let Some(at) = POLICERS.get_ptr_mut(Policer::answers_index(slot)) else {
        return false;
    };
    // SAFETY: the map gave the pointer.
    let bucket = unsafe { Bucket(&raw mut (*at).used_until) };
    take_shared(&bucket, &Policer::ANSWERS, Policer::FRAME, time())
}

/// A bucket in the map.
struct Bucket(*mut u64);

impl Shared for Bucket {
    #[inline(always)]
    fn used_until(&self) -> u64 {
        // SAFETY: the map gave the pointer; other processors write the number at once.
        unsafe { self.0.read_volatile() }
    }

    #[inline(always)]
    fn swap(&self, old: u64, new: u64) -> u64 {
        // SAFETY: as above.
        unsafe { atomic::compare_exchange(self.0, old, new) }
    }

    #[inline(always)]
    fn add(&self, more: u64) {
        // SAFETY: as above.
        unsafe { atomic::add(self.0, more) };
    }
}
