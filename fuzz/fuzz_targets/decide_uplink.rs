//! What must hold for any frame at an uplink, on the fast path and on the slow one.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| vtep_common::host::check::fuzz_uplink(input));
