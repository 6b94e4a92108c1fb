//! What each program takes for a packet, by `BPF_PROG_TEST_RUN`.

use vtep_tests::asm::Asm;
use vtep_tests::program::{Kind, Program, XDP_DROP, xdp_context};

use crate::measure::{Contender, Scale, compare};
use crate::report::Report;

/// Times a program runs over its frame in one measurement.
const REPEAT: u32 = 1_000_000;

/// Measures.
pub(crate) fn run(scale: &Scale, report: &mut Report) {
    let floor = Program::load(Kind::Xdp, &Asm::new().returns(XDP_DROP));
    let frame = [0; 64];
    let context = xdp_context(frame.len(), 1);
    let repeat = scale.pick(REPEAT, 1_000);
    let figures = compare(
        scale,
        25,
        &mut [Contender::new("return", || {
            let start = std::time::Instant::now();
            floor
                .run(&frame, &context, repeat)
                .map_err(|error| error.to_string())?;
            Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(repeat))
        })],
    );
    report.figure("XDP, return", "ns", &figures, None);
}
