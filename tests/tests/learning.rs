//! MACs are learned from frames, at ports and from VTEPs, and forgotten when they are silent.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_MAC, FAR_VM, PORT, VM, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::over_each_family;
use vtep_tests::priority::Ahead;
use vtep_tests::wait::{DEADLINE, poll, until_true};

over_each_family! {
    a_hundred_thousand_macs_are_learned_from_a_vtep,
    a_hundred_thousand_macs_are_learned_from_a_port,
    what_did_not_fit_the_ring_buffer_is_counted_and_learned_later,
    a_mac_is_learned_where_it_is_and_said_to_be,
    a_moved_mac_is_rewritten_within_50_ms,
    a_silent_mac_ages_and_a_busy_one_does_not,
    macs_that_no_host_has_are_not_learned,
    learning_can_be_switched_off_and_on,
    learned_entries_are_flushed_and_static_ones_stay,
    a_deleted_mac_is_learned_again_from_its_next_frame,
    a_learned_mac_becomes_static_when_the_user_says_so,
    static_entries_are_never_overridden,
}

const MANY: u32 = 100_000;
/// Entries that each [`Wire`] has from the start.
const STATIC: u64 = 2;

/// The MAC with this number among [`MANY`].
fn numbered(number: u32) -> Mac {
    let [_, a, b, c] = number.to_be_bytes();
    Mac([0x02, 0x10, 0, a, b, c])
}

/// Another VTEP than the far one, reached directly. No entry names it.
fn second_vtep(wire: &Wire) -> IpAddr {
    wire.daemon.ok(&format!("vni set {GREEN} --sources any"));
    let second = wire.family.address(0, 3);
    wire.ns.ip(&format!(
        "neigh replace {second} lladdr {FAR_MAC} dev {UPLINK} nud permanent"
    ));
    second
}

/// `inner` as VTEP `from` would send it.
fn tunnelled_from(wire: &Wire, from: IpAddr, inner: &[u8]) -> Vec<u8> {
    eth(FAR_MAC, wire.mac)
        .ip(from, wire.ip)
        .udp_unchecked(50000, 4789)
        .vxlan(GREEN)
        .bytes(inner)
        .build()
}

fn monitor(wire: &Wire) -> Monitor {
    Monitor::start(&wire.daemon, GREEN, wire.family.address(0, 250))
}

/// Waits until the FDB has a MAC at a place: a port's name or a VTEP's address.
#[track_caller]
fn is_at(wire: &Wire, mac: Mac, place: impl ToString + Copy) -> Value {
    let mut last = None;
    poll(DEADLINE, || {
        last = wire.daemon.fdb(GREEN, mac);
        let row = last.as_ref()?;
        let place = place.to_string();
        (row["dev"] == place.as_str() || row["dst"] == place.as_str()).then(|| row.clone())
    })
    .unwrap_or_else(|| panic!("{mac} is not at {}: {last:?}", place.to_string()))
}

