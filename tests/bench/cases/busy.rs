//! What keeps the daemon busy, and how long others wait for an answer, and for a MAC to be learned.

use vtep_tests::lab::busy::{Waits, add_vteps, change_other_routes, load, ports, waits_during};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::Wire;

use crate::measure::Scale;
use crate::report::{Goal, Report};

/// The longest that an answer may take.
const ANSWER_MS: f64 = 100.0;
/// The longest until a MAC is learned.
const LEARNED_MS: f64 = 50.0;

/// Measures.
pub(crate) fn run(scale: &Scale, report: &mut Report) {
    let [vteps, changes, count] = scale.pick([1000, 1000, 300], [50, 20, 5]);
    let goals = vteps == 1000;

    let wire = Wire::new(Family::V4);
    add_vteps(&wire, vteps);
    let waits = waits_during(&wire, 0, || change_other_routes(&wire, changes));
    let what = format!("{changes} other routes change, beside {vteps} VTEPs");
    rows(report, &what, &waits, goals);
    drop(wire);

    let wire = Wire::new(Family::V4);
    wire.daemon.ok("vni add 7");
    let batch = ports(&wire, count, 7);
    let waits = waits_during(&wire, 0, || load(&wire, &batch));
    rows(report, &format!("{count} ports are added"), &waits, goals);
    let waits = waits_during(&wire, 1 << 16, || {
        wire.daemon.ok("vni del 7 --force");
    });
    let what = format!("a VNI with {count} ports is deleted");
    rows(report, &what, &waits, goals);
}

fn rows(report: &mut Report, what: &str, waits: &Waits, goals: bool) {
    for (row, wait, most) in [
        ("longest wait for /v1/status", waits.answer, ANSWER_MS),
        ("longest until a MAC is learned", waits.learned, LEARNED_MS),
    ] {
        report.single(
            &format!("{row} while {what}"),
            "ms",
            wait.as_secs_f64() * 1e3,
            goals.then_some(Goal::AtMost(most)),
        );
    }
    report.note(format!("{} rounds", waits.rounds));
}
