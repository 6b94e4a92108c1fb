//! How much a port may send and get.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::Value;
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

    wire.daemon.ok(&format!(
        "port set {PORT} --rate-in 1gbit --rate-out 500kbit"
    ));
    wire.daemon.kill();
    wire.daemon.run();
    let rows = wire.daemon.rows("port show");
    let rate = |dev: &str| {
        let row = rows.iter().find(|row| row["dev"] == dev);
        row.map(|row| row["bum_rate"].clone())
    };
    assert_eq!(rate(PORT), Some(100.into()));
    let row = rows.iter().find(|row| row["dev"] == PORT).expect("a row");
    assert_eq!(row["rate_in"], 1_000_000_000);
    assert_eq!(row["rate_out"], 500_000);
    wire.daemon
        .ok(&format!("port set {PORT} --rate-in off --rate-out off"));
    assert_eq!(rate("tap1"), Some(Value::Null));
    let (passed, dropped, time) = broadcasts(&wire, Duration::from_secs(1));
    assert!(dropped > 0, "all {passed} passed in {time:?}");
}

/// A frame of 1,000 bytes, marked.
fn large(from: Mac, to: Mac, mark: u32) -> Vec<u8> {
    let mut frame = marked(from, to, mark).build();
    frame.resize(1_000, 0x5a);
    frame
}

/// Sends frames of 1,000 bytes for so long, and as many as are dealt with. Insists that those pass that a rate of so many bits a second lets
/// through: `passed` and `dropped` are the reasons that they end with.
fn keeps_to(wire: &Wire, rate: u128, send: impl Fn(u32), [passed, dropped]: [&str; 2]) {
    // What the bucket holds, and how long that lasts.
    const BUCKET: u128 = 8 << 16;
    let lasts = Duration::from_micros(u64::try_from(BUCKET * 1_000_000 / rate).expect("short"));
    let count = || [counted(wire, passed), counted(wire, dropped)];
    let before = count();
    let start = Instant::now();
    // A full bucket fills no further.
    let (mut round, mut unused) = (start, Duration::ZERO);
    let mut total = 0;
    let (through, above) = loop {
        for mark in 0..100 {
            send(mark);
        }
        total += 100;
        let [through, above] = wait::until("the frames to be counted", || {
            let now = count();
            let more = [now[0] - before[0], now[1] - before[1]];
            (more[0] + more[1] >= total).then_some(more)
        });
        assert_eq!(through + above, total, "each is counted once");
        wire.uplink.drain();
        wire.port.drain();
        unused += round.elapsed().saturating_sub(lasts);
        round = Instant::now();
        if start.elapsed() >= Duration::from_secs(2) {
            break (through, above);
        }
    };
    let time = start.elapsed();
    let bits = u128::from(through) * 8_000;
    // The clock may be two ticks off.
    let most = rate * (time.as_millis() + 20) / 1_000 + BUCKET;
    let fewest = rate * time.saturating_sub(unused).as_millis() / 1_000 * 95 / 100;
    assert!(above > 0, "all {through} passed");
    assert!(
        (fewest..=most).contains(&bits),
        "{bits} bits in {time:?}, not {fewest} to {most}"
    );
}

#[test]
fn what_comes_from_a_port_keeps_to_its_rate() {
    need_root!();
    let wire = Wire::new(Family::V4);
    wire.daemon.ok(&format!("port set {PORT} --rate-in 8mbit"));
    let row = &wire.daemon.rows(&format!("port show {PORT}"))[0];
    assert_eq!(
        (&row["rate_in"], &row["rate_out"]),
        (&8_000_000.into(), &Value::Null)
    );
    let send = |mark| wire.port.send(&large(VM, FAR_VM, mark));
    keeps_to(&wire, 8_000_000, send, ["encapsulated", "rate"]);

    wire.daemon.ok(&format!("port set {PORT} --rate-in off"));
    let before = counted(&wire, "rate");
    for mark in 0..1_000 {
        wire.encap(&large(VM, FAR_VM, mark));
    }
    assert_eq!(counted(&wire, "rate"), before);
}

