//! `vtep capture`

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use axum::body::Bytes;
use futures::{Stream, StreamExt};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::daemon::Daemon;
use super::failure::{Failure, block_on};
use super::output::Output;
use crate::api::client::ClientError;
use crate::capture::pcapng::CaptureFile;
use crate::capture::row::bytes;
use crate::capture::text::headers;
use crate::instance;
use crate::model::settings::capture::CaptureOptions;
use crate::model::{CaptureEnd, CaptureLine, CaptureRow, printable};

/// Pieces that may wait to be written. What does not fit waits in the daemon, which says how much it had to leave out.
const PIECES_AHEAD: usize = 16;

/// How long an interrupted capture waits for what the daemon has taken.
const PATIENCE: Duration = Duration::from_secs(4);

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
        let mut client = daemon.connect().await?;
        // Before anything is printed: who sees a line may interrupt.
        let signals = Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        };
        let lines = client.capture(&filter).await?;
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
        let ended = capture_until_told(lines, paper, signals, daemon).await?;
        say_left_out(&ended.what)?;
        if ended.is_wanted(filter.count) {
            Ok(())
        } else {
            Err(Failure::refused(format!(
                "the daemon has ended the capture, and no more frames come; begin another with: vtep capture{}",
                instance::option(daemon.instance)
            )))
        }
    })
}

fn create(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let file = options.mode(FILE_MODE).open(path);
    file.map_err(|error| Failure::refused(format!("cannot write {}: {error}", path.display())))
}

/// What tells a capture to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
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
        outer,
        ..
    } = row;
    let mut words = vec![output.state(reason), hook.clone(), direction.clone()];
    words.extend(vni.map(|vni| format!("vni {vni}")));
    words.extend(peer.map(|peer| format!("peer {}", output.paint("35", &peer))));
    for (word, dev) in [("dev", dev), ("to", to_dev)] {
        let dev = dev.as_ref();
        words.extend(dev.map(|dev| format!("{word} {}", output.paint("36", &printable(dev)))));
    }
    words.push(if *outer {
        "unreadable outer headers:".to_owned()
    } else {
        String::new()
    });
    words.push(headers(frame));
    words.push(format!("length {len}"));
    words.retain(|word| !word.is_empty());
    output.folded(&printable(time), words.iter().map(String::as_str), INDENT)
}

/// How a capture ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    /// It was told to.
    told: bool,
    /// What the daemon said at the end.
    what: CaptureEnd,
}

impl Ended {
    /// Whether it is the end that was asked for.
    fn is_wanted(&self, count: Option<u32>) -> bool {
        self.told || count.is_some_and(|count| self.what.captured >= count.into())
    }
}

/// Writes down what comes until there is no more, or it is told to end and has what was taken by then.
async fn capture_until_told<S>(
    lines: S,
    paper: Box<dyn Paper>,
    mut signals: Signals,
    daemon: Daemon<'_>,
) -> Result<Ended, Failure>
where
    S: Stream<Item = Result<Bytes, ClientError>> + Unpin,
{
    let mut writing = Box::pin(write_down(lines, paper));
    let what = tokio::select! {
        what = &mut writing => return Ok(Ended { told: false, what: what? }),
        () = signals.any() => {
            let ending = async {
                daemon.connect().await?.end_capture().await?;
                writing.await
            };
            // A daemon or a reader that does nothing any more does not hold it, and nor does a second signal.
            tokio::select! {
                ended = timeout(PATIENCE, ending) => ended.unwrap_or(Ok(CaptureEnd::default()))?,
                () = signals.any() => CaptureEnd::default(),
            }
        }
    };
    Ok(Ended { told: true, what })
}

/// Says on standard error what is missing.
fn say_left_out(end: &CaptureEnd) -> Result<(), Failure> {
    if end.left_out() == 0 {
        return Ok(());
    }
    let causes = [
        (end.over_rate, "more than 10,000 in a second"),
        (end.no_room, "the ring buffer was full"),
        (end.unread, "this command was too slow"),
    ];
    let causes = causes.into_iter().filter(|(count, _)| *count != 0);
    let causes: Vec<String> = causes
        .map(|(count, why)| format!("{count}: {why}"))
        .collect();
    writeln!(
        io::stderr(),
        "captured {} frames and left out {} ({})",
        end.captured,
        end.left_out(),
        causes.join("; ")
    )?;
    Ok(())
}

