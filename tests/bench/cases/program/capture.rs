//! What a capture costs when it is over, which is to be nothing, and while it runs. A capture has the links run programs of another object, and
//! puts the first ones back (ADR 22). Here one begins and ends, and what the links run then is measured beside the programs of a daemon that has
//! never captured, in the same rounds; and so are the programs that captured, which look at each frame and want none any more.
//!
//! The object that never captures is the baseline: it is built without the feature, and a unit test sees that nothing of a capture is in it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use vtep_tests::bpf::program::{Program, ProgramType};
use vtep_tests::bpf::program_of_link;
use vtep_tests::daemon::binary;
use vtep_tests::lab::UPLINK;
use vtep_tests::lab::wire::PORT;
use vtep_tests::wait::{until, until_true};

use super::Prepared;
use crate::report::{Figures, Goal, Report};

/// What the contenders are called.
pub(super) const OFF: &str = "capture off";
pub(super) const WHILE: &str = "while captured";
/// How many times the time of programs that never captured a frame may take when a capture is over.
const MOST: f64 = 1.03;

/// The program that a link runs when a capture is over, and the one that it ran meanwhile.
pub(super) struct Programs {
    pub(super) off: Program,
    pub(super) meanwhile: Program,
}

/// A hypervisor on which a capture has come and gone, and the programs of a link there, if it has one.
#[derive(Clone, Copy)]
pub(super) struct After<'a> {
    pub(super) bench: &'a Prepared,
    pub(super) programs: Option<&'a Programs>,
}

/// Has a capture come and go. Returns the programs of each link, by the name that they have there.
pub(super) fn come_and_gone(bench: &Prepared) -> HashMap<&'static str, Programs> {
    let daemon = &bench.wire.daemon;
    let links = [
        ("xdp_uplink", ProgramType::Xdp, UPLINK),
        ("tc_uplink", ProgramType::Tc, UPLINK),
        ("tc_port", ProgramType::Tc, PORT),
    ];
    let path = |name: &str, device: &str| -> PathBuf {
        let ifindex = bench.wire.ns.ifindex(device);
        daemon.pins().join(format!("links/{name}-{ifindex}"))
    };
    let links = links.map(|(name, kind, device)| (name, kind, path(name, device)));
    let before: Vec<u32> = links
        .iter()
        .map(|(_, _, path)| program_of_link(path))
        .collect();

    let mut capture = Command::new(binary::vtep());
    capture
        .args(["capture", "--drops", "--instance", daemon.instance()])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut capture = capture.spawn().expect("start vtep capture");
    until_true("the daemon to capture", || {
        daemon.log().contains("captures frames")
    });
    let meanwhile: Vec<u32> = links
        .iter()
        .map(|(_, _, path)| program_of_link(path))
        .collect();
    let opened = links.iter().zip(&meanwhile);
    let opened: Vec<Program> = opened
        .map(|((_, kind, _), number)| Program::of_number(*kind, *number))
        .collect();
    capture.kill().expect("end vtep capture");
    capture.wait().expect("wait for vtep capture");
    until("the capture to end", || {
        daemon.log().contains("captures no more").then_some(())
    });

    let programs = links.into_iter().zip(before).zip(meanwhile).zip(opened);
    programs
        .map(|((((name, kind, path), before), captured), meanwhile)| {
            let number = program_of_link(&path);
            // The very one, and not one like it.
            assert_eq!(number, before, "{name} after a capture");
            assert_ne!(captured, before, "{name} during a capture");
            let off = Program::of_number(kind, number);
            (name, Programs { off, meanwhile })
        })
        .collect()
}

/// Adds the rows: `net` is what each figure is less, so that it is of the program alone.
pub(super) fn rows(report: &mut Report, row: &str, figures: &mut Figures, net: &str, goal: bool) {
    let [never, off, meanwhile] = [
        "never captured, net",
        "capture off, net",
        "while captured, net",
    ];
    for (name, whole) in [(never, "vtep"), (off, OFF), (meanwhile, WHILE)] {
        figures.derive(name, [whole, net], |[whole, net]| whole - net);
    }
    report.ratio(
        &format!("{row}, when a capture is over against never captured"),
        "ns",
        &figures.only(&[off, never]),
        goal.then_some(Goal::AtMost(MOST)),
    );
    report.note(
        "the links run the very programs that they ran before, which are built without the capture",
    );
    report.ratio(
        &format!("{row}, during a capture of other frames against never captured"),
        "ns",
        &figures.only(&[meanwhile, never]),
        None,
    );
}
