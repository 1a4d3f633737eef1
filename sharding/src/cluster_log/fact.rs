//! The facts of a cluster, as they stand in its log. Their order in the enum is their number in the encoding: new ones go to the end.

use std::net::SocketAddr;

use holm_core::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::plan::Plan;

/// Something that happened to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fact {
    /// The cluster began. The first fact, once.
    Created {
        /// Drawn by the founder; what tells this cluster from any other, also of the same name.
        cluster: u128,
        /// Its name.
        name: String,
        /// The number of shards, for good.
        shards: u32,
        /// Replicas of each shard, for good.
        replication: u32,
        /// Shards are placed when this many nodes are up.
        expected_nodes: u32,
        /// When.
        at: Timestamp,
    },
    /// A data directory became a node.
    NodeAdmitted {
        /// Its id: the next one that was never used.
        node: NodeId,
        /// The data directory's id. Another directory is another node.
        directory: u128,
        /// What is known of its process.
        facts: NodeFacts,
        /// When.
        at: Timestamp,
    },
    /// A node's process started again, perhaps at another address.
    NodeReturned {
        /// Which node.
        node: NodeId,
        /// What is known of its process now.
        facts: NodeFacts,
        /// When.
        at: Timestamp,
    },
    /// A node follows the cluster log and can hold shards.
    NodeUp {
        /// Which node.
        node: NodeId,
        /// When.
        at: Timestamp,
    },
    /// A node has been silent for so long that its replicas may be placed elsewhere.
    NodeDown {
        /// Which node.
        node: NodeId,
        /// When.
        at: Timestamp,
    },
    /// A node wants to go; its replicas are moved away.
    NodeLeaving {
        /// Which node.
        node: NodeId,
        /// When.
        at: Timestamp,
    },
    /// A node is gone for good. Its id is never used again.
    NodeLeft {
        /// Which node.
        node: NodeId,
        /// When.
        at: Timestamp,
    },
    /// Where shards belong from now on. The first plan also says who founds the shards' groups.
    PlanAdopted {
        /// The plan.
        plan: Plan,
        /// When.
        at: Timestamp,
    },
}

/// What is known of a node's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeFacts {
    /// Its name, unique in the cluster.
    pub(crate) name: String,
    /// Where its peers reach it.
    pub(crate) peer: SocketAddr,
    /// Where its pages are.
    pub(crate) http: Option<String>,
    /// Which start of the process.
    pub(crate) incarnation: u64,
}
