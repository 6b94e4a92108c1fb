//! Flooding: what a copy to a VTEP takes, by the number of VTEPs that a broadcast is copied to.
//!
//! ```text
//! vm eth0 ── vm0 hypervisor up0 ── down0 sink
//! ```
//!
//! The VM's broadcasts are live frames that are redirected out of its device. The sink stands for every VTEP: each has an address
//! of its own, and all have the sink's MAC. Where a frame is sent it is copied, and the copies are taken in, on one processor; all
//! frames of a batch are copied before the sink gets to run, so a batch makes no more copies than half of what the queue before
//! it holds: [`RING`] with NAPI, and more without.

mod copies;
mod wiring;

use std::time::Instant;

use vtep_tests::lab::Kind;
use vtep_tests::lab::underlay::Family;

use self::wiring::Wiring;
use crate::measure::{Contender, Scale, compare};
use crate::report::{Goal, Report};

/// How many VTEPs.
const REMOTES: [u32; 4] = [1, 8, 32, 128];
/// Frames that the ring of a veth device holds (`VETH_RING_SIZE` of the kernel's `drivers/net/veth.c`).
const RING: u32 = 256;
/// Copies of one measurement.
const COPIES: u32 = 1 << 18;

/// Measures.
pub(crate) fn run(scale: &Scale, report: &mut Report) {
    for (family, name) in [(Family::V4, "IPv4"), (Family::V6, "IPv6")] {
        let mut vtep = Wiring::new(Kind::Vtep, family);
        let mut kernel = Wiring::new(Kind::Kernel, family);
        for remotes in REMOTES {
            vtep.flood_to(remotes);
            kernel.flood_to(remotes);
            copies::assert_same(family, &vtep.one_of_each(), &kernel.one_of_each());

            let copies = scale.pick(COPIES, COPIES >> 7);
            let figures = compare(
                scale,
                15,
                &mut [
                    Contender::new("vtep", || each(&vtep, copies)),
                    Contender::new("kernel", || each(&kernel, copies)),
                ],
            );
            let goal = (remotes == 32).then_some(Goal::AtMost(0.6));
            let what = match remotes {
                1 => format!("to 1 VTEP, {name}"),
                _ => format!("to {remotes} VTEPs, {name}"),
            };
            report.ratio(&what, "ns per copy", &figures, goal);
        }
    }
}

/// Nanoseconds that a copy takes, from the broadcast in the VM until the sink has it.
fn each(wiring: &Wiring, copies: u32) -> Result<f64, String> {
    let batch = (RING / 2 / wiring.remotes()).clamp(1, 64);
    // A whole number of batches.
    let frames = copies / wiring.remotes() / batch * batch;
    let want = frames * wiring.remotes();
    let before = wiring.arrived();
    let start = Instant::now();
    wiring.broadcast(frames, batch);
    // The batches before the last are through; of the last one the kernel may have left a part for later.
    let came = loop {
        let came = wiring.arrived() - before;
        if came >= u64::from(want) || start.elapsed() > wiring::PATIENCE {
            break came;
        }
        std::thread::yield_now();
    };
    let took = start.elapsed();
    if came == u64::from(want) {
        Ok(took.as_secs_f64() * 1e9 / f64::from(want))
    } else {
        Err(format!("{came} copies came of {want}"))
    }
}
