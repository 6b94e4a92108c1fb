//! Numbers of VNIs, ports and VTEPs that are given up and given out while frames are on their way.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vtep_tests::encoder::Mac;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{PORT, Wire};
use vtep_tests::lab::{GREEN, busy};
use vtep_tests::link::Link as _;
use vtep_tests::need_root;
use vtep_tests::traffic::checks::marked;

/// The VNI that takes the place of [`GREEN`].
const NEXT: u32 = 7200;
/// Where the other tenant's port is meanwhile.
const ASIDE: u32 = 7300;
/// Ports that make a flood take its time.
const PORTS: u32 = 24;
/// How often the VNI gives way to another.
const TURNS: u32 = 60;
/// Frames that are sent at most.
const MOST: u32 = 400_000;

/// Their interfaces.
fn devs() -> impl Iterator<Item = String> {
    (0..PORTS).map(|number| format!("t{number}"))
}

/// One VNI gives way to another in one go, as often as [`TURNS`] says, while a VM of the first floods frames from ever new MACs.
#[test]
fn what_is_on_its_way_in_a_vni_that_goes_does_not_reach_the_one_that_comes() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let bystander = wire.tap("tap9");
    let mut begin = format!("vni add {ASIDE}\nport add tap9 --vni {ASIDE}\n");
    begin += &busy::ports(&wire, PORTS, GREEN);
    for dev in devs() {
        wire.ns.ip(&format!("link set {dev} up"));
    }
    busy::load(&wire, &begin);
    let goes = format!("vni del {GREEN}\nvni add {NEXT}\nport set tap9 --vni {NEXT}\n");
    let mut comes = format!("port set tap9 --vni {ASIDE}\nvni del {NEXT}\nvni add {GREEN}\n");
    for dev in devs() {
        writeln!(comes, "port add {dev} --vni {GREEN}").expect("a line");
    }
    writeln!(comes, "port add {PORT} --vni {GREEN}").expect("a line");

    let over = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let going_on = |_: &u32| !over.load(Ordering::Relaxed);
            let frames = (0..MOST).take_while(going_on);
            frames
                .inspect(|number| {
                    let [_, a, b, c] = number.to_be_bytes();
                    let source = Mac([0x02, 0x77, 0, a, b, c]);
                    wire.port
                        .send(&marked(source, Mac::BROADCAST, *number).build());
                })
                .count()
        });
        for _ in 0..TURNS {
            busy::load(&wire, &goes);
            let learned = wire.daemon.rows(&format!("fdb show --vni {NEXT}"));
            assert_eq!(learned, [""; 0], "learned from the VNI that is gone");
            busy::load(&wire, &comes);
        }
        over.store(true, Ordering::Relaxed);
        sender.join().expect("the sender")
    });

    assert!(sent as u32 > TURNS, "frames were on their way");
    assert_eq!(bystander.recv(Duration::ZERO), None);
}
