//! The HTTP server: what it serves, and until when.

use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::LazyLock;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::Answer;
use super::connections::{self, ConnectionLimits};
use super::event_feed::Events;
use super::shared::{Asker, Shared};
use super::socket::Socket;
use super::{
    ApplyLine, BatchLine, ErrorBody, apply, batch, capture, event_stream, live, openapi, routes,
    scrape, view,
};
use crate::{
    ask::{Command, Handle},
    model::Refusal,
};

/// How long answers may still be on their way once the daemon is told to stop: a reader that takes nothing does not keep it.
const GRACE: Duration = Duration::from_secs(2);

/// Serves the API on `socket` until `stop` is done; readers of the event stream get what is published to `events`.
pub async fn serve(
    socket: Socket,
    handle: Handle,
    events: Events,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    serve_within(ConnectionLimits::SOCKET, socket, handle, events, stop).await;
}

/// Serves what of the API changes nothing on `socket`, until `stop` is done.
pub async fn serve_view(
    socket: Socket,
    handle: Handle,
    events: Events,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    serve_router(
        ConnectionLimits::VIEW,
        socket,
        handle,
        events,
        stop,
        view::only,
    )
    .await;
}

/// As [`serve`], with other limits.
pub(super) async fn serve_within(
    limits: ConnectionLimits,
    socket: Socket,
    handle: Handle,
    events: Events,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    serve_router(limits, socket, handle, events, stop, |router| router).await;
}

async fn serve_router(
    limits: ConnectionLimits,
    socket: Socket,
    handle: Handle,
    events: Events,
    stop: impl Future<Output = ()> + Send + 'static,
    within: impl FnOnce(Router) -> Router,
) {
    let Socket { listener, file } = socket;
    let (end, ended) = watch::channel(false);
    let (router, _) = others().split_for_parts();
    let router = routes::all(router);
    let shared = Shared {
        handle,
        events,
        ended,
    };
    let router = within(finish(router, shared));
    serve_until(stop, listener, router, limits, end).await;
    drop(file);
}

/// Serves only `/metrics`, over TCP, until `stop` is done.
pub async fn serve_metrics(
    listener: TcpListener,
    handle: Handle,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let router = finish(scrape::metrics(), handle);
    let end = watch::Sender::default();
    serve_until(stop, listener, router, ConnectionLimits::METRICS, end).await;
}

/// Serves until `stop` is done, says so on `end`, and lets the answers on their way arrive.
async fn serve_until<L>(
    stop: impl Future<Output = ()>,
    listener: L,
    router: Router,
    limits: ConnectionLimits,
    end: watch::Sender<bool>,
) where
    L: Listener<Addr: Debug, Io: connections::Caller>,
{
    let mut serving = pin!(connections::serve(
        listener,
        router,
        limits,
        end.subscribe()
    ));
    tokio::select! {
        () = &mut serving => return,
        () = stop => {}
    }
    end.send_replace(true);
    // What has not arrived by then is cut off.
    drop(timeout(GRACE, serving).await);
}

/// What no route covers is answered in the API's own form too.
fn finish<S: Clone + Send + Sync + 'static>(router: Router<S>, state: S) -> Router {
    router
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(state)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "vtep",
        description = "The control interface of a vtep daemon."
    ),
    components(schemas(ApplyLine, BatchLine, ErrorBody))
)]
struct Document;

/// What is served besides the operations, together with its documentation.
fn others() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(event_stream::events))
        .routes(routes!(capture::capture, capture::end_capture))
        .routes(routes!(live::trace_live))
        .routes(routes!(batch::batch))
        .routes(routes!(apply::apply))
        .routes(routes!(teardown))
        .routes(routes!(openapi))
}

/// Removes everything from the kernel and ends the daemon.
#[utoipa::path(post, path = "/v1/teardown",
    responses((status = 204), (status = 500, body = ErrorBody)))]
async fn teardown(asker: Asker) -> Answer {
    Ok(asker.ask(Command::Teardown).await?.into_response())
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json",
    responses((status = 200, body = serde_json::Value,
        description = "An OpenAPI 3.1 document.")))]
async fn openapi() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        openapi::complete(others().into_openapi())
            .to_json()
            .expect("a document of strings is always JSON")
    });
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

async fn no_such_path(request: Request) -> Refusal {
    let path = request.uri().path();
    Refusal::not_found(format!(
        "{path} does not exist; /v1/openapi.json lists all paths"
    ))
}

async fn no_such_method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let error =
        format!("{path} does not support {method}; /v1/openapi.json lists what it supports");
    (
        StatusCode::METHOD_NOT_ALLOWED,
        Json(ErrorBody { error, line: None }),
    )
        .into_response()
}
