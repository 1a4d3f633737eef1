//! The cluster node: one process's part in a cluster. It joins, hosts its share of the shards, and takes part in deciding who hosts what.
//!
//! All of it runs on one thread of its own with a current-thread tokio runtime: consensus, transport and gossip share no thread with
//! handlers, fsync or snapshots. The methods here may be called from any runtime.

mod admission;
mod announcing;
mod beating;
mod calming;
mod core;
mod erasing;
mod failover;
mod founding;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gate;
mod groups;
mod host;
mod joining;
mod keeper;
mod leadership;
mod leading;
mod leaving;
mod messages;
mod options;
mod reports;
mod resting;
mod seated;
mod start;
mod steward;
mod thread;
mod troubles;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use holm_core::{NodeId, ShardId};
use holm_persistence::ShardLog;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::router::Router;
use crate::view::ClusterView;

use self::core::{Core, lock};
pub use host::{HostSeat, HostedShards, SnapshotHook, StartHost};
pub use options::{ClusterOptions, LeaveError, StartError};

/// A running member of a cluster. Clones share it; it runs until [`ClusterNode::leave`] or [`ClusterNode::shutdown`], or until the last
/// clone is dropped, which is like a crash.
#[derive(Clone)]
pub struct ClusterNode(Arc<Running>);

struct Running {
    core: Arc<Core>,
    runtime: Handle,
    /// What is left to be stopped; none when it was.
    stop: Mutex<Option<Stop>>,
}

/// How a node is stopped.
enum Stop {
    /// Its thread: with somebody to tell, or by being dropped.
    Thread(oneshot::Sender<oneshot::Sender<()>>),
    /// Its runtime is the caller's.
    Here,
}

impl ClusterNode {
    /// Starts the node and resolves when it is a member: it formed the cluster, joined it, or came back to it. Shards may still be on
    /// their way; [`ClusterNode::view`] tells.
    ///
    /// # Errors
    /// [`StartError`] when the node cannot be part of this cluster.
    ///
    /// # Cancel safety
    /// Dropping the future stops the node as soon as it is up.
    pub async fn start(options: ClusterOptions) -> Result<Self, StartError> {
        let (ready, started) = oneshot::channel();
        let (stop, stopping) = oneshot::channel();
        thread::run(options, ready, stopping)
            .map_err(|error| StartError::Broken { reason: error.to_string() })?;
        let (core, runtime) = started
            .await
            .map_err(|_| StartError::Broken { reason: "the cluster thread ended".to_owned() })??;
        Ok(Self(Arc::new(Running { core, runtime, stop: Mutex::new(Some(Stop::Thread(stop))) })))
    }

    /// The same on the present runtime, without a thread of its own. Dropping the runtime is like a crash.
    ///
    /// # Errors
    /// As [`ClusterNode::start`].
    pub async fn start_here(options: ClusterOptions) -> Result<Self, StartError> {
        let core = start::start(options).await?;
        let (runtime, stop) = (Handle::current(), Mutex::new(Some(Stop::Here)));
        Ok(Self(Arc::new(Running { core, runtime, stop })))
    }

    /// This node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.core.me()
    }

    /// Where peers reach this node.
    #[must_use]
    pub fn peer_address(&self) -> SocketAddr {
        self.0.core.setup.facts.peer
    }

    /// The newest picture of the cluster.
    #[must_use]
    pub fn view(&self) -> Arc<ClusterView> {
        self.0.core.views.borrow().clone()
    }

    /// Pictures of the cluster as they come.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<ClusterView>> {
        self.0.core.views.subscribe()
    }

    /// The way to every entity of the cluster.
    #[must_use]
    pub fn router(&self) -> &Router {
        self.0.core.router()
    }

    /// The log of the shards that this node holds a replica of.
    #[must_use]
    pub fn log(&self) -> Arc<dyn ShardLog> {
        self.0.core.log.clone()
    }

    /// Who votes in the cluster log, as far as this node knows. In the first second of a cluster that is its founder alone, whose disk is the
    /// majority then; later it is three nodes, or five of many.
    #[must_use]
    pub fn cluster_voters(&self) -> Vec<NodeId> {
        let metrics = self.0.core.cluster_group.metrics();
        metrics.committed_membership_config.voter_ids().map(NodeId).collect()
    }

    /// The shards of which this node holds a replica that rests: nothing was asked of their leaders for a while, so their groups neither beat
    /// nor watch a clock until something is.
    #[must_use]
    pub fn resting_shards(&self) -> Vec<ShardId> {
        self.0.core.resting_shards()
    }

    /// The most bytes that wait to be sent in each lane of any connection, in the order of [`crate::Lane`].
    #[must_use]
    pub fn most_unsent(&self) -> [usize; 3] {
        self.0.core.peers.most_unsent()
    }

    /// Leaves the cluster for good: hands over every shard it leads, moves its replicas away where there is another node to take them, and
    /// stops. Callers of its shards see a short wait, no error.
    ///
    /// # Errors
    /// [`LeaveError`] when the cluster cannot let it go now; the node then goes on.
    pub async fn leave(&self) -> Result<(), LeaveError> {
        let core = self.0.core.clone();
        self.0
            .runtime
            .spawn(async move { core.leave().await })
            .await
            .map_err(|_| LeaveError::Stopped)??;
        self.stop().await;
        Ok(())
    }

    /// Hands over the leadership of every shard it leads that another node can take, finishes what is under way in the others, then stops. The node stays a member and may come back; for rolling updates.
    pub async fn shutdown(&self) {
        let core = self.0.core.clone();
        // An error means that the thread has ended already, and with it everything that was to be handed over.
        let handed_over = async move {
            core.finish_alone().await;
            core.hand_over_all().await;
        };
        let _ = self.0.runtime.spawn(handed_over).await;
        self.stop().await;
    }

    async fn stop(&self) {
        let stop = lock(&self.0.stop).take();
        let Some(stop) = stop else { return };
        let core = self.0.core.clone();
        let _ = self.0.runtime.spawn(async move { core.stop().await }).await;
        let Stop::Thread(stop) = stop else { return };
        let (done, stopped) = oneshot::channel();
        if stop.send(done).is_ok() {
            let _ = stopped.await;
        }
    }
}
