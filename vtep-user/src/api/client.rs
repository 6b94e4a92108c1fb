//! The client of the API.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request as HttpRequest, Response, StatusCode, header};
use futures::{Stream, StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::{ApplyLine, BatchDone, ErrorBody, socket};
use crate::instance;
use crate::model::endpoint;
use crate::model::given::Sent;
use crate::model::request::Request;
use crate::model::{
    ApplyOptions, BatchOptions, CaptureFilter, ConfigFile, Op, PlanRow, Query, VniFilter,
};

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
    #[error(
        "not permitted to use {}; run vtep as root or as a member of the group that the daemon's --socket-group names, or --view-group to look only",
        .0.display()
    )]
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
    #[error("{sentence}")]
    Refused {
        /// The status of its answer.
        status: StatusCode,
        /// What it says.
        sentence: String,
        /// The line of a batch that it refused.
        line: Option<u64>,
    },
    /// The daemon does not answer.
    #[error(
        "the daemon did not answer within {} seconds, and does not do what it has not begun; wait longer with: --timeout SECONDS",
        .0.as_secs()
    )]
    TimedOut(Duration),
    /// The daemon went away.
    #[error("the daemon closed the connection")]
    Broken(#[from] hyper::Error),
    /// The daemon speaks another language.
    #[error("the daemon's answer cannot be read; it may be of another version")]
    Unreadable(#[from] serde_json::Error),
}

type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

/// Lines of a file that are sent at a time.
const LINES_AT_ONCE: usize = 512;

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<RequestBody>,
    /// How long the daemon may be silent.
    patience: Option<Duration>,
}

impl Client {
    /// Connects to the daemon of `instance`: by its own socket, or else by the one that only shows.
    pub async fn connect(instance: &str) -> Result<Self, ClientError> {
        let (own, view) = (socket::path(instance), socket::view_path(instance));
        match Self::connect_at(&own, instance).await {
            Err(ClientError::Denied(path)) => Self::connect_at(&view, instance)
                .await
                .map_err(|_| ClientError::Denied(path)),
            connected => connected,
        }
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
        Ok(Self {
            sender,
            patience: None,
        })
    }

    /// The same, which gives up where the daemon is silent for so long; it waits for ever without.
    #[must_use]
    pub fn patient_for(self, patience: Option<Duration>) -> Self {
        Self { patience, ..self }
    }

    /// Makes a change.
    pub async fn change(&mut self, op: Op) -> Result<(), ClientError> {
        let (method, path, body) = call(&op.into());
        let body = Full::new(body.into()).boxed_unsync();
        self.send(method, &path, body).await.map(drop)
    }

    /// Reads rows.
    pub async fn rows<T: DeserializeOwned>(&mut self, query: Query) -> Result<Vec<T>, ClientError> {
        Ok(serde_json::from_slice(&self.show(query).await?)?)
    }

    /// Reads what a query has as its answer, as one piece of JSON.
    pub async fn show(&mut self, query: Query) -> Result<Bytes, ClientError> {
        let (_, path, _) = call(&query.into());
        let mut body = self.get(&path).await?.into_body();
        let mut whole = Vec::new();
        while let Some(piece) = next_piece(&mut body, self.patience).await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }

