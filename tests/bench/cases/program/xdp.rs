//! XDP programs. A test run of a million repetitions hands the program the same buffer each time, as the time before left it. So a
//! wrapper runs first. If the frame has not its first length any more, it moves the head back by the outer headers' length, which
//! restores the frame: encapsulation lies in front of it, and decapsulation leaves the outer headers in the headroom, where
//! nobody writes. Then it goes on to the program by a tail call. That the frame is restored is checked: the bytes after the last
//! run are those after the first, each run returned the same action, and the program's own counter has grown by every run.
//!
//! What is subtracted is the same wrapper in front of `return XDP_DROP`, measured in the same round: the test run, the
//! wrapper's comparison, the tail call. The frame keeps its length there, so the wrapper's own undoing is *not* subtracted: it
//! is charged to the program in the rows "over return", and shown by itself, as half of what the wrapper takes in front of a
//! program that moves the head and leaves it moved.
//!
//! The floor does what cannot be avoided, without a look-up: it moves the head, writes constant headers where it encapsulates, and
//! redirects. The ratio to the floor is of what either takes over `return`, less the undoing, which would
//! otherwise stand above and below the line and flatter us.
//!
//! The wrappers are held ready in the kernel's dispatcher, see [`Ready`]: putting them in and out takes some 20 ms of each test run,
//! or 20 ns of each of a million runs.

use std::os::fd::OwnedFd;
use std::time::Instant;

use vtep_tests::bpf::asm::{Asm, Helper, Reg, Size};
use vtep_tests::bpf::program::{
    Program, ProgramType, Ready, XDP_DROP, XDP_REDIRECT, program_array, xdp_context,
};
use vtep_tests::dump::assert_same;

use super::capture::{self, After, Programs};
use super::{Direction, POLICIES, Prepared, ROUNDS, each};
use crate::cases::baseline::{self, Unit};
use crate::measure::{Contender, Scale, compare};
use crate::report::{Figures, Goal, Report};

/// Times a program runs over its frame in one measurement.
const REPEAT: u32 = 1_000_000;
/// Nanoseconds that a program may take over one that only returns.
const MOST_OVER_RETURN: f64 = 80.0;
/// Nanoseconds that the policies of a port may take of it.
const MOST_FOR_POLICIES: f64 = 5.0;
/// Times of the floor that decapsulation may take.
const MOST_OF_FLOOR: f64 = 1.2;
/// `XDP_ABORTED`, where a tail call fails.
const XDP_ABORTED: i32 = 0;

/// A program behind the wrapper.
struct Wrapped {
    _ready: OwnedFd,
    wrapper: Program,
    _programs: OwnedFd,
}

impl Wrapped {
    /// In front of `program`, which is given a frame of `length` bytes and moves its head by `moved`.
    fn new(ready: &Ready, program: &Program, length: usize, moved: i32) -> Self {
        let programs = program_array(&[program]);
        let length = i32::try_from(length).expect("a length");
        let wrapper = Program::load_xdp_with_frags(
            &Asm::new()
                .copy(Reg::R6, Reg::R1)
                .load(Size::Word, Reg::R2, Reg::R1, 0)
                .load(Size::Word, Reg::R3, Reg::R1, 4)
                .sub_reg(Reg::R3, Reg::R2)
                .jump_equal(Reg::R3, length, 2)
                .set(Reg::R2, -moved)
                .call(Helper::XdpAdjustHead)
                .copy(Reg::R1, Reg::R6)
                .map(Reg::R2, &programs)
                .set(Reg::R3, 0)
                .call(Helper::TailCall)
                .returns(XDP_ABORTED),
        );
        Self {
            _ready: ready.hold(&wrapper),
            wrapper,
            _programs: programs,
        }
    }
}

/// A build's program, and what it is tried with.
struct XdpRuns<'a> {
    bench: &'a Prepared,
    direction: Direction,
    frame: Vec<u8>,
    context: Vec<u8>,
    program: Wrapped,
}

impl<'a> XdpRuns<'a> {
    fn new(bench: &'a Prepared, direction: Direction) -> Self {
        let frame = bench.frame(direction);
        let program = Program::open(ProgramType::Xdp, &bench.pinned(direction.xdp_name()));
        let moved = bench.moved(direction);
        Self {
            bench,
            direction,
            context: xdp_context(frame.len(), bench.wire.ns.ifindex(direction.device())),
            program: Wrapped::new(&bench.ready, &program, frame.len(), moved),
            frame,
        }
    }

