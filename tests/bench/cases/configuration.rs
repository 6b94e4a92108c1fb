//! A configuration file with a great many entries: a start with it, a changed line of it, and what others notice meanwhile.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vtep_tests::daemon::Daemon;
use vtep_tests::lab::busy::waits_during;
use vtep_tests::lab::ns::{Ns, unique};
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::wire::Wire;
use vtep_tests::lab::{Kind, Lab};
use vtep_tests::traffic::stream::Stream;
use vtep_tests::wait::{poll, until_true};

use super::control::mac;
use crate::measure::{Contender, Scale, compare, process};
use crate::report::{Goal, Report};

/// The VNI of the entries of a file.
const VNI: u32 = 7;
/// VTEPs that the entries are behind.
const VTEPS: u32 = 32;
/// The longest that a start may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// Measures.
pub(super) fn run(scale: &Scale, report: &mut Report) {
    let full = scale.pick(true, false);
    let goal = |goal| full.then_some(goal);

    let count = scale.pick(100_000, 500);
    let started = compare(
        scale,
        5,
        &mut [Contender::new("vtep", || start_empty(count))],
    );
    report.figure(
        &format!("a start with a file of {count} entries, from nothing to forwarding"),
        "s",
        &started,
        goal(Goal::AtMost(1.0)),
    );

    let count = scale.pick(1_000_000, 2_000);
    let site = Site::new(count);
    site.daemon.run();
    let mut seen = Applied::default();
    let applied = compare(
        scale,
        5,
        &mut [Contender::new("vtep", || site.apply_one(&mut seen))],
    );
    report.figure(
        &format!("one changed line of {count} applied"),
        "s",
        &applied,
        goal(Goal::AtMost(1.5)),
    );
    report.note(format!(
        "{:.2} s of the daemon's processor time, which had {:.0} MiB at most",
        seen.daemon_s, seen.memory_mib
    ));
    drop(site);

    let count = scale.pick(200_000, 500);
    let file = ConfigFile::new("apply");
    let wire = Wire::new(Family::V4);
    file.write("", count, 0);
    let apply = format!("apply {}", file.path().display());
    wire.daemon.ok(&apply);
    file.write("", count, 1);
    let waits = waits_during(&wire, 0, || drop(wire.daemon.ok(&apply)));
    for (row, wait, most) in [
        ("longest wait for /v1/status", waits.answer, 100.0),
        ("longest until a MAC is learned", waits.learned, 50.0),
    ] {
        report.single(
            &format!("{row} while a file of {count} entries is applied"),
            "ms",
            wait.as_secs_f64() * 1e3,
            goal(Goal::AtMost(most)),
        );
    }
    drop(wire);

    for (what, lost) in lost(scale.pick(100_000, 500)) {
        report.single(
            &format!("packets lost, of 1,000/s, while {what}"),
            "packets",
            lost,
            goal(Goal::AtMost(0.0)),
        );
    }
}

/// A configuration file, deleted when dropped.
struct ConfigFile {
    path: PathBuf,
}

