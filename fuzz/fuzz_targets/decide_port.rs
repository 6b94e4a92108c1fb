//! What must hold for any frame at a port: what is encapsulated comes out at the far side as it went in.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| vtep_common::testkit::check::fuzz_port(input));
