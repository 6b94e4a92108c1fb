//! `vtep capture`

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::daemon::Daemon;
use super::failure::{Failure, block_on};
use super::output::Output;
use super::stream::{By, Signals, Sink, until_told};
use crate::api::client::ClientError;
use crate::capture::pcapng::CaptureFile;
use crate::capture::row::bytes;
use crate::headers;
use crate::instance;
use crate::model::settings::capture::CaptureOptions;
use crate::model::{CaptureEnd, CaptureLine, CaptureRow, printable};

/// How far a line of a frame is indented that found no room on the one before.
const INDENT: usize = 4;

/// Whom a capture file is for: its owner, since it has what others have sent.
const FILE_MODE: u32 = 0o600;

/// Captures until it is interrupted, or has what was asked for, which is no failure; or the daemon is gone, which is one.
pub(super) fn run(
    options: CaptureOptions,
    daemon: Daemon<'_>,
    output: Output,
) -> Result<(), Failure> {
    let CaptureOptions { filter, write } = options;
    let to_terminal = write.as_deref() == Some(Path::new("-")) && io::stdout().is_terminal();
    if to_terminal {
        return Err(Failure::refused(
            "a capture file on a terminal cannot be read; give it to a reader, as in: vtep capture -w - | tcpdump -r -",
        ));
    }
    block_on(async {
        // Before anything is asked or printed: it may be interrupted at any moment.
        let mut signals = Signals::listen()?;
        let begun = async { daemon.connect().await?.capture(&filter).await };
        let lines = tokio::select! {
            lines = begun => lines?,
            // The daemon drops what it has begun with the connection.
            () = signals.any() => return Ok(()),
        };
        // Only a file that can be filled is begun.
        let paper: Box<dyn Paper> = match write.as_deref() {
            None => Box::new(Printer {
                output,
                out: BufWriter::new(io::stdout()),
            }),
            Some(path) if path == Path::new("-") => {
                Box::new(CaptureFile::new(BufWriter::new(io::stdout()))?)
            }
            Some(path) => Box::new(CaptureFile::new(BufWriter::new(create(path)?))?),
        };
        let ended = until_told(lines, Box::new(Frames(paper)), signals, None, daemon).await?;
        ended.say_left_out(&filter)?;
        let has_all = filter
            .count
            .is_some_and(|count| ended.captured() >= count.into());
        if ended.by == By::Daemon && !has_all {
            return Err(Failure::refused(format!(
                "the daemon has ended the capture, and no more frames come; begin another with: vtep capture{}",
                instance::option(daemon.instance)
            )));
        }
        Ok(())
    })
}

fn create(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let file = options.mode(FILE_MODE).open(path);
    file.map_err(|error| Failure::refused(format!("cannot write {}: {error}", path.display())))
}

/// What frames are put on.
trait Paper: Send {
    fn put(&mut self, row: &CaptureRow, frame: &[u8]) -> io::Result<()>;
    fn flush(&mut self) -> io::Result<()>;
}

impl<W: Write + Send> Paper for CaptureFile<W> {
    fn put(&mut self, row: &CaptureRow, frame: &[u8]) -> io::Result<()> {
        self.write(row, frame)
    }

    fn flush(&mut self) -> io::Result<()> {
        CaptureFile::flush(self)
    }
}

/// Frames, as the lines of a capture have them, for a paper.
struct Frames(Box<dyn Paper>);

