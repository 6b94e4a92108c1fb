//! What a test run cannot show to a program: random frames that really arrive, with an skb VLAN tag
//! and with the tunnel key that the slow-path device gives them. Kernel and host are compared by all counters and by every
//! frame that comes out at a port or at the uplink.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use vtep_common::sim::decision::{Decision, Verdict};

use vtep_common::abi::addr::VtepAddr;
use vtep_common::abi::counter::Hook;
use vtep_common::abi::flags::PortFlags;
use vtep_common::abi::id::{Ifindex, ListId, PortSlot};
use vtep_common::abi::policer::Policed;
use vtep_common::abi::port::Port;
use vtep_common::abi::reason::Reason;
use vtep_common::decide::tunnel::TunnelKey;
use vtep_common::frame::{packet::Tag, vlan::ShownVlan};
use vtep_common::runtime::tables::Tables as _;
use vtep_common::sim::{HostCounters, copies_in_place};
use vtep_common::testkit::frames::{LOCALS, Sample, Side, USED_UP, World, reachable};
use vtep_tests::dump;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::link::Link as _;
use vtep_tests::link::capture::Capture;
use vtep_tests::link::offload::set_gro;
use vtep_tests::need_root;
use vtep_tests::testrun::totals::Totals;
use vtep_tests::testrun::{
    DEVICE, LONGEST, PORTS, SHORTEST, TestBed, UPLINK, is_of_the_host, with_test_bed,
};
use vtep_tests::wait::{DEADLINE, poll};

/// Frames that are sent at ports.
const AT_PORTS: usize = 30_000;
/// Frames that are sent to the slow-path device.
const AT_DEVICE: usize = 20_000;
/// Frames that are sent before what became of them is compared: fewer than a backlog holds.
const BATCH: usize = 250;

/// A frame as it is sent, and the sample that the program sees then.
struct SentFrame {
    seed: u64,
    device: &'static str,
    bytes: Vec<u8>,
    sample: Sample,
    decision: Decision,
}

/// What came out of each device, in any order.
type Out = BTreeMap<&'static str, BTreeMap<Vec<u8>, usize>>;