impl ConfigFile {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(unique(name));
        Self { path }
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the file: `first`, and many entries, one of which depends on `version`.
    fn write(&self, first: &str, count: u32, version: u32) {
        let mut text = format!("{first}\nvni add {VNI}\n");
        for number in 0..count {
            let vtep = number + if number == count / 2 { version } else { 0 };
            let dst = vtep % VTEPS + 100;
            let mac = mac(number);
            writeln!(text, "fdb add {mac} --vni {VNI} --dst 198.18.0.{dst}").expect("room");
        }
        fs::write(&self.path, text).expect("write the file");
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

/// What was seen of a daemon while a file was applied: the worst of all rounds.
#[derive(Default)]
struct Applied {
    daemon_s: f64,
    memory_mib: f64,
}

/// A hypervisor whose daemon has a configuration file, and does not run yet.
struct Site {
    daemon: Daemon,
    file: ConfigFile,
    count: u32,
    version: std::cell::Cell<u32>,
    _ends: [Ns; 2],
}

const RUN: &str = "run --iface up0 --fdb-max 1100000";

impl Site {
    fn new(count: u32) -> Self {
        let (here, far) = (Ns::new("hv"), Ns::new("far"));
        here.veth("up0", &far, "far0");
        here.ip("addr add 198.18.0.1/24 dev up0");
        let file = ConfigFile::new("config");
        file.write(RUN, count, 0);
        let path = file.path().display().to_string();
        let daemon = Daemon::named(&here, &unique("i"), &["--config", &path]);
        Self {
            daemon,
            file,
            count,
            version: std::cell::Cell::new(0),
            _ends: [here, far],
        }
    }

    /// Has a changed line applied; returns seconds.
    fn apply_one(&self, seen: &mut Applied) -> Result<f64, String> {
        let version = self.version.get() + 1;
        self.version.set(version);
        self.file.write(RUN, self.count, version);
        let before = process::spent(self.daemon.pid());
        let start = Instant::now();
        let done = self.daemon.ok("apply");
        let elapsed = start.elapsed();
        let spent = process::spent(self.daemon.pid()).saturating_sub(before);
        seen.daemon_s = seen.daemon_s.max(spent.as_secs_f64());
        let [_, most] = process::memory(self.daemon.pid());
        seen.memory_mib = seen.memory_mib.max(most);
        if done.lines().count() == 1 && done.starts_with("~ fdb replace") {
            Ok(elapsed.as_secs_f64())
        } else {
            Err(format!("the plan was {done:?}"))
        }
    }
}

/// Starts a daemon with a file where there is nothing; returns seconds until it serves, which it does once all is forwarded.
fn start_empty(count: u32) -> Result<f64, String> {
    let site = Site::new(count);
    let start = Instant::now();
    site.daemon.run();
    let whole = poll(DEADLINE, || {
        (site.daemon.fdb_len() == u64::from(count)).then_some(())
    });
    let elapsed = start.elapsed();
    whole.ok_or_else(|| format!("{} entries", site.daemon.fdb_len()))?;
    Ok(elapsed.as_secs_f64())
}

/// What a stream through the overlay loses through each of these, with a file of many entries.
fn lost(count: u32) -> Vec<(&'static str, f64)> {
    let file = ConfigFile::new("stream");
    file.write("run", count, 0);
    let underlay = Underlay {
        family: Family::V4,
        topology: Topology::Flat,
    };
    let path = file.path().display().to_string();
    let lab = Lab::with(
        underlay,
        &[Kind::Vtep, Kind::Vtep],
        1500,
        &["--config", &path],
    );
    lab.segment(vtep_tests::lab::GREEN);
    let (a, b) = lab.pair();
    let daemon = lab.daemon(0);
    let changed = |version| {
        let entry = format!("fdb get {} --vni {VNI}", mac(count / 2));
        let dst = format!("198.18.0.{}", (count / 2 + version) % VTEPS + 100);
        until_true("the changed line to be applied", || {
            daemon
                .rows(&entry)
                .first()
                .is_some_and(|row| row["dst"] == dst.as_str())
        });
    };
    let during = |work: &dyn Fn()| {
        let stream = Stream::start((&a.ns, a.v4), (&b.ns, b.v4));
        stream.wait_for(100);
        work();
        stream.wait_for(200);
        let (_, lost) = stream.finish();
        f64::from(u32::try_from(lost.len()).expect("not so many"))
    };
    let apply = || {
        file.write("run", count, 1);
        daemon.ok("apply");
        changed(1);
    };
    let reload = || {
        file.write("run", count, 2);
        daemon.signal(libc::SIGHUP);
        changed(2);
    };
    let restart = || {
        file.write("run", count, 3);
        daemon.stop();
        daemon.run();
        changed(3);
    };
    vec![
        ("one changed line is applied", during(&apply)),
        ("the daemon gets a SIGHUP", during(&reload)),
        ("the daemon is stopped and started", during(&restart)),
    ]
}
