//! `vtep monitor`

use std::io::{self, Write};

use axum::body::Bytes;
use futures::Stream;
use tokio::signal::unix::{SignalKind, signal};

use super::daemon::Daemon;
use super::failure::{Failure, block_on};
use super::output::Output;
use super::pieces::hand_on;
use crate::api::client::ClientError;
use crate::instance;
use crate::model::{EventDetails, EventRow, VniFilter, printable};

/// How wide the names of most events stand.
const EVENT_WIDTH: usize = 9;

/// How far a line of an event is indented that found no room on the one before.
const INDENT: usize = 4;

/// Prints what happens until it is interrupted, which is no failure, or the daemon is gone, which is one.
pub(super) fn run(filter: &VniFilter, daemon: Daemon<'_>, output: Output) -> Result<(), Failure> {
    block_on(async {
        let mut client = daemon.connect().await?;
        let events = client.events(filter).await?;
        watch_until_told(events, output, io::stdout(), daemon.instance).await
    })
}

async fn watch_until_told<S>(
    events: S,
    output: Output,
    out: impl Write + Send + 'static,
    instance: &str,
) -> Result<(), Failure>
where
    S: Stream<Item = Result<Bytes, ClientError>> + Unpin,
{
    // Before anything is printed: who sees a line may interrupt.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        end = watch(events, output, out) => {
            end?;
            Err(Failure::refused(format!(
                "the daemon has ended, and no more events come; watch the next one with: vtep monitor{}",
                instance::option(instance)
            )))
        }
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// Prints events until there are no more, or nobody reads them.
async fn watch<S>(
    events: S,
    output: Output,
    mut out: impl Write + Send + 'static,
) -> Result<(), Failure>
where
    S: Stream<Item = Result<Bytes, ClientError>> + Unpin,
{
    hand_on(events, move |mut lines| {
        while let Some(lines) = lines.next() {
            print(&lines, output, &mut out)?;
        }
        Ok(())
    })
    .await
}

/// Prints whole lines.
fn print(lines: &[u8], output: Output, out: &mut impl Write) -> Result<(), Failure> {
    if output == Output::Json {
        out.write_all(lines)?;
    } else {
        let mut text = String::new();
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            let row = serde_json::from_slice(line).map_err(ClientError::Unreadable)?;
            text += &event_line(&row, output);
        }
        out.write_all(text.as_bytes())?;
    }
    Ok(out.flush()?)
}

