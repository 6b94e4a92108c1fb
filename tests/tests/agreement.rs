//! The decisions, and what is made of them, are the same in the kernel and on the host: random and mutated frames through
//! both.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::time::Instant;

use vtep_common::abi::counter::Hook;
use vtep_common::abi::event::Event;
use vtep_common::abi::reason::Reason;
use vtep_common::testkit::frames::{Sample, World, reachable};
use vtep_tests::need_root;
use vtep_tests::testrun::compare::{HostTotals, Want, host_only, run, run_counted, want};
use vtep_tests::testrun::{TestBed, with_test_bed};

/// Frames that are compared, without those behind the slow-path device, unless `VTEP_FRAMES` says another number.
const FRAMES: u64 = 100_000;
/// Frames after which the counters are compared.
const BATCH: usize = 1_000;

/// What the frames came to.
#[derive(Default)]
struct AgreementSurvey {
    seeds: u64,
    compared: u64,
    /// Of them, those that TC was told to be GSO packets.
    gso: u64,
    without_key: u64,
    /// Events by kind.
    events: BTreeMap<u32, u64>,
    refreshed: u64,
    clamped: u64,
    host_only: BTreeMap<&'static str, u64>,
    reached: BTreeMap<(Hook, Reason), u64>,
}

#[test]
fn kernel_and_host_agree_on_random_frames() {
    need_root!();
    let start = Instant::now();
    let frames = env::var("VTEP_FRAMES").map_or(FRAMES, |frames| {
        frames.parse().expect("VTEP_FRAMES is a number of frames")
    });
    let survey = with_test_bed(|bench| {
        let world = World::new(bench.interfaces);
        bench.load(&world.tables);
        let mut survey = AgreementSurvey::default();
        while survey.compared < frames {
            let batch = next_batch(&world, &mut survey);
            compare(bench, &world, &batch);
        }
        counts_nothing_else(bench);
        leaves_other_entries(bench, &world);
        survey
    });
    survey.print(start);
    survey.reached_everything();
}

/// The next samples that a test run can show to a program.
fn next_batch(world: &World, survey: &mut AgreementSurvey) -> Vec<(u64, Sample, Want)> {
    let mut batch = Vec::with_capacity(BATCH);
    while batch.len() < BATCH {
        let seed = survey.seeds;
        survey.seeds += 1;
        let sample = world.sample(seed);
        let want = want(world, &sample);
        if let Some(why) = host_only(&sample, &want) {
            *survey.host_only.entry(why).or_default() += 1;
            continue;
        }
        survey.note(&sample, &want);
        batch.push((seed, sample, want));
    }
    batch
}

/// Runs a batch. Action and bytes are compared frame by frame, the counters at the end; where they differ, frame by frame
/// once more.
fn compare(bench: &mut TestBed, world: &World, batch: &[(u64, Sample, Want)]) {
    let mut host = HostTotals::default();
    let before = bench.totals();
    for (seed, sample, want) in batch {
        run(bench, &format!("seed-{seed}"), sample, want).unwrap_or_else(|text| panic!("{text}"));
        host.record(world, sample, want);
    }
    let differences = bench.totals().since(&before).differences(&host.totals());
    if differences.is_empty() {
        return;
    }
    for (seed, sample, want) in batch {
        run_counted(bench, world, &format!("seed-{seed}"), sample, want)
            .unwrap_or_else(|text| panic!("{text}"));
    }
    panic!(
        "the counters differ over a batch from seed {:?}, but not over any one frame:\n{}",
        batch.first().map(|(seed, ..)| seed),
        differences.join("\n")
    );
}

/// Nothing was counted for a segment, port or peer that is in no table.
fn counts_nothing_else(bench: &TestBed) {
    let differences = bench.all_totals().differences(&bench.totals());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The data path writes the stamps of learned entries that are old, and nothing else of the FDB.
fn leaves_other_entries(bench: &TestBed, world: &World) {
    for (key, value) in &world.tables.fdb {
        assert_eq!(bench.fdb(*key), *value, "{key:?}");
    }
}

impl AgreementSurvey {
    fn note(&mut self, sample: &Sample, want: &Want) {
        *self
            .reached
            .entry((sample.hook(), want.reason))
            .or_default() += 1;
        for event in &want.decision.notes.events {
            *self.events.entry(event.kind).or_default() += 1;
        }
        self.refreshed += u64::from(want.decision.notes.refreshed.is_some());
        self.clamped += u64::from(want.decision.notes.clamped.is_some());
        if sample.hook() == Hook::Tunnel {
            self.without_key += 1;
        } else {
            self.compared += 1;
            self.gso += u64::from(sample.meta.gso_size != 0);
        }
    }

    fn print(&self, start: Instant) {
        let verdicts: BTreeMap<&str, usize> = Hook::ALL
            .iter()
            .map(|hook| (hook.name(), self.at(*hook).len()))
            .collect();
        println!(
            "agreement: {} frames compared ({} as GSO packets) and {} without tunnel key, {verdicts:?} verdicts reached, \
             {:?} events, {} stamps, {:.1} s; on the host alone: {:?}",
            self.compared,
            self.gso,
            self.without_key,
            self.events,
            self.refreshed,
            start.elapsed().as_secs_f32(),
            self.host_only,
        );
    }

    fn at(&self, hook: Hook) -> BTreeSet<Reason> {
        self.reached
            .keys()
            .filter(|(at, _)| *at == hook)
            .map(|(_, reason)| *reason)
            .collect()
    }

    /// Every reason that a hook can end with came up, and no other. Behind the slow-path device a test run has no tunnel key,
    /// so that there is only one.
    fn reached_everything(&self) {
        let kinds: Vec<u32> = self.events.keys().copied().collect();
        assert_eq!(kinds, [Event::LEARN, Event::SNOOPED, Event::MISS]);
        assert!(self.events.values().all(|count| *count >= 100) && self.refreshed >= 100);
        assert!(self.clamped >= 20, "{} SYNs were clamped", self.clamped);
        for hook in Hook::ALL {
            let want: BTreeSet<Reason> = if hook == Hook::Tunnel {
                BTreeSet::from([Reason::TableGap])
            } else {
                reachable(hook).iter().copied().collect()
            };
            assert_eq!(self.at(hook), want, "{}", hook.name());
        }
    }
}
