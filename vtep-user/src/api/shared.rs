//! What the routes work with.

use axum::extract::FromRef;
use tokio::sync::watch;

use super::event_feed::Events;
use crate::ask::Handle;

/// What the routes work with.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) handle: Handle,
    pub(super) events: Events,
    /// True once the daemon ends.
    pub(super) ended: watch::Receiver<bool>,
}

impl FromRef<Shared> for Handle {
    fn from_ref(shared: &Shared) -> Self {
        shared.handle.clone()
    }
}
