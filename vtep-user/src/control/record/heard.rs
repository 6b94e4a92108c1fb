//! When a peer was last heard, as far as its counters tell.

use crate::control::record::queue::SECOND;

/// How long a peer may have been sent to, and not be heard, before it counts as silent, in seconds.
const SILENT_S: u64 = 5;

/// What the counters of a peer have told so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// Packets to it and from it when the counters were looked at last; nothing of a peer of an earlier daemon, before the first look.
    counted: Option<(u64, u64)>,
    /// When more had come from it, in seconds of `CLOCK_MONOTONIC`.
    last: Option<u64>,
    /// Since when packets have gone to it, and none has come.
    unanswered: Option<u64>,
}

impl Heard {
    /// Of a peer whose counters stand at zero.
    pub(crate) const fn nothing() -> Self {
        Self {
            counted: Some((0, 0)),
            last: None,
            unanswered: None,
        }
    }

    /// Takes on how many packets have gone to it and come from it in all, at the time `now` in nanoseconds.
    pub(crate) fn take(&mut self, sent: u64, heard: u64, now: u64) {
        let now = now / SECOND;
        let Some((sent_before, heard_before)) = self.counted.replace((sent, heard)) else {
            return;
        };
        if heard != heard_before {
            (self.last, self.unanswered) = (Some(now), None);
        } else if sent != sent_before {
            self.unanswered = self.unanswered.or(Some(now));
        }
    }

    /// How long ago it was heard, in seconds, if this daemon has heard it.
    pub(crate) fn last_heard_s(self, now: u64) -> Option<u64> {
        Some((now / SECOND).saturating_sub(self.last?))
    }

    /// True if it was sent to, and has not been heard since.
    pub(crate) fn is_silent(self, now: u64) -> bool {
        let since = self.unanswered;
        since.is_some_and(|since| (now / SECOND).saturating_sub(since) >= SILENT_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> u64 {
        (100 + second) * SECOND
    }

    #[test]
    fn a_peer_that_is_sent_to_and_does_not_answer_becomes_silent() {
        let mut heard = Heard::nothing();
        heard.take(0, 0, at(0));
        assert!(!heard.is_silent(at(1_000)), "nothing was sent");
        heard.take(1, 0, at(1));
        assert!(!heard.is_silent(at(5)));
        heard.take(9, 0, at(4));
        assert!(heard.is_silent(at(6)));
        assert_eq!(heard.last_heard_s(at(6)), None);
        heard.take(9, 1, at(7));
        assert!(!heard.is_silent(at(7)));
        assert_eq!(heard.last_heard_s(at(10)), Some(3));
        assert!(!heard.is_silent(at(100)), "nothing was sent since");
    }

    #[test]
    fn what_an_earlier_daemon_heard_is_not_heard_now() {
        let mut heard = Heard::default();
        heard.take(7, 7, at(0));
        assert_eq!(
            (heard.last_heard_s(at(9)), heard.is_silent(at(9))),
            (None, false)
        );
        heard.take(7, 8, at(10));
        assert_eq!(heard.last_heard_s(at(10)), Some(0));
    }

    #[test]
    fn an_answer_in_the_same_second_is_an_answer() {
        let mut heard = Heard::nothing();
        heard.take(1, 1, at(0));
        assert!(!heard.is_silent(at(60)));
        heard.take(2, 2, at(60));
        assert!(!heard.is_silent(at(120)));
        heard.take(3, 2, at(121));
        assert!(heard.is_silent(at(126)));
    }
}
