//! `vtep trace --live`: frames as they come.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use super::daemon::Daemon;
use super::failure::{Failure, block_on};
use super::output::Output;
use super::show;
use super::stream::{By, Signals, Sink, until_told};
use crate::api::client::ClientError;
use crate::instance;
use crate::model::endpoint::Cells;
use crate::model::settings::trace::{LIVE_SECONDS, TraceOptions};
use crate::model::{CaptureEnd, CaptureFilter, LiveLine, TraceRow, TraceStep};

/// Traces `count` frames as they come, at an interface or anywhere, until they have come, or time is over, or it is interrupted.
pub(super) fn run(
    (dev, count): (Option<&str>, u32),
    options: TraceOptions,
    daemon: Daemon<'_>,
    output: Output,
) -> Result<(), Failure> {
    let TraceOptions {
        seconds, filter, ..
    } = options;
    let seconds = seconds.unwrap_or(LIVE_SECONDS);
    if count == 0 || seconds == 0 {
        return Err(Failure::refused(
            "nothing would be traced; give --live and --seconds numbers from 1 on",
        ));
    }
    let filter = CaptureFilter {
        dev: dev.map(str::to_owned),
        count: Some(count),
        ..filter
    };
    block_on(async {
        let mut signals = Signals::listen()?;
        let begun = async { daemon.connect().await?.trace_live(&filter).await };
        let lines = tokio::select! {
            lines = begun => lines?,
            // The daemon drops what it has begun with the connection.
            () = signals.any() => {
                if output == Output::Json {
                    writeln!(io::stdout(), "[]")?;
                }
                return say_interrupted(0, count);
            }
        };
        let sink = Box::new(Frames {
            out: BufWriter::new(io::stdout()),
            output,
            rows: Vec::new(),
            printed: 0,
        });
        let most = Duration::from_secs(seconds.into());
        let ended = until_told(lines, sink, signals, Some(most), daemon).await?;
        ended.say_left_out(&filter)?;
        let came = ended.captured();
        if came >= count.into() {
            return Ok(());
        }
        match ended.by {
            By::Daemon => Err(Failure::refused(format!(
                "the daemon has ended the trace, and no more frames come; begin another with: vtep trace --live {count}{}",
                instance::option(daemon.instance)
            ))),
            By::Time => Err(Failure::refused(format!(
                "{came} of {count} frames came within {seconds} seconds; wait longer with: --seconds SECONDS"
            ))),
            By::Signal => say_interrupted(came, count),
        }
    })
}

fn say_interrupted(came: u64, count: u32) -> Result<(), Failure> {
    Ok(writeln!(
        io::stderr(),
        "{came} of {count} frames came until it was interrupted"
    )?)
}

/// Prints the rows of each frame when all have come: a table, or a part of the one array.
struct Frames<W> {
    out: W,
    output: Output,
    /// Those of a frame of which more come.
    rows: Vec<TraceRow>,
    printed: u32,
}

impl<W: Write + Send> Sink for Frames<W> {
    fn put(&mut self, line: &[u8]) -> Result<Option<CaptureEnd>, Failure> {
        match serde_json::from_slice(line).map_err(ClientError::Unreadable)? {
            LiveLine::End(end) => return Ok(Some(end)),
            LiveLine::Row(row) => self.rows.push(row),
        }
        if self
            .rows
            .last()
            .is_some_and(|row| row.step == TraceStep::Happened)
        {
            self.print()?;
        }
        Ok(None)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn end(&mut self) -> io::Result<()> {
        if self.output == Output::Json {
            let end = if self.printed == 0 { "[]" } else { "]" };
            writeln!(self.out, "{end}")?;
        }
        self.out.flush()
    }
}

impl<W: Write> Frames<W> {
    fn print(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let is_first = self.printed == 0;
        self.printed += 1;
        if self.output != Output::Json {
            let before = if is_first { "" } else { "\n" };
            let text = show::lay_out(&Cells::of(&rows), self.output);
            return write!(self.out, "{before}{text}");
        }
        for (at, row) in rows.iter().enumerate() {
            let before = if is_first && at == 0 { "[" } else { "," };
            self.out.write_all(before.as_bytes())?;
            serde_json::to_writer(&mut self.out, row)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(frame: u32, step: TraceStep) -> LiveLine {
        LiveLine::Row(TraceRow {
            frame,
            hook: "port".into(),
            step,
            text: "t".into(),
            reason: None,
            vteps: vec![],
            ports: vec![],
            outer: None,
        })
    }

    fn printed(lines: &[LiveLine], output: Output) -> String {
        let mut frames = Frames {
            out: Vec::new(),
            output,
            rows: Vec::new(),
            printed: 0,
        };
        for line in lines {
            let line = serde_json::to_vec(line).unwrap();
            assert!(frames.put(&line).is_ok_and(|end| end.is_none()));
        }
        frames.end().unwrap();
        String::from_utf8(frames.out).unwrap()
    }

    #[test]
    fn a_frame_is_printed_when_all_of_it_has_come() {
        let lines = [
            row(1, TraceStep::Frame),
            row(1, TraceStep::Happened),
            row(2, TraceStep::Frame),
            row(2, TraceStep::Happened),
            // The stream has broken off.
            row(3, TraceStep::Frame),
        ];

        let rows: Vec<TraceRow> = serde_json::from_str(&printed(&lines, Output::Json)).unwrap();
        let text = printed(&lines, Output::Plain);

        let frames: Vec<u32> = rows.iter().map(|row| row.frame).collect();
        assert_eq!(frames, [1, 1, 2, 2]);
        assert_eq!(text.split("\n\n").count(), 2, "{text}");
        assert_eq!(printed(&[], Output::Json), "[]\n");
        assert_eq!(printed(&[], Output::Plain), "");
    }
}