    /// Reads rows as the JSON text that the daemon sends, piece by piece.
    pub async fn rows_text(
        &mut self,
        query: Query,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<io::Result<()>, ClientError> {
        let (_, path, _) = call(&query.into());
        let mut body = self.get(&path).await?.into_body();
        while let Some(piece) = next_piece(&mut body, self.patience).await? {
            let taken = take(&piece);
            if taken.is_err() {
                return Ok(taken);
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

    /// Captures frames from now on: lines of JSON, in pieces that may end anywhere. The stream ends with the capture.
    ///
    /// # Panics
    ///
    /// If the filter is no JSON, which all are.
    pub async fn capture(
        &mut self,
        filter: &CaptureFilter,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Unpin + use<>, ClientError> {
        self.frames("/v1/capture", filter).await
    }

    /// Traces frames as they come, likewise.
    ///
    /// # Panics
    ///
    /// If the filter is no JSON, which all are.
    pub async fn trace_live(
        &mut self,
        filter: &CaptureFilter,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Unpin + use<>, ClientError> {
        self.frames("/v1/trace", filter).await
    }

    async fn frames(
        &mut self,
        path: &str,
        filter: &CaptureFilter,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Unpin + use<>, ClientError> {
        let body = serde_json::to_vec(filter).expect("filters are always JSON");
        let body = Full::new(body.into()).boxed_unsync();
        let response = self.send(Method::POST, path, body).await?;
        Ok(response
            .into_body()
            .into_data_stream()
            .map(|piece| piece.map_err(ClientError::Broken)))
    }

    /// Ends the capture that runs. One that has ended by itself is no failure.
    pub async fn end_capture(&mut self) -> Result<(), ClientError> {
        let body = Full::default().boxed_unsync();
        match self.send(Method::DELETE, "/v1/capture", body).await {
            Err(ClientError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => Ok(()),
            ended => ended.map(drop),
        }
    }

    /// Sends a batch, lines of JSON in pieces of any size, and returns what it did.
    pub async fn batch<S>(
        &mut self,
        pieces: S,
        options: BatchOptions,
    ) -> Result<BatchDone, ClientError>
    where
        S: Stream<Item = Vec<u8>> + Send + 'static,
    {
        let path = with_query("/v1/batch", &options);
        let response = self.stream(&path, pieces).await?;
        let body = response.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }

    /// Applies a configuration file, and returns what is done, or would be.
    ///
    /// # Panics
    ///
    /// If a line of it is no JSON, which all are.
    pub async fn apply(
        &mut self,
        file: ConfigFile,
        options: &ApplyOptions,
    ) -> Result<Vec<PlanRow>, ClientError> {
        let ConfigFile { run, lines, .. } = file;
        let lines = lines.into_iter().map(ApplyLine::Line);
        let mut lines = run.into_iter().map(ApplyLine::Run).chain(lines);
        let pieces = std::iter::from_fn(move || {
            let mut piece = Vec::new();
            for line in lines.by_ref().take(LINES_AT_ONCE) {
                serde_json::to_writer(&mut piece, &line).expect("requests are always JSON");
                piece.push(b'\n');
            }
            (!piece.is_empty()).then_some(piece)
        });
        let path = with_query("/v1/apply", options);
        let response = self.stream(&path, stream::iter(pieces)).await?;
        let body = response.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }

    /// Sends pieces of a body as they come, and waits for the answer.
    async fn stream<S>(&mut self, path: &str, pieces: S) -> Result<Response<Incoming>, ClientError>
    where
        S: Stream<Item = Vec<u8>> + Send + 'static,
    {
        let silence = Silence::default();
        let pieces = Watched {
            pieces: pieces.boxed(),
            silence: silence.clone(),
        };
        let frames = pieces.map(|piece| Ok(Frame::data(Bytes::from(piece))));
        let body = StreamBody::new(frames).boxed_unsync();
        let patience = self.patience;
        let mut sent = pin!(self.request(Method::POST, path, body));
        loop {
            let Some(patience) = patience else {
                return sent.await;
            };
            let give_up = silence.since().map(|since| since + patience);
            let now = Instant::now();
            match give_up {
                Some(then) if then <= now => return Err(ClientError::TimedOut(patience)),
                _ => {}
            }
            tokio::select! {
                response = &mut sent => return response,
                () = sleep_until(give_up.unwrap_or(now + patience)) => {}
            }
        }
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
        within(self.patience, self.request(method, path, body)).await?
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: RequestBody,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = HttpRequest::builder()
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
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let ErrorBody { error, line } = serde_json::from_slice(&body)?;
        Err(ClientError::Refused {
            status,
            sentence: error,
            line,
        })
    }
}

/// Waits as long as the daemon may be silent.
async fn within<T>(
    patience: Option<Duration>,
    work: impl Future<Output = T>,
) -> Result<T, ClientError> {
    match patience {
        None => Ok(work.await),
        Some(patience) => {
            let done = timeout(patience, work).await;
            done.map_err(|_| ClientError::TimedOut(patience))
        }
    }
}

/// The next piece of an answer.
async fn next_piece(
    body: &mut Incoming,
    patience: Option<Duration>,
) -> Result<Option<Bytes>, ClientError> {
    while let Some(frame) = within(patience, body.frame()).await? {
        if let Ok(piece) = frame?.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

/// Since when the daemon is silent: `None` while it waits for us.
#[derive(Clone, Debug)]
struct Silence(Arc<Mutex<Option<Instant>>>);

impl Default for Silence {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(Instant::now()))))
    }
}

impl Silence {
    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

/// The pieces of a batch, watched as the daemon takes them.
struct Watched {
    pieces: Pin<Box<dyn Stream<Item = Vec<u8>> + Send>>,
    silence: Silence,
}

impl Stream for Watched {
    type Item = Vec<u8>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        let piece = self.pieces.poll_next_unpin(context);
        self.silence.set(piece.is_ready().then(Instant::now));
        piece
    }
}

/// The request for an operation: method and path, and its body.
fn call(request: &Request) -> (Method, String, Vec<u8>) {
    let (to, Sent { keys, query, body }) = request.sent();
    let method = match to.method {
        endpoint::Method::Get => Method::GET,
        endpoint::Method::Post => Method::POST,
        endpoint::Method::Put => Method::PUT,
        endpoint::Method::Patch => Method::PATCH,
        endpoint::Method::Delete => Method::DELETE,
    };
    let mut keys = keys.iter();
    let mut path = String::new();
    for part in to.path.split('/').skip(1) {
        path.push('/');
        if part.starts_with('{') {
            let key = keys.next().expect("a key for each place of the path");
            path.extend(utf8_percent_encode(key, ENCODED));
        } else {
            path.push_str(part);
        }
    }
    if !query.is_empty() {
        path.push('?');
        path.push_str(&query);
    }
    (method, path, body)
}

/// What a key must not have in a path as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b':').remove(b'.');

fn with_query(path: &str, filter: &impl Serialize) -> String {
    let query = serde_urlencoded::to_string(filter).expect("filters are flat");
    if query.is_empty() {
        path.into()
    } else {
        format!("{path}?{query}")
    }
}
