//! The ring buffer of events: how much of it is read at once, and what it lost.

use std::time::Duration;

use vtep_common::abi::{event::Event, map::EVENTS_BYTES};

use crate::{
    datapath::{Datapath, DatapathError},
    model::{EventDetails, EventKind},
};

/// Events that are read at once: a millisecond's worth, after which others have their turn.
pub(super) const EVENTS_AT_ONCE: usize = 1_024;
/// Events that the ring buffer holds, at most.
pub(super) const MOST_EVENTS: usize = EVENTS_BYTES as usize / size_of::<Event>();
/// So many at once are the start of many more.
const MANY_EVENTS: usize = 32;
/// How long to wait for more where there are many. The kernel wakes us for the first event after those that we read: a reader that
/// takes each as it comes is woken for each, which costs the processor that forwards frames more than the frame does.
pub(super) const WAIT_FOR_MORE: Duration = Duration::from_millis(1);

/// How much there was to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backlog {
    /// Little, and that was all.
    Little,
    /// Much, and more is to be expected, though that was all for now.
    Much,
    /// More waits.
    MoreWaits,
}

impl Backlog {
    pub(super) const fn of(events: usize) -> Self {
        match events {
            EVENTS_AT_ONCE.. => Self::MoreWaits,
            MANY_EVENTS.. => Self::Much,
            _ => Self::Little,
        }
    }
}

/// The events that found the ring buffer full.
#[derive(Debug)]
pub(super) struct LostEvents {
    /// How many there were when it was last reported.
    reported: u64,
}

impl LostEvents {
    /// Nothing is reported that was lost before now.
    pub(super) fn new(datapath: &Datapath) -> Result<Self, DatapathError> {
        let reported = datapath.lost_events()?;
        Ok(Self { reported })
    }

    /// Reports what was lost since it was last asked.
    pub(super) fn report(&mut self, datapath: &Datapath) -> Option<EventDetails> {
        let lost = match datapath.lost_events() {
            Ok(lost) => lost,
            Err(error) => {
                tracing::error!(%error, "could not read the event counters");
                return None;
            }
        };
        let more = lost.saturating_sub(self.reported);
        self.reported = lost;
        if more == 0 {
            return None;
        }
        tracing::warn!(count = more, "the event ring buffer was full");
        Some(EventDetails {
            count: Some(more),
            why: Some("the ring buffer was full; the next frames report again".to_owned()),
            ..EventDetails::new(EventKind::Lost)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_new_mac_is_waited_for_at_once_and_many_for_a_moment() {
        let backlogs = [0, 1, MANY_EVENTS - 1, MANY_EVENTS, EVENTS_AT_ONCE - 1].map(Backlog::of);

        assert_eq!(backlogs[..3], [Backlog::Little; 3]);
        assert_eq!(backlogs[3..], [Backlog::Much; 2]);
        assert_eq!(Backlog::of(EVENTS_AT_ONCE), Backlog::MoreWaits);
    }
}
