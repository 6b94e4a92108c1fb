//! `POST /v1/trace`: frames as they come, each with what the programs decide on it and what really became of it.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use tokio::sync::mpsc;
use vtep_common::sim::trace::Arrived;

use super::ErrorBody;
use super::capture;
use super::connections::Owed;
use super::shared::{Asker, Shared};
use crate::{
    ask::{Command, Moment, Reply, Taken},
    capture::live::{happened, stretch},
    model::{CaptureFilter, CaptureRow, LiveLine, Refusal, TraceRow, TraceStep},
};

/// Frames of one request, at most: each takes the core some of its time.
const MOST: u32 = 10_000;

/// Traces frames that match as they come, `count` of them, one row per line: each is captured as it came to its hook, and decided on with what
/// the tables say right after. The last row of a frame has the step `happened`: what really became of it. The last line says how many were
/// left out. It is a capture: one runs at a time, and it ends with the connection, or with `DELETE /v1/capture`.
#[utoipa::path(post, path = "/v1/trace", request_body = CaptureFilter,
    responses((status = 200, body = LiveLine, content_type = "application/x-ndjson",
        description = "One `LiveLine` on each line: the rows of each frame, and at the end a `CaptureEnd`."),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
pub(super) async fn trace_live(
    State(shared): State<Shared>,
    asker: Asker,
    request: Request,
) -> Result<Response, Refusal> {
    let filter = capture::filter_of(&asker, request).await?;
    if filter.count.is_none_or(|count| count > MOST) {
        return Err(Refusal::invalid(format!(
            "it is not said how many frames are traced, or they are too many; give `count` from 1 to {MOST}"
        )));
    }
    let taken = capture::begin(&shared, &asker, filter, Moment::AtArrival).await?;
    let reader = Reader {
        _owed: asker.caller.owe(),
        asker,
        taken,
        frames: 0,
    };
    let body = Body::from_stream(reader.into_pieces());
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Who gets the rows.
struct Reader {
    /// A reader waits for us until it goes.
    _owed: Option<Owed>,
    asker: Asker,
    taken: mpsc::Receiver<Taken>,
    /// How many frames it has got.
    frames: u32,
}

impl Reader {
    fn into_pieces(self) -> impl Stream<Item = Result<Vec<u8>, Infallible>> {
        stream::unfold(self, |mut reader| async {
            let piece = reader.piece().await?;
            Some((Ok(piece), reader))
        })
    }

    /// Waits for a frame, and returns its rows; `None` if no more will come, or the core is gone.
    async fn piece(&mut self) -> Option<Vec<u8>> {
        let mut piece = Vec::new();
        match self.taken.recv().await? {
            Taken::Frame(_) => {}
            Taken::End(end) => write(&mut piece, &LiveLine::End(end)),
            Taken::Arrived {
                mut arrived,
                came_with,
                row,
            } => {
                self.frames += 1;
                let cut = stretch(&mut arrived.frame, came_with);
                for mut row in self.rows(arrived, cut, &row).await? {
                    row.frame = self.frames;
                    write(&mut piece, &LiveLine::Row(row));
                }
            }
        }
        Some(piece)
    }

    /// The rows of a frame, what really happened last.
    async fn rows(
        &self,
        arrived: Box<Arrived>,
        cut: Option<usize>,
        row: &CaptureRow,
    ) -> Option<Vec<TraceRow>> {
        let len = arrived.frame.len();
        let Ok(Reply::Trace(mut rows)) = self.asker.ask(Command::TraceArrived(arrived)).await
        else {
            return None;
        };
        rows.push(happened(row, &rows));
        if let Some(cut) = cut {
            let text =
                format!("of its {len} bytes, {cut} were captured, and zeros stand for the others");
            let note = TraceRow {
                frame: 1,
                hook: row.hook.clone(),
                step: TraceStep::Frame,
                text,
                reason: None,
                vteps: Vec::new(),
                ports: Vec::new(),
                outer: None,
            };
            // Behind the one that has its headers in words.
            rows.insert(rows.len().min(1), note);
        }
        Some(rows)
    }
}

fn write(piece: &mut Vec<u8>, line: &LiveLine) {
    serde_json::to_writer(&mut *piece, line).expect("lines are always JSON");
    piece.push(b'\n');
}
