//! The `vtep` binary.
fn main() {}
