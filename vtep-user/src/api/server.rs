//! The HTTP server.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::{StreamExt, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::command::{Command, Handle, Kind, Op, Refusal, Reply};
use super::model::{
    BadValue, DropsRow, FdbDel, FdbFilter, FdbRow, FdbSpec, Mac, PeerRow, PeerSpec, PortChange,
    PortPart, PortRow, PortSpec, StatsFilter, StatsRow, Status, Vni, VniRow, VniSpec,
};
use super::socket::Socket;
use super::{BatchDone, BatchLine, ErrorBody};

/// Changes of a batch that go to the core at a time: bounds memory, and lets others be served in between.
const BATCH_CHUNK: usize = 4096;

/// Longest line of a batch.
const BATCH_LINE_MAX: usize = 1 << 20;

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
        .routes(routes!(metrics))
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
fn documented() -> OpenApiRouter<Handle> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(status))
        .routes(routes!(vni_list))
        .routes(routes!(vni_get, vni_add, vni_set, vni_del))
        .routes(routes!(port_list, port_add))
        .routes(routes!(port_get, port_set, port_del))
        .routes(routes!(fdb_list, fdb_add, fdb_replace, fdb_del))
        .routes(routes!(fdb_append))
        .routes(routes!(fdb_flush))
        .routes(routes!(fdb_get))
        .routes(routes!(peer_list))
        .routes(routes!(peer_get, peer_set))
        .routes(routes!(stats))
        .routes(routes!(drops))
        .routes(routes!(batch))
        .routes(routes!(teardown))
        .routes(routes!(openapi))
        .routes(routes!(metrics))
}

type Answer = Result<Response, Refusal>;

async fn ask(handle: &Handle, command: Command) -> Answer {
    Ok(handle.ask(command).await?.into_response())
}

async fn change(handle: &Handle, op: Op) -> Answer {
    ask(handle, Command::Do(op)).await
}

// Handlers

/// The daemon itself.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
async fn status(State(handle): State<Handle>) -> Answer {
    ask(&handle, Command::Status).await
}

/// All VNIs.
#[utoipa::path(get, path = "/v1/vnis", responses((status = 200, body = [VniRow])))]
async fn vni_list(State(handle): State<Handle>) -> Answer {
    ask(&handle, Command::VniShow(None)).await
}

/// One VNI, as the only row.
#[utoipa::path(get, path = "/v1/vnis/{vni}", params(("vni" = u32, Path)),
    responses((status = 200, body = [VniRow]), (status = 404, body = ErrorBody)))]
async fn vni_get(State(handle): State<Handle>, Path(vni): Path<String>) -> Answer {
    ask(&handle, Command::VniShow(Some(read_vni(&vni)?))).await
}

/// Makes a VNI.
#[utoipa::path(post, path = "/v1/vnis/{vni}", params(("vni" = u32, Path)), request_body = VniSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 409, body = ErrorBody)))]
async fn vni_add(
    State(handle): State<Handle>,
    Path(vni): Path<String>,
    Input(spec): Input<Box<VniSpec>>,
) -> Answer {
    change(
        &handle,
        Op::VniAdd {
            vni: read_vni(&vni)?,
            spec,
        },
    )
    .await
}

/// Changes what is given of a VNI.
#[utoipa::path(patch, path = "/v1/vnis/{vni}", params(("vni" = u32, Path)), request_body = VniSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn vni_set(
    State(handle): State<Handle>,
    Path(vni): Path<String>,
    Input(spec): Input<Box<VniSpec>>,
) -> Answer {
    change(
        &handle,
        Op::VniSet {
            vni: read_vni(&vni)?,
            spec,
        },
    )
    .await
}

/// Deletes a VNI.
#[utoipa::path(delete, path = "/v1/vnis/{vni}", params(("vni" = u32, Path)),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
async fn vni_del(State(handle): State<Handle>, Path(vni): Path<String>) -> Answer {
    change(
        &handle,
        Op::VniDel {
            vni: read_vni(&vni)?,
        },
    )
    .await
}

/// All ports.
#[utoipa::path(get, path = "/v1/ports", responses((status = 200, body = [PortRow])))]
async fn port_list(State(handle): State<Handle>) -> Answer {
    ask(&handle, Command::PortShow(None)).await
}

/// Puts a device, or one VLAN of it, into a VNI.
#[utoipa::path(post, path = "/v1/ports", request_body = PortSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
async fn port_add(State(handle): State<Handle>, Input(spec): Input<Box<PortSpec>>) -> Answer {
    change(&handle, Op::PortAdd(spec)).await
}

/// What belongs to a VNI of one device.
#[utoipa::path(get, path = "/v1/ports/{dev}", params(("dev" = String, Path)),
    responses((status = 200, body = [PortRow]), (status = 404, body = ErrorBody)))]
async fn port_get(State(handle): State<Handle>, Path(dev): Path<String>) -> Answer {
    ask(&handle, Command::PortShow(Some(dev))).await
}

