//! A way that frames take, from the generator to the sink.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vtep_tests::bpf::asm::Asm;
use vtep_tests::bpf::program::{FrameCounter, Program, ProgramType, Ready, TC_SHOT, XDP_DROP};
use vtep_tests::daemon::Daemon;
use vtep_tests::dump::assert_same;
use vtep_tests::encoder::Mac;
use vtep_tests::lab::GREEN;
use vtep_tests::lab::ns::Ns;
use vtep_tests::link::Link as _;
use vtep_tests::link::capture::Capture;
use vtep_tests::wait;

use crate::measure::{Scale, pin};

/// Frames of a try.
const TRY: u32 = 1_024;
/// How long the last frames may take to the sink.
const REST: Duration = Duration::from_millis(500);

/// What becomes of frames at the end of their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    /// The kernel makes an skb of each, GRO sees it, and a program at tcx drops it.
    Skb,
    /// A program at XDP drops each.
    Xdp,
}

impl Sink {
    pub(super) const BOTH: [Self; 2] = [Self::Skb, Self::Xdp];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Skb => "skb",
            Self::Xdp => "XDP",
        }
    }
}

/// An end of a veth.
#[derive(Clone, Copy)]
pub(super) struct VethEnd<'a> {
    pub(super) ns: &'a Ns,
    pub(super) device: &'static str,
}

/// A way that frames take.
pub(super) struct Lane<'a> {
    from: VethEnd<'a>,
    to: VethEnd<'a>,
    /// What there is of vtep on it.
    daemons: Vec<&'a Daemon>,
    /// Whom it learns from the frame.
    source: Mac,
    frame: Vec<u8>,
    /// What the frame is when it comes to the sink; of a packet with outer headers only the length.
    wanted: Vec<u8>,
    _ready: OwnedFd,
    generator: Program,
    count: FrameCounter,
    /// Frames sent.
    sent: AtomicU64,
    /// What XDP had finished before.
    before: u64,
    _sink: OwnedFd,
}

impl<'a> Lane<'a> {
    pub(super) fn new(
        [from, to]: [VethEnd<'a>; 2],
        ready: &Ready,
        daemons: Vec<&'a Daemon>,
        source: Mac,
        frame: Vec<u8>,
        wanted: Vec<u8>,
        sink: Sink,
    ) -> Self {
        // What else there is to be said on the way, such as who listens to which group, is of another length.
        let length = wanted.len();
        let generator = Asm::new().redirect(from.ns.ifindex(from.device));
        let count = FrameCounter::default();
        let program = match sink {
            Sink::Skb => Program::load(
                ProgramType::Tc,
                &count.returning(ProgramType::Tc, length, TC_SHOT),
            ),
            Sink::Xdp => Program::load(
                ProgramType::Xdp,
                &count.returning(ProgramType::Xdp, length, XDP_DROP),
            ),
        };
        let generator = Program::load(ProgramType::Xdp, &generator);
        Self {
            from,
            to,
            daemons,
            source,
            frame,
            wanted,
            _ready: ready.hold(&generator),
            generator,
            count,
            sent: AtomicU64::new(0),
            before: 0,
            _sink: program.attach(to.ns, to.device),
        }
    }

    /// Sends frames, and says how long it took until all were in the sink.
    fn send(&self, count: u32) -> Result<Duration, String> {
        self.from.ns.run(|| {
            pin(0);
            self.sent.fetch_add(u64::from(count), Ordering::Relaxed);
            let before = self.count.read();
            let come = || self.count.read() - before;
            let start = Instant::now();
            self.generator
                .run_live(&self.frame, &[], count)
                .map_err(|error| format!("send live frames: {error}"))?;
            let sent = Instant::now();
            while come() < u64::from(count) && sent.elapsed() < REST {
                std::thread::yield_now();
            }
            let took = start.elapsed();
            match come() {
                come if come == u64::from(count) => Ok(took),
                come => Err(format!("{come} of {count} frames came")),
            }
        })
    }

    /// Waits until frames pass, and whom they come from has been learned.
    pub(super) fn warm_up(&mut self) {
        wait::until_true("the source to be learned", || {
            drop(self.send(1));
            let knows = |daemon: &&Daemon| daemon.fdb(GREEN, self.source).is_some();
            self.daemons.iter().all(knows)
        });
        let mut why = String::new();
        let passed = wait::poll(wait::DEADLINE, || {
            self.sent.store(0, Ordering::Relaxed);
            self.before = finished(&self.daemons);
            let sent = self.send(TRY);
            let (due, done) = self.finished();
            why = format!("{sent:?}, XDP has finished {done} of {due}");
            (sent.is_ok() && done == due).then_some(())
        });
        assert!(passed.is_some(), "from {}: {why}", self.from.ns.name());
    }

    /// One frame as it comes to the sink.
    pub(super) fn capture(&self) -> Vec<u8> {
        let capture = Capture::arriving(self.to.ns, self.to.device);
        self.send(1).expect("one frame");
        let tail = &self.frame[self.frame.len() - 16..];
        capture.wait_for("frame that was sent", |frame| frame.ends_with(tail))
    }

    /// Insists that what comes is what was sent.
    pub(super) fn check(&self) {
        assert_same(
            &self.capture(),
            &self.wanted,
            "a frame at the end of its way",
        );
    }

    /// How many frames were to be finished by vtep's XDP programs so far, and how many were: one for each VTEP on the way.
    ///
    /// Both are counted from when the lane had warmed up.
    pub(super) fn finished(&self) -> (u64, u64) {
        let sent = self.sent.load(Ordering::Relaxed);
        let vteps = u64::try_from(self.daemons.len()).expect("a number");
        (sent * vteps, finished(&self.daemons) - self.before)
    }

    /// How many frames to send in a measurement.
    pub(super) fn count_for(&self, scale: &Scale) -> u32 {
        if scale.smoke {
            return TRY;
        }
        let took = (0..3).find_map(|_| self.send(16 * TRY).ok());
        let took = took.unwrap_or(Duration::from_millis(50)) / 16;
        // A part of the time, since there are many of these measurements.
        let tries = (scale.time() / 5).as_nanos() / took.as_nanos().max(1);
        u32::try_from(tries).unwrap_or(1).clamp(16, 1 << 12) * TRY
    }

    /// Million packets per second.
    pub(super) fn rate(&self, count: u32) -> Result<f64, String> {
        let took = self.send(count)?;
        Ok(f64::from(count) / took.as_secs_f64() / 1e6)
    }
}

/// How many frames the XDP programs of these have finished.
fn finished(daemons: &[&Daemon]) -> u64 {
    daemons
        .iter()
        .flat_map(|daemon| daemon.rows("stats"))
        .filter(|row| row["hook"] == "port_xdp" || row["hook"] == "uplink_xdp")
        .filter(|row| row["reason"] == "encapsulated" || row["reason"] == "decapsulated")
        .filter_map(|row| row["packets"].as_u64())
        .sum()
}
