//! A VM keeps its MAC and its IPs while it moves between hypervisors, and others go on talking to it.

use std::time::Duration;

use serde_json::{Value, json};
use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::encoder::Mac;
use vtep_tests::encoder::neighbour::{self, Host};
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::wire::Wire;
use vtep_tests::lab::{GREEN, Kind, Lab};
use vtep_tests::link::Link as _;
use vtep_tests::over_each_family;
use vtep_tests::priority::Ahead;
use vtep_tests::traffic::roam::{Cost, ROAMER, Site, TALKER, Talk};
use vtep_tests::wait::until_true;

over_each_family! {
    a_vm_that_says_where_it_is_is_followed_as_by_the_kernel,
    a_silent_vm_is_reached_within_20_ms_of_its_port,
    a_silent_vm_is_reached_within_20_ms_of_its_mac,
    for_a_silent_vm_nobody_speaks_but_vtep,
    a_hundred_moves_leave_the_tables_right,
    a_hundred_moves_of_a_vm_that_speaks_leave_the_tables_right,
    a_port_with_a_known_mac_is_announced,
    a_host_that_speaks_to_one_other_is_announced_to_all,
}

const VM: Host = Host::at(ROAMER, 0x42);

/// Three hypervisors; the VM that moves is behind the first or the second, the one that talks to it
/// behind the third.
struct Moving {
    sites: [Site; 2],
    talker: Site,
    lab: Lab,
}

impl Moving {
    fn new(family: Family, kind: Kind) -> Self {
        let topology = Topology::Flat;
        let lab = Lab::green(Underlay { family, topology }, &[kind; 3]);
        let sites = [0, 1].map(|at| Site::new(&lab, at, "vm0"));
        let talker = Site::new(&lab, 2, "vm9");
        talker.plug(&lab, "");
        Self { sites, talker, lab }
    }

    fn talk(&self) -> Talk<'_> {
        Talk::new(&self.talker, [&self.sites[0], &self.sites[1]])
    }

    /// The underlay address of a hypervisor.
    fn ip(&self, at: usize) -> String {
        self.lab.hypervisors[at].ip.to_string()
    }
}