/// Changes what is given of a port.
#[utoipa::path(patch, path = "/v1/ports/{dev}", params(("dev" = String, Path)),
    request_body = PortChange,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn port_set(
    State(handle): State<Handle>,
    Path(dev): Path<String>,
    Input(change_to): Input<Box<PortChange>>,
) -> Answer {
    change(
        &handle,
        Op::PortSet {
            dev,
            change: change_to,
        },
    )
    .await
}

/// Takes a port, or a part of it, away.
#[utoipa::path(delete, path = "/v1/ports/{dev}", params(("dev" = String, Path), PortPart),
    responses((status = 204), (status = 404, body = ErrorBody)))]
async fn port_del(
    State(handle): State<Handle>,
    Path(dev): Path<String>,
    Params(part): Params<PortPart>,
) -> Answer {
    change(&handle, Op::PortDel { dev, part }).await
}

/// The FDB entries that match.
#[utoipa::path(get, path = "/v1/fdb", params(FdbFilter),
    responses((status = 200, body = [FdbRow]), (status = 400, body = ErrorBody)))]
async fn fdb_list(State(handle): State<Handle>, Params(filter): Params<FdbFilter>) -> Answer {
    ask(&handle, Command::FdbShow(filter)).await
}

/// Writes an FDB entry; refused if the MAC has one.
#[utoipa::path(post, path = "/v1/fdb", request_body = FdbSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 507, body = ErrorBody)))]
async fn fdb_add(State(handle): State<Handle>, Input(spec): Input<FdbSpec>) -> Answer {
    change(&handle, Op::FdbAdd(spec)).await
}

/// Writes an FDB entry whether the MAC has one or not.
#[utoipa::path(put, path = "/v1/fdb", request_body = FdbSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 507, body = ErrorBody)))]
async fn fdb_replace(State(handle): State<Handle>, Input(spec): Input<FdbSpec>) -> Answer {
    change(&handle, Op::FdbReplace(spec)).await
}

/// Deletes an FDB entry.
#[utoipa::path(delete, path = "/v1/fdb", params(FdbDel),
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn fdb_del(State(handle): State<Handle>, Params(what): Params<FdbDel>) -> Answer {
    change(&handle, Op::FdbDel(what)).await
}

/// Adds a destination to the flood list or to a multicast MAC.
#[utoipa::path(post, path = "/v1/fdb/append", request_body = FdbSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 507, body = ErrorBody)))]
async fn fdb_append(State(handle): State<Handle>, Input(spec): Input<FdbSpec>) -> Answer {
    change(&handle, Op::FdbAppend(spec)).await
}

/// Deletes all FDB entries that match.
#[utoipa::path(post, path = "/v1/fdb/flush", request_body = FdbFilter,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn fdb_flush(State(handle): State<Handle>, Input(filter): Input<FdbFilter>) -> Answer {
    change(&handle, Op::FdbFlush(filter)).await
}

/// The entries of one MAC.
#[utoipa::path(get, path = "/v1/fdb/{vni}/{mac}", params(("vni" = u32, Path), ("mac" = String, Path)),
    responses((status = 200, body = [FdbRow]), (status = 404, body = ErrorBody)))]
async fn fdb_get(State(handle): State<Handle>, Path((vni, mac)): Path<(String, String)>) -> Answer {
    let (vni, mac) = (read_vni(&vni)?, mac.parse::<Mac>()?);
    ask(&handle, Command::FdbGet { mac, vni }).await
}

/// All peers.
#[utoipa::path(get, path = "/v1/peers", responses((status = 200, body = [PeerRow])))]
async fn peer_list(State(handle): State<Handle>) -> Answer {
    ask(&handle, Command::PeerShow(None)).await
}

/// One peer, as the only row.
#[utoipa::path(get, path = "/v1/peers/{ip}", params(("ip" = String, Path)),
    responses((status = 200, body = [PeerRow]), (status = 404, body = ErrorBody)))]
async fn peer_get(State(handle): State<Handle>, Path(ip): Path<String>) -> Answer {
    ask(&handle, Command::PeerShow(Some(read_ip(&ip)?))).await
}

/// Changes what is given of a peer.
#[utoipa::path(patch, path = "/v1/peers/{ip}", params(("ip" = String, Path)), request_body = PeerSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn peer_set(
    State(handle): State<Handle>,
    Path(ip): Path<String>,
    Input(spec): Input<PeerSpec>,
) -> Answer {
    change(
        &handle,
        Op::PeerSet {
            ip: read_ip(&ip)?,
            spec,
        },
    )
    .await
}

/// The counters that match.
#[utoipa::path(get, path = "/v1/stats", params(StatsFilter),
    responses((status = 200, body = [StatsRow]), (status = 404, body = ErrorBody)))]
async fn stats(State(handle): State<Handle>, Params(filter): Params<StatsFilter>) -> Answer {
    ask(&handle, Command::Stats(filter)).await
}