/// An event as a line, in the words of `vtep fdb show`.
fn event_line(row: &EventRow, output: Output) -> String {
    let EventRow { time, what } = row;
    let EventDetails {
        event,
        vni,
        mac,
        ip,
        dst,
        dev,
        old_dst,
        old_dev,
        count,
        why,
    } = what;
    let blanks = EVENT_WIDTH.saturating_sub(event.as_str().len());
    let mut words = vec![output.state(event) + &" ".repeat(blanks)];
    words.extend(mac.map(|mac| output.paint("33", &mac)));
    words.extend(vni.map(|vni| format!("vni {vni}")));
    words.extend(ip.map(|ip| format!("ip {ip}")));
    for (word, dst, dev) in [("", dst, dev), ("from ", old_dst, old_dev)] {
        words.extend(dst.map(|dst| format!("{word}dst {}", output.paint("35", &dst))));
        words.extend(
            dev.as_ref()
                .map(|dev| format!("{word}dev {}", output.paint("36", &printable(dev)))),
        );
    }
    words.extend(count.map(|count| format!("count {count}")));
    words.extend(why.as_ref().map(|why| format!("({})", printable(why))));
    if let Some(last) = words.last_mut() {
        last.truncate(last.trim_end().len());
    }
    output.folded(&printable(time), words.iter().map(String::as_str), INDENT)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::Duration;

    use futures::StreamExt as _;
    use tokio::time::timeout;

    use super::*;
    use crate::model::{EventKind, MacAddr, Vni};

    /// Nothing here takes this long.
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn an_event_is_one_line_in_the_words_of_the_fdb() {
        let moved = EventDetails {
            vni: Vni::new(100),
            mac: Some(MacAddr::from_bytes([2, 0, 0, 0, 0, 0xb])),
            ip: Some("10.0.0.1".parse().unwrap()),
            dev: Some("tap0".into()),
            old_dst: Some("192.0.2.2".parse().unwrap()),
            ..EventDetails::new(EventKind::Moved)
        };
        let lost = EventDetails {
            count: Some(5),
            why: Some("the ring buffer was full".into()),
            ..EventDetails::new(EventKind::Lost)
        };
        let peer = EventDetails {
            dst: Some("2001:db8::2".parse().unwrap()),
            ..EventDetails::new(EventKind::PeerUp)
        };

        assert_eq!(
            line(moved),
            "T moved     02:00:00:00:00:0b vni 100 ip 10.0.0.1 dev tap0 from dst 192.0.2.2\n"
        );
        assert_eq!(
            line(lost),
            "T lost      count 5 (the ring buffer was full)\n"
        );
        assert_eq!(line(peer), "T peer_up   dst 2001:db8::2\n");
    }

    #[test]
    fn a_line_for_people_holds_no_control_characters_of_others() {
        let hostile = EventDetails {
            dev: Some("tap\x1b[2J".into()),
            why: Some("a\nb".into()),
            ..EventDetails::new(EventKind::Limit)
        };

        assert_eq!(line(hostile), "T limit     dev tap\\u{1b}[2J (a\\nb)\n");
    }

    #[tokio::test]
    async fn lines_are_put_together_and_each_is_flushed_when_it_is_whole() {
        let text = [json("1"), json("2")].concat();
        let (first, second) = text.split_at(text.len() - 10);
        let out = Paper::default();

        let end = watch(pieces(&[first, second]), Output::Json, out.clone()).await;

        assert!(end.is_ok(), "{end:?}");
        let flushed = out.flushed.lock().unwrap().clone();
        assert_eq!(flushed, [json("1"), json("2")]);
    }

    #[tokio::test]
    async fn people_get_a_line_for_each_event() {
        let text = [json("1"), json("2")].concat();
        let out = Paper::default();

        watch(pieces(&[&text]), Output::Plain, out.clone())
            .await
            .unwrap();

        let flushed = out.flushed.lock().unwrap().concat();
        assert_eq!(flushed, "1 aged\n2 aged\n");
    }

    #[tokio::test]
    async fn it_ends_when_nobody_reads_what_it_prints() {
        let gone = Paper {
            torn: true,
            ..Paper::default()
        };
        let text = json("1");
        let one = pieces(&[&text]).chain(futures::stream::pending());

        let end = timeout(LONG, watch(one, Output::Json, gone))
            .await
            .expect("it ends");

        assert!(matches!(end, Err(Failure::Unread)), "{end:?}");
    }

    #[tokio::test]
    async fn an_interrupt_ends_it_and_is_no_failure_also_while_nobody_takes_what_it_prints() {
        for signal in ["-INT", "-TERM"] {
            let text = json("1");
            let events = pieces(&[&text]).chain(futures::stream::pending());
            let (begun, printing) = std::sync::mpsc::channel();
            let stuck = Stuck(begun);
            let kill = thread::spawn(move || {
                printing.recv().unwrap();
                let own = std::process::id().to_string();
                Command::new("kill").args([signal, &own]).status().unwrap()
            });

            let end = timeout(LONG, watch_until_told(events, Output::Json, stuck, "main"))
                .await
                .expect("it ends");

            assert!(end.is_ok(), "{signal}: {end:?}");
            assert!(kill.join().unwrap().success());
        }
    }

    #[tokio::test]
    async fn a_daemon_that_is_gone_is_a_failure_that_says_how_to_go_on() {
        let text = json("1");
        let out = Paper::default();

        let end = watch_until_told(pieces(&[&text]), Output::Json, out.clone(), "blue").await;

        let Err(Failure::Failed(error)) = end else {
            panic!("{end:?}")
        };
        assert_eq!(
            error.to_string(),
            "the daemon has ended, and no more events come; watch the next one with: vtep monitor --instance blue"
        );
        assert_eq!(out.flushed.lock().unwrap().concat(), text);
    }

    #[tokio::test]
    async fn an_event_of_another_version_is_named_as_that() {
        let out = Paper::default();

        let end = watch(pieces(&["{\"event\":\"sung\"}\n"]), Output::Plain, out).await;

        let Err(Failure::Failed(error)) = end else {
            panic!("{end:?}")
        };
        assert!(error.to_string().contains("another version"), "{error}");
    }

    /// A terminal that was stopped: it takes nothing, and says when it was first asked to.
    struct Stuck(std::sync::mpsc::Sender<()>);

    impl Write for Stuck {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0.send(()).unwrap();
            loop {
                thread::park();
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(what: EventDetails) -> String {
        let time = "T".into();
        event_line(&EventRow { time, what }, Output::Plain)
    }

    fn json(time: &str) -> String {
        let row = EventRow {
            time: time.into(),
            what: EventDetails::new(EventKind::Aged),
        };
        serde_json::to_string(&row).unwrap() + "\n"
    }

    fn pieces(texts: &[&str]) -> impl Stream<Item = Result<Bytes, ClientError>> + Unpin + use<> {
        let pieces: Vec<_> = texts
            .iter()
            .map(|text| Ok(text.as_bytes().to_vec().into()))
            .collect();
        futures::stream::iter(pieces)
    }

    /// Remembers what was written between flushes; a torn one takes nothing.
    #[derive(Clone, Default)]
    struct Paper {
        torn: bool,
        wet: String,
        flushed: Arc<Mutex<Vec<String>>>,
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.torn {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.wet.push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.flushed
                .lock()
                .unwrap()
                .push(std::mem::take(&mut self.wet));
            Ok(())
        }
    }
}
