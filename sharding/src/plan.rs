//! The placement plan: which nodes hold which shard, and who should lead it. A pure function of members, shards, replication factor and the plan before.

use holm_core::{NodeId, ShardId};
use serde::{Deserialize, Serialize};

/// Where every shard belongs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Rises by one with every plan that differs from the one before.
    pub version: u64,
    /// The members that the plan was made for, in ascending order.
    pub members: Vec<NodeId>,
    /// The replication factor that was asked for; with fewer members there are fewer replicas.
    pub replication: u32,
    /// The place of each shard, in the order of their numbers.
    pub shards: Vec<ShardPlan>,
}

/// Where one shard belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardPlan {
    /// The nodes that hold it: distinct, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// The replica that should lead it.
    pub preferred: NodeId,
}

impl Plan {
    /// The place of one shard.
    #[must_use]
    pub fn shard(&self, shard: ShardId) -> Option<&ShardPlan> {
        self.shards.get(shard.0 as usize)
    }
}

/// The plan for these members.
///
/// # Panics
/// When there is no member, no shard or a replication factor of zero: no cluster is like that.
#[must_use]
pub fn plan(members: &[NodeId], shards: u32, replication: u32, previous: Option<&Plan>) -> Plan {
    let _ = (members, shards, replication, previous);
    unimplemented!()
}
