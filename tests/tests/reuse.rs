//! Numbers that are freed and given out again while frames are on their way: no frame gets to whom the number belongs now.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vtep_tests::encoder::Mac;
use vtep_tests::lab::ns;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
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
/// Filters that a frame passes on its way to the first port of [`GREEN`].
const FILTERS: usize = 48_000;
/// So many of them the kernel keeps in one list.
const OF_ONE_LIST: usize = 4_000;
/// Runs `vtep batch`.
#[track_caller]
fn batch(wire: &Wire, lines: &str) {
    let out = wire.daemon.vtep_input("batch -", lines);
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{error}");
}

/// Ends a sender when it is dropped, also where the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
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
        let _stop = Stop(&end);
        body()
    })
}

/// Makes floods to a port slow: filters look at each frame, and let it go on.
fn slow_down(wire: &Wire, dev: &str) {
    let filter = |number| {
        let list = 1 + number / OF_ONE_LIST;
        format!(
            "filter add dev {dev} egress protocol all pref {list} u32 match u32 0xfeedbeef 0xffffffff at 0 flowid 1:1\n"
        )
    };
    let rules: String = (0..FILTERS).map(filter).collect();
    let rules = format!("qdisc add dev {dev} clsact\n{rules}");
    ns::done(wire.ns.command("tc").args(["-batch", "-"]), &rules);
}

#[test]
fn a_flood_on_its_way_reaches_no_port_of_the_vni_that_takes_its_place() {
    need_root!();
    let wire = Wire::without_peer(Family::V4, "", &[]);
    let each = |line: &dyn Fn(usize) -> String| (1..=3).map(line).collect::<String>();
    let named = |vni| {
        format!(
            "fdb append {} --vni {vni} --dst {}\n",
            Mac::ZERO,
            wire.far_ip
        )
    };
    let old = [1, 2, 3].map(|number| wire.tap(&format!("tap{number}")));
    let others = [1, 2, 3].map(|number| wire.tap(&format!("other{number}")));
    let add = each(&|number| {
        format!("port add tap{number} --vni {GREEN}\nport add other{number} --vni {PARKED}\n")
    });
    batch(
        &wire,
        &format!("port del {PORT}\nvni add {PARKED}\n{add}{}", named(GREEN)),
    );
    slow_down(&wire, "tap1");
    let flood = marked(FAR_VM, Mac::BROADCAST, 1).build();
    let outer = wire.tunnelled(GREEN, &flood);

    let all_to = |ports, vni| each(&|number| format!("port set {ports}{number} --vni {vni}\n"));
    // Nothing is attached or detached: that would wait until no frame is on its way.
    let there = [
        all_to("tap", PARKED),
        format!("vni del {GREEN} --force\nvni add {NEXT}\n"),
        all_to("other", NEXT),
        named(NEXT),
    ]
    .concat();
    let back = [
        all_to("other", PARKED),
        format!("vni del {NEXT} --force\nvni add {GREEN}\n"),
        named(GREEN),
        all_to("tap", GREEN),
    ]
    .concat();
    let reached = || others.iter().find_map(|tap| tap.recv(Duration::ZERO));
    meanwhile(&wire.uplink, &outer, || {
        for round in 0..ROUNDS {
            // Some are on their way.
            old[2].drain();
            old[2].expect(&flood);
            batch(&wire, &there);
            assert_eq!(reached(), None, "a frame of {GREEN}, in round {round}");
            batch(&wire, &back);
        }
    });
    assert_eq!(reached(), None);
}

#[test]
fn a_flood_on_its_way_leaves_for_no_vtep_of_the_vni_that_takes_its_place() {
    need_root!();
    for family in [Family::V4, Family::V6] {
        let wire = Wire::new(family);
        let (far, next) = (wire.far_ip, family.address(0, 9));
        let next_mac = Mac::nth(0x99);
        wire.ns.ip(&format!(
            "neigh replace {next} lladdr {next_mac} dev {UPLINK} nud permanent"
        ));
        let tap = wire.add_port("tap1", "");
        let named = |vni, dst| format!("fdb append {} --vni {vni} --dst {dst}\n", Mac::ZERO);
        batch(
            &wire,
            &format!(
                "fdb del {FAR_VM} --vni {GREEN}\nvni add {PARKED}\n{}",
                named(GREEN, far)
            ),
        );
        slow_down(&wire, "tap1");
        let flood = marked(VM, Mac::BROADCAST, 1).build();

        let all_to = |vni| format!("port set {PORT} --vni {vni}\nport set tap1 --vni {vni}\n");
        let there = [
            all_to(PARKED),
            format!("vni del {GREEN} --force\nvni add {NEXT}\n"),
            named(NEXT, next),
        ]
        .concat();
        let back = [
            format!("vni del {NEXT} --force\nvni add {GREEN}\n"),
            named(GREEN, far),
            all_to(GREEN),
        ]
        .concat();
        meanwhile(&wire.port, &flood, || {
            for round in 0..ROUNDS {
                tap.drain();
                tap.expect(&flood);
                batch(&wire, &there);
                batch(&wire, &back);
                let mut left = false;
                wait::until_true("the flood to leave again", || {
                    while let Some(seen) = wire.uplink.recv(Duration::ZERO) {
                        assert_ne!(seen[..6], next_mac.0, "in round {round}");
                        left |= seen.ends_with(&flood);
                    }
                    left
                });
            }
        });
    }
}
