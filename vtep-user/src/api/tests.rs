//! The API from end to end: a client, a socket, the server, and a core that plays along.

mod connections;
mod document;
mod event_stream;
mod patience;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::stream;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::client::{Client, ClientError};
use super::connections::ConnectionLimits;
use super::event_feed::Events;
use super::socket::Socket;
use super::{BatchLine, server};
use crate::model::{
    BatchOptions, BitRate, Df, DropsRow, DumpFilter, EntryState, FdbAt, FdbDel, FdbFilter, FdbRow,
    FdbSpec, Flood, FrameBytes, FrameRate, InnerVlan, L2cp, MacAddr, Mode, NeighDel, NeighRow,
    NeighSpec, NeighState, NexthopDel, NexthopRow, NexthopSpec, OverLimit, PeerRow, PeerSpec,
    PeerState, PortChange, PortDelivery, PortGuard, PortHook, PortPart, PortRange, PortRow,
    PortSpec, PortState, Prefix, Query, Reserved, Source, Sources, StatsFilter, StatsRow, TraceAt,
    TraceSpec, TraceTo, VlanId, Vni, VniDelete, VniFilter, VniRow, VniSpec,
};
use crate::{
    ask::{Ask, Command, Handle, Reply, channel},
    model::{Op, Refusal},
};

#[tokio::test]
async fn every_change_reaches_the_core_as_it_was_sent() {
    let daemon = FakeDaemon::start("changes", |_| Ok(Reply::Done));
    let mut client = daemon.client().await;

    for op in every_op() {
        client.change(op.clone()).await.unwrap();

        assert_eq!(daemon.take_heard(), [Command::Do(op)]);
    }
}

#[tokio::test]
async fn every_question_reaches_the_core_as_it_was_asked() {
    let daemon = FakeDaemon::start("questions", |_| Ok(Reply::Fdb(Vec::new())));
    let mut client = daemon.client().await;
    let mac = mac("02:00:00:00:00:0b");
    let ip = "2001:db8::1".parse().unwrap();
    let filter = FdbFilter {
        vni: vni(0),
        dst: Some(ip),
        dev: Some(dev()),
        learned: true,
        with_static: false,
    };
    let stats = StatsFilter {
        vni: vni(7),
        dev: Some(dev()),
        peer: Some(ip),
    };
    let vni_filter = |vni| VniFilter { vni };
    let questions = [
        Query::Status,
        Query::Vnis(None),
        Query::Vnis(vni(5)),
        Query::Ports(None),
        Query::Ports(Some(dev())),
        Query::Fdb(FdbFilter::default()),
        Query::Fdb(filter),
        Query::FdbGet(FdbAt {
            mac,
            vni: vni(5).unwrap(),
        }),
        Query::Neighs(VniFilter::default()),
        Query::Neighs(vni_filter(vni(0))),
        Query::Nexthops(VniFilter::default()),
        Query::Nexthops(vni_filter(vni(5))),
        Query::Peers(None),
        Query::Peers(Some(ip)),
        Query::Stats(stats),
        Query::Drops(StatsFilter::default()),
        Query::Dump(DumpFilter::default()),
        Query::Dump(DumpFilter {
            vni: vni(5),
            source: Some(Source::Cli),
        }),
        Query::Trace(Box::new(TraceAt {
            dev: dev(),
            spec: TraceSpec {
                frame: Some(FrameBytes::new(vec![2, 0, 0xff]).unwrap()),
                dst: None,
                src: Some(mac),
                size: Some(1_500),
                vlan: VlanId::new(10),
            },
        })),
        Query::Trace(Box::new(TraceAt {
            dev: dev(),
            spec: TraceSpec {
                dst: Some(TraceTo::Ip(ip)),
                ..TraceSpec::default()
            },
        })),
        Query::Metrics,
    ];

    for query in questions {
        assert_eq!(
            client.rows::<Value>(query.clone()).await.unwrap(),
            Vec::<Value>::new()
        );
        assert_eq!(daemon.take_heard(), [Command::Show(query)]);
    }
}

#[tokio::test]
async fn rows_arrive_whole_however_many_there_are() {
    for count in [0, 1, 511, 512, 513, 5000] {
        let rows: Vec<_> = (0..count).map(fdb_row).collect();
        let answer = rows.clone();
        let daemon = FakeDaemon::start("rows", move |_| Ok(Reply::Fdb(answer.clone())));
        let mut client = daemon.client().await;

        let all = Query::Fdb(FdbFilter::default());
        assert_eq!(client.rows::<FdbRow>(all).await.unwrap(), rows);
    }
}

