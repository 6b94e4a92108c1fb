//! No more MACs are learned than a VNI, a port or the FDB may hold, and whoever fills a table leaves room for others.

use std::net::IpAddr;

use serde_json::Value;
use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::GREEN;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_MAC, FAR_VM, PORT, VM, Wire};
use vtep_tests::link::Link as _;
use vtep_tests::over_each_family;
use vtep_tests::wait::until_true;

over_each_family! {
    a_vni_learns_no_more_macs_than_it_may,
    a_port_learns_no_more_macs_than_it_may,
    a_full_fdb_learns_no_more,
    a_full_port_takes_no_mac_away,
    one_vm_leaves_room_in_the_fdb,
    few_vteps_that_nobody_named_are_learned_from,
    a_next_hop_is_kept_only_for_a_vtep_that_is_named,
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

/// How much of a limit is used, and how much fits.
fn limit(wire: &Wire, name: &str) -> (Option<u64>, u64) {
    let status = wire.daemon.status();
    let limits = status["limits"].as_array().expect("limits");
    let mut limits = limits.iter().filter(|row| row["limit"] == name);
    let row = limits.next().expect("a limit of that name");
    (row["used"].as_u64(), row["max"].as_u64().expect("a number"))
}

fn one_vm_leaves_room_in_the_fdb(family: Family) {
    let wire = Wire::with(family, "", &["--fdb-max", "320"]);
    let monitor = monitor(&wire);
    wire.daemon.ok("vni add 200");

    for number in 0..400_u16 {
        let [high, low] = number.to_be_bytes();
        let frame = eth(Mac([2, 0xcc, 0, 0, high, low]), VM).ethertype(0x88b6);
        wire.port.send(&frame.payload(1, 46).build());
    }

    let row = limited(&monitor);
    assert_eq!(row["vni"], GREEN, "{row}");
    let (learned, most) = limit(&wire, "fdb_learned");
    assert!(
        learned.is_some_and(|learned| learned < most),
        "{learned:?} of {most}"
    );
    // Another tenant, and the operator.
    let other = wire.tap("vm1");
    wire.daemon
        .ok(&format!("port add vm1 --vni 200 --mac {}", Mac::nth(0x51)));
    let guest = Mac::nth(0x52);
    other.send(
        &eth(guest, Mac::BROADCAST)
            .ethertype(0x88b6)
            .payload(1, 46)
            .build(),
    );
    until_true("another tenant's MAC to be learned", || {
        wire.daemon.fdb(200, guest).is_some()
    });
}

/// A packet in [`GREEN`] from the VTEP `source`, with a MAC of its own.
fn from_vtep(wire: &Wire, source: IpAddr, mac: Mac) -> Vec<u8> {
    let outer = eth(FAR_MAC, wire.mac).ip(source, wire.ip);
    let outer = match wire.family {
        Family::V4 => outer.udp_unchecked(50000, 4789),
        Family::V6 => outer.udp(50000, 4789),
    };
    let inner = eth(mac, VM).ethertype(0x88b6).payload(1, 46).build();
    outer.vxlan(GREEN).bytes(&inner).build()
}

/// What the kernel says of its neighbours on the uplink.
fn neighbours(wire: &Wire, what: &str) -> String {
    let mut command = wire.ns.command("ip");
    let output = command
        .args(["neigh", "show"])
        .args(what.split_whitespace());
    let output = output.output().expect("ip runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn few_vteps_that_nobody_named_are_learned_from(family: Family) {
    let wire = Wire::without_peer(family, "--sources any", &[]);
    let (_, most) = limit(&wire, "peers_learned");

    for number in 0..u16::try_from(most).expect("few") + 40 {
        let [high, low] = number.to_be_bytes();
        let source = match family {
            Family::V4 => IpAddr::from([198, 19, high, low.max(1)]),
            Family::V6 => format!("2001:db8:99::{:x}", number + 1)
                .parse()
                .expect("an address"),
        };
        wire.uplink
            .send(&from_vtep(&wire, source, Mac([2, 0xcc, 0, 0, high, low])));
    }

    until_true("as many to be learned from as may be", || {
        limit(&wire, "peers_learned").0 == Some(most)
    });
    let named = family.address(0, 77);
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {named}",
        Mac::ZERO
    ));
    until_true("the rest to be counted", || {
        let rows = wire.daemon.rows("stats");
        let mut full = rows
            .iter()
            .filter(|row| row["hook"] == "learning" && row["reason"] == "fdb_full");
        full.any(|row| row["packets"].as_u64() > Some(0))
    });
    assert_eq!(limit(&wire, "peers").0, Some(most + 1));
}

fn a_next_hop_is_kept_only_for_a_vtep_that_is_named(family: Family) {
    let wire = Wire::without_peer(family, "--sources any", &[]);
    let far_ip = wire.far_ip.to_string();
    let kept = || neighbours(&wire, &far_ip).contains("managed");
    far(&wire, 0x41);
    learned(&wire, 0x41);
    until_true("the next hop to be asked for", || {
        !neighbours(&wire, &far_ip).is_empty()
    });
    assert!(!kept(), "{}", neighbours(&wire, &far_ip));

    let entry = format!("{} --vni {GREEN} --dst {far_ip}", Mac::ZERO);
    wire.daemon.ok(&format!("fdb append {entry}"));
    until_true("the next hop to be kept", kept);

    wire.daemon.ok(&format!("fdb del {entry}"));
    until_true("the next hop to be kept no longer", || !kept());
}
