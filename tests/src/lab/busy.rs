//! What keeps a daemon busy, and how long others wait for it meanwhile.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::encoder::Mac;
use crate::encoder::inner::udp4;
use crate::lab::GREEN;
use crate::lab::wire::{FAR_VM, VM, Wire};
use crate::link::Link as _;
use crate::wait::until_true;

/// How long others had to wait at most.
#[derive(Debug, Default)]
pub struct Waits {
    /// For the status.
    pub answer: Duration,
    /// Until a MAC was learned that a VM had just used.
    pub learned: Duration,
    /// How often they were looked at.
    pub rounds: u32,
}

/// A MAC of its own for each number.
fn mac(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac([2, 1, a, b, c, d])
}

/// Says that work goes on no more, also where it failed.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Asks for the status and uses new MACs while `work` goes on, at least a few times; the first of them from the `seed`.
pub fn waits_during(wire: &Wire, seed: u32, work: impl FnOnce() + Send) -> Waits {
    let works = AtomicBool::new(true);
    let mut waits = Waits::default();
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let _ended = Ended(&works);
            work();
        });
        while works.load(Ordering::Relaxed) || waits.rounds < 3 {
            let start = Instant::now();
            drop(wire.daemon.status());
            waits.answer = waits.answer.max(start.elapsed());

            let new = mac(seed + waits.rounds);
            let mut frame = udp4(VM, FAR_VM).build();
            frame[6..12].copy_from_slice(&new.0);
            let start = Instant::now();
            wire.port.send(&frame);
            until_true("the MAC to be learned", || knows(wire, new));
            waits.learned = waits.learned.max(start.elapsed());
            waits.rounds += 1;
        }
        worker.join().expect("the work");
    });
    waits
}

/// Whether the FDB has a MAC; asked of the API, since the command line takes longer to start than the API to answer.
fn knows(wire: &Wire, mac: Mac) -> bool {
    let mut socket = UnixStream::connect(wire.daemon.socket()).expect("connect to the API");
    let request = format!("GET /v1/fdb/{GREEN}/{mac} HTTP/1.0\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("ask the API");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    answer.starts_with("HTTP/1.0 200")
}

/// Gives the VNI entries behind `count` VTEPs that one router leads to.
///
/// # Panics
///
/// If they are refused.
pub fn add_vteps(wire: &Wire, count: u32) {
    wire.ns
        .ip(&format!("route add 10.0.0.0/8 via {}", wire.far_ip));
    let mut batch = String::new();
    for number in 0..count {
        let mac = mac(1 << 24 | number);
        let [_, _, high, low] = number.to_be_bytes();
        writeln!(batch, "fdb add {mac} --vni {GREEN} --dst 10.1.{high}.{low}").expect("a line");
    }
    load(wire, &batch);
}

/// Changes `count` routes that lead to no VTEP.
pub fn change_other_routes(wire: &Wire, count: u32) {
    for number in 0..count {
        let [_, _, high, low] = number.to_be_bytes();
        let router = wire.far_ip;
        wire.ns
            .ip(&format!("route replace 203.0.{high}.{low}/32 via {router}"));
    }
}

/// Makes `count` interfaces; returns the batch that makes ports of the VNI `vni` of them.
#[must_use]
pub fn ports(wire: &Wire, count: u32, vni: u32) -> String {
    let (mut lines, mut batch) = (String::new(), String::new());
    for number in 0..count {
        writeln!(lines, "tuntap add dev t{number} mode tap").expect("a line");
        writeln!(batch, "port add t{number} --vni {vni}").expect("a line");
    }
    wire.ns.ip(&lines);
    batch
}

/// Has a batch carried out.
///
/// # Panics
///
/// If it is refused.
pub fn load(wire: &Wire, batch: &str) {
    // How long it may take is not what is asked here: where others use the processors too, a hundred ports can take long.
    let loaded = wire.daemon.vtep_input("batch - --timeout 120", batch);
    assert!(loaded.status.success(), "{loaded:?}");
}
