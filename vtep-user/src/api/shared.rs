//! What the routes work with.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use tokio::sync::watch;

use super::connections::{Owed, Standing};
use super::event_feed::Events;
use crate::ask::{ClientId, Command, Handle, Reply};
use crate::model::Refusal;

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

/// The connection that a request came by.
pub(super) struct Caller(Option<Arc<Standing>>);

impl Caller {
    /// Who is at its other end, if that is known.
    pub(super) fn client(&self) -> Option<ClientId> {
        self.0.as_ref()?.client
    }

    /// The client waits for us as long as this lives.
    pub(super) fn owe(&self) -> Option<Owed> {
        self.0.as_ref().map(Standing::owe)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get().cloned()))
    }
}

/// The core, asked for whoever is at the other end of a connection.
pub(super) struct Asker {
    handle: Handle,
    pub(super) caller: Caller,
}

impl Asker {
    /// Asks the core. Once the client is gone nobody waits for the answer, and the core leaves undone what it has not begun.
    pub(super) async fn ask(&self, command: Command) -> Result<Reply, Refusal> {
        let _owed = self.caller.owe();
        self.handle.ask_for(self.caller.client(), command).await
    }

    /// Waits for the body of a request, as long as it may take to arrive.
    pub(super) async fn body<T>(&self, body: impl Future<Output = T>) -> Result<T, Refusal> {
        let Some(standing) = &self.caller.0 else {
            return Ok(body.await);
        };
        tokio::time::timeout(standing.body, body)
            .await
            .map_err(|_| {
                Refusal::invalid(format!(
                    "the body did not arrive within {} seconds; send all of it at once",
                    standing.body.as_secs()
                ))
            })
    }
}

impl<S> FromRequestParts<S> for Asker
where
    S: Sync,
    Handle: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(Self {
            handle: Handle::from_ref(state),
            caller: Caller::from_request_parts(parts, state).await?,
        })
    }
}
