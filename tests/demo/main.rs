//! `cargo xtask demo`: a segment across three hypervisors, to look at.

mod scenes;
mod script;

use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use vtep_tests::daemon;
use vtep_tests::interrupt;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{GREEN, Kind, Lab, Vm};

use scenes::Scene;
use script::Script;

/// Show hypervisors whose virtual machines share a segment, in network namespaces.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask demo", bin_name = "cargo xtask demo")]
struct DemoOptions {
    /// Leave it running, and say how to look around.
    #[arg(long)]
    keep: bool,
    /// Write what was shown to this file, as Markdown.
    #[arg(long, value_name = "FILE", conflicts_with = "keep")]
    record: Option<PathBuf>,
}

fn main() -> ExitCode {
    let DemoOptions { keep, record } = DemoOptions::parse();
    match interrupt::hold().and_then(|()| run(keep, record.as_deref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(keep: bool, record: Option<&Path>) -> Result<(), String> {
    let script = Arc::new(Script::new(keep));
    let shows = Arc::clone(&script);
    daemon::show_commands(move |at, command| shows.command(at, command));
    if keep {
        daemon::outlive_this_process();
    }
    let (lab, a, b) = set_up(&script);
    let scene = Scene {
        script: &script,
        lab: &lab,
        a: &a,
        b: &b,
    };
    scene.play();
    interrupt::stop_if_interrupted();
    if keep {
        look_around(&script, &lab, &a, &b);
        mem::forget((lab, a, b));
        return Ok(());
    }
    drop((a, b, lab));
    script.part(
        "The end",
        "Everything is taken away again: daemons, programs, pins and namespaces.",
    );
    match record {
        Some(file) => fs::write(file, script.page())
            .map_err(|error| format!("cannot write {}: {error}", file.display())),
        None => Ok(()),
    }
}

/// Three hypervisors, with a machine on the first and one on the second.
fn set_up(script: &Script) -> (Lab, Vm, Vm) {
    script.part(
        "Three hypervisors",
        "Each has an uplink to a router that stands between them, and runs vtep. `hv0` is 198.18.1.1, `hv1` is 198.18.2.1, and `hv2` is 198.18.3.1. \
         They share VNI 100; the all-zero MAC stands for the flood list.",
    );
    let underlay = Underlay {
        family: Family::V4,
        topology: Topology::Routed,
    };
    let lab = Lab::new(underlay, &[Kind::Vtep; 3]);
    interrupt::stop_if_interrupted();
    lab.segment(GREEN);
    script.part(
        "A virtual machine on two of them",
        "Its device at the hypervisor becomes a port of the VNI. That is all.",
    );
    let machines = [(0, 1), (1, 2)].map(|(at, number)| {
        let vm = lab.vm(at, number, GREEN);
        let (name, at) = (vm.ns.name(), lab.hypervisors[at].ns.name());
        script.line(&format!("{name} is {} ({}), on {at}", vm.v4, vm.mac));
        vm
    });
    let [a, b] = machines;
    (lab, a, b)
}

/// Says what one may type while it stays up, and what takes it away.
fn look_around(script: &Script, lab: &Lab, a: &Vm, b: &Vm) {
    script.part("It stays up", "Look around with");
    let (vm, here) = (&a.ns, &lab.hypervisors[a.at]);
    let enter = |name: &str| format!("nsenter --net=/run/netns/{name}");
    script.line(&format!(
        "{} env PS1=vm-a#\\  bash --norc",
        enter(vm.name())
    ));
    script.line(&format!("{} ping {}", enter(vm.name()), b.v4));
    for line in ["fdb show", "peer show", "stats", "drops"] {
        script.line(&here.daemon().to_type(line));
    }
    let counts = format!("ip -s link show {}", a.port);
    script.line(&format!("{} {counts}", enter(here.ns.name())));
    let daemons = lab.hypervisors.iter().map(|at| at.daemon().removal());
    let hypervisors = lab.hypervisors.iter().map(|at| &at.ns);
    let namespaces = hypervisors
        .chain([&lab.fabric, &a.ns, &b.ns])
        .map(|ns| format!("ip netns del {}", ns.name()));
    let lines: Vec<String> = daemons.chain(namespaces).collect();
    script.line("and take it away with");
    script.line(&lines.join("; "));
}