    /// Another program in its place.
    fn in_its_place(&self, program: &Program) -> Wrapped {
        let moved = self.bench.moved(self.direction);
        Wrapped::new(&self.bench.ready, program, self.frame.len(), moved)
    }

    /// Something else in the program's place.
    fn wrapped(&self, asm: &Asm) -> Wrapped {
        let program = Program::load_xdp_with_frags(asm);
        let moved = self.bench.moved(self.direction);
        Wrapped::new(&self.bench.ready, &program, self.frame.len(), moved)
    }

    /// Insists that `who` makes of the frame what is wanted, however often it runs.
    fn check(&self, who: &Wrapped, times: u32) {
        let name = self.direction.xdp_name();
        let ran = self
            .bench
            .run(|| who.wrapper.run(&self.frame, &self.context, times));
        let ran = ran.unwrap_or_else(|error| panic!("{name}: {error}"));
        let wanted = self.bench.wanted(self.direction, &ran.frame);
        assert_eq!(ran.action, XDP_REDIRECT, "{name} after {times} runs");
        assert_same(&ran.frame, &wanted, &format!("{name} after {times} runs"));
    }

    /// The same of the program, which also counts each run.
    fn check_program(&self) {
        for times in [1, 2, 3, 1_000] {
            let before = self.counted();
            self.check(&self.program, times);
            let counted = self.counted() - before;
            let name = self.direction.xdp_name();
            assert_eq!(counted, u64::from(times), "{name}: runs that were counted");
        }
    }

    /// Nanoseconds of a run of `who`, which returns `action` and leaves `length` bytes.
    fn measure(
        &self,
        who: &Wrapped,
        repeat: u32,
        action: u32,
        length: usize,
    ) -> Result<f64, String> {
        let name = self.direction.xdp_name();
        let (took, ran) = self.bench.run(|| {
            let start = Instant::now();
            let ran = who.wrapper.run(&self.frame, &self.context, repeat);
            (each(start, repeat), ran)
        });
        let ran = ran.map_err(|error| error.to_string())?;
        assert_eq!((ran.action, ran.frame.len()), (action, length), "{name}");
        if action == XDP_REDIRECT {
            let wanted = self.bench.wanted(self.direction, &ran.frame);
            assert_same(&ran.frame, &wanted, name);
        }
        Ok(took)
    }

    /// Runs that the program has counted.
    fn counted(&self) -> u64 {
        let ([hook, _], reason) = self.direction.counted_as();
        self.bench.counted(hook, reason)
    }
}

