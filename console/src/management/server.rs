//! The server: an address that is bound before the node starts, so that the node can tell others of it, and served once the node stands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use holm::{Clock as _, Holm, NodeId, SystemClock, Timestamp};
use holm_projections::ProjectionHandle;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::operations::Operations;
use super::options::{HttpOptions, ServeError};
use super::refusals::Refusals;
use super::{connections, routes};

/// How often the runtime shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// An address that is bound and not served yet; connections wait in the system's queue.
#[derive(Debug)]
pub struct BoundHttp {
    listener: TcpListener,
    address: SocketAddr,
    options: HttpOptions,
}

impl BoundHttp {
    /// Binds the address.
    ///
    /// # Errors
    /// [`ServeError`] when the address cannot be used, or must not be used without a token.
    pub async fn bind(options: HttpOptions) -> Result<Self, ServeError> {
        options.check()?;
        let failed = |source| ServeError::Bind { bind: options.bind, source };
        let listener = TcpListener::bind(options.bind).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, options })
    }

    /// Where it listens, with the port that the system picked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL, as in `http://127.0.0.1:7070`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves `holm` here.
    #[must_use]
    pub fn serve(self, holm: Holm) -> HttpServer {
        self.serve_with(holm, Vec::new())
    }

    /// Serves `holm` here, with the projections that run in this process.
    #[must_use]
    pub fn serve_with(self, holm: Holm, projections: Vec<ProjectionHandle>) -> HttpServer {
        let url = self.url();
        let serving = Arc::new(Serving {
            holm,
            projections,
            address: self.address,
            url: url.clone(),
            replays: Semaphore::new(self.options.limits.concurrent_replays),
            searches: Semaphore::new(self.options.limits.concurrent_searches),
            streams: Arc::new(Semaphore::new(self.options.limits.concurrent_streams)),
            operations: Operations::new(self.options.limits.concurrent_operations),
            refusals: Refusals::default(),
            options: self.options,
            started: Instant::now(),
            beat_ms: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            left: watch::Sender::new(false),
        });
        let (stop, stopped) = watch::channel(false);
        let app = routes::all(Arc::clone(&serving));
        let accepting = connections::accept(self.listener, app, Arc::clone(&serving), stopped);
        let accepting = tokio::spawn(accepting);
        let beating = tokio::spawn(beat(Arc::clone(&serving)));
        HttpServer { address: self.address, url, serving, stop, accepting, beating }
    }
}

/// A running management HTTP.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    url: String,
    serving: Arc<Serving>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    beating: JoinHandle<()>,
}

impl HttpServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL, as in `http://127.0.0.1:7070`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Says by `/readyz` that no more traffic should come; everything is still answered.
    pub fn drain(&self) {
        self.serving.draining.store(true, Ordering::Relaxed);
    }

    /// Resolves when this node was asked to leave its cluster and has left.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn left(&self) {
        let mut left = self.serving.left.subscribe();
        // The sender lives as long as `self`.
        let _ = left.wait_for(|left| *left).await;
    }

    /// Takes no more connections, stops the orders that are under way, lets running requests end within `patience`, and stops.
    pub async fn shutdown(self, patience: Duration) {
        self.drain();
        // First, because requests wait for them.
        self.serving.operations.stop(self.serving.now());
        self.stop.send_replace(true);
        self.beating.abort();
        let accepting = self.accepting.abort_handle();
        if tokio::time::timeout(patience, self.accepting).await.is_err() {
            accepting.abort();
        }
    }
}

/// What every handler sees.
pub(super) struct Serving {
    pub(super) holm: Holm,
    pub(super) projections: Vec<ProjectionHandle>,
    pub(super) address: SocketAddr,
    pub(super) url: String,
    pub(super) options: HttpOptions,
    pub(super) replays: Semaphore,
    pub(super) searches: Semaphore,
    pub(super) streams: Arc<Semaphore>,
    pub(super) operations: Operations,
    pub(super) refusals: Refusals,
    started: Instant,
    /// Milliseconds from `started` to the last heartbeat.
    beat_ms: AtomicU64,
    pub(super) draining: AtomicBool,
    left: watch::Sender<bool>,
}

impl Serving {
    /// The name of this node.
    pub(super) fn name(&self) -> String {
        self.holm.facts().name
    }

    /// The name of a member, or its number when the picture of the cluster lacks it.
    pub(super) fn name_of(&self, node: NodeId) -> String {
        match self.holm.view().member(node) {
            Some(member) => member.name.clone(),
            None if node == self.holm.facts().id => self.name(),
            None => format!("node {node}"),
        }
    }

    /// The present time.
    pub(super) fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    /// How long ago the runtime's heartbeat ran.
    pub(super) fn last_beat(&self) -> Duration {
        let beat = Duration::from_millis(self.beat_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(beat)
    }

    /// Says that this node has left its cluster.
    pub(super) fn has_left(&self) {
        self.left.send_replace(true);
    }
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("url", &self.url).finish_non_exhaustive()
    }
}

async fn beat(serving: Arc<Serving>) {
    let mut every = tokio::time::interval(HEARTBEAT);
    loop {
        every.tick().await;
        let beat = u64::try_from(serving.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        serving.beat_ms.store(beat, Ordering::Relaxed);
    }
}
