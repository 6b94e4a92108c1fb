//! `cargo xtask upgrade`: an earlier build of `vtep` gives way to this one, under traffic; and what it had pinned is kept for the tests.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;

use vtep_tests::bpf;
use vtep_tests::daemon::{Daemon, binary};
use vtep_tests::interrupt;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{Kind, Lab, Vm};
use vtep_tests::traffic::checks;
use vtep_tests::traffic::stream::Stream;
use vtep_tests::upgrade::fixture::Fixture;
use vtep_tests::upgrade::scene::Scene;

/// Milliseconds without a packet that an upgrade may take. A stream sends one each millisecond.
const LONGEST_GAP: u32 = 50;

/// Upgrade from an earlier build of vtep to this one, under traffic.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask upgrade", bin_name = "cargo xtask upgrade")]
struct UpgradeOptions {
    /// The earlier build.
    old: PathBuf,
    /// How often. From the second time on, a daemon of this build is killed first, later each time, and the earlier one goes on once more
    /// where it can.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Do as on kernels before 6.6, which have no tcx.
    #[arg(long)]
    no_tcx: bool,
    /// Upgrade nothing: write what the earlier build pins to this file, as a fixture of the tests.
    #[arg(long)]
    fixture: Option<PathBuf>,
}

fn main() -> ExitCode {
    let UpgradeOptions {
        old,
        rounds,
        no_tcx,
        fixture,
    } = UpgradeOptions::parse();
    if no_tcx {
        binary::without_tcx();
    }
    if let Err(message) = interrupt::hold() {
        eprintln!("error: {message}");
        return ExitCode::FAILURE;
    }
    if let Some(path) = fixture {
        let scene = Scene::of_build(&old);
        Fixture::of(&scene.wire.daemon).write(&path);
        println!("wrote {}", path.display());
        return ExitCode::SUCCESS;
    }
    binary::use_build(&old);
    let mut longest = 0;
    for round in 1..=rounds {
        for family in [Family::V4, Family::V6] {
            let upgraded = upgrade(family, &old, LATER * (round - 1));
            println!("round {round}, {family:?}: {upgraded}");
            longest = longest.max(upgraded.gap);
        }
    }
    println!("the longest gap: {longest} ms, and {LONGEST_GAP} ms are allowed");
    if longest <= LONGEST_GAP {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// How much later the first daemon is killed each time.
const LATER: Duration = Duration::from_millis(60);

/// What an upgrade cost.
struct Upgraded {
    sent: u32,
    lost: usize,
    /// What became of the daemon that was killed.
    killed: &'static str,
    /// Packets that were lost in a row, in milliseconds.
    gap: u32,
    /// What the daemon says of it.
    log: String,
}

impl std::fmt::Display for Upgraded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            sent,
            lost,
            killed,
            gap,
            log,
        } = self;
        write!(
            f,
            "{lost} of {sent} packets lost, {gap} ms in a row; {killed}{log}"
        )
    }
}

/// Two hypervisors, of which one is upgraded while frames go through it both ways.
fn upgrade(family: Family, old: &Path, kill_after: Duration) -> Upgraded {
    let underlay = Underlay {
        family,
        topology: Topology::Flat,
    };
    let lab = Lab::green(underlay, &[Kind::Vtep; 2]);
    let (a, b) = lab.pair();
    checks::ping_both_ways(&a, &b);
    let way = |from: &Vm, to: &Vm| Stream::start((&from.ns, from.v4), (&to.ns, to.v4));
    let streams = [way(&a, &b), way(&b, &a)];
    let daemon = lab.daemon(0);
    streams[0].wait_for(200);
    daemon.kill();
    let killed = kill_one(daemon, old, kill_after, || streams[0].wait_for(200));
    daemon.set_build(binary::vtep());
    daemon.run();
    streams[0].wait_for(500);
    let (mut total, mut lost, mut gap) = (0, 0, 0);
    for stream in streams {
        let (sent, missing) = stream.finish();
        total += sent;
        lost += missing.len();
        gap = gap.max(longest_run(&missing));
    }
    let log = daemon.log();
    let said = log.lines().find(|line| line.contains("migrated the"));
    // Nothing of the earlier build is left.
    checks::arp_crosses(&a, &b);
    checks::ping_both_ways(&a, &b);
    Upgraded {
        sent: total,
        lost,
        killed,
        gap,
        log: said.unwrap_or("nothing was migrated").trim().to_owned(),
    }
}

/// Kills a daemon of this build some time after its start, and has the earlier one go on where its pins are still in place.
fn kill_one(daemon: &Daemon, old: &Path, after: Duration, wait: impl Fn()) -> &'static str {
    if after.is_zero() {
        return "";
    }
    let layout = || bpf::first_value(&daemon.pins().join("CONFIG"))[0];
    let before = layout();
    daemon.set_build(binary::vtep());
    let mut command = daemon.run_command();
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("start the daemon");
    std::thread::sleep(after);
    child.kill().expect("kill the daemon");
    child.wait().expect("wait for the daemon");
    wait();
    if layout() != before {
        return "one was killed after the rename; ";
    }
    daemon.set_build(old);
    daemon.run();
    wait();
    daemon.kill();
    wait();
    "one was killed before the rename, and the earlier build went on; "
}

/// How many of these follow one another.
fn longest_run(numbers: &[u32]) -> u32 {
    let (mut longest, mut run, mut last) = (0, 0, None);
    for number in numbers {
        run = if last == number.checked_sub(1) {
            run + 1
        } else {
            1
        };
        longest = longest.max(run);
        last = Some(*number);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_what_is_lost_in_a_row() {
        assert_eq!(longest_run(&[]), 0);
        assert_eq!(longest_run(&[0]), 1);
        assert_eq!(longest_run(&[3, 7, 8, 9, 20]), 3);
    }
}
