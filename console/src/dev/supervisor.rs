//! The supervisor: one loop on one thread that owns every process of the local cluster.
//!
//! Everything reaches it as an event (a child said or ended something, somebody asked for something, a signal, a second passed) and it answers by
//! starting and signalling processes. It never waits for one of them inside the loop, so it always answers.

mod children;
mod data;
mod live;
mod readiness;
mod requests;
mod shutdown;
mod start;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::data::DataDirectory;
use super::await_ready::Serving;
use super::control::{self, Asked, Response};
use super::ports::NodePorts;
use super::process::ChildEvent;
use super::screen::{Screen, ServedShards};
use super::state::{DevStatus, LoadStatus, NodeStatus};
use super::{DevArgs, DevPaths};
use crate::api_client::ApiClient;
use crate::load::LoadReport;
use crate::output::{Exit, Failure, Output};

/// The name under which the load generator is known.
pub(super) const LOAD: &str = "load";

/// Reports of the load generator that are kept; it sends five a second.
const REPORTS_KEPT: usize = 300;

/// One node process.
#[derive(Debug)]
struct NodeProcess {
    status: NodeStatus,
    ports: NodePorts,
    /// Printed its ready line.
    ready: bool,
    /// A client of its HTTP, once it said where that is.
    client: Option<ApiClient>,
    /// Who waits for it to end and be started again.
    restart: Option<oneshot::Sender<Response>>,
    started_us: u64,
}

/// The load generator's process.
#[derive(Debug, Default)]
struct LoadProcess {
    pid: u32,
    reports: VecDeque<LoadReport>,
    open_announced: bool,
}

/// The local cluster and its processes.
#[derive(Debug)]
pub(super) struct Supervisor {
    args: DevArgs,
    paths: DevPaths,
    screen: Screen,
    cluster: String,
    data: DataDirectory,
    socket: PathBuf,
    nodes: Vec<NodeProcess>,
    /// How many nodes were started first; a joining node is told the same number.
    expected_nodes: u32,
    load: LoadProcess,
    serving: Option<Serving>,
    /// When every shard must be served.
    ready_by: Instant,
    /// A look at how many shards are served is under way.
    looking: bool,
    children: mpsc::UnboundedSender<ChildEvent>,
    readiness: mpsc::Sender<Result<Serving, String>>,
    shards: mpsc::Sender<Option<ServedShards>>,
    /// Kept open: the lock is the sign that this supervisor lives.
    _lock: std::fs::File,
}

/// What reaches the loop.
struct Inputs {
    children: mpsc::UnboundedReceiver<ChildEvent>,
    asked: mpsc::Receiver<Asked>,
    readiness: mpsc::Receiver<Result<Serving, String>>,
    shards: mpsc::Receiver<Option<ServedShards>>,
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

/// Why the loop ended.
enum End {
    /// Ctrl-C, SIGTERM, or `holm dev stop`.
    Asked,
    /// It cannot go on.
    Failed(Failure),
}

/// Starts a local cluster and runs it until somebody ends it.
///
/// # Errors
/// When the cluster does not come to serve, with everything already cleaned up.
pub(super) async fn run(args: DevArgs, paths: DevPaths, output: Output) -> Result<Exit, Failure> {
    let (mut supervisor, mut inputs) = start::prepare(args, paths, output)?;
    let end = match supervisor.start_nodes() {
        Ok(()) => supervisor.watch(&mut inputs).await,
        Err(error) => End::Failed(Failure::new("the nodes cannot be started", error)),
    };
    supervisor.shut_down(&mut inputs).await;
    match end {
        End::Asked => Ok(Exit::Ok),
        End::Failed(failure) => Err(failure),
    }
}

impl Supervisor {
    async fn watch(&mut self, inputs: &mut Inputs) -> End {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            let went = tokio::select! {
                Some(event) = inputs.children.recv() => self.take_child_event(event),
                Some((request, answer)) = inputs.asked.recv() => match self.take_request(request, answer) {
                    requests::Next::GoOn => Ok(()),
                    requests::Next::Stop => return End::Asked,
                },
                Some(outcome) = inputs.readiness.recv() => self.take_readiness(outcome),
                Some(seen) = inputs.shards.recv() => { self.take_shards(seen); Ok(()) }
                _ = second.tick() => { self.look_around(); self.check_ready_lines() }
                _ = inputs.interrupt.recv() => return End::Asked,
                _ = inputs.terminate.recv() => return End::Asked,
                _ = inputs.hang_up.recv() => return End::Asked,
            };
            if let Err(failure) = went {
                return End::Failed(failure);
            }
        }
    }

    /// Everything it knows, for others.
    fn status(&self) -> DevStatus {
        DevStatus {
            cluster: self.cluster.clone(),
            data_dir: self.data.path().to_owned(),
            temporary: self.data.is_temporary(),
            domain: self.args.domain.name().to_owned(),
            shards: self.args.shards,
            replication: self.args.replication(),
            supervisor: std::process::id(),
            serving: self.serving.is_some(),
            nodes: self.nodes.iter().map(|node| node.status.clone()).collect(),
            load: self.drives_load().then(|| LoadStatus {
                pid: self.load.pid,
                rate: self.args.load,
                reports: self.load.reports.iter().cloned().collect(),
            }),
            ledger: self.data.ledger(),
        }
    }

    fn write_state(&mut self) {
        if let Err(error) = super::state::write(&self.paths, &self.status(), &self.socket) {
            self.screen.warn(&format!("the state file cannot be written: {error}"));
        }
    }

    /// True when the cluster serves what the load generator works with, and it is wanted.
    fn drives_load(&self) -> bool {
        let bank = self.serving.as_ref().is_some_and(|serving| serving.bank);
        bank && self.args.domain.has_load() && !self.args.no_load
    }
}

fn inputs(
    listener: UnixListener,
    children: mpsc::UnboundedReceiver<ChildEvent>,
    readiness: mpsc::Receiver<Result<Serving, String>>,
    shards: mpsc::Receiver<Option<ServedShards>>,
) -> std::io::Result<Inputs> {
    let (asking, asked) = mpsc::channel(64);
    tokio::spawn(control::serve(listener, asking));
    Ok(Inputs {
        children,
        asked,
        readiness,
        shards,
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
        hang_up: signal(SignalKind::hangup())?,
    })
}
