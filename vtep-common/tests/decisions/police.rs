//! Rates: what passes of what comes, and that it is never more, nor less than it may be.

use std::sync::{
    Barrier,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use std::thread;

use proptest::prelude::*;
use vtep_common::{
    abi::{
        addr::MacAddr,
        id::PortSlot,
        policer::{Policed, Policer},
        port::Port,
        reason::Reason,
    },
    decide::police::{self, Shared, take, take_shared},
    frame::packet::Meta,
    sim::decision::{Decision, Verdict},
    testkit::{
        build::Ip,
        frames::{PEER_V4, PLAIN, PORT_ACCESS, PORT_VLAN_10, World, group, unicast},
    },
};

use crate::shared::{at_port, at_port_with, ip_frame, left, udp_frame};

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;
/// A tick of Linux where it has 250 of them a second.
const TICK: u64 = 4_000_000;

/// A bucket over time. The clock says the time of the last tick.
struct Over {
    policer: Policer,
    what: Policed,
    tick: u64,
}

impl Over {
    /// True if `amount` passes at `time`.
    fn takes(&mut self, time: u64, amount: u32) -> bool {
        let clock = (time / self.tick * self.tick, self.tick);
        let used = self.policer.used_until;
        match take(&self.policer, self.what, used, amount, clock) {
            Some(next) => {
                self.policer.used_until = next;
                true
            }
            None => false,
        }
    }
}

/// What is what, the policer of a rate, and how many units a second that is.
fn rates() -> impl Strategy<Value = (Policed, Policer, u64)> {
    (1_u64..1_000_000).prop_map(|rate| (Policed::Bum, Policer::frames(rate), rate))
}

/// Gaps in nanoseconds and amounts of what comes: in bursts, in a stream, and after a while.
fn arrivals() -> impl Strategy<Value = Vec<(u64, u32)>> {
    let gap = prop_oneof![
        4 => Just(0),
        4 => 0..20_000_u64,
        2 => 0..20_000_000_u64,
        1 => 0..3 * SECOND,
    ];
    let amount = prop_oneof![8 => 1..100_u32, 1 => 1..60_000_u32];
    prop::collection::vec((gap, amount), 1..200)
}

proptest! {
    #[test]
    fn no_more_passes_in_any_time_than_the_rate_and_a_bucket(
        (what, policer, rate) in rates(),
        start in 0..u64::MAX >> 1,
        tick in prop::sample::select(vec![1_u64, 1_000_000, TICK, 10_000_000]),
        arrivals in arrivals(),
    ) {
        let mut over = Over { policer, what, tick };
        let mut time = start;
        let mut passed: Vec<(u64, u64)> = Vec::new();
        for (gap, amount) in arrivals {
            time += gap;
            if over.takes(time, amount) {
                passed.push((time, amount.into()));
            }
        }
        let bucket = u128::from(policer.burst) << Policer::COST_SHIFT;
        for (at, (from, _)) in passed.iter().enumerate() {
            let mut sum = 0_u128;
            for (to, amount) in &passed[at..] {
                sum += u128::from(*amount);
                let lasts = u128::from(to - from + 2 * tick) << (Policer::TIME_SHIFT + Policer::COST_SHIFT);
                let most = (lasts + bucket) / u128::from(policer.cost);
                prop_assert!(sum <= most, "{sum} of {most} in {} ns at {rate} a second", to - from);
            }
        }
    }

    #[test]
    fn what_keeps_to_the_rate_and_the_bucket_always_passes(
        (what, policer, rate) in rates(),
        start in 0..u64::MAX >> 1,
        tick in prop::sample::select(vec![1_u64, 1_000_000, TICK, 10_000_000]),
        arrivals in arrivals(),
    ) {
        let mut over = Over { policer, what, tick };
        // A bucket of the sender's own, with an exact clock, which fills a thousandth slower.
        let cost = |amount: u32| u128::from(amount) * u128::from(policer.cost) * 1_001 / 1_000;
        let holds = u128::from(policer.burst) << Policer::COST_SHIFT;
        let (mut time, mut used) = (start, 0_u128);
        for (gap, amount) in arrivals {
            time += gap;
            let filled = u128::from(gap) << (Policer::TIME_SHIFT + Policer::COST_SHIFT);
            used = used.saturating_sub(filled);
            if used + cost(amount) <= holds {
                used += cost(amount);
                prop_assert!(over.takes(time, amount), "{amount} at {rate} a second, {used} used of {holds}");
            }
        }
    }
}

#[test]
fn a_stream_above_the_rate_passes_at_the_rate() {
    let rate = 1_000;
    let mut over = Over {
        policer: Policer::frames(rate),
        what: Policed::Bum,
        tick: TICK,
    };
    let mut passed = 0;
    for frame in 0..100_000_u64 {
        // Ten times as many as pass.
        passed += u64::from(over.takes(77 * SECOND + frame * SECOND / 10_000, 1));
    }
    // Ten seconds of them, and what the bucket held.
    assert!((11_000..=11_008).contains(&passed), "{passed}");
}

#[test]
fn a_bucket_is_full_after_any_time_and_whatever_another_clock_has_left_in_it() {
    for (mut policer, what, much) in [(Policer::frames(100), Policed::Bum, 100)] {
        for now in [0, SECOND, u64::MAX >> Policer::TIME_SHIFT, u64::MAX] {
            for other in [0, 1, 3_600, 86_400, 86_400 * 365] {
                for used in [other * SECOND, now.wrapping_add(other * SECOND)] {
                    policer.used_until = used << Policer::TIME_SHIFT;
                    let ahead = policer.used_until.wrapping_sub(now << Policer::TIME_SHIFT);
                    if (1..(10 * SECOND) << Policer::TIME_SHIFT).contains(&ahead) {
                        continue;
                    }
                    let next = take(&policer, what, policer.used_until, much, (now, TICK));
                    assert!(next.is_some(), "{used} at {now}");
                }
            }
        }
    }
}

#[test]
fn more_frames_than_a_bucket_holds_never_pass() {
    let policer = Policer::frames(10);
    let takes = |amount| take(&policer, Policed::Bum, 0, amount, (SECOND, TICK)).is_some();
    assert!(takes(10));
    assert!(!takes(11) && !takes(u32::from(u16::MAX)));
}

/// A bucket that threads share.
struct Atomic(AtomicU64);

impl Shared for Atomic {
    fn used_until(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn swap(&self, old: u64, new: u64) -> u64 {
        let swapped = self.0.compare_exchange(old, new, Relaxed, Relaxed);
        swapped.unwrap_or_else(|found| found)
    }

    fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }
}

#[test]
fn processors_that_share_a_bucket_take_out_no_more_than_one_each_besides() {
    const THREADS: u64 = 4;
    let policer = Policer::frames(1_000);
    for round in 0..50 {
        let bucket = Atomic(AtomicU64::new(0));
        let start = Barrier::new(4);
        let time = (round * SECOND, TICK);
        let passed: u64 = thread::scope(|scope| {
            let threads = (0..THREADS).map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let takes = || take_shared(&bucket, &policer, Policed::Bum, 1, time);
                    (0..2_000).map(|_| u64::from(takes())).sum::<u64>()
                })
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().map(|it| it.join().unwrap()).sum()
        });
        // Those of a second, and of the tick that may have passed.
        let bucket_holds = 1_000 + 4;
        assert!(
            (bucket_holds..=bucket_holds + THREADS).contains(&passed),
            "{passed}"
        );
    }
}

