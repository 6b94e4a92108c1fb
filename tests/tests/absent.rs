//! Ports whose interfaces go and come: what becomes of frames for them, also where no daemon runs meanwhile.

use std::time::{Duration, Instant};

use serde_json::Value;
use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::binary;
use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::encoder::Mac;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::lab::GREEN;
use vtep_tests::lab::ns::{Ns, with_input};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
use vtep_tests::link::Link as _;
use vtep_tests::link::tap::Tap;
use vtep_tests::need_root;
use vtep_tests::wait::until_true;

/// What the contract gives a port whose interface comes back.
const BACK_WITHIN: Duration = Duration::from_millis(50);
/// A VM beside the one whose port goes.
const OTHER: Mac = Mac::nth(0x0c);

fn state(daemon: &Daemon, dev: &str) -> Value {
    let rows = daemon.rows(&format!("port show {dev}"));
    rows.first().map_or(Value::Null, |row| row["state"].clone())
}

fn goes(wire: &Wire) {
    wire.ns.ip(&format!("link del {PORT}"));
    until_true("the port to wait", || state(&wire.daemon, PORT) == "absent");
}

/// What `vtep dump --pins` prints.
fn pinned(wire: &Wire) -> String {
    let mut command = wire.ns.command(binary::vtep());
    command.args(["dump", "--pins", "--instance", wire.daemon.instance()]);
    let out = with_input(&mut command, "");
    String::from_utf8(out.stdout).unwrap()
}

/// Makes an interface with a number of one that is gone.
fn make(ns: &Ns, name: &str, ifindex: u32) {
    ns.ip(&format!(
        "link add name {name} index {ifindex} type veth peer name {name}p\nlink set {name} up"
    ));
}

/// The packets of each reason that frames for the port can end with.
fn counted(daemon: &Daemon) -> [u64; 3] {
    let rows = daemon.rows("stats");
    ["port_absent", "flooded", "flooded_locally"].map(|reason| {
        let rows = rows.iter().filter(|row| row["reason"] == reason);
        rows.map(|row| row["packets"].as_u64().unwrap()).sum()
    })
}

#[test]
fn frames_for_a_port_that_waits_are_dropped_and_not_flooded_whether_a_daemon_runs_or_not() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let other = wire.add_port("vm1", "");
    let from_vtep = wire.tunnelled(GREEN, &udp4(FAR_VM, VM).build());
    let from_other = udp4(OTHER, VM).build();
    goes(&wire);
    assert!(wire.daemon.fdb(GREEN, VM).is_some(), "its MAC is known");
    let before = counted(&wire.daemon);

    wire.uplink.send(&from_vtep);
    other.send(&from_other);
    wire.daemon.expect_dropped("port_absent", before[0] + 2);

    wire.daemon.kill();
    wire.uplink.send(&from_vtep);
    other.send(&from_other);
    // What comes after them has gone through: so have they.
    let fence = udp4(OTHER, FAR_VM).build();
    other.send(&fence);
    wire.uplink
        .wait_for("the fence", |frame| frame.ends_with(&fence));
    let inner = udp4(FAR_VM, OTHER).build();
    wire.uplink.send(&wire.tunnelled(GREEN, &inner));
    other.wait_for("the fence", |frame| frame == inner);
    wire.daemon.run();

    let after = counted(&wire.daemon);
    assert_eq!(after[0], before[0] + 4);
    assert_eq!(after[1..], before[1..], "a frame for the port was flooded");
    assert_eq!(other.recv(Duration::ZERO), None);
    assert_eq!(state(&wire.daemon, PORT), "absent");
}

#[test]
fn a_port_is_back_in_time() {
    need_root!();
    let mut wire = Wire::new(Family::V4);
    let spare = wire.tap("spare0");
    let mut taps = vec![std::mem::replace(&mut wire.port, spare)];
    let monitor = Monitor::start(&wire.daemon, GREEN, "198.18.0.99".parse().unwrap());
    let inner = udp4(FAR_VM, VM).build();
    let frame = wire.tunnelled(GREEN, &inner);
    let mut said = Vec::new();
    let mut forwards = Vec::new();
    for _ in 0..5 {
        // With the file of a tap goes the tap.
        drop(taps.pop());
        until_true("the port to wait", || state(&wire.daemon, PORT) == "absent");
        monitor.clear();
        // Making it takes its time too.
        let made = Instant::now();
        let tap = Tap::new(&wire.ns, PORT);
        until_true("a frame", || {
            wire.uplink.send(&frame);
            tap.collect(Duration::from_millis(1), |seen| seen.contains(&inner))
                .contains(&inner)
        });
        forwards.push(made.elapsed());
        let (at, _) = monitor.wait_for("port_up", |row| {
            row["event"] == "port_up" && row["dev"] == PORT
        });
        said.push(at.saturating_duration_since(made));
        taps.push(tap);
    }
    println!("port_up after {said:?}, forwarding after {forwards:?}");
    // Others may have the processors now and then, but not five times.
    for times in [said, forwards] {
        let best = times.iter().min().unwrap();
        assert!(*best <= BACK_WITHIN, "{times:?}");
    }
}

#[test]
fn an_interface_that_came_back_without_a_daemon_is_the_port_whatever_its_number_and_whoever_has_the_old_one()
 {
    need_root!();
    let mut wire = Wire::new(Family::V4);
    let number = wire.ns.ifindex(PORT);
    // Once it goes before the daemon does, once after.
    for daemon_saw_it in [true, false] {
        if daemon_saw_it {
            goes(&wire);
            wire.daemon.kill();
        } else {
            wire.daemon.kill();
            wire.ns.ip(&format!("link del {PORT}"));
        }
        let stranger = if daemon_saw_it { "mgmt0" } else { "mgmt1" };
        if daemon_saw_it {
            make(&wire.ns, stranger, number);
        }
        wire.port = wire.tap(PORT);
        assert_ne!(wire.ns.ifindex(PORT), number);

        wire.daemon.run();

        let row = wire.daemon.rows(&format!("port show {PORT}")).remove(0);
        assert_eq!(row["ifindex"], wire.ns.ifindex(PORT), "{row}");
        assert!(wire.daemon.fdb(GREEN, VM).is_some());
        let inner = udp4(FAR_VM, VM).build();
        wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
        wire.encap(&udp4(VM, FAR_VM).build());
    }
}

#[test]
fn a_port_that_a_command_has_wait_outlives_the_daemon() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let mac = Mac::nth(0x1a);
    wire.daemon.ok(&format!(
        "port add late0 --vni {GREEN} --wait --mac {mac} --max-macs 3 --isolated on"
    ));
    let dump = wire.daemon.ok("dump");
    for _ in 0..2 {
        wire.daemon.kill();
        assert!(pinned(&wire).contains("port add late0 --vni 100"));
        wire.daemon.run();
        assert_eq!(wire.daemon.ok("dump"), dump);
        assert_eq!(state(&wire.daemon, "late0"), "absent");
    }

    let late = wire.tap("late0");

    until_true("the port", || state(&wire.daemon, "late0") == "attached");
    let inner = udp4(FAR_VM, mac).build();
    wire.uplink.send(&wire.tunnelled(GREEN, &inner));
    late.expect(&inner);
}
