//! VTEPs that are heard, and those that are sent to and say nothing.

use serde_json::Value;
use vtep_tests::encoder::Mac;
use vtep_tests::lab::GREEN;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, VM, Wire};
use vtep_tests::need_root;
use vtep_tests::traffic::checks::marked;
use vtep_tests::wait::until_true;

fn peer(wire: &Wire) -> Value {
    let mut rows = wire.daemon.rows(&format!("peer show {}", wire.far_ip));
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

#[test]
fn a_vtep_that_is_sent_to_and_says_nothing_is_silent_until_it_is_heard() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let row = peer(&wire);
    assert_eq!(
        (&row["state"], &row["last_heard_s"]),
        (&"resolved".into(), &Value::Null)
    );

    until_true("the VTEP to count as silent", || {
        wire.encap(&marked(VM, FAR_VM, 1).build());
        peer(&wire)["state"] == "silent"
    });
    assert_eq!(peer(&wire)["last_heard_s"], Value::Null);
    assert!(!peer(&wire)["mac"].is_null(), "it is resolved all the same");
    let answer = marked(FAR_VM, VM, 2).build();
    wire.delivers(&wire.tunnelled(GREEN, &answer), &answer);
    let row = peer(&wire);
    assert_eq!(row["state"], "resolved");
    assert!(row["last_heard_s"].as_u64().is_some_and(|s| s < 5), "{row}");
}

#[test]
fn what_an_earlier_daemon_heard_is_not_what_this_one_heard() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let frame = marked(FAR_VM, VM, 1).build();
    wire.delivers(&wire.tunnelled(GREEN, &frame), &frame);
    until_true("the VTEP to be heard", || {
        !peer(&wire)["last_heard_s"].is_null()
    });

    wire.daemon.kill();
    wire.daemon.run();

    assert_eq!(peer(&wire)["last_heard_s"], Value::Null);
    let other = marked(FAR_VM, Mac::BROADCAST, 2).build();
    wire.delivers(&wire.tunnelled(GREEN, &other), &other);
    assert!(!peer(&wire)["last_heard_s"].is_null());
}
