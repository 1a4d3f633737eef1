//! The reading half of a shard: its index, its last durable offset, and those who follow it.

use std::sync::Arc;

use holm_core::{Offset, ShardId};

use crate::batch::Batch;
use crate::entity_index::EntityIndex;
use crate::followers::Followers;
use crate::shard_log::{Pending, ReadError};
use crate::store::{LogId, Store, StoreError};

/// Log bytes read at a time when an index catches up.
const CATCH_UP_BYTES: usize = 4 * 1024 * 1024;

pub(super) struct Tail {
    shard: ShardId,
    index: Option<Arc<EntityIndex>>,
    durable: Offset,
    followers: Followers,
}

impl Tail {
    pub(super) fn new(shard: ShardId) -> Self {
        Self { shard, index: None, durable: Offset::ZERO, followers: Followers::default() }
    }

    /// The index as far as it was loaded.
    pub(super) fn index(&self) -> Option<Arc<EntityIndex>> {
        self.index.clone()
    }

    /// The last durable offset; right once the index is loaded.
    pub(super) fn durable(&self) -> Offset {
        self.durable
    }

    pub(super) fn follow(&mut self, seen: Offset) -> Pending<Result<Offset, ReadError>> {
        self.followers.follow(self.shard, seen, self.durable)
    }

    /// Takes in a durable batch. When the index cannot, it is dropped and loaded anew from the log by whoever reads next.
    pub(super) fn advance(&mut self, entry: u64, batch: &Batch) {
        if let Some(index) = &self.index
            && let Err(error) = index.apply(entry, batch)
        {
            tracing::warn!(shard = %self.shard, %error, "the index is dropped and will be loaded anew");
            self.index = None;
        }
        self.durable = self.durable.max(batch.last());
        self.followers.advance(self.durable);
    }

    /// The index, caught up with everything durable. May read the log.
    pub(super) fn load(&mut self, store: &Arc<Store>) -> Result<Arc<EntityIndex>, ReadError> {
        if let Some(index) = self.index.as_ref().filter(|index| index.is_current()) {
            return Ok(Arc::clone(index));
        }
        let index =
            self.catch_up(store).map_err(|error| read_error(self.shard, Offset::ZERO, error))?;
        self.durable = index.last_offset();
        self.followers.advance(self.durable);
        let index = Arc::new(index);
        self.index = Some(Arc::clone(&index));
        Ok(index)
    }

    /// Opens the index and applies what it missed. What arrives meanwhile waits for the lock that the caller holds.
    fn catch_up(&self, store: &Arc<Store>) -> Result<EntityIndex, StoreError> {
        let log = LogId::from(self.shard);
        let index = EntityIndex::open(store, log)?;
        loop {
            let from = index.watermark() + 1;
            let entries = store.entries(log, from, u64::MAX, CATCH_UP_BYTES)?;
            if entries.is_empty() {
                return Ok(index);
            }
            for (entry, bytes) in entries {
                let damaged = |reason| StoreError::EntryDamaged {
                    dir: store.dir().to_owned(),
                    log,
                    index: entry,
                    reason,
                };
                let batch = Batch::parse(bytes).map_err(|error| damaged(error.to_string()))?;
                if batch.shard() != self.shard {
                    return Err(damaged(format!("it belongs to shard {}", batch.shard())));
                }
                index.apply(entry, &batch)?;
            }
        }
    }
}

/// The durable batch that holds `offset`.
pub(super) fn batch_at(
    store: &Store,
    shard: ShardId,
    index: &EntityIndex,
    offset: Offset,
) -> Result<Batch, ReadError> {
    let corrupt = |reason: String| ReadError::Corrupt { shard, offset, reason };
    let entry = index.locate(offset).map_err(|error| read_error(shard, offset, error))?;
    let entry = entry.ok_or_else(|| corrupt("no batch holds it".to_owned()))?;
    let bytes = store.entry(LogId::from(shard), entry);
    let bytes = bytes.map_err(|error| read_error(shard, offset, error))?;
    let bytes = bytes.ok_or_else(|| corrupt(format!("log entry {entry} is missing")))?;
    holding(parse(shard, offset, bytes)?, index, offset)
}

/// The batch, when it holds the offset that the index said it does.
fn holding(batch: Batch, index: &EntityIndex, offset: Offset) -> Result<Batch, ReadError> {
    if (batch.first()..=batch.last()).contains(&offset) {
        return Ok(batch);
    }
    let error = index.report_damage("it leads to a batch that does not hold the offset");
    Err(read_error(batch.shard(), offset, error))
}

/// The durable batches from the one that holds `from`.
pub(super) fn read(
    store: &Store,
    shard: ShardId,
    index: &EntityIndex,
    from: Offset,
    max_bytes: usize,
) -> Result<Vec<Batch>, ReadError> {
    let from = from.max(Offset(1));
    let located = index.locate(from).map_err(|error| read_error(shard, from, error))?;
    let Some(entry) = located else { return Ok(Vec::new()) };
    let entries = store.entries(LogId::from(shard), entry, u64::MAX, max_bytes);
    let mut batches: Vec<Batch> = Vec::new();
    for (_, bytes) in entries.map_err(|error| read_error(shard, from, error))? {
        let Some(expected) = batches.last().map(|batch| batch.last().next()) else {
            batches.push(holding(parse(shard, from, bytes)?, index, from)?);
            continue;
        };
        let batch = parse(shard, expected, bytes)?;
        if batch.first() != expected {
            let reason = format!("the next batch begins at {}", batch.first());
            return Err(ReadError::Corrupt { shard, offset: expected, reason });
        }
        batches.push(batch);
    }
    Ok(batches)
}

fn parse(shard: ShardId, offset: Offset, bytes: bytes::Bytes) -> Result<Batch, ReadError> {
    let corrupt = |reason: String| ReadError::Corrupt { shard, offset, reason };
    let batch = Batch::parse(bytes).map_err(|error| corrupt(error.to_string()))?;
    if batch.shard() == shard {
        Ok(batch)
    } else {
        Err(corrupt(format!("its batch belongs to shard {}", batch.shard())))
    }
}

fn read_error(shard: ShardId, offset: Offset, error: StoreError) -> ReadError {
    let reason = error.to_string();
    match error {
        StoreError::EntryDamaged { .. } => ReadError::Corrupt { shard, offset, reason },
        _ => ReadError::Store { shard, reason },
    }
}