/// The counters of dropped frames.
#[utoipa::path(get, path = "/v1/drops", responses((status = 200, body = [DropsRow])))]
async fn drops(State(handle): State<Handle>) -> Answer {
    ask(&handle, Command::Drops).await
}

/// Makes changes in their order, up to the first that is refused. What was made before it stays.
#[utoipa::path(post, path = "/v1/batch",
    request_body(content = String, content_type = "application/x-ndjson",
        description = "One `BatchLine` on each line."),
    responses((status = 200, body = BatchDone), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 507, body = ErrorBody)))]
async fn batch(State(handle): State<Handle>, body: Body) -> Answer {
    let mut body = body.into_data_stream();
    let mut batch = Batch {
        handle,
        applied: 0,
        line: 0,
        rest: Vec::new(),
        ops: Vec::new(),
    };
    let mut result = Ok(());
    while let Some(piece) = body.next().await {
        let Ok(piece) = piece else {
            return Err(Refusal::invalid("the batch broke off"));
        };
        // After a refusal the rest is read and thrown away, so that the client gets to read the answer.
        if result.is_ok() {
            result = batch.take(&piece).await;
        }
    }
    result?;
    let applied = batch.finish().await?;
    Ok(Json(BatchDone { applied }).into_response())
}

/// A batch while it arrives.
struct Batch {
    handle: Handle,
    applied: u64,
    /// Lines seen.
    line: u64,
    /// The start of a line whose end has not come yet.
    rest: Vec<u8>,
    /// Changes that have not gone to the core yet.
    ops: Vec<(u64, Op)>,
}

impl Batch {
    async fn take(&mut self, mut piece: &[u8]) -> Result<(), Refusal> {
        while let Some(end) = piece.iter().position(|&byte| byte == b'\n') {
            if self.rest.is_empty() {
                self.line(&piece[..end]).await?;
            } else {
                let mut line = std::mem::take(&mut self.rest);
                line.extend_from_slice(&piece[..end]);
                self.line(&line).await?;
            }
            piece = &piece[end + 1..];
        }
        self.rest.extend_from_slice(piece);
        if self.rest.len() > BATCH_LINE_MAX {
            return Err(Refusal::invalid("the line is too long").at_line(self.line + 1));
        }
        Ok(())
    }

    async fn line(&mut self, text: &[u8]) -> Result<(), Refusal> {
        self.line += 1;
        if text.trim_ascii().is_empty() {
            return Ok(());
        }
        match serde_json::from_slice::<BatchLine>(text) {
            Ok(BatchLine { line, command }) => {
                self.ops.push((line.unwrap_or(self.line), command));
                if self.ops.len() == BATCH_CHUNK {
                    self.send().await
                } else {
                    Ok(())
                }
            }
            Err(error) => {
                self.send().await?;
                Err(Refusal::invalid(error.to_string()).at_line(self.line))
            }
        }
    }

    async fn send(&mut self) -> Result<(), Refusal> {
        let ops = std::mem::take(&mut self.ops);
        if ops.is_empty() {
            return Ok(());
        }
        let count = ops.len() as u64;
        self.handle.ask(Command::Batch(ops)).await?;
        self.applied += count;
        Ok(())
    }

    async fn finish(mut self) -> Result<u64, Refusal> {
        let last = std::mem::take(&mut self.rest);
        if !last.is_empty() {
            self.line(&last).await?;
        }
        self.send().await?;
        Ok(self.applied)
    }
}

/// Removes everything from the kernel and ends the daemon.
#[utoipa::path(post, path = "/v1/teardown",
    responses((status = 204), (status = 500, body = ErrorBody)))]
async fn teardown(State(handle): State<Handle>) -> Answer {
    ask(&handle, Command::Teardown).await
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json",
    responses((status = 200, description = "An OpenAPI 3.1 document.")))]
async fn openapi() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        documented()
            .into_openapi()
            .to_json()
            .expect("a document of strings is always JSON")
    });
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

/// All metrics, for Prometheus.
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(handle): State<Handle>) -> Answer {
    ask(&handle, Command::Metrics).await
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

// Ways in

fn read_vni(text: &str) -> Result<Vni, Refusal> {
    Ok(text.parse()?)
}

fn read_ip(text: &str) -> Result<IpAddr, Refusal> {
    text.parse()
        .map_err(|_| Refusal::invalid(format!("`{text}` is not an IP address")))
}

impl From<BadValue> for Refusal {
    fn from(bad: BadValue) -> Self {
        Self::invalid(bad.to_string())
    }
}

/// A JSON body.
struct Input<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|error| Refusal::invalid(error.body_text()))?;
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|error| Refusal::invalid(format!("the body is not what is wanted: {error}")))
    }
}

/// The parameters of a query.
struct Params<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(params)| Self(params))
            .map_err(|error| Refusal::invalid(error.body_text()))
    }
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