/// Measures the program of one direction, and that of the baseline, if there is one.
pub(super) fn run(
    scale: &Scale,
    report: &mut Report,
    direction: Direction,
    bench: &Prepared,
    ((policed, baseline), after): ((&Prepared, Option<&Prepared>), After<'_>),
) {
    let name = direction.xdp_name();
    let repeat = scale.pick(REPEAT, 1_000);
    let subject = XdpRuns::new(bench, direction);
    let policed = XdpRuns::new(policed, direction);
    let baseline = baseline.map(|bench| XdpRuns::new(bench, direction));
    let captured = XdpRuns::new(after.bench, direction);
    let programs = after.programs.map(|programs| {
        let Programs { off, meanwhile } = programs;
        [off, meanwhile].map(|program| captured.in_its_place(program))
    });
    for program in programs.iter().flatten() {
        captured.check(program, 3);
    }
    let only_move = Asm::new()
        .set(Reg::R2, bench.moved(direction))
        .call(Helper::XdpAdjustHead)
        .returns(XDP_DROP);
    let returns = Asm::new().returns(XDP_DROP);
    let [returns, only_move, floor] =
        [returns, only_move, bench.floor(direction)].map(|asm| subject.wrapped(&asm));
    let subjects: Vec<&XdpRuns<'_>> = [&subject, &policed].into_iter().chain(&baseline).collect();
    for subject in &subjects {
        subject.check_program();
    }
    for times in [1, 2, 3, 1_000] {
        subject.check(&floor, times);
    }

    let (before, after) = (subject.frame.len(), bench.wanted(direction, &[]).len());
    let redirected =
        |subject: &XdpRuns<'_>, who: &Wrapped| subject.measure(who, repeat, XDP_REDIRECT, after);
    let dropped =
        |who: &Wrapped, length| subject.measure(who, repeat, XDP_DROP.unsigned_abs(), length);
    let mut contenders = vec![
        Contender::new("vtep", || redirected(&subject, &subject.program)),
        Contender::new("policies", || redirected(&policed, &policed.program)),
        Contender::new("return", || dropped(&returns, before)),
        Contender::new("floor", || redirected(&subject, &floor)),
        Contender::new("move", || dropped(&only_move, after)),
    ];
    contenders.extend(baseline.as_ref().map(|baseline| {
        Contender::new(baseline::NAME, || redirected(baseline, &baseline.program))
    }));
    if let Some([off, meanwhile]) = &programs {
        let captured = &captured;
        contenders.push(Contender::new(capture::OFF, || redirected(captured, off)));
        contenders.push(Contender::new(capture::WHILE, || {
            redirected(captured, meanwhile)
        }));
    }
    let counted: Vec<u64> = subjects.iter().map(|subject| subject.counted()).collect();
    let mut figures = compare(scale, ROUNDS, &mut contenders);
    drop(contenders);
    let runs = u64::from(repeat) * u64::from(scale.rounds(ROUNDS));
    for (subject, before) in subjects.iter().zip(counted) {
        assert_eq!(
            subject.counted() - before,
            runs,
            "{name}: runs that were counted while it was measured"
        );
    }
    rows(scale, report, bench, direction, &mut figures);
    if programs.is_some() {
        figures.derive("return + undo", ["return", "undo"], |[returns, undo]| {
            returns + undo
        });
        let row = format!("xdp {}, {:?}", direction.word(), bench.family);
        capture::rows(report, &row, &mut figures, "return + undo", true);
    }
}

fn rows(
    scale: &Scale,
    report: &mut Report,
    bench: &Prepared,
    direction: Direction,
    figures: &mut Figures,
) {
    let name = direction.xdp_name();
    let family = bench.family;
    // The wrapper moves the head back, the program behind it forth.
    figures.derive("undo", ["move", "return"], |[moves, returns]| {
        (moves - returns) / 2.0
    });
    figures.derive("vtep - return", ["vtep", "return"], |[vtep, returns]| {
        vtep - returns
    });
    figures.derive("floor - return", ["floor", "return"], |[floor, returns]| {
        floor - returns
    });
    figures.derive("vtep, net", ["vtep - return", "undo"], |[over, undo]| {
        over - undo
    });
    figures.derive("floor, net", ["floor - return", "undo"], |[over, undo]| {
        over - undo
    });
    report.figure(
        &format!("{name}, {family:?}, over return"),
        "ns",
        &figures.only(&[
            "vtep - return",
            "floor - return",
            "vtep",
            "return",
            "floor",
            "undo",
        ]),
        Some(Goal::AtMost(MOST_OVER_RETURN)),
    );
    report.note("with the wrapper's undoing, which is the test's own, charged to the program");
    report.figure(
        &format!("{name}, {family:?}, over return and less the undoing"),
        "ns",
        &figures.only(&["vtep, net", "floor, net"]),
        None,
    );
    report.ratio(
        &format!("xdp {}, {family:?}, against the floor", direction.word()),
        "ns",
        &figures.only(&["vtep, net", "floor, net"]),
        (direction == Direction::Decap).then_some(Goal::AtMost(MOST_OF_FLOOR)),
    );
    report.ratio(
        &format!(
            "xdp {}, {family:?}, whole runs against the floor's",
            direction.word()
        ),
        "ns",
        &figures.only(&["vtep", "floor"]),
        None,
    );
    report.note("the test run and the wrapper are in both, so this flatters");
    let cost = ["policies", "vtep"];
    figures.derive("policies - vtep", cost, |[policies, vtep]| policies - vtep);
    report.figure(
        &format!("xdp {}, {family:?}, policies", direction.word()),
        "ns",
        &figures.only(&["policies - vtep", "policies", "vtep"]),
        Some(Goal::AtMost(MOST_FOR_POLICIES)),
    );
    report.note(format!("with {POLICIES}, beside the same without"));
    if let Some(path) = &scale.baseline {
        let of = [baseline::NAME, "return", "undo"];
        figures.derive("baseline, net", of, |[whole, returns, undo]| {
            whole - returns - undo
        });
        let row = format!("xdp {}, {family:?}", direction.word());
        let pair = ["vtep, net", "baseline, net"];
        baseline::add(report, &row, Unit::Time, figures, pair, path);
    }
}
