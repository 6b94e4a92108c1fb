//! What must hold for any message about the path to a VTEP.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| vtep_common::testkit::check::fuzz_path_report(input));
