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
use crate::headers;
use crate::instance;
use crate::model::settings::capture::CaptureOptions;
use crate::model::{CaptureEnd, CaptureFilter, CaptureLine, CaptureRow, printable};

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
        let ended = capture_until_told(lines, paper, signals, daemon).await?;
        say_left_out(&ended, &filter)?;
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
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

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

/// How a capture ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    /// It was told to.
    told: bool,
    /// What the daemon said at the end; nothing where it was not waited for, or did not come.
    what: Option<CaptureEnd>,
    /// It was told to end and was not waited for any longer: what it prints to takes nothing.
    gave_up: bool,
}

impl Ended {
    /// Whether it is the end that was asked for.
    fn is_wanted(&self, count: Option<u32>) -> bool {
        let captured = self.what.map_or(0, |what| what.captured);
        self.told || count.is_some_and(|count| captured >= count.into())
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
    tokio::select! {
        what = &mut writing => return Ok(Ended { told: false, what: what?, gave_up: false }),
        () = signals.any() => {}
    }
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
        told: true,
        gave_up: ended.is_none(),
        what: ended.and_then(|((), what)| what),
    })
}

/// Says on standard error what is missing.
fn say_left_out(ended: &Ended, filter: &CaptureFilter) -> Result<(), Failure> {
    if ended.gave_up {
        let patience = PATIENCE.as_secs();
        writeln!(
            io::stderr(),
            "did not wait longer than {patience} seconds for the daemon, and for who reads what this command prints: some frames that were captured are missing"
        )?;
    }
    if let Some(text) = ended.what.and_then(|end| left_out(&end, filter)) {
        writeln!(io::stderr(), "{text}")?;
    }
    Ok(())
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

/// Writes frames down until the last line, which it returns; none where the stream breaks off before.
///
/// The writing is on a thread of its own: a pipe that takes nothing must not keep a signal from being heard.
async fn write_down<S>(lines: S, paper: Box<dyn Paper>) -> Result<Option<CaptureEnd>, Failure>
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
            end: None,
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
    end: Option<CaptureEnd>,
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
                CaptureLine::End(end) => self.end = Some(end),
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

        let got = write_down(pieces(&[first, second]), Box::new(notes.clone())).await;

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

        let got = write_down(pieces(&[&frame("a")]), Box::new(notes.clone())).await;

        assert_eq!(got.unwrap(), None);
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
            let ended = Ended {
                told,
                what: Some(what),
                gave_up: false,
            };
            assert_eq!(ended.is_wanted(count), wanted, "{told} {count:?}");
        }
    }

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
