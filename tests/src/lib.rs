//! The lab that the kernel tests share.

#![expect(
    clippy::missing_panics_doc,
    reason = "in a lab whatever goes wrong is a failed test"
)]

pub mod asm;
pub mod binary;
pub mod bpf;
pub mod capture;
pub mod checks;
pub mod daemon;
pub mod dump;
pub mod frame;
pub mod inner;
pub mod kernel;
pub mod lab;
pub mod link;
pub mod monitor;
pub mod neighbour;
pub mod ns;
pub mod offload;
pub mod program;
pub mod refusal;
pub mod roam;
pub mod skip;
pub mod stack;
pub mod stream;
pub mod tap;
pub mod testrun;
pub mod traffic;
pub mod underlay;
pub mod wait;
pub mod wire;
