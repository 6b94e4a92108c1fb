//! Named cases: a frame, what the program returns for it, the whole frame then, and every counter.

use std::time::Duration;

use vtep_common::abi::counter::Direction;
use vtep_common::abi::counter::Hook;
use vtep_common::abi::drops::{OwnerKind, Owners};
use vtep_common::abi::id::{PeerId, PortSlot, SegmentId};
use vtep_common::abi::reason::Reason;
use vtep_common::decide::port::PortStage;
use vtep_common::decide::tunnel::DecapStage;
use vtep_common::frame::packet::Meta;
use vtep_common::sim::trace::Hop;
use vtep_common::sim::{Action, Side};
use vtep_common::testkit::frames::{Interfaces, World};

use super::compare::{code, difference};
use super::totals::{Totals, number_name, owner_name, reason_name};
use super::{Ran, TestBed, UPLINK, is_of_the_host, save, scapy};
use crate::dump;
use crate::encoder::Frame;
use crate::link::Link as _;
use crate::link::capture::Capture;
use crate::wait::DEADLINE;

/// What is counted for a frame besides its reason.
#[derive(Clone, Copy, Debug)]
pub enum Count {
    /// For a segment.
    Segment(SegmentId, Direction),
    /// For a port.
    Port(PortSlot, Direction),
    /// For a peer.
    Peer(PeerId, Direction),
    /// For the copies of a flooded frame that are lost, at the hook, of these owners.
    Lost(Owners),
    /// For the copies of a flooded frame that would have got into another port's VLAN, at the hook, of these owners.
    Hop(Owners),
}

/// The frame as it is to be.
enum Expected {
    /// As it was.
    Unchanged,
    /// Whatever: it is dropped.
    Anything,
    /// Exactly this.
    Bytes(Vec<u8>),
    /// This, for the outer source port that the program has chosen.
    Outer(Box<dyn Fn(u16) -> Vec<u8> + Sync>),
}

/// What one program makes of a frame.
struct Ending {
    hook: Hook,
    action: Action,
    reason: Reason,
    wanted: Expected,
    owners: Owners,
    counts: Vec<Count>,
    inner_len: usize,
}

/// A case: one frame, and its end at each of one or two hooks.
pub struct Fixture {
    name: &'static str,
    device: fn(&Interfaces) -> u32,
    frame: Vec<u8>,
    gso_size: u32,
    ends: Vec<Ending>,
}

/// A case with a frame that arrives at `device`.
#[must_use]
pub fn case(name: &'static str, device: fn(&Interfaces) -> u32, frame: &Frame) -> Fixture {
    raw_case(name, device, frame.build())
}

/// A case with the bytes of a frame.
#[must_use]
pub fn raw_case(name: &'static str, device: fn(&Interfaces) -> u32, frame: Vec<u8>) -> Fixture {
    Fixture {
        name,
        device,
        frame,
        gso_size: 0,
        ends: Vec::new(),
    }
}

impl Fixture {
    /// The frame is a GSO packet, to be segmented with so much payload.
    #[must_use]
    pub fn gso(mut self, gso_size: u32) -> Self {
        self.gso_size = gso_size;
        self
    }

    fn end(mut self, hook: Hook, action: Action, reason: Reason, wanted: Expected) -> Self {
        self.ends.push(Ending {
            hook,
            action,
            reason,
            wanted,
            owners: Owners::NONE,
            counts: Vec::new(),
            inner_len: 0,
        });
        self
    }

    /// At `hook` it passes as it is, and only its reason is counted.
    #[must_use]
    pub fn passes(self, hook: Hook, reason: Reason) -> Self {
        self.end(hook, Action::Pass, reason, Expected::Unchanged)
    }

    /// At `hook` it is dropped as it is, and only its reason is counted: for nobody, unless [`Fixture::of`] says for whom.
    #[must_use]
    pub fn drops(self, hook: Hook, reason: Reason) -> Self {
        self.end(hook, Action::Drop, reason, Expected::Unchanged)
    }

    /// Whom it is counted for where it is dropped, at the hooks named so far.
    #[must_use]
    pub fn of(mut self, owners: Owners) -> Self {
        for end in &mut self.ends {
            assert!(end.reason.is_lost(), "{:?} is no drop", end.reason);
            end.owners = owners;
        }
        self
    }

    /// At `hook` it is copied to where `counts` say; what is left of it is dropped.
    #[must_use]
    pub fn floods(self, hook: Hook, reason: Reason) -> Self {
        self.end(hook, Action::Drop, reason, Expected::Anything)
    }

    /// At `hook` it is redirected as it is.
    #[must_use]
    pub fn redirects(self, hook: Hook, reason: Reason) -> Self {
        self.end(hook, Action::Redirect, reason, Expected::Unchanged)
    }