#[test]
fn what_goes_to_a_port_keeps_to_its_rate() {
    need_root!();
    for family in [Family::V4, Family::V6] {
        let wire = Wire::new(family);
        wire.daemon.ok(&format!("port set {PORT} --rate-out 6mbit"));
        let send = |mark| {
            let inner = large(FAR_VM, VM, mark);
            wire.uplink.send(&wire.tunnelled(GREEN, &inner));
        };
        keeps_to(&wire, 6_000_000, send, ["decapsulated", "rate"]);
    }
}

/// Sends what a bucket holds, and insists that no more passes: a rate of 1 kbit/s leaves nothing for 8 seconds.
fn use_up(wire: &Wire, send: impl Fn(u32)) {
    let before = counted(wire, "rate");
    for mark in 0..70 {
        send(mark);
    }
    wait::until_true("the bucket to be used up", || {
        counted(wire, "rate") > before
    });
}

#[test]
fn no_way_to_a_port_leads_round_its_rate() {
    need_root!();
    let wire = flooding();
    let neighbour = wire.add_port("tap1", &format!("--mac {NEIGHBOUR}"));
    wire.daemon.ok(&format!("port set {PORT} --rate-out 1kbit"));
    let from_vtep = |to, mark| {
        let inner = large(FAR_VM, to, mark);
        wire.uplink.send(&wire.tunnelled(GREEN, &inner));
    };
    use_up(&wire, |mark| from_vtep(VM, mark));
    wire.port.drain();

    let is_held = |way: &str, send: &dyn Fn(u32)| {
        let before = counted(&wire, "rate");
        (0..5).for_each(send);
        wait::until_true(way, || counted(&wire, "rate") == before + 5);
        assert_eq!(wire.port.recv(Duration::ZERO), None, "{way}");
    };
    is_held("unicast from a VTEP", &|mark| from_vtep(VM, mark));
    is_held("a flood from a VTEP", &|mark| {
        from_vtep(Mac::BROADCAST, mark);
    });
    is_held("unicast from a port", &|mark| {
        neighbour.send(&large(NEIGHBOUR, VM, mark));
    });
    is_held("a flood from a port", &|mark| {
        neighbour.send(&large(NEIGHBOUR, Mac::BROADCAST, mark));
    });
    // Other ports and VTEPs get their copies.
    assert!(!wire.left().is_empty(), "no copy for the VTEP");
    let last = large(FAR_VM, Mac::BROADCAST, 77);
    wire.uplink.send(&wire.tunnelled(GREEN, &last));
    neighbour.wait_for("the copy for another port", |frame| frame == last);
}

#[test]
fn no_way_from_a_port_leads_round_its_rate() {
    need_root!();
    for hook in ["tc", "xdp"] {
        let wire = flooding();
        let args = format!("--mac {NEIGHBOUR} --hook {hook} --rate-in 1kbit");
        let guest = wire.add_port("tap1", &args);
        use_up(&wire, |mark| guest.send(&large(NEIGHBOUR, FAR_VM, mark)));
        let at = if hook == "xdp" { "port_xdp" } else { "port" };
        let rows = wire.daemon.rows("drops");
        let dropped = rows.iter().find(|row| row["reason"] == "rate");
        assert_eq!(dropped.map(|row| &row["hook"]), Some(&at.into()));
        wire.port.drain();
        for to in [FAR_VM, VM, Mac::BROADCAST] {
            let before = counted(&wire, "rate");
            (0..5).for_each(|mark| guest.send(&large(NEIGHBOUR, to, mark)));
            wait::until_true("the frames to be dropped", || {
                counted(&wire, "rate") == before + 5
            });
        }
        assert_eq!(wire.port.recv(Duration::ZERO), None);
        // Another port's bucket is its own.
        let other = large(VM, FAR_VM, 9);
        assert!(wire.encap(&other).ends_with(&other));
    }
}
