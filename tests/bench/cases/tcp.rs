//! TCP from VM to VM: how fast, and what the kernel takes for a Gbit at a fixed rate.

mod stream;

use std::cell::Cell;

use vtep_tests::lab::underlay::Family;

use self::stream::{Load, Processors, Transferred};
use super::bound;
use super::connect::CONGESTION_CONTROL;
use super::ovs::{Programs, note_absence};
use super::pair::{By, Carries, Guest, Pair, Setup};
use crate::measure::{Contender, Scale, compare_each};
use crate::report::{Figures, Goal, Report};

/// The fixed rate, in Gbit/s, at which processor time is compared.
const RATE: f64 = 2.0;
/// How far what arrives may be off the fixed rate.
const OFF: f64 = 0.02;
/// How much worse than over IPv4 a ratio may be over IPv6.
const V6_LESS: f64 = 0.1;

/// Times the rate of the kernel's device that one stream is to reach over IPv4: with the device as it comes, and where VMs offload
/// nothing.
const OF_KERNEL: f64 = 1.2;

/// Where the ends of a stream run, in turn.
const BOTH_WAYS: [Processors; 2] = [Processors::One, Processors::Two];

/// What ratios one stream between veths is to reach over IPv4: rate, processor time.
const fn goals(underlay: Carries) -> (Goal, Goal) {
    match underlay {
        Carries::Gso => (Goal::AtLeast(1.25), Goal::AtMost(0.8)),
        Carries::Mtu => (Goal::AtLeast(1.0), Goal::AtMost(0.85)),
    }
}

/// Measures.
pub(crate) fn run(scale: &Scale, report: &mut Report) {
    for underlay in [Carries::Gso, Carries::Mtu] {
        let setup = |family, guest| Setup {
            family,
            underlay,
            guest,
        };
        let v4 = Rivals::new(By::Kernel, setup(Family::V4, Guest::Veth)).with_bound();
        let (rate_goal, cost_goal) = goals(underlay);
        let rates = BOTH_WAYS.map(|on| v4.rate(scale, report, on, 1, 11, Some(rate_goal)));
        let cost = v4.cost(scale, report, 11, Some(cost_goal));
        v4.rate(scale, report, Processors::Two, 4, 5, None);
        drop(v4);

        let v6 = Rivals::new(By::Kernel, setup(Family::V6, Guest::Veth));
        for (on, rate) in BOTH_WAYS.into_iter().zip(rates) {
            let goal = rate.map(|rate| Goal::AtLeast(rate * (1.0 - V6_LESS)));
            v6.rate(scale, report, on, 1, 11, goal);
            note_lost_goal(report, goal);
        }
        let cost_goal = cost.map(|cost| Goal::AtMost(cost * (1.0 + V6_LESS)));
        v6.cost(scale, report, 11, cost_goal);
        note_lost_goal(report, cost_goal);
        drop(v6);

        let plain = Rivals::new(By::Kernel, setup(Family::V4, Guest::Plain)).with_bound();
        for on in BOTH_WAYS {
            plain.rate(scale, report, on, 1, 11, Some(Goal::AtLeast(OF_KERNEL)));
        }
        plain.cost(scale, report, 11, None);
        drop(plain);

        let tap = Rivals::new(By::Kernel, setup(Family::V4, Guest::Tap));
        tap.rate(scale, report, Processors::Two, 1, 5, None);
        tap.cost(scale, report, 5, None);
    }
    against_defaults(scale, report);
    against_ovs(scale, report);
}

/// The kernel's device as people have it who give it no option.
fn against_defaults(scale: &Scale, report: &mut Report) {
    let setup = Setup {
        family: Family::V4,
        underlay: Carries::Gso,
        guest: Guest::Veth,
    };
    let rivals = Rivals::new(By::KernelDefaults, setup);
    for on in BOTH_WAYS {
        rivals.rate(scale, report, on, 1, 11, Some(Goal::AtLeast(OF_KERNEL)));
    }
}

/// Open vSwitch beside vtep, where it is installed: as fast as it goes.
fn against_ovs(scale: &Scale, report: &mut Report) {
    let programs = match Programs::find() {
        Ok(programs) => programs,
        Err(why) => return note_absence(report, &why),
    };
    for family in Family::BOTH {
        let setup = Setup {
            family,
            underlay: Carries::Gso,
            guest: Guest::Veth,
        };
        Rivals::new(By::Ovs(&programs), setup).rate(scale, report, Processors::Two, 1, 11, None);
        report.note(programs.note());
    }
}

/// Says of an IPv6 row why it has no goal, if it has none.
fn note_lost_goal(report: &mut Report, goal: Option<Goal>) {
    if goal.is_none() {
        report.note("no goal, since no round over IPv4 counts, from which it follows");
    }
}

/// The median of the ratios of the row that was added last.
fn median(report: &Report) -> Option<f64> {
    let spread = report.rows.last()?.spread;
    spread.map(|spread| spread.median)
}

/// The contenders, side by side.
struct Rivals<'a> {
    setup: Setup,
    vtep: Pair<'a>,
    rival: Pair<'a>,
    /// The same VMs with no VTEP between them.
    bound: Option<Pair<'a>>,
}

impl<'a> Rivals<'a> {
    fn new(rival: By<'a>, setup: Setup) -> Self {
        let [vtep, rival] = [By::Vtep, rival].map(|by| Pair::new(by, setup));
        if matches!(rival.by, By::Kernel) {
            vtep.looks_as(&rival);
        }
        Self {
            setup,
            vtep,
            rival,
            bound: None,
        }
    }