/// Offers each of [`MANY`] MACs as the source of a frame by `offer`, again and again until the FDB
/// has them all; returns how often it took.
#[track_caller]
fn offer_until_learned(wire: &Wire, mut offer: impl FnMut(Mac)) -> u32 {
    let end = Instant::now() + 3 * DEADLINE;
    for round in 1.. {
        for number in 0..MANY {
            offer(numbered(number));
        }
        // What is on its way is given its time before all are offered again.
        let (mut last, mut since) = (0, Instant::now());
        while since.elapsed() < Duration::from_millis(300) {
            let now = wire.daemon.fdb_len() - STATIC;
            if now == u64::from(MANY) {
                return round;
            }
            if now != last {
                (last, since) = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(
            Instant::now() < end,
            "after {round} rounds only {last} of {MANY} are learned: {}",
            wire.daemon.ok("stats")
        );
    }
    unreachable!("rounds do not end by themselves")
}

/// Every one of [`MANY`] is at `place`.
#[track_caller]
fn all_at(wire: &Wire, key: &str, place: impl ToString + Copy) {
    let rows = wire.daemon.rows(&format!("fdb show --vni {GREEN}"));
    let place = place.to_string();
    let mut wrong: Vec<_> = rows
        .iter()
        .filter(|row| row["state"] == "learned" && row[key] != place.as_str())
        .collect();
    wrong.truncate(5);
    assert!(wrong.is_empty(), "not at {place}: {wrong:?}");
    let mut macs: Vec<_> = rows
        .iter()
        .filter(|row| row["state"] == "learned")
        .filter_map(|row| row["mac"].as_str())
        .collect();
    macs.sort_unstable();
    macs.dedup();
    assert_eq!(macs.len(), usize::try_from(MANY).unwrap());
}

/// Sends a frame with each MAC that it is called with, from a VTEP.
fn from_a_vtep(wire: &Wire) -> impl FnMut(Mac) {
    let inner = eth(Mac::ZERO, VM).ethertype(0x88b6).payload(1, 46).build();
    let mut outer = tunnelled_from(wire, wire.far_ip, &inner);
    let source = wire.family.outer_len() + 6;
    move |mac| {
        outer[source..source + 6].copy_from_slice(&mac.0);
        wire.uplink.send(&outer);
    }
}

/// The same from the VM.
fn from_the_port(wire: &Wire) -> impl FnMut(Mac) {
    let mut frame = eth(Mac::ZERO, VM).ethertype(0x88b6).payload(1, 46).build();
    move |mac| {
        frame[6..12].copy_from_slice(&mac.0);
        wire.port.send(&frame);
    }
}

fn a_hundred_thousand_macs_are_learned_from_a_vtep(family: Family) {
    let wire = Wire::new(family);

    let rounds = offer_until_learned(&wire, from_a_vtep(&wire));

    eprintln!("{MANY} MACs from a VTEP in {rounds} rounds");
    all_at(&wire, "dst", wire.far_ip);
}

fn a_hundred_thousand_macs_are_learned_from_a_port(family: Family) {
    let wire = Wire::new(family);

    let rounds = offer_until_learned(&wire, from_the_port(&wire));

    eprintln!("{MANY} MACs from a port in {rounds} rounds");
    all_at(&wire, "dev", PORT);
}

fn what_did_not_fit_the_ring_buffer_is_counted_and_learned_later(family: Family) {
    let wire = Wire::new(family);
    let monitor = monitor(&wire);
    let mut offer = from_a_vtep(&wire);
    // A daemon that stands still: 100,000 events of 64 bytes are more than its ring buffer holds.
    wire.daemon.signal(libc::SIGSTOP);
    for number in 0..MANY {
        offer(numbered(number));
    }
    wire.daemon.signal(libc::SIGCONT);

    let lost = || {
        let rows = monitor.rows();
        let lost = rows.iter().filter(|row| row["event"] == "lost");
        lost.filter_map(|row| row["count"].as_u64()).sum::<u64>()
    };
    until_true("the loss to be counted", || lost() > 1000);
    let rounds = offer_until_learned(&wire, offer);
    let lost = lost();
    eprintln!("{lost} events lost, healed in {rounds} rounds");
    all_at(&wire, "dst", wire.far_ip);
}

fn a_mac_is_learned_where_it_is_and_said_to_be(family: Family) {
    let wire = Wire::new(family);
    let (monitor, second) = (monitor(&wire), second_vtep(&wire));
    let (near, far) = (Mac::nth(0x31), Mac::nth(0x32));
    let from_near = eth(near, FAR_VM).ethertype(0x88b6).payload(1, 46).build();
    let from_far = eth(far, VM).ethertype(0x88b6).payload(2, 46).build();

    wire.encap(&from_near);
    wire.delivers(&wire.tunnelled(GREEN, &from_far), &from_far);

    let row = is_at(&wire, near, PORT);
    assert_eq!(
        (&row["state"], &row["duplicate"]),
        (&"learned".into(), &false.into()),
        "{row}"
    );
    assert!(row["age_s"].as_u64().is_some_and(|age| age < 5), "{row}");
    is_at(&wire, far, wire.far_ip);
    let said = monitor.event("learned", near);
    assert_eq!(
        (&said["dev"], &said["dst"]),
        (&PORT.into(), &Value::Null),
        "{said}"
    );
    assert_eq!(said["vni"], GREEN, "{said}");
    assert!(
        said["time"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z')),
        "{said}"
    );
    let said = monitor.event("learned", far);
    assert_eq!(said["dst"], wire.far_ip.to_string().as_str(), "{said}");

    // It moves to another VTEP, and then here.
    wire.delivers(&tunnelled_from(&wire, second, &from_far), &from_far);
    is_at(&wire, far, second);
    let said = monitor.event("moved", far);
    let [old, new] = [wire.far_ip, second].map(|ip| ip.to_string());
    assert_eq!(
        (&said["old_dst"], &said["dst"]),
        (&old.into(), &new.into()),
        "{said}"
    );
    monitor.clear();
    wire.encap(&eth(far, FAR_VM).ethertype(0x88b6).payload(1, 46).build());
    is_at(&wire, far, PORT);
    let said = monitor.event("moved", far);
    assert_eq!(
        (&said["old_dst"], &said["dev"]),
        (&second.to_string().into(), &PORT.into()),
        "{said}"
    );
    assert_eq!(wire.daemon.fdb_len(), 4);
}

fn a_moved_mac_is_rewritten_within_50_ms(family: Family) {
    let _ahead = Ahead::of_others();
    let wire = Wire::new(family);
    let second = second_vtep(&wire);
    let mac = Mac::nth(0x32);
    let said = eth(mac, VM).ethertype(0x88b6).payload(2, 46).build();
    let question = eth(VM, mac).ethertype(0x88b6).payload(1, 46).build();
    let offered = |from| {
        let since = Instant::now();
        wire.uplink.send(&tunnelled_from(&wire, from, &said));
        // Sends to the MAC until it is reached through the VTEP that it said something from.
        while since.elapsed() < Duration::from_secs(2) {
            wire.port.send(&question);
            let reached = wire.uplink.collect(Duration::from_millis(1), |_| false);
            let there =
                |outer: &Vec<u8>| outer.ends_with(&question) && family.destination(outer).1 == from;
            if reached.iter().any(there) {
                break;
            }
        }
        since.elapsed()
    };
    offered(wire.far_ip);

    let mut took: Vec<_> = (0..10)
        .map(|turn| offered(if turn % 2 == 0 { second } else { wire.far_ip }))
        .collect();
    took.sort();

    eprintln!("moves took {took:?}");
    assert!(took[9] < Duration::from_millis(50), "moves took {took:?}");
}

fn a_silent_mac_ages_and_a_busy_one_does_not(family: Family) {
    let wire = Wire::with(family, "--ageing 2", &[]);
    let monitor = monitor(&wire);
    let macs = [0x31, 0x32, 0x33, 0x34].map(Mac::nth);
    let [silent_near, busy_near, silent_far, busy_far] = macs;
    let says = |near: Mac, far: Mac| {
        wire.port
            .send(&eth(near, VM).ethertype(0x88b6).payload(1, 46).build());
        let inner = eth(far, VM).ethertype(0x88b6).payload(1, 46).build();
        wire.uplink.send(&wire.tunnelled(GREEN, &inner));
    };
    let before = wire.daemon.table("fdb");
    let over = AtomicBool::new(false);

    std::thread::scope(|scope| {
        // Beside the test, which on a busy machine may not get to it before the MACs have aged.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                says(busy_near, busy_far);
                // Being sent to keeps nobody.
                let to_silent = eth(VM, silent_far).ethertype(0x88b6).payload(1, 46);
                wire.port.send(&to_silent.build());
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let since = Instant::now();
            says(silent_near, silent_far);
            for mac in [silent_near, silent_far] {
                let _learned = monitor.event("learned", mac);
                let (at, row) = monitor.wait_for("ageing", |row| {
                    row["event"] == "aged" && row["mac"] == mac.to_string().as_str()
                });
                let took = at - since;
                assert!(took >= Duration::from_millis(1900), "after {took:?}: {row}");
                assert!(took <= Duration::from_secs(5), "after {took:?}: {row}");
                assert_eq!(wire.daemon.fdb(GREEN, mac), None);
            }
            for mac in [busy_near, busy_far] {
                let row = wire.daemon.fdb(GREEN, mac).expect("the busy one");
                assert!(row["age_s"].as_u64().is_some_and(|age| age <= 2), "{row}");
            }
            // Without an end to it nothing ages.
            wire.daemon.ok(&format!("vni set {GREEN} --ageing 0"));
        }));
        over.store(true, Ordering::Relaxed);
        ended.unwrap_or_else(|panic| resume_unwind(panic));
    });

    says(silent_near, silent_far);
    until_true("the last ones to be old", || {
        let row = wire.daemon.fdb(GREEN, busy_far).expect("the busy one");
        row["age_s"].as_u64().is_some_and(|age| age >= 3)
    });
    // With an end to it again the rest does.
    wire.daemon.ok(&format!("vni set {GREEN} --ageing 2"));
    until_true("all to age", || wire.daemon.table("fdb") == before);
}

