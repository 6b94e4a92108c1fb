//! `vtep batch`

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use futures::{Stream, stream};
use tokio::sync::mpsc;

use super::daemon::Daemon;
use super::failure::{Failure, block_on};
use super::lines::LineParser;
use super::progress::Progress;
use crate::api::client::ClientError;
use crate::api::{BatchDone, BatchLine};
use crate::model::{BatchOptions, Op};

/// Bytes that go to the daemon at a time, about.
const PIECE: usize = 64 << 10;

/// Pieces that may wait for the daemon.
const PIECES_AHEAD: usize = 4;

/// A line that is no change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {sentence}")]
struct BadLine {
    line: u64,
    sentence: String,
}

/// What was read of a batch.
#[derive(Debug, Default)]
struct Reading {
    /// The words of each line's command, from the first line; nothing for a line without one.
    commands: Vec<Option<&'static [&'static str; 2]>>,
    /// The lines that are no changes.
    bad: Vec<BadLine>,
}

/// Makes the changes that a file asks for, and says which these are.
pub(super) fn run(
    file: Option<&Path>,
    options: BatchOptions,
    daemon: Daemon<'_>,
) -> Result<(), Failure> {
    let (input, bytes) = open(file.unwrap_or(Path::new("-")))?;
    let progress = Progress::new(bytes);
    let shown = progress.clone();
    let end = block_on(async {
        let mut client = daemon.connect().await?;
        let (pieces, reader) = send_ahead(input, goes_on(options), progress);
        let sent = client.batch(pieces, options).await;
        let reading = reader
            .await
            .map_err(|panic| Failure::Failed(panic.into()))?;
        Ok((sent, reading))
    });
    shown.end();
    let (sent, reading) = end?;
    report(sent, &reading, options, &mut io::stderr().lock())
}

/// Whether lines behind one that is refused count.
const fn goes_on(options: BatchOptions) -> bool {
    options.force || options.dry_run
}

/// A file, and how long it is if that is known.
fn open(path: &Path) -> Result<(Box<dyn BufRead + Send>, Option<u64>), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let cannot = |error: io::Error| {
        Failure::Failed(format!("cannot read {}: {error}", path.display()).into())
    };
    let file = File::open(path).map_err(cannot)?;
    let about = file.metadata().map_err(cannot)?;
    let bytes = about.is_file().then_some(about.len());
    Ok((Box::new(BufReader::new(file)), bytes))
}

/// Reads, on a thread of its own, lines into pieces of a request's body.
fn send_ahead(
    input: impl BufRead + Send + 'static,
    goes_on: bool,
    progress: Progress,
) -> (
    impl Stream<Item = Vec<u8>> + Send,
    tokio::task::JoinHandle<Reading>,
) {
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(PIECES_AHEAD);
    let reader = tokio::task::spawn_blocking(move || {
        let mut piece = Vec::with_capacity(2 * PIECE);
        let reading = read_lines(input, goes_on, &progress, |line, command| {
            let line = Some(line);
            serde_json::to_writer(&mut piece, &BatchLine { line, command })?;
            piece.push(b'\n');
            if piece.len() < PIECE {
                return Ok(());
            }
            let full = std::mem::replace(&mut piece, Vec::with_capacity(2 * PIECE));
            // The other end is gone only if the connection is, and the sender reports that.
            sender
                .blocking_send(full)
                .map_err(|_| io::ErrorKind::BrokenPipe.into())
        });
        drop(sender.blocking_send(piece));
        reading
    });
    (
        stream::poll_fn(move |context| receiver.poll_recv(context)),
        reader,
    )
}

/// Reads lines up to the first that is no change, or past all that are none.
fn read_lines(
    mut input: impl BufRead,
    goes_on: bool,
    progress: &Progress,
    mut take: impl FnMut(u64, Op) -> io::Result<()>,
) -> Reading {
    let mut reading = Reading::default();
    let mut parser = LineParser::new();
    let mut text = String::new();
    let mut read = 0;
    for line in 1.. {
        text.clear();
        let (asked, is_end) = match input.read_line(&mut text) {
            Ok(0) => break,
            Ok(_) => (parser.parse(&text), false),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                (Err("not UTF-8".to_owned()), false)
            }
            Err(error) => (Err(error.to_string()), true),
        };
        read += text.len();
        if read >= PIECE {
            progress.read(std::mem::take(&mut read) as u64);
        }
        let words = asked.as_ref().ok().and_then(Option::as_ref).map(Op::words);
        reading.commands.push(words);
        match asked {
            Ok(None) => {}
            Ok(Some(op)) => {
                if take(line, op).is_err() {
                    break;
                }
            }
            Err(sentence) => {
                reading.bad.push(BadLine { line, sentence });
                if is_end || !goes_on {
                    break;
                }
            }
        }
    }
    progress.read(read as u64);
    reading
}