/// The other ends of all wires.
struct Wires(BTreeMap<&'static str, Capture>);

#[test]
fn frames_that_arrive_at_ports_with_tags_end_as_the_host_says() {
    need_root!();
    let reached = with_test_bed(|bench| {
        let world = World::new(bench.interfaces);
        bench.load(&world.tables);
        for name in PORTS {
            let ifindex = Ifindex::new(bench.here.ifindex(name));
            bench
                .datapath()
                .attach_port(name, ifindex, false)
                .unwrap_or_else(|error| panic!("{error}"));
        }
        let seeds = (0..).filter_map(|seed| at_port(bench, &world, seed));
        let sent: Vec<SentFrame> = seeds.take(AT_PORTS).collect();
        compare_all(bench, &world, &sent)
    });
    let want: BTreeSet<Reason> = reachable(Hook::Port).iter().copied().collect();
    assert_eq!(reached, want);
}

#[test]
fn frames_that_the_slow_path_device_decapsulates_end_as_the_host_says() {
    need_root!();
    let reached = with_test_bed(|bench| {
        let world = World::new(bench.interfaces);
        bench.load(&world.tables);
        receive_by_kernel(bench);
        let hop = bench.here.mac(UPLINK);
        let seeds = (0..).filter_map(|seed| at_device(&world, hop, seed));
        let sent: Vec<SentFrame> = seeds.take(AT_DEVICE).collect();
        compare_all(bench, &world, &sent)
    });
    // The kernel itself drops packets from its own addresses, and frames shorter than an Ethernet header.
    let by_kernel = [Reason::OwnSource, Reason::InnerTruncated];
    let want: BTreeSet<Reason> = reachable(Hook::Tunnel)
        .iter()
        .copied()
        .filter(|reason| !by_kernel.contains(reason))
        .collect();
    assert_eq!(reached, want);
}

/// Has the slow-path device take VXLAN packets from the uplink for our addresses, and for two that are not ours.
fn receive_by_kernel(bench: &mut TestBed) {
    for (area, key) in [
        ("ipv4/conf/all", "rp_filter"),
        ("ipv4/conf/uplink0", "rp_filter"),
    ] {
        bench.here.sysctl(&format!("{area}/{key}"), "0");
    }
    bench.here.sysctl("ipv6/conf/uplink0/disable_ipv6", "0");
    bench.here.ip(&format!(
        "addr add 192.0.2.1/24 dev {UPLINK}
         addr add 192.0.2.77/24 dev {UPLINK}
         addr add 2001:db8::1/64 dev {UPLINK} nodad
         addr add 2001:db8::77/64 dev {UPLINK} nodad"
    ));
    // GRO would cut padding off.
    set_gro(&bench.here, DEVICE, false);
    let device = bench.interfaces.device;
    bench
        .datapath()
        .attach_slow_path(DEVICE, Ifindex::new(device))
        .unwrap_or_else(|error| panic!("{error}"));
}

/// The frame of a seed as it can be sent to a port.
fn at_port(bench: &TestBed, world: &World, seed: u64) -> Option<SentFrame> {
    let sample = world.sample(seed);
    // The uplink has no program of a port here.
    let device = bench
        .name_of(sample.meta.ifindex)
        .filter(|name| *name != UPLINK && sample.hook() == Hook::Port)?;
    let bytes = with_tag_in_band(&sample)?;
    let received = as_received(&sample, bytes.clone())?;
    Some(SentFrame::new(world, seed, device, bytes, received))
}

/// The frame of a seed as a VTEP can send it, in a packet that the slow-path device takes.
fn at_device(world: &World, hop: Mac, seed: u64) -> Option<SentFrame> {
    let mut sample = world.sample(seed);
    let Side::Tunnel(key) = sample.side else {
        return None;
    };
    let ours: Vec<_> = LOCALS
        .map(|local| local.parse().expect("an address"))
        .into();
    let source = std::net::IpAddr::from(key.source);
    let destination = match key.destination {
        Some(destination) => destination.into(),
        None => ours[usize::from(source.is_ipv6())],
    };
    // What no host sends the kernel does not take.
    if ours.contains(&source) || VtepAddr::from(source).is_no_source() {
        return None;
    }
    sample.side = Side::Tunnel(TunnelKey {
        destination: Some(destination.into()),
        ..key
    });
    let inner = with_tag_in_band(&sample)?;
    let received = as_received(&sample, inner.clone())?;
    if is_headless(&inner) {
        return None;
    }
    let bytes = eth(Mac::nth(0x77), hop)
        .ip(source, destination)
        .udp(50_000, 4789)
        .vxlan(key.vni)
        .bytes(&inner)
        .build();
    Some(SentFrame::new(world, seed, UPLINK, bytes, received))
}

/// The frame with its tag in-band, if it can be sent as it is: no GSO packet, and neither too short nor too long.
fn with_tag_in_band(sample: &Sample) -> Option<Vec<u8>> {
    if sample.meta.gso_size != 0 || !(SHORTEST..=LONGEST).contains(&sample.frame.len()) {
        return None;
    }
    Some(tagged(sample.frame.clone(), sample.meta.tag))
}

/// The sample when the kernel has received these bytes: the outermost tag is the skb VLAN tag. Frames that end within their
/// tag go no further (`skb_vlan_untag`).
fn as_received(sample: &Sample, mut bytes: Vec<u8>) -> Option<Sample> {
    let mut sample = sample.clone();
    sample.meta.tag = None;
    if let Some(&[a @ (0x81 | 0x88), b @ (0x00 | 0xa8), c, d]) = bytes.get(12..16)
        && matches!((a, b), (0x81, 0x00) | (0x88, 0xa8))
    {
        if bytes.len() < SHORTEST + 6 {
            return None;
        }
        bytes.drain(12..16);
        sample.meta.tag = Some(Tag {
            tpid: u16::from_be_bytes([a, b]),
            tci: u16::from_be_bytes([c, d]),
        });
    } else if matches!(bytes.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8])) {
        return None;
    }
    sample.frame = bytes;
    Some(sample)
}