/// Writes frames down until the last line, which it returns; it says nothing where the stream breaks off before.
///
/// The writing is on a thread of its own: a pipe that takes nothing must not keep a signal from being heard.
async fn write_down<S>(lines: S, paper: Box<dyn Paper>) -> Result<CaptureEnd, Failure>
where
    S: Stream<Item = Result<Bytes, ClientError>> + Unpin,
{
    let mut lines = lines;
    let (sender, mut pieces) = mpsc::channel::<Bytes>(PIECES_AHEAD);
    let (done, written) = oneshot::channel();
    thread::spawn(move || {
        let mut writer = Writer {
            paper,
            rest: Vec::new(),
            end: CaptureEnd::default(),
        };
        // Readers know the file by its head, however long the first frame takes.
        let mut result = writer.paper.flush().map_err(Failure::from);
        while result.is_ok()
            && let Some(piece) = pieces.blocking_recv()
        {
            result = writer.take(&piece);
        }
        drop(pieces);
        // Nobody waits for it any more after a second signal.
        drop(done.send(result.map(|()| writer.end)));
    });
    loop {
        let piece = tokio::select! {
            piece = lines.next() => piece,
            () = sender.closed() => break,
        };
        // A stream that breaks off ends like one that the daemon ended: the daemon was killed.
        let Some(Ok(piece)) = piece else { break };
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    drop(sender);
    written.await.map_err(|gone| Failure::Failed(gone.into()))?
}

/// Puts pieces of the stream together to lines, and writes these down.
struct Writer {
    paper: Box<dyn Paper>,
    /// The start of a line whose end has not come yet.
    rest: Vec<u8>,
    end: CaptureEnd,
}

impl Writer {
    fn take(&mut self, piece: &[u8]) -> Result<(), Failure> {
        self.rest.extend_from_slice(piece);
        let Some(end) = self.rest.iter().rposition(|&byte| byte == b'\n') else {
            return Ok(());
        };
        let rest = self.rest.split_off(end + 1);
        let lines = std::mem::replace(&mut self.rest, rest);
        for line in lines.split(|&byte| byte == b'\n') {
            if line.is_empty() {
                continue;
            }
            match serde_json::from_slice(line).map_err(ClientError::Unreadable)? {
                CaptureLine::Frame(row) => {
                    let frame = bytes(&row.bytes).unwrap_or_default();
                    self.paper.put(&row, &frame)?;
                }
                CaptureLine::End(end) => self.end = end,
            }
        }
        Ok(self.paper.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

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
            outer: false,
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

        let got = write_down(pieces(&[first, second]), Box::new(notes.clone())).await;

        assert_eq!(got.unwrap(), end);
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

        let got = write_down(pieces(&[&frame("a")]), Box::new(notes.clone())).await;

        assert_eq!(got.unwrap(), CaptureEnd::default());
        assert_eq!(notes.flushed.lock().unwrap().concat(), ["a"]);
    }

    #[test]
    fn only_an_end_that_nobody_asked_for_is_a_failure() {
        let what = CaptureEnd {
            captured: 3,
            ..CaptureEnd::default()
        };
        for (told, count, wanted) in [
            (true, None, true),
            (false, None, false),
            (false, Some(3), true),
            (false, Some(4), false),
        ] {
            assert_eq!(
                Ended { told, what }.is_wanted(count),
                wanted,
                "{told} {count:?}"
            );
        }
    }

    #[test]
    fn a_line_has_the_reason_and_whom_the_frame_is_of() {
        let row = row("vm\x1b[2J");
        let frame = bytes(&row.bytes).unwrap();

        assert_eq!(
            frame_line(&row, &frame, Output::Plain),
            "T decapsulated uplink_xdp rx vni 100 peer 192.0.2.2 dev vm\\u{1b}[2J 02:00:00:00:00:02 > 02:00:00:00:00:01 ARP length 60\n"
        );
    }
}
