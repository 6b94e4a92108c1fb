//! The thread that captures: one capture at a time. It has the links run the programs that capture, reads what they hand over, and puts
//! everything back as it was (ADR 22).

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::{MissedTickBehavior, interval, timeout},
};
use vtep_common::abi::{
    addr::VtepAddr,
    capture::{CaptureCount, CaptureOrder, Captured},
    id::{Ifindex, PeerId, PortSlot, SegmentId},
};

use super::{
    beside,
    error::{DaemonError, internal},
};
use crate::{
    ask::{CaptureAsk, ClientId},
    capture::{
        allowance::Allowance,
        row::{self, Names},
        wanted::Wanted,
    },
    datapath::{CaptureGround, DatapathError, Recorder, monotonic_ns},
    model::{CaptureEnd, CaptureLine, Refusal, Vni},
};

/// Lines that wait for a reader.
const LINES_AHEAD: usize = 4_096;
/// Frames that are read at once.
const AT_ONCE: usize = 256;
/// How often the kernel is told how many frames may be taken.
const TICK: Duration = Duration::from_millis(50);
/// Ticks after which what was attached meanwhile is looked for.
const LOOK_EVERY: u32 = 10;
/// How long the programs hand over frames for a daemon that says nothing any more.
const LEASE: Duration = Duration::from_secs(10);
/// How long a reader may take for what it has not read at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Starts the thread.
pub(super) fn start(
    ground: CaptureGround,
    udp_port: u16,
    asks: mpsc::Receiver<CaptureAsk>,
) -> Result<(), DaemonError> {
    beside::spawn("capture", move || serve(ground, udp_port, asks))
}

async fn serve(
    ground: CaptureGround,
    udp_port: u16,
    mut asks: mpsc::Receiver<CaptureAsk>,
) -> Result<(), DaemonError> {
    while let Some(ask) = asks.recv().await {
        let (filter, vnis, client, reply) = match ask {
            CaptureAsk::End { reply } => {
                drop(reply.send(Err(Refusal::not_found("no capture runs"))));
                continue;
            }
            CaptureAsk::Begin {
                filter,
                vnis,
                client,
                reply,
            } => (filter, vnis, client, reply),
        };
        let wanted = Wanted { filter, vnis };
        let begun = Capture::begin(&ground, udp_port, wanted);
        match begun {
            Err(error) => drop(reply.send(Err(internal(error)))),
            Ok((capture, lines)) => {
                say("captures frames", client, &capture.wanted);
                let is_read = reply.send(Ok(lines)).is_ok();
                let end = capture.run(is_read, client, &mut asks).await;
                tracing::info!(
                    captured = end.captured,
                    left_out = end.left_out(),
                    "captures no more"
                );
            }
        }
    }
    Ok(())
}

/// Notes in the log who sees the frames of others.
fn say(what: &str, client: Option<ClientId>, wanted: &Wanted) {
    let uid = client.map(|client| client.uid);
    let pid = client.and_then(|client| client.pid);
    let filter = serde_json::to_string(&wanted.filter).unwrap_or_default();
    tracing::info!(uid, pid, filter, "{what}");
}

/// A capture that runs.
struct Capture {
    recorder: Recorder,
    wanted: Wanted,
    udp_port: u16,
    allowance: Allowance,
    lines: mpsc::Sender<CaptureLine>,
    end: CaptureEnd,
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Go {
    On,
    End,
}

impl Capture {
    fn begin(
        ground: &CaptureGround,
        udp_port: u16,
        wanted: Wanted,
    ) -> Result<(Self, mpsc::Receiver<CaptureLine>), DatapathError> {
        let (lines, receiver) = mpsc::channel(LINES_AHEAD);
        let mut capture = Self {
            recorder: ground.load()?,
            wanted,
            udp_port,
            allowance: Allowance::new(monotonic_ns()),
            lines,
            end: CaptureEnd::default(),
        };
        let begun = capture.order().and_then(|()| capture.recorder.put_in());
        if begun.is_err() {
            capture.take_out();
        }
        begun.map(|()| (capture, receiver))
    }

    /// Captures until it is told to end, or nobody reads any more.
    async fn run(
        mut self,
        is_read: bool,
        client: Option<ClientId>,
        asks: &mut mpsc::Receiver<CaptureAsk>,
    ) -> CaptureEnd {
        let mut told = None;
        let end = if is_read {
            self.until_told(client, asks, &mut told).await
        } else {
            Ok(())
        };
        if let Err(error) = end {
            tracing::error!(%error, "the capture failed");
        }
        self.finish().await;
        if let Some(reply) = told {
            // Whoever asked may be gone.
            drop(reply.send(Ok(())));
        }
        self.end
    }