impl Sink for Frames {
    fn put(&mut self, line: &[u8]) -> Result<Option<CaptureEnd>, Failure> {
        match serde_json::from_slice(line).map_err(ClientError::Unreadable)? {
            CaptureLine::Frame(row) => {
                let frame = bytes(&row.bytes).unwrap_or_default();
                self.0.put(&row, &frame)?;
                Ok(None)
            }
            CaptureLine::End(end) => Ok(Some(end)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Lines for people, or of JSON.
struct Printer<W> {
    output: Output,
    out: W,
}

impl<W: Write + Send> Paper for Printer<W> {
    fn put(&mut self, row: &CaptureRow, frame: &[u8]) -> io::Result<()> {
        if self.output == Output::Json {
            serde_json::to_writer(&mut self.out, row)?;
            return self.out.write_all(b"\n");
        }
        self.out
            .write_all(frame_line(row, frame, self.output).as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A frame as a line.
fn frame_line(row: &CaptureRow, frame: &[u8], output: Output) -> String {
    let CaptureRow {
        time,
        hook,
        reason,
        direction,
        dev,
        to_dev,
        vni,
        peer,
        len,
        outer_unreadable,
        bytes: _,
        iface: _,
    } = row;
    let mut words = vec![output.state(reason), hook.clone(), direction.clone()];
    words.extend(vni.map(|vni| format!("vni {vni}")));
    words.extend(peer.map(|peer| format!("peer {}", output.paint("35", &peer))));
    for (word, dev) in [("dev", dev), ("to", to_dev)] {
        let dev = dev.as_ref();
        words.extend(dev.map(|dev| format!("{word} {}", output.paint("36", &printable(dev)))));
    }
    words.extend(outer_unreadable.then(|| "unreadable outer headers:".to_owned()));
    let len = usize::try_from(*len).unwrap_or(usize::MAX);
    words.push(headers::start_of_frame(len, frame, None));
    output.folded(&printable(time), words.iter().map(String::as_str), INDENT)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::body::Bytes;
    use futures::Stream;

    use super::super::stream::write_down;
    use super::*;

    fn row(dev: &str) -> CaptureRow {
        CaptureRow {
            time: "T".into(),
            hook: "uplink_xdp".into(),
            reason: "decapsulated".into(),
            direction: "rx".into(),
            iface: Some("up0".into()),
            dev: Some(dev.into()),
            to_dev: None,
            vni: crate::model::Vni::new(100),
            peer: Some([192, 0, 2, 2].into()),
            len: 60,
            outer_unreadable: false,
            bytes: "0200000000010200000000020806".into(),
        }
    }

    fn json(line: &CaptureLine) -> String {
        serde_json::to_string(line).unwrap() + "\n"
    }

    fn frame(dev: &str) -> String {
        json(&CaptureLine::Frame(Box::new(row(dev))))
    }

    fn pieces(texts: &[&str]) -> impl Stream<Item = Result<Bytes, ClientError>> + Unpin + use<> {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        futures::stream::iter(texts.into_iter().map(|text| Ok(Bytes::from(text))))
    }

    /// Remembers which frames were put on it between flushes.
    #[derive(Clone, Default)]
    struct Notes {
        wet: Vec<String>,
        flushed: Arc<Mutex<Vec<Vec<String>>>>,
    }

    impl Paper for Notes {
        fn put(&mut self, row: &CaptureRow, frame: &[u8]) -> io::Result<()> {
            assert_eq!(frame.len(), 14);
            self.wet.extend(row.dev.clone());
            Ok(())
        }

        fn flush(&mut self) -> io::Result<()> {
            let wet = std::mem::take(&mut self.wet);
            self.flushed.lock().unwrap().push(wet);
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_comes_in_pieces_is_written_and_flushed_as_it_becomes_whole() {
        let end = CaptureEnd {
            captured: 2,
            over_rate: 7,
            ..CaptureEnd::default()
        };
        let text = [frame("a"), frame("b"), json(&CaptureLine::End(end))].concat();
        let (first, second) = text.split_at(frame("a").len() + 5);
        let notes = Notes::default();

        let got = write_down(
            pieces(&[first, second]),
            Box::new(Frames(Box::new(notes.clone()))),
        )
        .await;

        assert_eq!(got.unwrap(), Some(end));
        let flushed = notes.flushed.lock().unwrap().clone();
        // The head of the file comes before any frame.
        assert_eq!(
            flushed,
            [vec![], vec!["a".to_owned()], vec!["b".to_owned()]]
        );
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_leaves_what_came_before() {
        let notes = Notes::default();

        let got = write_down(
            pieces(&[&frame("a")]),
            Box::new(Frames(Box::new(notes.clone()))),
        )
        .await;

        assert_eq!(got.unwrap(), None);
        assert_eq!(notes.flushed.lock().unwrap().concat(), ["a"]);
    }

    #[test]
    fn a_line_has_the_reason_and_whom_the_frame_is_of() {
        let row = row("vm\x1b[2J");
        let frame = bytes(&row.bytes).unwrap();

        assert_eq!(
            frame_line(&row, &frame, Output::Plain),
            "T decapsulated uplink_xdp rx vni 100 peer 192.0.2.2 dev vm\\u{1b}[2J 60 bytes from 02:00:00:00:00:02 to 02:00:00:00:00:01, cut within its headers\n"
        );
    }
}