/// One for which every other processor is faster.
struct Contested {
    used: AtomicU64,
    swaps: AtomicU64,
}

impl Shared for Contested {
    fn used_until(&self) -> u64 {
        self.used.load(Relaxed)
    }

    fn swap(&self, old: u64, _: u64) -> u64 {
        self.swaps.fetch_add(1, Relaxed);
        assert_eq!(self.used.fetch_add(1, Relaxed), old);
        old + 1
    }

    fn add(&self, more: u64) {
        self.used.fetch_add(more, Relaxed);
    }
}

#[test]
fn a_processor_that_is_always_too_late_passes_and_counts() {
    let policer = Policer::frames(1_000);
    let now = SECOND << Policer::TIME_SHIFT;
    let bucket = Contested {
        used: AtomicU64::new(now),
        swaps: AtomicU64::new(0),
    };
    assert!(take_shared(
        &bucket,
        &policer,
        Policed::Bum,
        1,
        (SECOND, TICK)
    ));
    let swaps = bucket.swaps.into_inner();
    assert!((1..10).contains(&swaps), "{swaps} tries");
    let lasts = policer.cost >> Policer::COST_SHIFT;
    assert_eq!(bucket.used.into_inner(), now + swaps + lasts);
}

/// Says that a rate of the port leaves nothing, and never will.
fn use_up(world: &mut World, slot: PortSlot, what: Policed) {
    let port = world.tables.ports.get_mut(&slot).unwrap();
    port.flags |= what.flag();
    let policer = Policer {
        used_until: (world.tables.now << Policer::TIME_SHIFT) + (1 << 40),
        burst: 1 << 40,
        cost: 1 << 40,
        rate: 1,
    };
    world.tables.policers.insert((slot, what), policer);
}

