//! What must hold for the outer headers of any frame.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| vtep_common::testkit::check::fuzz_outer(input));
