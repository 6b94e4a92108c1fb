//! `vtep status`, exit statuses, and how long a command waits for the daemon.

use std::time::{Duration, Instant};

use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::refusal::{assert_refused, text};
use vtep_tests::lab::UPLINK;
use vtep_tests::lab::ns::{self, Ns};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::Wire;
use vtep_tests::need_root;

#[test]
fn the_status_says_what_the_daemon_is_and_what_there_is_room_for() {
    need_root!();
    let wire = Wire::with(Family::V4, "", &["--uplink-hook", "tc"]);

    let [status] = &*wire.daemon.rows("status") else {
        panic!("one row for one daemon");
    };

    assert_eq!(status["instance"], wire.daemon.instance());
    assert_eq!(status["pid"], wire.daemon.pid());
    let uplink = &status["uplinks"][0];
    assert_eq!(uplink["dev"], UPLINK);
    assert_eq!(
        (&uplink["hook"], &uplink["why"]),
        (&"tc".into(), &"it was requested".into())
    );
    assert_eq!(status["locals"], serde_json::json!(["198.18.0.1"]));
    assert_eq!(status["device"], "vtep4789");
    assert_eq!((&status["vnis"], &status["ports"]), (&1.into(), &1.into()));
    let limits = status["limits"].as_array().unwrap();
    let limit = |name| limits.iter().find(|limit| limit["limit"] == name).unwrap();
    assert_eq!(limit("vnis")["used"], 1);
    assert_eq!(limit("vnis")["max"], 16_384);
    assert_eq!(limit("fdb")["max"], 262_144);

    let shown = wire.daemon.ok("status");
    for needle in [
        wire.daemon.instance(),
        "tc, because it was requested",
        "198.18.0.1",
        "1 of 16384",
    ] {
        assert!(shown.contains(needle), "{needle}: {shown}");
    }
}

#[test]
fn without_a_daemon_every_command_ends_with_status_3() {
    need_root!();
    let ns = Ns::new("nobody");
    let nobody = Daemon::named(&ns, &ns::unique("i"), &[]);
    for command in [
        "status",
        "vni show -j",
        "vni add 1",
        "fdb show",
        "batch",
        "monitor",
        "drops",
    ] {
        let needles = ["no vtep daemon", "vtep run"];
        assert_refused(&nobody.vtep(command), 3, &needles, command);
    }
    // There is nothing to remove, which is another thing.
    let out = nobody.vtep("teardown");
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stderr));
}

#[test]
fn a_command_waits_no_longer_than_it_is_told() {
    need_root!();
    let wire = Wire::new(Family::V4);
    wire.daemon.signal(libc::SIGSTOP);

    for command in ["status", "vni add 2", "fdb show -j", "teardown"] {
        let start = Instant::now();
        let out = wire.daemon.vtep(&format!("{command} --timeout 1"));
        let took = start.elapsed();
        let needles = ["did not answer within 1 second", "--timeout"];
        assert_refused(&out, 1, &needles, command);
        assert!(took < Duration::from_secs(5), "{command}: {took:?}");
    }

    // What nobody waits for any more is not done.
    wire.daemon.signal(libc::SIGCONT);
    assert_eq!(wire.daemon.rows("vni show").len(), 1);
}
