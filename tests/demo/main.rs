//! `cargo xtask demo`: a segment across two hypervisors, to look at.

use std::mem;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use vtep_tests::daemon;
use vtep_tests::interrupt;
use vtep_tests::lab::ns::done;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{GREEN, Kind, Lab, Vm};
use vtep_tests::traffic::{ping, tcp_timed};

/// How many bytes the machines exchange by TCP.
const TRANSFER: usize = 100_000_000;

/// Show two hypervisors whose virtual machines share a segment, in network namespaces.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask demo", bin_name = "cargo xtask demo")]
struct DemoOptions {
    /// Leave it running, and say how to look around.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let options = DemoOptions::parse();
    match interrupt::hold() {
        Ok(()) => {
            run(options.keep);
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(keep: bool) {
    daemon::show_commands();
    if keep {
        daemon::outlive_this_process();
    }
    title("vtep on two hypervisors, with a router between them, and its tables");
    let underlay = Underlay {
        family: Family::V4,
        topology: Topology::Routed,
    };
    let lab = Lab::new(underlay, &[Kind::Vtep; 2]);
    lab.segment(GREEN);
    let (a, b) = lab.pair();

    title("A virtual machine on each");
    for vm in [&a, &b] {
        let hypervisor = &lab.hypervisors[vm.at];
        let (name, at) = (vm.ns.name(), hypervisor.ns.name());
        println!(
            "  {name} {} ({}), on hypervisor {at} at {}",
            vm.v4, vm.mac, hypervisor.ip
        );
    }

    title("Ping from machine to machine");
    ping(&a.ns, b.v4);
    interrupt::stop_if_interrupted();
    let mut three = a.ns.command("ping");
    three.args(["-c", "3", "-i", "0.2"]).arg(b.v4.to_string());
    print!(
        "{}",
        indented(&String::from_utf8_lossy(&done(&mut three, "").stdout))
    );

    title("TCP, both ways");
    for (from, to) in [(&a, &b), (&b, &a)] {
        interrupt::stop_if_interrupted();
        let took = tcp_timed(&from.ns, &to.ns, to.v4, TRANSFER);
        println!(
            "  {} -> {}: {TRANSFER} bytes, each as it was sent, {:.2} Gbit/s",
            from.ns.name(),
            to.ns.name(),
            gigabits(TRANSFER, took),
        );
    }

    let here = &lab.hypervisors[0];
    for line in [
        "vni show",
        "port show",
        "fdb show",
        "peer show",
        "stats",
        "drops",
    ] {
        title(&format!("{}# vtep {line}", here.ns.name()));
        print!("{}", indented(&here.daemon().printed(line)));
    }

    if keep {
        look_around(&lab, &a, &b);
        mem::forget((lab, a, b));
    } else {
        drop((a, b, lab));
        title("Everything is taken away again");
    }
}

/// Says what one may type while it stays up, and what takes it away.
fn look_around(lab: &Lab, a: &Vm, b: &Vm) {
    title("It stays up; look around with");
    let (vm, here) = (&a.ns, &lab.hypervisors[a.at]);
    let enter = |name: &str| format!("  nsenter --net=/run/netns/{name}");
    println!("{} env PS1=vm-a#\\  bash --norc", enter(vm.name()));
    println!("{} ping {}", enter(vm.name()), b.v4);
    for line in ["fdb show", "peer show", "stats", "drops"] {
        println!("  {}", here.daemon().to_type(line));
    }
    println!("{} ip -s link show {}", enter(here.ns.name()), a.port);
    let daemons = lab.hypervisors.iter().map(|at| at.daemon().removal());
    let hypervisors = lab.hypervisors.iter().map(|at| &at.ns);
    let namespaces = hypervisors
        .chain([&lab.fabric, &a.ns, &b.ns])
        .map(|ns| format!("ip netns del {}", ns.name()));
    let lines: Vec<String> = daemons.chain(namespaces).collect();
    println!("and take it away with\n  {}", lines.join("; "));
}

fn title(text: &str) {
    println!("\n== {text}");
}

fn indented(text: &str) -> String {
    text.split_inclusive('\n')
        .flat_map(|line| ["  ", line])
        .collect()
}

/// Returns the rate in Gbit/s.
#[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
fn gigabits(bytes: usize, took: Duration) -> f64 {
    bytes as f64 * 8.0 / took.as_secs_f64() / 1e9
}
