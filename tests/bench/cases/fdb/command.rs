//! The FDB as users have it: by commands.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use vtep_tests::daemon::binary;
use vtep_tests::lab::ns::Ns;

use crate::cases::control::{BatchRun, Loaded, batch_command, mac};
use crate::measure::{Contender, Scale, compare};
use crate::report::{Figures, Report};

/// The same as users have it: a batch, a listing and a flush, of vtep and of a bridge.
pub(super) fn rows(scale: &Scale, report: &mut Report, count: u32) {
    let site = Loaded::new();
    let bridge = Bridge::new();
    let ours = BatchRun::of(count, |text, number| {
        use std::fmt::Write as _;
        writeln!(text, "fdb add {} --vni 100 --dst 198.18.0.2", mac(number))
    });
    let theirs = BatchRun::of(count, |text, number| {
        use std::fmt::Write as _;
        writeln!(text, "fdb add {} dev p0 master static", mac(number))
    });
    // In each round: load, read all, flush; of the figures of one round each is a row.
    let rows = std::cell::RefCell::new(Vec::<[f64; 6]>::new());
    let current = std::cell::Cell::new([0.0; 6]);
    let put = |at: usize, figures: [f64; 3]| {
        let mut all = current.get();
        all[at..at + 3].copy_from_slice(&figures);
        current.set(all);
        if all.iter().all(|&figure| figure > 0.0) {
            rows.borrow_mut().push(all);
            current.set([0.0; 6]);
        }
    };
    let rounds = compare(
        scale,
        5,
        &mut [
            Contender::new("vtep", || {
                let daemon = &site.daemon;
                let instance = ["--instance", daemon.instance()];
                let show = || {
                    let mut command = Command::new(binary::vtep());
                    command.args(["fdb", "show", "-j"]).args(instance);
                    command
                };
                let flush = || {
                    let mut command = Command::new(binary::vtep());
                    command
                        .args(["fdb", "flush", "--vni", "100"])
                        .args(instance);
                    command
                };
                let figures = [
                    rate(count, batch_command(daemon, &ours))?,
                    listed(count, show())?,
                    rate(count, flush())?,
                ];
                put(0, figures);
                Ok(figures[0])
            }),
            Contender::new("kernel", || {
                let figures = [
                    rate(
                        count,
                        bridge.command(&["-batch", &theirs.path().to_string_lossy()]),
                    )?,
                    listed(count, bridge.command(&["-j", "fdb", "show", "br", "br0"]))?,
                    rate(
                        count,
                        bridge.command(&["fdb", "flush", "dev", "p0", "master", "static"]),
                    )?,
                ];
                put(3, figures);
                Ok(figures[0])
            }),
        ],
    );
    let rows = rows.into_inner();
    for (at, what) in ["loaded by a batch", "listed as JSON", "flushed"]
        .into_iter()
        .enumerate()
    {
        let column = |from: usize| rows.iter().map(|row| row[from + at]).collect::<Vec<f64>>();
        let figures = Figures {
            series: vec![
                ("vtep".to_owned(), column(0)),
                ("kernel".to_owned(), column(3)),
            ],
            rounds: rounds.rounds.clone(),
        };
        report.ratio(&format!("{count} entries {what}"), "/s", &figures, None);
    }
}

/// Runs a command that has to succeed; returns entries a second.
fn rate(count: u32, command: Command) -> Result<f64, String> {
    let (took, _) = timed(command)?;
    Ok(f64::from(count) / took.as_secs_f64())
}

/// Runs a command that lists entries; returns how many a second.
fn listed(count: u32, command: Command) -> Result<f64, String> {
    let (took, out) = timed(command)?;
    let found = String::from_utf8_lossy(&out).matches("\"mac\":").count();
    if found < count as usize {
        return Err(format!("{found} of {count} entries were listed"));
    }
    Ok(f64::from(count) / took.as_secs_f64())
}

/// Runs a command that has to succeed; returns how long it took, and what it printed.
fn timed(mut command: Command) -> Result<(Duration, Vec<u8>), String> {
    let start = Instant::now();
    let out = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let took = start.elapsed();
    if out.status.success() {
        Ok((took, out.stdout))
    } else {
        Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        ))
    }
}

/// A bridge of the kernel with one port.
struct Bridge {
    ns: Ns,
    _far: Ns,
}

impl Bridge {
    fn new() -> Self {
        let (ns, far) = (Ns::new("bridge"), Ns::new("far"));
        ns.veth("p0", &far, "far0");
        ns.ip("link add br0 type bridge stp_state 0 mcast_snooping 0
             link set br0 up
             link set p0 master br0");
        Self { ns, _far: far }
    }

    /// `bridge ARGS`.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.ns.command("bridge");
        command.args(args);
        command
    }
}
