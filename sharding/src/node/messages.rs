//! What nodes say to each other besides commands and consensus: the wish to join or leave, who leads what, copies of snapshots.

use std::net::SocketAddr;

use bytes::Bytes;
use holm_core::{EntityAddress, NodeId, Offset, SequenceNumber, ShardId, Term, Timestamp};
use holm_persistence::{Snapshot, encode};
use serde::{Deserialize, Serialize};

use crate::cluster_log::NodeFacts;
use crate::wire::Message;

pub(super) const JOIN: u8 = 1;
pub(super) const REPORT: u8 = 2;
pub(super) const LEAVE: u8 = 3;
pub(super) const SNAPSHOT: u8 = 4;

/// "I want to be a member", or "I am one and am back".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JoinRequest {
    /// The cluster that is meant.
    pub(super) cluster: String,
    /// The data directory's id.
    pub(super) directory: u128,
    /// Cluster and node that the data directory says it is.
    pub(super) member: Option<(u128, NodeId)>,
    /// What is known of the process.
    pub(super) facts: NodeFacts,
    /// The number of shards it was told.
    pub(super) shards: u32,
    /// The replication factor it was told.
    pub(super) replication: u32,
    /// Whether a member passed it on already; it is passed on once.
    pub(super) forwarded: bool,
}

/// What is said to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum JoinAnswer {
    /// It is a member.
    Member {
        /// Which cluster.
        cluster: u128,
        /// Which node it is.
        node: NodeId,
        /// Where the others are.
        peers: Vec<(NodeId, SocketAddr)>,
    },
    /// The asked one knows no cluster either.
    NotFormed,
    /// There is a cluster, but it cannot decide now.
    Wait {
        /// What is missing.
        reason: String,
        /// Where the others are.
        peers: Vec<(NodeId, SocketAddr)>,
    },
    /// Never.
    Refused {
        /// What does not fit and what to do.
        reason: String,
    },
}

/// "This node wants to leave."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaveRequest {
    pub(super) node: NodeId,
    pub(super) forwarded: bool,
}

/// Which shards a node leads at this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) node: NodeId,
    pub(super) incarnation: u64,
    pub(super) led: Vec<LedShard>,
}

/// A shard that a node leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LedShard {
    pub(super) shard: ShardId,
    pub(super) term: Term,
    pub(super) phase: LeadPhase,
    /// Everybody in the group's committed membership; voters first.
    pub(super) members: Vec<NodeId>,
    /// How many of them vote.
    pub(super) voters: u32,
    /// Whether no change of the membership is under way.
    pub(super) settled: bool,
}

/// How far a leadership is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LeadPhase {
    Opening,
    Serving,
    HandingOff,
}

/// A snapshot that the leader saved, for the cache of the other replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotCopy {
    pub(super) shard: ShardId,
    pub(super) address: EntityAddress,
    pub(super) sequence: SequenceNumber,
    pub(super) offset: Offset,
    pub(super) at: Timestamp,
    pub(super) payload: Bytes,
}

impl SnapshotCopy {
    /// The snapshot itself.
    pub(super) fn into_snapshot(self) -> (ShardId, EntityAddress, Snapshot) {
        let Self { shard, address, sequence, offset, at, payload } = self;
        (shard, address, Snapshot { sequence, offset, at, payload })
    }
}

/// The body of a request of this kind; none when it cannot be encoded.
pub(super) fn body(kind: u8, message: &impl Serialize) -> Option<Bytes> {
    let bytes = encode(message).ok()?;
    Some(Message::Cluster { kind, bytes }.encode())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::resting::Shared;
    use crate::wire::shape::walk;

    /// Promise G9: nothing that a node sends costs the other one more than its bytes.
    #[test]
    fn no_message_between_nodes_is_a_bomb() {
        for ways in [
            walk::<JoinRequest>(),
            walk::<JoinAnswer>(),
            walk::<LeaveRequest>(),
            walk::<Report>(),
            walk::<SnapshotCopy>(),
            walk::<Shared>(),
        ] {
            assert!(ways.as_ref().is_ok_and(|ways| *ways > 0), "{ways:?}");
        }
    }
}
