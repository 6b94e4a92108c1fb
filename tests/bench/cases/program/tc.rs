//! TC programs. The kernel's marks of a tunnel packet on an skb cannot be taken back by a program, so there is no pair to repeat. Each
//! run is a system call of its own with a new skb, and the same calls for `return TC_ACT_SHOT` are subtracted. The code runs with
//! the caches as a system call leaves them; a test run's skb has so little headroom that the kernel copies its head for outer headers
//! over IPv6; and freeing what the program has added is charged to it. All of this counts against us, and the difference
//! of two figures of microseconds is not precise: these rows have no goal.

use std::time::Instant;

use vtep_tests::bpf::asm::Asm;
use vtep_tests::bpf::program::{Program, ProgramType, TC_REDIRECT, TC_SHOT, tc_context};
use vtep_tests::dump::assert_same;

use super::capture::{self, After, Programs};
use super::{Direction, Prepared, ROUNDS, each};
use crate::cases::baseline::{self, Unit};
use crate::measure::{Contender, Scale, compare};
use crate::report::Report;

/// Times a program runs in one measurement.
const CALLS: u32 = 100_000;

/// A build's program, and what it is tried with.
struct TcRuns<'a> {
    bench: &'a Prepared,
    direction: Direction,
    frame: Vec<u8>,
    context: Vec<u8>,
    program: Program,
}

impl<'a> TcRuns<'a> {
    /// Insists that the program makes of its frame what is wanted.
    fn new(bench: &'a Prepared, direction: Direction) -> Self {
        let name = direction.tc_name();
        let subject = Self {
            bench,
            direction,
            frame: bench.frame(direction),
            context: tc_context(bench.wire.ns.ifindex(direction.device())),
            program: Program::open(ProgramType::Tc, &bench.pinned(name)),
        };
        let Self {
            frame,
            context,
            program,
            ..
        } = &subject;
        let ran = bench.run(|| program.run(frame, context, 1));
        let ran = ran.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(ran.action, TC_REDIRECT, "{name}");
        assert_same(&ran.frame, &bench.wanted(direction, &ran.frame), name);
        subject
    }

    /// Nanoseconds of a run of `who`.
    fn measure(&self, who: &Program, calls: u32) -> Result<f64, String> {
        let (took, ran) = self.bench.run(|| {
            let start = Instant::now();
            let ran = who.run_apart(&self.frame, &self.context, calls);
            (each(start, calls), ran)
        });
        ran.map_err(|error| error.to_string()).map(|()| took)
    }

    /// Runs that the program has counted.
    fn counted(&self) -> u64 {
        let ([_, hook], reason) = self.direction.counted_as();
        self.bench.counted(hook, reason)
    }
}

/// Measures the program of one direction, and that of the baseline, if there is one.
pub(super) fn run(
    scale: &Scale,
    report: &mut Report,
    direction: Direction,
    bench: &Prepared,
    (baseline, after): (Option<&Prepared>, After<'_>),
) {
    let name = direction.tc_name();
    let calls = scale.pick(CALLS, 200);
    let subject = TcRuns::new(bench, direction);
    let baseline = baseline.map(|bench| TcRuns::new(bench, direction));
    let (captured, programs) = (TcRuns::new(after.bench, direction), after.programs);
    let subjects: Vec<&TcRuns<'_>> = [&subject].into_iter().chain(&baseline).collect();
    let returns = Program::load(ProgramType::Tc, &Asm::new().returns(TC_SHOT));
    let mut contenders = vec![
        Contender::new("vtep", || subject.measure(&subject.program, calls)),
        Contender::new("return", || subject.measure(&returns, calls)),
    ];
    contenders.extend(baseline.as_ref().map(|baseline| {
        Contender::new(baseline::NAME, || {
            baseline.measure(&baseline.program, calls)
        })
    }));
    if let Some(Programs { off, meanwhile }) = programs {
        let captured = &captured;
        contenders.push(Contender::new(capture::OFF, move || {
            captured.measure(off, calls)
        }));
        contenders.push(Contender::new(capture::WHILE, move || {
            captured.measure(meanwhile, calls)
        }));
    }
    let counted: Vec<u64> = subjects.iter().map(|subject| subject.counted()).collect();
    let mut figures = compare(scale, ROUNDS, &mut contenders);
    drop(contenders);
    let runs = u64::from(calls) * u64::from(scale.rounds(ROUNDS));
    for (subject, before) in subjects.iter().zip(counted) {
        assert_eq!(
            subject.counted() - before,
            runs,
            "{name}: runs that were counted while it was measured"
        );
    }
    figures.derive("vtep - return", ["vtep", "return"], |[vtep, returns]| {
        vtep - returns
    });
    let family = bench.family;
    report.figure(
        &format!("{name}, {family:?}, over return"),
        "ns",
        &figures.only(&["vtep - return", "vtep", "return"]),
        None,
    );
    report.note(
        "a system call for each run, since an skb's marks of a tunnel cannot be undone: with cooler caches than under load, and with \
         the freeing of what was added",
    );
    if programs.is_some() {
        let row = format!("tc {}, {family:?}", direction.word());
        capture::rows(report, &row, &mut figures, "return", false);
    }
    if let Some(path) = &scale.baseline {
        let of = [baseline::NAME, "return"];
        figures.derive("baseline - return", of, |[whole, returns]| whole - returns);
        let row = format!("tc {}, {family:?}", direction.word());
        let pair = ["vtep - return", "baseline - return"];
        baseline::add(report, &row, Unit::Time, &figures, pair, path);
    }
}
