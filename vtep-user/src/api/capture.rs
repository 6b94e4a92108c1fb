//! `POST /v1/capture`: frames as they end in the data path, as lines of JSON, to one reader; and `DELETE`, which ends that.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use tokio::sync::mpsc;

use super::ErrorBody;
use super::connections::Owed;
use super::shared::{Asker, Shared};
use crate::{
    ask::{Command, Moment, Reply, Taken},
    model::{CaptureFilter, CaptureLine, Query, Refusal, Vni, objects},
};

/// Bytes that are written to a response at a time, about.
const PIECE: usize = 64 << 10;

/// Captures the frames that match from now on, one per line. The last line says how many were left out. One capture runs at a
/// time; it ends with the connection.
#[utoipa::path(post, path = "/v1/capture", request_body = CaptureFilter,
    responses((status = 200, body = CaptureLine, content_type = "application/x-ndjson",
        description = "One `CaptureLine` on each line: frames, and at the end a `CaptureEnd`."),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
pub(super) async fn capture(
    State(shared): State<Shared>,
    asker: Asker,
    request: Request,
) -> Result<Response, Refusal> {
    let filter = filter_of(&asker, request).await?;
    let taken = begin(&shared, &asker, filter, Moment::AtTheEnd).await?;
    let reader = Reader {
        _owed: asker.caller.owe(),
        taken,
    };
    let body = Body::from_stream(reader.into_pieces());
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Reads which frames a request asks for.
pub(super) async fn filter_of(asker: &Asker, request: Request) -> Result<CaptureFilter, Refusal> {
    let body = asker.body(Bytes::from_request(request, &())).await?;
    let body = body.map_err(|error| Refusal::invalid(error.body_text()))?;
    let filter = objects::from_slice(&body);
    filter.map_err(|error| Refusal::invalid(error.to_string()))
}

/// Begins a capture.
pub(super) async fn begin(
    shared: &Shared,
    asker: &Asker,
    filter: CaptureFilter,
    moment: Moment,
) -> Result<mpsc::Receiver<Taken>, Refusal> {
    filter.check()?;
    let vnis = match &filter.dev {
        Some(dev) => vnis_of(asker, dev).await?,
        None => Vec::new(),
    };
    let client = asker.caller.client();
    shared.handle.capture((filter, vnis), moment, client).await
}

/// Ends the capture that runs, whoever began it; the log says who ended it. Its reader gets the frames that were taken, and the last line.
#[utoipa::path(delete, path = "/v1/capture",
    responses((status = 204), (status = 404, body = ErrorBody)))]
pub(super) async fn end_capture(
    State(shared): State<Shared>,
    asker: Asker,
) -> Result<Response, Refusal> {
    shared.handle.end_capture(asker.caller.client()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The VNIs that an interface has ports in; none for an uplink.
async fn vnis_of(asker: &Asker, dev: &str) -> Result<Vec<Vni>, Refusal> {
    let ports = Command::Show(Query::Ports(Some(dev.to_owned())));
    let refused = match asker.ask(ports).await {
        Ok(Reply::Ports(rows)) => return Ok(rows.iter().map(|row| row.vni).collect()),
        Ok(_) => return Ok(Vec::new()),
        Err(refused) => refused,
    };
    match asker.ask(Command::Show(Query::Status)).await? {
        Reply::Status(status) if status.uplinks.iter().any(|uplink| uplink.dev == dev) => {
            Ok(Vec::new())
        }
        _ => Err(refused),
    }
}

/// Who gets the frames.
struct Reader {
    /// A reader waits for us until it goes.
    _owed: Option<Owed>,
    /// They end with the capture, and with the daemon, which ends the capture before it goes.
    taken: mpsc::Receiver<Taken>,
}

impl Reader {
    fn into_pieces(self) -> impl Stream<Item = Result<Vec<u8>, Infallible>> {
        stream::unfold(self, |mut reader| async {
            let piece = reader.piece().await?;
            Some((Ok(piece), reader))
        })
    }

    /// Waits for lines, and returns those that are there; `None` if no more will come.
    async fn piece(&mut self) -> Option<Vec<u8>> {
        let mut piece = Vec::new();
        write(&mut piece, self.taken.recv().await?);
        while piece.len() < PIECE {
            let Ok(taken) = self.taken.try_recv() else {
                break;
            };
            write(&mut piece, taken);
        }
        Some(piece)
    }
}

fn write(piece: &mut Vec<u8>, taken: Taken) {
    let line = match taken {
        Taken::Frame(row) | Taken::Arrived { row, .. } => CaptureLine::Frame(row),
        Taken::End(end) => CaptureLine::End(end),
    };
    serde_json::to_writer(&mut *piece, &line).expect("lines are always JSON");
    piece.push(b'\n');
}