#[tokio::test]
async fn a_refusal_reaches_the_client_as_its_sentence() {
    let sentence = "vni 100 does not exist; create it with: vtep vni add 100";
    let daemon = FakeDaemon::start("refusal", move |_| Err(Refusal::not_found(sentence)));
    let mut client = daemon.client().await;

    let error = client
        .rows::<Value>(Query::Vnis(vni(100)))
        .await
        .unwrap_err();

    assert_eq!(error.to_string(), sentence);
}

#[tokio::test]
async fn a_batch_arrives_in_order_with_its_line_numbers() {
    let daemon = FakeDaemon::start("batch", |_| Ok(Reply::Done));
    let text = batch_text(10_000);

    let applied = daemon
        .client()
        .await
        .batch(stream::iter(pieces(&text)), BatchOptions::default())
        .await
        .unwrap();

    assert_eq!(applied.applied, 10_000);
    let mut asked = Vec::new();
    for command in daemon.take_heard() {
        let Command::Batch(ops) = command else {
            panic!("{command:?}")
        };
        asked.extend(ops);
    }
    let expected: Vec<_> = (1..=10_000)
        .map(|line| (line * 2, flood_op(line)))
        .collect();
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn a_batch_ends_at_the_line_that_the_core_refuses() {
    let daemon = FakeDaemon::start("refused-batch", |command| match command {
        Command::Batch(ops) if ops.iter().any(|(line, _)| *line == 9000) => {
            Err(Refusal::full("the FDB is full").at_line(9000))
        }
        _ => Ok(Reply::Done),
    });
    let text = batch_text(100_000);

    let error = daemon
        .client()
        .await
        .batch(stream::iter(pieces(&text)), BatchOptions::default())
        .await
        .unwrap_err();

    assert_eq!(error.to_string(), "line 9000: the FDB is full");
    assert_eq!(
        daemon.take_heard().len(),
        2,
        "nothing is sent to the core after a refusal"
    );
}

#[tokio::test]
async fn a_batch_that_is_forced_goes_on_behind_each_line_that_is_refused() {
    let made = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let by_core = made.clone();
    // As the core does it: what stands before a refusal is made.
    let daemon = FakeDaemon::start("forced-batch", move |command| {
        let Command::Batch(ops) = command else {
            panic!("{command:?}")
        };
        for (line, _) in ops {
            if line % 1000 == 0 {
                return Err(Refusal::full("the FDB is full").at_line(*line));
            }
            by_core.lock().unwrap().push(*line);
        }
        Ok(Reply::Done)
    });
    let text = batch_text(5_000);
    let force = BatchOptions {
        force: true,
        ..BatchOptions::default()
    };

    let done = daemon
        .client()
        .await
        .batch(stream::iter(pieces(&text)), force)
        .await
        .unwrap();

    let refused: Vec<u64> = (1..=10).map(|thousand| thousand * 1000).collect();
    assert_eq!(done.refused, refused);
    assert_eq!(done.refusals[0].error, "line 1000: the FDB is full");
    assert_eq!(done.applied, 4_990);
    let every = (1..=5_000).map(|line| line * 2);
    let expected: Vec<u64> = every.filter(|line| line % 1000 != 0).collect();
    assert_eq!(*made.lock().unwrap(), expected, "each once, in order");
}

#[tokio::test]
async fn changes_that_a_client_numbers_alike_are_told_apart() {
    let deleted = std::sync::Mutex::new(Vec::new());
    let daemon = FakeDaemon::start("alike", move |command| {
        let Command::Batch(ops) = command else {
            panic!("{command:?}")
        };
        let mut deleted = deleted.lock().unwrap();
        for (line, op) in ops {
            if deleted.contains(op) {
                return Err(Refusal::not_found("vni 1 is deleted").at_line(*line));
            }
            deleted.push(op.clone());
        }
        Ok(Reply::Done)
    });
    let delete =
        |vni: u32| format!("{{\"line\":5,\"command\":{{\"vni_del\":{{\"vni\":{vni}}}}}}}\n");
    let text = [delete(1), delete(1), delete(2)].concat();
    let force = BatchOptions {
        force: true,
        ..BatchOptions::default()
    };

    let mut client = daemon.client().await;
    let done = client.batch(stream::iter([text.into_bytes()]), force).await;

    let done = done.unwrap();
    assert_eq!((done.applied, done.refused), (2, vec![5]));
}

#[tokio::test]
async fn a_batch_line_that_cannot_be_read_is_named_and_what_was_before_it_is_done() {
    let daemon = FakeDaemon::start("bad-batch", |_| Ok(Reply::Done));
    let good = serde_json::to_string(&BatchLine {
        line: None,
        command: flood_op(1),
    })
    .unwrap();
    let text = format!("{good}\n\n{{\"command\":{{\"fdb_add\":{{}}}}}}\n{good}\n").into_bytes();

    let error = daemon
        .client()
        .await
        .batch(stream::iter([text]), BatchOptions::default())
        .await
        .unwrap_err();

    assert!(
        error.to_string().starts_with("line 3: missing field"),
        "{error}"
    );
    assert_eq!(
        daemon.take_heard(),
        [Command::Batch(vec![(1, flood_op(1))])]
    );
}

#[tokio::test]
async fn where_no_daemon_answers_the_client_says_how_to_start_one() {
    let socket = scratch("absent").join("main.sock");

    let error = Client::connect_at(&socket, "main").await.unwrap_err();

    assert!(matches!(error, ClientError::NoDaemon { .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "no vtep daemon answers at {}; start it with: vtep run --iface <uplink>",
            socket.display()
        )
    );
    let error = Client::connect_at(&socket, "blue")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("vtep run --iface <uplink> --instance blue"),
        "{error}"
    );
}

#[tokio::test]
async fn a_core_that_is_gone_is_a_refusal_and_not_a_hang() {
    let (handle, asks) = channel();
    drop(asks);

    let error = handle.ask(Command::Show(Query::Status)).await.unwrap_err();

    assert_eq!(error, Refusal::internal("the daemon is shutting down"));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_json_before_the_core_hears_of_it() {
    let daemon = FakeDaemon::start("nonsense", |_| Ok(Reply::Done));
    let cases = [
        (
            "GET",
            "/v1/vnis/16777216",
            "",
            400,
            "VNI 16777216 does not fit in 24 bits",
        ),
        (
            "POST",
            "/v1/vnis/1",
            r#"{"mode":"l4"}"#,
            400,
            "unknown variant `l4`",
        ),
        (
            "POST",
            "/v1/vnis/1",
            r#"{"mood":"l2"}"#,
            400,
            "unknown field `mood`",
        ),
        (
            "POST",
            "/v1/vnis/1",
            r#"{"ttl":0}"#,
            400,
            "a number from 1 to 255",
        ),
        (
            "POST",
            "/v1/ports",
            r#"{"dev":"x","vni":1,"vlan":4095}"#,
            400,
            "is not a VLAN ID",
        ),
        (
            "POST",
            "/v1/fdb",
            r#"{"mac":"02","vni":1}"#,
            400,
            "`02` is not a MAC address",
        ),
        ("POST", "/v1/fdb", "", 400, "the request body is not valid"),
        ("GET", "/v1/fdb?vni=x", "", 400, "invalid digit"),
        ("GET", "/v1/fdb?vnj=1", "", 400, "unknown field `vnj`"),
        ("GET", "/v1/events?vni=16777216", "", 400, "24 bits"),
        ("GET", "/v1/events?vnj=1", "", 400, "unknown field `vnj`"),
        ("GET", "/v1/fdb/1/02", "", 400, "`02` is not a MAC address"),
        (
            "POST",
            "/v1/neighs",
            r#"{"ip":"10.0.0","vni":1}"#,
            400,
            "invalid IP address syntax",
        ),
        ("DELETE", "/v1/neighs?vni=1", "", 400, "missing field `ip`"),
        ("GET", "/v1/neighs?vni=x", "", 400, "invalid digit"),
        (
            "PUT",
            "/v1/nexthops",
            r#"{"ip":"10.0.0.1/24","vni":1,"via":"192.0.2.2"}"#,
            400,
            "`10.0.0.1/24` has bits set behind its length; write the prefix as 10.0.0.0/24",
        ),
        (
            "DELETE",
            "/v1/nexthops?ip=10.0.0.0/33&vni=1",
            "",
            400,
            "`10.0.0.0/33` is neither an IP address nor a prefix",
        ),
        (
            "GET",
            "/v1/peers/1.2.3",
            "",
            400,
            "`1.2.3` is not an IP address",
        ),
        ("GET", "/v2", "", 404, "/v2 does not exist"),
        ("PUT", "/v1/vnis", "", 405, "/v1/vnis does not support PUT"),
    ];

    for (method, path, body, status, sentence) in cases {
        let (got, text) = exchange(daemon.raw().await, method, path, body).await;

        let error: Value = serde_json::from_str(&text).unwrap();
        let error = error["error"].as_str().unwrap();
        assert!(error.contains(sentence), "{method} {path} {body}: {error}");
        assert_eq!(got, status, "{method} {path} {body}: {error}");
    }
    assert_eq!(daemon.take_heard(), []);
}

#[tokio::test]
async fn the_socket_that_only_shows_changes_nothing() {
    let path = scratch("view").join("main.view");
    let socket = Socket::bind_at(&path, "main", None).unwrap();
    let (handle, mut asks) = channel();
    tokio::spawn(async move {
        while let Some(ask) = asks.recv().await {
            assert!(matches!(ask.command, Command::Show(_)), "{:?}", ask.command);
            ask.answer(Ok(Reply::Fdb(Vec::new())));
        }
    });
    let events = Events::default();
    tokio::spawn(server::serve_view(
        socket,
        handle,
        events,
        std::future::pending(),
    ));
    let connect = || async { UnixStream::connect(&path).await.unwrap() };

    let shown = exchange(connect().await, "GET", "/v1/fdb", "").await;
    assert_eq!(shown, (200, "[]".into()));
    for (method, target) in [
        ("POST", "/v1/vnis"),
        ("DELETE", "/v1/vnis/100"),
        ("PATCH", "/v1/vnis/100"),
        ("POST", "/v1/batch"),
        ("POST", "/v1/capture"),
        ("POST", "/v1/trace"),
        ("POST", "/v1/apply"),
        ("POST", "/v1/teardown"),
        ("POST", "/v1/nothing"),
    ] {
        let (status, body) = exchange(connect().await, method, target, "{}").await;
        assert_eq!(status, 403, "{method} {target}: {body}");
        assert!(body.contains("--socket-group"), "{body}");
    }
    drop(std::fs::remove_dir_all(path.parent().unwrap()));
}

#[tokio::test]
async fn those_who_only_look_leave_the_core_half_of_its_time() {
    const TAKES: Duration = Duration::from_millis(20);
    const ASKED: u32 = 5;
    let path = scratch("half").join("main.view");
    let socket = Socket::bind_at(&path, "main", None).unwrap();
    let (handle, mut asks) = channel();
    tokio::spawn(async move {
        while let Some(ask) = asks.recv().await {
            tokio::time::sleep(TAKES).await;
            ask.answer(Ok(Reply::Fdb(Vec::new())));
        }
    });
    let events = Events::default();
    tokio::spawn(server::serve_view(
        socket,
        handle,
        events,
        std::future::pending(),
    ));
    let start = Instant::now();

    // All at once, and one that does not wait for its answer.
    let mut gone = UnixStream::connect(&path).await.unwrap();
    gone.write_all(b"GET /v1/fdb HTTP/1.1\r\nhost: vtep\r\n\r\n")
        .await
        .unwrap();
    let asked = (0..ASKED).map(|_| async {
        let stream = UnixStream::connect(&path).await.unwrap();
        exchange(stream, "GET", "/v1/fdb", "").await
    });
    let answers = futures::future::join_all(asked).await;

    assert!(answers.iter().all(|(status, _)| *status == 200));
    assert!(
        start.elapsed() >= TAKES * (2 * ASKED - 1),
        "{:?}",
        start.elapsed()
    );
    drop(std::fs::remove_dir_all(path.parent().unwrap()));
}

#[tokio::test]
async fn metrics_are_served_over_tcp_and_nothing_else_is() {
    let (handle, mut asks) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(server::serve_metrics(
        listener,
        handle,
        std::future::pending(),
    ));
    tokio::spawn(async move {
        while let Some(ask) = asks.recv().await {
            assert_eq!(ask.command, Command::Show(Query::Metrics));
            ask.answer(Ok(Reply::Text("vtep_up 1\n".into())));
        }
    });
    let connect = || async { TcpStream::connect(address).await.unwrap() };

    let metrics = exchange(connect().await, "GET", "/metrics", "").await;
    let (status, _) = exchange(connect().await, "GET", "/v1/vnis", "").await;

    assert_eq!(metrics, (200, "vtep_up 1\n".into()));
    assert_eq!(status, 404);
}

#[tokio::test]
async fn every_route_is_in_the_openapi_document_and_every_path_of_it_is_served() {
    let daemon = FakeDaemon::start("openapi", |_| Ok(Reply::Done));
    let (status, text) = exchange(daemon.raw().await, "GET", "/v1/openapi.json", "").await;
    assert_eq!(status, 200);
    let document: Value = serde_json::from_str(&text).unwrap();

    let mut listed = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            listed.insert(format!("{} {path}", method.to_uppercase()));
        }
    }

    let expected = [
        "DELETE /v1/capture",
        "DELETE /v1/fdb",
        "DELETE /v1/neighs",
        "DELETE /v1/nexthops",
        "DELETE /v1/ports/{dev}",
        "DELETE /v1/vnis/{vni}",
        "GET /metrics",
        "GET /v1/drops",
        "GET /v1/dump",
        "GET /v1/events",
        "GET /v1/fdb",
        "GET /v1/fdb/{vni}/{mac}",
        "GET /v1/neighs",
        "GET /v1/nexthops",
        "GET /v1/openapi.json",
        "GET /v1/peers",
        "GET /v1/peers/{ip}",
        "GET /v1/ports",
        "GET /v1/ports/{dev}",
        "GET /v1/stats",
        "GET /v1/status",
        "GET /v1/trace/{dev}",
        "GET /v1/vnis",
        "GET /v1/vnis/{vni}",
        "PATCH /v1/peers/{ip}",
        "PATCH /v1/ports/{dev}",
        "PATCH /v1/vnis/{vni}",
        "POST /v1/apply",
        "POST /v1/batch",
        "POST /v1/capture",
        "POST /v1/fdb",
        "POST /v1/fdb/append",
        "POST /v1/fdb/flush",
        "POST /v1/neighs",
        "POST /v1/nexthops",
        "POST /v1/ports",
        "POST /v1/teardown",
        "POST /v1/trace",
        "POST /v1/vnis/{vni}",
        "PUT /v1/fdb",
        "PUT /v1/neighs",
        "PUT /v1/nexthops",
        "PUT /v1/ports",
        "PUT /v1/vnis/{vni}",
    ];
    assert_eq!(listed, expected.map(String::from).into());
    for route in listed {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path.replace("{vni}", "1").replace("{dev}", "x");
        let path = path
            .replace("{mac}", "02:00:00:00:00:01")
            .replace("{ip}", "192.0.2.1");
        if path == "/v1/events" {
            // It has no end.
            drop(
                daemon
                    .client()
                    .await
                    .events(&VniFilter::default())
                    .await
                    .unwrap(),
            );
            continue;
        }
        let (status, text) = exchange(daemon.raw().await, method, &path, "").await;
        assert!(![404, 405].contains(&status), "{route}: {text}");
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(schema.is_object(), "{name}");
        assert!(
            !text_of_refs(schema)
                .iter()
                .any(|to| document.pointer(to).is_none()),
            "{name}"
        );
    }
}

