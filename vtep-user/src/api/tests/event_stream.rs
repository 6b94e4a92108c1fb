//! The event stream.

use std::time::Duration;

use axum::body::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{FakeDaemon, Reply, assert_json, mac, vni};
use crate::api::client::ClientError;
use crate::api::event_feed::Events;
use crate::model::{EventDetails, EventKind, EventRow, VniFilter};

/// Nothing here takes this long.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_happens_reaches_everyone_who_watches_in_its_order() {
    let daemon = start("events");
    let mut readers = [
        watch(&daemon, VniFilter::default()).await,
        watch(&daemon, VniFilter::default()).await,
    ];

    daemon.events.publish(vec![learned(1), learned(2)]);
    daemon.events.publish(vec![learned(1)]);

    for reader in &mut readers {
        let rows = reader.rows(3).await;
        let what: Vec<_> = rows.into_iter().map(|row| row.what).collect();
        assert_eq!(what, [learned(1), learned(2), learned(1)]);
    }
}

#[tokio::test]
async fn rows_that_happened_at_once_have_one_time_in_rfc_3339() {
    let daemon = start("time");
    let mut reader = watch(&daemon, VniFilter::default()).await;
    let before = jiff::Timestamp::now();

    daemon.events.publish(vec![learned(1), learned(2)]);

    let rows = reader.rows(2).await;
    let time: jiff::Timestamp = rows[0].time.parse().unwrap();
    assert_eq!(rows[0].time, rows[1].time);
    assert_eq!(rows[0].time.len(), "2026-01-01T00:00:00.000000Z".len());
    assert!(rows[0].time.ends_with('Z'), "{}", rows[0].time);
    assert!(
        before.duration_until(time).abs() < jiff::SignedDuration::from_secs(20),
        "{time}"
    );
}

#[tokio::test]
async fn who_watches_one_vni_sees_its_events_and_what_was_lost() {
    let daemon = start("one-vni");
    let mut reader = watch(&daemon, VniFilter { vni: vni(2) }).await;
    let lost = EventDetails {
        count: Some(7),
        ..EventDetails::new(EventKind::Lost)
    };
    let peer = EventDetails {
        dst: Some("192.0.2.2".parse().unwrap()),
        ..EventDetails::new(EventKind::PeerUp)
    };

    daemon
        .events
        .publish(vec![learned(1), peer, lost.clone(), learned(3), learned(2)]);

    let what: Vec<_> = reader
        .rows(2)
        .await
        .into_iter()
        .map(|row| row.what)
        .collect();
    assert_eq!(what, [lost, learned(2)]);
}

#[tokio::test]
async fn a_slow_reader_is_told_how_many_rows_it_missed_and_holds_nobody_up() {
    const ROUNDS: usize = 100;
    const ROUND: usize = 1000;
    let daemon = start("slow");
    let mut slow = watch(&daemon, VniFilter { vni: vni(1) }).await;
    let mut quick = watch(&daemon, VniFilter { vni: vni(1) }).await;

    // The quick one reads each round before the next; the slow one reads nothing until the end.
    for _ in 0..ROUNDS {
        daemon.events.publish(vec![learned(1); ROUND]);
        let rows = quick.rows(ROUND).await;
        assert!(rows.iter().all(|row| row.what == learned(1)));
    }

    let (mut came, mut missed) = (0, 0);
    while came + missed < (ROUNDS * ROUND) as u64 {
        let row = slow.row().await;
        if row.what.event == EventKind::Lost {
            assert!(row.what.why.is_some());
            missed += row.what.count.unwrap();
        } else {
            came += 1;
        }
    }
    assert_eq!(came + missed, (ROUNDS * ROUND) as u64);
    assert!(missed > 0 && came > 0, "{came} came, {missed} did not");
}

#[tokio::test]
async fn the_daemon_knows_whether_anybody_watches() {
    let daemon = start("watched");
    assert!(!daemon.events.watched());
    daemon.events.publish(vec![learned(1)]);

    let reader = watch(&daemon, VniFilter::default()).await;

    assert!(daemon.events.watched());
    drop(reader);
    let gone = async {
        while daemon.events.watched() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, gone).await.expect("nobody watches any more");
}

