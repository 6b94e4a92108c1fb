//! Telling the daemon.

use vtep_common::{
    events::Event,
    maps::{EventEnd, FdbKey, FdbValue, Guard},
};

use crate::{
    blur::blur,
    count::add,
    maps::{EVENT_COUNTERS, EVENTS, FDB, GUARDS},
};

/// Puts an event into the ring buffer, unless one that says the same is on its way.
#[inline(always)]
pub fn tell(event: &Event) {
    let words = event.words();
    let subject = Event::subject(&words);
    let guard = Guard {
        place: Event::place(&words),
        time: event.time,
    };
    let end = if is_held_back(subject, &guard) {
        EventEnd::HeldBack
    } else if let Some(mut room) = EVENTS.reserve::<[u64; Event::WORDS]>(0) {
        let to: *mut u64 = room.as_mut_ptr().cast();
        for (index, word) in words.into_iter().enumerate() {
            // SAFETY: there is room for all words. Volatile, or else they would be copied byte by byte.
            unsafe { to.add(index).write_volatile(word) };
        }
        room.submit(0);
        // Where it fails, the next frame tells once more.
        GUARDS.insert(subject, guard, 0).unwrap_or(());
        EventEnd::Sent
    } else {
        EventEnd::Lost
    };
    add(&EVENT_COUNTERS, u32::from(blur(end as u8)), 0);
}

#[inline(always)]
fn is_held_back(subject: u64, guard: &Guard) -> bool {
    // SAFETY: the value is two plain words; if another CPU writes them meanwhile, an event is told once too often.
    match unsafe { GUARDS.get(subject) } {
        Some(last) => {
            last.place == guard.place && guard.time.wrapping_sub(last.time) < Guard::HOLD_NS
        }
        None => false,
    }
}

/// Sets the stamp of a learned entry.
#[inline(always)]
pub fn refresh(key: &FdbKey, now: u64) {
    if let Some(value) = FDB.get_ptr_mut(key) {
        let value: *mut FdbValue = value;
        // SAFETY: the map gave the pointer; the stamp is one aligned word.
        unsafe { (&raw mut (*value).last_seen).write_volatile(now) };
    }
}
