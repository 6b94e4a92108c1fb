//! The client of the API.

use std::convert::Infallible;
use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use axum::body::Bytes;
use axum::http::{Method, Request, Response, header};
use futures::{Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::{BatchDone, ErrorBody, socket};
use crate::instance;
use crate::model::Op;
use crate::model::{FdbFilter, MacAddr, StatsFilter, Vni, VniFilter};

/// Why there is no answer, or not the wanted one.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no daemon.
    #[error(
        "no vtep daemon answers at {}; start it with: vtep run --iface <uplink>{}",
        .path.display(), instance::option(.instance)
    )]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// The instance.
        instance: String,
    },
    /// The socket is not for this user.
    #[error("not permitted to use {}; run vtep as root or as a member of the socket's group", .0.display())]
    Denied(PathBuf),
    /// The system refused.
    #[error("cannot connect to {}", .path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The daemon refused.
    #[error("{0}")]
    Refused(String),
    /// The daemon went away.
    #[error("the daemon closed the connection")]
    Broken(#[from] hyper::Error),
    /// The daemon speaks another language.
    #[error("the daemon's answer cannot be read; it may be of another version")]
    Unreadable(#[from] serde_json::Error),
}

type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<RequestBody>,
}

impl Client {
    /// Connects to the daemon of `instance`.
    pub async fn connect(instance: &str) -> Result<Self, ClientError> {
        Self::connect_at(&socket::path(instance), instance).await
    }

    /// As [`Self::connect`], with another path.
    pub async fn connect_at(path: &Path, instance: &str) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path)
            .await
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NoDaemon {
                        path: path.into(),
                        instance: instance.into(),
                    }
                }
                io::ErrorKind::PermissionDenied => ClientError::Denied(path.into()),
                _ => ClientError::Connect {
                    path: path.into(),
                    source,
                },
            })?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Its errors also reach whoever waits for the answer.
        drop(tokio::spawn(connection));
        Ok(Self { sender })
    }

    /// Makes a change.
    pub async fn change(&mut self, op: &Op) -> Result<(), ClientError> {
        let Call { method, path, body } = Call::of(op);
        let body = Full::new(body.into()).boxed_unsync();
        self.send(method, &path, body).await.map(drop)
    }

    /// Reads rows.
    pub async fn rows<T: DeserializeOwned>(&mut self, show: &Show) -> Result<Vec<T>, ClientError> {
        let response = self.get(&show.path()).await?;
        Ok(serde_json::from_slice(
            &response.into_body().collect().await?.to_bytes(),
        )?)
    }

    /// Reads rows as the JSON text that the daemon sends, piece by piece.
    pub async fn rows_text(
        &mut self,
        show: &Show,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<io::Result<()>, ClientError> {
        let mut body = self.get(&show.path()).await?.into_body();
        while let Some(frame) = body.frame().await {
            if let Some(piece) = frame?.data_ref() {
                let taken = take(piece);
                if taken.is_err() {
                    return Ok(taken);
                }
            }
        }
        Ok(Ok(()))
    }

    /// Watches what happens from now on: lines of JSON, in pieces that may end anywhere. The stream ends when the daemon does.
    pub async fn events(
        &mut self,
        filter: &VniFilter,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Unpin + use<>, ClientError> {
        let response = self.get(&with_query("/v1/events", filter)).await?;
        Ok(response
            .into_body()
            .into_data_stream()
            .map(|piece| piece.map_err(ClientError::Broken)))
    }

    /// Sends a batch, lines of JSON in pieces of any size, and returns how many changes were made.
    pub async fn batch<S>(&mut self, pieces: S) -> Result<u64, ClientError>
    where
        S: Stream<Item = Vec<u8>> + Send + 'static,
    {
        let frames = pieces.map(|piece| Ok(Frame::data(Bytes::from(piece))));
        let body = StreamBody::new(frames).boxed_unsync();
        let response = self.send(Method::POST, "/v1/batch", body).await?;
        let body = response.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice::<BatchDone>(&body)?.applied)
    }

    /// Removes everything from the kernel and ends the daemon.
    pub async fn teardown(&mut self) -> Result<(), ClientError> {
        let body = Full::default().boxed_unsync();
        self.send(Method::POST, "/v1/teardown", body)
            .await
            .map(drop)
    }

    async fn get(&mut self, path: &str) -> Result<Response<Incoming>, ClientError> {
        self.send(Method::GET, path, Full::default().boxed_unsync())
            .await
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: RequestBody,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "vtep")
            .body(body)
            .expect("a path is made of encoded parts");
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let body = response.into_body().collect().await?.to_bytes();
        Err(ClientError::Refused(
            serde_json::from_slice::<ErrorBody>(&body)?.error,
        ))
    }
}

