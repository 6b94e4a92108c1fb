//! What must hold for every frame, over random and mutated ones; and that they reach all that there is to reach.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::LazyLock,
};
use vtep_common::frame::vlan::TagEdit;
use vtep_common::sim::decision::Verdict;

use vtep_common::{
    abi::{counter::Hook, reason::Reason},
    testkit::{
        check,
        frames::{Side, World, reachable},
    },
};

/// Frames in all; a fifth of them at each hook.
const FRAMES: u64 = 200_000;

/// What the frames came to.
#[derive(Default)]
struct Survey {
    /// How often each hook ended a frame with each reason.
    reached: BTreeMap<(Hook, Reason), u64>,
    /// The same for the frames that a test run in the kernel takes.
    reached_in_kernel: BTreeMap<(Hook, Reason), u64>,
    /// How often each kind of verdict came up.
    kinds: BTreeMap<String, u64>,
    /// SYNs that offer less than they did.
    clamped: u64,
}

static SURVEY: LazyLock<Survey> = LazyLock::new(|| {
    let world = World::default();
    let mut survey = Survey::default();
    for sample in (0..FRAMES).map(|seed| world.sample(seed)) {
        let decision = sample.decide(&world.tables);
        let key = (sample.hook(), sample.reason(&decision));
        *survey.reached.entry(key).or_default() += 1;
        if sample.runs_in_kernel() {
            *survey.reached_in_kernel.entry(key).or_default() += 1;
        }
        *survey.kinds.entry(kind(&decision.verdict)).or_default() += 1;
        survey.clamped += u64::from(decision.notes.clamped.is_some());
    }
    survey
});

fn kind(verdict: &Verdict) -> String {
    let edit = |tag: &TagEdit| match tag {
        TagEdit::Leave => "as it is",
        TagEdit::StripSkb => "skb tag stripped",
        TagEdit::StripInBand => "in-band tag stripped",
        TagEdit::Carry => "tag carried",
    };
    match verdict {
        Verdict::Encap(encap) => {
            let over = if encap.v6 { "v6" } else { "v4" };
            let checksum = if encap.fields.inner_sum.is_some() {
                "with checksum"
            } else {
                "without"
            };
            format!("encap over {over} {checksum} {}", edit(&encap.tag))
        }
        Verdict::ViaKernel(via) => format!("via kernel {}", edit(&via.tag)),
        Verdict::Deliver(deliver) => {
            let tagged = if deliver.vlan == 0 {
                "untagged"
            } else {
                "tagged"
            };
            format!("deliver {tagged} {}", edit(&deliver.tag))
        }
        Verdict::Flood(flood) => {
            let place = if flood.in_place {
                "in place"
            } else {
                "via kernel"
            };
            format!("flood {place} {}", edit(&flood.encap.tag))
        }
        Verdict::FloodPorts(_) => "flood to ports".to_owned(),
        Verdict::Answer(answer) => {
            let message = if answer.v6 { "ND" } else { "ARP" };
            format!("answer {message}")
        }
        Verdict::AnswerTooBig(_) => "too big, answered".to_owned(),
        Verdict::Guard
        | Verdict::Neigh
        | Verdict::Unknown
        | Verdict::Resolved(_)
        | Verdict::Clamp(_)
        | Verdict::ClampReceived(_)
        | Verdict::TooBigFor(_) => {
            panic!("not decided")
        }
        Verdict::Leave(_) => "leave".to_owned(),
    }
}

#[test]
fn what_must_hold_holds_for_random_frames() {
    let world = World::default();
    for seed in 0..FRAMES {
        let sample = world.sample(seed);
        let run = AssertUnwindSafe(|| check::sample(&world, &sample));
        if let Err(panic) = catch_unwind(run) {
            eprintln!("seed {seed}: {sample:?}");
            resume_unwind(panic);
        }
    }
}

