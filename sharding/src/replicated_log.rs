//! The shard log of a cluster: every shard's log is a Raft group, its leader's term is the fence, and a batch is durable when a majority has it.
//!
//! The fence has two sides. The leader appends a batch only while it still leads at the term under which the batch was made; and every
//! replica, on following the committed entry, refuses a batch whose term is not its leader's or whose first offset does not come next. So
//! what a deposed leader sends late is refused by all replicas alike, by what stands in the log and not by a clock (promise G3).

mod follower;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod live_index;
mod reading;
mod replica;
mod starting;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use holm_core::{CorrelationId, EntityAddress, Offset, SequenceNumber, ShardId, Term};
use holm_persistence::{
    AppendError, Batch, Conversation, History, OpenError, Opened, Pending, ReadError, ShardLog,
    Snapshot, SnapshotCriteria, SnapshotStore, Store, Trims,
};
use tokio::sync::mpsc;

use follower::ShardFollower;
pub(crate) use replica::Replica;
pub(crate) use starting::GroupSeat;

/// The logs of all shards that this node holds a replica of.
pub struct ReplicatedLog {
    store: Arc<Store>,
    snapshots: SnapshotStore,
    trims: Trims,
    replicas: RwLock<BTreeMap<ShardId, Arc<Replica>>>,
    failures: mpsc::UnboundedSender<Interrupted>,
}

/// A leadership whose write was not acknowledged: it takes no more writes until the shard is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interrupted {
    pub(crate) shard: ShardId,
    pub(crate) term: Term,
}

impl fmt::Debug for ReplicatedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicatedLog").finish_non_exhaustive()
    }
}

impl ReplicatedLog {
    /// A log without shards. Leaderships that can write no more are told to `failures`.
    pub(crate) fn new(store: Arc<Store>, failures: mpsc::UnboundedSender<Interrupted>) -> Self {
        Self {
            snapshots: SnapshotStore::new(&store),
            trims: Trims::new(&store),
            store,
            replicas: RwLock::default(),
            failures,
        }
    }

    /// Takes in a replica whose group runs.
    fn insert(&self, replica: Arc<Replica>) {
        self.replicas
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(replica.shard(), replica);
    }

    /// Lets a replica go.
    pub(crate) fn remove(&self, shard: ShardId) -> Option<Arc<Replica>> {
        self.replicas.write().unwrap_or_else(PoisonError::into_inner).remove(&shard)
    }

    fn replica(&self, shard: ShardId) -> Option<Arc<Replica>> {
        self.replicas.read().unwrap_or_else(PoisonError::into_inner).get(&shard).cloned()
    }

    fn readable(&self, shard: ShardId) -> Result<Arc<Replica>, ReadError> {
        self.replica(shard).ok_or_else(|| ReadError::Store { shard, reason: NOT_HERE.to_owned() })
    }

    fn trimmed(
        &self,
        shard: ShardId,
        address: &EntityAddress,
    ) -> Result<SequenceNumber, ReadError> {
        self.trims.trimmed(shard, address)
    }
}

const NOT_HERE: &str = "this node holds no replica of it";

fn not_here<T: Send + 'static>(shard: ShardId, term: Term) -> Pending<Result<T, AppendError>> {
    Box::pin(async move { Err(AppendError::Fenced { shard, term }) })
}

impl ShardLog for ReplicatedLog {
    fn open(&self, shard: ShardId, term: Term) -> Pending<Result<Opened, OpenError>> {
        match self.replica(shard) {
            Some(replica) => replica.open(term),
            None => {
                Box::pin(async move { Err(OpenError::Log { shard, reason: NOT_HERE.to_owned() }) })
            }
        }
    }

    fn append(&self, batch: Batch) -> Pending<Result<(), AppendError>> {
        match self.replica(batch.shard()) {
            Some(replica) => replica.append(batch, self.failures.clone()),
            None => not_here(batch.shard(), batch.term()),
        }
    }

    /// One: a batch is work for every replica, whatever it holds, and that is what fills the processors first. Who comes while it is on its way shares the next one.
    fn batches_at_once(&self) -> usize {
        1
    }

    fn confirm(&self, shard: ShardId, term: Term) -> Pending<Result<(), AppendError>> {
        match self.replica(shard) {
            Some(replica) => replica.confirm(term, self.failures.clone()),
            None => not_here(shard, term),
        }
    }

    fn confirm_at_once(&self, shard: ShardId, term: Term) -> Option<Result<(), AppendError>> {
        match self.replica(shard) {
            Some(replica) => replica.confirm_at_once(term),
            None => Some(Err(AppendError::Fenced { shard, term })),
        }
    }

    fn last_offset(&self, shard: ShardId) -> Result<Offset, ReadError> {
        Ok(self.readable(shard)?.last_offset())
    }

    fn read(
        &self,
        shard: ShardId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, ReadError> {
        reading::batches(&*self.readable(shard)?, from, max_bytes)
    }

    fn follow(&self, shard: ShardId, seen: Offset) -> Pending<Result<Offset, ReadError>> {
        match self.readable(shard) {
            Ok(replica) => replica.follow(seen),
            Err(error) => Box::pin(async move { Err(error) }),
        }
    }

    fn history(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        after: SequenceNumber,
        max_records: usize,
    ) -> Result<History, ReadError> {
        let replica = self.readable(shard)?;
        let trimmed = self.trimmed(shard, address)?;
        reading::history(&replica, address, trimmed, after.into(), max_records)
    }

    fn records_after(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        after: Offset,
        max_records: usize,
    ) -> Result<History, ReadError> {
        let replica = self.readable(shard)?;
        let trimmed = self.trimmed(shard, address)?;
        reading::history(&replica, address, trimmed, after.into(), max_records)
    }

    fn conversation(
        &self,
        shard: ShardId,
        correlation: CorrelationId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Conversation, ReadError> {
        reading::conversation(&*self.readable(shard)?, correlation, from, max_bytes)
    }

    fn save_snapshot(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        snapshot: Snapshot,
        keep: usize,
    ) -> Result<(), ReadError> {
        self.snapshots.save(shard, address, &snapshot, keep)
    }

    fn load_snapshot(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        criteria: SnapshotCriteria,
    ) -> Result<Option<Snapshot>, ReadError> {
        self.snapshots.load(shard, address, criteria)
    }

    fn delete_snapshots(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        criteria: SnapshotCriteria,
    ) -> Result<(), ReadError> {
        self.snapshots.delete(shard, address, criteria)
    }

    fn trim(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        up_to: SequenceNumber,
    ) -> Pending<Result<(), AppendError>> {
        match self.replica(shard) {
            Some(replica) => replica.trim(address, up_to, self.failures.clone()),
            None => not_here(shard, Term::ZERO),
        }
    }
}
