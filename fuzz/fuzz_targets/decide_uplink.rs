//! What must hold for any frame at an uplink, on the fast path and on the slow one.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| vtep_common::testkit::check::fuzz_uplink(input));
