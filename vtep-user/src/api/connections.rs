//! The connections of a server: how many there are, and which of them gives way to a new one.
//!
//! Whoever has asked for something keeps its connection until it has the answer. Whoever keeps us waiting, because its request is
//! not whole or it does not take what it is sent, keeps it as long as there is room: who connects next and says what it wants is
//! served at once, however many do nothing.

use std::{
    fmt::Debug,
    future::Future,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{Router, extract::Request, serve::Listener};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::{Notify, watch},
    task::{AbortHandle, JoinSet},
};

use crate::ask::ClientId;

/// How often it is logged that connections were closed for want of room.
const COMPLAINT_EVERY: Duration = Duration::from_secs(60);

/// What a server grants its clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLimits {
    /// Connections at a time.
    pub(super) connections: usize,
    /// How long the head of a request may take to arrive, also that of the next request on the same connection.
    pub(super) head: Duration,
    /// How long the body of a request may take to arrive, except for a batch.
    pub(super) body: Duration,
}

impl ConnectionLimits {
    /// On the Unix socket.
    pub(super) const SOCKET: Self = Self {
        connections: 128,
        head: Duration::from_secs(10),
        body: Duration::from_secs(10),
    };
    /// On the socket that only shows: those who only look keep nobody out who may do more.
    pub(super) const VIEW: Self = Self {
        connections: 32,
        ..Self::SOCKET
    };
    /// On the TCP port of the metrics: anybody may reach it, and the descriptors that it does not take are the socket's.
    pub(super) const METRICS: Self = Self {
        connections: 32,
        head: Duration::from_secs(5),
        body: Duration::from_secs(5),
    };
}

/// Serves `router` to whoever connects until `ended`, and then lets the answers on their way arrive.
pub(super) async fn serve<L>(
    mut listener: L,
    router: Router,
    limits: ConnectionLimits,
    mut ended: watch::Receiver<bool>,
) where
    L: Listener<Addr: Debug, Io: Caller>,
{
    let router = TowerToHyperService::new(router);
    let mut open = Open::new(limits);
    while let Some((io, _)) = or_end(&mut ended, listener.accept()).await {
        if or_end(&mut ended, open.make_room()).await.is_none() {
            break;
        }
        let standing = Standing::new(limits, io.client(), Arc::clone(&open.changed));
        let standing = Arc::new(standing);
        let service = Routes {
            router: router.clone(),
            standing: Arc::clone(&standing),
        };
        open.spawn(io, service, standing, ended.clone());
    }
    while open.tasks.join_next().await.is_some() {}
}

/// A connection that may know who is at its other end.
pub(super) trait Caller {
    /// Who that is.
    fn client(&self) -> Option<ClientId>;
}

impl Caller for UnixStream {
    fn client(&self) -> Option<ClientId> {
        let cred = self.peer_cred().ok()?;
        Some(ClientId {
            uid: cred.uid(),
            pid: cred.pid(),
        })
    }
}

impl Caller for TcpStream {
    fn client(&self) -> Option<ClientId> {
        None
    }
}

/// What `future` gives, or `None` if the end comes first.
async fn or_end<T>(
    ended: &mut watch::Receiver<bool>,
    future: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        _ = ended.wait_for(|ended| *ended) => None,
        done = future => Some(done),
    }
}

/// The connections that are open.
struct Open {
    limits: ConnectionLimits,
    tasks: JoinSet<()>,
    all: Vec<(Weak<Standing>, AbortHandle)>,
    /// Told when a connection begins to keep us waiting.
    changed: Arc<Notify>,
    complaint: Complaint,
}

