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

use vtep_tests::bpf::program::Ready;
use vtep_tests::daemon::binary;
use vtep_tests::dump::assert_same;
use vtep_tests::lab::underlay::Family;

use self::lane::{Lane, Sink};
use self::wiring::{Chain, Contestant, Half};
use super::baseline::{self, Unit};
use super::choices::without_choices;
use crate::measure::{Contender, Scale, compare};
use crate::report::{Goal, Report};

/// Lengths of the inner frames, Ethernet header included, in bytes.
const LENGTHS: [usize; 2] = [64, 512];
/// Rounds of each comparison.
const ROUNDS: u32 = 11;
/// The names of the contestants.
const VTEP: &str = "vtep";
const KERNEL: &str = "kernel";
const FLOOR: &str = "floor";

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

/// Who is measured, in the same wiring: vtep, the kernel, the floor, and the baseline, if there is one.
fn contestants(scale: &Scale) -> Vec<(&'static str, Contestant<'_>)> {
    let mut all = vec![
        (VTEP, Contestant::Vtep(binary::vtep())),
        (KERNEL, Contestant::Kernel),
        (FLOOR, Contestant::Floor),
    ];
    let baseline = scale.baseline.as_deref();
    all.extend(baseline.map(|binary| (baseline::NAME, Contestant::Vtep(binary))));
    all
}

/// A way for each of them.
type Lanes<'a> = [(&'static str, Lane<'a>)];

fn end_to_end(scale: &Scale, report: &mut Report, family: Family) {
    let ready = Ready::default();
    let mut chains: Vec<_> = contestants(scale)
        .into_iter()
        .map(|(name, contestant)| (name, Chain::new(contestant, family)))
        .collect();
    for sink in Sink::BOTH {
        for &length in lengths(scale) {
            for (_, chain) in &mut chains {
                chain.fit(length);
            }
            let mut lanes: Vec<_> = chains
                .iter()
                .map(|(name, chain)| (*name, chain.lane(&ready, sink, length)))
                .collect();
            warm_up(&mut lanes, sink == Sink::Skb);
            let what = format!("{length} B, {family:?}, end to end, {} sink", sink.name());
            let goal = (length == LENGTHS[0]).then(|| goal(family, sink));
            contest(scale, report, &what, &lanes, goal);
        }
    }
}

/// Waits until frames pass, and has what comes checked where the sink lets it be captured.
fn warm_up(lanes: &mut Lanes<'_>, check: bool) {
    for (_, lane) in lanes {
        lane.warm_up();
        if check {
            lane.check();
        }
    }
}

fn alone(scale: &Scale, report: &mut Report, family: Family) {
    let ready = Ready::default();
    let mut halves: Vec<_> = contestants(scale)
        .into_iter()
        .map(|(name, contestant)| (name, Half::new(contestant, family)))
        .collect();
    for &length in lengths(scale) {
        for (_, half) in &mut halves {
            half.fit(length);
        }
        let lanes = |sink, open: for<'h> fn(&'h Half, &Ready, Sink, usize) -> Lane<'h>| {
            halves
                .iter()
                .map(|(name, half)| (*name, open(half, &ready, sink, length)))
                .collect::<Vec<_>>()
        };
        let mut encap = lanes(Sink::Skb, Half::encap);
        warm_up(&mut encap, false);
        same_packets(&encap, family, length);
        drop(encap);

        for sink in Sink::BOTH {
            let mut encap = lanes(sink, Half::encap);
            warm_up(&mut encap, false);
            let what = format!("{length} B, {family:?}, encap alone, {} sink", sink.name());
            contest(scale, report, &what, &encap, None);
            drop(encap);
            let mut decap = lanes(sink, Half::decap);
            warm_up(&mut decap, sink == Sink::Skb);
            let what = format!("{length} B, {family:?}, decap alone, {} sink", sink.name());
            contest(scale, report, &what, &decap, None);
        }
    }
}

/// Insists that all of them send the packet that the kernel sends.
fn same_packets(lanes: &Lanes<'_>, family: Family, length: usize) {
    let packet = |lane: &Lane<'_>| {
        without_choices(&lane.capture(), family)
            .unwrap_or_else(|what| panic!("{family:?}, {length} B: {what}"))
    };
    let of_kernel = packet(of(lanes, KERNEL));
    for (name, lane) in lanes.iter().filter(|(name, _)| *name != KERNEL) {
        let what = format!("the packet of {name} beside the kernel's");
        assert_same(&packet(lane), &of_kernel, &what);
    }
}

fn of<'a, 'b>(lanes: &'b Lanes<'a>, name: &str) -> &'b Lane<'a> {
    let found = lanes.iter().find(|(contestant, _)| *contestant == name);
    &found.expect("a contestant").1
}

/// Measures all of them on the same way.
fn contest(scale: &Scale, report: &mut Report, what: &str, lanes: &Lanes<'_>, goal: Option<Goal>) {
    let mut contenders: Vec<_> = lanes
        .iter()
        .map(|(name, lane)| {
            let count = lane.count_for(scale);
            Contender::new(name, move || lane.rate(count))
        })
        .collect();
    let mut figures = compare(scale, ROUNDS, &mut contenders);
    if figures.rounds.void == 0 {
        for (name, lane) in lanes {
            let (due, done) = lane.finished();
            assert_eq!(done, due, "{what}: frames that XDP of {name} has finished");
        }
    }
    report.ratio(what, "Mpps", &figures.only(&[VTEP, KERNEL, FLOOR]), goal);
    for name in [VTEP, KERNEL, FLOOR] {
        figures.derive(&format!("{name}, a packet"), [name], |[rate]| 1e3 / rate);
    }
    report.ratio(
        &format!("{what}, against the floor"),
        "ns",
        &figures.only(&["vtep, a packet", "floor, a packet", "kernel, a packet"]),
        None,
    );
    if let Some(path) = &scale.baseline {
        let pair = [VTEP, baseline::NAME];
        baseline::add(report, what, Unit::Rate, &figures, pair, path);
    }
}
