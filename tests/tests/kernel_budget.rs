//! What the programs and the daemon may take.

use std::fs;

use vtep_tests::lab::{GREEN, Kind, Lab};
use vtep_tests::need_root;
use vtep_tests::testrun::with_bench;
use vtep_tests::underlay::{Family, Topology, Underlay};

/// Instructions that the verifier may have to walk through for one program.
const MOST_INSTRUCTIONS: u32 = 4_000;
/// Memory that a daemon with loaded programs may hold, in KiB.
const MOST_MEMORY_KIB: u64 = 30 * 1024;

#[test]
fn the_verifier_walks_through_at_most_4000_instructions_of_each_program() {
    need_root!();
    let programs = with_bench(|bench| bench.datapath().verified_instructions());
    println!("program       verified instructions of {MOST_INSTRUCTIONS}");
    for (name, count) in &programs {
        println!("{name:<13} {:>5}", count.unwrap_or(0));
    }
    assert_eq!(programs.len(), 8);
    for (name, count) in programs {
        let count = count.expect("the kernel counts since 5.16");
        assert!(
            (1..=MOST_INSTRUCTIONS).contains(&count),
            "{name} takes {count} instructions"
        );
    }
}

#[test]
fn a_loaded_daemon_holds_less_than_30_mib() {
    need_root!();
    let underlay = Underlay {
        family: Family::V4,
        topology: Topology::Flat,
    };
    let lab = Lab::green(underlay, &[Kind::Vtep, Kind::Vtep]);
    let _vms = lab.pair();
    let daemon = lab.hypervisors[0].daemon();
    assert_eq!(daemon.rows("vni show")[0]["vni"], GREEN);

    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let field = |name: &str| -> u64 {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("a line of /proc/PID/status");
        line.trim_start_matches(':')
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number")
    };

    assert!(status.starts_with("Name:\tvtep\n"), "{status}");
    let (resident, peak) = (field("VmRSS"), field("VmHWM"));
    println!("daemon: {resident} KiB resident of {MOST_MEMORY_KIB}, {peak} KiB while it loaded");
    assert!(resident < MOST_MEMORY_KIB, "{resident} KiB resident");
}