#[test]
fn random_frames_reach_every_reason_that_a_hook_can_end_with_and_no_other() {
    for hook in Hook::ALL {
        let got: Vec<Reason> = SURVEY
            .reached
            .keys()
            .filter(|(at, _)| *at == hook)
            .map(|(_, reason)| *reason)
            .collect();
        let mut want = reachable(hook).to_vec();
        want.sort();
        assert_eq!(got, want, "{}", hook.name());
    }
    for (key, frames) in &SURVEY.reached {
        assert!(*frames >= 10, "{key:?} only {frames} times");
    }
}

#[test]
fn frames_that_run_in_the_kernel_reach_every_reason_too() {
    for hook in Hook::ALL {
        let missing: Vec<Reason> = reachable(hook)
            .iter()
            .filter(|reason| !SURVEY.reached_in_kernel.contains_key(&(hook, **reason)))
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
    let helpers = [Reason::Reshape, Reason::Redirect, Reason::CopyLost];
    for reason in Reason::ALL {
        let decided = Hook::ALL
            .iter()
            .any(|hook| reachable(*hook).contains(reason));
        assert_eq!(decided, !helpers.contains(reason), "{reason:?}");
    }
}

#[test]
fn random_frames_reach_every_kind_of_verdict() {
    // Three ways of encapsulation, by kernel, two of delivery, two of flooding: each with four edits; two answers; to ports alone;
    // leave, and told that it is too big.
    let kinds = &SURVEY.kinds;
    assert_eq!(kinds.len(), 8 * 4 + 2 + 3, "{kinds:#?}");
    assert!(SURVEY.clamped >= 20, "{} SYNs are clamped", SURVEY.clamped);
}

#[test]
fn a_seed_always_makes_the_same_frame() {
    let (one, other) = (World::default(), World::default());
    for seed in 0..1000 {
        assert_eq!(one.sample(seed), other.sample(seed));
    }
}

/// Adds bytes to a checksum (FNV-1a).
fn add(sum: &mut u64, bytes: &[u8]) {
    for byte in bytes {
        *sum = (*sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
}

/// Whoever changes which frames there are changes these two on purpose: corpus, agreement and survey stand on them.
#[test]
fn the_frames_of_all_seeds_and_what_becomes_of_them_are_those_of_before() {
    let world = World::default();
    let [mut frames, mut outcomes] = [0xcbf2_9ce4_8422_2325_u64; 2];
    for sample in (0..FRAMES).map(|seed| world.sample(seed)) {
        add(&mut frames, &(sample.frame.len() as u64).to_be_bytes());
        add(&mut frames, &sample.frame);
        add(&mut frames, &sample.meta.ifindex.to_be_bytes());
        match sample.meta.tag {
            None => add(&mut frames, &[0]),
            Some(tag) => {
                add(&mut frames, &[1]);
                add(&mut frames, &tag.tpid.to_be_bytes());
                add(&mut frames, &tag.tci.to_be_bytes());
            }
        }
        add(&mut frames, &sample.meta.gso_size.to_be_bytes());
        add(&mut frames, sample.hook().name().as_bytes());
        if let Side::Tunnel(key) = &sample.side {
            add(&mut frames, &key.vni.to_be_bytes());
            add(&mut frames, IpAddr::from(key.source).to_string().as_bytes());
            match key.destination {
                None => add(&mut frames, &[0]),
                Some(addr) => add(&mut frames, IpAddr::from(addr).to_string().as_bytes()),
            }
        }
        let decision = sample.decide(&world.tables);
        let code = u8::try_from(sample.reason(&decision).code()).expect("few reasons");
        add(&mut outcomes, &[code]);
        let outcome = sample.apply(&decision, &world.tables);
        add(&mut outcomes, &outcome.frame);
    }

    assert_eq!(
        format!("{frames:016x} {outcomes:016x}"),
        "97a32d7a784b88d4 91f13bc595e7d6ff"
    );
}
