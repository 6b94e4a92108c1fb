//! Putting right what others have changed about what is ours. What the kernel reports is looked at then; what it reports to nobody,
//! programs that are detached, once a second.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use vtep_common::abi::id::Ifindex;

use super::{
    super::{
        attacher::{BrokenPort, LookAt, Mended},
        slow_path::Recreated,
    },
    Core,
};
use crate::{
    causes::with_causes,
    control::{self, Attachment, Broken, May, Patience},
    model::{EventDetails, EventKind, PortHook},
};

/// Ports that are looked at in a second.
const PORTS_A_SECOND: usize = 512;
/// A failure is a thing of the past after this time.
const FAILED_FOR: Duration = Duration::from_secs(60);

/// What the thread that attaches to ports found, or did.
pub(super) enum Tended {
    Looked(Vec<BrokenPort>),
    Mended(Vec<Mended>),
}

/// A thing that can be broken: an interface, and what of it.
type Thing = (String, Broken);

/// What was put right, and what is under way.
pub(super) struct Repairs {
    started: Instant,
    patience: Patience<Thing>,
    counts: BTreeMap<Broken, u64>,
    failed: BTreeMap<Thing, (Duration, String)>,
    pub(super) tended: FuturesUnordered<LocalBoxFuture<'static, Tended>>,
    /// All ports are being looked at, a part at a time; this comes next.
    next: usize,
    looking: bool,
}

impl Default for Repairs {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            patience: Patience::default(),
            counts: BTreeMap::new(),
            failed: BTreeMap::new(),
            tended: FuturesUnordered::new(),
            next: 0,
            looking: false,
        }
    }
}

impl Repairs {
    /// Whether something may be put right now. If not, and that is new, the log says so.
    fn may(&mut self, dev: &str, broken: Broken) -> bool {
        let thing = (dev.to_owned(), broken);
        match self.patience.may(&thing, self.started.elapsed()) {
            May::Go => true,
            May::Wait { new } => {
                if new {
                    let what = broken.contested(dev);
                    tracing::error!(
                        "vtep leaves alone for a minute: {what}; find who does that and have it stop"
                    );
                }
                false
            }
        }
    }

    /// How often each kind of thing was put right.
    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let count = |broken| self.counts.get(&broken).copied().unwrap_or_default();
        let all = Broken::ALL.into_iter();
        all.map(|broken| (broken.name(), count(broken))).collect()
    }

    /// How often anything was put right.
    pub(super) fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// What is not put right now, a sentence each.
    pub(super) fn left_alone(&self) -> Vec<String> {
        let now = self.started.elapsed();
        let contested = self.patience.left_alone(now);
        let contested = contested.map(|(dev, broken)| broken.contested(dev));
        let failed = self.failed.values();
        let failed = failed.filter(|(since, _)| now.saturating_sub(*since) < FAILED_FOR);
        let failed = failed.map(|(_, why)| why.clone());
        let sentences: BTreeSet<String> = contested.chain(failed).collect();
        sentences.into_iter().collect()
    }

    /// Takes note of what became of a repair. What it is for is logged, and told to those who watch.
    fn note(
        &mut self,
        dev: &str,
        broken: Broken,
        cause: &str,
        done: Result<(), String>,
    ) -> Option<EventDetails> {
        let thing = (dev.to_owned(), broken);
        match done {
            Ok(()) => {
                self.failed.remove(&thing);
                *self.counts.entry(broken).or_default() += 1;
                tracing::warn!("{cause}; vtep has put it right");
                Some(EventDetails {
                    dev: Some(dev.to_owned()),
                    why: Some(cause.to_owned()),
                    ..EventDetails::new(EventKind::Repaired)
                })
            }
            Err(error) => {
                let why = format!("{cause}, and vtep cannot put it right: {error}");
                let now = self.started.elapsed();
                let before = self.failed.insert(thing, (now, why.clone()));
                if before.is_none_or(|(_, before)| before != why) {
                    tracing::error!("{why}");
                }
                None
            }
        }
    }
}

impl Core {
    /// Looks at what is ours without being asked, once a second.
    pub(super) async fn tend_own(&mut self) {
        if self.works.ahead {
            return;
        }
        self.tend_slow_path(false).await;
        self.tend_uplinks();
        let interfaces_rest = self.works.leaves_interfaces_alone();
        if interfaces_rest && !self.repairs.looking {
            let next = self.repairs.next;
            let ports: Vec<Attachment> = self
                .ports_to_tend()
                .skip(next)
                .take(PORTS_A_SECOND)
                .collect();
            self.repairs.next = if ports.len() < PORTS_A_SECOND {
                0
            } else {
                next + PORTS_A_SECOND
            };
            if !ports.is_empty() {
                self.repairs.looking = true;
                self.look_at_ports_for_repairs(ports, LookAt::Programs);
            }
        }
    }

    /// Interfaces with ports, each with the hook that takes its frames now.
    pub(super) fn ports_to_tend(&self) -> impl Iterator<Item = Attachment> {
        self.state.attachments().map(|mut port| {
            if self.blind.has(port.ifindex) {
                port.hook = PortHook::Tc;
            }
            port
        })
    }

