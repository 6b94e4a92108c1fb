//! The daemon's events, for everyone who watches.
//!
//! The core publishes and never waits. Each reader has its place in one bounded queue; a reader that falls behind by
//! more than the queue holds loses the oldest rows, and gets one row that says how many.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::broadcast;

use crate::model::{EventDetails, EventRow};

/// Rows that wait for a slow reader.
const ROWS_AHEAD: usize = 16_384;

/// Where the core publishes its events, and the API subscribes.
#[derive(Clone, Debug)]
pub struct Events {
    rows: broadcast::Sender<Arc<EventRow>>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            rows: broadcast::Sender::new(ROWS_AHEAD),
        }
    }
}

impl Events {
    /// True if anybody watches. Where nobody does, events need not be made at all.
    #[must_use]
    pub fn watched(&self) -> bool {
        self.rows.receiver_count() > 0
    }

    /// How many watch.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.rows.receiver_count()
    }

    /// Notifies everyone who watches of what happened just now. Never waits.
    pub fn publish(&self, events: Vec<EventDetails>) {
        if events.is_empty() || !self.watched() {
            return;
        }
        let time = now();
        for what in events {
            let time = time.clone();
            // It fails only where nobody watches any more.
            drop(self.rows.send(Arc::new(EventRow { time, what })));
        }
    }

    /// Everything that is published from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<EventRow>> {
        self.rows.subscribe()
    }
}

/// The time as rows have it.
pub(super) fn now() -> String {
    format!("{:.6}", Timestamp::now())
}