#[test]
fn the_keys_of_a_vni_are_there_in_the_promised_order() {
    let row = VniRow {
        vni: vni(100).unwrap(),
        mode: Mode::L2,
        flood: Flood::Her,
        group: None,
        learning: false,
        suppress: true,
        ageing_s: 300,
        max_macs: None,
        inner_vlan: InnerVlan::Drop,
        ports: vec!["tap0".into()],
        remotes: vec!["192.0.2.2".parse().unwrap(), "2001:db8::2".parse().unwrap()],
        ttl: "64".parse().unwrap(),
        tos: "inherit".parse().unwrap(),
        df: Df::Set,
        srcport: PortRange::DYNAMIC,
        reserved: Reserved::Ignore,
        over_limit: OverLimit::Flood,
        sources: Sources::Listed,
        l2cp: L2cp::Drop,
        source: Source::Config,
        bridge: Some("br0".into()),
        mss_clamp: true,
    };

    assert_json(
        &row,
        concat!(
            r#"{"vni":100,"mode":"l2","flood":"her","group":null,"learning":false,"suppress":true,"#,
            r#""ageing_s":300,"max_macs":null,"inner_vlan":"drop","ports":["tap0"],"#,
            r#""remotes":["192.0.2.2","2001:db8::2"],"ttl":64,"tos":"inherit","df":"set","#,
            r#""srcport":[49152,65535],"reserved":"ignore","#,
            r#""over_limit":"flood","sources":"listed","l2cp":"drop","source":"config","bridge":"br0","mss_clamp":true}"#,
        ),
    );
}

