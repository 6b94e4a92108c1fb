//! Rates: what passes of what comes, and that it is never more, nor less than it may be.

use std::net::IpAddr;
use std::sync::{
    Barrier,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use std::thread;

use proptest::prelude::*;
use vtep_common::{
    abi::{
        addr::MacAddr,
        counter::Direction,
        flags::{ConfigFlags, PortFlags},
        id::PortSlot,
        policer::{Policed, Policer},
        port::Port,
        reason::Reason,
    },
    decide::{
        police::{self, Shared, take, take_shared},
        tunnel::TunnelKey,
    },
    frame::packet::Meta,
    sim::{
        HostCounters, decide_tunnel,
        decision::{Decision, Verdict},
    },
    testkit::{
        build::{self, Checksum, Ip},
        frames::{
            PEER_V4, PLAIN, PORT_ACCESS, PORT_NARROW, PORT_VLAN_10, PORT_VLAN_20, PORT_VLAN_40,
            World, group, unicast,
        },
    },
};

use crate::shared::{
    OURS_V4, REMOTE_V4, at_port, at_port_with, at_port_xdp, at_uplink, at_uplink_xdp, deliver,
    elsewhere, ip_frame, left, q, tagged, udp_frame, underlays,
};

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;
/// A tick of Linux where it has 250 of them a second.
const TICK: u64 = 4_000_000;

/// What a frame counts as where frames are counted.
const FRAME: u32 = Policer::FRAME;

/// A bucket over time. The clock says the time of the last tick.
struct Over {
    policer: Policer,
    tick: u64,
}

impl Over {
    /// True if `amount` passes at `time`.
    fn takes(&mut self, time: u64, amount: u32) -> bool {
        let clock = (time / self.tick * self.tick, self.tick);
        match take(&self.policer, self.policer.used_until, amount, clock) {
            Some(next) => {
                self.policer.used_until = next;
                true
            }
            None => false,
        }
    }
}

/// A policer, and how many units a packet of the largest size is.
fn rates() -> impl Strategy<Value = Policer> {
    let (least, most) = Policer::BITS;
    prop_oneof![
        (1_u64..1_000_000).prop_map(Policer::frames),
        (least..most).prop_map(Policer::bits),
        (least..1_000_000_000).prop_map(Policer::bits),
    ]
}

/// Gaps in nanoseconds and amounts of what comes: in bursts, in a stream, and after a while.
fn arrivals() -> impl Strategy<Value = Vec<(u64, u32)>> {
    let gap = prop_oneof![
        4 => Just(0),
        4 => 0..20_000_u64,
        2 => 0..20_000_000_u64,
        1 => 0..3 * SECOND,
    ];
    let amount = prop_oneof![4 => 60..1_514_u32, 1 => 1..70_000_u32];
    prop::collection::vec((gap, amount), 1..200)
}

#[test]
fn what_lasts_less_than_a_unit_of_time_still_counts() {
    let policer = Policer {
        cost: 1,
        burst: 1_000,
        ..Policer::NONE
    };
    assert!(policer.cost < 1 << Policer::COST_SHIFT);
    let now = SECOND;
    let mut used = now << Policer::TIME_SHIFT;
    for count in 1..=10 {
        used = take(&policer, used, 1, (now, TICK)).unwrap();
        assert_eq!(used, (now << Policer::TIME_SHIFT) + count);
    }
}

proptest! {
    #[test]
    fn no_more_passes_in_any_time_than_the_rate_and_a_bucket(
        policer in rates(),
        start in 0..u64::MAX >> 1,
        tick in prop::sample::select(vec![1_u64, 1_000_000, TICK, 10_000_000]),
        arrivals in arrivals(),
    ) {
        let mut over = Over { policer, tick };
        let mut time = start;
        let mut passed: Vec<(u64, u64)> = Vec::new();
        for (gap, amount) in arrivals {
            time += gap;
            if over.takes(time, amount) {
                passed.push((time, amount.into()));
            }
        }
        // A packet that is larger than the bucket passes too, from a full one.
        let largest = 70_000 * u128::from(policer.cost);
        let bucket = largest.max(u128::from(policer.burst) << Policer::COST_SHIFT);
        for (at, (from, _)) in passed.iter().enumerate() {
            let mut sum = 0_u128;
            for (to, amount) in &passed[at..] {
                sum += u128::from(*amount);
                let lasts = u128::from(to - from + 2 * tick) << (Policer::TIME_SHIFT + Policer::COST_SHIFT);
                let most = (lasts + bucket) / u128::from(policer.cost);
                prop_assert!(sum <= most, "{sum} of {most} in {} ns of {policer:?}", to - from);
            }
        }
    }

    #[test]
    fn what_keeps_to_the_rate_and_the_bucket_always_passes(
        policer in rates(),
        start in 0..u64::MAX >> 1,
        tick in prop::sample::select(vec![1_u64, 1_000_000, TICK, 10_000_000]),
        arrivals in arrivals(),
    ) {
        let mut over = Over { policer, tick };
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
                prop_assert!(over.takes(time, amount), "{amount}, {used} used of {holds} of {policer:?}");
            }
        }
    }
}