/// Says what became of a batch.
fn report(
    sent: Result<BatchDone, ClientError>,
    reading: &Reading,
    options: BatchOptions,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let done = match sent {
        Ok(done) => done,
        Err(error) => {
            // What the daemon refuses comes before a line that could not be read, since the reader stops there.
            if let ClientError::Refused {
                line: Some(line), ..
            } = error
                && !goes_on(options)
            {
                let before = |at: u64| at < line;
                writeln!(out, "applied {}", reading.changes(before))?;
            }
            return Err(error.into());
        }
    };
    let refused: HashSet<u64> = done.refused.iter().copied().collect();
    let changes = reading.changes(|line| !refused.contains(&line));
    if !goes_on(options) {
        writeln!(out, "applied {changes}")?;
        return match reading.bad.first() {
            Some(bad) => Err(Failure::Failed(bad.clone().into())),
            None => Ok(()),
        };
    }
    let unsaid = done.refused.len() - done.refusals.len();
    let of_daemon = done.refusals.into_iter();
    let of_daemon = of_daemon.map(|refusal| (refusal.line.unwrap_or_default(), refusal.error));
    let own = reading.bad.iter().map(|bad| (bad.line, bad.to_string()));
    let sentences: BTreeMap<_, _> = of_daemon.chain(own).collect();
    for sentence in sentences.values() {
        writeln!(out, "error: {sentence}")?;
    }
    if unsaid != 0 {
        writeln!(out, "error: {unsaid} more, which are not listed")?;
    }
    let lines = match done.refused.len() + reading.bad.len() {
        0 => None,
        1 => Some("1 line".to_owned()),
        many => Some(format!("{many} lines")),
    };
    if options.dry_run {
        writeln!(out, "would apply {changes}; nothing was changed")?;
    } else {
        writeln!(out, "applied {changes}")?;
    }
    match lines {
        None => Ok(()),
        Some(lines) if options.force && options.dry_run => Err(Failure::refused(format!(
            "{lines} would be refused; mend what the sentences above name"
        ))),
        Some(lines) if options.dry_run => Err(Failure::refused(format!(
            "{lines} would be refused, and the batch would stop at the first; mend it, or go on with: --force"
        ))),
        Some(lines) => Err(Failure::refused(format!(
            "{lines} refused, the others are done; mend and load what the sentences above name"
        ))),
    }
}

