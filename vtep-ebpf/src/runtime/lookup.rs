//! What the tables know of a frame, asked all at once.

use vtep_common::{
    abi::port::PortKey,
    decide::lookup::Lookup,
    frame::{
        inner::{Inner, Received},
        outer::OuterAddresses,
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
pub extern "C" fn find_tunnel() -> u64 {
    if let Some(tables) = KernelTables::new() {
        // SAFETY: whoever calls this has put both down, the first perhaps as the start of an `Outer`.
        let (addresses, read): (&OuterAddresses, &Received) = unsafe {
            (
                tables.spilled_just_now::<{ place::OUTER }, _>(),
                tables.spilled_just_now::<{ place::INNER }, _>(),
            )
        };
        tables.spill::<{ place::KNOWN }, _>(&Lookup::of_tunnel(addresses, read, &tables));
    }
    0
}

/// As [`find_tunnel`], of a frame from the port with this key.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_port(key: u64) -> u64 {
    if let Some(tables) = KernelTables::new() {
        let key = PortKey::from_word(key);
        // SAFETY: whoever calls this has put it down.
        let inner: &Inner = unsafe { tables.spilled_just_now::<{ place::INNER }, _>() };
        tables.spill::<{ place::KNOWN }, _>(&Lookup::of_port(key, inner, &tables));
    }
    0
}
