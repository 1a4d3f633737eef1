//! The life of a node process: bind, start, say where it is, serve, hand over, stop.

use std::io::Write as _;
use std::time::Duration;

use holm::{Builder, Holm};
use holm_projections::{ProjectionHandle, ViewError};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::NodeError;
use super::{settings, telemetry};
use crate::management::{BoundHttp, HttpServer};

/// Time to hand over and to finish what is under way. Leadership moves in milliseconds; the rest is for a slow disk.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// Time for requests that still run when the node has stopped; what they wait for has been answered by then.
const REQUESTS_END_WITHIN: Duration = Duration::from_secs(2);

/// Time for projections to end their transactions.
const VIEWS_END_WITHIN: Duration = Duration::from_secs(2);

/// What a node prints on one line of its standard output once it can be reached, for whoever started it with ports of the system's choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyLine {
    /// The node's name.
    pub name: String,
    /// Its id in the cluster.
    pub id: u64,
    /// Its process id.
    pub pid: u32,
    /// Where its management HTTP answers, as in `http://127.0.0.1:7070`.
    pub http: String,
    /// Where its peers reach it; absent on a node that stands alone.
    pub peer: Option<String>,
}

/// Runs a node until SIGTERM, SIGINT or a finished leave. Settings of the process win over those of the builder.
///
/// # Errors
/// [`NodeError`] says why the node did not start or did not end well.
///
/// # Cancel safety
/// Dropping the future stops serving the management HTTP but not the node: only its end hands over and closes the store.
pub async fn run_until_stopped(builder: Builder) -> Result<(), NodeError> {
    run_with_projections(builder, |_| Ok(Vec::new())).await
}

/// The same for a node that runs projections: `start` starts them once the node stands, and they are ended before it.
///
/// # Errors
/// As [`run_until_stopped`], and when a view cannot be opened.
///
/// # Cancel safety
/// As [`run_until_stopped`].
pub async fn run_with_projections(
    builder: Builder,
    start: impl FnOnce(&Holm) -> Result<Vec<ProjectionHandle>, ViewError>,
) -> Result<(), NodeError> {
    let mut stop = StopSignals::listen().map_err(NodeError::Runtime)?;
    let mut options = settings::http_from_env()?;
    options.metrics = telemetry::start_metrics();
    let http = BoundHttp::bind(options).await?;
    let mut builder = builder.from_env()?;
    // An address that stands for every interface says nothing to another node.
    if !http.address().ip().is_unspecified() {
        builder = builder.advertise_http(http.url());
    }
    let holm = tokio::select! {
        started = builder.start() => started?,
        () = stop.received() => {
            tracing::info!("stopped before the node had started");
            return Ok(());
        }
    };
    let projections = start(&holm)?;
    let server = http.serve_with(holm.clone(), projections.clone());
    announce(&holm, &server);
    let left = tokio::select! {
        () = stop.received() => false,
        () = server.left() => true,
    };
    // They end between two transactions; what they would still have read is read by the next life.
    let ends = projections.iter().map(ProjectionHandle::stop);
    if tokio::time::timeout(VIEWS_END_WITHIN, futures::future::join_all(ends)).await.is_err() {
        tracing::warn!("a projection did not end in time; its view is whole all the same");
    }
    end(&holm, server, left, stop).await
}

fn announce(holm: &Holm, server: &HttpServer) {
    let facts = holm.facts();
    let line = ReadyLine {
        name: facts.name,
        id: facts.id.get(),
        pid: std::process::id(),
        http: server.url().to_owned(),
        peer: facts.peer.map(|peer| peer.to_string()),
    };
    tracing::info!(node = %line.name, id = line.id, http = %line.http, peer = ?line.peer, "ready");
    let mut stdout = std::io::stdout().lock();
    // Nobody has to read the line; a closed pipe is no reason to stop a node.
    if let Ok(text) = serde_json::to_string(&line) {
        let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    }
}

async fn end(
    holm: &Holm,
    server: HttpServer,
    left: bool,
    mut stop: StopSignals,
) -> Result<(), NodeError> {
    server.drain();
    let mut in_time = true;
    if left {
        tracing::info!("left the cluster");
    } else {
        tracing::info!("handing over and stopping");
        tokio::select! {
            stopped = tokio::time::timeout(STOP_WITHIN, holm.shutdown()) => in_time = stopped.is_ok(),
            // Whoever asks twice wants it now; a crash is safe.
            () = stop.received() => tracing::warn!("asked twice: stopping at once"),
        }
    }
    server.shutdown(REQUESTS_END_WITHIN).await;
    if in_time { Ok(()) } else { Err(NodeError::Stop { seconds: STOP_WITHIN.as_secs() }) }
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
