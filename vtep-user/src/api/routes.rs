//! What each route does: reads its input, asks the core, and answers.

use std::net::IpAddr;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::ErrorBody;
use super::server;
use crate::model::{
    DropsRow, FdbDel, FdbFilter, FdbRow, FdbSpec, MacAddr, NeighDel, NeighRow, NeighSpec,
    NexthopDel, NexthopRow, NexthopSpec, PeerRow, PeerSpec, PortChange, PortPart, PortRow,
    PortSpec, StatsFilter, StatsRow, Status, Vni, VniFilter, VniRow, VniSpec,
};
use crate::{
    ask::{Command, Handle},
    model::{Op, Refusal},
};

pub(super) type Answer = Result<Response, Refusal>;

async fn ask(handle: &Handle, command: Command) -> Answer {
    Ok(handle.ask(command).await?.into_response())
}

async fn change(handle: &Handle, op: Op) -> Answer {
    ask(handle, Command::Do(op)).await
}

// Handlers

/// The daemon itself.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
pub(super) async fn status(State(handle): State<Handle>) -> Answer {
    ask(&handle, Command::Status).await
}

/// All VNIs.
#[utoipa::path(get, path = "/v1/vnis", responses((status = 200, body = [VniRow])))]
pub(super) async fn vni_list(State(handle): State<Handle>) -> Answer {
    ask(&handle, Command::VniShow(None)).await
}

/// One VNI, as the only row.
#[utoipa::path(get, path = "/v1/vnis/{vni}", params(("vni" = u32, Path)),
    responses((status = 200, body = [VniRow]), (status = 404, body = ErrorBody)))]
pub(super) async fn vni_get(State(handle): State<Handle>, Path(vni): Path<String>) -> Answer {
    ask(&handle, Command::VniShow(Some(read_vni(&vni)?))).await
}

/// Makes a VNI.
#[utoipa::path(post, path = "/v1/vnis/{vni}", params(("vni" = u32, Path)), request_body = VniSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(super) async fn vni_add(
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
pub(super) async fn vni_set(
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
pub(super) async fn vni_del(State(handle): State<Handle>, Path(vni): Path<String>) -> Answer {
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
pub(super) async fn port_list(State(handle): State<Handle>) -> Answer {
    ask(&handle, Command::PortShow(None)).await
}

/// Puts a device, or one VLAN of it, into a VNI.
#[utoipa::path(post, path = "/v1/ports", request_body = PortSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
pub(super) async fn port_add(
    State(handle): State<Handle>,
    Input(spec): Input<Box<PortSpec>>,
) -> Answer {
    change(&handle, Op::PortAdd(spec)).await
}

/// What belongs to a VNI of one device.
#[utoipa::path(get, path = "/v1/ports/{dev}", params(("dev" = String, Path)),
    responses((status = 200, body = [PortRow]), (status = 404, body = ErrorBody)))]
pub(super) async fn port_get(State(handle): State<Handle>, Path(dev): Path<String>) -> Answer {
    ask(&handle, Command::PortShow(Some(dev))).await
}

/// Changes what is given of a port.
#[utoipa::path(patch, path = "/v1/ports/{dev}", params(("dev" = String, Path)),
    request_body = PortChange,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn port_set(
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
pub(super) async fn port_del(
    State(handle): State<Handle>,
    Path(dev): Path<String>,
    Params(part): Params<PortPart>,
) -> Answer {
    change(&handle, Op::PortDel { dev, part }).await
}

/// The FDB entries that match.
#[utoipa::path(get, path = "/v1/fdb", params(FdbFilter),
    responses((status = 200, body = [FdbRow]), (status = 400, body = ErrorBody)))]
pub(super) async fn fdb_list(
    State(handle): State<Handle>,
    Params(filter): Params<FdbFilter>,
) -> Answer {
    ask(&handle, Command::FdbShow(filter)).await
}