#[test]
fn the_keys_of_a_port_are_there_in_the_promised_order() {
    let row = PortRow {
        dev: "tap0".into(),
        vni: vni(100).unwrap(),
        vlan: None,
        hook: PortHook::Tc,
        ifindex: Some(7),
        delivery: None,
        macs: vec![mac("02:00:00:00:00:0B")],
        ips: vec![],
        max_macs: None,
        isolated: false,
        guard: PortGuard::Off,
        over_limit: OverLimit::Drop,
        bum_rate: FrameRate::new(1_000),
        rate_in: BitRate::new(10_000_000),
        rate_out: None,
        source: Source::Cli,
        state: PortState::Attached,
        router: false,
        delivery_wanted: PortDelivery::Fast,
        bypasses: vec!["its queue".into()],
        mtu: Some(1500),
        mtu_advice: Some(1450),
    };

    assert_json(
        &row,
        concat!(
            r#"{"dev":"tap0","vni":100,"vlan":null,"hook":"tc","ifindex":7,"delivery":null,"#,
            r#""macs":["02:00:00:00:00:0b"],"ips":[],"max_macs":null,"isolated":false,"#,
            r#""guard":"off","over_limit":"drop","bum_rate":1000,"#,
            r#""rate_in":10000000,"rate_out":null,"source":"cli","state":"attached","router":false,"#,
            r#""delivery_wanted":"fast","bypasses":["its queue"],"mtu":1500,"mtu_advice":1450}"#,
        ),
    );
}

