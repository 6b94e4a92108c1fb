//! The control plane: a great many entries by one batch, and a daemon that takes over as many.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::binary;
use vtep_tests::lab::ns::{Ns, unique};
use vtep_tests::wait::poll;

use super::configuration;
use crate::measure::{Contender, Scale, compare, process};
use crate::report::{Goal, Report};

const VNI: u32 = 100;
/// VTEPs that the entries are behind.
const VTEPS: u32 = 32;
/// The longest that loading or taking over may take.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long others may have to wait for an answer meanwhile.
const PATIENCE_MS: f64 = 100.0;

/// Measures.
pub(crate) fn run(scale: &Scale, report: &mut Report) {
    for count in scale.pick([100_000, 1_000_000], [500, 2_000]) {
        let goals = count == 1_000_000;
        let goal = |goal| goals.then_some(goal);
        let batch = BatchRun::write(count);
        let site = Loaded::new();
        let mut seen = Loading::default();
        let loaded = compare(
            scale,
            5,
            &mut [Contender::new("vtep", || site.load(&batch, &mut seen))],
        );
        report.figure(
            &format!("{count} entries loaded by `vtep batch`"),
            "s",
            &loaded,
            goal(Goal::AtMost(5.0)),
        );
        report.note(format!(
            "daemon {:.2} us, client {:.2} us of processor time for each entry",
            seen.daemon_us, seen.client_us
        ));
        report.single(
            &format!("longest wait for /v1/status while {count} are loaded"),
            "ms",
            seen.wait_ms,
            goal(Goal::AtMost(PATIENCE_MS)),
        );
        let mut taken = Taken::default();
        let adopted = compare(
            scale,
            5,
            &mut [Contender::new("vtep", || site.adopt(count, &mut taken))],
        );
        report.figure(
            &format!("{count} entries adopted by a new daemon"),
            "s",
            &adopted,
            goal(Goal::AtMost(3.0)),
        );
        report.note(format!("{:.2} s of processor time", taken.spent));
        let most = seen.memory_mib.max(taken.memory_mib);
        report.single(
            &format!("most memory of the daemon with {count} entries"),
            "MiB",
            most,
            goal(Goal::AtMost(300.0)),
        );
    }
    configuration::run(scale, report);
}

/// What was seen of a daemon while entries were loaded: the worst of all rounds.
#[derive(Default)]
struct Loading {
    daemon_us: f64,
    client_us: f64,
    wait_ms: f64,
    memory_mib: f64,
}

/// What was seen of a daemon that took over: the worst of all rounds.
#[derive(Default)]
struct Taken {
    spent: f64,
    memory_mib: f64,
}

/// A file of commands, deleted when dropped.
pub(super) struct BatchRun {
    path: PathBuf,
    pub(super) count: u32,
}

impl BatchRun {
    fn write(count: u32) -> Self {
        Self::of(count, |text, number| {
            let dst = number % VTEPS + 2;
            writeln!(
                text,
                "fdb add {} --vni {VNI} --dst 198.18.0.{dst}",
                mac(number)
            )
        })
    }

