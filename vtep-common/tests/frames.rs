//! What must hold for every frame, over random and mutated ones; and that they reach all that there is to reach.

use std::collections::BTreeMap;

use vtep_common::{
    host::{
        check,
        frames::{World, reachable},
    },
    maps::Hook,
    reason::Reason,
    verdict::{TagEdit, Verdict},
};

/// Frames in all; a fifth of them at each hook.
const FRAMES: u64 = 100_000;

#[test]
fn what_must_hold_holds_for_random_frames() {
    let world = World::default();
    for seed in 0..FRAMES {
        let sample = world.sample(seed);
        let run = || check::sample(&world, &sample);
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            eprintln!("seed {seed}: {sample:?}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn random_frames_reach_every_reason_that_a_hook_can_end_with_and_no_other() {
    let reached = reached(false);
    for hook in Hook::ALL {
        let got: Vec<Reason> = reached
            .keys()
            .filter(|(at, _)| *at == hook)
            .map(|(_, reason)| *reason)
            .collect();
        let mut want = reachable(hook).to_vec();
        want.sort();
        assert_eq!(got, want, "{}", hook.name());
    }
    for (key, frames) in reached {
        assert!(frames >= 10, "{key:?} only {frames} times");
    }
}

#[test]
fn frames_that_run_in_the_kernel_reach_every_reason_too() {
    let reached = reached(true);
    for hook in Hook::ALL {
        let missing: Vec<Reason> = reachable(hook)
            .iter()
            .filter(|reason| !reached.contains_key(&(hook, **reason)))
            .copied()
            .collect();
        if hook == Hook::Tunnel {
            assert_eq!(missing, reachable(hook), "no tunnel key in a test run");
        } else {
            assert_eq!(missing, [], "{}", hook.name());
        }
    }
}

#[test]
fn every_reason_is_reached_at_some_hook_but_those_of_helpers() {
    let helpers = [Reason::Reshape, Reason::Redirect];
    for reason in Reason::ALL {
        let decided = Hook::ALL
            .iter()
            .any(|hook| reachable(*hook).contains(reason));
        assert_eq!(decided, !helpers.contains(reason), "{reason:?}");
    }
}

#[test]
fn random_frames_reach_every_kind_of_verdict() {
    let world = World::default();
    let mut kinds = BTreeMap::new();
    for seed in 0..FRAMES {
        let sample = world.sample(seed);
        let decision = sample.decide(&world.tables);
        let edit = |tag: &TagEdit| match tag {
            TagEdit::Leave => "as it is",
            TagEdit::StripBeside => "tag stripped beside",
            TagEdit::StripInBytes => "tag stripped in bytes",
            TagEdit::Carry => "tag carried",
        };
        let kind = match &decision.verdict {
            Verdict::Encap(encap) => format!(
                "encap over {} {} {}",
                if encap.v6 { "v6" } else { "v4" },
                if encap.fields.inner_sum.is_some() {
                    "with checksum"
                } else {
                    "without"
                },
                edit(&encap.tag),
            ),
            Verdict::ViaKernel(via) => format!("via kernel {}", edit(&via.tag)),
            Verdict::Deliver(deliver) => format!(
                "deliver {} {}",
                if deliver.vlan == 0 {
                    "untagged"
                } else {
                    "tagged"
                },
                edit(&deliver.tag)
            ),
            Verdict::Flood(flood) => format!("flood {}", edit(&flood.outer.tag)),
            Verdict::Leave(_) => "leave".to_owned(),
        };
        *kinds.entry(kind).or_insert(0) += 1;
    }
    // Three ways of encapsulation, by kernel, two of delivery, flood: each with four edits; and leave.
    assert_eq!(kinds.len(), 7 * 4 + 1, "{kinds:#?}");
}

#[test]
fn a_seed_always_makes_the_same_frame() {
    let (one, other) = (World::default(), World::default());
    for seed in 0..1000 {
        assert_eq!(one.sample(seed), other.sample(seed));
    }
}

/// How often each hook ended a frame with each reason; all frames, or only those that a test run in the kernel takes.
fn reached(in_kernel: bool) -> BTreeMap<(Hook, Reason), u64> {
    let world = World::default();
    let mut reached = BTreeMap::new();
    for seed in 0..FRAMES {
        let sample = world.sample(seed);
        if !in_kernel || sample.runs_in_kernel() {
            let decision = sample.decide(&world.tables);
            *reached
                .entry((sample.hook(), sample.reason(&decision)))
                .or_insert(0) += 1;
        }
    }
    reached
}