#[test]
fn the_keys_of_an_fdb_entry_are_there_in_the_promised_order() {
    assert_json(
        &fdb_row(11),
        concat!(
            r#"{"vni":1,"mac":"02:00:00:00:00:0b","dst":"192.0.2.2","dev":null,"#,
            r#""state":"static","age_s":null,"duplicate":false,"source":"cli"}"#,
        ),
    );
}

#[test]
fn the_keys_of_a_neigh_entry_are_there_in_the_promised_order() {
    let row = NeighRow {
        vni: vni(100).unwrap(),
        ip: "2001:db8:ff::11".parse().unwrap(),
        lladdr: mac("78:56:43:00:00:01"),
        state: NeighState::Snooped,
        dev: Some("tap0".into()),
        router: false,
        age_s: Some(3),
        source: None,
    };

    assert_json(
        &row,
        concat!(
            r#"{"vni":100,"ip":"2001:db8:ff::11","lladdr":"78:56:43:00:00:01","state":"snooped","#,
            r#""dev":"tap0","router":false,"age_s":3,"source":null}"#,
        ),
    );
}

#[test]
fn the_keys_of_a_nexthop_entry_are_there_in_the_promised_order() {
    let row = NexthopRow {
        vni: vni(100).unwrap(),
        ip: "10.1.0.0/16".parse().unwrap(),
        via: Some("192.0.2.2".parse().unwrap()),
        lladdr: None,
        dev: None,
        state: NeighState::Static,
        usable: true,
        source: Some(Source::Config),
    };

    assert_json(
        &row,
        concat!(
            r#"{"vni":100,"ip":"10.1.0.0/16","via":"192.0.2.2","lladdr":null,"dev":null,"#,
            r#""state":"static","usable":true,"source":"config"}"#,
        ),
    );
}

