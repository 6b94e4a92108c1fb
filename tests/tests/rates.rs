//! How much a port may send and get.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::GREEN;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
use vtep_tests::link::Link as _;
use vtep_tests::need_root;
use vtep_tests::traffic::checks::marked;
use vtep_tests::wait;

/// A MAC behind a second port.
const NEIGHBOUR: Mac = Mac::nth(0x21);

/// Frames counted at the port hook for a reason.
fn counted(wire: &Wire, reason: &str) -> u64 {
    let rows = wire.daemon.rows("stats");
    let of_reason = rows.iter().filter(|row| row["reason"] == reason);
    of_reason.filter_map(|row| row["packets"].as_u64()).sum()
}

/// A hypervisor that floods to a VTEP.
fn flooding() -> Wire {
    let wire = Wire::new(Family::V4);
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));
    wire
}

/// Sends broadcasts for so long, a hundred at a time, and as many as are dealt with. Returns how many passed, how many were above the rate,
/// and within which time the first and the last were sent.
fn broadcasts(wire: &Wire, time: Duration) -> (u64, u64, Duration) {
    let count = || [counted(wire, "flooded"), counted(wire, "bum_rate")];
    let before = count();
    let start = Instant::now();
    let mut sent = 0;
    loop {
        for mark in 0..100 {
            wire.port.send(&marked(VM, Mac::BROADCAST, mark).build());
        }
        sent += 100;
        let [passed, dropped] = wait::until("the frames to be counted", || {
            let now = count();
            let more = [now[0] - before[0], now[1] - before[1]];
            (more[0] + more[1] >= sent).then_some(more)
        });
        assert_eq!(passed + dropped, sent, "each is counted once");
        wire.uplink.drain();
        if start.elapsed() >= time {
            return (passed, dropped, start.elapsed());
        }
    }
}

#[test]
fn floods_above_the_rate_of_a_port_are_dropped() {
    need_root!();
    let wire = flooding();
    let row = |dev: &str| wire.daemon.rows(&format!("port show {dev}"))[0]["bum_rate"].clone();
    assert_eq!(row(PORT), 1_000, "what a port has by default");
    wire.daemon.ok(&format!("port set {PORT} --bum-rate 200"));
    assert_eq!(row(PORT), 200);

    let (passed, dropped, time) = broadcasts(&wire, Duration::from_secs(2));
    // The bucket holds those of a second; the clock may be two ticks off.
    let within = 200 * (time.as_millis() + 1_020) / 1_000 + 1;
    assert!(dropped > 0, "all {passed} passed");
    assert!(
        passed >= 400,
        "{passed} in {time:?}, of {}",
        passed + dropped
    );
    assert!(u128::from(passed) <= within, "{passed} in {time:?}");

    // None is left; but what goes to one place passes, and so do answers, and others' floods.
    let unicast = marked(VM, FAR_VM, 1).build();
    assert!(wire.encap(&unicast).ends_with(&unicast));
    let neighbour = wire.add_port("tap1", &format!("--mac {NEIGHBOUR} --bum-rate 10"));
    wire.port.drain();
    let others = marked(NEIGHBOUR, Mac::BROADCAST, 2).build();
    neighbour.send(&others);
    wire.port.expect(&others);
    wire.daemon.ok(&format!("vni set {GREEN} --suppress on"));
    let (asker, host) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    wire.daemon
        .ok(&format!("neigh add {host} --vni {GREEN} --lladdr {FAR_VM}"));
    let before = counted(&wire, "answered");
    for _ in 0..500 {
        wire.port.send(
            &eth(VM, Mac::BROADCAST)
                .arp_request((VM, asker), host)
                .build(),
        );
    }
    wait::until_true("the requests to be answered", || {
        counted(&wire, "answered") == before + 500
    });

    wire.daemon.ok(&format!("port set {PORT} --bum-rate off"));
    assert!(row(PORT).is_null());
    let (passed, dropped, _) = broadcasts(&wire, Duration::from_secs(1));
    assert_eq!((passed % 100, dropped), (0, 0));
}

#[test]
fn rates_outlive_the_daemon() {
    need_root!();
    let wire = flooding();
    wire.daemon.ok(&format!("port set {PORT} --bum-rate 100"));
    let _other = wire.add_port("tap1", "--bum-rate off");
    let (_, dropped, _) = broadcasts(&wire, Duration::ZERO);
    assert_eq!(dropped, 0, "the bucket held as many");

    wire.daemon.kill();
    wire.daemon.run();
    let rows = wire.daemon.rows("port show");
    let rate = |dev: &str| {
        let row = rows.iter().find(|row| row["dev"] == dev);
        row.map(|row| row["bum_rate"].clone())
    };
    assert_eq!(rate(PORT), Some(100.into()));
    assert_eq!(rate("tap1"), Some(serde_json::Value::Null));
    let (passed, dropped, time) = broadcasts(&wire, Duration::from_secs(1));
    assert!(dropped > 0, "all {passed} passed in {time:?}");
}
