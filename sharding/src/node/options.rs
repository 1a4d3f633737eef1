//! How a node is told what it is part of, and why it could not become that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holm_core::Clock;
use holm_persistence::Store;

use crate::raft::ConsensusTimes;
use crate::surroundings::Surroundings;
use crate::transport::{PeerLimits, PeersError, Secret};

use super::host::StartHost;

/// How a node is started.
pub struct ClusterOptions {
    /// The cluster's name. Processes of other clusters are refused.
    pub cluster: String,
    /// This node's name, unique in the cluster.
    pub name: String,
    /// Where to listen for peers; port 0 lets the system pick.
    pub listen: SocketAddr,
    /// The address to tell others, when it is not the one listened on.
    pub advertise: Option<SocketAddr>,
    /// Where this node's pages are, when it serves any.
    pub http: Option<String>,
    /// What all processes of the cluster know and nobody else.
    pub secret: Option<Secret>,
    /// Allows listening on an address that other machines reach without a secret.
    pub insecure: bool,
    /// Peer addresses of some members, the same list in the same order on every node. The first one forms the cluster when no other seed
    /// knows one. Without seeds the node forms a cluster of its own.
    pub seeds: Vec<SocketAddr>,
    /// Shards are placed when this many nodes have joined.
    pub expected_nodes: u32,
    /// Replicas of each shard; with fewer nodes there are fewer. Fixed when the cluster is created.
    pub replication: u32,
    /// The number of shards, 1 to [`holm_core::MAX_SHARDS`]. Fixed when the cluster is created.
    pub shards: u32,
    /// How long a member may be silent before its replicas are placed elsewhere, when there is an elsewhere.
    pub down_after: Duration,
    /// How long the log of a replica that moved away is kept, for the case that it is wanted here again: then only the rest has to be sent.
    pub erase_after: Duration,
    /// How long to try to become a member.
    pub join_timeout: Duration,
    /// How fast a lost leader is noticed.
    pub times: ConsensusTimes,
    /// The transport's limits.
    pub peer_limits: PeerLimits,
    /// Commands that may be under way through this node at the same time.
    pub requests_in_flight: usize,
    /// The data directory.
    pub store: Arc<Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What lies around this process.
    pub surroundings: Surroundings,
    /// Starts what runs the entities.
    pub start_host: StartHost,
}

impl ClusterOptions {
    /// A node with default limits: three replicas, 32 shards, one expected node, listening on a loopback port that the system picks.
    #[must_use]
    pub fn new(
        cluster: impl Into<String>,
        name: impl Into<String>,
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        start_host: StartHost,
    ) -> Self {
        Self {
            cluster: cluster.into(),
            name: name.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            http: None,
            secret: None,
            insecure: false,
            seeds: Vec::new(),
            expected_nodes: 1,
            replication: 3,
            shards: 32,
            down_after: Duration::from_secs(10),
            erase_after: Duration::from_secs(10 * 60),
            join_timeout: Duration::from_secs(60),
            times: ConsensusTimes::default(),
            peer_limits: PeerLimits::default(),
            requests_in_flight: 65_536,
            store,
            clock,
            surroundings: Surroundings::default(),
            start_host,
        }
    }
}

/// Why a node could not become a member.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The cluster or a rule of it says no; repeating it does not help.
    #[error("the cluster `{cluster}` refuses this node: {reason}")]
    Refused {
        /// The cluster's name.
        cluster: String,
        /// What does not fit and what to do.
        reason: String,
    },
    /// Nobody answered in time.
    #[error("`{cluster}` could not be joined within {waited:?}: {reason}")]
    NotJoined {
        /// The cluster's name.
        cluster: String,
        /// How long it was tried.
        waited: Duration,
        /// What the last try said.
        reason: String,
    },
    /// The data directory does not fit.
    #[error("this data directory cannot be used: {reason}")]
    Data {
        /// What is wrong and what to do.
        reason: String,
    },
    /// The transport did not start.
    #[error("the transport did not start")]
    Transport(#[from] PeersError),
    /// The log of a group, the host of the entities or the thread could not be started.
    #[error("the node did not start: {reason}")]
    Broken {
        /// What happened.
        reason: String,
    },
}

impl StartError {
    pub(super) fn broken(error: impl ToString) -> Self {
        Self::Broken { reason: error.to_string() }
    }
}

/// Why a node could not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaveError {
    /// The cluster has no leader to agree to it.
    #[error("the cluster cannot agree to it now: {reason}")]
    Unavailable {
        /// What is missing.
        reason: String,
    },
    /// The replicas could not be moved in time; the node goes on.
    #[error("after {waited:?} {shards} shards are still here")]
    Unfinished {
        /// How many.
        shards: usize,
        /// How long it was tried.
        waited: Duration,
    },
    /// The node has stopped already.
    #[error("the node has stopped")]
    Stopped,
}