/// Writes an FDB entry; refused if the MAC has one.
#[utoipa::path(post, path = "/v1/fdb", request_body = FdbSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 507, body = ErrorBody)))]
pub(super) async fn fdb_add(State(handle): State<Handle>, Input(spec): Input<FdbSpec>) -> Answer {
    change(&handle, Op::FdbAdd(spec)).await
}

/// Writes an FDB entry whether the MAC has one or not.
#[utoipa::path(put, path = "/v1/fdb", request_body = FdbSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 507, body = ErrorBody)))]
pub(super) async fn fdb_replace(
    State(handle): State<Handle>,
    Input(spec): Input<FdbSpec>,
) -> Answer {
    change(&handle, Op::FdbReplace(spec)).await
}

/// Deletes an FDB entry.
#[utoipa::path(delete, path = "/v1/fdb", params(FdbDel),
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn fdb_del(State(handle): State<Handle>, Params(what): Params<FdbDel>) -> Answer {
    change(&handle, Op::FdbDel(what)).await
}

/// Adds a destination to the flood list or to a multicast MAC.
#[utoipa::path(post, path = "/v1/fdb/append", request_body = FdbSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 507, body = ErrorBody)))]
pub(super) async fn fdb_append(
    State(handle): State<Handle>,
    Input(spec): Input<FdbSpec>,
) -> Answer {
    change(&handle, Op::FdbAppend(spec)).await
}

/// Deletes all FDB entries that match.
#[utoipa::path(post, path = "/v1/fdb/flush", request_body = FdbFilter,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn fdb_flush(
    State(handle): State<Handle>,
    Input(filter): Input<FdbFilter>,
) -> Answer {
    change(&handle, Op::FdbFlush(filter)).await
}

/// The entries of one MAC.
#[utoipa::path(get, path = "/v1/fdb/{vni}/{mac}", params(("vni" = u32, Path), ("mac" = String, Path)),
    responses((status = 200, body = [FdbRow]), (status = 404, body = ErrorBody)))]
pub(super) async fn fdb_get(
    State(handle): State<Handle>,
    Path((vni, mac)): Path<(String, String)>,
) -> Answer {
    let (vni, mac) = (read_vni(&vni)?, mac.parse::<MacAddr>()?);
    ask(&handle, Command::FdbGet { mac, vni }).await
}

/// The hosts that ARP and ND are answered for.
#[utoipa::path(get, path = "/v1/neighs", params(VniFilter),
    responses((status = 200, body = [NeighRow]), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody)))]
pub(super) async fn neigh_list(
    State(handle): State<Handle>,
    Params(filter): Params<VniFilter>,
) -> Answer {
    ask(&handle, Command::NeighShow(filter.vni)).await
}

/// Writes a neigh entry; refused if the host has one of the user's.
#[utoipa::path(post, path = "/v1/neighs", request_body = NeighSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 507, body = ErrorBody)))]
pub(super) async fn neigh_add(
    State(handle): State<Handle>,
    Input(spec): Input<NeighSpec>,
) -> Answer {
    change(&handle, Op::NeighAdd(spec)).await
}

/// Writes a neigh entry whether the host has one or not.
#[utoipa::path(put, path = "/v1/neighs", request_body = NeighSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 507, body = ErrorBody)))]
pub(super) async fn neigh_replace(
    State(handle): State<Handle>,
    Input(spec): Input<NeighSpec>,
) -> Answer {
    change(&handle, Op::NeighReplace(spec)).await
}

/// Deletes a neigh entry.
#[utoipa::path(delete, path = "/v1/neighs", params(NeighDel),
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn neigh_del(
    State(handle): State<Handle>,
    Params(what): Params<NeighDel>,
) -> Answer {
    change(&handle, Op::NeighDel(what)).await
}

/// The nexthop table.
#[utoipa::path(get, path = "/v1/nexthops", params(VniFilter),
    responses((status = 200, body = [NexthopRow]), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody)))]
