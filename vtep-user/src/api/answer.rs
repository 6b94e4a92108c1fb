//! The form of every answer.

use std::convert::Infallible;

use axum::Json;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Serialize;

use super::ErrorBody;
use crate::ask::Reply;
use crate::model::{Refusal, RefusalKind};

/// An answer, or why there is none.
pub(super) type Answer = Result<Response, Refusal>;

/// Rows that are written to a response at a time.
const ROWS_CHUNK: usize = 512;

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            // What a rehearsal found is in the answer that the handler of a batch makes.
            Self::Done | Self::Rehearsed(_) => StatusCode::NO_CONTENT.into_response(),
            Self::Vnis(rows) => json_array(rows),
            Self::Ports(rows) => json_array(rows),
            Self::Fdb(rows) => json_array(rows),
            Self::Neighs(rows) => json_array(rows),
            Self::Nexthops(rows) => json_array(rows),
            Self::Peers(rows) => json_array(rows),
            Self::Stats(rows) => json_array(rows),
            Self::Drops(rows) => json_array(rows),
            Self::Plan(rows) => json_array(rows),
            Self::Trace(rows) => json_array(rows),
            Self::Dump(rows) => json_array(rows),
            Self::Status(status) => Json(status).into_response(),
            Self::Text(text) => {
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                ([(header::CONTENT_TYPE, kind)], text).into_response()
            }
        }
    }
}

/// Writes rows as they are sent, so that the text of a large table never stands in memory as a whole.
fn json_array<T: Serialize + Send + 'static>(rows: Vec<T>) -> Response {
    let mut rows = rows.into_iter();
    let mut next = b'[';
    let pieces = std::iter::from_fn(move || {
        if next == b']' {
            return None;
        }
        let mut piece = Vec::new();
        for row in rows.by_ref().take(ROWS_CHUNK) {
            piece.push(next);
            next = b',';
            serde_json::to_writer(&mut piece, &row).expect("rows are always JSON");
        }
        if rows.len() == 0 {
            if next == b'[' {
                piece.push(b'[');
            }
            next = b']';
            piece.push(b']');
        }
        Some(Ok::<_, Infallible>(piece))
    });
    let body = Body::from_stream(stream::iter(pieces));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// The status of a refusal.
pub(super) const fn status(kind: RefusalKind) -> StatusCode {
    match kind {
        RefusalKind::NotFound => StatusCode::NOT_FOUND,
        RefusalKind::Conflict => StatusCode::CONFLICT,
        RefusalKind::Invalid => StatusCode::BAD_REQUEST,
        RefusalKind::Full => StatusCode::INSUFFICIENT_STORAGE,
        RefusalKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        RefusalKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (
            status(self.kind),
            Json(ErrorBody {
                error: self.to_string(),
                line: self.line,
            }),
        )
            .into_response()
    }
}
