//! `vtep monitor -j`, as it runs.

use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::Value;

use crate::daemon::Daemon;
use crate::daemon::binary;
use crate::encoder::Mac;
use crate::wait::{until, until_true};

/// A MAC that only [`Monitor::start`] uses.
const WITNESS: &str = "02:fe:ed:00:00:01";

type Rows = Arc<Mutex<Vec<(Instant, Value)>>>;

/// The process and the rows that it has printed.
#[derive(Debug)]
pub struct Monitor {
    child: Child,
    rows: Rows,
}

impl Monitor {
    /// Starts to watch, and waits until it does: an entry for `witness`, a VTEP that nothing else
    /// is about, is made in `vni` and flushed until a row says so.
    ///
    /// # Panics
    ///
    /// If no row comes in time.
    #[must_use]
    #[track_caller]
    pub fn start(daemon: &Daemon, vni: u32, witness: IpAddr) -> Self {
        let mut command = Command::new(binary::vtep());
        command
            .args(["monitor", "-j", "--instance", daemon.instance()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        // SAFETY: prctl is safe to call between fork and exec; the process must not outlive its test.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let mut child = command.spawn().expect("start vtep monitor");
        let out = BufReader::new(child.stdout.take().expect("a piped standard output"));
        let rows = Rows::default();
        let shared = Arc::clone(&rows);
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let row = serde_json::from_str(&line)
                    .unwrap_or_else(|e| panic!("vtep monitor printed no JSON: {e}: {line}"));
                lock(&shared).push((Instant::now(), row));
            }
        });
        let monitor = Self { child, rows };
        until_true("vtep monitor to print something", || {
            daemon.ok(&format!(
                "fdb replace {WITNESS} --vni {vni} --dst {witness}"
            ));
            daemon.ok(&format!("fdb flush --vni {vni} --dst {witness} --static"));
            monitor.count(|row| row["event"] == "flushed") > 0
        });
        monitor
    }

    /// The rows so far.
    #[must_use]
    pub fn rows(&self) -> Vec<Value> {
        lock(&self.rows)
            .iter()
            .map(|(_, row)| row.clone())
            .collect()
    }

    /// How many rows so far are such.
    #[must_use]
    pub fn count(&self, wanted: impl Fn(&Value) -> bool) -> usize {
        lock(&self.rows)
            .iter()
            .filter(|(_, row)| wanted(row))
            .count()
    }

    /// Waits for a row, one of those so far included; returns it and when it was read.
    ///
    /// # Panics
    ///
    /// If none comes in time; prints what came instead.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> (Instant, Value) {
        let found = || {
            lock(&self.rows)
                .iter()
                .find(|(_, row)| wanted(row))
                .cloned()
        };
        crate::wait::poll(crate::wait::DEADLINE, found).unwrap_or_else(|| {
            let last: Vec<String> = self
                .rows()
                .iter()
                .rev()
                .take(10)
                .map(ToString::to_string)
                .collect();
            panic!(
                "no row of {what}; the last ones, newest first:\n{}",
                last.join("\n")
            )
        })
    }

    /// Waits for an event about `mac` and returns its row.
    ///
    /// # Panics
    ///
    /// If none comes in time.
    #[must_use]
    #[track_caller]
    pub fn event(&self, event: &str, mac: Mac) -> Value {
        let mac = mac.to_string();
        let (_, row) = self.wait_for(&format!("{event} of {mac}"), |row| {
            row["event"] == event && row["mac"] == mac.as_str()
        });
        row
    }

    /// Forgets the rows so far.
    pub fn clear(&self) {
        lock(&self.rows).clear();
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> std::process::ExitStatus {
        until("vtep monitor to end", || {
            self.child.try_wait().expect("ask for the child's state")
        })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn lock(rows: &Rows) -> std::sync::MutexGuard<'_, Vec<(Instant, Value)>> {
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}
