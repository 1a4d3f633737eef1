//! The index of a replica. What is found damaged is built anew from the log while the replica goes on.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holm_core::{Offset, ShardId};
use holm_persistence::{Batch, EntityIndex, ReadError, Store, StoreError};

use super::follower::accepted;
use crate::raft::log_storage::GroupLog;

/// One shard's index, shared by the follower that fills it and the readers.
pub(crate) struct LiveIndex {
    store: Arc<Store>,
    shard: ShardId,
    log: GroupLog,
    index: Mutex<Arc<EntityIndex>>,
}

impl LiveIndex {
    pub(super) fn open(store: &Arc<Store>, shard: ShardId, log: GroupLog) -> io::Result<Self> {
        let index = EntityIndex::open(store, shard.into()).map_err(io::Error::other)?;
        Ok(Self { store: store.clone(), shard, log, index: Mutex::new(Arc::new(index)) })
    }

    /// The entry up to which it is whole.
    pub(super) fn watermark(&self) -> u64 {
        self.lock().watermark()
    }

    pub(super) fn last_offset(&self) -> Offset {
        self.lock().last_offset()
    }

    /// Takes in a batch that took effect.
    pub(super) fn apply(&self, entry: u64, batch: &Batch) -> io::Result<()> {
        let mut index = self.lock();
        match index.apply(entry, batch) {
            Err(_) if !index.is_current() => self.renew(&mut index, entry),
            applied => applied.map_err(io::Error::other),
        }
    }

    /// Reads by way of the index. When that is found damaged meanwhile, it is built anew and asked again, once.
    pub(super) fn with<T>(
        &self,
        read: impl Fn(&EntityIndex) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let index = self.current()?;
        match read(&index) {
            Err(_) if !index.is_current() => read(&*self.current()?),
            other => other,
        }
    }

    /// Writes what is only in memory to the store.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        let index = self.lock().clone();
        index.flush()
    }

    fn current(&self) -> Result<Arc<EntityIndex>, ReadError> {
        let mut index = self.lock();
        if !index.is_current() {
            // What it has taken in is known also of an index that is of no use any more.
            let to = index.watermark();
            self.renew(&mut index, to).map_err(|error| ReadError::Store {
                shard: self.shard,
                reason: format!("the index cannot be built anew: {error}"),
            })?;
        }
        Ok(index.clone())
    }

    /// Builds the index from the log, up to the entry `to`. The follower waits meanwhile.
    fn renew(&self, index: &mut Arc<EntityIndex>, to: u64) -> io::Result<()> {
        tracing::warn!(shard = %self.shard, to, "the index is built from the log");
        let fresh = EntityIndex::open(&self.store, self.shard.into()).map_err(io::Error::other)?;
        for entry in fresh.watermark() + 1..=to {
            let Some((term, payload)) = self.log.write_at(entry)? else { continue };
            if let Ok(batch) = accepted(self.shard, term, &payload, fresh.last_offset()) {
                fresh.apply(entry, &batch).map_err(io::Error::other)?;
            }
        }
        *index = Arc::new(fresh);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<EntityIndex>> {
        // Its only change is a single assignment.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
