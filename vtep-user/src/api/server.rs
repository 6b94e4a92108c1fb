//! The HTTP server: which routes there are, and the form of every answer.

use std::convert::Infallible;
use std::future::Future;
use std::io;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::stream;
use serde::Serialize;
use tokio::net::TcpListener;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::command::{Handle, Kind, Refusal, Reply};
use super::socket::Socket;
use super::{BatchLine, ErrorBody, batch, routes};

/// Rows that are written to a response at a time.
const ROWS_CHUNK: usize = 512;

/// Serves the API on `socket` until `stop` is done.
pub async fn serve(
    socket: Socket,
    handle: Handle,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let Socket { listener, file } = socket;
    let served = axum::serve(listener, router(handle))
        .with_graceful_shutdown(stop)
        .await;
    drop(file);
    served
}

/// Serves only `/metrics`, over TCP, until `stop` is done.
pub async fn serve_metrics(
    listener: TcpListener,
    handle: Handle,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (router, _) = OpenApiRouter::<Handle>::new()
        .routes(routes!(routes::metrics))
        .split_for_parts();
    axum::serve(listener, finish(router, handle))
        .with_graceful_shutdown(stop)
        .await
}

/// Every route of the API.
fn router(handle: Handle) -> Router {
    finish(documented().split_for_parts().0, handle)
}

/// What no route covers is answered in the API's own form too.
fn finish(router: Router<Handle>, handle: Handle) -> Router {
    router
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(handle)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "vtep",
        description = "The control interface of a vtep daemon."
    ),
    components(schemas(BatchLine, ErrorBody))
)]
struct Document;

/// The routes together with their documentation: a route can only be added with it.
pub(super) fn documented() -> OpenApiRouter<Handle> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(routes::status))
        .routes(routes!(routes::vni_list))
        .routes(routes!(
            routes::vni_get,
            routes::vni_add,
            routes::vni_set,
            routes::vni_del
        ))
        .routes(routes!(routes::port_list, routes::port_add))
        .routes(routes!(
            routes::port_get,
            routes::port_set,
            routes::port_del
        ))
        .routes(routes!(
            routes::fdb_list,
            routes::fdb_add,
            routes::fdb_replace,
            routes::fdb_del
        ))
        .routes(routes!(routes::fdb_append))
        .routes(routes!(routes::fdb_flush))
        .routes(routes!(routes::fdb_get))
        .routes(routes!(
            routes::neigh_list,
            routes::neigh_add,
            routes::neigh_replace,
            routes::neigh_del
        ))
        .routes(routes!(
            routes::nexthop_list,
            routes::nexthop_add,
            routes::nexthop_replace,
            routes::nexthop_del
        ))
        .routes(routes!(routes::peer_list))
        .routes(routes!(routes::peer_get, routes::peer_set))
        .routes(routes!(routes::stats))
        .routes(routes!(routes::drops))
        .routes(routes!(batch::batch))
        .routes(routes!(routes::teardown))
        .routes(routes!(routes::openapi))
        .routes(routes!(routes::metrics))
}

async fn no_such_path(request: Request) -> Refusal {
    let path = request.uri().path();
    Refusal::not_found(format!(
        "there is no {path}; all paths are listed in /v1/openapi.json"
    ))
}

async fn no_such_method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let error = format!("{path} has no {method}; /v1/openapi.json lists what it has");
    (
        StatusCode::METHOD_NOT_ALLOWED,
        Json(ErrorBody { error, line: None }),
    )
        .into_response()
}

// Ways out

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            Self::Done => StatusCode::NO_CONTENT.into_response(),
            Self::Vnis(rows) => json_array(rows),
            Self::Ports(rows) => json_array(rows),
            Self::Fdb(rows) => json_array(rows),
            Self::Neighs(rows) => json_array(rows),
            Self::Nexthops(rows) => json_array(rows),
            Self::Peers(rows) => json_array(rows),
            Self::Stats(rows) => json_array(rows),
            Self::Drops(rows) => json_array(rows),
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

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.kind {
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Full => StatusCode::INSUFFICIENT_STORAGE,
            Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (
            status,
            Json(ErrorBody {
                error: self.to_string(),
                line: self.line,
            }),
        )
            .into_response()
    }
}
