//! Random changes, with daemons that are killed in between.

use std::net::IpAddr;

use proptest::{collection::vec, option, prelude::*, sample::select};

use vtep_common::abi::{event::Event, id::Ifindex};

use super::{
    super::{Author, Effect, Limits, Resolution},
    lab::*,
};
use crate::model::{
    BitRate, Duplicates, FdbDel, FdbFilter, FdbSpec, Flood, FrameRate, MacAddr, Mode, NeighDel,
    NeighSpec, NexthopDel, NexthopSpec, Op, OverLimit, PeerSpec, PortChange, PortDelivery,
    PortGuard, PortHook, PortPart, PortSpec, PortState, Sources, VlanId, Vni, VniSpec,
};

/// Tables so small that they fill up.
const LIMITS: Limits = Limits {
    fdb: 6,
    segments: 2,
    ports: 4,
    peers: 3,
    found_peers: 2,
    flood_targets: 4,
    groups: 2,
    neighs: 4,
    nexthops: 4,
    sources: 4,
    duplicates: Duplicates {
        moves: 2,
        window_s: 20,
        freeze_s: 10,
    },
};

/// A frame that the programs report.
#[derive(Clone, Copy, Debug)]
struct RandomFrame {
    kind: u32,
    segment: u32,
    mac: usize,
    from: From,
    host: usize,
    flags: u32,
}

