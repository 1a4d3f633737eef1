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
    followed: Mutex<Followed>,
}

struct Followed {
    index: Arc<EntityIndex>,
    /// The entry of the newest batch that took effect.
    entry: u64,
}

impl LiveIndex {
    pub(super) fn open(store: &Arc<Store>, shard: ShardId, log: GroupLog) -> io::Result<Self> {
        let index = Arc::new(EntityIndex::open(store, shard.into()).map_err(io::Error::other)?);
        let followed = Mutex::new(Followed { entry: index.watermark(), index });
        Ok(Self { store: store.clone(), shard, log, followed })
    }

    /// The entry up to which it is whole.
    pub(super) fn watermark(&self) -> u64 {
        self.lock().index.watermark()
    }

    pub(super) fn last_offset(&self) -> Offset {
        self.lock().index.last_offset()
    }

    /// Takes in a batch that took effect.
    pub(super) fn apply(&self, entry: u64, batch: &Batch) -> io::Result<()> {
        let mut followed = self.lock();
        followed.entry = followed.entry.max(entry);
        match followed.index.apply(entry, batch) {
            Err(_) if !followed.index.is_current() => self.renew(&mut followed),
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
        let index = self.lock().index.clone();
        index.flush()
    }

    fn current(&self) -> Result<Arc<EntityIndex>, ReadError> {
        let mut followed = self.lock();
        if !followed.index.is_current() {
            self.renew(&mut followed).map_err(|error| ReadError::Store {
                shard: self.shard,
                reason: format!("the index cannot be built anew: {error}"),
            })?;
        }
        Ok(followed.index.clone())
    }

    /// Builds the index from the log, as far as it was followed. The follower waits meanwhile.
    fn renew(&self, followed: &mut Followed) -> io::Result<()> {
        tracing::warn!(shard = %self.shard, to = followed.entry, "the index is built from the log");
        let index = EntityIndex::open(&self.store, self.shard.into()).map_err(io::Error::other)?;
        for entry in index.watermark() + 1..=followed.entry {
            let Some((term, payload)) = self.log.write_at(entry)? else { continue };
            if let Ok(batch) = accepted(self.shard, term, &payload, index.last_offset()) {
                index.apply(entry, &batch).map_err(io::Error::other)?;
            }
        }
        followed.index = Arc::new(index);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Followed> {
        // Every change is a single assignment.
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
