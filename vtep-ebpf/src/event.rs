//! Telling the daemon.

use vtep_common::{
    abi::{
        event::{Event, EventEnd, Guard},
        fdb::FdbKey,
    },
    runtime::place,
};

use crate::{
    clock::now,
    counter::add,
    maps::{EVENT_COUNTERS, EVENTS, GUARDS},
    runtime::{opaque::opaque, scratch::KernelTables},
    tables::set_stamp,
};

/// Puts an event into the ring buffer, unless one that says the same is on its way.
#[inline(always)]
pub fn notify(tables: KernelTables, event: &Event) {
    tables.spill_words::<{ place::EVENT }, _, _>(event.words());
    send_event();
}

/// Sends the event that was put down. A function of its own as those that look things up; what it returns says nothing.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_event() -> u64 {
    let Some(tables) = KernelTables::new() else {
        return 0;
    };
    let words: &[u64; Event::WORDS] = tables.spilled_before::<{ place::EVENT }, _>();
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
        // Where it fails, the next frame tells once more.
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
pub fn refresh(key: &FdbKey) {
    set_stamp(key.word());
}