/// Rows to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Show {
    /// One VNI or all.
    Vnis(Option<Vni>),
    /// The rows of one port or of all.
    Ports(Option<String>),
    /// FDB entries that match.
    Fdb(FdbFilter),
    /// The FDB entries of one MAC.
    FdbGet {
        /// The MAC.
        mac: MacAddr,
        /// The VNI.
        vni: Vni,
    },
    /// The hosts that ARP and ND are answered for.
    Neighs(VniFilter),
    /// The nexthop table.
    Nexthops(VniFilter),
    /// One peer or all.
    Peers(Option<IpAddr>),
    /// Counters that match.
    Stats(StatsFilter),
    /// Counters of dropped frames.
    Drops,
}

impl Show {
    fn path(&self) -> String {
        match self {
            Self::Vnis(None) => "/v1/vnis".into(),
            Self::Vnis(Some(vni)) => format!("/v1/vnis/{vni}"),
            Self::Ports(None) => "/v1/ports".into(),
            Self::Ports(Some(dev)) => format!("/v1/ports/{}", encode(dev)),
            Self::Fdb(filter) => with_query("/v1/fdb", filter),
            Self::FdbGet { mac, vni } => format!("/v1/fdb/{vni}/{mac}"),
            Self::Neighs(filter) => with_query("/v1/neighs", filter),
            Self::Nexthops(filter) => with_query("/v1/nexthops", filter),
            Self::Peers(None) => "/v1/peers".into(),
            Self::Peers(Some(ip)) => format!("/v1/peers/{ip}"),
            Self::Stats(filter) => with_query("/v1/stats", filter),
            Self::Drops => "/v1/drops".into(),
        }
    }
}

/// The request that makes one change.
struct Call {
    method: Method,
    path: String,
    body: Vec<u8>,
}

impl Call {
    fn of(op: &Op) -> Self {
        match op {
            Op::VniAdd { vni, spec } => Self::new(Method::POST, format!("/v1/vnis/{vni}"), spec),
            Op::VniSet { vni, spec } => Self::new(Method::PATCH, format!("/v1/vnis/{vni}"), spec),
            Op::VniDel { vni } => Self::bare(Method::DELETE, format!("/v1/vnis/{vni}")),
            Op::PortAdd(spec) => Self::new(Method::POST, "/v1/ports", spec),
            Op::PortSet { dev, change } => {
                Self::new(Method::PATCH, format!("/v1/ports/{}", encode(dev)), change)
            }
            Op::PortDel { dev, part } => {
                let path = format!("/v1/ports/{}", encode(dev));
                Self::bare(Method::DELETE, with_query(&path, part))
            }
            Op::FdbAdd(spec) => Self::new(Method::POST, "/v1/fdb", spec),
            Op::FdbAppend(spec) => Self::new(Method::POST, "/v1/fdb/append", spec),
            Op::FdbReplace(spec) => Self::new(Method::PUT, "/v1/fdb", spec),
            Op::FdbDel(what) => Self::bare(Method::DELETE, with_query("/v1/fdb", what)),
            Op::FdbFlush(filter) => Self::new(Method::POST, "/v1/fdb/flush", filter),
            Op::NeighAdd(spec) => Self::new(Method::POST, "/v1/neighs", spec),
            Op::NeighReplace(spec) => Self::new(Method::PUT, "/v1/neighs", spec),
            Op::NeighDel(what) => Self::bare(Method::DELETE, with_query("/v1/neighs", what)),
            Op::NexthopAdd(spec) => Self::new(Method::POST, "/v1/nexthops", spec),
            Op::NexthopReplace(spec) => Self::new(Method::PUT, "/v1/nexthops", spec),
            Op::NexthopDel(what) => Self::bare(Method::DELETE, with_query("/v1/nexthops", what)),
            Op::PeerSet { ip, spec } => Self::new(Method::PATCH, format!("/v1/peers/{ip}"), spec),
        }
    }

    fn new(method: Method, path: impl Into<String>, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("requests are always JSON");
        Self {
            method,
            path: path.into(),
            body,
        }
    }

    fn bare(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            body: Vec::new(),
        }
    }
}

/// A device name as one part of a path.
fn encode(dev: &str) -> impl Display {
    utf8_percent_encode(dev, NON_ALPHANUMERIC)
}

fn with_query(path: &str, filter: &impl Serialize) -> String {
    let query = serde_urlencoded::to_string(filter).expect("filters are flat");
    if query.is_empty() {
        path.into()
    } else {
        format!("{path}?{query}")
    }
}