#[test]
fn the_keys_of_a_peer_are_there_in_the_promised_order() {
    let row = PeerRow {
        ip: "192.0.2.2".parse().unwrap(),
        dev: None,
        mac: None,
        state: PeerState::Resolving,
        mtu: None,
        csum6: None,
        via: None,
        source: None,
        last_heard_s: None,
        mtu_expires_s: None,
    };

    assert_json(
        &row,
        concat!(
            r#"{"ip":"192.0.2.2","dev":null,"mac":null,"state":"resolving","mtu":null,"#,
            r#""csum6":null,"via":null,"source":null,"last_heard_s":null,"mtu_expires_s":null}"#,
        ),
    );
}

#[test]
fn the_keys_of_counters_are_there_in_the_promised_order() {
    let row = StatsRow {
        hook: None,
        reason: None,
        vni: None,
        dev: None,
        peer: None,
        packets: 1,
        bytes: 2,
    };
    let drops = DropsRow {
        hook: "xdp_uplink".into(),
        reason: "truncated".into(),
        packets: 1,
        bytes: 2,
        meaning: "fewer bytes than the headers need".into(),
    };

    assert_json(
        &row,
        concat!(
            r#"{"hook":null,"reason":null,"vni":null,"dev":null,"peer":null,"#,
            r#""packets":1,"bytes":2}"#,
        ),
    );
    assert_json(
        &drops,
        concat!(
            r#"{"hook":"xdp_uplink","reason":"truncated","packets":1,"bytes":2,"#,
            r#""meaning":"fewer bytes than the headers need"}"#,
        ),
    );
}