    /// Lines that `line` writes.
    pub(super) fn of(count: u32, line: impl Fn(&mut String, u32) -> std::fmt::Result) -> Self {
        let mut text = String::new();
        for number in 0..count {
            line(&mut text, number).expect("room for a line");
        }
        let path = std::env::temp_dir().join(unique("batch"));
        fs::write(&path, text).expect("write the batch");
        Self { path, count }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for BatchRun {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

/// A MAC of which no two are near each other.
pub(super) fn mac(number: u32) -> String {
    let [a, b, c, d] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// A hypervisor with a daemon.
pub(super) struct Loaded {
    pub(super) daemon: Daemon,
    _ends: [Ns; 2],
}

impl Loaded {
    pub(super) fn new() -> Self {
        let (here, far) = (Ns::new("hv"), Ns::new("far"));
        here.veth("up0", &far, "far0");
        here.ip("addr add 198.18.0.1/24 dev up0");
        let daemon = Daemon::start(&here, &["--iface", "up0", "--fdb-max", "1100000"]);
        daemon.ok(&format!("vni add {VNI}"));
        Self {
            daemon,
            _ends: [here, far],
        }
    }

    /// Loads a batch into an FDB that is empty; returns seconds.
    fn load(&self, batch: &BatchRun, seen: &mut Loading) -> Result<f64, String> {
        let daemon = &self.daemon;
        daemon.ok(&format!("fdb flush --vni {VNI} --static"));
        if daemon.fdb_len() != 0 {
            return Err("the FDB was not empty".to_owned());
        }
        let before = process::spent(daemon.pid());
        let loading = AtomicBool::new(true);
        let (start, children) = (Instant::now(), children_spent());
        let (status, elapsed, wait) = std::thread::scope(|scope| {
            let asker = scope.spawn(|| longest_wait(daemon, &loading));
            let status = batch_command(daemon, batch).status();
            let elapsed = start.elapsed();
            loading.store(false, Ordering::Relaxed);
            (status, elapsed, asker.join().expect("the asker"))
        });
        let status = status.map_err(|error| error.to_string())?;
        if !status.success() || daemon.fdb_len() != u64::from(batch.count) {
            return Err(format!("{status}: {} entries", daemon.fdb_len()));
        }
        let each = |spent: Duration| spent.as_secs_f64() * 1e6 / f64::from(batch.count);
        let client = children_spent().saturating_sub(children);
        let own = process::spent(daemon.pid()).saturating_sub(before);
        seen.daemon_us = seen.daemon_us.max(each(own));
        seen.client_us = seen.client_us.max(each(client));
        seen.wait_ms = seen.wait_ms.max(wait.as_secs_f64() * 1e3);
        let [_, most] = process::memory(daemon.pid());
        seen.memory_mib = seen.memory_mib.max(most);
        Ok(elapsed.as_secs_f64())
    }

    /// Kills the daemon and starts it again; returns seconds until it answers and has all entries.
    fn adopt(&self, count: u32, taken: &mut Taken) -> Result<f64, String> {
        let daemon = &self.daemon;
        daemon.kill();
        let start = Instant::now();
        daemon.run();
        let whole = poll(DEADLINE, || {
            (daemon.fdb_len() == u64::from(count)).then_some(())
        });
        let elapsed = start.elapsed();
        whole.ok_or_else(|| format!("{} entries were adopted", daemon.fdb_len()))?;
        taken.spent = taken.spent.max(process::spent(daemon.pid()).as_secs_f64());
        let [_, most] = process::memory(daemon.pid());
        taken.memory_mib = taken.memory_mib.max(most);
        Ok(elapsed.as_secs_f64())
    }
}

/// `vtep batch FILE`.
pub(super) fn batch_command(daemon: &Daemon, batch: &BatchRun) -> Command {
    let mut command = Command::new(binary::vtep());
    command
        .arg("batch")
        .arg(batch.path())
        .args(["--instance", daemon.instance()])
        .stdin(Stdio::null());
    command
}

/// Asks for the status all the time; returns how long the longest answer took to come.
fn longest_wait(daemon: &Daemon, loading: &AtomicBool) -> Duration {
    let mut longest = Duration::ZERO;
    while loading.load(Ordering::Relaxed) {
        let start = Instant::now();
        drop(daemon.status());
        longest = longest.max(start.elapsed());
        // As often as somebody who watches would, not so often that it is a load of its own.
        std::thread::sleep(Duration::from_millis(5));
    }
    longest
}

/// Processor time of all processes that were started here and have ended.
fn children_spent() -> Duration {
    // SAFETY: all-zero is valid, and the call fills in what it is given.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    [usage.ru_utime, usage.ru_stime]
        .map(|time| {
            let [seconds, micros] =
                [time.tv_sec, time.tv_usec].map(|part| u64::try_from(part).unwrap_or(0));
            Duration::from_secs(seconds) + Duration::from_micros(micros)
        })
        .iter()
        .sum()
}
