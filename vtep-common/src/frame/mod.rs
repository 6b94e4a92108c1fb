//! What is read of a frame, and the outer header that it gets.

pub mod alone;
pub mod claim;
pub mod ecn;
pub mod flow;
pub mod inner;
pub mod mss;
pub mod neigh;
pub mod outer;
pub mod packet;
pub mod path_report;
pub mod template;
pub mod too_big;
pub mod vlan;
