//! Echo requests at a steady pace, to see what an event costs a guest that talks.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::lab::ns::Ns;
use crate::traffic::Pinger;
use crate::wait::until_true;

/// How long the last answers may take.
const LATE: Duration = Duration::from_secs(2);

/// A guest that sends an echo request every so often, answered or not. It ends on drop.
#[derive(Debug)]
pub struct Beat {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU32>,
    thread: Option<JoinHandle<Beats>>,
}

/// What became of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beats {
    /// How many were sent.
    pub sent: usize,
    /// How many of them were answered.
    pub answered: usize,
    /// The longest time between an answer and the one that came next.
    pub longest_gap: Duration,
}

impl Beat {
    /// Begins to ask. It ends by itself before the sequence numbers come round, after 65,535 requests.
    #[must_use]
    pub fn start(from: &Ns, to: IpAddr, every: Duration) -> Self {
        let pinger = Pinger::new(from, to);
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU32::new(0));
        let thread = {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || ask(&pinger, every, &stop, &answered))
        };
        Self {
            stop,
            answered,
            thread: Some(thread),
        }
    }

    /// Waits until `more` requests have been answered from now on.
    ///
    /// # Panics
    ///
    /// If they are not in time.
    #[track_caller]
    pub fn wait_for(&self, more: u32) {
        let target = self.answered.load(Ordering::Relaxed) + more;
        until_true("answers to echo requests", || {
            self.answered.load(Ordering::Relaxed) >= target
        });
    }

    /// Stops asking, and waits a moment for the last answers.
    ///
    /// # Panics
    ///
    /// If the thread that asked did.
    #[must_use]
    pub fn end(mut self) -> Beats {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it ends once");
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn ask(pinger: &Pinger, every: Duration, stop: &AtomicBool, answered: &AtomicU32) -> Beats {
    let (mut sent, mut came) = (0_u16, BTreeSet::new());
    let (mut last, mut longest_gap) = (None::<Instant>, Duration::ZERO);
    let mut hear = |until: Instant, enough: Option<u16>| {
        while enough != u16::try_from(came.len()).ok() {
            let now = Instant::now();
            if now >= until {
                break;
            }
            let Some(seq) = pinger.answer(until - now) else {
                continue;
            };
            if came.insert(seq) {
                let at = Instant::now();
                longest_gap = longest_gap.max(last.map_or(Duration::ZERO, |last| at - last));
                last = Some(at);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
        came.len()
    };
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) && sent < u16::MAX {
        // What the kernel refuses counts as sent, and as not answered.
        pinger.send(sent);
        sent += 1;
        due += every;
        hear(due, None);
    }
    let answered = hear(Instant::now() + LATE, Some(sent));
    Beats {
        sent: sent.into(),
        answered,
        longest_gap,
    }
}
