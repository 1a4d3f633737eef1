//! The seam to what runs entities: the node tells it which shards to lead, under which term, and it does the rest.

use std::sync::Arc;

use holm_core::{EntityAddress, NodeId, ShardId, Term};
use holm_persistence::{OpenError, Pending, ShardLog, Snapshot};
use holm_runtime::{Asker, ClusterEvent, FailureKind, Subject};

use crate::router::LocalShards;

/// Called with each snapshot that this node saved; copies it to the other replicas. Does not block.
pub type SnapshotHook = Arc<dyn Fn(ShardId, &EntityAddress, &Snapshot) + Send + Sync>;

/// What a host needs to know, once the node has its id.
pub struct HostSeat {
    /// This node.
    pub node: NodeId,
    /// The number of shards of the cluster.
    pub shards: u32,
    /// The replicated log of the shards.
    pub log: Arc<dyn ShardLog>,
    /// To be called with each saved snapshot.
    pub on_snapshot: SnapshotHook,
}

/// Starts what runs entities. Called once, when the node has its id.
pub type StartHost =
    Box<dyn FnOnce(HostSeat) -> Result<Arc<dyn HostedShards>, String> + Send + 'static>;

/// What runs the entities of the shards that this node leads. Implemented for the runtime's shard host.
pub trait HostedShards: LocalShards {
    /// Begins to lead a shard at a term: opens its log and takes commands. Leading again at a newer term replaces the old leadership.
    fn lead(&self, shard: ShardId, term: Term) -> Pending<Result<(), OpenError>>;

    /// Finishes what is under way and takes no more; resolves when nothing is under way. Commands that come later are answered "moved".
    fn drain(&self, shard: ShardId) -> Pending<()>;

    /// Stops leading at once: what is under way is answered "interrupted".
    fn depose(&self, shard: ShardId);

    /// Says how this node reaches entities, wherever they are. Called once, when the router runs.
    fn connect(&self, asker: Arc<dyn Asker>);

    /// Takes over something that failed in the cluster, to be stored as a fact. Does not block.
    fn report(&self, kind: FailureKind, subject: Subject, reason: &str);

    /// Takes over what happened to the cluster, to be stored as a fact. Does not block.
    fn announce(&self, event: ClusterEvent);

    /// Stops for good.
    fn stop(&self);
}