fn macs_that_no_host_has_are_not_learned(family: Family) {
    let wire = Wire::new(family);
    let before = wire.daemon.table("fdb");
    let group = Mac([0x01, 0, 0x5e, 0, 0, 1]);

    for mac in [Mac::ZERO, Mac::BROADCAST, group] {
        let inner = eth(mac, VM).ethertype(0x88b6).payload(1, 46).build();
        wire.refuses(&wire.tunnelled(GREEN, &inner), "invalid_source_mac");
        wire.port.send(&inner);
    }
    for mac in [wire.mac, wire.ns.mac(PORT)] {
        let inner = eth(mac, VM).ethertype(0x88b6).payload(1, 46).build();
        wire.uplink.send(&wire.tunnelled(GREEN, &inner));
        wire.port.send(&inner);
    }
    let after = Mac::nth(0x31);
    wire.port
        .send(&eth(after, VM).ethertype(0x88b6).payload(1, 46).build());
    is_at(&wire, after, PORT);

    wire.daemon.ok(&format!("fdb del {after} --vni {GREEN}"));
    assert_eq!(wire.daemon.table("fdb"), before);
}

fn learning_can_be_switched_off_and_on(family: Family) {
    let wire = Wire::with(family, "--learning off", &[]);
    let before = wire.daemon.table("fdb");
    let says = |last: u8| {
        let inner = eth(Mac::nth(last), VM)
            .ethertype(0x88b6)
            .payload(1, 46)
            .build();
        wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
        wire.encap(
            &eth(Mac::nth(last + 1), FAR_VM)
                .ethertype(0x88b6)
                .payload(2, 46)
                .build(),
        );
    };

    says(0x31);
    wire.daemon.ok(&format!("vni set {GREEN} --learning on"));
    says(0x33);

    is_at(&wire, Mac::nth(0x33), wire.far_ip);
    is_at(&wire, Mac::nth(0x34), PORT);
    for last in [0x31, 0x32] {
        assert_eq!(wire.daemon.fdb(GREEN, Mac::nth(last)), None);
    }
    wire.daemon
        .ok(&format!("fdb flush --vni {GREEN} --learned"));
    assert_eq!(wire.daemon.table("fdb"), before);
}

