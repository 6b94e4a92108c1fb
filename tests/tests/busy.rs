//! The daemon answers and learns, whatever else it has to do.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use vtep_tests::encoder::Mac;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::lab::GREEN;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, VM, Wire};
use vtep_tests::link::Link as _;
use vtep_tests::need_root;
use vtep_tests::wait::until;

/// How long an answer, or learning a MAC, may take at most. The goals are a fifth of it and less: `cargo xtask bench` measures
/// them. Here others may need the processors too.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long everybody had to wait at most.
#[derive(Debug, Default)]
struct Waits {
    /// For the status.
    answer: Duration,
    /// For a MAC that a VM has just used.
    learned: Duration,
    /// How often they were looked at.
    rounds: u32,
}

/// A MAC of its own for each number.
fn mac(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac([2, 1, a, b, c, d])
}

/// Asks and sends while `work` goes on, at least a few times.
fn waits_during(wire: &Wire, work: impl FnOnce() + Send) -> Waits {
    let works = AtomicBool::new(true);
    let mut waits = Waits::default();
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            work();
            works.store(false, Ordering::Relaxed);
        });
        while works.load(Ordering::Relaxed) || waits.rounds < 3 {
            let start = Instant::now();
            drop(wire.daemon.status());
            waits.answer = waits.answer.max(start.elapsed());

            let new = mac(waits.rounds);
            let mut frame = udp4(VM, FAR_VM).build();
            frame[6..12].copy_from_slice(&new.0);
            let start = Instant::now();
            wire.port.send(&frame);
            until("the MAC to be learned", || wire.daemon.fdb(GREEN, new));
            waits.learned = waits.learned.max(start.elapsed());
            waits.rounds += 1;
        }
        worker.join().expect("the work");
    });
    println!("{waits:?}");
    waits
}

#[track_caller]
fn nobody_waited(waits: &Waits) {
    assert!(
        waits.answer < PATIENCE && waits.learned < PATIENCE,
        "{waits:?}"
    );
}

#[test]
fn changes_of_other_routes_keep_nobody_waiting() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let gateway = wire.far_ip;
    wire.ns.ip(&format!("route add 10.0.0.0/8 via {gateway}"));
    let mut batch = String::new();
    for number in 0..4000_u32 {
        let mac = mac(10_000 + number);
        let [_, _, high, low] = number.to_be_bytes();
        writeln!(batch, "fdb add {mac} --vni {GREEN} --dst 10.1.{high}.{low}").expect("a line");
    }
    let loaded = wire.daemon.vtep_input("batch -", &batch);
    assert!(loaded.status.success(), "{loaded:?}");
    let mut changes = String::new();
    for number in 0..600 {
        let prefix = format!("203.0.{}.{}/32", number / 256, number % 256);
        writeln!(changes, "route replace {prefix} via {gateway}").expect("a line");
    }

    let waits = waits_during(&wire, || {
        for change in changes.lines() {
            wire.ns.ip(change);
        }
    });

    nobody_waited(&waits);
}