/// What a decision has taken out of rates.
fn taken(decision: &Decision) -> &[(PortSlot, Policed, u32)] {
    &decision.notes.taken
}

#[test]
fn floods_of_a_port_are_held_to_its_rate_whoever_they_are_for() {
    let mut world = World::default();
    let access = world.interfaces.access;
    let floods = [
        MacAddr::BROADCAST,
        MacAddr::from_parts(0x3333, 0xff00_0001),
        group(PLAIN),
        unicast(PLAIN, 200_u32),
    ];
    let slot = PORT_ACCESS;
    world.tables.ports.get_mut(&slot).unwrap().flags &= !Port::BUM_RATE;
    for to in floods {
        let decision = at_port(&world, access, &udp_frame(to));
        assert!(
            matches!(decision.verdict, Verdict::Flood(_)),
            "{decision:?}"
        );
        assert_eq!(taken(&decision), [], "without a rate");
    }

    world.tables.ports.get_mut(&slot).unwrap().flags |= Port::BUM_RATE;
    for to in floods {
        let decision = at_port(&world, access, &udp_frame(to));
        assert!(
            matches!(decision.verdict, Verdict::Flood(_)),
            "{decision:?}"
        );
        assert_eq!(taken(&decision), [(slot, Policed::Bum, 1)]);
    }

    use_up(&mut world, slot, Policed::Bum);
    for to in floods {
        let decision = at_port(&world, access, &udp_frame(to));
        assert_eq!(left(&decision), Reason::BumRate);
        assert_eq!(taken(&decision), []);
    }
    // What goes to one place is no flood.
    for to in [unicast(PLAIN, PEER_V4), unicast(PLAIN, PORT_VLAN_10)] {
        let decision = at_port(&world, access, &udp_frame(to));
        assert!(
            !matches!(decision.verdict, Verdict::Leave(_)),
            "{decision:?}"
        );
        assert_eq!(taken(&decision), []);
    }
    // Nor is it another port's business.
    let narrow = world.interfaces.narrow;
    let decision = at_port(&world, narrow, &udp_frame(MacAddr::BROADCAST));
    assert!(
        matches!(decision.verdict, Verdict::Flood(_)),
        "{decision:?}"
    );
}

#[test]
fn a_flooded_gso_packet_counts_as_its_segments() {
    let mut world = World::default();
    let slot = PORT_ACCESS;
    let rate = Policer::frames(1_000);
    world.tables.policers.insert((slot, Policed::Bum), rate);
    let ip = Ip::between("10.0.0.1", "10.0.0.2");
    let frame = ip_frame(MacAddr::BROADCAST, &ip, 1_000);
    for (gso_size, segments) in [(0, 1), (100, 10), (300, 4), (1_000, 1), (1, 1_000)] {
        let meta = Meta {
            ifindex: world.interfaces.access,
            tag: None,
            gso_size,
        };
        let decision = at_port_with(&world, &meta, &frame);
        assert_eq!(taken(&decision), [(slot, Policed::Bum, segments)]);
    }
}

#[test]
fn a_packet_has_as_many_frames_as_it_is_segmented_into() {
    assert_eq!(police::frames(1_514, 54, 0), 1);
    assert_eq!(police::frames(1_514, 54, 1_460), 1);
    assert_eq!(police::frames(1_515, 54, 1_460), 2);
    assert_eq!(police::frames(65_550, 54, 1_460), 45);
    // Headers of unknown length count as the whole.
    assert_eq!(police::frames(9_000, 9_000, 1_460), 1);
    assert_eq!(police::frames(u32::MAX, 0, 1), 65_535);
}
