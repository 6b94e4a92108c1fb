//! `vtep top` on a terminal of its own: what it shows of frames that go by, what its keys do, and how it leaves the terminal.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use vtep_tests::daemon::{Daemon, binary};
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{GREEN, Kind, Lab, Vm};
use vtep_tests::need_root;
use vtep_tests::pty::Pty;
use vtep_tests::traffic::pings;
use vtep_tests::wait::until_true;

const UNDERLAY: Underlay = Underlay {
    family: Family::V4,
    topology: Topology::Flat,
};

/// Two hypervisors with a VM each.
struct Scene {
    vms: [Vm; 2],
    lab: Lab,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::green(UNDERLAY, &[Kind::Vtep, Kind::Kernel]);
        let (a, b) = lab.pair();
        Self { vms: [a, b], lab }
    }

    fn daemon(&self) -> &Daemon {
        self.lab.daemon(0)
    }

    fn top(&self, rows: u16, columns: u16) -> Pty {
        let mut command = Command::new(binary::vtep());
        command.args(["top", "--instance", self.daemon().instance()]);
        Pty::run(command, rows, columns)
    }

    /// Has the VMs ping each other while something is looked at.
    fn while_they_ping<T>(&self, look: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        let [a, b] = &self.vms;
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(
                        pings(&a.ns, b.v4, vtep_tests::wait::DEADLINE),
                        "a ping is lost"
                    );
                }
            });
            let ended = Ends(&done);
            let seen = look();
            drop(ended);
            seen
        })
    }
}

/// Ends the pings, also where what is looked for does not come.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The words of the row that begins with this one.
fn row<'a>(screen: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let rows = screen
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.into_iter().find(|words| words.first() == Some(&name))
}

/// Whether all four rates of a row are other than zero.
fn moves(screen: &str, name: &str) -> bool {
    row(screen, name).is_some_and(|words| {
        let rates = words.iter().rev().take(4);
        rates.clone().count() == 4 && rates.clone().all(|rate| *rate != "0")
    })
}

#[test]
fn each_view_shows_the_rates_of_what_goes_by() {
    need_root!();
    let scene = Scene::new();
    let (port, peer) = (&scene.vms[0].port, scene.lab.hypervisors[1].ip.to_string());
    let mut top = scene.top(24, 80);
    top.until("the first screen", |screen| screen.contains("vtep top - "));

    scene.while_they_ping(|| {
        let screen = top.until("the port's rates", |screen| moves(screen, port));
        assert!(
            screen.contains("TX PKT/S") && screen.contains("q quit"),
            "{screen}"
        );
        top.type_keys("2");
        top.until("the VNI's rates", |screen| moves(screen, "100"));
        top.type_keys("\t");
        top.until("the VTEP's rates", |screen| moves(screen, &peer));
    });

    top.type_keys("q");
    assert_eq!(top.ended().code(), Some(0));
}

#[test]
fn drops_are_shown_by_their_reason() {
    need_root!();
    let scene = Scene::new();
    let mut top = scene.top(24, 80);
    top.type_keys("4");
    top.until("the view of drops", |screen| screen.contains("MEANING"));

    // Nobody has this host: its solicitations are flooded. What has a tag is dropped.
    let vm = &scene.vms[0];
    let link = vm.link();
    let mut frame = vec![0xff; 6];
    frame.extend(vm.mac.0);
    frame.extend([0x81, 0, 0, 7, 8, 0]);
    frame.resize(64, 0);
    let screen = {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    vtep_tests::link::Link::send(&link, &frame);
                    thread::yield_now();
                }
            });
            let ended = Ends(&done);
            let screen = top.until("the reason with its rate", |screen| {
                row(screen, "vlan_unmapped").is_some_and(|words| words[2] != "0" && words[4] != "0")
            });
            drop(ended);
            screen
        })
    };
    assert_eq!(
        row(&screen, "vlan_unmapped").unwrap()[1],
        "port",
        "{screen}"
    );
    let counted = scene.daemon().rows("drops");
    assert!(
        counted.iter().any(|row| row["reason"] == "vlan_unmapped"),
        "{counted:?}"
    );
}

