//! Each program over frames with a name: action, the whole frame and all counters together.
//!
//! The tables are those of the random frames (`vtep_common::testkit::frames::World`); the packets are built by the tests'
//! own builder, and nothing of what is wanted comes from the code under test.

mod named;
mod port;
mod tunnel;
mod uplink;