fn assert_json(row: &impl Serialize, expected: &str) {
    assert_eq!(serde_json::to_string(row).unwrap(), expected);
}

/// A daemon whose core answers everything with one function and remembers what it was asked.
struct FakeDaemon {
    path: PathBuf,
    asked: Arc<Mutex<Vec<Command>>>,
    events: Events,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<()>>,
}

impl FakeDaemon {
    fn start(
        name: &str,
        answer: impl Fn(&Command) -> Result<Reply, Refusal> + Send + 'static,
    ) -> Self {
        Self::within(ConnectionLimits::SOCKET, name, answer)
    }

    fn within(
        limits: ConnectionLimits,
        name: &str,
        answer: impl Fn(&Command) -> Result<Reply, Refusal> + Send + 'static,
    ) -> Self {
        let (daemon, mut asks) = Self::without_core(limits, name);
        let remember = Arc::clone(&daemon.asked);
        tokio::spawn(async move {
            while let Some(ask) = asks.recv().await {
                let reply = answer(&ask.command);
                remember.lock().unwrap().push(ask.command.clone());
                ask.answer(reply);
            }
        });
        daemon
    }

    /// What is asked is for the test to take.
    fn without_core(limits: ConnectionLimits, name: &str) -> (Self, mpsc::Receiver<Ask>) {
        let path = scratch(name).join("main.sock");
        let socket = Socket::bind_at(&path, "main", None).unwrap();
        let (handle, asks): (Handle, _) = channel();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let events = Events::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        let served = server::serve_within(limits, socket, handle, events.clone(), stopped);
        let daemon = Self {
            path,
            asked,
            events,
            stop: Some(stop),
            served: Some(tokio::spawn(served)),
        };
        (daemon, asks)
    }

    async fn client(&self) -> Client {
        Client::connect_at(&self.path, "main").await.unwrap()
    }

    async fn raw(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }

    /// Ends the server, and waits until it has ended.
    async fn stop(&mut self) {
        drop(self.stop.take());
        let served = self.served.take().expect("it ends once");
        served.await.unwrap();
    }

    fn take_heard(&self) -> Vec<Command> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(self.path.parent().unwrap()));
    }
}

