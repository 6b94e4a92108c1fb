//! Clients that keep the server waiting, and those that do not wait for it.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::timeout;

use super::{FakeDaemon, Reply, exchange, fdb_row, flood_op};
use crate::api::connections::ConnectionLimits;
use crate::api::server;
use crate::ask::{Command, channel};
use crate::model::{FdbFilter, Query, StatsFilter, VniFilter};

/// Nothing here takes this long.
const LONG: Duration = Duration::from_secs(20);

/// A time that passes at once.
const SHORT: Duration = Duration::from_millis(20);

const FEW: ConnectionLimits = ConnectionLimits {
    connections: 4,
    head: LONG,
    body: LONG,
};

/// The head of a request whose end does not come.
const HALF_HEAD: &str = "GET /v1/status HTTP/1.1\r\nhost: vtep\r\n";

/// A request whose body does not come.
const HALF_BODY: &str = "POST /v1/ports HTTP/1.1\r\nhost: vtep\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";

#[tokio::test]
async fn half_requests_keep_nobody_out() {
    let daemon = FakeDaemon::within(FEW, "half", |_| Ok(Reply::Fdb(Vec::new())));
    let mut halves = Vec::new();
    for number in 0..2 * FEW.connections {
        let half = [HALF_HEAD, HALF_BODY, ""][number % 3];
        halves.push(started(&daemon, half).await);

        let (status, _) = timeout(LONG, exchange(daemon.raw().await, "GET", "/v1/fdb", ""))
            .await
            .expect("served at once");

        assert_eq!(status, 200);
    }

    // The first have given way; the last have room.
    for half in &mut halves[..FEW.connections] {
        assert!(ends(half).await);
    }
    let last = halves.last_mut().unwrap().try_read(&mut [0]);
    assert_eq!(last.unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_head_that_does_not_arrive_ends_the_connection() {
    let hasty = ConnectionLimits { head: SHORT, ..FEW };
    let daemon = FakeDaemon::within(hasty, "head", |_| Ok(Reply::Done));

    for half in ["", "G", HALF_HEAD] {
        let mut half = started(&daemon, half).await;

        assert!(ends(&mut half).await);
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_refused() {
    let hasty = ConnectionLimits { body: SHORT, ..FEW };
    let daemon = FakeDaemon::within(hasty, "body", |_| Ok(Reply::Done));
    let mut half = started(&daemon, HALF_BODY).await;

    let mut said = [0; 512];
    let len = timeout(LONG, half.read(&mut said)).await.unwrap().unwrap();

    let said = String::from_utf8_lossy(&said[..len]).into_owned();
    assert!(said.starts_with("HTTP/1.1 400"), "{said}");
    assert!(said.contains("did not arrive within"), "{said}");
    assert_eq!(daemon.take_heard(), []);
}

#[tokio::test]
async fn whoever_is_owed_an_answer_keeps_the_connection() {
    let one = ConnectionLimits {
        connections: 1,
        ..FEW
    };
    let (daemon, mut asks) = FakeDaemon::without_core(one, "owed");
    let first = tokio::spawn(exchange(daemon.raw().await, "GET", "/v1/fdb", ""));
    let ask = asks.recv().await.unwrap();

    let second = tokio::spawn(exchange(daemon.raw().await, "GET", "/v1/fdb", ""));
    let waits = timeout(SHORT, asks.recv()).await;
    assert!(waits.is_err(), "{waits:?}");
    ask.answer(Ok(Reply::Fdb(Vec::new())));

    assert_eq!(timeout(LONG, first).await.unwrap().unwrap().0, 200);
    let ask = timeout(LONG, asks.recv()).await.unwrap().unwrap();
    ask.answer(Ok(Reply::Fdb(Vec::new())));
    assert_eq!(timeout(LONG, second).await.unwrap().unwrap().0, 200);
}

#[tokio::test]
async fn a_client_that_takes_no_answer_gives_way() {
    let one = ConnectionLimits {
        connections: 1,
        ..FEW
    };
    let daemon = FakeDaemon::within(one, "stuck", |command| {
        let all = Command::Show(Query::Fdb(FdbFilter::default()));
        let rows = if *command == all { 100_000 } else { 0 };
        Ok(Reply::Fdb((0..rows).map(fdb_row).collect()))
    });
    let request = "GET /v1/fdb HTTP/1.1\r\nhost: vtep\r\n\r\n";
    let mut stuck = started(&daemon, request).await;
    stuck.read_u8().await.unwrap();

    let other = exchange(daemon.raw().await, "GET", "/v1/fdb?vni=1", "");
    let (status, _) = timeout(LONG, other).await.expect("served at once");

    assert_eq!(status, 200);
    assert!(ends(&mut stuck).await);
}

#[tokio::test]
async fn readers_of_events_leave_connections_for_others() {
    let daemon = FakeDaemon::start("readers", |_| Ok(Reply::Fdb(Vec::new())));
    let mut readers = Vec::new();
    let refused = loop {
        let mut client = daemon.client().await;
        match client.events(&VniFilter::default()).await {
            Ok(stream) => readers.push((client, stream)),
            Err(error) => break error.to_string(),
        }
        assert!(readers.len() < ConnectionLimits::SOCKET.connections);
    };

    assert!(refused.contains("vtep monitor"), "{refused}");
    let mut other = daemon.client().await;
    other
        .rows::<Value>(Query::Drops(StatsFilter::default()))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_carried_out() {
    let (daemon, mut asks) = FakeDaemon::without_core(FEW, "gone");
    let head = HALF_HEAD.replace("/v1/status", "/v1/fdb") + "\r\n";
    let gone = started(&daemon, &head).await;
    let abandoned = asks.recv().await.unwrap();
    let mut stays = daemon.client().await;
    let change = tokio::spawn(async move { stays.change(flood_op(1)).await });
    let awaited = asks.recv().await.unwrap();

    // The core goes from one to the next without waiting.
    drop(gone);

    assert!(!abandoned.is_awaited().await);
    assert!(awaited.is_awaited().await);
    awaited.answer(Ok(Reply::Done));
    change.await.unwrap().unwrap();
}

#[tokio::test]
async fn many_who_ask_for_the_metrics_cost_no_more_than_a_few() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (handle, mut asks) = channel();
    tokio::spawn(server::serve_metrics(
        listener,
        handle,
        std::future::pending(),
    ));
    let ask = move || async move {
        let stream = TcpStream::connect(address).await.unwrap();
        exchange(stream, "GET", "/metrics", "").await
    };
    let scrapers: Vec<_> = (0..10).map(|_| tokio::spawn(ask())).collect();

    // It takes its time, so that it is good for long.
    let first = asks.recv().await.unwrap();
    assert!(timeout(10 * SHORT, asks.recv()).await.is_err());
    first.answer(Ok(Reply::Text("vtep_up 1\n".into())));

    for scraper in scrapers {
        let (status, text) = timeout(LONG, scraper).await.unwrap().unwrap();
        assert_eq!((status, text.as_str()), (200, "vtep_up 1\n"));
    }
    // Later ones get it anew.
    let later = tokio::spawn(async move {
        loop {
            let (_, text) = ask().await;
            if text == "vtep_up 2\n" {
                return;
            }
        }
    });
    let second = timeout(LONG, asks.recv()).await.unwrap().unwrap();
    second.answer(Ok(Reply::Text("vtep_up 2\n".into())));
    timeout(LONG, later).await.unwrap().unwrap();
}

/// A connection by which `text` was sent.
async fn started(daemon: &FakeDaemon, text: &str) -> UnixStream {
    let mut stream = daemon.raw().await;
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// True once the server has closed a connection, whatever it sent before.
async fn ends(stream: &mut UnixStream) -> bool {
    let mut rest = Vec::new();
    let ended = timeout(LONG, stream.read_to_end(&mut rest)).await;
    ended.is_ok()
}