    async fn until_told(
        &mut self,
        client: Option<ClientId>,
        asks: &mut mpsc::Receiver<CaptureAsk>,
        told: &mut Option<oneshot::Sender<Result<(), Refusal>>>,
    ) -> Result<(), DatapathError> {
        let ring = self.recorder.ready()?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = 0_u32;
        loop {
            tokio::select! {
                ready = ring.readable() => {
                    let Ok(mut ready) = ready else {
                        return Ok(());
                    };
                    let frames = self.recorder.frames(AT_ONCE);
                    if frames.len() < AT_ONCE {
                        ready.clear_ready();
                    }
                    if self.send(&frames) == Go::End {
                        return Ok(());
                    }
                    tokio::task::yield_now().await;
                }
                _ = ticks.tick() => {
                    self.order()?;
                    tick = tick.wrapping_add(1);
                    if tick.is_multiple_of(LOOK_EVERY) {
                        self.recorder.put_in()?;
                    }
                }
                () = self.lines.closed() => return Ok(()),
                ask = asks.recv() => match ask {
                    None => return Ok(()),
                    Some(CaptureAsk::End { reply }) => {
                        *told = Some(reply);
                        return Ok(());
                    }
                    Some(CaptureAsk::Begin { reply, .. }) => {
                        drop(reply.send(Err(is_running(client))));
                    }
                },
            }
        }
    }

    /// Has the kernel go on handing over frames.
    fn order(&mut self) -> Result<(), DatapathError> {
        let now = monotonic_ns();
        let taken = self.recorder.counted(CaptureCount::Taken)?;
        let filter = &self.wanted.filter;
        let dev = filter.dev.as_deref().and_then(Recorder::index_of);
        let lease = u64::try_from(LEASE.as_nanos()).unwrap_or(u64::MAX);
        self.recorder.ask(CaptureOrder {
            until: now.saturating_add(lease),
            reasons: self.wanted.reasons(),
            allowed: self.allowance.at(now, taken),
            peer: filter.peer.map_or(VtepAddr::UNSPECIFIED, VtepAddr::from),
            vni: filter.vni.map_or(CaptureOrder::ANY_VNI, Vni::get),
            // One that is gone for the moment has another number when it comes again.
            ifindex: dev.map_or(0, Ifindex::get),
        })
    }

    /// Sends on the frames that are wanted.
    fn send(&mut self, frames: &[Captured]) -> Go {
        let clocks = Clocks::now();
        for captured in frames {
            let time = clocks.time_of(captured.time);
            let found = row::of(captured, &self.recorder, self.udp_port, time);
            let Some((row, seen)) = found else { continue };
            if !self.wanted.matches(&row, &seen.frame) {
                continue;
            }
            match self.lines.try_send(CaptureLine::Frame(Box::new(row))) {
                Ok(()) => self.end.captured += 1,
                Err(TrySendError::Full(_)) => self.end.unread += 1,
                Err(TrySendError::Closed(_)) => return Go::End,
            }
            let count = self.wanted.filter.count;
            if count.is_some_and(|count| self.end.captured >= count.into()) {
                return Go::End;
            }
        }
        Go::On
    }

    /// Puts everything back as it was, and sends what was taken before.
    async fn finish(&mut self) {
        self.take_out();
        let full = |end: &CaptureEnd, count: Option<u32>| {
            count.is_some_and(|count| end.captured >= count.into())
        };
        while !full(&self.end, self.wanted.filter.count) {
            let frames = self.recorder.frames(AT_ONCE);
            if frames.is_empty() || self.send(&frames) == Go::End {
                break;
            }
        }
        let counted = |what| self.recorder.counted(what).unwrap_or_default();
        self.end.over_rate = counted(CaptureCount::OverRate);
        self.end.no_room = counted(CaptureCount::NoRoom);
        // A reader that is gone, or that takes nothing, does not hold us.
        drop(timeout(PATIENCE, self.lines.send(CaptureLine::End(self.end))).await);
    }

    fn take_out(&mut self) {
        let asked = self.recorder.ask(CaptureOrder::NOTHING);
        if let Err(error) = self.recorder.take_out().and(asked) {
            tracing::error!(%error, "some interfaces keep the programs of a capture; they capture nothing, and the next vtep run replaces them");
        }
    }
}

fn is_running(client: Option<ClientId>) -> Refusal {
    let by = client.and_then(|client| client.pid);
    let by = by.map(|pid| format!(", by process {pid}"));
    Refusal::conflict(format!(
        "another capture runs{}; there is one at a time: end that first",
        by.unwrap_or_default()
    ))
}

impl Names for Recorder {
    fn vni(&self, segment: SegmentId) -> Option<Vni> {
        Vni::new(self.vni(segment)?)
    }

    fn port(&self, slot: PortSlot) -> Option<String> {
        self.port(slot)
    }

    fn peer(&self, peer: PeerId) -> Option<IpAddr> {
        self.peer(peer)
    }

    fn interface(&self, ifindex: Ifindex) -> Option<String> {
        Self::interface(ifindex)
    }
}

/// The time of day, and what the clock of the programs said then.
struct Clocks {
    day: Timestamp,
    monotonic_ns: u64,
}

impl Clocks {
    fn now() -> Self {
        Self {
            monotonic_ns: monotonic_ns(),
            day: Timestamp::now(),
        }
    }

    /// When a frame ended, as rows have it.
    fn time_of(&self, frame_ns: u64) -> String {
        let ago = self.monotonic_ns.saturating_sub(frame_ns);
        let time = self.day.checked_sub(Duration::from_nanos(ago));
        format!("{:.9}", time.unwrap_or(self.day))
    }
}