/// Sends one request as plain text; returns the status and the body.
async fn exchange(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, String) {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all((head + body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

fn text_of_refs(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match value {
                Value::String(to) if key == "$ref" => vec![to.trim_start_matches('#').to_owned()],
                other => text_of_refs(other),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(text_of_refs).collect(),
        _ => Vec::new(),
    }
}

/// `count` changes, each after an empty line, numbered by their own `line`.
fn batch_text(count: u64) -> Vec<u8> {
    let mut text = Vec::new();
    for line in 1..=count {
        text.push(b'\n');
        let line = BatchLine {
            line: Some(line * 2),
            command: flood_op(line),
        };
        serde_json::to_writer(&mut text, &line).unwrap();
        text.push(b'\n');
    }
    text.pop();
    text
}

/// The text in pieces that end anywhere.
fn pieces(text: &[u8]) -> Vec<Vec<u8>> {
    text.chunks(997).map(<[u8]>::to_vec).collect()
}

fn flood_op(number: u64) -> Op {
    let host = u32::try_from(number).unwrap();
    let dst = Some(std::net::Ipv4Addr::from(0x0a00_0000 + host).into());
    Op::FdbAppend(FdbSpec {
        mac: MacAddr::ZERO,
        vni: vni(100).unwrap(),
        dst,
        dev: None,
    })
}

fn fdb_row(number: u32) -> FdbRow {
    let [_, b, c, d] = number.to_be_bytes();
    FdbRow {
        vni: vni(1).unwrap(),
        mac: MacAddr::from_bytes([2, 0, 0, b, c, d]),
        dst: Some("192.0.2.2".parse().unwrap()),
        dev: None,
        state: EntryState::Static,
        age_s: None,
        duplicate: false,
        source: Some(Source::Cli),
        other_dst: None,
        other_dev: None,
    }
}

fn every_op() -> Vec<Op> {
    let json = json!({
        "mode": "l2", "flood": "none", "group": "ff05::1", "learning": false, "suppress": true,
        "ageing_s": 0, "max_macs": 7, "inner_vlan": "pass", "ttl": "inherit", "tos": 184,
        "df": "unset", "srcport": [1024, 2048], "reserved": "strict",
    });
    let full: Box<VniSpec> = serde_json::from_value(json).unwrap();
    let mode = Box::new(VniSpec {
        mode: Some(Mode::Flood),
        ..VniSpec::default()
    });
    let vni = vni(16_777_215).unwrap();
    let vlan = VlanId::new(10);
    let mac = mac("02:00:00:00:00:0b");
    let ip = "2001:db8:2::1".parse().unwrap();
    let name = dev();

    let port = PortSpec {
        dev: name.clone(),
        vni,
        vlan,
        hook: Some(PortHook::Tc),
        macs: vec![mac],
        ips: vec![ip],
        max_macs: Some(1),
        isolated: None,
        guard: None,
        router: None,
        over_limit: None,
        bum_rate: None,
        rate_in: None,
        rate_out: None,
        delivery: None,
        wait: false,
    };
    let change = PortChange {
        vlan,
        vni: Some(vni),
        macs: Some(vec![]),
        ..PortChange::default()
    };
    let piece = PortPart {
        vlan,
        vni: Some(vni),
        untagged: false,
    };
    let mut ops = vec![
        Op::VniAdd { vni, spec: full },
        Op::VniAdd {
            vni,
            spec: Box::default(),
        },
        Op::VniSet { vni, spec: mode },
        Op::VniReplace {
            vni,
            spec: Box::default(),
        },
        Op::VniDel {
            vni,
            options: VniDelete::default(),
        },
        Op::VniDel {
            vni,
            options: VniDelete { force: true },
        },
        Op::PortAdd(Box::new(port.clone())),
        Op::PortReplace(Box::new(port)),
        Op::PortSet {
            dev: name.clone(),
            change: Box::new(change),
        },
        Op::PortDel {
            dev: name.clone(),
            part: PortPart::default(),
        },
        Op::PortDel {
            dev: name.clone(),
            part: piece,
        },
        Op::PeerSet {
            ip,
            spec: PeerSpec { csum6: Some(false) },
        },
    ];
    ops.extend(fdb_ops(ip, vni, mac));
    ops.extend(host_ops(ip, vni, mac));
    ops
}

/// The changes that are about the FDB.
fn fdb_ops(ip: IpAddr, vni: Vni, mac: MacAddr) -> Vec<Op> {
    let name = dev();
    let dst = FdbSpec {
        mac,
        vni,
        dst: Some(ip),
        dev: None,
    };
    let dev = FdbSpec {
        mac,
        vni,
        dst: None,
        dev: Some(dev()),
    };
    vec![
        Op::FdbAdd(dst.clone()),
        Op::FdbAppend(dst.clone()),
        Op::FdbReplace(dev),
        Op::FdbDel(FdbDel {
            mac,
            vni,
            dst: Some(ip),
            dev: None,
        }),
        Op::FdbDel(FdbDel {
            mac,
            vni,
            dst: None,
            dev: Some(name),
        }),
        Op::FdbFlush(FdbFilter {
            vni: Some(vni),
            learned: true,
            ..FdbFilter::default()
        }),
        Op::FdbFlush(FdbFilter {
            vni: Some(vni),
            with_static: true,
            ..FdbFilter::default()
        }),
    ]
}

/// The changes that are about hosts.
fn host_ops(ip: IpAddr, vni: Vni, mac: MacAddr) -> Vec<Op> {
    let neigh = NeighSpec {
        ip,
        vni,
        lladdr: Some(mac),
        router: true,
    };
    let nexthop = NexthopSpec {
        ip: "10.1.0.0/16".parse().unwrap(),
        vni,
        via: Some(ip),
        lladdr: Some(mac),
    };
    vec![
        Op::NeighAdd(neigh.clone()),
        Op::NeighReplace(NeighSpec {
            ip: "10.0.0.1".parse().unwrap(),
            router: false,
            ..neigh
        }),
        Op::NeighDel(NeighDel {
            ip,
            vni,
            lladdr: None,
        }),
        Op::NexthopAdd(nexthop.clone()),
        Op::NexthopReplace(NexthopSpec {
            ip: Prefix::host(ip),
            via: None,
            ..nexthop
        }),
        Op::NexthopDel(NexthopDel {
            ip: nexthop.ip,
            vni,
            via: None,
            lladdr: None,
        }),
    ]
}

fn vni(raw: u32) -> Option<Vni> {
    Vni::new(raw)
}

fn mac(text: &str) -> MacAddr {
    text.parse().unwrap()
}

/// A device name that needs encoding in a path.
fn dev() -> String {
    "tap%2f?#.é".into()
}

fn scratch(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("vtep-api-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}
