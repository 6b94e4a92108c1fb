//! What the tables know of a frame, asked all at once.

use vtep_common::{
    abi::port::PortKey,
    decide::lookup::Known,
    frame::{
        inner::{Inner, Received},
        outer::Ends,
    },
    runtime::{Tables as _, place},
};

use crate::runtime::scratch::KernelTables;

/// Answers in the scratch memory what is known of a packet from a VTEP that was put down there.
///
/// It is not inlined and visible from outside: such a function the verifier checks once, by itself, and of what it leaves behind
/// it knows nothing. Inlined, it would walk through each way to an answer, and on from there. What it returns says nothing.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn know_tunnel() -> u64 {
    if let Some(tables) = KernelTables::new() {
        // SAFETY: whoever calls this has put both down, the first perhaps as the start of an `Outer`.
        let (ends, read): (&Ends, &Received) = unsafe {
            (
                tables.put_down_just_now::<{ place::OUTER }, _>(),
                tables.put_down_just_now::<{ place::INNER }, _>(),
            )
        };
        tables.put_down::<{ place::KNOWN }, _>(&Known::of_tunnel(ends, read, &tables));
    }
    0
}

/// As [`know_tunnel`], of a frame from the port with this key.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn know_port(key: u64) -> u64 {
    if let Some(tables) = KernelTables::new() {
        let key = PortKey::from_word(key);
        // SAFETY: whoever calls this has put it down.
        let inner: &Inner = unsafe { tables.put_down_just_now::<{ place::INNER }, _>() };
        tables.put_down::<{ place::KNOWN }, _>(&Known::of_port(key, inner, &tables));
    }
    0
}
