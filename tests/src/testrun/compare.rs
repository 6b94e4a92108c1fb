//! One frame on both sides: what the host's decision and its model of the kernel side say, and what the kernel did.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use vtep_common::runtime::verdict::{Recipient, ViaKernel};
use vtep_common::sim::decision::{Decision, Notes, Verdict};

use vtep_common::abi::addr::MacAddr;
use vtep_common::abi::event::Event;
use vtep_common::abi::id::{PeerId, PortSlot, SegmentId};
use vtep_common::abi::reason::Reason;
use vtep_common::abi::too_big::TooBig;
use vtep_common::abi::{counter::Hook, peer::Peer};
use vtep_common::runtime::tables::Tables as _;
use vtep_common::sim::{Action, HostCounters};
use vtep_common::testkit::frames::{Sample, World};

use super::totals::Totals;
use super::{LONGEST, Ran, SHORTEST, TestBed, is_xdp, save, scapy};
use crate::dump;

/// What the host says of a sample.
#[derive(Clone, Debug)]
pub struct Want {
    /// The decision.
    pub decision: Decision,
    /// The reason that it is counted under.
    pub reason: Reason,
    /// What the program returns, and the frame then.
    pub ran: Ran,
}

impl Want {
    /// True if that is what a program did. What a flood leaves behind of a frame is dropped, and may be anything.
    fn is(&self, ran: &Ran) -> bool {
        let flooded = matches!(self.decision.verdict, Verdict::Flood(_));
        ran.action == self.ran.action && (flooded || ran.frame == self.ran.frame)
    }
}

/// Frames that the host has counted, by hook.
#[derive(Debug, Default)]
pub struct HostTotals(BTreeMap<Hook, HostCounters>);

impl HostTotals {
    /// Counts one frame.
    pub fn record(&mut self, world: &World, sample: &Sample, want: &Want) {
        self.0.entry(sample.hook()).or_default().record(
            &want.decision,
            want.reason,
            sample.frame.len(),
            &world.tables,
        );
    }

    /// All that was counted.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for (hook, counters) in &self.0 {
            totals.add_host(*hook, counters);
        }
        totals
    }
}

/// What the host says of a sample as a test run can show it to a program: without a tunnel key.
#[must_use]
pub fn want(world: &World, sample: &Sample) -> Want {
    let hook = sample.hook();
    let decision = if hook == Hook::Tunnel {
        without_key(sample)
    } else {
        as_test_run(sample, world, &sample.decide(&world.tables))
    };
    let outcome = sample.apply(&decision, &world.tables);
    Want {
        reason: sample.reason(&decision),
        ran: Ran {
            action: code(hook, outcome.action),
            frame: outcome.frame,
        },
        decision,
    }
}

/// The decision on a frame that came by the slow-path device without a tunnel key.
fn without_key(sample: &Sample) -> Decision {
    Decision {
        verdict: Verdict::Leave(Reason::TableGap),
        segment: SegmentId::NONE,
        from_port: PortSlot::NONE,
        from_peer: PeerId::NONE,
        recipient: Recipient::NONE,
        inner_len: sample.frame.len(),
        notes: Notes::default(),
        destination: MacAddr::ZERO,
    }
}

/// A test run can tell a program the segment size of a GSO packet, but not the kernel of what type it is. So for an IP frame
/// `bpf_skb_adjust_room` makes no room and takes none, and the program falls back to the slow-path device.
fn as_test_run(sample: &Sample, world: &World, decision: &Decision) -> Decision {
    if let Verdict::Deliver(deliver) = decision.verdict
        && deliver.strip != 0
        && sample.meta.gso_size != 0
    {
        return Decision {
            verdict: Verdict::Leave(Reason::LeftToKernel),
            ..decision.clone()
        };
    }
    let Verdict::Encap(encap) = decision.verdict else {
        return decision.clone();
    };
    if sample.meta.gso_size == 0 || !encap.inner_ip {
        return decision.clone();
    }
    let peer = world.tables.peer(encap.peer).expect("it was there");
    let via = ViaKernel {
        peer: encap.peer,
        remote: peer.addr,
        local: peer.local,
        vni: encap.fields.vni.get(),
        tos: encap.fields.tos,
        ttl: encap.fields.ttl,
        dont_fragment: encap.fields.dont_fragment,
        checksum: peer.has(Peer::CHECKSUM),
        source_port: encap.fields.source_port,
        tag: encap.tag,
        reason: Reason::EncapsulatedByKernel,
    };
    Decision {
        verdict: Verdict::ViaKernel(via),
        ..decision.clone()
    }
}

/// What a program at `hook` returns for an action.
#[must_use]
pub const fn code(hook: Hook, action: Action) -> i32 {
    const XDP_DROP: i32 = 1;
    const XDP_PASS: i32 = 2;
    const XDP_REDIRECT: i32 = 4;
    const TC_ACT_UNSPEC: i32 = -1;
    const TC_ACT_SHOT: i32 = 2;
    const TC_ACT_REDIRECT: i32 = 7;
    match (is_xdp(hook), action) {
        (true, Action::Drop) => XDP_DROP,
        (true, Action::Pass) => XDP_PASS,
        (true, Action::Redirect) => XDP_REDIRECT,
        (false, Action::Drop) => TC_ACT_SHOT,
        (false, Action::Pass) => TC_ACT_UNSPEC,
        (false, Action::Redirect) => TC_ACT_REDIRECT,
    }
}