/// Whether the slow-path device drops the frame: it wants a whole IP header where the frame says that it is IP.
fn is_headless(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.len() < SHORTEST + 20,
        Some([0x86, 0xdd]) => frame.len() < SHORTEST + 40,
        _ => false,
    }
}

fn tagged(mut frame: Vec<u8>, tag: Option<Tag>) -> Vec<u8> {
    if let Some(tag) = tag {
        let bytes = [tag.tpid.to_be_bytes(), tag.tci.to_be_bytes()].concat();
        frame.splice(12..12, bytes);
    }
    frame
}

impl SentFrame {
    fn new(world: &World, seed: u64, device: &'static str, bytes: Vec<u8>, sample: Sample) -> Self {
        let decision = sample.decide(&world.tables);
        Self {
            seed,
            device,
            bytes,
            sample,
            decision,
        }
    }

    fn reason(&self) -> Reason {
        self.sample.reason(&self.decision)
    }

    /// What has to come out for it.
    fn add_out(&self, bench: &TestBed, world: &World, out: &mut Out) {
        let outcome = self.sample.apply(&self.decision, &world.tables);
        let whole = tagged(outcome.frame.clone(), outcome.skb_tag);
        let mut add = |ifindex: u32, frame: Vec<u8>| {
            let device = bench.name_of(ifindex).expect("a port or the uplink");
            *out.entry(device).or_default().entry(frame).or_default() += 1;
        };
        let mut to_ports = |list: ListId, vlan: ShownVlan, from: Option<PortSlot>| {
            let list = world.tables.flood_list(list).expect("it was there");
            let sender = from.map(|slot| world.tables.port(slot).expect("it is there"));
            let kept_from = sender.map_or(PortFlags::NONE, |port| port.flags.kept_from());
            for slot in list.ports().filter(|slot| from != Some(*slot)) {
                let port = world.tables.port(slot).expect("it is there");
                let hops = port.has(Port::TRUNK) && world.tables.is_mapped(port.ifindex, vlan);
                // One of which a test says that it is above its rate gets nothing.
                let held =
                    port.has(Port::RATE_OUT) && world.tables.policer(slot, Policed::Out) == USED_UP;
                if hops || held || port.has(kept_from) {
                    continue;
                }
                let tag = (port.vlan != 0).then_some(Tag {
                    tpid: 0x8100,
                    tci: port.vlan,
                });
                add(port.ifindex, tagged(whole.clone(), tag));
            }
        };
        match &self.decision.verdict {
            Verdict::Encap(encap) => add(encap.ifindex, whole),
            Verdict::Deliver(deliver) => add(deliver.ifindex, whole),
            Verdict::Answer(answer) => add(answer.ifindex, whole),
            Verdict::Flood(flood) => {
                to_ports(flood.list, flood.vlan, Some(flood.from));
                for (peer, copy) in copies_in_place(flood, &outcome, &world.tables) {
                    add(world.tables.peers[&peer].ifindex, copy);
                }
            }
            Verdict::FloodPorts(flood) => to_ports(flood.list, flood.vlan, None),
            // What goes through the slow-path device finds no route here.
            Verdict::ViaKernel(_) | Verdict::AnswerTooBig(_) | Verdict::Leave(_) => {}
            Verdict::Guard
            | Verdict::Neigh
            | Verdict::Unknown
            | Verdict::Resolved(_)
            | Verdict::Clamp(_)
            | Verdict::ClampReceived(_)
            | Verdict::TooBigFor(_) => panic!("not decided"),
        }
    }
}

/// Sends everything in batches and compares; returns the reasons that were reached.
fn compare_all(bench: &mut TestBed, world: &World, sent: &[SentFrame]) -> BTreeSet<Reason> {
    let wires = Wires::new(bench);
    let mut reached: BTreeMap<Reason, usize> = BTreeMap::new();
    for batch in sent.chunks(BATCH) {
        if let Err(text) = compare(bench, world, &wires, batch) {
            // Once more, one by one, to name the frame.
            for one in batch {
                compare(bench, world, &wires, std::slice::from_ref(one))
                    .unwrap_or_else(|text| panic!("{}{text}", one.describe()));
            }
            panic!("over a batch, but not over any one of its frames:\n{text}");
        }
        for one in batch {
            *reached.entry(one.reason()).or_default() += 1;
        }
    }
    let tags = sent.iter().filter(|one| one.sample.meta.tag.is_some());
    println!(
        "{} frames, {} of them tagged; {reached:?}",
        sent.len(),
        tags.count()
    );
    reached.into_keys().collect()
}

