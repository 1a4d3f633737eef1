//! The cluster node: one process's part in a cluster. It joins, hosts its share of the shards, and takes part in deciding who hosts what.
//!
//! All of it runs on one thread of its own with a current-thread tokio runtime: consensus, transport and gossip share no thread with
//! handlers, fsync or snapshots. The methods here may be called from any runtime.

mod host;
mod options;

use std::net::SocketAddr;
use std::sync::Arc;

use holm_core::NodeId;
use holm_persistence::ShardLog;
use tokio::sync::watch;

use crate::router::Router;
use crate::view::ClusterView;

pub use host::{HostSeat, HostedShards, SnapshotHook, StartHost};
pub use options::{ClusterOptions, LeaveError, StartError};

/// A running member of a cluster. Clones share it; it runs until [`ClusterNode::leave`] or [`ClusterNode::shutdown`], or until the last
/// clone is dropped, which is like a crash.
#[derive(Clone)]
pub struct ClusterNode(Arc<()>);

impl ClusterNode {
    /// Starts the node and resolves when it is a member: it formed the cluster, joined it, or came back to it. Shards may still be on
    /// their way; [`ClusterNode::view`] tells.
    ///
    /// # Errors
    /// [`StartError`] when the node cannot be part of this cluster.
    pub async fn start(options: ClusterOptions) -> Result<Self, StartError> {
        let _ = options;
        unimplemented!()
    }

    /// This node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        unimplemented!()
    }

    /// Where peers reach this node.
    #[must_use]
    pub fn peer_address(&self) -> SocketAddr {
        unimplemented!()
    }

    /// The newest picture of the cluster.
    #[must_use]
    pub fn view(&self) -> Arc<ClusterView> {
        unimplemented!()
    }

    /// Pictures of the cluster as they come.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<ClusterView>> {
        unimplemented!()
    }

    /// The way to every entity of the cluster.
    #[must_use]
    pub fn router(&self) -> &Router {
        unimplemented!()
    }

    /// The log of the shards that this node holds a replica of.
    #[must_use]
    pub fn log(&self) -> Arc<dyn ShardLog> {
        unimplemented!()
    }

    /// Leaves the cluster for good: hands over every shard it leads, moves its replicas away where there is another node to take them, and
    /// stops. Callers of its shards see a short wait, no error.
    ///
    /// # Errors
    /// [`LeaveError`] when the cluster cannot let it go now; the node then goes on.
    pub async fn leave(&self) -> Result<(), LeaveError> {
        unimplemented!()
    }

    /// Hands over the leadership of every shard it leads, then stops. The node stays a member and may come back; for rolling updates.
    pub async fn shutdown(&self) {
        unimplemented!()
    }
}