/// Why a test run cannot show this sample to a program just so, if it cannot.
#[must_use]
pub fn host_only(sample: &Sample, want: &Want) -> Option<&'static str> {
    if sample.meta.tag.is_some() {
        Some("with an skb VLAN tag")
    } else if sample.frame.len() < SHORTEST {
        Some("shorter than an Ethernet header")
    } else if sample.frame.len() > LONGEST {
        Some("longer than a page")
    } else if !is_xdp(sample.hook()) && is_headless(&sample.frame) {
        // Linux 6.18 refuses it (`bpf_prog_test_run_skb`, net/bpf/test_run.c); older ones may not.
        Some("IP without a whole IP header, at TC")
    } else if sample.meta.gso_size != 0 && matches!(want.decision.verdict, Verdict::Flood(_)) {
        // Copies are really sent, and the kernel refuses to segment what only says that it is a GSO packet.
        Some("a GSO packet to be copied")
    } else {
        None
    }
}

/// Whether the frame says that it is IP and is shorter than an IP header.
fn is_headless(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.len() < SHORTEST + 20,
        Some([0x86, 0xdd]) => frame.len() < SHORTEST + 40,
        _ => false,
    }
}

/// Runs one sample and compares action, bytes, its events, and the stamp that is refreshed.
///
/// # Errors
///
/// A text for people that tells all about the frame.
pub fn run(bench: &mut TestBed, name: &str, sample: &Sample, want: &Want) -> Result<(), String> {
    match bench.run(sample.hook(), &sample.frame, &sample.meta) {
        Ok(ran) if want.is(&ran) => {
            notes(bench, sample, want).map_err(|difference| report(name, sample, want, &difference))
        }
        Ok(ran) => Err(report(name, sample, want, &difference(&ran, &want.ran))),
        Err(error) => Err(report(name, sample, want, &format!("test run: {error}"))),
    }
}

/// Compares what was done on the way to the verdict.
fn notes(bench: &mut TestBed, sample: &Sample, want: &Want) -> Result<(), String> {
    let (answered, expected) = (bench.too_big(), too_big(sample, want));
    bench.forget_answers(answered.iter().map(|frame| frame.port));
    let said = |frames: &[TooBig]| -> Vec<_> {
        let each = |frame: &TooBig| {
            (
                TooBig {
                    bytes: [0; _],
                    ..*frame
                },
                frame.frame().to_vec(),
            )
        };
        frames.iter().map(each).collect()
    };
    if said(&answered) != said(&expected) {
        return Err(format!("too big {answered:?}, want {expected:?}"));
    }
    let notes = &want.decision.notes;
    let events = bench.events();
    let expected: Vec<Event> = notes
        .events
        .iter()
        .map(|event| Event { time: 0, ..*event })
        .collect();
    if events != expected {
        return Err(format!("events {events:#?}, want {expected:#?}"));
    }
    match notes.refreshed {
        Some(key) if !bench.was_refreshed(key) => Err(format!("the stamp of {key:?} is old")),
        _ => Ok(()),
    }
}

/// What the daemon is handed of a frame whose sender is to be told that it is too big: the frame as it would have left.
fn too_big(sample: &Sample, want: &Want) -> Vec<TooBig> {
    let Verdict::AnswerTooBig(answer) = want.decision.verdict else {
        return Vec::new();
    };
    let frame = &want.ran.frame;
    let len = frame.len().min(TooBig::MOST);
    let mut bytes = [0; _];
    bytes[..len].copy_from_slice(&frame[..len]);
    let number = |number: usize| u32::try_from(number).expect("below 2^32");
    vec![TooBig {
        port: want.decision.from_port,
        ifindex: sample.meta.ifindex,
        mtu: answer.mtu,
        tag: sample
            .meta
            .tag
            .map_or(0, |tag| TooBig::tag(tag.tpid, tag.tci)),
        l3: number(answer.l3),
        len: number(len),
        bytes,
    }]
}

/// Runs one sample again by itself and compares what it counts.
///
/// # Errors
///
/// As for [`run`].
pub fn run_counted(
    bench: &mut TestBed,
    world: &World,
    name: &str,
    sample: &Sample,
    want: &Want,
) -> Result<(), String> {
    let mut host = HostTotals::default();
    host.record(world, sample, want);
    let before = bench.totals();
    run(bench, name, sample, want)?;
    let differences = bench.totals().since(&before).differences(&host.totals());
    if differences.is_empty() {
        Ok(())
    } else {
        let text = format!("counters:\n{}", differences.join("\n"));
        Err(report(name, sample, want, &text))
    }
}

/// How two results differ.
#[must_use]
pub fn difference(got: &Ran, want: &Ran) -> String {
    let mut text = format!("got action {}, want {}\n", got.action, want.action);
    if got.frame == want.frame {
        text.push_str("the frame is as wanted\n");
        return text;
    }
    let at = got
        .frame
        .iter()
        .zip(&want.frame)
        .position(|(got, want)| got != want)
        .unwrap_or_else(|| got.frame.len().min(want.frame.len()));
    writeln!(
        text,
        "got {} bytes, want {}; they part at {at:#x}\ngot\n{}want\n{}",
        got.frame.len(),
        want.frame.len(),
        dump::hex(&got.frame),
        dump::hex(&want.frame),
    )
    .expect("write to a string");
    text
}

fn report(name: &str, sample: &Sample, want: &Want, difference: &str) -> String {
    let file = save(name, std::slice::from_ref(&sample.frame));
    format!(
        "{name} at {} with {:?}, as a file: {file}\n{}  {}\nthe host: {:?} by {:#?}\nthe kernel: {difference}",
        sample.hook().name(),
        sample.meta,
        dump::hex(&sample.frame),
        scapy(&sample.frame),
        want.reason,
        want.decision,
    )
}