#[tokio::test]
async fn what_happened_before_the_daemon_ends_is_told_and_then_the_stream_ends() {
    let mut daemon = start("end");
    let mut reader = watch(&daemon, VniFilter::default()).await;

    daemon.events.publish(vec![learned(1)]);
    timeout(LONG, daemon.stop()).await.expect("it ends");

    assert_eq!(reader.row().await.what, learned(1));
    assert!(reader.next().await.is_none());
}

#[tokio::test]
async fn a_reader_that_takes_nothing_does_not_keep_the_daemon_from_ending() {
    let mut daemon = start("stuck");
    let mut stuck = daemon.raw().await;
    stuck
        .write_all(b"GET /v1/events HTTP/1.1\r\nhost: vtep\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0];
    stuck.read_exact(&mut first).await.unwrap();
    // More than a socket holds.
    daemon.events.publish(vec![learned(1); 10_000]);

    timeout(LONG, daemon.stop()).await.expect("it ends");
}

#[tokio::test]
async fn the_stream_says_that_it_is_lines_of_json() {
    let daemon = start("kind");
    let mut raw = daemon.raw().await;
    raw.write_all(b"GET /v1/events HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut text = Vec::new();
    let read = async {
        while !text.ends_with(b"\r\n\r\n") {
            text.push(raw.read_u8().await.unwrap());
        }
    };
    timeout(LONG, read).await.expect("a head");

    let head = String::from_utf8(text).unwrap();
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    assert!(
        head.contains("content-type: application/x-ndjson\r\n"),
        "{head}"
    );
}

#[test]
fn nothing_waits_for_a_reader_that_comes_later() {
    let events = Events::default();

    events.publish(vec![learned(1)]);

    assert!(events.subscribe().is_empty());
}

#[test]
fn the_keys_of_an_event_are_there_in_the_promised_order() {
    let row = EventRow {
        time: "2026-01-01T00:00:00.000000Z".into(),
        what: EventDetails {
            dev: Some("tap0".into()),
            ..learned(100)
        },
    };

    assert_json(
        &row,
        concat!(
            r#"{"time":"2026-01-01T00:00:00.000000Z","event":"learned","vni":100,"#,
            r#""mac":"02:00:00:00:00:0b","ip":null,"dst":null,"dev":"tap0","old_dst":null,"#,
            r#""old_dev":null,"count":null,"why":null}"#,
        ),
    );
    let json = serde_json::to_string(&row).unwrap();
    assert_eq!(serde_json::from_str::<EventRow>(&json).unwrap(), row);
    assert!(serde_json::from_str::<Value>(&json).unwrap().is_object());
}

fn start(name: &str) -> FakeDaemon {
    FakeDaemon::start(name, |_| Ok(Reply::Done))
}

/// A reader that is there: it sees everything that is published from now on.
async fn watch(daemon: &FakeDaemon, filter: VniFilter) -> StreamReader {
    StreamReader {
        pieces: daemon.client().await.events(&filter).await.unwrap().boxed(),
        text: Vec::new(),
        at: 0,
    }
}

struct StreamReader {
    pieces: BoxStream<'static, Result<Bytes, ClientError>>,
    text: Vec<u8>,
    /// Bytes of it that were taken.
    at: usize,
}

impl StreamReader {
    async fn rows(&mut self, count: usize) -> Vec<EventRow> {
        let mut rows = Vec::new();
        for _ in 0..count {
            rows.push(self.row().await);
        }
        rows
    }

    async fn row(&mut self) -> EventRow {
        self.next().await.expect("one more row")
    }

    /// The next row, or `None` if the stream has ended.
    async fn next(&mut self) -> Option<EventRow> {
        loop {
            if let Some(end) = self.text[self.at..].iter().position(|&byte| byte == b'\n') {
                let line = &self.text[self.at..self.at + end];
                self.at += end + 1;
                return Some(serde_json::from_slice(line).unwrap());
            }
            self.text.drain(..std::mem::take(&mut self.at));
            let piece = timeout(LONG, self.pieces.next())
                .await
                .expect("a row in time");
            self.text.extend_from_slice(&piece?.unwrap());
        }
    }
}

fn learned(raw: u32) -> EventDetails {
    EventDetails {
        vni: vni(raw),
        mac: Some(mac("02:00:00:00:00:0b")),
        ..EventDetails::new(EventKind::Learned)
    }
}
