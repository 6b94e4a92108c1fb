//! No more MACs are learned than a VNI, a port or the FDB may hold.

use serde_json::Value;
use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::GREEN;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
use vtep_tests::link::Link as _;
use vtep_tests::over_each_family;
use vtep_tests::wait::until_true;

over_each_family! {
    a_vni_learns_no_more_macs_than_it_may,
    a_port_learns_no_more_macs_than_it_may,
    a_full_fdb_learns_no_more,
    a_full_port_takes_no_mac_away,
}

/// The VM's port says that MAC number `last` is behind it.
fn near(wire: &Wire, last: u8) {
    let frame = eth(Mac::nth(last), VM).ethertype(0x88b6).payload(1, 46);
    wire.port.send(&frame.build());
}

/// The far VTEP says so.
fn far(wire: &Wire, last: u8) {
    let frame = eth(Mac::nth(last), VM).ethertype(0x88b6).payload(1, 46);
    wire.uplink.send(&wire.tunnelled(GREEN, &frame.build()));
}

#[track_caller]
fn learned(wire: &Wire, last: u8) {
    until_true(&format!("MAC {last:#x} to be learned"), || {
        wire.daemon.fdb(GREEN, Mac::nth(last)).is_some()
    });
}

fn monitor(wire: &Wire) -> Monitor {
    Monitor::start(&wire.daemon, GREEN, wire.family.address(0, 250))
}

/// Waits for the event of a limit; returns the row.
#[track_caller]
fn limited(monitor: &Monitor) -> Value {
    monitor.wait_for("a limit", |row| row["event"] == "limit").1
}

fn a_vni_learns_no_more_macs_than_it_may(family: Family) {
    // Two are static.
    let wire = Wire::with(family, "--max-macs 6", &[]);
    let monitor = monitor(&wire);
    for last in [0x31, 0x32] {
        near(&wire, last);
        far(&wire, last + 0x10);
        learned(&wire, last);
        learned(&wire, last + 0x10);
    }
    assert_eq!(monitor.count(|row| row["event"] == "limit"), 0);
    let full = wire.daemon.table("fdb");

    near(&wire, 0x33);
    far(&wire, 0x43);

    let row = limited(&monitor);
    assert_eq!(row["vni"], GREEN, "{row}");
    assert_eq!(wire.daemon.table("fdb"), full);
    // What is there is served, and more may be learned when it goes.
    wire.encap(
        &eth(Mac::nth(0x31), FAR_VM)
            .ethertype(0x88b6)
            .payload(9, 46)
            .build(),
    );
    wire.daemon
        .ok(&format!("fdb del {} --vni {GREEN}", Mac::nth(0x31)));
    until_true("the next MAC to be learned", || {
        near(&wire, 0x33);
        wire.daemon.fdb(GREEN, Mac::nth(0x33)).is_some()
    });
    wire.daemon.ok(&format!("vni set {GREEN} --max-macs 7"));
    until_true("one more MAC to be learned", || {
        far(&wire, 0x43);
        wire.daemon.fdb(GREEN, Mac::nth(0x43)).is_some()
    });
}

fn a_port_learns_no_more_macs_than_it_may(family: Family) {
    let wire = Wire::new(family);
    // One is static.
    wire.daemon.ok(&format!("port set {PORT} --max-macs 3"));
    let monitor = monitor(&wire);
    for last in [0x31, 0x32] {
        near(&wire, last);
        learned(&wire, last);
    }

    for last in 0x33..0x3f {
        near(&wire, last);
    }
    far(&wire, 0x41);

    learned(&wire, 0x41);
    let row = limited(&monitor);
    assert_eq!(row["dev"], PORT, "{row}");
    let rows = wire
        .daemon
        .rows(&format!("fdb show --vni {GREEN} --dev {PORT}"));
    assert_eq!(rows.len(), 3, "{rows:?}");
    // A dozen in one second are one event.
    assert_eq!(monitor.count(|row| row["event"] == "limit"), 1);
}

fn a_full_fdb_learns_no_more(family: Family) {
    let wire = Wire::with(family, "", &["--fdb-max", "8"]);
    let monitor = monitor(&wire);
    // Two are static.
    for last in 0x31..0x37 {
        near(&wire, last);
        learned(&wire, last);
    }

    near(&wire, 0x37);
    far(&wire, 0x41);

    let row = limited(&monitor);
    assert!(
        row["why"].as_str().is_some_and(|why| !why.is_empty()),
        "{row}"
    );
    assert_eq!(wire.daemon.fdb_len(), 8);
    wire.encap(
        &eth(Mac::nth(0x31), FAR_VM)
            .ethertype(0x88b6)
            .payload(9, 46)
            .build(),
    );
}

fn a_full_port_takes_no_mac_away(family: Family) {
    let wire = Wire::new(family);
    wire.daemon.ok(&format!("port set {PORT} --max-macs 1"));
    let monitor = monitor(&wire);
    far(&wire, 0x41);
    learned(&wire, 0x41);
    let before = wire
        .daemon
        .fdb(GREEN, Mac::nth(0x41))
        .map(|row| row["dst"].clone());

    near(&wire, 0x41);

    let row = limited(&monitor);
    assert_eq!(row["mac"], Mac::nth(0x41).to_string().as_str(), "{row}");
    let after = wire
        .daemon
        .fdb(GREEN, Mac::nth(0x41))
        .map(|row| row["dst"].clone());
    assert_eq!(after, before);
    assert_eq!(after, Some(Value::from(wire.far_ip.to_string())));
}
