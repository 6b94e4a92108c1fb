//! `GET /v1/events`: what is published, as lines of JSON, to one reader.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;

use super::ErrorBody;
use super::connections::Owed;
use super::event_feed::now;
use super::routes::Params;
use super::shared::{Caller, Shared};
use crate::model::{EventDetails, EventKind, EventRow, Refusal, Vni, VniFilter};

/// Bytes that are written to a response at a time, about.
const PIECE: usize = 16 << 10;

/// Readers at a time, at most: half of the connections stay for everybody else.
const READERS_MAX: usize = 64;

/// Events from now on: one per line, without end. With `vni`, the events of that VNI, and `lost` rows. A reader that is too
/// slow gets a row `lost` with the `count` of rows that it missed.
#[utoipa::path(get, path = "/v1/events", params(VniFilter),
    responses((status = 200, body = EventRow, content_type = "application/x-ndjson",
        description = "One `EventRow` on each line. Ends when the daemon does."),
        (status = 400, body = ErrorBody), (status = 507, body = ErrorBody)))]
pub(super) async fn events(
    State(shared): State<Shared>,
    caller: Caller,
    Params(filter): Params<VniFilter>,
) -> Result<Response, Refusal> {
    if shared.events.readers() >= READERS_MAX {
        return Err(Refusal::full(format!(
            "{READERS_MAX} readers watch already, which is the most; end one of them: each is a vtep monitor or a GET /v1/events"
        )));
    }
    let watch = Watch {
        _owed: caller.owe(),
        rows: shared.events.subscribe(),
        vni: filter.vni,
        ended: shared.ended,
    };
    let body = Body::from_stream(watch.into_pieces());
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// One reader.
struct Watch {
    /// A reader waits for us until it goes.
    _owed: Option<Owed>,
    rows: broadcast::Receiver<Arc<EventRow>>,
    vni: Option<Vni>,
    /// True once the daemon ends.
    ended: watch::Receiver<bool>,
}

impl Watch {
    fn into_pieces(self) -> impl Stream<Item = Result<Vec<u8>, Infallible>> {
        stream::unfold(self, |mut watch| async {
            let piece = watch.piece().await?;
            Some((Ok(piece), watch))
        })
    }

    /// Waits for rows, and returns those that are there as lines; `None` if no more will come.
    async fn piece(&mut self) -> Option<Vec<u8>> {
        let mut piece = Vec::new();
        while piece.is_empty() {
            let row = tokio::select! {
                // The events before the end are sent before the end.
                biased;
                row = self.rows.recv() => row,
                _ = self.ended.wait_for(|ended| *ended) => Err(RecvError::Closed),
            };
            self.write(&mut piece, row)?;
            while piece.len() < PIECE && !self.rows.is_empty() {
                let row = self.rows.recv().await;
                self.write(&mut piece, row)?;
            }
        }
        Some(piece)
    }

    /// Writes a row as a line, if it is wanted. `None` if there is none any more.
    fn write(&self, piece: &mut Vec<u8>, row: Result<Arc<EventRow>, RecvError>) -> Option<()> {
        let row = match row {
            Ok(row) => row,
            Err(RecvError::Lagged(count)) => Arc::new(missed(count)),
            Err(RecvError::Closed) => return None,
        };
        if self.vni.is_none_or(|vni| concerns(&row.what, vni)) {
            serde_json::to_writer(&mut *piece, &*row).expect("rows are always JSON");
            piece.push(b'\n');
        }
        Some(())
    }
}

/// Whether those who watch one VNI are to know.
fn concerns(what: &EventDetails, vni: Vni) -> bool {
    what.vni == Some(vni) || what.event == EventKind::Lost
}

/// The row in place of `count` that a reader was too slow for.
fn missed(count: u64) -> EventRow {
    EventRow {
        time: now(),
        what: EventDetails {
            count: Some(count),
            why: Some("this reader was too slow".into()),
            ..EventDetails::new(EventKind::Lost)
        },
    }
}
