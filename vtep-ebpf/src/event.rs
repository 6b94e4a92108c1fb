//! Notifying the daemon.

use vtep_common::{
    abi::{
        event::{Event, EventEnd, Guard},
        fdb::FdbKey,
    },
    runtime::{
        EventHost, EventVtep,
        verdict::{Account, Notice},
    },
};

use crate::{
    clock::now,
    counter::add,
    maps::{EVENT_COUNTERS, EVENTS, GUARDS},
    runtime::{opaque::opaque, scratch::Scratch},
    tables::set_stamp,
};

/// Puts an event into the ring buffer, unless one that says the same is on its way.
#[inline(always)]
pub fn notify(scratch: &Scratch, account: &Account, notice: &Notice<'_>) {
    let mut spilled = 0;
    if let Some(vtep) = notice.vtep {
        scratch.spill(&EventVtep(Event::address(vtep)));
        spilled |= VTEP;
    }
    if let Some(host) = notice.host {
        scratch.spill(&EventHost(Event::address(host)));
        spilled |= HOST;
    }
    send_event(
        Event::what(notice.kind, account.segment),
        notice.mac.get(),
        Event::from(account.from_port, notice.flags),
        spilled,
    );
}

/// The VTEP of the event is spilled.
const VTEP: u64 = 1;
/// Its host is.
const HOST: u64 = 1 << 1;

/// Sends an event made of these words, and of the addresses that `spilled` says. What it returns says nothing.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_event(what: u64, mac: u64, from: u64, spilled: u64) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return 0;
    };
    // All of an address or zero, without a branch.
    let mask = |flag: u64| ((spilled & flag) / flag).wrapping_neg();
    let [v0, v1] = scratch.last::<EventVtep>().0;
    let [h0, h1] = scratch.last::<EventHost>().0;
    let words = &[
        what,
        mac,
        v0 & mask(VTEP),
        v1 & mask(VTEP),
        h0 & mask(HOST),
        h1 & mask(HOST),
        from,
        Event::NOT_SET,
    ];
    let time = now();
    let subject = Event::subject(words);
    let guard = Guard {
        place: Event::place(words),
        time,
    };
    let end = if is_held_back(subject, &guard) {
        EventEnd::HeldBack
    } else if let Some(mut room) = EVENTS.reserve::<[u64; Event::WORDS]>(0) {
        let to: *mut u64 = room.as_mut_ptr().cast();
        for (index, word) in words.iter().enumerate() {
            // SAFETY: there is room for all words. Volatile, or else they would be copied byte by byte.
            unsafe { to.add(index).write_volatile(*word) };
        }
        // SAFETY: the last of them is the time.
        unsafe { to.add(Event::WORDS - 1).write_volatile(time) };
        room.submit(0);
        // Where it fails, the next frame notifies once more.
        GUARDS.insert(subject, guard, 0).unwrap_or(());
        EventEnd::Sent
    } else {
        EventEnd::Lost
    };
    add(&EVENT_COUNTERS, u32::from(opaque(end as u8)), 0);
    0
}

#[inline(always)]
fn is_held_back(subject: u64, guard: &Guard) -> bool {
    // SAFETY: the value is two plain words; if another CPU writes them meanwhile, an event is sent once too often.
    match unsafe { GUARDS.get(subject) } {
        Some(last) => {
            last.place == guard.place && guard.time.wrapping_sub(last.time) < Guard::HOLD_NS
        }
        None => false,
    }
}

/// Sets the stamp of a learned entry.
#[inline(always)]
pub fn refresh(key: &FdbKey) {
    set_stamp(key.word());
}