/// What a VM says when it has moved.
fn signals() -> [(&'static str, Vec<u8>); 3] {
    [
        ("gratuitous ARP", VM.announces(VM.v4.into()).build()),
        ("RARP", neighbour::rarp(ROAMER).build()),
        ("unsolicited NA", VM.announces(VM.v6.into()).build()),
    ]
}

/// The median of what was lost, and that of the gaps: a move that lost little may still have waited long for a processor.
fn median(costs: &[Cost]) -> Cost {
    let (mut lost, mut gaps): (Vec<_>, Vec<_>) =
        costs.iter().map(|cost| (cost.lost, cost.gap)).unzip();
    lost.sort_unstable();
    gaps.sort_unstable();
    Cost {
        lost: lost[costs.len() / 2],
        gap: gaps[costs.len() / 2],
    }
}

/// Nine moves for each signal, and what each cost.
fn announced_moves(family: Family, kind: Kind) -> Vec<(&'static str, Vec<Cost>)> {
    let world = Moving::new(family, kind);
    let mut talk = world.talk();
    world.sites[0].plug(&world.lab, "");
    world.sites[0].link.send(&signals()[0].1);
    talk.until_at(0);
    let mut turns = [1, 0].into_iter().cycle();
    let mut moves = |signal: &[u8]| {
        let (new, old) = turns.next().map(|new| (new, 1 - new)).expect("endless");
        world.sites[new].plug(&world.lab, "");
        talk.steps(20);
        let cost = talk.cost_of(new, 20, || world.sites[new].link.send(signal));
        world.sites[old].unplug(&world.lab);
        cost
    };
    signals()
        .map(|(what, signal)| (what, (0..9).map(|_| moves(&signal)).collect()))
        .into()
}

fn a_vm_that_says_where_it_is_is_followed_as_by_the_kernel(family: Family) {
    let _ahead = Ahead::of_others();
    let kernel = announced_moves(family, Kind::Kernel);
    let ours = announced_moves(family, Kind::Vtep);

    for ((what, kernel), (_, ours)) in kernel.iter().zip(&ours) {
        let (theirs, mine) = (median(kernel), median(ours));
        eprintln!("{what}: kernel {theirs:?}, vtep {mine:?}; all moves: {ours:?}");
        assert!(
            mine.lost <= theirs.lost,
            "{what}: {ours:?} against {kernel:?}"
        );
        // Where none is lost, what is left is how long the test took to send.
        assert!(
            mine.gap <= theirs.gap + Duration::from_millis(5),
            "{what}: {ours:?} against {kernel:?}"
        );
    }
}

fn a_silent_vm_is_reached_within_20_ms_of_its_port(family: Family) {
    // By the API, as a hypervisor's manager does it: starting a process is not vtep's time.
    let port = json!({"dev": "vm0", "vni": GREEN, "macs": [ROAMER.to_string()]});
    silent_moves(family, "a port that is added", |world, talk, new| {
        talk.cost_of_slow(new, 20, || {
            world.lab.daemon(new).ask("POST", "/v1/ports", Some(&port));
        })
    });
}

fn a_silent_vm_is_reached_within_20_ms_of_its_mac(family: Family) {
    let mac = json!({"macs": [ROAMER.to_string()]});
    silent_moves(family, "a port that gets its MAC", |world, talk, new| {
        world.sites[new].plug(&world.lab, "");
        talk.steps(20);
        talk.cost_of_slow(new, 20, || {
            world
                .lab
                .daemon(new)
                .ask("PATCH", "/v1/ports/vm0", Some(&mac));
        })
    });
}

/// Nine moves of a VM that says nothing, each of which `plug` makes known.
fn silent_moves(family: Family, what: &str, plug: impl Fn(&Moving, &mut Talk<'_>, usize) -> Cost) {
    let _ahead = Ahead::of_others();
    let world = Moving::new(family, Kind::Vtep);
    let mut talk = world.talk();
    world.sites[0].plug(&world.lab, &format!("--mac {ROAMER}"));
    // The talker's hypervisor knows where it is at first, or else its frames would be flooded.
    world.sites[0].link.send(&signals()[0].1);
    until_true("the VM to be known", || {
        world.lab.daemon(2).fdb(GREEN, ROAMER).is_some()
    });
    talk.until_at(0);

    let costs: Vec<Cost> = (1..10)
        .map(|turn| {
            // No VM stays for less than this.
            talk.steps(150);
            let cost = plug(&world, &mut talk, turn % 2);
            world.sites[1 - turn % 2].unplug(&world.lab);
            cost
        })
        .collect();

    eprintln!("{what}: {:?}; all moves: {costs:?}", median(&costs));
    assert!(median(&costs).gap < Duration::from_millis(20), "{costs:?}");
}

fn for_a_silent_vm_nobody_speaks_but_vtep(family: Family) {
    let world = Moving::new(family, Kind::Kernel);
    let mut talk = world.talk();
    world.sites[0].plug(&world.lab, "");
    world.sites[0].link.send(&signals()[0].1);
    talk.until_at(0);

    world.sites[1].plug(&world.lab, "");
    world.sites[0].unplug(&world.lab);

    talk.steps(140);
    assert_eq!(talk.arrived(1), 0, "the kernel has learned to announce");
    // Until it speaks.
    world.sites[1].link.send(&signals()[0].1);
    talk.until_at(1);
}

/// After moves that end at hypervisor `at`, everybody has the VM there and nowhere else.
#[track_caller]
fn ends_up(world: &Moving, at: usize, state: &str) {
    let other = 1 - at;
    until_true("the talker's hypervisor to have it right", || {
        let row = world.lab.daemon(2).fdb(GREEN, ROAMER);
        row.is_some_and(|row| row["dst"] == world.ip(at).as_str())
    });
    let row = world.lab.daemon(at).fdb(GREEN, ROAMER).expect("the VM");
    assert_eq!(
        (&row["dev"], &row["state"]),
        (&"vm0".into(), &state.into()),
        "{row}"
    );
    // Where it was, it is either forgotten or known to be away.
    let row = world.lab.daemon(other).fdb(GREEN, ROAMER);
    assert!(
        row.as_ref()
            .is_none_or(|row| row["dst"] == world.ip(at).as_str()),
        "{row:?}"
    );
    for daemon in (0..3).map(|at| world.lab.daemon(at)) {
        let rows = daemon.table("fdb");
        let mine = rows
            .iter()
            .filter(|row| row["mac"] == ROAMER.to_string().as_str());
        assert!(mine.count() <= 1, "{rows:?}");
        assert!(rows.iter().all(|row| row["duplicate"] == false), "{rows:?}");
    }
    let mut talk = world.talk();
    talk.until_at(at);
    let strays = talk.arrived(other);
    talk.steps(20);
    assert_eq!(
        talk.arrived(other),
        strays,
        "frames still go where the VM was"
    );
    assert!(talk.arrived(at) >= 20, "{} of 20 came", talk.arrived(at));
}

fn a_hundred_moves_leave_the_tables_right(family: Family) {
    let world = Moving::new(family, Kind::Vtep);
    let args = format!("--mac {ROAMER} --ip {} --ip {}", VM.v4, VM.v6);
    world.sites[0].plug(&world.lab, &args);

    for turn in 1..=100 {
        let (new, old) = (turn % 2, 1 - turn % 2);
        world.sites[new].plug(&world.lab, &args);
        world.sites[old].unplug(&world.lab);
    }

    ends_up(&world, 0, "static");
    for (at, count) in [(0, 2), (1, 0), (2, 0)] {
        for table in ["neigh", "nexthop"] {
            let rows = world.lab.daemon(at).table(table);
            assert_eq!(rows.len(), count, "{table} at {at}: {rows:?}");
        }
    }
}

fn a_hundred_moves_of_a_vm_that_speaks_leave_the_tables_right(family: Family) {
    let world = Moving::new(family, Kind::Vtep);
    let witness = family.address(0, 250);
    let monitors = [0, 1, 2].map(|at| Monitor::start(world.lab.daemon(at), GREEN, witness));
    for at in 0..3 {
        world
            .lab
            .daemon(at)
            .ok(&format!("vni set {GREEN} --suppress on"));
    }
    let speaks = |at: usize| {
        for ip in VM.ips() {
            world.sites[at].link.send(&VM.announces(ip).build());
        }
    };
    world.sites[0].plug(&world.lab, "");
    speaks(0);

    for turn in 1..=100 {
        let (new, old) = (turn % 2, 1 - turn % 2);
        world.sites[new].plug(&world.lab, "");
        speaks(new);
        world.sites[old].unplug(&world.lab);
    }

    until_true("the VM to be learned at its port", || {
        let row = world.lab.daemon(0).fdb(GREEN, ROAMER);
        row.is_some_and(|row| row["dev"] == "vm0")
    });
    ends_up(&world, 0, "learned");
    speaks(0);
    for ip in VM.ips() {
        until_true("the host to be known where it is", || {
            let row = world.lab.daemon(0).neigh(GREEN, ip);
            row.is_some_and(|row| row["dev"] == "vm0")
        });
        // Where the host was, it may still be answered for, but not as one behind the port.
        let row = world.lab.daemon(1).neigh(GREEN, ip);
        let right =
            |row: &Value| row["dev"].is_null() && row["lladdr"] == ROAMER.to_string().as_str();
        assert!(row.as_ref().is_none_or(right), "{row:?}");
    }
    for monitor in &monitors {
        assert_eq!(monitor.count(|row| row["event"] == "duplicate"), 0);
    }
    let moved = |row: &Value| row["event"] == "moved" && row["mac"] == ROAMER.to_string().as_str();
    assert!(
        monitors[2].count(moved) >= 50,
        "{} moves",
        monitors[2].count(moved)
    );
}

fn a_port_with_a_known_mac_is_announced(family: Family) {
    let wire = Wire::new(family);
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));
    drop(wire.left());
    let expect = |what: &str, mut want: Vec<Vec<u8>>| {
        let mut got: Vec<Vec<u8>> = Vec::new();
        until_true(what, || {
            got.extend(wire.left());
            // Each is sent once more, in case it was lost.
            let twice = |want| got.iter().filter(|got| *got == want).count() == 2;
            want.iter().all(twice)
        });
        got.sort();
        got.dedup();
        want.sort();
        assert_eq!(got, want, "{what}");
    };

    let first = wire.tap("vm1");
    wire.daemon
        .ok(&format!("port add vm1 --vni {GREEN} --mac {ROAMER}"));
    expect("a RARP", vec![neighbour::rarp(ROAMER).build()]);

    wire.daemon.ok("port del vm1");
    wire.daemon.ok(&format!(
        "port add vm1 --vni {GREEN} --mac {ROAMER} --ip {} --ip {}",
        VM.v4, VM.v6
    ));
    // Padded to the least length of a frame.
    let padded = |mut frame: Vec<u8>| {
        frame.resize(frame.len().max(60), 0);
        frame
    };
    let said = || VM.ips().map(|ip| padded(VM.announces(ip).build())).to_vec();
    expect("a gratuitous ARP and an unsolicited NA", said());

    let _second = wire.add_port("vm2", "");
    wire.daemon.ok("port del vm1");
    wire.daemon.ok(&format!("port set vm2 --mac {ROAMER}"));
    expect("a RARP", vec![neighbour::rarp(ROAMER).build()]);
    // No local port has to be told.
    assert!(first.recv(Duration::ZERO).is_none());
    assert!(
        !wire
            .port
            .collect(Duration::from_millis(20), |_| false)
            .contains(&said()[0])
    );
}

fn a_host_that_speaks_to_one_other_is_announced_to_all(family: Family) {
    let world = Moving::new(family, Kind::Vtep);
    world.sites[0].plug(&world.lab, "");
    // The first hypervisor knows the talker, so that a frame for it goes to nobody else.
    world
        .talker
        .link
        .send(&Host::at(TALKER, 0x43).announces(VM.v4.into()).build());
    until_true("the talker to be known", || {
        world.lab.daemon(0).fdb(GREEN, TALKER).is_some()
    });

    let frame = vtep_tests::traffic::checks::marked(ROAMER, TALKER, 7).build();
    world.sites[0].link.send(&frame);
    world.talker.link.expect(&frame);

    for at in [1, 2] {
        until_true("the VM to be known everywhere", || {
            let row = world.lab.daemon(at).fdb(GREEN, ROAMER);
            row.is_some_and(|row| row["dst"] == world.ip(0).as_str())
        });
    }
}
