//! What becomes of a frame: pure decisions, one file a hook or a stage of one.

mod admit;
pub mod count;
mod hop;
pub mod learn;
pub mod police;
pub mod port;
pub mod tunnel;
pub mod uplink;
