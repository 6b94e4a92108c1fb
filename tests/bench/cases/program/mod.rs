//! What each program takes for a packet, by `BPF_PROG_TEST_RUN`.
//!
//! The hypervisor is that of the wire tests: a tap as uplink, as a network card without segmentation offload, and a tap as
//! port; learning is on, the source of the frame is a learned entry and its destination a static one, so both are looked up.
//!
//! **XDP.** A test run of a million repetitions hands the program the same buffer each time, as the time before left it. So a
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
//!
//! **TC.** The kernel's marks of a tunnel packet on an skb cannot be taken back by a program, so there is no pair to repeat. Each
//! run is a system call of its own with a new skb, and the same calls for `return TC_ACT_SHOT` are subtracted. The code runs with
//! the caches as a system call leaves them; a test run's skb has so little headroom that the kernel copies its head for outer headers
//! over IPv6; and freeing what the program has added is charged to it. All of this counts against us, and the difference
//! of two figures of microseconds is not precise: these rows have no goal.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Instant;

use vtep_tests::asm::{Asm, Helper, Reg, Size};
use vtep_tests::dump::assert_same;
use vtep_tests::frame::{Frame, Mac, eth};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::program::{
    Kind, Program, Ready, TC_REDIRECT, TC_SHOT, XDP_DROP, XDP_REDIRECT, program_array, tc_context,
    xdp_context,
};
use vtep_tests::underlay::Family;
use vtep_tests::wait;
use vtep_tests::wire::{FAR_MAC, FAR_VM, PORT, VM, Wire};

use crate::measure::{Contender, Scale, compare, pin};
use crate::report::{Figures, Goal, Report};

/// Times an XDP program runs over its frame in one measurement.
const REPEAT: u32 = 1_000_000;
/// Times a TC program does.
const CALLS: u32 = 100_000;
/// Rounds of each comparison.
const ROUNDS: u32 = 25;
/// Nanoseconds that a program may take over one that only returns.
const MOST_OVER_RETURN: f64 = 80.0;
/// Times of the floor that decapsulation may take.
const MOST_OF_FLOOR: f64 = 1.2;
/// A VM behind the port that has been learned.
const LEARNED: Mac = Mac::nth(0x1a);
/// A VM behind the far VTEP that has been learned.
const FAR_LEARNED: Mac = Mac::nth(0x1b);
/// `XDP_ABORTED`, where a tail call fails.
const XDP_ABORTED: i32 = 0;

/// Measures.
pub(crate) fn run(scale: &Scale, report: &mut Report) {
    for family in Family::BOTH {
        let bench = Bench::new(family);
        for direction in [Direction::Decap, Direction::Encap] {
            xdp(scale, report, &bench, direction);
        }
        for direction in [Direction::Decap, Direction::Encap] {
            tc(scale, report, &bench, direction);
        }
    }
}

/// What a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Encap,
    Decap,
}

impl Direction {
    const fn xdp_name(self) -> &'static str {
        match self {
            Self::Encap => "xdp_port",
            Self::Decap => "xdp_uplink",
        }
    }

    const fn tc_name(self) -> &'static str {
        match self {
            Self::Encap => "tc_port",
            Self::Decap => "tc_uplink",
        }
    }

    /// The hooks at which it counts, XDP first, and the reason.
    const fn counted_as(self) -> ([&'static str; 2], &'static str) {
        match self {
            Self::Encap => (["port_xdp", "port"], "encapsulated"),
            Self::Decap => (["uplink_xdp", "uplink"], "decapsulated"),
        }
    }

    const fn device(self) -> &'static str {
        match self {
            Self::Encap => PORT,
            Self::Decap => UPLINK,
        }
    }

    /// Where it sends to.
    const fn other_device(self) -> &'static str {
        match self {
            Self::Encap => UPLINK,
            Self::Decap => PORT,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Encap => "encap",
            Self::Decap => "decap",
        }
    }
}

/// The frame of a VM: 64 bytes.
fn inner(direction: Direction) -> Vec<u8> {
    let (source, destination) = match direction {
        Direction::Encap => (LEARNED, FAR_VM),
        Direction::Decap => (FAR_LEARNED, VM),
    };
    eth(source, destination)
        .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
        .udp(1000, 2000)
        .payload(1, 22)
        .build()
}

/// A hypervisor whose FDB knows both VMs.
struct Bench {
    wire: Wire,
    family: Family,
    ready: Ready,
}