#[test]
fn keys_filter_sort_and_pause_and_another_size_is_taken() {
    need_root!();
    let scene = Scene::new();
    for number in 0..30 {
        let dev = format!("wait{number}");
        scene
            .daemon()
            .ok(&format!("port add {dev} --vni {GREEN} --wait"));
    }
    let mut top = scene.top(24, 80);
    top.until("all rows", |screen| screen.contains("1-20 of 31"));
    top.type_keys("\x1b[F");
    top.until("the last rows", |screen| screen.contains("12-31 of 31"));

    top.type_keys("/wait1");
    top.until("the filter", |screen| {
        screen.contains("filter: wait1_") && screen.contains("of 11")
    });
    top.type_keys("\r");
    top.until("the keys again", |screen| screen.contains("q quit"));
    // By name, the other way round.
    top.type_keys("ssssr");
    let is_first = |screen: &str, name: &str| {
        screen
            .lines()
            .nth(3)
            .is_some_and(|line| line.starts_with(name))
    };
    top.until("the other order", |screen| is_first(screen, "wait19"));

    top.type_keys("p");
    top.until("the pause", |screen| screen.contains(" paused "));
    top.type_keys("p\x1b");
    top.until("all rows again", |screen| {
        screen.contains("of 31") && !screen.contains(" paused ")
    });

    top.resize(40, 120);
    let screen = top.until("the larger screen", |screen| {
        screen.contains("1-31 of 31") || screen.contains("-31 of 31")
    });
    assert!(
        screen.lines().any(|line| line.trim_end().len() > 100),
        "{screen}"
    );
    top.resize(10, 80);
    top.until("the smaller screen", |screen| {
        screen.contains("q quit") && screen.contains("of 31")
    });
}

#[test]
fn a_daemon_that_ends_is_said_and_the_next_one_is_found() {
    need_root!();
    let scene = Scene::new();
    let port = &scene.vms[0].port;
    let top = scene.top(24, 80);
    top.until("the port", |screen| row(screen, port).is_some());

    scene.daemon().stop();
    let screen = top.until("that it has ended", |screen| {
        screen.contains("no vtep daemon answers")
    });
    assert!(row(&screen, port).is_some(), "{screen}");

    scene.daemon().run();
    scene.while_they_ping(|| {
        top.until("the next daemon's rates", |screen| moves(screen, port));
    });
}

#[test]
fn the_terminal_is_as_before_after_a_key_and_after_signals() {
    need_root!();
    let scene = Scene::new();
    let ways: [(&str, Option<i32>); 6] = [
        ("q", None),
        ("\x03", None),
        ("", Some(libc::SIGTERM)),
        ("", Some(libc::SIGINT)),
        ("", Some(libc::SIGHUP)),
        ("", Some(libc::SIGQUIT)),
    ];
    for (keys, signal) in ways {
        let mut top = scene.top(24, 80);
        top.until("the first screen", |screen| screen.contains("vtep top - "));
        assert!(top.is_alternate() && !top.is_cooked());

        top.type_keys(keys);
        if let Some(signal) = signal {
            top.signal(signal);
        }

        assert_eq!(top.ended().code(), Some(0), "{keys:?} {signal:?}");
        until_true("the screen to be given back", || {
            !top.is_alternate() && !top.hides_cursor()
        });
        assert!(top.is_cooked(), "{keys:?} {signal:?}");
    }
}

#[test]
fn without_a_terminal_it_names_what_other_programs_read() {
    need_root!();
    let scene = Scene::new();
    for args in ["top", "top -j", "top --interval 5"] {
        let out = scene.daemon().vtep(args);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(
            said.contains("vtep stats -j") && said.contains("vtep monitor"),
            "{said}"
        );
        assert!(out.stdout.is_empty());
    }
    let out = scene.daemon().vtep("top --interval 0");
    assert!(!out.status.success());
    // Without a daemon it is said as by every command, and no screen is taken.
    let mut command = Command::new(binary::vtep());
    command.args(["top", "--instance", "nobody"]);
    let mut top = Pty::run(command, 24, 80);
    assert_eq!(top.ended().code(), Some(3));
    top.until("the refusal", |screen| {
        screen.contains("no vtep daemon answers")
    });
    assert!(!top.is_alternate());
}