    /// Measures also how far any VTEP could get.
    fn with_bound(self) -> Self {
        let bound = Pair::new(By::Nobody, self.setup);
        Self {
            bound: Some(bound),
            ..self
        }
    }

    /// As fast as it goes; returns the median ratio.
    fn rate(
        &self,
        scale: &Scale,
        report: &mut Report,
        on: Processors,
        streams: usize,
        rounds: u32,
        goal: Option<Goal>,
    ) -> Option<f64> {
        let load = Load {
            processors: on,
            streams,
            time: scale.time() / 2,
            pace: None,
        };
        let what = match streams {
            1 => "1 stream".to_owned(),
            more => format!("{more} streams"),
        };
        let ends = match on {
            Processors::One => ", one processor",
            Processors::Two => "",
        };
        let what = format!("rate, {what}, {}{ends}{}", self.setup, self.rival.by.row());
        let ([rate], note) = self.compare(scale, rounds, &load, |seen| Ok([seen.rate]));
        report.ratio(&what, "Gbit/s", &rate, goal);
        report.note(note);
        let found = median(report);
        if self.bound.is_some() {
            bound::add(report, &what, "Gbit/s", &rate, self.rival.by);
        }
        found
    }

    /// Processor time at the fixed rate; returns the median ratio.
    fn cost(
        &self,
        scale: &Scale,
        report: &mut Report,
        rounds: u32,
        goal: Option<Goal>,
    ) -> Option<f64> {
        let load = Load {
            processors: Processors::Two,
            streams: 1,
            time: scale.time(),
            pace: Some(RATE),
        };
        let what = format!("kernel CPU at {RATE} Gbit/s, 1 stream, {}", self.setup);
        let ([kernel, ticked], note) = self.compare(scale, rounds, &load, |seen| {
            // Whether a thing works at all does not depend on how fast the machine is.
            if scale.smoke || (seen.rate / RATE - 1.0).abs() <= OFF {
                Ok([seen.kernel_ms, seen.ticked_ms])
            } else {
                Err(format!("{:.2} Gbit/s arrived, not {RATE}", seen.rate))
            }
        });
        report.ratio(&format!("{what}, by ticks"), "ms/Gbit", &ticked, None);
        report.note(format!("what the row below says, by sampling; {note}"));
        report.ratio(&what, "ms/Gbit", &kernel, goal);
        report.note(format!(
            "all the time in which processors were neither idle nor in user space nor stolen; {note}"
        ));
        let found = median(report);
        if self.bound.is_some() {
            bound::add(report, &what, "ms/Gbit", &kernel, self.rival.by);
        }
        found
    }

    /// Both contenders in turn; each measurement gives several figures. Says also how the machine was used.
    fn compare<const N: usize>(
        &self,
        scale: &Scale,
        rounds: u32,
        load: &Load,
        figures: impl Fn(Transferred) -> Result<[f64; N], String>,
    ) -> ([Figures; N], String) {
        let pairs = [&self.vtep, &self.rival].into_iter().chain(&self.bound);
        // Segments that were sent again, and in how many transfers.
        let again: Vec<_> = pairs.clone().map(|_| Cell::new((0, 0))).collect();
        let mut contenders: Vec<_> = pairs
            .zip(&again)
            .map(|(pair, again)| {
                let figures = &figures;
                Contender::new(pair.by.name(), move || {
                    let seen = stream::transfer(pair, load)?;
                    let (segments, transfers) = again.get();
                    again.set((segments + seen.again, transfers + 1));
                    figures(seen)
                })
            })
            .collect();
        let compared = compare_each(scale, rounds, &mut contenders);
        drop(contenders);
        let each = |(segments, transfers)| segments / u64::max(transfers, 1);
        let again: Vec<u64> = again
            .into_iter()
            .map(|again| each(again.into_inner()))
            .collect();
        let note = self.note(load, &again);
        (compared, note)
    }

    /// How the machine was used, and how many segments of a transfer each contender sent `again`.
    fn note(&self, load: &Load, again: &[u64]) -> String {
        let underlay = match self.setup.underlay {
            Carries::Gso => "underlay veth as it comes (GSO, TSO, checksums on, GRO off)",
            Carries::Mtu => {
                "underlay veth with every segmentation offload off and GRO on, checksums on"
            }
        };
        let guest = match self.setup.guest {
            Guest::Veth => "",
            Guest::Plain => {
                "; the VMs' devices with checksums, scatter-gather, TSO, GSO and GRO off"
            }
            Guest::Tap => {
                "; the VM's tap and the port's are joined by threads that copy each frame, not pinned, \
                 which cost both contenders the same and make ratios smaller"
            }
        };
        let again: Vec<String> = [&self.vtep, &self.rival]
            .into_iter()
            .chain(&self.bound)
            .zip(again)
            .map(|(pair, again)| format!("{} {again}", pair.by.name()))
            .collect();
        format!(
            "{}, {}; {}; {underlay}; segments sent again in a transfer: {}{guest}",
            load.processors,
            CONGESTION_CONTROL,
            self.vtep.hook(),
            again.join(", "),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_the_goal_that_follows_from_another_says_so() {
        let mut report = Report::start(true);
        report.begin("tcp", "streams");
        report.single("over IPv6", "Gbit/s", 1.0, None);

        note_lost_goal(&mut report, Some(Goal::AtLeast(1.0)));
        assert_eq!(report.rows[0].note, None);

        note_lost_goal(&mut report, None);
        let note = report.rows[0].note.as_deref();
        assert!(
            note.is_some_and(|note| note.starts_with("no goal")),
            "{note:?}"
        );
    }
}