/// What happens to a daemon.
#[derive(Clone, Debug)]
enum Step {
    Do(Op),
    /// Changes are made in the name of the configuration file from now on, or of commands.
    Author(bool),
    Resolved(&'static str, bool),
    LinkGone(u32),
    LinkCame(&'static str, u32),
    KilledAsItGoes(&'static str, usize),
    KilledAsItComes(&'static str, u32, usize),
    Mtu(&'static str, u32),
    Locals(bool, bool),
    Frames(Vec<RandomFrame>),
    /// A frame from the MAC is seen where the FDB has it.
    Seen(usize),
    Wait(u64),
    /// The daemon is killed when it has written this share of what the frames ask for, in percent.
    KilledAt(Vec<RandomFrame>, usize),
    /// The daemon is killed when it has made this share of a change's writes, in percent.
    Killed(Op, usize),
}

const MACS: [&str; 6] = [
    "00:00:00:00:00:00",
    "02:00:00:00:00:01",
    "02:00:00:00:00:02",
    "02:00:00:00:00:03",
    "01:00:5e:00:00:01",
    "01:00:5e:00:00:02",
];
const HOSTS: [&str; 4] = ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"];
const GROUPS: [&str; 2] = ["239.1.1.1", "ff05::100"];
const VTEPS: [&str; 4] = ["192.0.2.2", "192.0.2.3", "2001:db8::2", "2001:db8::3"];

fn any_vni() -> impl Strategy<Value = Vni> {
    select(&[1, 2, 3][..]).prop_map(vni)
}

fn any_dev() -> impl Strategy<Value = String> {
    select(&TAPS[..3]).prop_map(str::to_owned)
}

fn any_vlan() -> impl Strategy<Value = Option<VlanId>> {
    select(&[0, 10][..]).prop_map(vlan)
}

fn any_macs() -> impl Strategy<Value = Vec<MacAddr>> {
    vec(select(&MACS[1..4]).prop_map(mac), 0..3)
}

fn any_entry() -> impl Strategy<Value = FdbSpec> {
    let dst = select(&VTEPS[..]).prop_map(|text| (Some(ip(text)), None));
    let dev = any_dev().prop_map(|dev| (None, Some(dev)));
    (
        select(&MACS[..]),
        any_vni(),
        prop_oneof![3 => dst, 1 => dev],
    )
        .prop_map(|(at, vni, (dst, dev))| FdbSpec {
            mac: mac(at),
            vni,
            dst,
            dev,
        })
}

fn any_hook() -> impl Strategy<Value = Option<PortHook>> {
    option::of(select(&[PortHook::Auto, PortHook::Tc, PortHook::Xdp][..]))
}

fn any_spec() -> impl Strategy<Value = Box<VniSpec>> {
    (
        option::of(select(
            &[Mode::Multicast, Mode::Flood, Mode::L2, Mode::L3][..],
        )),
        option::of(select(&[Flood::Her, Flood::Multicast, Flood::None][..])),
        option::of(select(&GROUPS[..])),
        option::of(any::<bool>()),
        option::of(any::<bool>()),
        option::of(0_u32..4),
        option::of(select(&[0, 10, 30][..])),
        any_over_limit(),
        option::of(select(&[Sources::Listed, Sources::Any][..])),
    )
        .prop_map(
            |(mode, flood, group, learning, suppress, max_macs, ageing_s, over_limit, sources)| {
                let multicast = mode == Some(Mode::Multicast) || flood == Some(Flood::Multicast);
                Box::new(VniSpec {
                    mode,
                    flood,
                    group: group.filter(|_| multicast).map(ip),
                    learning,
                    suppress,
                    max_macs,
                    ageing_s,
                    over_limit,
                    sources,
                    ..VniSpec::default()
                })
            },
        )
}

fn any_over_limit() -> impl Strategy<Value = Option<OverLimit>> {
    option::of(select(&[OverLimit::Drop, OverLimit::Flood][..]))
}

/// Isolation, guard, what happens above the limit, rates, and delivery.
type Policy = (
    Option<bool>,
    (Option<PortGuard>, Option<bool>),
    Option<OverLimit>,
    (Option<FrameRate>, Option<BitRate>, Option<BitRate>),
    Option<PortDelivery>,
);

fn any_policy() -> impl Strategy<Value = Policy> {
    let guard = option::of(select(&[PortGuard::Off, PortGuard::Mac, PortGuard::Ip][..]));
    let guard = (guard, any::<Option<bool>>());
    let bum_rate = option::of((0_u64..3).prop_map(|rate| FrameRate::new(rate).unwrap()));
    let bits = || option::of((0_u64..3).prop_map(|rate| BitRate::new(rate * 1_000).unwrap()));
    let rates = (bum_rate, bits(), bits());
    let delivery = [PortDelivery::Auto, PortDelivery::Qdisc, PortDelivery::Fast];
    let delivery = option::of(select(delivery.to_vec()));
    (
        any::<Option<bool>>(),
        guard,
        any_over_limit(),
        rates,
        delivery,
    )
}

fn any_port() -> impl Strategy<Value = Op> {
    let spec = (
        any_dev(),
        any_vni(),
        any_vlan(),
        any_hook(),
        any_macs(),
        any_ips(),
        option::of(0_u32..3),
        any_policy(),
        any::<bool>(),
    );
    spec.prop_map(
        |(
            dev,
            vni,
            vlan,
            hook,
            macs,
            ips,
            max_macs,
            (isolated, (guard, router), over_limit, (bum_rate, rate_in, rate_out), delivery),
            wait,
        )| {
            Op::PortAdd(Box::new(PortSpec {
                dev,
                vni,
                vlan,
                hook,
                macs,
                ips,
                max_macs,
                isolated,
                guard,
                router,
                over_limit,
                bum_rate,
                rate_in,
                rate_out,
                delivery,
                wait,
            }))
        },
    )
}

fn any_port_change() -> impl Strategy<Value = Op> {
    let change = (
        any_dev(),
        option::of(any_vni()),
        any_vlan(),
        any_hook(),
        option::of(any_macs()),
        option::of(any_ips()),
        option::of(0_u32..3),
        any_policy(),
    );
    change.prop_map(
        |(
            dev,
            vni,
            vlan,
            hook,
            macs,
            ips,
            max_macs,
            (isolated, (guard, router), over_limit, (bum_rate, rate_in, rate_out), delivery),
        )| {
            Op::PortSet {
                dev,
                change: Box::new(PortChange {
                    vlan,
                    vni,
                    hook,
                    macs,
                    ips,
                    max_macs,
                    isolated,
                    guard,
                    router,
                    over_limit,
                    bum_rate,
                    rate_in,
                    rate_out,
                    delivery,
                }),
            }
        },
    )
}

fn any_ips() -> impl Strategy<Value = Vec<IpAddr>> {
    vec(select(&HOSTS[..]).prop_map(ip), 0..3)
}

fn any_unicast() -> impl Strategy<Value = Option<MacAddr>> {
    option::of(select(&MACS[1..4]).prop_map(mac))
}

fn any_neigh() -> impl Strategy<Value = NeighSpec> {
    (select(&HOSTS[..]), any_vni(), any_unicast(), any::<bool>()).prop_map(
        |(host, vni, lladdr, router)| NeighSpec {
            ip: ip(host),
            vni,
            lladdr,
            router,
        },
    )
}

fn any_nexthop() -> impl Strategy<Value = NexthopSpec> {
    let prefix = prop_oneof![
        3 => select(&HOSTS[..]),
        1 => select(&["10.0.0.0/8", "0.0.0.0/0", "fd00::/8", "::/0"][..]),
    ];
    let via = option::of(select(&VTEPS[..]).prop_map(ip));
    (prefix, any_vni(), via, any_unicast()).prop_map(|(prefix, vni, via, lladdr)| NexthopSpec {
        ip: prefix.parse().unwrap(),
        vni,
        via,
        lladdr,
    })
}

fn any_host_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => any_neigh().prop_map(Op::NeighAdd),
        1 => any_neigh().prop_map(Op::NeighReplace),
        1 => any_neigh().prop_map(|spec| Op::NeighDel(NeighDel { ip: spec.ip, vni: spec.vni, lladdr: None, })),
        2 => any_nexthop().prop_map(Op::NexthopAdd),
        2 => any_nexthop().prop_map(Op::NexthopReplace),
        1 => any_nexthop()
            .prop_map(|spec| Op::NexthopDel(NexthopDel { ip: spec.ip, vni: spec.vni, via: None, lladdr: None, })),
    ]
}

fn any_frames() -> impl Strategy<Value = Vec<RandomFrame>> {
    let from = prop_oneof![
        select(&[0, 1, 2, 3][..]).prop_map(From::Port),
        select(&VTEPS[..]).prop_map(From::Vtep),
    ];
    let frame = (
        select(&[Event::LEARN, Event::LEARN, Event::SNOOPED, Event::MISS][..]),
        0_u32..2,
        0..MACS.len(),
        from,
        0..HOSTS.len(),
        0_u32..8,
    );
    let frame = frame.prop_map(|(kind, segment, mac, from, host, flags)| RandomFrame {
        kind,
        segment,
        mac,
        from,
        host,
        flags,
    });
    vec(frame, 1..6)
}

pub(super) fn any_op() -> impl Strategy<Value = Op> {
    let del = (any_entry(), any::<bool>()).prop_map(|(spec, anywhere)| {
        Op::FdbDel(FdbDel {
            mac: spec.mac,
            vni: spec.vni,
            dst: spec.dst.filter(|_| !anywhere),
            dev: spec.dev.filter(|_| !anywhere),
        })
    });
    let flush =
        (any_vni(), option::of(any_entry()), any::<bool>()).prop_map(|(vni, entry, learned)| {
            let (dst, dev) = entry.map_or((None, None), |entry| (entry.dst, entry.dev));
            Op::FdbFlush(FdbFilter {
                vni: Some(vni),
                dst,
                dev,
                learned: false,
                with_static: !learned,
            })
        });
    prop_oneof![
        4 => (any_vni(), any_spec()).prop_map(|(vni, spec)| Op::VniAdd { vni, spec }),
        1 => (any_vni(), any_spec()).prop_map(|(vni, spec)| Op::VniSet { vni, spec }),
        1 => (any_vni(), any_spec()).prop_map(|(vni, spec)| Op::VniReplace { vni, spec }),
        1 => any_vni().prop_map(vni_del),
        6 => any_port(),
        2 => any_port().prop_map(|op| match op {
            Op::PortAdd(spec) => Op::PortReplace(spec),
            other => other,
        }),
        3 => any_port_change(),
        1 => (any_dev(), any_vlan(), option::of(any_vni()))
            .prop_map(|(dev, vlan, vni)| Op::PortDel { dev, part: PortPart { vlan, vni, untagged: false } }),
        6 => any_entry().prop_map(Op::FdbAdd),
        6 => any_entry().prop_map(Op::FdbAppend),
        3 => any_entry().prop_map(Op::FdbReplace),
        3 => del,
        1 => flush,
        6 => any_host_op(),
        1 => (select(&VTEPS[..]), any::<bool>()).prop_map(|(text, csum6)| Op::PeerSet {
            ip: ip(text),
            spec: PeerSpec { csum6: Some(csum6) },
        }),
    ]
}

/// A tap, by the number that it has at first or by another, and no two by the same.
fn any_interface() -> impl Strategy<Value = (&'static str, u32)> {
    ((0..TAPS.len()), any::<bool>()).prop_map(|(at, again)| {
        let number = 10 + u32::try_from(at).unwrap();
        (TAPS[at], if again { number } else { number + 10 })
    })
}

/// What the user made, wherever its ports are.
fn by_user(lab: &Lab) -> Rows {
    wherever(lab.rows().by_user())
}

fn wherever(mut rows: Rows) -> Rows {
    for port in &mut rows.ports {
        (port.ifindex, port.delivery, port.state) = (None, None, PortState::Absent);
        (port.mtu, port.mtu_advice) = (None, None);
    }
    rows
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => any_op().prop_map(Step::Do),
        3 => any::<bool>().prop_map(Step::Author),
        3 => (select(&VTEPS[..]), any::<bool>()).prop_map(|(ip, is)| Step::Resolved(ip, is)),
        2 => (10_u32..16).prop_map(Step::LinkGone),
        2 => any_interface().prop_map(|(dev, ifindex)| Step::LinkCame(dev, ifindex)),
        1 => (select(&TAPS[..]), 0_usize..100)
            .prop_map(|(dev, share)| Step::KilledAsItGoes(dev, share)),
        1 => (any_interface(), 0_usize..100)
            .prop_map(|((dev, ifindex), share)| Step::KilledAsItComes(dev, ifindex, share)),
        1 => (select(&TAPS[..]), 1400_u32..1403).prop_map(|(dev, mtu)| Step::Mtu(dev, mtu)),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(v4, v6)| Step::Locals(v4, v6)),
        8 => any_frames().prop_map(Step::Frames),
        3 => (0..MACS.len()).prop_map(Step::Seen),
        3 => (1_u64..20).prop_map(Step::Wait),
        2 => (any_frames(), 0_usize..100)
            .prop_map(|(frames, share)| Step::KilledAt(frames, share)),
        5 => (any_op(), 0_usize..100).prop_map(|(op, share)| Step::Killed(op, share)),
    ]
}

fn run(lab: &mut Lab, step: Step) {
    match step {
        Step::Author(config) => {
            lab.author = if config { Author::CONFIG } else { Author::CLI };
        }
        Step::Do(op) => {
            let before = lab.rows();
            let Ok(effect) = lab.apply(&op) else { return };
            assert_eq!(effect.undo.is_some(), !effect.attach.is_empty());
            if let Some(undo) = effect.undo {
                let mut other = lab.clone();
                if let Ok(back) = other.state.roll_back(&undo, &other.links) {
                    other.replay(&back.writes);
                    // Whose it was comes back by another way.
                    let (after, before) = (other.rows(), before);
                    let [after, before] =
                        [after, before].map(|rows| rows.by_user().without_sources());
                    assert_eq!(after, before, "{op:?} was not undone");
                }
            }
        }
        Step::Resolved(peer, true) => lab.resolve(peer),
        Step::Resolved(peer, false) => {
            let dev = "eth0".to_owned();
            let writes = lab
                .state
                .resolved(ip(peer), Resolution::Pending { dev, via: None });
            lab.replay(&writes);
        }
        Step::LinkGone(ifindex) => {
            let mut links = lab.links.values();
            let found = links.find(|facts| facts.ifindex == Ifindex::new(ifindex));
            if let Some(dev) = found.map(|facts| facts.name.clone()) {
                lab.goes(&dev);
            }
        }
        Step::LinkCame(dev, ifindex) => {
            if !lab.links.contains_key(dev) {
                lab.comes(dev, ifindex);
            }
        }
        Step::KilledAsItGoes(dev, share) => {
            if let Some(facts) = lab.links.remove(dev) {
                let before = lab.rows();
                let effect = lab.state.link_gone(facts.ifindex);
                take_over(lab, &effect, share);
                assert_eq!(by_user(lab), wherever(before.by_user()));
            }
        }
        Step::KilledAsItComes(dev, ifindex, share) => {
            if lab.links.contains_key(dev) {
                return;
            }
            let before = lab.rows();
            let new = facts(Ifindex::new(ifindex), dev);
            lab.links.insert(dev.into(), new);
            if let Some((op, author)) = lab.state.link_came(dev) {
                let effect = lab.state.apply_as(author, &op, &lab.links).unwrap();
                take_over(lab, &effect, share);
                assert_eq!(by_user(lab), wherever(before.by_user()));
                assert!(!lab.state.awaits(dev));
            }
        }
        Step::Mtu(dev, mtu) => {
            let Some(facts) = lab.links.get_mut(dev) else {
                return;
            };
            facts.mtu = mtu;
            let writes = lab.state.link_changed(facts);
            lab.replay(&writes);
        }
        Step::Locals(v4, v6) => {
            let wanted = locals()
                .into_iter()
                .filter(|ip| if ip.is_ipv4() { v4 } else { v6 });
            let writes = lab.state.set_locals(wanted.collect());
            lab.replay(&writes);
        }
        Step::Frames(frames) => {
            let events: Vec<_> = frames.iter().map(|frame| event(lab, frame)).collect();
            lab.take(&events);
        }
        Step::Seen(mac) => {
            for (key, value) in &mut lab.maps.fdb {
                let learned = value.origin.ages();
                if learned && key.mac() == super::lab::mac(MACS[mac]) {
                    value.last_seen = lab.now;
                }
            }
        }
        Step::Wait(seconds) => drop(lab.wait(seconds)),
        Step::KilledAt(frames, share) => {
            let events: Vec<_> = frames.iter().map(|frame| event(lab, frame)).collect();
            let before = lab.rows();
            let effect = lab.learn_unchecked(&events);
            take_over(lab, &effect, share);
            assert_eq!(lab.rows().by_user(), before.by_user());
        }
        Step::Killed(op, share) => kill(lab, &op, share),
    }
}

/// Makes a part of a change's writes and lets a new daemon take over.
fn kill(lab: &mut Lab, op: &Op, share: usize) {
    let (before, mut state) = (lab.rows(), lab.state.clone());
    let Ok(effect) = state.apply_as(lab.author, op, &lab.links) else {
        return;
    };
    let after = rows(&state);
    take_over(lab, &effect, share);

    let user = |rows: Rows| rows.by_user().without_sources_of_lists();
    let now = user(lab.rows());
    let is = |rows: &Rows| user(rows.clone()) == now;
    let several = match op {
        Op::PortSet { .. } | Op::PortReplace(_) | Op::FdbFlush(_) => true,
        Op::PortDel { .. } => before.ports.len() > after.ports.len() + 1,
        _ => false,
    };
    assert!(
        several || is(&before) || is(&after),
        "{op:?} was left half done"
    );
}

/// Makes a part of an effect's writes and lets a new daemon take over.
fn take_over(lab: &mut Lab, effect: &Effect, share: usize) {
    lab.maps
        .replay(&effect.writes[..effect.writes.len() * share / 100]);
    let adopted = lab.adopt();
    lab.state = adopted.state;
    lab.replay(&adopted.writes);
    assert_eq!(lab.adopt().writes, [], "it was not repaired");
}

fn event(lab: &Lab, frame: &RandomFrame) -> Event {
    let RandomFrame {
        kind,
        segment,
        mac,
        from,
        host,
        flags,
    } = *frame;
    // Numbers are given out once: those that are in use are meant, as long as there are so many.
    let segment = lab.maps.segments.keys().nth(segment as usize).copied();
    let from = match from {
        From::Port(at) => {
            let slot = lab.maps.ports.keys().nth(at as usize);
            From::Port(slot.map_or(at, |slot| slot.get()))
        }
        From::Vtep(_) => from,
    };
    let segment = segment.unwrap_or(SEGMENT);
    Event {
        host: ip(HOSTS[host]).into(),
        flags,
        ..lab.event(kind, segment, MACS[mac], from)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_write_ever_leaves_a_dangling_reference_and_what_is_half_done_is_repaired(
        steps in vec(any_step(), 1..60)
    ) {
        let mut lab = Lab::with(LIMITS);
        for step in steps {
            run(&mut lab, step);
        }
    }
}