#[test]
fn a_stream_above_the_rate_passes_at_the_rate() {
    let rate = 1_000;
    let mut over = Over {
        policer: Policer::frames(rate),
        tick: TICK,
    };
    let mut passed = 0;
    for frame in 0..100_000_u64 {
        // Ten times as many as pass.
        passed += u64::from(over.takes(77 * SECOND + frame * SECOND / 10_000, FRAME));
    }
    // Ten seconds of them, and what the bucket held.
    assert!((11_000..=11_008).contains(&passed), "{passed}");
}

#[test]
fn a_bucket_is_full_after_any_time_and_whatever_another_clock_has_left_in_it() {
    for (mut policer, much) in [
        (Policer::frames(100), 100 * FRAME),
        (Policer::bits(10_000_000), 65_536),
    ] {
        for now in [0, SECOND, u64::MAX >> Policer::TIME_SHIFT, u64::MAX] {
            for other in [0, 1, 3_600, 86_400, 86_400 * 365] {
                for used in [other * SECOND, now.wrapping_add(other * SECOND)] {
                    policer.used_until = used << Policer::TIME_SHIFT;
                    let ahead = policer.used_until.wrapping_sub(now << Policer::TIME_SHIFT);
                    if (1..(10 * SECOND) << Policer::TIME_SHIFT).contains(&ahead) {
                        continue;
                    }
                    let next = take(&policer, policer.used_until, much, (now, TICK));
                    assert!(next.is_some(), "{used} at {now}");
                }
            }
        }
    }
}

#[test]
fn a_packet_that_is_larger_than_the_bucket_passes_out_of_a_full_one_and_is_paid_for() {
    let mut over = Over {
        policer: Policer::bits(8_000_000),
        tick: TICK,
    };
    let start = 50 * SECOND;
    // A second and a half of it.
    assert!(over.takes(start, 1_500_000));
    for ms in (0..1_400).step_by(100) {
        assert!(!over.takes(start + ms * 1_000_000, 1), "after {ms} ms");
    }
    assert!(over.takes(start + 1_500_000_000, 1_500_000));
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
                    let takes = || take_shared(&bucket, &policer, FRAME, time);
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

/// A bucket out of which another processor always takes first.
struct Contested(AtomicU64);

impl Shared for Contested {
    fn used_until(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn swap(&self, old: u64, _: u64) -> u64 {
        assert_eq!(self.0.fetch_add(1_000, Relaxed), old);
        old + 1_000
    }

    fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }
}

#[test]
fn a_processor_that_is_too_late_passes_and_counts() {
    let policer = Policer::frames(1_000);
    let now = SECOND << Policer::TIME_SHIFT;
    let bucket = Contested(AtomicU64::new(now));
    assert!(take_shared(&bucket, &policer, FRAME, (SECOND, TICK)));
    let lasts = (SECOND / 1_000) << Policer::TIME_SHIFT;
    assert_eq!(bucket.0.into_inner(), now + 1_000 + lasts);
}

/// What the slow-path device says of a frame from the far VTEP.
fn from_far() -> TunnelKey {
    let addr = |text: &str| text.parse::<IpAddr>().unwrap().into();
    TunnelKey {
        vni: 100,
        source: addr(REMOTE_V4),
        destination: Some(addr(OURS_V4)),
    }
}

/// What is made of a frame that the slow-path device has decapsulated.
fn behind_device(world: &World, frame: &[u8]) -> Decision {
    decide_tunnel(frame, &Meta::default(), &from_far(), &world.tables)
}

/// The flags of ports with rates.
const ANY_RATE: PortFlags = Port::BUM_RATE.with(Port::RATE_IN).with(Port::RATE_OUT);

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
    world
        .tables
        .ports
        .get_mut(&slot)
        .unwrap()
        .set(ANY_RATE, false);
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
        assert_eq!(taken(&decision), [(slot, Policed::Bum, FRAME)]);
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
    let port = world.tables.ports.get_mut(&slot).unwrap();
    port.flags = port.flags.without(ANY_RATE) | Port::BUM_RATE;
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
        assert_eq!(taken(&decision), [(slot, Policed::Bum, segments * FRAME)]);
    }
}