fn learned_entries_are_flushed_and_static_ones_stay(family: Family) {
    let wire = Wire::new(family);
    let (monitor, second) = (monitor(&wire), second_vtep(&wire));
    let before = wire.daemon.table("fdb");
    let learn = || {
        let inner = |mac, to| eth(mac, to).ethertype(0x88b6).payload(1, 46).build();
        let macs = [0x31, 0x32, 0x33].map(Mac::nth);
        until_true("all to be learned", || {
            for (mac, from) in macs.into_iter().zip([wire.far_ip, second]) {
                let outer = tunnelled_from(&wire, from, &inner(mac, VM));
                wire.uplink.send(&outer);
            }
            wire.port.send(&inner(macs[2], FAR_VM));
            macs.iter()
                .all(|mac| wire.daemon.fdb(GREEN, *mac).is_some())
        });
    };

    for (filter, gone) in [
        (format!("--dst {second} --learned"), 1),
        (format!("--dst {} --learned", wire.far_ip), 1),
        (format!("--dev {PORT} --learned"), 1),
        ("--learned".to_owned(), 3),
    ] {
        learn();
        monitor.clear();
        wire.daemon.ok(&format!("fdb flush --vni {GREEN} {filter}"));
        assert_eq!(
            wire.daemon.table("fdb").len(),
            before.len() + 3 - gone,
            "{filter}"
        );
        let (_, said) = monitor.wait_for("the flush", |row| row["event"] == "flushed");
        assert_eq!(said["count"], gone, "{said}");
        wire.daemon
            .ok(&format!("fdb flush --vni {GREEN} --learned"));
        assert_eq!(wire.daemon.table("fdb"), before);
    }
}

