//! What the programs and the daemon may take.

use std::collections::BTreeMap;
use std::fs;

use vtep_tests::bpf::stack;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{GREEN, Kind, Lab};
use vtep_tests::need_root;
use vtep_tests::testrun::with_test_bed;

/// Instructions that the verifier may have to walk through for each program.
type Budget = [(&'static str, u32); 13];

/// The budget from each version of Linux on: what a program takes on 6.1 (`cargo xtask test vm 6.1`) and on 6.18, and 3 %, for what a compiler
/// changes. From 7.0 on an estimate: what was taken on 7.3 before drops were counted by owner, as much more as on 6.18 since, and 8 %.
const BUDGETS: [((u32, u32), Budget); 3] = [
    (
        (6, 1),
        [
            ("tc_port", 6_430),
            ("tc_port_guard", 6_030),
            ("tc_port_neigh", 6_170),
            ("tc_port_rest", 5_190),
            ("tc_port_found", 7_100),
            ("tc_port_flood", 6_190),
            ("tc_port_too_big", 4_990),
            ("tc_port_clamp", 5_490),
            ("tc_tunnel_clamp", 4_610),
            ("tc_uplink", 5_900),
            ("tc_tunnel", 5_940),
            ("xdp_port", 123_920),
            ("xdp_uplink", 19_140),
        ],
    ),
    (
        (6, 12),
        [
            ("tc_port", 4_930),
            ("tc_port_guard", 4_400),
            ("tc_port_neigh", 4_680),
            ("tc_port_rest", 3_770),
            ("tc_port_found", 5_110),
            ("tc_port_flood", 4_910),
            ("tc_port_too_big", 3_800),
            ("tc_port_clamp", 4_310),
            ("tc_tunnel_clamp", 4_080),
            ("tc_uplink", 5_350),
            ("tc_tunnel", 5_230),
            ("xdp_port", 16_020),
            ("xdp_uplink", 18_780),
        ],
    ),
    (
        (7, 0),
        [
            ("tc_port", 5_320),
            ("tc_port_guard", 4_760),
            ("tc_port_neigh", 5_050),
            ("tc_port_rest", 4_070),
            ("tc_port_found", 5_500),
            ("tc_port_flood", 6_790),
            ("tc_port_too_big", 4_070),
            ("tc_port_clamp", 4_590),
            ("tc_tunnel_clamp", 4_370),
            ("tc_uplink", 5_720),
            ("tc_tunnel", 5_890),
            ("xdp_port", 16_880),
            ("xdp_uplink", 19_760),
        ],
    ),
];
/// What more than this walks through nobody can review (ADR 8): the most that any budget of [`REVIEWED`] may be.
const MOST_INSTRUCTIONS: u32 = 5_400;
/// The same at XDP, where a packet would pay for every value that makes the verifier's way shorter (ADR 8).
const MOST_AT_XDP: u32 = 21_000;
/// The kernels for which that holds: where most of the work on the programs is done.
const REVIEWED: (u32, u32) = (6, 12);
/// Stack that a program may take with all that it calls. The kernel's limit; but what is held against it here is more than the
/// verifier adds up, by the registers that an unrolled `bpf_loop` saves.
const MOST_STACK: u32 = 512;
/// Memory that a daemon with loaded programs may hold, in KiB.
const MOST_MEMORY_KIB: u64 = 30 * 1024;

#[test]
fn the_verifier_walks_through_no_more_of_each_program_than_its_budget() {
    need_root!();
    let programs = with_test_bed(|bench| bench.datapath().verified_instructions());
    let found: BTreeMap<&str, u32> = programs
        .into_iter()
        .map(|(name, count)| (name, count.expect("the kernel counts since 5.16")))
        .collect();
    let (from, budget) = budget();
    println!("program       verified instructions, of");
    for (name, count) in &found {
        println!(
            "{name:<13} {count:>21} {:>6}",
            budget.get(name).unwrap_or(&0)
        );
    }
    assert!(
        found.keys().eq(budget.keys()),
        "each program has a budget, and nothing else has one"
    );
    for (name, count) in found {
        let most_here = match name {
            _ if from != REVIEWED => u32::MAX,
            name if name.starts_with("xdp") => MOST_AT_XDP,
            _ => MOST_INSTRUCTIONS,
        };
        let most = budget[name].min(most_here);
        assert!(
            (1..=most).contains(&count),
            "{name} takes {count} instructions of {most}"
        );
    }
}

/// The budget for the kernel that runs, and the version that it is for.
fn budget() -> ((u32, u32), BTreeMap<&'static str, u32>) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    let mut numbers = release.split('.').map(|number| {
        let digits = number.split(|c: char| !c.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse().ok())
    });
    let mut number = || numbers.next().flatten().expect("a number in the release");
    let running: (u32, u32) = (number(), number());
    let (from, budget) = BUDGETS
        .into_iter()
        .rfind(|(from, _)| *from <= running)
        .expect("a kernel that vtep runs on");
    (from, BTreeMap::from(budget))
}

#[test]
fn no_program_takes_more_than_512_bytes_of_stack() {
    need_root!();
    let found = with_test_bed(|bench| {
        let datapath = bench.datapath();
        let names = datapath.verified_instructions();
        let depth = |(name, _): (&'static str, _)| {
            let depth = if name.starts_with("xdp") {
                let program = datapath.xdp_program(name).expect("a program");
                stack::deepest(program.fd().expect("it is loaded"))
            } else {
                let program = datapath.tc_program(name).expect("a program");
                stack::deepest(program.fd().expect("it is loaded"))
            };
            (name, depth)
        };
        names.into_iter().map(depth).collect::<Vec<_>>()
    });
    println!("program       bytes of stack, of {MOST_STACK}");
    for (name, depth) in &found {
        println!("{name:<13} {depth:>14}");
    }
    assert_eq!(found.len(), budget().1.len());
    for (name, depth) in found {
        // Each calls some function, so less has not been counted.
        assert!(
            (64..=MOST_STACK).contains(&depth),
            "{name} takes {depth} bytes of {MOST_STACK}"
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