impl Bench {
    fn new(family: Family) -> Self {
        let wire = Wire::new(family);
        if family == Family::V6 {
            // A checksum over the inner frame is not for XDP, and the kernel is measured without in the other cases too.
            wire.daemon
                .ok(&format!("peer set {} --csum6 off", wire.far_ip));
            wire.resolved();
        }
        let bench = Self {
            wire,
            family,
            ready: Ready::default(),
        };
        let wire = &bench.wire;
        wire.port.send(&inner(Direction::Encap));
        wire.uplink.send(&bench.frame(Direction::Decap));
        for mac in [LEARNED, FAR_LEARNED] {
            wait::until("a MAC to be learned", || wire.daemon.fdb(GREEN, mac));
        }
        bench
    }

    /// What a program is given.
    fn frame(&self, direction: Direction) -> Vec<u8> {
        let inner = inner(direction);
        match direction {
            Direction::Encap => inner,
            Direction::Decap => self.wire.tunnelled(GREEN, &inner),
        }
    }

    /// The outer headers of a packet from here, up to IP.
    fn outer(&self) -> Frame {
        let wire = &self.wire;
        let outer = eth(wire.mac, FAR_MAC).ip(wire.ip, wire.far_ip);
        match self.family {
            Family::V4 => outer.df(),
            Family::V6 => outer,
        }
    }

    /// What a program should make of its frame; the source port is its own choice.
    fn wanted(&self, direction: Direction, got: &[u8]) -> Vec<u8> {
        let inner = inner(direction);
        match direction {
            Direction::Decap => inner,
            Direction::Encap => {
                let at = self.family.outer_len() - 16;
                let port = got.get(at..at + 2).map_or(0, |port| {
                    u16::from_be_bytes(port.try_into().unwrap_or_default())
                });
                self.outer()
                    .udp_unchecked(port, 4789)
                    .vxlan(GREEN)
                    .bytes(&inner)
                    .build()
            }
        }
    }

    fn pinned(&self, name: &str) -> PathBuf {
        self.wire.daemon.pins().join("programs").join(name)
    }

    /// How often a program has finished a frame.
    fn counted(&self, hook: &str, reason: &str) -> u64 {
        let rows = self.wire.daemon.rows("stats");
        rows.iter()
            .filter(|row| row["hook"] == hook && row["reason"] == reason)
            .filter_map(|row| row["packets"].as_u64())
            .sum()
    }

    /// Runs `body` where the interfaces are, on one processor.
    fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        self.wire.ns.run(|| {
            pin(0);
            body()
        })
    }

    /// How many bytes the head of a frame has moved by when the program is through with it.
    fn moved(&self, direction: Direction) -> i32 {
        let outer = i32::try_from(self.family.outer_len()).expect("a short header");
        match direction {
            Direction::Encap => -outer,
            Direction::Decap => outer,
        }
    }

    /// What cannot be avoided, without a look-up.
    fn floor(&self, direction: Direction) -> Asm {
        let asm = Asm::new()
            .set(Reg::R2, self.moved(direction))
            .copy(Reg::R6, Reg::R1)
            .call(Helper::XdpAdjustHead);
        let asm = match direction {
            Direction::Decap => asm,
            Direction::Encap => {
                let outer = self.wanted(direction, &[]);
                constant_headers(asm, &outer[..self.family.outer_len()])
            }
        };
        asm.redirect(self.wire.ns.ifindex(direction.other_device()))
    }
}

/// Writes constant headers to the front of the frame, whose context is in R6.
pub(super) fn constant_headers(asm: Asm, headers: &[u8]) -> Asm {
    let stores = Asm::new().store_bytes(Reg::R2, 0, headers);
    let length = i32::try_from(headers.len()).expect("a short header");
    let skip = i16::try_from(stores.words().len()).expect("a short program");
    asm.load(Size::Word, Reg::R2, Reg::R6, 0)
        .load(Size::Word, Reg::R3, Reg::R6, 4)
        .copy(Reg::R1, Reg::R2)
        .add(Reg::R1, length)
        .jump_greater(Reg::R1, Reg::R3, skip)
        .store_bytes(Reg::R2, 0, headers)
}

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

/// Nanoseconds of each of `count`.
fn each(start: Instant, count: u32) -> f64 {
    start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}