#[test]
fn a_packet_counts_as_the_frames_that_it_is_segmented_into() {
    for (len, headers_len, gso_size, frames) in [
        (1_514, 54, 0, 1),
        (1_514, 54, 1_460, 1),
        (1_515, 54, 1_460, 2),
        (65_550, 54, 1_460, 45),
        (54, 54, 1_460, 1),
    ] {
        let counts = police::flooded(len, headers_len, gso_size);
        assert_eq!(counts, Some(frames * FRAME));
        let bytes = police::bytes(len as usize, headers_len, gso_size);
        assert_eq!(bytes, len + (frames - 1) * headers_len);
    }
    // Headers that nobody could measure are as long as the packet, and hide no segments.
    assert_eq!(police::flooded(9_000, 9_000, 1_460), Some(7 * FRAME));
    assert_eq!(police::bytes(9_000, 9_000, 1_460), 9_000);
    assert_eq!(police::flooded(2_048, 0, 2), Some(1_024 * FRAME));
    assert_eq!(police::flooded(2_049, 0, 2), None);
    assert_eq!(police::bytes(200_000, 66, 1), 1 << 22);
}

/// Gives the rates of a port room for a second at 8 Mbit/s.
fn leave_room(world: &mut World, slot: PortSlot, what: Policed) {
    let port = world.tables.ports.get_mut(&slot).unwrap();
    port.flags |= what.flag();
    let rate = Policer::bits(8_000_000);
    world.tables.policers.insert((slot, what), rate);
}

#[test]
fn what_comes_from_a_port_is_held_to_its_rate_once_at_the_hook_that_finishes_it() {
    let mut world = World::default();
    let slot = PORT_ACCESS;
    leave_room(&mut world, slot, Policed::In);
    world
        .tables
        .ports
        .get_mut(&slot)
        .unwrap()
        .set(ANY_RATE.without(Port::RATE_IN), false);
    let access = world.interfaces.access;
    let destinations = [
        unicast(PLAIN, PEER_V4),
        unicast(PLAIN, PORT_VLAN_10),
        MacAddr::BROADCAST,
        group(PLAIN),
    ];
    for to in destinations {
        let frame = udp_frame(to);
        let len = u32::try_from(frame.len()).unwrap();
        let want = [(slot, Policed::In, len)];
        assert_eq!(taken(&at_port(&world, access, &frame)), want);
        let at_xdp = at_port_xdp(&world, access, &frame);
        if matches!(at_xdp.verdict, Verdict::Encap(_)) {
            assert_eq!(taken(&at_xdp), want);
        } else {
            assert_eq!(left(&at_xdp), Reason::LeftToTc);
            assert_eq!(taken(&at_xdp), [], "TC takes it");
        }
    }

    use_up(&mut world, slot, Policed::In);
    for to in destinations {
        let frame = udp_frame(to);
        assert_eq!(left(&at_port(&world, access, &frame)), Reason::Rate);
        let at_xdp = left(&at_port_xdp(&world, access, &frame));
        assert!(matches!(at_xdp, Reason::Rate | Reason::LeftToTc));
    }
    let encap = udp_frame(unicast(PLAIN, PEER_V4));
    assert_eq!(left(&at_port_xdp(&world, access, &encap)), Reason::Rate);
    // Another VLAN of an interface is another port.
    let trunk = world.interfaces.trunk;
    use_up(&mut world, PORT_VLAN_20, Policed::In);
    let frame = tagged(&udp_frame(unicast(PLAIN, PEER_V4)), q(10));
    assert!(matches!(
        at_port(&world, trunk, &frame).verdict,
        Verdict::Encap(_)
    ));
}

#[test]
fn arp_that_is_answered_or_found_elsewhere_is_taken_once() {
    let mut world = World::default();
    let slot = PORT_VLAN_40;
    leave_room(&mut world, slot, Policed::In);
    leave_room(&mut world, slot, Policed::Out);
    let request = |target: [u8; 4]| {
        let source = elsewhere().bytes();
        let head = [0, 1, 8, 0, 6, 4, 0, 1];
        let message = [&head[..], &source, &[10, 0, 0, 7], &[0; 6], &target].concat();
        let frame = build::ethernet(
            MacAddr::BROADCAST,
            elsewhere(),
            &[],
            build::TYPE_ARP,
            &message,
        );
        tagged(&frame, q(40))
    };
    let trunk = world.interfaces.trunk;
    let known = at_port(&world, trunk, &request([10, 0, 0, 50]));
    assert!(matches!(known.verdict, Verdict::Answer(_)), "{known:?}");
    let len = 46;
    assert_eq!(
        taken(&known),
        [(slot, Policed::In, len), (slot, Policed::Out, len)]
    );
    let unknown = at_port(&world, trunk, &request([10, 0, 0, 99]));
    assert_eq!(left(&unknown), Reason::UnknownNeigh);
    assert_eq!(taken(&unknown), [(slot, Policed::In, len)]);

    use_up(&mut world, slot, Policed::Out);
    let known = at_port(&world, trunk, &request([10, 0, 0, 50]));
    assert_eq!(left(&known), Reason::Rate);
}

