//! When a peer was last heard, as far as its counters tell.

use crate::control::record::queue::SECOND;

/// Packets to a peer that nothing came after, and the time between the first and the last of them, in seconds, from which on it counts as silent. One
/// broadcast, or a few of one host that looks for another, nobody need answer.
const SILENT_PACKETS: u64 = 3;
const SILENT_S: u64 = 5;

/// What the counters of a peer have told so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// Packets to it and from it when the counters were looked at last; nothing of a peer of an earlier daemon, before the first look.
    counted: Option<(u64, u64)>,
    /// When more had come from it, in seconds of `CLOCK_MONOTONIC`.
    last: Option<u64>,
    /// What has gone to it since.
    unanswered: Option<Unanswered>,
}

/// Packets that nothing came after.
#[derive(Clone, Copy, Debug)]
struct Unanswered {
    packets: u64,
    /// When the first and the last of them had gone, in seconds of `CLOCK_MONOTONIC`.
    first: u64,
    last: u64,
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
            let unanswered = self.unanswered.get_or_insert(Unanswered {
                packets: 0,
                first: now,
                last: now,
            });
            unanswered.packets += sent.saturating_sub(sent_before);
            unanswered.last = now;
        }
    }

    /// How long ago it was heard, in seconds, if this daemon has heard it.
    pub(crate) fn last_heard_s(self, now: u64) -> Option<u64> {
        Some((now / SECOND).saturating_sub(self.last?))
    }

    /// True if it was sent to again and again, and has not been heard since.
    pub(crate) fn is_silent(self) -> bool {
        self.unanswered.is_some_and(|unanswered| {
            let Unanswered {
                packets,
                first,
                last,
            } = unanswered;
            packets >= SILENT_PACKETS && last - first >= SILENT_S
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> u64 {
        (100 + second) * SECOND
    }

    #[test]
    fn a_peer_that_is_sent_to_again_and_again_and_does_not_answer_becomes_silent() {
        let mut heard = Heard::nothing();
        heard.take(0, 0, at(0));
        assert!(!heard.is_silent(), "nothing was sent");
        heard.take(7, 0, at(1));
        heard.take(8, 0, at(5));
        assert!(!heard.is_silent(), "all within a moment");
        heard.take(9, 0, at(6));
        assert!(heard.is_silent());
        assert_eq!(heard.last_heard_s(at(6)), None);
        heard.take(9, 1, at(7));
        assert!(!heard.is_silent());
        assert_eq!(heard.last_heard_s(at(10)), Some(3));
        heard.take(9, 1, at(100));
        assert!(!heard.is_silent(), "nothing was sent since");
    }

    #[test]
    fn a_broadcast_or_two_that_nobody_answers_make_no_peer_silent() {
        let mut heard = Heard::nothing();
        heard.take(5, 5, at(0));
        heard.take(6, 5, at(1));
        heard.take(6, 5, at(600));
        heard.take(7, 5, at(900));
        assert!(!heard.is_silent());
        heard.take(8, 5, at(901));
        assert!(heard.is_silent());
    }

    #[test]
    fn what_an_earlier_daemon_heard_is_not_heard_now() {
        let mut heard = Heard::default();
        heard.take(7, 7, at(0));
        assert_eq!(
            (heard.last_heard_s(at(9)), heard.is_silent()),
            (None, false)
        );
        heard.take(7, 8, at(10));
        assert_eq!(heard.last_heard_s(at(10)), Some(0));
    }

    #[test]
    fn an_answer_in_the_same_second_is_an_answer() {
        let mut heard = Heard::nothing();
        for second in 1..10 {
            heard.take(3 * second, second, at(second));
            assert!(!heard.is_silent());
        }
        heard.take(28, 9, at(10));
        heard.take(30, 9, at(15));
        assert!(heard.is_silent());
    }
}
