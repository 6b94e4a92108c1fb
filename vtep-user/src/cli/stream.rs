//! A stream of lines from a capture: written down until it ends, is interrupted, or has taken long enough.

use std::io::{self, Write as _};
use std::time::Duration;

use axum::body::Bytes;
use futures::Stream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::daemon::Daemon;
use super::failure::Failure;
use super::pieces::{Lines, hand_on};
use crate::api::client::ClientError;
use crate::model::{CaptureEnd, CaptureFilter};

/// How long an interrupted stream waits for what the daemon has taken.
const PATIENCE: Duration = Duration::from_secs(4);

/// What tells a stream to end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub(super) async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What lines are put on.
pub(super) trait Sink: Send {
    /// Puts a line on it. Returns what the last line says.
    fn put(&mut self, line: &[u8]) -> Result<Option<CaptureEnd>, Failure>;
    /// Has everything that was put on it reach its reader.
    fn flush(&mut self) -> io::Result<()>;
    /// Nothing more is put on it, and it was flushed.
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a stream has ended by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The daemon: nothing more is wanted, or it can take no more.
    Daemon,
    /// A signal.
    Signal,
    /// It has taken long enough.
    Time,
}

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) by: By,
    /// What the daemon said at the end; nothing where it was not waited for, or did not come.
    pub(super) what: Option<CaptureEnd>,
    /// It was told to end and was not waited for any longer: what it prints to takes nothing.
    pub(super) gave_up: bool,
}

impl Ended {
    /// How many frames came.
    pub(super) fn captured(&self) -> u64 {
        self.what.map_or(0, |what| what.captured)
    }

    /// Says on standard error what is missing.
    pub(super) fn say_left_out(&self, filter: &CaptureFilter) -> Result<(), Failure> {
        if self.gave_up {
            let patience = PATIENCE.as_secs();
            writeln!(
                io::stderr(),
                "did not wait longer than {patience} seconds for the daemon, and for who reads what this command prints: some frames that were captured are missing"
            )?;
        }
        if let Some(text) = self.what.and_then(|end| left_out(&end, filter)) {
            writeln!(io::stderr(), "{text}")?;
        }
        Ok(())
    }
}

/// What was left out, and why; nothing where nothing was.
fn left_out(end: &CaptureEnd, filter: &CaptureFilter) -> Option<String> {
    let causes = [
        (end.over_rate, "more than 10,000 in a second"),
        (end.no_room, "the ring buffer was full"),
        (end.unread, "the reader was too slow"),
    ];
    let causes = causes.into_iter().filter(|(count, _)| *count != 0);
    let causes: Vec<String> = causes
        .map(|(count, why)| format!("{count}: {why}"))
        .collect();
    if causes.is_empty() {
        return None;
    }
    // What the reader had no time for has matched; what the programs leave out is matched roughly.
    let is_certain = filter.is_exact_in_the_kernel() || end.over_rate + end.no_room == 0;
    let left_out = end.left_out();
    let left_out = if is_certain {
        format!("left out {left_out}")
    } else {
        format!("left out up to {left_out} that may have matched")
    };
    Some(format!(
        "captured {} frames and {left_out} ({})",
        end.captured,
        causes.join("; ")
    ))
}

/// Writes down what comes until there is no more, or it is told to end, or `most` time has passed, and has what was taken by then.
pub(super) async fn until_told<S>(
    lines: S,
    sink: Box<dyn Sink>,
    mut signals: Signals,
    most: Option<Duration>,
    daemon: Daemon<'_>,
) -> Result<Ended, Failure>
where
    S: Stream<Item = Result<Bytes, ClientError>> + Unpin,
{
    let mut writing = Box::pin(write_down(lines, sink));
    let by = tokio::select! {
        what = &mut writing => {
            return Ok(Ended { by: By::Daemon, what: what?, gave_up: false });
        }
        () = signals.any() => By::Signal,
        () = sleep(most.unwrap_or_default()), if most.is_some() => By::Time,
    };
    // What is on its way is written while the daemon ends the capture. One that has ended by itself meanwhile is no failure, and nor is a daemon
    // that has.
    let asking = async {
        match daemon.connect().await {
            Ok(mut client) => Ok(client.end_capture().await?),
            Err(ClientError::NoDaemon { .. }) => Ok(()),
            Err(error) => Err(Failure::from(error)),
        }
    };
    let ending = async { tokio::try_join!(asking, writing) };
    // A daemon or a reader that does nothing any more does not hold it, and nor does a second signal.
    let ended = tokio::select! {
        ended = timeout(PATIENCE, ending) => ended.ok().transpose()?,
        () = signals.any() => None,
    };
    Ok(Ended {
        by,
        gave_up: ended.is_none(),
        what: ended.and_then(|((), what)| what),
    })
}

/// Writes lines down until the last, and returns what that says; nothing where the stream breaks off before.
pub(super) async fn write_down<S>(
    lines: S,
    mut sink: Box<dyn Sink>,
) -> Result<Option<CaptureEnd>, Failure>
where
    S: Stream<Item = Result<Bytes, ClientError>> + Unpin,
{
    hand_on(lines, move |mut lines| {
        let written = put_all(&mut lines, &mut *sink);
        drop(lines);
        let ended = sink.end();
        let end = written?;
        ended?;
        Ok(end)
    })
    .await
}

/// Puts every line on the sink, and returns what the last one says.
fn put_all(lines: &mut Lines, sink: &mut dyn Sink) -> Result<Option<CaptureEnd>, Failure> {
    let mut end = None;
    // Readers know a file by its head, however long the first line takes.
    sink.flush()?;
    while let Some(lines) = lines.next() {
        for line in lines.split(|&byte| byte == b'\n') {
            if !line.is_empty() {
                end = sink.put(line)?.or(end);
            }
        }
        sink.flush()?;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_certain_only_where_the_programs_know_what_matches() {
        let some = |over_rate, unread| CaptureEnd {
            captured: 3,
            over_rate,
            no_room: 0,
            unread,
        };
        let drops = CaptureFilter {
            drops: true,
            ..CaptureFilter::default()
        };
        let of_vni = CaptureFilter {
            vni: crate::model::Vni::new(100),
            ..CaptureFilter::default()
        };
        for (end, filter, says) in [
            (
                some(7, 0),
                &drops,
                "captured 3 frames and left out 7 (7: more than 10,000 in a second)",
            ),
            (
                some(7, 2),
                &of_vni,
                "captured 3 frames and left out up to 9 that may have matched (7: more than 10,000 in a second; 2: the reader was too slow)",
            ),
            (
                some(0, 2),
                &of_vni,
                "captured 3 frames and left out 2 (2: the reader was too slow)",
            ),
        ] {
            assert_eq!(left_out(&end, filter).as_deref(), Some(says));
        }
        assert_eq!(left_out(&some(0, 0), &drops), None);
    }
}