impl Reading {
    /// Which changes the lines of these numbers ask for, and how many of each: `3 changes: 1 vni add, 2 fdb add`.
    fn changes(&self, counts: impl Fn(u64) -> bool) -> String {
        let mut of_each: Vec<(&[&str; 2], usize)> = Vec::new();
        let lines = (1..).zip(&self.commands);
        for (_, words) in lines.filter(|(line, _)| counts(*line)) {
            let Some(words) = words else { continue };
            match of_each.iter_mut().find(|(other, _)| other == words) {
                Some((_, count)) => *count += 1,
                None => of_each.push((*words, 1)),
            }
        }
        let all = match of_each.iter().map(|(_, count)| count).sum() {
            0 => return "no changes".into(),
            1 => "1 change".to_owned(),
            many => format!("{many} changes"),
        };
        let of_each = of_each.iter();
        let of_each = of_each.map(|([table, verb], count)| format!("{count} {table} {verb}"));
        format!("{all}: {}", of_each.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ErrorBody;

    #[test]
    fn comments_and_blank_lines_are_skipped_and_still_counted() {
        let text =
            "# flood list\n\n  vni add 100 --mode l2 # green\n\t\n#\nvtep vni del 7\nvtepx\n";

        let (lines, error) = read(text);

        assert_eq!(
            lines,
            [(3, "vni_add"), (6, "vni_del")].map(|(n, name)| (n, name.to_owned()))
        );
        assert!(
            error
                .unwrap()
                .starts_with("line 7: unrecognized subcommand 'vtepx'")
        );
    }

    #[test]
    fn what_was_applied_is_said_by_command() {
        let reading = reading(
            true,
            "vni add 1\n\nfdb append 00:00:00:00:00:00 --vni 1 --dst 192.0.2.2\nvni add 2\n",
        );

        let (said, end) = told(Ok(BatchDone::default()), &reading, BatchOptions::default());

        assert!(end.is_ok(), "{end:?}");
        assert_eq!(said, "applied 3 changes: 2 vni add, 1 fdb append\n");
    }

    #[test]
    fn what_was_applied_before_a_refusal_is_said_too() {
        let reading = reading(
            false,
            "vni add 1\nvni add 1\nvni add 2\nfrobnicate\nvni add 3\n",
        );
        let refused = ClientError::Refused {
            status: axum::http::StatusCode::CONFLICT,
            sentence: "line 2: vni 1 exists already".into(),
            line: Some(2),
        };

        let (said, end) = told(Err(refused), &reading, BatchOptions::default());

        assert_eq!(said, "applied 1 change: 1 vni add\n");
        assert_eq!(end.unwrap_err(), "line 2: vni 1 exists already");

        let (said, end) = told(Ok(BatchDone::default()), &reading, BatchOptions::default());

        assert_eq!(said, "applied 3 changes: 3 vni add\n");
        assert!(
            end.unwrap_err()
                .starts_with("line 4: unrecognized subcommand")
        );
    }

    #[test]
    fn a_batch_that_goes_on_names_every_line_that_was_refused_and_how_many() {
        let reading = reading(
            true,
            "vni add 1\nfrobnicate\nvni add 1\nvni add 1\nvni add 2\n",
        );
        let sent = || BatchDone {
            applied: 2,
            refused: vec![3, 4],
            refusals: vec![ErrorBody {
                error: "line 3: vni 1 exists already".into(),
                line: Some(3),
            }],
        };
        let force = BatchOptions {
            force: true,
            ..BatchOptions::default()
        };

        let (said, end) = told(Ok(sent()), &reading, force);

        let lines: Vec<_> = said.lines().collect();
        assert!(
            lines[0].starts_with("error: line 2: unrecognized"),
            "{said}"
        );
        assert_eq!(
            lines[1..],
            [
                "error: line 3: vni 1 exists already",
                "error: 1 more, which are not listed",
                "applied 2 changes: 2 vni add"
            ]
        );
        assert!(end.unwrap_err().starts_with("3 lines refused"));

        let dry_run = BatchOptions {
            dry_run: true,
            ..BatchOptions::default()
        };
        let (said, end) = told(Ok(sent()), &reading, dry_run);
        assert!(said.ends_with("would apply 2 changes: 2 vni add; nothing was changed\n"));
        assert_eq!(
            end.unwrap_err(),
            "3 lines would be refused, and the batch would stop at the first; mend it, or go on with: --force"
        );
    }

    #[test]
    fn text_that_is_not_utf8_is_a_bad_line() {
        let input: &[u8] = b"vni add 1\nvni add \xff\nvni add 3\n";

        let one = read_lines(input, false, &Progress::new(None), |_, _| Ok(()));
        let all = read_lines(input, true, &Progress::new(None), |_, _| Ok(()));

        assert_eq!(one.bad[0].to_string(), "line 2: not UTF-8");
        assert_eq!((one.commands.len(), all.commands.len()), (2, 3));
        assert_eq!(all.bad, one.bad);
    }

    #[test]
    fn a_hundred_thousand_entries_are_read() {
        let entries = "fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2\n\
                       neigh add 10.0.0.1 --vni 100 --lladdr 02:00:00:00:00:0b\n\
                       nexthop add 10.0.0.1 --vni 100 --via 192.0.2.2\n\
                       nexthop add 10.0.0.0/24 --vni 100 --via 192.0.2.2\n";
        let text = entries.repeat(25_000);

        let mut count = 0;
        read_lines(text.as_bytes(), false, &Progress::new(None), |_, _| {
            count += 1;
            Ok(())
        });

        assert_eq!(count, 100_000);
    }

    /// The lines that were read, each with the name of its change, and the mistake at the end.
    fn read(text: &str) -> (Vec<(u64, String)>, Option<String>) {
        let mut lines = Vec::new();
        let reading = read_lines(text.as_bytes(), false, &Progress::new(None), |line, op| {
            let json = serde_json::to_value(&op)?;
            lines.push((
                line,
                json.as_object().unwrap().keys().next().unwrap().clone(),
            ));
            Ok(())
        });
        (lines, reading.bad.first().map(BadLine::to_string))
    }

    fn reading(goes_on: bool, text: &str) -> Reading {
        read_lines(
            text.as_bytes(),
            goes_on,
            &Progress::new(None),
            |_, _| Ok(()),
        )
    }

    /// What is said of a batch, and how it fails.
    fn told(
        sent: Result<BatchDone, ClientError>,
        reading: &Reading,
        options: BatchOptions,
    ) -> (String, Result<(), String>) {
        let mut out = Vec::new();
        let end = report(sent, reading, options, &mut out);
        let end = end.map_err(|failure| match failure {
            Failure::Failed(error) => error.to_string(),
            other => panic!("{other:?}"),
        });
        (String::from_utf8(out).unwrap(), end)
    }
}