pub(super) async fn nexthop_list(
    State(handle): State<Handle>,
    Params(filter): Params<VniFilter>,
) -> Answer {
    ask(&handle, Command::NexthopShow(filter.vni)).await
}

/// Writes a nexthop entry; refused if the host or prefix has one.
#[utoipa::path(post, path = "/v1/nexthops", request_body = NexthopSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 507, body = ErrorBody)))]
pub(super) async fn nexthop_add(
    State(handle): State<Handle>,
    Input(spec): Input<NexthopSpec>,
) -> Answer {
    change(&handle, Op::NexthopAdd(spec)).await
}

/// Writes a nexthop entry whether the host or prefix has one or not.
#[utoipa::path(put, path = "/v1/nexthops", request_body = NexthopSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 507, body = ErrorBody)))]
pub(super) async fn nexthop_replace(
    State(handle): State<Handle>,
    Input(spec): Input<NexthopSpec>,
) -> Answer {
    change(&handle, Op::NexthopReplace(spec)).await
}

/// Deletes a nexthop entry.
#[utoipa::path(delete, path = "/v1/nexthops", params(NexthopDel),
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn nexthop_del(
    State(handle): State<Handle>,
    Params(what): Params<NexthopDel>,
) -> Answer {
    change(&handle, Op::NexthopDel(what)).await
}

/// All peers.
#[utoipa::path(get, path = "/v1/peers", responses((status = 200, body = [PeerRow])))]
pub(super) async fn peer_list(State(handle): State<Handle>) -> Answer {
    ask(&handle, Command::PeerShow(None)).await
}

/// One peer, as the only row.
#[utoipa::path(get, path = "/v1/peers/{ip}", params(("ip" = String, Path)),
    responses((status = 200, body = [PeerRow]), (status = 404, body = ErrorBody)))]
pub(super) async fn peer_get(State(handle): State<Handle>, Path(ip): Path<String>) -> Answer {
    ask(&handle, Command::PeerShow(Some(read_ip(&ip)?))).await
}

/// Changes what is given of a peer.
#[utoipa::path(patch, path = "/v1/peers/{ip}", params(("ip" = String, Path)), request_body = PeerSpec,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn peer_set(
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
pub(super) async fn stats(
    State(handle): State<Handle>,
    Params(filter): Params<StatsFilter>,
) -> Answer {
    ask(&handle, Command::Stats(filter)).await
}

/// The counters of dropped frames.
#[utoipa::path(get, path = "/v1/drops", responses((status = 200, body = [DropsRow])))]
pub(super) async fn drops(State(handle): State<Handle>) -> Answer {
    ask(&handle, Command::Drops).await
}

/// Removes everything from the kernel and ends the daemon.
#[utoipa::path(post, path = "/v1/teardown",
    responses((status = 204), (status = 500, body = ErrorBody)))]
pub(super) async fn teardown(State(handle): State<Handle>) -> Answer {
    ask(&handle, Command::Teardown).await
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json",
    responses((status = 200, description = "An OpenAPI 3.1 document.")))]
pub(super) async fn openapi() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        server::documented()
            .into_openapi()
            .to_json()
            .expect("a document of strings is always JSON")
    });
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

/// All metrics, for Prometheus.
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(handle): State<Handle>) -> Answer {
    ask(&handle, Command::Metrics).await
}

// Ways in

fn read_vni(text: &str) -> Result<Vni, Refusal> {
    Ok(text.parse()?)
}

fn read_ip(text: &str) -> Result<IpAddr, Refusal> {
    text.parse()
        .map_err(|_| Refusal::invalid(format!("`{text}` is not an IP address")))
}

/// A JSON body.
pub(super) struct Input<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|error| Refusal::invalid(error.body_text()))?;
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|error| Refusal::invalid(format!("the request body is not valid: {error}")))
    }
}

/// The parameters of a query.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(params)| Self(params))
            .map_err(|error| Refusal::invalid(error.body_text()))
    }
}