    /// Has one interface with ports looked at.
    pub(super) fn tend_port(&mut self, ifindex: Ifindex, at: LookAt) {
        let mut ports = self.ports_to_tend();
        let port = ports.find(|port| port.ifindex == ifindex);
        drop(ports);
        if let Some(port) = port {
            self.look_at_ports_for_repairs(vec![port], at);
        }
    }

    fn look_at_ports_for_repairs(&self, ports: Vec<Attachment>, at: LookAt) {
        let looked = self.attacher.look_at(ports, at);
        let looked = looked.map(Tended::Looked);
        self.repairs.tended.push(looked.boxed_local());
    }

    /// Goes on with what was found at ports.
    pub(super) fn take_tended(&mut self, tended: Tended) {
        self.look_for_watchers();
        match tended {
            Tended::Looked(broken) => {
                self.repairs.looking = false;
                self.repair_ports(broken);
            }
            Tended::Mended(mended) => {
                for (broken, done) in mended {
                    let BrokenPort { port, what } = broken;
                    if let Ok(false) = done {
                        continue;
                    }
                    let dev = &port.name;
                    let cause = match what {
                        Broken::Promiscuous => format!("somebody ended promiscuous mode of {dev}"),
                        _ => format!("somebody detached our program from {dev}"),
                    };
                    let event = self.repairs.note(dev, what, &cause, done.map(drop));
                    self.events.publish(event.into_iter().collect());
                }
            }
        }
    }

    /// Has what is wrong with ports put right.
    pub(super) fn repair_ports(&mut self, broken: Vec<BrokenPort>) {
        // What is being attached or let go right now is found again if it stays wrong.
        if !self.works.leaves_interfaces_alone() {
            return;
        }
        let mut mend = Vec::new();
        for broken in broken {
            let there = self.state.has_ports_at(broken.port.ifindex);
            if there && self.repairs.may(&broken.port.name, broken.what) {
                mend.push(broken);
            }
        }
        if !mend.is_empty() {
            let mended = self.attacher.mend(mend).map(Tended::Mended);
            self.repairs.tended.push(mended.boxed_local());
        }
    }

    /// Brings the slow-path device back to what it should be. Addresses are looked at only where some may have come.
    pub(super) async fn tend_slow_path(&mut self, with_addresses: bool) {
        let looked = self.slow_path.look(&self.datapath, with_addresses).await;
        let is = match looked {
            Ok(Some(is)) => is,
            Ok(None) => return self.slow_path_gone().await,
            Err(error) => {
                tracing::debug!(
                    "could not look at the slow-path device: {}",
                    with_causes(&error)
                );
                return;
            }
        };
        let dev = self.slow_path.name();
        for step in control::device(&is, &self.slow_path.wanted()) {
            let broken = step.broken();
            if !self.repairs.may(&dev, broken) {
                continue;
            }
            let done = self.slow_path.repair(&step, &mut self.datapath).await;
            let done = done.map_err(|error| with_causes(&error));
            let event = self.repairs.note(&dev, broken, &step.cause(&dev), done);
            self.look_for_watchers();
            self.events.publish(event.into_iter().collect());
        }
    }

    /// Makes the slow-path device anew. What cannot be done is logged, and tried again: all that needs no slow-path device goes on.
    pub(super) async fn slow_path_gone(&mut self) {
        let name = self.slow_path.name();
        if !self.repairs.may(&name, Broken::Device) {
            return;
        }
        let (cause, done) = match self.slow_path.recreate(&mut self.datapath).await {
            Ok(recreated) => {
                let (link, cause) = match recreated {
                    Recreated::Deleted(link) => {
                        (link, format!("the slow-path device {name} was deleted"))
                    }
                    Recreated::Moved(link) => (
                        link,
                        format!(
                            "the slow-path device {name} was moved to another network namespace"
                        ),
                    ),
                };
                self.own_macs.note(&link);
                self.bridges.note(&link);
                self.reserve();
                (cause, Ok(()))
            }
            Err(error) => (
                format!(
                    "the slow-path device {name} was deleted, and until it exists floods and frames to unresolved VTEPs are lost"
                ),
                Err(format!(
                    "{}. Remove the cause: vtep run goes on trying",
                    with_causes(&error)
                )),
            ),
        };
        let event = self.repairs.note(&name, Broken::Device, &cause, done);
        self.look_for_watchers();
        self.events.publish(event.into_iter().collect());
    }

    /// Attaches to uplinks again from which somebody has detached our programs.
    pub(super) fn tend_uplinks(&mut self) {
        let missing = self.uplinks.missing_programs(&self.netlink, &self.datapath);
        for (dev, ifindex, program) in missing {
            if !self.repairs.may(&dev, Broken::Program) {
                continue;
            }
            let mode = self.options.run.xdp_mode;
            let done = self.datapath.reattach(program, (&dev, ifindex), mode);
            let done = done.map_err(|error| with_causes(&error));
            let cause = format!("somebody detached our program {program} from {dev}");
            let event = self.repairs.note(&dev, Broken::Program, &cause, done);
            self.look_for_watchers();
            self.events.publish(event.into_iter().collect());
        }
    }
}