fn xdp(scale: &Scale, report: &mut Report, bench: &Bench, direction: Direction) {
    let name = direction.xdp_name();
    let moved = bench.moved(direction);
    let frame = bench.frame(direction);
    let repeat = scale.pick(REPEAT, 1_000);
    let context = xdp_context(frame.len(), bench.wire.ns.ifindex(direction.device()));
    let returns = Asm::new().returns(XDP_DROP);
    let only_move = Asm::new()
        .set(Reg::R2, moved)
        .call(Helper::XdpAdjustHead)
        .returns(XDP_DROP);
    let wrapped = |program: &Program| Wrapped::new(&bench.ready, program, frame.len(), moved);
    let program = wrapped(&Program::open(Kind::Xdp, &bench.pinned(name)));
    let [returns, only_move, floor] = [returns, only_move, bench.floor(direction)]
        .map(|asm| wrapped(&Program::load_xdp_with_frags(&asm)));

    let (hooks, reason) = direction.counted_as();
    let check = |who: &Wrapped, times: u32| {
        let ran = bench.run(|| who.wrapper.run(&frame, &context, times));
        let ran = ran.unwrap_or_else(|error| panic!("{name}: {error}"));
        let wanted = bench.wanted(direction, &ran.frame);
        assert_eq!(ran.action, XDP_REDIRECT, "{name} after {times} runs");
        assert_same(&ran.frame, &wanted, &format!("{name} after {times} runs"));
    };
    for times in [1, 2, 3, 1_000] {
        let before = bench.counted(hooks[0], reason);
        check(&program, times);
        let counted = bench.counted(hooks[0], reason) - before;
        assert_eq!(counted, u64::from(times), "{name}: runs that were counted");
        check(&floor, times);
    }

    let measure = |who: &Wrapped, action: u32, length: usize| {
        let (took, ran) = bench.run(|| {
            let start = Instant::now();
            let ran = who.wrapper.run(&frame, &context, repeat);
            (each(start, repeat), ran)
        });
        let ran = ran.map_err(|error| error.to_string())?;
        assert_eq!((ran.action, ran.frame.len()), (action, length), "{name}");
        if action == XDP_REDIRECT {
            let wanted = bench.wanted(direction, &ran.frame);
            assert_same(&ran.frame, &wanted, name);
        }
        Ok(took)
    };
    let dropped = XDP_DROP.unsigned_abs();
    let after = bench.wanted(direction, &[]).len();
    let before = bench.counted(hooks[0], reason);
    let mut figures = compare(
        scale,
        ROUNDS,
        &mut [
            Contender::new("vtep", || measure(&program, XDP_REDIRECT, after)),
            Contender::new("return", || measure(&returns, dropped, frame.len())),
            Contender::new("floor", || measure(&floor, XDP_REDIRECT, after)),
            Contender::new("move", || measure(&only_move, dropped, after)),
        ],
    );
    let runs = u64::from(repeat) * u64::from(scale.rounds(ROUNDS));
    let counted = bench.counted(hooks[0], reason) - before;
    assert_eq!(
        counted, runs,
        "{name}: runs that were counted while it was measured"
    );
    report_xdp(report, bench, direction, &mut figures);
}

fn report_xdp(report: &mut Report, bench: &Bench, direction: Direction, figures: &mut Figures) {
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
}

fn tc(scale: &Scale, report: &mut Report, bench: &Bench, direction: Direction) {
    let name = direction.tc_name();
    let frame = bench.frame(direction);
    let calls = scale.pick(CALLS, 200);
    let context = tc_context(bench.wire.ns.ifindex(direction.device()));
    let program = Program::open(Kind::Tc, &bench.pinned(name));
    let returns = Program::load(Kind::Tc, &Asm::new().returns(TC_SHOT));
    let (hooks, reason) = direction.counted_as();

    let ran = bench.run(|| program.run(&frame, &context, 1));
    let ran = ran.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(ran.action, TC_REDIRECT, "{name}");
    assert_same(&ran.frame, &bench.wanted(direction, &ran.frame), name);

    let measure = |who: &Program| {
        let (took, ran) = bench.run(|| {
            let start = Instant::now();
            let ran = who.run_apart(&frame, &context, calls);
            (each(start, calls), ran)
        });
        ran.map_err(|error| error.to_string()).map(|()| took)
    };
    let before = bench.counted(hooks[1], reason);
    let mut figures = compare(
        scale,
        ROUNDS,
        &mut [
            Contender::new("vtep", || measure(&program)),
            Contender::new("return", || measure(&returns)),
        ],
    );
    let runs = u64::from(calls) * u64::from(scale.rounds(ROUNDS));
    let counted = bench.counted(hooks[1], reason) - before;
    assert_eq!(
        counted, runs,
        "{name}: runs that were counted while it was measured"
    );
    figures.derive("vtep - return", ["vtep", "return"], |[vtep, returns]| {
        vtep - returns
    });
    report.figure(
        &format!("{name}, {:?}, over return", bench.family),
        "ns",
        &figures.only(&["vtep - return", "vtep", "return"]),
        None,
    );
    report.note(
        "a system call for each run, since an skb's marks of a tunnel cannot be undone: with cooler caches than under load, and with \
         the freeing of what was added",
    );
}
