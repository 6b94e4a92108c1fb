//! The API against its own document: requests that are made from it, valid ones and others, and every answer compared with it.

mod client;
mod document;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::json;

use self::client::{Client, Failure};
use self::document::{Dice, Document, Operation, Request};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::Wire;
use vtep_tests::need_root;

/// Requests for each operation.
const EACH: usize = 60;

/// What has no end, and what ends the daemon.
const LEFT_OUT: [&str; 4] = ["/v1/capture", "/v1/events", "/v1/teardown", "/v1/trace"];

fn document(wire: &Wire) -> Document {
    let whole = wire.daemon.ask("GET", "/v1/openapi.json", None);
    Document::new(whole, vec!["vm0", "lo", "nope", "br0", "vtep4789"])
}

/// Asks; returns the status and the body.
fn ask(wire: &Wire, method: &str, request: &Request) -> (u16, String) {
    let Request { target, body, .. } = request;
    let mut socket = UnixStream::connect(wire.daemon.socket()).expect("connect to the API");
    let deadline = Some(std::time::Duration::from_secs(30));
    socket.set_read_timeout(deadline).expect("a deadline");
    let length = body.len();
    let text = format!(
        "{method} {target} HTTP/1.1\r\nHost: vtep\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    socket.write_all(text.as_bytes()).expect("ask the API");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    let status = head.split(' ').nth(1).expect("a status");
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
        unchunked(body)
    } else {
        body.to_owned()
    };
    (status.parse().expect("a number"), body)
}

fn unchunked(mut text: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        whole += &rest[..size];
        text = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

/// A number for the name of a test run: `VTEP_SEED` repeats one.
fn seed() -> u64 {
    let given = std::env::var("VTEP_SEED");
    given.map_or(0x7e9, |seed| seed.parse().expect("a number"))
}

#[test]
fn every_answer_is_as_the_document_has_it_and_what_makes_no_sense_is_refused() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let mut document = document(&wire);
    let mut dice = Dice::new(seed());
    let operations: Vec<Operation> = document
        .operations()
        .into_iter()
        .filter(|operation| !LEFT_OUT.contains(&&*operation.path))
        .collect();
    assert!(operations.len() > 35, "{}", operations.len());

    let mut seen: BTreeMap<(bool, u16), usize> = BTreeMap::new();
    for nth in 0..EACH {
        for operation in &operations {
            let request = document.request(operation, &mut dice, nth % 2 == 0);
            let (status, body) = ask(&wire, &operation.method, &request);
            let at = || {
                format!(
                    "{} {} {}: {status} {body}",
                    operation.method, request.target, request.body
                )
            };
            if let Err(wrong) = document.check(operation, status, &body) {
                panic!("{wrong}: {}", at());
            }
            assert_ne!(status, 500, "{}", at());
            // A batch that goes on names the lines that it refuses.
            let named = status == 200 && body.contains("\"refused\":[1]");
            if !request.valid && !named {
                assert!([400, 404].contains(&status), "{}", at());
            }
            *seen.entry((request.valid, status)).or_default() += 1;
        }
        if nth % 10 == 0 {
            restore(&wire);
        }
    }
    let count = |valid, status| seen.get(&(valid, status)).copied().unwrap_or_default();
    // It was not all refused, and not all taken.
    for (valid, status, least) in [
        (true, 200, 250),
        (true, 204, 30),
        (true, 404, 50),
        (false, 400, 300),
    ] {
        assert!(count(valid, status) > least, "{valid} {status}: {seen:?}");
    }
}

/// Requests may have taken the VNI and the port away.
fn restore(wire: &Wire) {
    for vni in [0, 1, 2] {
        drop(wire.daemon.vtep(&format!("vni add {vni}")));
    }
    drop(wire.daemon.vtep("port add vm0 --vni 1"));
}

#[test]
fn a_client_made_of_the_document_sets_up_a_segment() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let mut client = Client::new(&wire);
    let [mac, dst] = ["02:00:00:00:00:77", "198.18.0.77"];
    let entry = json!({"vni": 7, "mac": mac, "dst": dst});

    for (name, given) in [
        ("vni_add", json!({"vni": 7, "max_macs": 100})),
        ("vni_set", json!({"vni": 7, "suppress": true})),
        (
            "fdb_append",
            json!({"vni": 7, "mac": "00:00:00:00:00:00", "dst": dst}),
        ),
        ("fdb_add", entry.clone()),
    ] {
        assert_eq!(client.call(name, &given), Ok(json!(null)), "{name}");
    }

    let vnis = client.rows("vni_get", &json!({"vni": 7}));
    let set = [&vnis[0]["suppress"], &vnis[0]["max_macs"]];
    assert_eq!(set, [&json!(true), &json!(100)]);
    let rows = client.rows("fdb_list", &json!({"vni": 7, "dst": dst}));
    assert!(rows.iter().any(|row| row["mac"] == mac), "{rows:?}");
    let peers = client.rows("peer_list", &json!({}));
    assert!(peers.iter().any(|row| row["ip"] == dst), "{peers:?}");

    // What the daemon refuses.
    let again = client.call("vni_add", &json!({"vni": 7}));
    assert!(matches!(again, Err(Failure::Refused(409, _))), "{again:?}");
    // What the client refuses, since the document does not have it.
    for (name, given) in [
        ("vni_paint", json!({"vni": 7})),
        ("vni_add", json!({"vni": 8, "colour": "red"})),
        ("vni_add", json!({})),
        ("vni_get", json!({"vni": 7, "colour": "red"})),
    ] {
        let refused = client.call(name, &given);
        assert!(matches!(refused, Err(Failure::Unknown(_))), "{refused:?}");
    }

    assert_eq!(client.call("fdb_del", &entry), Ok(json!(null)));
    let whole = json!({"vni": 7, "force": true});
    assert_eq!(client.call("vni_del", &whole), Ok(json!(null)));
    let gone = client.call("vni_get", &json!({"vni": 7}));
    assert!(matches!(gone, Err(Failure::Refused(404, _))), "{gone:?}");
}

#[test]
fn what_is_no_operation_is_answered_in_json_too() {
    need_root!();
    let wire = Wire::new(Family::V4);
    for (method, target, body, wanted) in [
        ("GET", "/", "", 404),
        ("GET", "/v1", "", 404),
        ("GET", "/v1/vnis/", "", 404),
        ("GET", "/v1/vnis/1/2/3", "", 404),
        ("PUT", "/v1/status", "", 405),
        ("OPTIONS", "/v1/vnis", "", 405),
        ("BREW", "/v1/vnis", "", 405),
        ("GET", "/v1/ports/%ff", "", 400),
        ("GET", "/v1/fdb?vni=1&vni=2", "", 400),
        ("POST", "/v1/vnis/9", "", 400),
        ("POST", "/v1/vnis/9", "{\"mode\":\"l2\"", 400),
        ("POST", "/v1/batch", "\u{0}", 400),
    ] {
        let request = Request {
            target: target.to_owned(),
            body: body.to_owned(),
            valid: false,
        };
        let (status, answer) = ask(&wire, method, &request);
        assert_eq!(status, wanted, "{method} {target}: {answer}");
        let error: serde_json::Value = serde_json::from_str(&answer)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}: {answer}"));
        assert!(error["error"].is_string(), "{method} {target}: {answer}");
    }
}