fn compare(
    bench: &mut TestBed,
    world: &World,
    wires: &Wires,
    batch: &[SentFrame],
) -> Result<(), String> {
    let mut want_out = Out::new();
    let counters: BTreeMap<Hook, HostCounters> =
        [(batch[0].sample.hook(), HostCounters::default())].into();
    let before = bench.totals();
    for one in batch {
        wires.0[one.device].send(&one.bytes);
        one.add_out(bench, world, &mut want_out);
        counters[&one.sample.hook()].record(
            &one.decision,
            one.reason(),
            one.sample.frame.len(),
            &world.tables,
        );
    }
    let mut want = Totals::default();
    for (hook, counted) in &counters {
        want.add_host(*hook, counted);
    }
    let counted = poll(DEADLINE, || {
        let now = bench.totals().since(&before);
        (now == want).then_some(())
    });
    let got_out = wires.take(&want_out, counted.is_some());
    // The rate of answers is no matter of this.
    let answered = bench.too_big();
    bench.forget_answers(answered.iter().map(|frame| frame.port));
    let differences = bench.totals().since(&before).differences(&want);
    if !differences.is_empty() {
        return Err(format!("counters:\n{}", differences.join("\n")));
    }
    out_difference(&got_out, &want_out).map_or(Ok(()), Err)
}

fn out_difference(got: &Out, want: &Out) -> Option<String> {
    let devices: BTreeSet<_> = got.keys().chain(want.keys()).collect();
    let empty = BTreeMap::new();
    devices.into_iter().find_map(|device| {
        let (got, want) = (
            got.get(device).unwrap_or(&empty),
            want.get(device).unwrap_or(&empty),
        );
        let show = |frames: &BTreeMap<Vec<u8>, usize>, others: &BTreeMap<Vec<u8>, usize>| {
            frames
                .iter()
                .filter(|(frame, count)| others.get(*frame) != Some(*count))
                .map(|(frame, count)| format!("{count} times\n{}", dump::hex(frame)))
                .take(2)
                .collect::<String>()
        };
        (got != want).then(|| {
            format!(
                "out of {device}, got\n{}want\n{}",
                show(got, want),
                show(want, got)
            )
        })
    })
}

impl SentFrame {
    fn describe(&self) -> String {
        format!(
            "seed {} sent by {}\n{}the host: {:?} by {:#?}, of {:?}\n",
            self.seed,
            self.device,
            dump::hex(&self.bytes),
            self.reason(),
            self.decision,
            self.sample.meta,
        )
    }
}

impl Wires {
    fn new(bench: &TestBed) -> Self {
        let names = PORTS.into_iter().chain([UPLINK]);
        Self(
            names
                .map(|name| (name, Capture::arriving(&bench.far, name)))
                .collect(),
        )
    }

    /// What came; where the counters say that it is `complete`, as soon as it is as much as is wanted.
    fn take(&self, want: &Out, complete: bool) -> Out {
        let mut got = Out::new();
        for (name, capture) in &self.0 {
            let wanted: usize = want.get(name).map_or(0, |frames| frames.values().sum());
            let within = if complete { DEADLINE } else { Duration::ZERO };
            let mut seen = if wanted == 0 {
                Vec::new()
            } else {
                capture.collect(within, |seen| {
                    let ours = seen.iter().filter(|frame| !is_of_the_host(frame));
                    ours.count() >= wanted
                })
            };
            while let Some(more) = capture.recv(Duration::ZERO) {
                seen.push(more);
            }
            for frame in seen.into_iter().filter(|frame| !is_of_the_host(frame)) {
                *got.entry(name).or_default().entry(frame).or_default() += 1;
            }
        }
        got
    }
}