#[test]
fn what_goes_to_a_port_is_held_to_its_rate_by_every_way_to_it() {
    let mut world = World::default();
    let slot = PORT_ACCESS;
    leave_room(&mut world, slot, Policed::Out);
    world.tables.config.flags = ConfigFlags::NONE;
    let frame = udp_frame(unicast(PLAIN, slot));
    let len = u32::try_from(frame.len()).unwrap();
    let ways = |world: &World| {
        let [v4, v6] = underlays(100).map(|outer| outer.frame(&frame));
        [
            at_uplink(world, &v4),
            at_uplink_xdp(world, &v4),
            at_uplink(world, &v6),
            at_uplink_xdp(world, &v6),
            behind_device(world, &frame),
            at_port(world, world.interfaces.narrow, &frame),
        ]
    };
    for decision in ways(&world) {
        assert_eq!(deliver(&decision).slot, slot);
        assert_eq!(taken(&decision), [(slot, Policed::Out, len)]);
    }
    use_up(&mut world, slot, Policed::Out);
    for decision in ways(&world) {
        assert_eq!(left(&decision), Reason::Rate);
    }
    // What is left to the next hook is taken there.
    world
        .tables
        .ports
        .get_mut(&slot)
        .unwrap()
        .set(Port::XDP_TARGET, false);
    let [v4, _] = underlays(100).map(|outer| outer.frame(&frame));
    let at_xdp = at_uplink_xdp(&world, &v4);
    assert_eq!(left(&at_xdp), Reason::LeftToTc);
    assert_eq!(taken(&at_xdp), []);
}

#[test]
fn copies_of_a_flooded_frame_are_held_to_the_rate_of_each_port() {
    let mut world = World::default();
    leave_room(&mut world, PORT_ACCESS, Policed::Out);
    let from_narrow = at_port(
        &world,
        world.interfaces.narrow,
        &udp_frame(MacAddr::BROADCAST),
    );
    let from_vtep = behind_device(&world, &udp_frame(MacAddr::BROADCAST));
    for decision in [from_narrow, from_vtep] {
        let reason = decision.verdict.reason(decision.from_port.is_none());
        let rate = |world: &World| {
            let counters = HostCounters::default();
            counters.record(&decision, reason, 142, &world.tables);
            let reasons = counters.reasons.borrow();
            let copies = counters.ports.borrow();
            let got = copies.contains_key(&Direction::Decap.index(PORT_ACCESS.get()));
            (reasons.get(&Reason::Rate.code()).map(|it| it.packets), got)
        };
        assert_eq!(rate(&world), (None, true), "{decision:?}");
        let mut world = world.clone();
        use_up(&mut world, PORT_ACCESS, Policed::Out);
        assert_eq!(rate(&world), (Some(1), false), "{decision:?}");
    }
}

#[test]
fn gro_packets_from_vteps_count_as_their_segments() {
    let mut world = World::default();
    let slot = PORT_NARROW;
    leave_room(&mut world, slot, Policed::Out);
    let to = unicast(PLAIN, slot);
    for (from, dst, headers) in [("10.0.0.1", "10.0.0.2", 54_u32), ("fd00::1", "fd00::2", 74)] {
        let ip = Ip::between(from, dst);
        let packet = ip.tcp((1, 2), Checksum::Complete, &[7; 3_000]);
        let frame = build::ethernet(to, elsewhere(), &[], ip.ethertype(), &packet);
        let udp = ip_frame(to, &ip, 3_000);
        // Data offset 8: twelve bytes of options, as with time stamps.
        let mut options = frame.clone();
        options[headers as usize - 8] = 0x80;
        for (frame, headers) in [
            (frame, headers),
            (options, headers + 12),
            (udp, headers - 12),
        ] {
            let len = u32::try_from(frame.len()).unwrap();
            let meta = Meta {
                gso_size: 1_000,
                ..Meta::default()
            };
            let decision = decide_tunnel(frame.as_slice(), &meta, &from_far(), &world.tables);
            assert_eq!(deliver(&decision).slot, slot);
            assert_eq!(taken(&decision), [(slot, Policed::Out, len + 2 * headers)]);
        }
    }
}
