//! The cluster as one node sees it: members, shards and who leads them. What `GET /api/v1/cluster` shows and what routers learn from.

use std::net::SocketAddr;

use holm_core::{NodeId, ShardId, Term, Timestamp};
use serde::{Deserialize, Serialize};

/// A picture of the cluster. It may be a moment old; nothing is decided from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// The cluster's name.
    pub cluster: String,
    /// The last fact of the cluster log that is in the picture.
    pub version: u64,
    /// Every member that has not left.
    pub members: Vec<MemberView>,
    /// Every shard, in the order of their numbers.
    pub shards: Vec<ShardView>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// Its id, given by the cluster log.
    pub id: NodeId,
    /// Its name, chosen by a person.
    pub name: String,
    /// Where its peers reach it.
    pub peer: SocketAddr,
    /// Where people and programs reach its pages, when it serves any.
    pub http: Option<String>,
    /// What it is doing.
    pub state: MemberState,
    /// Which start of the process this is.
    pub incarnation: u64,
    /// Since when it has been in this state.
    pub since: Timestamp,
}

/// What a member is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Admitted; its replicas catch up.
    Joining,
    /// It serves.
    Up,
    /// It has not been heard of for a moment.
    Suspect,
    /// It hands its shards over and will go.
    Leaving,
    /// It is surely or very probably dead.
    Down,
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardView {
    /// Its number.
    pub id: ShardId,
    /// Who leads it, as far as known.
    pub leader: Option<NodeId>,
    /// The term of that leader.
    pub term: Term,
    /// The nodes that hold a copy of its log.
    pub replicas: Vec<NodeId>,
    /// Whether it takes commands.
    pub state: ShardState,
}

/// Whether a shard takes commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardState {
    /// Its leader takes commands.
    Serving,
    /// It has a majority, and a leader is being found or is reading the log.
    Recovering,
    /// Its leader is handing over to another replica.
    HandingOff,
    /// The majority of its replicas is gone or it has none yet.
    Unassigned,
}

impl ClusterView {
    /// The member with this id.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&MemberView> {
        self.members.iter().find(|member| member.id == id)
    }

    /// The shard with this number.
    #[must_use]
    pub fn shard(&self, id: ShardId) -> Option<&ShardView> {
        let shard = self.shards.get(id.0 as usize)?;
        // Shards stand in order; the check makes a malformed picture from a peer harmless.
        (shard.id == id).then_some(shard)
    }
}
