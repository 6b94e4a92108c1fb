//! The thread that captures: one capture at a time. It has the links run the programs that capture, reads what they hand over, and puts
//! everything back as it was (ADR 22).

use std::{net::IpAddr, path::Path, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::{MissedTickBehavior, interval},
};
use vtep_common::abi::{
    addr::VtepAddr,
    capture::{CaptureCount, CaptureOrder, Captured},
    id::{Ifindex, PeerId, PortSlot, SegmentId},
    map::name,
};

use super::{
    beside,
    error::{DaemonError, internal},
};
use crate::{
    ask::{CaptureAsk, ClientId, Moment, Taken},
    capture::{
        allowance::Allowance,
        live,
        row::{self, Names},
        wanted::Wanted,
    },
    causes::with_causes,
    datapath::{CaptureGround, DatapathError, Recorder, monotonic_ns},
    model::{CaptureEnd, Refusal, Vni, settings::trace::hex},
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
/// Asks that wait.
const ASKS_AHEAD: usize = 4;

/// Starts the thread. It takes what is asked of it from the other end.
pub(super) fn start(
    ground: CaptureGround,
    udp_port: u16,
) -> Result<mpsc::Sender<CaptureAsk>, DaemonError> {
    let (captures, asks) = mpsc::channel(ASKS_AHEAD);
    beside::spawn("capture", move || serve(ground, udp_port, asks))?;
    Ok(captures)
}

/// Ends the capture that runs, without waiting for its reader, and lets none begin while what this returns is there.
#[must_use]
pub(super) async fn pause(captures: &mpsc::Sender<CaptureAsk>) -> oneshot::Sender<()> {
    let (resume, until) = oneshot::channel();
    let (reply, paused) = oneshot::channel();
    // A thread that has ended captures nothing.
    if captures
        .send(CaptureAsk::Pause { reply, until })
        .await
        .is_ok()
    {
        drop(paused.await);
    }
    resume
}

async fn serve(
    ground: CaptureGround,
    udp_port: u16,
    mut asks: mpsc::Receiver<CaptureAsk>,
) -> Result<(), DaemonError> {
    while let Some(ask) = asks.recv().await {
        let ((filter, vnis), moment, client, reply) = match ask {
            CaptureAsk::End { reply, .. } => {
                drop(reply.send(Err(Refusal::not_found("no capture runs"))));
                continue;
            }
            CaptureAsk::Pause { reply, until } => {
                stand_still(reply, until).await;
                continue;
            }
            CaptureAsk::Begin {
                filter,
                vnis,
                moment,
                client,
                reply,
            } => ((filter, vnis), moment, client, reply),
        };
        // It was interrupted while it waited for us.
        if reply.is_closed() {
            continue;
        }
        let wanted = Wanted { filter, vnis };
        let begun = Capture::begin(&ground, udp_port, (wanted, moment));
        match begun {
            Err(error) => drop(reply.send(Err(internal(error)))),
            Ok((capture, lines)) => {
                say_who_sees(client, &capture.wanted);
                if reply.send(Ok(lines)).is_ok() {
                    capture.run(client, &mut asks).await;
                } else {
                    capture.finish();
                }
            }
        }
    }
    Ok(())
}

/// Does nothing until the other end is gone.
async fn stand_still(reply: oneshot::Sender<()>, until: oneshot::Receiver<()>) {
    if reply.send(()).is_ok() {
        // It is never sent anything.
        drop(until.await);
    }
}

/// Notes in the log who sees the frames of others.
fn say_who_sees(client: Option<ClientId>, wanted: &Wanted) {
    let uid = client.map(|client| client.uid);
    let pid = client.and_then(|client| client.pid);
    let filter = serde_json::to_string(&wanted.filter).unwrap_or_default();
    tracing::info!(uid, pid, filter, "captures frames");
}

/// A capture that runs.
struct Capture {
    recorder: Recorder,
    wanted: Wanted,
    moment: Moment,
    udp_port: u16,
    allowance: Allowance,
    lines: mpsc::Sender<Taken>,
    /// The place of the last line: however slow the reader is, it is not lost.
    last_line: mpsc::OwnedPermit<Taken>,
    end: CaptureEnd,
}

/// Who has told a capture to end.
enum Told {
    ToEnd(oneshot::Sender<Result<(), Refusal>>),
    ToPause(oneshot::Sender<()>, oneshot::Receiver<()>),
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
        (wanted, moment): (Wanted, Moment),
    ) -> Result<(Self, mpsc::Receiver<Taken>), DatapathError> {
        let (lines, receiver) = mpsc::channel(LINES_AHEAD);
        let last_line = lines.clone().try_reserve_owned();
        let mut capture = Self {
            last_line: last_line.expect("an empty channel has a place"),
            recorder: ground.load()?,
            wanted,
            moment,
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
    async fn run(mut self, client: Option<ClientId>, asks: &mut mpsc::Receiver<CaptureAsk>) {
        let told = self.until_told(client, asks).await;
        let told = told.unwrap_or_else(|error| {
            tracing::error!(error = with_causes(&error), "the capture failed");
            None
        });
        self.finish();
        match told {
            // Whoever asked may be gone.
            Some(Told::ToEnd(reply)) => drop(reply.send(Ok(()))),
            Some(Told::ToPause(reply, until)) => stand_still(reply, until).await,
            None => {}
        }
    }

    async fn until_told(
        &mut self,
        client: Option<ClientId>,
        asks: &mut mpsc::Receiver<CaptureAsk>,
    ) -> Result<Option<Told>, DatapathError> {
        let ring = self.recorder.ready()?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = 0_u32;
        loop {
            tokio::select! {
                ready = ring.readable() => {
                    let mut ready = ready
                        .map_err(|source| DatapathError::file("watch", Path::new(name::CAPTURED), source))?;
                    let frames = self.recorder.frames(AT_ONCE);
                    if frames.len() < AT_ONCE {
                        ready.clear_ready();
                    }
                    if self.send(&frames) == Go::End {
                        return Ok(None);
                    }
                    tokio::task::yield_now().await;
                }
                _ = ticks.tick() => {
                    self.order()?;
                    tick = tick.wrapping_add(1);
                    if tick.is_multiple_of(LOOK_EVERY) {
                        self.recorder.put_in_links()?;
                    }
                }
                () = self.lines.closed() => return Ok(None),
                ask = asks.recv() => match ask {
                    None => return Ok(None),
                    Some(CaptureAsk::End { client: by, reply }) => {
                        let uid = by.map(|by| by.uid);
                        let pid = by.and_then(|by| by.pid);
                        tracing::info!(uid, pid, "told to end the capture");
                        return Ok(Some(Told::ToEnd(reply)));
                    }
                    Some(CaptureAsk::Pause { reply, until }) => {
                        return Ok(Some(Told::ToPause(reply, until)));
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
            as_they_came: u32::from(self.moment == Moment::AtArrival),
            pad: 0,
        })
    }

    /// Sends on the frames that are wanted.
    fn send(&mut self, frames: &[Captured]) -> Go {
        let clocks = Clocks::now();
        for captured in frames {
            let found = row::of(captured, &self.recorder, self.udp_port);
            let Some((mut row, seen)) = found else {
                continue;
            };
            if !self.wanted.matches(&row, &seen.frame) {
                continue;
            }
            // Texts that take their time are made of what is wanted alone.
            row.time = clocks.time_of(captured.time);
            let taken = match self.moment {
                Moment::AtTheEnd => {
                    row.bytes = hex(&seen.frame);
                    Taken::Frame(Box::new(row))
                }
                Moment::AtArrival => {
                    let Some(arrived) = live::arrived(captured, &row) else {
                        self.end.no_room += 1;
                        continue;
                    };
                    Taken::Arrived {
                        arrived: Box::new(arrived),
                        came_with: captured.frame_len,
                        row: Box::new(row),
                    }
                }
            };
            match self.lines.try_send(taken) {
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

    /// Puts everything back as it was, and sends what was taken before, as far as there is room for it.
    fn finish(mut self) {
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
        self.end.no_room += counted(CaptureCount::NoRoom);
        tracing::info!(
            captured = self.end.captured,
            left_out = self.end.left_out(),
            "captures no more"
        );
        self.last_line.send(Taken::End(self.end));
    }

    fn take_out(&mut self) {
        let asked = self.recorder.ask(CaptureOrder::NOTHING);
        if let Err(error) = self.recorder.take_out().and(asked) {
            tracing::error!(
                error = with_causes(&error),
                "some interfaces keep the programs of a capture; they capture nothing, and the next vtep run replaces them"
            );
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
