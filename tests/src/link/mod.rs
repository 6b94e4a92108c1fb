//! What it takes to be one end of a wire: send a frame, see what comes.

pub mod capture;
pub mod offload;
pub mod tap;

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use crate::dump;
use crate::wait::DEADLINE;

/// One end of a wire.
pub trait Link {
    /// A name for messages.
    fn name(&self) -> &str;

    /// Sends a frame.
    fn send(&self, frame: &[u8]);

    /// The next frame that came, or `None` after `within`.
    fn recv(&self, within: Duration) -> Option<Vec<u8>>;

    /// Collects frames until `enough` says so of what came, or `within` has passed and what came by then is read.
    fn collect(
        &self,
        within: Duration,
        mut enough: impl FnMut(&[Vec<u8>]) -> bool,
    ) -> Vec<Vec<u8>> {
        let end = Instant::now() + within;
        let mut seen = Vec::new();
        while !enough(&seen) {
            let left = end.saturating_duration_since(Instant::now());
            match self.recv(left) {
                Some(frame) => seen.push(frame),
                None if left.is_zero() => break,
                None => {}
            }
        }
        seen
    }

    /// The first frame for which `wanted` is true.
    ///
    /// # Panics
    ///
    /// If none comes in time; prints what came instead.
    #[track_caller]
    fn wait_for(&self, what: &str, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let seen = self.collect(DEADLINE, |seen| {
            seen.last().is_some_and(|last| wanted(last))
        });
        match seen.last() {
            Some(last) if wanted(last) => last.clone(),
            _ => {
                let shown: Vec<String> = seen
                    .iter()
                    .rev()
                    .take(8)
                    .map(|frame| dump::hex(frame))
                    .collect();
                panic!(
                    "{}: no {what}; the last of {} other frames:\n{}",
                    self.name(),
                    seen.len(),
                    shown.join("\n")
                )
            }
        }
    }

    /// Waits until exactly this frame comes.
    #[track_caller]
    fn expect(&self, frame: &[u8]) {
        self.wait_for(&format!("frame as sent:\n{}", dump::hex(frame)), |got| {
            got == frame
        });
    }

    /// Throws away what came so far.
    fn drain(&self) {
        while self.recv(Duration::ZERO).is_some() {}
    }
}

/// Whether `fd` has something to read, waiting at most `within`.
pub(crate) fn readable(fd: RawFd, within: Duration) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // To the nanosecond: in whole milliseconds the last one of a wait would be spent asking again and again.
    let within = libc::timespec {
        tv_sec: libc::time_t::try_from(within.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: within.subsec_nanos().into(),
    };
    // SAFETY: one pollfd and the time, alive for the call; no signal mask.
    unsafe { libc::ppoll(&raw mut poll, 1, &raw const within, std::ptr::null()) > 0 }
}
