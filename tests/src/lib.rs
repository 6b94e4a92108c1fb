//! What the tests that need a kernel share with the bench and the demo.
//!
//! | to | look in |
//! |---|---|
//! | set up namespaces, an underlay, hypervisors and VMs | [`lab`]; one hypervisor whose every byte is seen: [`lab::wire`] |
//! | run `vtep`, ask it, watch it, see what it refuses | [`daemon`] |
//! | send frames on a device and see what comes | [`link`] |
//! | have VMs talk: ping, a steady ping, TCP, UDP, streams, a VM that moves | [`traffic`]; what must hold of a whole segment: [`traffic::checks`] |
//! | write a frame as the RFCs have it, apart from the product's code | [`encoder`] |
//! | call bpf(2): load, assemble, run and measure programs | [`bpf`] |
//! | have an earlier build at work first, or what it had pinned: [`upgrade`] |
//! | compare a program in the kernel with the host's simulation of it | [`testrun`] |
//! | wait for something, skip a test aloud, note what a test found out, show bytes, end well at Ctrl-C | [`wait`], [`mod@skip`], [`note()`], [`dump`], [`interrupt`] |
//! | run a program on a terminal, type, and read its screen | [`pty`] |
//! | measure time on a busy machine | [`priority`] |

#![expect(
    clippy::missing_panics_doc,
    reason = "in a lab whatever goes wrong is a failed test"
)]

pub mod bpf;
pub mod daemon;
pub mod dump;
pub mod encoder;
pub mod interrupt;
pub mod lab;
pub mod link;
mod notes;
pub mod priority;
pub mod pty;
pub mod skip;
pub mod testrun;
pub mod traffic;
pub mod upgrade;
pub mod wait;

pub use notes::note;