fn a_deleted_mac_is_learned_again_from_its_next_frame(family: Family) {
    let wire = Wire::new(family);
    let mac = Mac::nth(0x31);
    let knows = || wire.daemon.rows(&format!("fdb show --vni {GREEN}")).len() > 2;
    let inner = |to| eth(mac, to).ethertype(0x88b6).payload(1, 46).build();
    let outer = tunnelled_from(&wire, wire.far_ip, &inner(VM));
    let at_port = || wire.port.send(&inner(FAR_VM));
    let at_vtep = || wire.uplink.send(&outer);

    for says in [&at_port as &dyn Fn(), &at_vtep] {
        for delete in [
            format!("fdb del {mac} --vni {GREEN}"),
            format!("fdb flush --vni {GREEN} --learned"),
        ] {
            // Each time one frame: the next would be learned from sooner or later.
            says();
            until_true("the MAC to be learned", knows);
            wire.daemon.ok(&delete);
            assert!(!knows(), "{delete}");
        }
    }

    // Also where so many go that nobody looks at each.
    let mut entries = String::new();
    for number in 0..1100 {
        let (mac, far) = (numbered(number), wire.far_ip);
        writeln!(entries, "fdb add {mac} --vni {GREEN} --dst {far}").expect("a line");
    }
    let loaded = wire.daemon.vtep_input("batch -", &entries);
    assert!(loaded.status.success(), "{loaded:?}");
    at_port();
    until_true("the MAC to be learned", || {
        wire.daemon.fdb(GREEN, mac).is_some()
    });
    wire.daemon.ok(&format!("fdb flush --vni {GREEN} --static"));
    assert_eq!(wire.daemon.fdb_len(), 0);
    at_port();
    until_true("the MAC to be learned", || {
        wire.daemon.fdb(GREEN, mac).is_some()
    });
}

fn a_learned_mac_becomes_static_when_the_user_says_so(family: Family) {
    let wire = Wire::new(family);
    let second = second_vtep(&wire);
    let mac = Mac::nth(0x31);
    let inner = eth(mac, VM).ethertype(0x88b6).payload(1, 46).build();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
    is_at(&wire, mac, wire.far_ip);

    wire.daemon
        .ok(&format!("fdb add {mac} --vni {GREEN} --dst {second}"));

    let row = is_at(&wire, mac, second);
    assert_eq!(
        (&row["state"], &row["age_s"]),
        (&"static".into(), &Value::Null),
        "{row}"
    );
    let again = wire
        .daemon
        .vtep(&format!("fdb add {mac} --vni {GREEN} --dst {second}"));
    assert_eq!(
        again.status.code(),
        Some(1),
        "a static entry is not added again"
    );
}

fn static_entries_are_never_overridden(family: Family) {
    let wire = Wire::new(family);
    let (monitor, second) = (monitor(&wire), second_vtep(&wire));
    let before = wire.daemon.table("fdb");
    let stolen_far = eth(FAR_VM, VM).ethertype(0x88b6).payload(1, 46).build();
    let stolen_near = eth(VM, FAR_VM).ethertype(0x88b6).payload(2, 46).build();

    // The far VM's MAC from another VTEP and from the port. The VM's may come from a VTEP, but moves nothing.
    wire.refuses(
        &tunnelled_from(&wire, second, &stolen_far),
        "static_elsewhere",
    );
    wire.refuses_from_vm(
        &eth(FAR_VM, VM).ethertype(0x88b6).build(),
        "static_elsewhere",
    );
    wire.refuses(&wire.tunnelled(GREEN, &stolen_near), "split_horizon");
    // An event behind all of those.
    wire.encap(
        &eth(Mac::nth(0x31), FAR_VM)
            .ethertype(0x88b6)
            .payload(2, 46)
            .build(),
    );
    is_at(&wire, Mac::nth(0x31), PORT);

    wire.daemon
        .ok(&format!("fdb del {} --vni {GREEN}", Mac::nth(0x31)));
    assert_eq!(wire.daemon.table("fdb"), before);
    assert_eq!(monitor.count(|row| row["event"] == "moved"), 0);
    // From where they are, both are heard.
    wire.delivers(&wire.tunnelled(GREEN, &stolen_far), &stolen_far);
    wire.encap(&stolen_near);
}
