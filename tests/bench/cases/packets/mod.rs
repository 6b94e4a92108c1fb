//! Packets per second through two VTEPs, and through one in one direction.
//!
//! A program makes live frames on processor 0 and redirects them into the VM's end of its veth, 64 at a time as a driver does. From
//! there they take the port, the VTEP, the underlay's veth, the other VTEP and its port to the end in the other VM, where they are
//! counted and dropped: by XDP, or as an skb, by tcx, after GRO. A measurement counts only if every frame that was sent
//! has come there. Its time is that of the whole way, the generator's and the sink's share included: nothing is subtracted.
//!
//! vtep runs with XDP at ports and uplinks. Beside it the kernel's `vxlan` device and bridge in the same wiring, and the floor:
//! programs at the same four places that put constant headers on or take them off, and redirect, without a look-up. With all of
//! them, every end of a veth has GRO on, neighbours and destinations are static, the sources of the frames are learned, and
//! UDP checksums are zero.
//!
//! Before anything is measured, one frame for each way is captured and compared byte by byte: what leaves to the underlay among all
//! three (but for UDP source port and IPv4 identification), what comes to a VM with what was sent.

mod lane;
mod wiring;

use vtep_tests::dump::assert_same;
use vtep_tests::program::Ready;
use vtep_tests::underlay::Family;

use self::lane::{Lane, Sink};
use self::wiring::{Chain, Half, Kind};
use super::choices::without_choices;
use crate::measure::{Contender, Scale, compare};
use crate::report::{Goal, Report};

/// Lengths of the inner frames, Ethernet header included, in bytes.
const LENGTHS: [usize; 2] = [64, 512];
/// Rounds of each comparison.
const ROUNDS: u32 = 11;

/// Measures.
pub(crate) fn run(scale: &Scale, report: &mut Report) {
    for family in Family::BOTH {
        end_to_end(scale, report, family);
        alone(scale, report, family);
    }
}

fn lengths(scale: &Scale) -> &'static [usize] {
    scale.pick(&LENGTHS, &LENGTHS[..1])
}

/// What vtep is to reach from VM to VM with the shorter frames.
const fn goal(family: Family, sink: Sink) -> Goal {
    Goal::AtLeast(match (family, sink) {
        (Family::V4, Sink::Skb) => 5.0,
        (Family::V6, Sink::Skb) => 4.5,
        (Family::V4, Sink::Xdp) => 9.0,
        (Family::V6, Sink::Xdp) => 8.0,
    })
}

fn end_to_end(scale: &Scale, report: &mut Report, family: Family) {
    let ready = Ready::default();
    let mut chains = Kind::ALL.map(|kind| Chain::new(kind, family));
    for sink in Sink::BOTH {
        for &length in lengths(scale) {
            for chain in &mut chains {
                chain.fit(length);
            }
            let mut lanes = chains
                .each_ref()
                .map(|chain| chain.lane(&ready, sink, length));
            for lane in &mut lanes {
                lane.settle();
                if sink == Sink::Skb {
                    lane.check();
                }
            }
            let what = format!("{length} B, {family:?}, end to end, {} sink", sink.name());
            let goal = (length == LENGTHS[0]).then(|| goal(family, sink));
            contest(scale, report, &what, &lanes, goal);
        }
    }
}

fn alone(scale: &Scale, report: &mut Report, family: Family) {
    let ready = Ready::default();
    let mut halves = Kind::ALL.map(|kind| Half::new(kind, family));
    for &length in lengths(scale) {
        for half in &mut halves {
            half.fit(length);
        }
        let mut encap = halves
            .each_ref()
            .map(|half| half.encap(&ready, Sink::Skb, length));
        for lane in &mut encap {
            lane.settle();
        }
        let outer = encap.each_ref().map(|lane| {
            without_choices(&lane.capture(), family)
                .unwrap_or_else(|what| panic!("{family:?}, {length} B: {what}"))
        });
        assert_same(&outer[0], &outer[1], "vtep's packet beside the kernel's");
        assert_same(
            &outer[2],
            &outer[1],
            "the floor's packet beside the kernel's",
        );
        drop(encap);

        for sink in Sink::BOTH {
            let mut lanes = halves
                .each_ref()
                .map(|half| half.encap(&ready, sink, length));
            lanes.iter_mut().for_each(Lane::settle);
            let what = format!("{length} B, {family:?}, encap alone, {} sink", sink.name());
            contest(scale, report, &what, &lanes, None);
            drop(lanes);
            let mut lanes = halves
                .each_ref()
                .map(|half| half.decap(&ready, sink, length));
            for lane in &mut lanes {
                lane.settle();
                if sink == Sink::Skb {
                    lane.check();
                }
            }
            let what = format!("{length} B, {family:?}, decap alone, {} sink", sink.name());
            contest(scale, report, &what, &lanes, None);
        }
    }
}

/// Measures vtep, the kernel and the floor on the same way.
fn contest(
    scale: &Scale,
    report: &mut Report,
    what: &str,
    lanes: &[Lane<'_>; 3],
    goal: Option<Goal>,
) {
    let [vtep, kernel, floor] = lanes;
    let [of_vtep, of_kernel, of_floor] = lanes.each_ref().map(|lane| lane.count_for(scale));
    let mut figures = compare(
        scale,
        ROUNDS,
        &mut [
            Contender::new("vtep", || vtep.rate(of_vtep)),
            Contender::new("kernel", || kernel.rate(of_kernel)),
            Contender::new("floor", || floor.rate(of_floor)),
        ],
    );
    if figures.rounds.void == 0 {
        let (due, done) = vtep.finished();
        assert_eq!(done, due, "{what}: frames that XDP has finished");
    }
    report.ratio(
        what,
        "Mpps",
        &figures.only(&["vtep", "kernel", "floor"]),
        goal,
    );
    for name in ["vtep", "kernel", "floor"] {
        figures.derive(&format!("{name}, a packet"), [name], |[rate]| 1e3 / rate);
    }
    report.ratio(
        &format!("{what}, against the floor"),
        "ns",
        &figures.only(&["vtep, a packet", "floor, a packet", "kernel, a packet"]),
        None,
    );
}