    /// At `hook` it is redirected with these bytes.
    #[must_use]
    pub fn becomes(self, hook: Hook, reason: Reason, bytes: &[u8]) -> Self {
        self.end(
            hook,
            Action::Redirect,
            reason,
            Expected::Bytes(bytes.to_vec()),
        )
    }

    /// At `hook` it is encapsulated in place: `outer` makes the packet for a source port.
    #[must_use]
    pub fn encapsulates(self, hook: Hook, outer: impl Fn(u16) -> Vec<u8> + Sync + 'static) -> Self {
        let wanted = Expected::Outer(Box::new(outer));
        self.end(hook, Action::Redirect, Reason::Encapsulated, wanted)
    }

    /// One packet of `inner_len` bytes is counted for each of these, at the hook named last. All others stay as they are.
    ///
    /// # Panics
    ///
    /// If no hook was named yet.
    #[must_use]
    pub fn counts(mut self, inner_len: usize, counts: &[Count]) -> Self {
        let end = self.ends.last_mut().expect("a hook");
        end.inner_len = inner_len;
        end.counts.extend(counts);
        self
    }
}

/// Runs the cases over the tables of a [`World`].
///
/// # Panics
///
/// With all that is not as wanted, of every case.
pub fn check(bench: &mut TestBed, cases: &[Fixture]) {
    bench.load(&World::new(bench.interfaces).tables);
    let mut failures = Vec::new();
    let mut ends = 0;
    let mut counted = bench.totals();
    for case in cases {
        for end in &case.ends {
            ends += 1;
            failures.extend(check_end(bench, case, end, &mut counted).err());
        }
    }
    println!("{} cases, {ends} runs", cases.len());
    assert!(ends >= cases.len(), "a case says nothing");
    let other = bench.all_totals().differences(&bench.totals());
    assert!(other.is_empty(), "{}", other.join("\n"));
    assert!(
        failures.is_empty(),
        "{} of {ends} runs failed:\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

/// Checks one run; `before` is what was counted until then, and becomes what was counted after it.
fn check_end(
    bench: &mut TestBed,
    case: &Fixture,
    end: &Ending,
    before: &mut Totals,
) -> Result<(), String> {
    let meta = Meta {
        ifindex: (case.device)(&bench.interfaces),
        tag: None,
        gso_size: case.gso_size,
    };
    let traced = traced(bench, case, end, &meta);
    let spent = bench.totals().since(before);
    let copied =
        matches!(end.wanted, Expected::Anything).then(|| Capture::arriving(&bench.far, UPLINK));
    let ran = bench.run(end.hook, &case.frame, &meta);
    let after = bench.totals();
    let counted = after.since(before);
    *before = after;
    let answered = bench.too_big();
    bench.forget_answers(answered.iter().map(|frame| frame.port));
    let wrong = match ran {
        Ok(ran) => wrong(case, end, &ran, &counted)
            .or_else(|| not_as_traced(end, &ran, traced.as_ref()))
            .or_else(|| not_copied_as_traced(copied.as_ref(), traced.as_ref()))
            .or_else(|| counted_by_trace(&spent)),
        Err(error) => Some(format!("test run: {error}")),
    };
    match wrong {
        None => Ok(()),
        Some(wrong) => Err(format!(
            "{} ({}), as a file: {}\n{}  {}\n{wrong}",
            case.name,
            end.hook.name(),
            save(
                &case.name.replace(' ', "-"),
                std::slice::from_ref(&case.frame)
            ),
            dump::hex(&case.frame),
            scapy(&case.frame),
        )),
    }
}

/// What a trace says of the frame, by the maps. None begins behind the slow-path device.
fn traced(bench: &TestBed, case: &Fixture, end: &Ending, meta: &Meta) -> Option<Hop> {
    let side = match end.hook {
        Hook::UplinkXdp => Side::Uplink(DecapStage::Xdp),
        Hook::Uplink => Side::Uplink(DecapStage::Tc),
        Hook::Port => Side::Port(PortStage::Tc),
        Hook::PortXdp => Side::Port(PortStage::Xdp),
        Hook::Tunnel => return None,
    };
    Some(bench.trace(side, &case.frame, meta))
}

/// What the program does not do as the trace says: its action, the frame, or the reason.
fn not_as_traced(end: &Ending, ran: &Ran, traced: Option<&Hop>) -> Option<String> {
    let hop = traced?;
    let outcome = match &hop.outcome {
        Ok(outcome) => outcome,
        Err(unfit) => return Some(format!("the trace cannot be carried out: {unfit}\n")),
    };
    let said = Ran {
        action: code(end.hook, outcome.action),
        frame: match &end.wanted {
            Expected::Anything => ran.frame.clone(),
            Expected::Unchanged | Expected::Bytes(_) | Expected::Outer(_) => outcome.frame.clone(),
        },
    };
    if *ran != said {
        return Some(format!("not as traced: {}", difference(ran, &said)));
    }
    (hop.reason != end.reason).then(|| {
        format!(
            "the trace says {}, and the program counted {}\n",
            hop.reason.name(),
            end.reason.name()
        )
    })
}

/// The copies for VTEPs, as they come to the far end of the uplink, that the trace says otherwise. Those that the kernel is to encapsulate go nowhere here:
/// it has no routes.
fn not_copied_as_traced(uplink: Option<&Capture>, traced: Option<&Hop>) -> Option<String> {
    let (uplink, hop) = (uplink?, traced?);
    let mut said: Vec<_> = hop
        .packets
        .iter()
        .map(|(_, packet)| packet.clone())
        .collect();
    let is_ours = |frame: &&Vec<u8>| !is_of_the_host(frame);
    let mut came = uplink.collect(DEADLINE, |seen| {
        seen.iter().filter(is_ours).count() >= said.len()
    });
    while let Some(more) = uplink.recv(Duration::ZERO) {
        came.push(more);
    }
    came.retain(|frame| is_ours(&frame));
    came.sort();
    said.sort();
    let show = |frames: &[Vec<u8>]| {
        frames
            .iter()
            .map(|frame| dump::hex(frame))
            .collect::<String>()
    };
    (came != said).then(|| {
        format!(
            "copies for VTEPs: {} came\n{}{} were traced\n{}",
            came.len(),
            show(&came),
            said.len(),
            show(&said)
        )
    })
}

/// What a trace counted, which is nothing.
fn counted_by_trace(spent: &Totals) -> Option<String> {
    let differences = spent.differences(&Totals::default());
    (!differences.is_empty()).then(|| format!("the trace counted:\n{}", differences.join("\n")))
}

/// What is not as wanted.
fn wrong(case: &Fixture, end: &Ending, ran: &Ran, counted: &Totals) -> Option<String> {
    let want = Ran {
        action: code(end.hook, end.action),
        frame: match &end.wanted {
            Expected::Unchanged => case.frame.clone(),
            Expected::Anything => ran.frame.clone(),
            Expected::Bytes(bytes) => bytes.clone(),
            Expected::Outer(outer) => outer(source_port(&ran.frame).unwrap_or_default()),
        },
    };
    let differences = counted.differences(&wanted_counts(case, end));
    let mut text = String::new();
    if *ran != want {
        text.push_str(&difference(ran, &want));
    }
    if !differences.is_empty() {
        text.push_str("counters:\n");
        text.push_str(&differences.join("\n"));
    }
    (!text.is_empty()).then_some(text)
}

fn wanted_counts(case: &Fixture, end: &Ending) -> Totals {
    let mut totals = Totals::default();
    totals.add(reason_name(end.hook, end.reason), 1, bytes(&case.frame));
    if end.reason.is_lost() {
        add_owners(
            &mut totals,
            end,
            end.reason,
            (end.owners, bytes(&case.frame)),
        );
    }
    for count in &end.counts {
        let inner_len = u64::try_from(end.inner_len).expect("a length");
        let name = match *count {
            Count::Segment(number, direction) => number_name("segment", number, direction),
            Count::Port(slot, direction) => number_name("port", slot, direction),
            Count::Peer(number, direction) => number_name("peer", number, direction),
            Count::Lost(owners) => {
                add_owners(&mut totals, end, Reason::CopyLost, (owners, inner_len));
                reason_name(end.hook, Reason::CopyLost)
            }
            Count::Hop(owners) => {
                add_owners(&mut totals, end, Reason::VlanHop, (owners, inner_len));
                reason_name(end.hook, Reason::VlanHop)
            }
        };
        totals.add(name, 1, inner_len);
    }
    totals
}

/// Adds a frame of so many bytes that is dropped for each of its owners.
fn add_owners(totals: &mut Totals, end: &Ending, reason: Reason, (owners, bytes): (Owners, u64)) {
    for kind in OwnerKind::ALL {
        let name = owner_name(end.hook, reason, kind, owners.number(kind));
        totals.add(name, 1, bytes);
    }
}

fn bytes(frame: &[u8]) -> u64 {
    u64::try_from(frame.len()).expect("a length")
}

/// The UDP source port of a packet without IP options or extension headers.
#[must_use]
pub fn source_port(frame: &[u8]) -> Option<u16> {
    let at = match frame.get(12..14)? {
        [0x08, 0x00] => 34,
        _ => 54,
    };
    let [high, low] = frame.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes([high, low]))
}