impl Open {
    fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            tasks: JoinSet::new(),
            all: Vec::new(),
            changed: Arc::new(Notify::new()),
            complaint: Complaint::default(),
        }
    }

    /// Waits until there is room for one more; the one that has kept us waiting longest gives way.
    async fn make_room(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        while self.tasks.len() >= self.limits.connections {
            self.all.retain(|(standing, _)| standing.strong_count() > 0);
            let longest = self
                .all
                .iter()
                .filter_map(|(standing, task)| Some((standing.upgrade()?.waits_since()?, task)))
                .min_by_key(|(since, _)| *since);
            if let Some((_, task)) = longest {
                task.abort();
                self.complaint.note();
                self.tasks.join_next().await;
            } else {
                // Each of them is owed an answer.
                tokio::select! {
                    _ = self.tasks.join_next() => {}
                    () = self.changed.notified() => {}
                }
            }
        }
    }

    fn spawn<T>(
        &mut self,
        io: T,
        service: Routes,
        standing: Arc<Standing>,
        mut ended: watch::Receiver<bool>,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let listed = Arc::downgrade(&standing);
        let head = self.limits.head;
        let task = self.tasks.spawn(async move {
            let io = TokioIo::new(Watched { io, standing });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(head)
                .serve_connection(io, service);
            let mut connection = pin!(connection);
            let mut served = or_end(&mut ended, connection.as_mut()).await;
            if served.is_none() {
                connection.as_mut().graceful_shutdown();
                served = Some(connection.await);
            }
            if let Some(Err(error)) = served {
                tracing::debug!(%error, "a connection to the API ended");
            }
        });
        self.all.push((listed, task));
    }
}

/// Logs that connections were closed, now and then.
#[derive(Default)]
struct Complaint {
    last: Option<Instant>,
    closed: u64,
}

impl Complaint {
    fn note(&mut self) {
        self.closed += 1;
        if self
            .last
            .is_none_or(|last| last.elapsed() >= COMPLAINT_EVERY)
        {
            tracing::warn!(
                closed = self.closed,
                "too many connections to the API: closed those that had waited longest without a whole request"
            );
            self.last = Some(Instant::now());
            self.closed = 0;
        }
    }
}

/// The routes, for one connection.
struct Routes {
    router: TowerToHyperService<Router>,
    standing: Arc<Standing>,
}

impl Service<Request<Incoming>> for Routes {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(Arc::clone(&self.standing));
        self.router.call(request)
    }
}

/// Who waits for whom on a connection.
#[derive(Debug)]
pub(super) struct Standing {
    /// Who is at the other end, if that is known.
    pub(super) client: Option<ClientId>,
    state: Mutex<ConnectionState>,
    changed: Arc<Notify>,
    /// How long the body of a request may take to arrive.
    pub(super) body: Duration,
}

#[derive(Debug)]
struct ConnectionState {
    /// When bytes last went either way.
    moved: Instant,
    /// Answers that we owe.
    owed: u32,
    /// The client does not take what it is sent.
    stuck: bool,
}

impl Standing {
    fn new(limits: ConnectionLimits, client: Option<ClientId>, changed: Arc<Notify>) -> Self {
        Self {
            client,
            state: Mutex::new(ConnectionState {
                moved: Instant::now(),
                owed: 0,
                stuck: false,
            }),
            changed,
            body: limits.body,
        }
    }

    /// The client waits for us as long as the guard lives.
    pub(super) fn owe(self: &Arc<Self>) -> Owed {
        self.state().owed += 1;
        Owed(Arc::clone(self))
    }

    /// Since when we wait for the client, if we do.
    fn waits_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.owed == 0 || state.stuck).then_some(state.moved)
    }

    fn set_stuck(&self, stuck: bool) {
        self.state().stuck = stuck;
        if stuck {
            self.changed.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that is owed.
#[derive(Debug)]
pub(super) struct Owed(Arc<Standing>);

impl Drop for Owed {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.owed -= 1;
        state.moved = Instant::now();
        drop(state);
        self.0.changed.notify_one();
    }
}

/// A stream that says when bytes move, and when they do not.
struct Watched<T> {
    io: T,
    standing: Arc<Standing>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.standing.state().moved = Instant::now();
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> Watched<T> {
    fn note(&self, written: &Poll<io::Result<usize>>) {
        self.standing.set_stuck(written.is_pending());
        if written.is_ready() {
            self.standing.state().moved = Instant::now();
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, pieces);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
