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

/// Log bytes read at a time from where the index leads to.
const SEARCH_BYTES: usize = 4 * 1024;

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
        let index = EntityIndex::open_sparse(store, log)?;
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
    let found = search(store, shard, index, offset)?;
    let (_, batch) = found.ok_or_else(|| {
        let reason = "no batch holds it".to_owned();
        ReadError::Corrupt { shard, offset, reason }
    })?;
    Ok(batch)
}

/// The entry and the batch that hold `offset`: the one that the index leads to or one soon after it. None beyond the last offset.
fn search(
    store: &Store,
    shard: ShardId,
    index: &EntityIndex,
    offset: Offset,
) -> Result<Option<(u64, Batch)>, ReadError> {
    let located = index.locate(offset).map_err(|error| read_error(shard, offset, error))?;
    let Some(mut next) = located else { return Ok(None) };
    let mut expected = None;
    loop {
        let entries = store.entries(LogId::from(shard), next, u64::MAX, SEARCH_BYTES);
        let entries = entries.map_err(|error| read_error(shard, offset, error))?;
        for (entry, bytes) in entries {
            let batch = parse(shard, offset, bytes)?;
            if batch.first() > offset || expected.is_some_and(|expected| batch.first() != expected)
            {
                return Err(misled(shard, index, offset));
            }
            if batch.last() >= offset {
                return Ok(Some((entry, batch)));
            }
            (expected, next) = (Some(batch.last().next()), entry + 1);
        }
        if store.last_index(LogId::from(shard)).is_none_or(|last| next > last) {
            return Err(misled(shard, index, offset));
        }
    }
}

fn misled(shard: ShardId, index: &EntityIndex, offset: Offset) -> ReadError {
    let error = index.report_damage("it does not lead to the batch that holds an offset");
    read_error(shard, offset, error)
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
    let Some((entry, first)) = search(store, shard, index, from)? else { return Ok(Vec::new()) };
    let left = max_bytes.saturating_sub(first.bytes().len());
    let mut batches = vec![first];
    if left == 0 {
        return Ok(batches);
    }
    let entries = store.entries(LogId::from(shard), entry + 1, u64::MAX, left);
    let mut expected = batches[0].last().next();
    for (_, bytes) in entries.map_err(|error| read_error(shard, from, error))? {
        let batch = parse(shard, expected, bytes)?;
        if batch.first() != expected {
            let reason = format!("the next batch begins at {}", batch.first());
            return Err(ReadError::Corrupt { shard, offset: expected, reason });
        }
        expected = batch.last().next();
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
