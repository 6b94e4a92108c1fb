//! What was put right of what is ours, and what is left alone for a while.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::{future::LocalBoxFuture, stream::FuturesUnordered};

use super::attacher::{BrokenPort, Mended};
use crate::{
    control::{Broken, May, Patience},
    model::{EventDetails, EventKind},
};

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
    pub(super) next: usize,
    pub(super) looking: bool,
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
    pub(super) fn may(&mut self, dev: &str, broken: Broken) -> bool {
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
    pub(super) fn note(
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
