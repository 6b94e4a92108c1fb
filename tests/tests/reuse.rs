//! Numbers that are freed and given out again while frames are on their way: no frame gets to whom the number belongs now.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vtep_tests::encoder::Mac;
use vtep_tests::lab::ns;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, VM, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::link::Link;
use vtep_tests::need_root;
use vtep_tests::traffic::checks::marked;
use vtep_tests::wait;

/// The VNI that takes the place of [`GREEN`], with another tenant.
const NEXT: u32 = 9_200;
/// The VNI in which that tenant's port waits.
const PARKED: u32 = 9_300;
/// How often the one takes the place of the other.
const ROUNDS: usize = 25;
/// No test takes longer.
const MOST: Duration = Duration::from_secs(120);
/// Filters that a frame passes on its way to each port of [`GREEN`].
const FILTERS: usize = 200;
/// A MAC behind the other tenant's VTEP.
const OTHER_FAR: Mac = Mac::nth(0x41);

/// Runs `vtep batch`.
#[track_caller]
fn batch(wire: &Wire, lines: &str) {
    let out = wire.daemon.vtep_input("batch -", lines);
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{error}");
}

/// Sends a frame again and again while something else is done.
fn meanwhile<T>(link: &(impl Link + Sync), frame: &[u8], body: impl FnOnce() -> T) -> T {
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            while !end.load(Ordering::Relaxed) && start.elapsed() < MOST {
                link.send(frame);
            }
        });
        /// Ends the sender, also where the test fails.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = Stop(&end);
        body()
    })
}

/// Makes floods to a port slow: filters look at each frame, and let it go on.
fn slow_down(wire: &Wire, dev: &str) {
    let filter = |number| {
        format!(
            "filter add dev {dev} egress protocol all pref {number} u32 match u32 0xfeedbeef 0xffffffff at 0 flowid 1:1\n"
        )
    };
    let rules: String = (1..=FILTERS).map(filter).collect();
    let rules = format!("qdisc add dev {dev} clsact\n{rules}");
    ns::done(wire.ns.command("tc").args(["-batch", "-"]), &rules);
}

#[test]
fn a_flood_on_its_way_reaches_no_port_of_the_vni_that_takes_its_place() {
    need_root!();
    let wire = Wire::without_peer(Family::V4, "", &[]);
    let old: Vec<_> = (1..=3)
        .map(|number| wire.add_port(&format!("tap{number}"), ""))
        .collect();
    for number in 1..=3 {
        slow_down(&wire, &format!("tap{number}"));
    }
    let other = wire.tap("other");
    let far = wire.far_ip;
    batch(
        &wire,
        &format!(
            "vni add {PARKED}\nport add other --vni {PARKED}\nfdb append {} --vni {GREEN} --dst {far}",
            Mac::ZERO
        ),
    );
    let flood = marked(FAR_VM, Mac::BROADCAST, 1).build();
    let outer = wire.tunnelled(GREEN, &flood);
    wire.uplink.send(&outer);
    old[2].expect(&flood);

    let ports: String = (1..=3)
        .map(|number| format!("port add tap{number} --vni {GREEN}\n"))
        .collect();
    let named = |vni| format!("fdb append {} --vni {vni} --dst {far}\n", Mac::ZERO);
    let there = format!(
        "vni del {GREEN} --force\nvni add {NEXT}\nport set other --vni {NEXT}\n{}",
        named(NEXT)
    );
    let back = format!(
        "port set other --vni {PARKED}\nvni del {NEXT} --force\nvni add {GREEN}\n{}{ports}",
        named(GREEN)
    );
    meanwhile(&wire.uplink, &outer, || {
        for round in 0..ROUNDS {
            batch(&wire, &there);
            let got = other.recv(Duration::ZERO);
            assert_eq!(got, None, "a frame of {GREEN}, in round {round}");
            batch(&wire, &back);
            // It goes on where it is to.
            old[2].drain();
            old[2].expect(&flood);
        }
    });
    assert_eq!(other.recv(Duration::ZERO), None);
}

#[test]
fn a_frame_on_its_way_leaves_for_no_vtep_of_another_vni() {
    need_root!();
    for family in [Family::V4, Family::V6] {
        let wire = Wire::new(family);
        let (far, next) = (wire.far_ip, family.address(0, 9));
        wire.ns.ip(&format!(
            "neigh replace {next} lladdr {} dev {UPLINK} nud permanent",
            Mac::nth(0x99)
        ));
        wire.daemon.ok(&format!("vni add {NEXT}"));
        let frame = marked(VM, FAR_VM, 1).build();
        let there = format!(
            "fdb del {FAR_VM} --vni {GREEN}\nfdb add {OTHER_FAR} --vni {NEXT} --dst {next}\n"
        );
        let back = format!(
            "fdb del {OTHER_FAR} --vni {NEXT}\nfdb add {FAR_VM} --vni {GREEN} --dst {far}\n"
        );
        meanwhile(&wire.port, &frame, || {
            for round in 0..ROUNDS {
                batch(&wire, &there);
                batch(&wire, &back);
                let mut left = false;
                wait::until_true("the frame to leave again", || {
                    while let Some(seen) = wire.uplink.recv(Duration::ZERO) {
                        assert_ne!(seen[..6], Mac::nth(0x99).0, "in round {round}");
                        left |= seen.ends_with(&frame);
                    }
                    left
                });
            }
        });
    }
}
